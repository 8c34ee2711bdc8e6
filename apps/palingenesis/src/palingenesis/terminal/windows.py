"""The windows of a terminal: the one that shows it, and those that have not named their wish yet.

Owns the connections and the messages on them.  One window at a time: one that attaches takes the place of the
one before.  A window that does not keep up holds the program up for a while, as any terminal does, and is
drawn again later.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import time
from typing import Final, Protocol

from palingenesis.terminal import frames

# What a window may have unread before the program has to wait.
MAX_UNREAD_BYTES: Final = 256 * 2**10
# How long the program waits for a window that reads nothing; one that reads again later is drawn again.
LAG_S: Final = 10.0

Size = tuple[int, int, int, int]


class Window:
    """A window at the other end of a connection.

    Attributes:
        socket: the connection.
        size: its size; None until it told one.
        lagging: whether it gets nothing until it has read its backlog; then it is drawn again.
        full_since_s: since when it has as much unread as it may; None while it has less.
        decided_by_s: its deadline for naming its wish.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection
        self.decoder = frames.Decoder()
        self.out = bytearray()
        self.size: tuple[int, int, int, int] | None = None
        self.lagging = False
        self.full_since_s: float | None = None
        self.decided_by_s = time.monotonic() + LAG_S

    def send(self, kind: bytes, data: bytes = b"") -> None:
        """Send a message, as soon as the window reads."""
        self.out += frames.frame(kind, data)

    def flush(self) -> bool:
        """Send as much as it takes now; False where it is gone."""
        try:
            while self.out:
                sent = self.socket.send(self.out[:65536])
                del self.out[:sent]
        except BlockingIOError:
            pass
        except OSError:
            return False
        if len(self.out) < MAX_UNREAD_BYTES:
            self.full_since_s = None
        elif self.full_since_s is None:
            self.full_since_s = time.monotonic()
        return True


class Windowed(Protocol):
    """The terminal, as its windows need it."""

    def drawn(self) -> bytes:
        """Return what draws its screen in an empty window."""

    def attached(self, size: Size | None) -> None:
        """Take note of a window that shows it, and of its size; None when there is none any more."""

    def attached_later(self) -> None:
        """Have the program draw itself: the window is another than the one that it was begun in."""

    def caught_up(self) -> None:
        """Have the program draw itself: of what it printed meanwhile, the screen may lack the beginning."""

    def take(self, kind: bytes, data: bytes) -> None:
        """Take a message of the window."""


class Windows:
    """The windows of one terminal.

    Args:
        listener: where they come in.
        shown: the terminal.
    """

    def __init__(self, listener: socket.socket, shown: Windowed) -> None:
        self._listener = listener
        self._shown = shown
        self._window: Window | None = None
        self._visitors: list[Window] = []

    @property
    def has_unread(self) -> bool:
        """Whether the window that is there has something to read, and still reads."""
        window = self._window
        if window is None or not window.out:
            return False
        return window.full_since_s is None or time.monotonic() < window.full_since_s + LAG_S

    @property
    def keeps_up(self) -> bool:
        """Whether the program may print: nobody looks, or the window reads, or has not for too long."""
        window = self._window
        if window is None or window.lagging or window.full_since_s is None:
            return True
        if time.monotonic() < window.full_since_s + LAG_S:
            return False
        window.lagging = True
        return True

    def register(self, selector: selectors.BaseSelector, *, may_type: bool) -> None:
        """Wait for what windows send, and for those that have something to read."""
        selector.register(self._listener, selectors.EVENT_READ, self._on_connection)
        for one in (*self._visitors, *([self._window] if self._window else [])):
            mask = selectors.EVENT_READ if may_type or one is not self._window else 0
            mask |= selectors.EVENT_WRITE if one.out else 0
            if mask:
                selector.register(one.socket, mask, lambda mask, one=one: self._on_window(one, mask))

    def show(self, data: bytes) -> None:
        """Show output."""
        if self._window is not None and not self._window.lagging:
            self.send(frames.OUTPUT, data)

    def send(self, kind: bytes, data: bytes = b"") -> None:
        """Send a message to the window that is there."""
        if self._window is not None:
            self._window.send(kind, data)
            self._flush(self._window)

    def take(self, window: Window, size: Size) -> None:
        """Have a window show the terminal."""
        self._send_off("another window has attached")
        self._window = window
        self._shown.attached(size)

    def drop_silent(self) -> None:
        """Drop visitors that have not named their wish in time."""
        for visitor in list(self._visitors):
            if time.monotonic() > visitor.decided_by_s:
                self._drop(visitor)

    def close(self) -> bool:
        """Close all; whether the window that was there has got all that it was sent."""
        self._listener.close()
        window = self._window
        for one in (*self._visitors, *([window] if window else [])):
            one.socket.close()
        return window is not None and not window.out

    def _on_connection(self, _: int) -> None:
        with contextlib.suppress(OSError):
            connection, _address = self._listener.accept()
            self._visitors.append(Window(connection))

    def _on_window(self, window: Window, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._flush(window)
        if not mask & selectors.EVENT_READ:
            return
        try:
            data = window.socket.recv(65536)
            messages = list(window.decoder.feed(data)) if data else []
        except BlockingIOError:
            return
        except (OSError, frames.FrameTooLarge):
            data, messages = b"", []
        if not data:
            self._drop(window)
        for kind, content in messages:
            if kind == frames.HELLO and window in self._visitors:
                self._on_hello(window, content)
            elif window is self._window:
                self._shown.take(kind, content)

    def _on_hello(self, window: Window, data: bytes) -> None:
        try:
            hello = json.loads(data)
            verb = hello["verb"]
            size = tuple(int(one) for one in hello.get("size", ()))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self._drop(window)
            return
        if verb == "attach" and len(size) == 4:
            self._visitors.remove(window)
            self.take(window, size)
            self.send(frames.OUTPUT, self._shown.drawn())
            self._shown.attached_later()
        elif verb == "detach":
            done = self._window is not None
            self._send_off("")
            window.send(frames.DETACHED, b"yes" if done else b"no")
            self._flush(window)
        else:
            self._drop(window)

    def _send_off(self, why: str) -> None:
        """Detach the window that is there."""
        window = self._window
        if window is None:
            return
        window.send(frames.DETACHED, why.encode())
        window.socket.settimeout(0.2)
        with contextlib.suppress(OSError):
            window.socket.sendall(window.out)
        self._drop(window)

    def _drop(self, window: Window) -> None:
        window.socket.close()
        if window in self._visitors:
            self._visitors.remove(window)
        if window is self._window:
            self._window = None
            self._shown.attached(None)

    def _flush(self, window: Window) -> None:
        if not window.flush():
            self._drop(window)
        elif window.lagging and not window.out:
            window.lagging = False
            window.full_since_s = None
            window.send(frames.OUTPUT, self._shown.drawn())
            self._shown.caught_up()
