r"""Text that others wrote, made safe to show: the one table of what may not reach a terminal as it is.

    printable       on one line, for messages and facts
    shown           line feeds and tabs stay, for text of several lines
    shown_with_colours
                    `shown`, and colours stay, or go
    json_shown      for JSON: the same value, with `\u202e` in place of the character itself
    for_stream, json_for_stream
                    `shown` and `json_shown` where the stream is a terminal; unchanged where it is not
    line_for_stream as `for_stream`, for a line with colours of our own

Owns the table.  Shown as escapes are

- what commands a terminal: C0 but for line feeds and tabs, DEL, C1;
- what turns the direction of writing, so that a line reads other than it is: marks, embeddings,
  overrides, isolates (Unicode TR9);
- line and paragraph separators;
- characters without width, which make two names look the same or hide a text in another: zero-width
  spaces, the byte-order mark, invisible operators, fillers, TAG characters, the variation selectors that
  emoji do not use;
- lone surrogates.  Python has the byte 0xHH of a file name that is not UTF-8 as one: it is shown as `\xHH`.

Letters of every script, combining marks and emoji stay.  So do a zero-width joiner or non-joiner between
two characters that are not ASCII, which Persian, the scripts of India and composed emoji cannot be
written without, and one emoji or text selector (U+FE0E, U+FE0F) behind another character.  Elsewhere they
are invisible, and shown as escapes.

Pure, and loaded by each program's quick commands.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Final

_LINE_BREAKS: Final = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_JOINERS: Final = "\u200c\u200d"
_SELECTORS: Final = "\ufe0e\ufe0f"
_BYTE_FIRST: Final = 0xDC80
_BYTE_LAST: Final = 0xDCFF

# First and last code points.  All that Unicode 16 has as Cc, Cf, Zl or Zp is here or in `_JOINERS`, but for
# signs that are seen (Arabic number signs, Egyptian and shorthand controls); the rest is of no width.
UNSAFE: Final = (
    (0x00, 0x1F),
    (0x7F, 0x9F),
    (0xAD, 0xAD),  # soft hyphen
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x061C, 0x061C),  # Arabic letter mark
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),  # Khmer inherent vowels
    (0x180B, 0x180F),  # Mongolian selectors and vowel separator
    (0x200B, 0x200B),  # zero-width space
    (0x200E, 0x200F),  # left-to-right, right-to-left mark
    (0x2028, 0x202E),  # separators; embeddings and overrides
    (0x2060, 0x206F),  # word joiner, invisible operators, isolates
    (0x3164, 0x3164),  # Hangul filler
    (0xD800, 0xDFFF),  # lone surrogates
    (0xFE00, 0xFE0D),  # variation selectors
    (0xFEFF, 0xFEFF),  # byte-order mark
    (0xFFA0, 0xFFA0),  # Hangul filler
    (0xFFF0, 0xFFFB),  # interlinear annotations
    (0x1BCA0, 0x1BCA3),  # shorthand format controls
    (0x1D173, 0x1D17A),  # musical format controls
    (0xE0000, 0xE0FFF),  # TAG characters and further variation selectors
)
# Of all the characters that a text may have, how many answers are remembered.
_REMEMBERED: Final = 4096
# The beginning of a terminal's commands, and the ends of those that compilers colour with; "" where a text
# is cut.
_CSI: Final = "\x1b["
_COLOUR_ENDS: Final = ("m", "K", "")


def printable(text: str, max_chars: int | None = None) -> str:
    """Return `text` on one line, cut at `max_chars`."""
    if max_chars is not None and len(text) > max_chars:
        text = text[:max_chars] + "..."
    if text.isascii() and text.isprintable():
        return text
    if any(mark in text for mark in _LINE_BREAKS):
        text = " ".join(part for line in text.splitlines() if (part := line.strip()))
    return _translated(text, _one_line)


def shown(text: str) -> str:
    r"""Return `text` with its line feeds and tabs; a carriage return before a line feed goes."""
    if _harmless(text):
        return text
    return _translated(text.replace("\r\n", "\n"), _several_lines)


def shown_with_colours(text: str, *, colours: bool) -> str:
    """Return a program's output for a terminal, such as a compiler's.

    Args:
        text: its output.
        colours: whether its colours stay; else they are left out.  All else that commands a terminal is
            shown as escapes.
    """
    first, *pieces = text.split(_CSI)
    found = [shown(first)]
    for piece in pieces:
        end = 0
        while end < len(piece) and piece[end] in "0123456789;":
            end += 1
        last, rest = piece[end : end + 1], piece[end + 1 :]
        if last in _COLOUR_ENDS:
            found.append(_CSI + piece[: end + 1] if last == "m" and colours else "")
        else:
            found.append(shown(_CSI + piece[: end + 1]))
        found.append(shown(rest))
    return "".join(found)


def json_shown(text: str) -> str:
    r"""Return JSON of the same value, with `\u` escapes for what may not reach a terminal.

    Nothing but blanks stands outside of a JSON text's strings, so every character can be escaped where
    it is; a carriage return, a blank there, becomes a line feed.
    """
    if _harmless(text):
        return text
    return _translated(text.replace("\r\n", "\n").replace("\r", "\n"), _in_json)


def for_stream(text: str, stream: IO[str]) -> str:
    """Return `text` as it may be written to `stream`: byte for byte, unless that is a terminal."""
    return text if _harmless(text) or not stream.isatty() else shown(text)


def line_for_stream(text: str, stream: IO[str]) -> str:
    """Return `text` as `for_stream` does, with the colours that are in it: they hide no text."""
    if _harmless(text) or not stream.isatty():
        return text
    return shown_with_colours(text, colours=True)


def json_for_stream(text: str, stream: IO[str]) -> str:
    """Return JSON as it may be written to `stream`: as it is, unless that is a terminal."""
    return text if _harmless(text) or not stream.isatty() else json_shown(text)


def is_unsafe(point: int) -> bool:
    """Whether the character with this code point is in the table.

    The joiners and selectors, for which the characters beside them count, are not.
    """
    for first, last in UNSAFE:
        if point <= last:
            return point >= first
    return False


class _Escapes(dict[int, "int | str"]):
    """A table for `str.translate`: for a code point, itself or the text shown in its place.

    Args:
        escape: makes the escape of a code point.
        stay: unsafe code points that stay all the same.
    """

    def __init__(self, escape: Callable[[int], str], stay: str) -> None:
        self.escape = escape
        self._stay = stay

    def __missing__(self, point: int) -> int | str:
        unsafe = is_unsafe(point) and chr(point) not in self._stay
        found = self.escape(point) if unsafe else point
        if len(self) < _REMEMBERED:
            self[point] = found
        return found


def _escape(point: int) -> str:
    if _BYTE_FIRST <= point <= _BYTE_LAST:
        return f"\\x{point - 0xDC00:02x}"
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def _json_escape(point: int) -> str:
    if point < 0x10000:
        return f"\\u{point:04x}"
    above = point - 0x10000
    return f"\\u{0xD800 + (above >> 10):04x}\\u{0xDC00 + (above & 0x3FF):04x}"


_one_line = _Escapes(_escape, "")
_several_lines = _Escapes(_escape, "\n\t")
_in_json = _Escapes(_json_escape, "\n\t")


def _harmless(text: str) -> bool:
    return text.isascii() and (text.isprintable() or text.replace("\n", "").replace("\t", "").isprintable())


def _translated(text: str, escapes: _Escapes) -> str:
    if any(mark in text for mark in _JOINERS + _SELECTORS):
        text = "".join(
            escapes.escape(ord(char)) if _stands_alone(text, index) else char
            for index, char in enumerate(text)
        )
    return text.translate(escapes)


def _stands_alone(text: str, index: int) -> bool:
    """Whether a joiner or selector is at `index`, and joins or selects nothing."""
    char = text[index]
    before = text[index - 1] if index else " "
    if char in _SELECTORS:
        return before <= " " or before in _JOINERS + _SELECTORS or is_unsafe(ord(before))
    if char not in _JOINERS:
        return False
    after = text[index + 1 : index + 2] or " "
    return not (_can_be_joined(before) and _can_be_joined(after) and after not in _SELECTORS)


def _can_be_joined(char: str) -> bool:
    return char > "\x7f" and char not in _JOINERS and not is_unsafe(ord(char))
