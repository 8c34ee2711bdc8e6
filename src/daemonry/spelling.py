"""The nearest of some known names: "did you mean"."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

# Names that are longer are not compared: whoever sent one may want us to compute.
_MAX_CHARS: Final = 200


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the known name that is most like `name`, whatever the case of letters; "" if none is.

    Args:
        name: the given name.
        known: what there is.
        cutoff: how alike they must be, from 0 to 1: twice the letters in common over all letters.
    """
    if len(name) > _MAX_CHARS:
        return ""
    import difflib

    folded = {one.casefold(): one for one in known if len(one) <= _MAX_CHARS}
    found = difflib.get_close_matches(name.casefold(), folded, 1, cutoff)
    return folded[found[0]] if found else ""


def did_you_mean(
    name: str, known: Iterable[str], otherwise: str = "known are", *, cutoff: float = 0.6
) -> str:
    """Return the end of a message about an unknown name: the nearest, or else all that are known.

    Args:
        name: the given name.
        known: what there is.
        otherwise: what stands before the list of all.
        cutoff: as for `nearest`.
    """
    known = list(known)
    near = nearest(name, known, cutoff)
    return f"did you mean {near!r}?" if near else f"{otherwise} {', '.join(known) or 'none'}"
