"""Checks of the fields of one type, made once as a single expression.

Owns making them.  A loop over fields that asks for the type of each value takes three times as long as
the same conditions written out, as `dataclasses` and `namedtuple` write out their methods; and these
checks stand in the way of every call.  What the conditions mean belongs to who asks for them.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterable
from typing import Any, Final

from daemonry.wire.varlink import INT_SENT_LIMIT, MAX_INT, MIN_INT

Check = Callable[[Any], bool]


def numbers_fit(numbers: Iterable[tuple[str, bool]]) -> Check | None:
    """Return what says whether the numbers of a value are within 64 bits.

    MIN_INT itself counts as too small: where the type is float, it may have been a smaller integer.

    Args:
        numbers: of each the name, those within other objects with points, and whether it may be None.

    Returns:
        The check; None where a name is none that Python can write.
    """
    within = f"{MIN_INT} < {{0}} <= {MAX_INT}"
    return _made((path, _or_none(within, optional=optional)) for path, optional in numbers)


# Of what is sent, of the declared type and no other; a float may be written as an integer.  Floats where
# no codec writes an exponent; NaN is in none of these.
_SENT = {
    bool: "{0}.__class__ is bool",
    str: "{0}.__class__ is str",
    int: f"{{0}}.__class__ is int and {-INT_SENT_LIMIT} < {{0}} < {INT_SENT_LIMIT}",
    float: "({0}.__class__ is float or {0}.__class__ is int)"
    " and (1e-4 <= {0} < 1e16 or {0} == 0.0 or -1e16 < {0} <= -1e-4)",
}
# The types that have one.
PLAIN: Final = frozenset(_SENT)


def sendable_as_declared(fields: Iterable[tuple[str, type, bool]]) -> Check | None:
    """Return what says whether each field holds what its declaration says and can be sent as it is.

    Args:
        fields: of each the name, the type (bool, int, float or str), and whether it may be None.

    Returns:
        The check; None where a name is none that Python can write.
    """
    return _made((name, _or_none(_SENT[kind], optional=optional)) for name, kind, optional in fields)


def _or_none(condition: str, *, optional: bool) -> str:
    return f"({{0}} is None or {condition})" if optional else condition


def _made(conditions: Iterable[tuple[str, str]]) -> Check | None:
    """Return the check of all conditions, each of which has the value at a path for `{0}`."""
    written = []
    for path, condition in conditions:
        if not all(part.isidentifier() and not keyword.iskeyword(part) for part in path.split(".")):
            return None
        written.append(condition.format(f"value.{path}"))
    # Of names that were just looked at, and of what stands above; nothing else enters it.
    check: Check = eval(f"lambda value: {' and '.join(written) or True}", {})  # noqa: S307
    return check
