"""The contents of a terminal's screen, drawn again for a window that attaches.

Owns the drawing.  The screen itself is pyte's (extra `terminal`); without it a window that attaches sees
later output.  pyte knows less than programs print, so sequences that it would take for something
else are cut out before: those with `<`, `=` and `>`, colours with colons, strings for the terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

# What waits for pyte, which takes about a second for a MiB.  Of more, only changes of modes are kept.
MAX_UNDRAWN_BYTES: Final = 2 * 2**20
SLICE_BYTES: Final = 16 * 2**10
# Lines above the screen that a window that attaches gets.
MAX_HISTORY: Final = 500
_MAX_TAIL: Final = 64 * 2**10

_UNKNOWN: Final = re.compile(
    rb"\x1b\[[<=>][0-9;:]*[ -/]*[@-~]"
    rb"|\x1b\[[0-9;]*:[0-9;:]*m"
    rb"|\x1b\[[0-9;?]*[ !\"$'*]+[@-~]"
    rb"|\x1b[P_^X].*?(?:\x1b\\|\x07)",
    re.DOTALL,
)
_UNFINISHED: Final = re.compile(rb"\x1b(?:\[[0-9;:<=>?]*[ -/]*|[P_^X].*)?\Z", re.DOTALL)
_MODES: Final = re.compile(rb"\x1b\[\?[0-9;]+[hl]")
# Modes that a program sets for its window, and that a window gets again or loses: DECCKM, mouse, focus and
# bracketed paste.  Synchronised output is not among them: it lasts for one drawing.
_KEPT_MODES: Final = (1, 9, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 2004)
_COLOURS: Final = {
    name: number
    for number, name in enumerate(("black", "red", "green", "brown", "blue", "magenta", "cyan", "white"))
}

# What a window gets when it stops showing a program that still runs.
LEAVE: Final = b"\x1b[0m\x1b[?1l\x1b>\x1b[?25h\x1b[?1049l\x1b[>4;0m\x1b[<u" + b"".join(
    b"\x1b[?%dl" % mode for mode in _KEPT_MODES[1:]
)


def is_possible() -> bool:
    """Whether pyte is installed."""
    try:
        import pyte  # noqa: F401
    except ImportError:
        return False
    return True


class Screen:
    """The screen of one terminal.

    Args:
        rows, columns: its size.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self._screen: Any = None
        self._waiting = bytearray()
        self._tail = b""
        if is_possible():
            from palingenesis.terminal import drawn

            self._screen = drawn.Drawn(max(1, rows), max(1, columns), MAX_HISTORY)
            self._stream = drawn.Patient(self._screen, strict=False)

    @property
    def is_behind(self) -> bool:
        """Whether output waits to be drawn."""
        return bool(self._waiting)

    def resize(self, rows: int, columns: int) -> None:
        """Have another size."""
        if self._screen is not None and rows > 0 and columns > 0:
            self.catch_up()
            self._screen.resize(rows, columns)

    def feed(self, data: bytes) -> None:
        """Take output; it is drawn by `step`."""
        if self._screen is None:
            return
        self._waiting += data
        if len(self._waiting) > MAX_UNDRAWN_BYTES:
            dropped = bytes(self._waiting[: -MAX_UNDRAWN_BYTES // 2])
            modes = b"".join(_MODES.findall(dropped))
            self._waiting[: len(dropped)] = modes + b"\x1b[H\x1b[2J"

    def step(self) -> None:
        """Draw a part of what waits."""
        data = _UNKNOWN.sub(b"", self._tail + bytes(self._waiting[:SLICE_BYTES]))
        del self._waiting[:SLICE_BYTES]
        unfinished = _UNFINISHED.search(data, max(0, len(data) - _MAX_TAIL))
        self._tail = unfinished[0] if unfinished is not None else b""
        if self._screen is not None:
            self._stream.feed(data[: len(data) - len(self._tail)])

    def catch_up(self) -> None:
        """Draw all that waits."""
        while self._waiting:
            self.step()

    def drawn(self) -> bytes:
        """Return what draws the screen in an empty window; nothing without pyte."""
        if self._screen is None:
            return b"\x1b[H\x1b[2J"
        self.catch_up()
        screen = self._screen
        on_other = screen.is_other
        pieces = [b"\x1b[0m\x1b[H\x1b[2J"]
        if on_other:
            pieces.append(b"\x1b[?1049h\x1b[H\x1b[2J")
        else:
            pieces += [_line(line, screen.columns) + b"\r\n" for line in screen.history]
            pieces += [b"\r\n" * (screen.lines - 1) if screen.history else b"", b"\x1b[H\x1b[J"]
        rows = [_line(screen.buffer[row], screen.columns) for row in range(screen.lines)]
        pieces.append(b"\r\n".join(rows))
        pieces.append(b"\x1b[0m\x1b[%d;%dH" % (screen.cursor.y + 1, screen.cursor.x + 1))
        pieces += [b"\x1b[?%dh" % mode for mode in _KEPT_MODES if mode << 5 in screen.mode]
        pieces.append(b"\x1b[?25l" if screen.cursor.hidden else b"\x1b[?25h")
        return b"".join(pieces)

    def text(self) -> str:
        """Return the screen's text, without the blank lines at its end; "" without pyte."""
        if self._screen is None:
            return ""
        self.catch_up()
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()


def _line(line: Any, columns: int) -> bytes:
    pieces: list[str] = []
    style = ""
    for cell in _cells(line, columns):
        wanted = _style(cell)
        if wanted != style:
            pieces.append(f"\x1b[{wanted}m")
            style = wanted
        pieces.append(cell.data)
    text = "".join(pieces)
    return (text if style else text.rstrip(" ")).encode("utf-8", "replace") + (b"\x1b[0m" if style else b"")


def _cells(line: Any, columns: int) -> Iterator[Any]:
    used = max((at for at in line if at < columns), default=-1)
    for at in range(used + 1):
        if line[at].data:  # the second half of a wide sign has none
            yield line[at]


def _style(cell: Any) -> str:
    codes = [
        str(code)
        for code, is_on in (
            (1, cell.bold), (3, cell.italics), (4, cell.underscore), (5, cell.blink), (7, cell.reverse),
            (9, cell.strikethrough),
        )
        if is_on
    ]  # fmt: skip
    codes += _colour(cell.fg, 30) + _colour(cell.bg, 40)
    return ";".join(["0", *codes]) if codes else ""


def _colour(name: str, base: int) -> list[str]:
    if name == "default":
        return []
    bright = name.startswith("bright") and name.removeprefix("bright") in _COLOURS
    if bright or name in _COLOURS:
        return [str(base + (60 if bright else 0) + _COLOURS[name.removeprefix("bright")])]
    try:
        red, green, blue = bytes.fromhex(name)
    except ValueError:
        return []
    return [f"{base + 8};2;{red};{green};{blue}"]
