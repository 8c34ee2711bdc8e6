"""JSON, strict and bounded: what we accept is what every peer reads in the same way.

Owns decoding text into Python values and encoding them on one line.  Refuses what RFC 8259
leaves to chance: duplicate keys, NaN and infinities, lone surrogates, nesting and numbers
without end.

Both drive the interpreter's own C scanner and encoder directly.  `import json` would bring `re` and
`enum` with it, which take longer than a whole `status` command may; where they are not there
(another interpreter), `json` itself is used.
"""

from __future__ import annotations

from daemonry import faults, terminal_text
from daemonry.limits import MAX_JSON_DEPTH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_WHITESPACE = " \t\n\r"


def decode(text: str) -> Any:
    """Return the value that `text` holds.

    Raises:
        BadFrame: the text is not one JSON value, or one of those named above.
    """
    value = _decoded(text)
    if "\\u" in text and not _encodable(_dumps(value)):
        raise faults.BadFrame("a lone surrogate in a string")
    return value


def _decoded(text: str) -> Any:
    """Return the value of `text`, in whose strings may be lone surrogates that are written as escapes."""
    if _too_deep(text):
        raise faults.BadFrame(f"nested deeper than {MAX_JSON_DEPTH}")
    if not _encodable(text):
        raise faults.BadFrame("a lone surrogate in the text")
    start = _skip_whitespace(text, 0)
    try:
        value, end = _scan_once(text, start)
    except (StopIteration, SystemError):
        # SystemError: the scanner would raise json's own error, which exists once json is imported.
        raise faults.BadFrame("not JSON") from None
    except ValueError as error:
        # The interpreter's words for thousands of digits tell the program how to allow them.
        told = "a number too large" if "set_int_max_str_digits" in str(error) else str(error)
        raise faults.BadFrame(f"not JSON: {told}") from None
    if _skip_whitespace(text, end) != len(text):
        raise faults.BadFrame("more than one JSON value")
    return value


def decode_object(text: str, *, with_names: bool = False) -> dict[str, Any]:
    """Return the object that `text` holds.

    Args:
        text: the JSON.
        with_names: whether it is of our own writing, by `encode_names`: then strings may be file names that
            are not UTF-8, with lone surrogates.

    Raises:
        BadFrame: as `decode`, or the value is not an object.
    """
    value = _decoded(text) if with_names else decode(text)
    if not isinstance(value, dict):
        raise faults.BadFrame("not a JSON object")
    return value


def encode(value: object) -> str:
    r"""Return `value` as JSON on one line, without blanks, safe to print on a terminal.

    A lone surrogate, which a file name that is not UTF-8 has in it, is shown as the text `\udcff`.

    Raises:
        ValueError: NaN or an infinity.
        TypeError: a value that JSON has no form for.
    """
    return _encoded(value, "\\\\u")


def encode_names(value: object) -> str:
    """Return `value` as `encode` does, for files and messages of our own.

    File names that are not UTF-8 are read back as they were, by `decode_object(text, with_names=True)`.
    """
    return _encoded(value, "\\u")


def _encoded(value: object, mark: str) -> str:
    """Return `value` as JSON, each lone surrogate as `mark` and its number."""
    text = _dumps(value)
    if not _encodable(text):
        lone = {char for char in text if "\ud800" <= char <= "\udfff"}
        text = text.translate({ord(char): f"{mark}{ord(char):04x}" for char in lone})
    # What JSON allows in the open and a terminal or a line reader acts upon.
    return terminal_text.json_shown(text)


def _too_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= MAX_JSON_DEPTH:
        return False
    depth = 0
    quoted = escaped = False
    for char in text:
        if escaped:
            escaped = False
        elif quoted:
            escaped = char == "\\"
            quoted = char != '"'
        elif char == '"':
            quoted = True
        elif char in "[{":
            depth += 1
            if depth > MAX_JSON_DEPTH:
                return True
        elif char in "]}":
            depth -= 1
    return False


def _skip_whitespace(text: str, start: int) -> int:
    while start < len(text) and text[start] in _WHITESPACE:
        start += 1
    return start


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("an object has the same key twice")
    return fields


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number too large")
    return number


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


class _Rules:
    """What the scanner asks for its hooks; the names are the scanner's."""

    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_unique)
    parse_float = staticmethod(_finite)
    parse_int = int
    parse_constant = staticmethod(_no_constant)


def _make_scanner() -> Callable[[str, int], tuple[Any, int]]:
    try:
        from _json import make_scanner

        scanner: Callable[[str, int], tuple[Any, int]] = make_scanner(_Rules())  # type: ignore[arg-type]  # any object with these hooks
    except (ImportError, AttributeError, TypeError):
        import json

        decoder = json.JSONDecoder(
            object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant
        )
        scanner = decoder.scan_once  # type: ignore[attr-defined]  # documented in its source only
    return scanner


_scan_once = _make_scanner()


def _no_form(value: object) -> Any:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _make_dumps() -> Callable[[object], str]:
    try:
        from _json import encode_basestring, make_encoder

        def dumps(value: object) -> str:
            # The arguments are those that `json.JSONEncoder` gives it, in their order: what is being
            # written (to notice what holds itself), the hook, how text is quoted, no indentation, the
            # separators; keys as they come and none left out, no NaN.
            encode = make_encoder({}, _no_form, encode_basestring, None, ":", ",", False, False, False)
            return "".join(encode(value, 0))

        dumps({"": [0.5, ""]})  # an interpreter whose encoder wants other arguments says so here
    except (ImportError, TypeError):
        import json

        def dumps(value: object) -> str:
            return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    return dumps


_dumps = _make_dumps()
