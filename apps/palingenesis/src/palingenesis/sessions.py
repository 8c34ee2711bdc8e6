"""What a session file is: Markdown that begins with YAML front matter.

    ---
    title: Parser rewrite
    ---
    # What was said ...

Owns the format.  Reads no files: what comes in is a file's first bytes, and what comes out is
its front matter, or why there is none.  Every input has one of the three answers of
`front_matter`; nothing else is ever raised.
"""

from __future__ import annotations

from typing import Any, Final

import yaml  # type: ignore[import-untyped]  # its stubs are not installed

# The front matter of real notes is under 1 KiB.  PyYAML takes a second for the worst 16 KiB that
# we know (nothing but opening brackets), and its time grows with the square of that.
MAX_FRONT_MATTER_BYTES: Final = 16 * 2**10
# PyYAML repeats the text that it cannot read; a log line needs no more of it than this.
MAX_REASON_CHARS: Final = 200

_MARK: Final = b"---"
_ENDS: Final = (b"---", b"...")
_BOM: Final = b"\xef\xbb\xbf"


class FrontMatterInvalid(ValueError):
    """The file begins like a session's and cannot be read as one.

    Attributes:
        reason: the fault, on one line.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"its front matter cannot be read: {reason}")
        self.reason = reason


def is_session_name(name: str) -> bool:
    """Whether a file of this name can be a session: `.md`, and neither hidden nor an editor's."""
    return name.endswith(".md") and not name.startswith((".", "#"))


def is_searched(name: str) -> bool:
    """Whether a directory of this name, inside the session directory, can hold sessions."""
    return not name.startswith(".") and name != "node_modules"


def front_matter(head: bytes) -> dict[str, Any] | None:
    """Return the front matter that a file begins with, or None where it begins with anything else.

    Args:
        head: the file's first bytes, `MAX_FRONT_MATTER_BYTES` of them if it has so many.

    Raises:
        FrontMatterInvalid: it has no end, or is not a YAML mapping.
    """
    lines = head.removeprefix(_BOM).splitlines()
    if not lines or lines[0].rstrip() != _MARK:
        return None
    for number, line in enumerate(lines[1:], start=1):
        if line.rstrip() in _ENDS:
            return _mapping(b"\n".join(lines[1:number]))
    raise FrontMatterInvalid(f"no closing '---' in the first {MAX_FRONT_MATTER_BYTES} bytes")


def _mapping(block: bytes) -> dict[str, Any]:
    try:
        text = block.decode("utf-8")
        found = yaml.load(text, Loader=_Loader)  # noqa: S506  # it is the safe one, see there
    except UnicodeDecodeError:
        raise FrontMatterInvalid("not UTF-8") from None
    except yaml.MarkedYAMLError as error:
        raise FrontMatterInvalid(_where(error)) from None
    except RecursionError:
        raise FrontMatterInvalid("nested too deeply") from None
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:
        # Apart from its own errors PyYAML raises those of its conversions: a date of month 99, a
        # number of 5,000 digits, a tag that its text does not fit.
        raise FrontMatterInvalid(f"not YAML ({type(error).__name__})") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise FrontMatterInvalid("not a mapping of keys to values")
    return found


def _where(error: yaml.MarkedYAMLError) -> str:
    line = f" in line {error.problem_mark.line + 2}" if error.problem_mark is not None else ""
    return f"{str(error.problem or error.context or 'not YAML')[:MAX_REASON_CHARS]}{line}"


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # untyped, as above
    """PyYAML's safe loader without aliases: a few lines of them can expand without end."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "aliases are not read", mark)
        return super().compose_node(parent, index)
