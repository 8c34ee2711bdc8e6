"""What a starting daemon tells its starter, over a pipe: stages, then ready or failed.

    {"stage": "config"}
    {"ready": {...the record...}}
    {"failed": {"stage": "config", "error": "..."}}
    {"running": {"pid": 12, "endpoint": "unix:..."}}     another process is this daemon

Owns the messages.  The end of the pipe without one of the last three means that the process died;
nothing is ever guessed from files or from time.
"""

from __future__ import annotations

import os

from daemonry import strict_json
from daemonry.clock import Deadline
from daemonry.errors import BadFrame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


class Reporter:
    """The daemon's end.  Without a descriptor nobody listens, and nothing is sent.

    Attributes:
        has_starter: whether a starter waits for this process, or has given up waiting.
        stage: the present stage of the start.
    """

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self.has_starter: bool = fd is not None
        self.stage: str = "spawn"
        if fd is not None:
            os.set_inheritable(fd, False)

    def enter(self, stage: str) -> None:
        """Tell that `stage` has begun."""
        self.stage = stage
        self._send({"stage": stage})

    def ready(self, record: dict[str, Any]) -> None:
        """Tell that the daemon serves.  The last message."""
        self._send({"ready": record})
        self._close()

    def failed(self, error: str) -> bool:
        """Tell that the present stage failed, and why; return whether it was told.  The last message."""
        shown = strict_json.decode(strict_json.encode(error))  # names in it are words for a person by now
        self._send({"failed": {"stage": self.stage, "error": shown}})
        told = self._fd is not None
        self._close()
        return told

    def already_running(self, pid: int | None, endpoint: str | None) -> None:
        """Tell that somebody else is this daemon.  The last message."""
        self._send({"running": {"pid": pid, "endpoint": endpoint}})
        self._close()

    def _send(self, message: dict[str, Any]) -> None:
        if self._fd is None:
            return
        try:
            os.write(self._fd, (strict_json.encode_names(message) + "\n").encode())
        except OSError:
            self._close()  # the starter is gone; the daemon is not

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def messages(fd: int, deadline: Deadline) -> Iterator[dict[str, Any] | None]:
    """Yield what the daemon tells until it closes the pipe; None once when the deadline comes."""
    from daemonry.process.selector import wait_readable

    held = b""
    while True:
        if not wait_readable(fd, deadline.remaining_s()):
            yield None
            return
        data = os.read(fd, 65536)
        if not data:
            return
        *lines, held = (held + data).split(b"\n")
        for line in lines:
            try:
                yield strict_json.decode_object(line.decode(), with_names=True)
            except (BadFrame, UnicodeDecodeError):
                continue  # not ours: a library wrote to every descriptor that it found
