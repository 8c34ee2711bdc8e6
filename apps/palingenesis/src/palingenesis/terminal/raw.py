"""The user's own terminal while it is passed through: every byte goes to the program as it was typed.

Owns its modes: raw while a window shows the program, as they were at any other time.
"""

from __future__ import annotations

import contextlib
import fcntl
import struct
import termios
from typing import Final

from palingenesis.terminal.pty import Modes

_NO_SIZE: Final = (24, 80, 0, 0)
_INPUT, _OUTPUT, _CONTROL, _LOCAL, _SIGNS = 0, 1, 2, 3, 6


def size_of(fd: int) -> tuple[int, int, int, int]:
    """Return a terminal's rows, columns, and size in pixels; 24 by 80 where it tells none."""
    with contextlib.suppress(OSError):
        rows, columns, width, height = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))
        if rows and columns:
            return rows, columns, width, height
    return _NO_SIZE


class RawTerminal:
    """A terminal that can be made raw, and be given back.

    Attributes:
        modes: as they were when this was made.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.modes: Modes = termios.tcgetattr(fd)

    def enter(self) -> None:
        """Make it raw (cfmakeraw(3))."""
        modes = [*self.modes[:_SIGNS], list(self.modes[_SIGNS])]
        modes[_INPUT] &= ~(
            termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
            | termios.ICRNL | termios.IXON
        )  # fmt: skip
        modes[_OUTPUT] &= ~termios.OPOST
        modes[_CONTROL] = modes[_CONTROL] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        modes[_LOCAL] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        modes[_SIGNS][termios.VMIN], modes[_SIGNS][termios.VTIME] = 1, 0
        termios.tcsetattr(self._fd, termios.TCSADRAIN, modes)

    def leave(self) -> None:
        """Give it its modes back; a terminal that is gone has none."""
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self.modes)
