"""pyte's screen with the few things that it lacks for a window: the other screen, and the lines above.

Owns the difference to pyte.  Imported only where pyte is installed.
"""

from __future__ import annotations

import collections
import copy
from typing import Any, Final

import pyte

_OTHER_SCREENS: Final = frozenset({47, 1047, 1049})
# 80 or 132 columns: programs of today do not ask for it, and it would change the size.
_COLUMNS: Final = 3


class Drawn(pyte.Screen):
    """A screen of `rows` by `columns`.

    Attributes:
        history: the last lines that left the screen at its top, at most `max_history`.
    """

    def __init__(self, rows: int, columns: int, max_history: int) -> None:
        self.history: collections.deque[Any] = collections.deque(maxlen=max_history)
        self._main: Any = None
        super().__init__(columns, rows)

    @property
    def is_other(self) -> bool:
        """Whether it shows the other screen, which has no lines above."""
        return self._main is not None

    def index(self) -> None:
        """Go one line down; at the bottom, the first line leaves."""
        top, bottom = self.margins or (0, self.lines - 1)
        if self.cursor.y == bottom and top == 0 and self._main is None:
            self.history.append(copy.copy(self.buffer[0]))  # its own `copy` forgets what an unset cell is
        super().index()

    def set_mode(self, *modes: int, **how: Any) -> None:
        """As pyte's, and go to the other screen."""
        if how.get("private") and _OTHER_SCREENS & set(modes) and self._main is None:
            self._main = copy.deepcopy(self.buffer), copy.copy(self.cursor)
            self.erase_in_display(2)
        super().set_mode(*(mode for mode in modes if mode != _COLUMNS), **how)

    def reset_mode(self, *modes: int, **how: Any) -> None:
        """As pyte's, and come back from the other screen."""
        if how.get("private") and _OTHER_SCREENS & set(modes) and self._main is not None:
            self.buffer, self.cursor = self._main
            self._main = None
        super().reset_mode(*(mode for mode in modes if mode != _COLUMNS), **how)

    def select_graphic_rendition(self, *attrs: int, **_: Any) -> None:
        """As pyte's, also for a private sequence."""
        super().select_graphic_rendition(*attrs)

    def report_device_status(self, *_: Any, **__: Any) -> None:
        """Say nothing: the window answers."""

    def report_device_attributes(self, *_: Any, **__: Any) -> None:
        """Say nothing: the window answers."""


class Patient(pyte.ByteStream):
    """pyte's stream; a sequence that it cannot take is left out, and what follows is not."""

    def _send_to_parser(self, data: str) -> bool | None:
        try:
            return super()._send_to_parser(data)
        except Exception:  # noqa: BLE001  # any output of any program; the parser has begun again
            return True
