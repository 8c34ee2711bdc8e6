"""pdb whose terminal is a socket.

Owns the class.  It is imported when somebody debugs: pdb and what it imports would cost each daemon's start.
"""

from __future__ import annotations

import pdb  # noqa: T100  # the debugger itself
import socket
import threading
from typing import IO, Any, Final

# How often it is looked whether the other end is gone while the program runs.
_WATCH_S: Final = 0.5


class SocketPdb(pdb.Pdb):
    """pdb whose terminal is a socket; whoever leaves it lets the program go on.

    Args:
        sock: the socket, which is closed at the end.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # Two files: a single one loses its read-ahead when it writes.
        self._reads: IO[str] = sock.makefile("r", encoding="utf-8", errors="replace")
        self._writes: IO[str] = sock.makefile("w", encoding="utf-8", errors="backslashreplace")
        self.ended: threading.Event = threading.Event()
        self._prompts = False
        super().__init__(stdin=self._reads, stdout=self._writes, nosigint=True, readrc=False)

    def watch(self) -> None:
        """Return when the debugger has ended; end it where the other end goes while the program runs."""
        while not self.ended.wait(_WATCH_S):
            try:
                gone = not self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            except OSError:
                gone = True
            if gone and not self._prompts:
                self.end()

    def end(self) -> None:
        """Let go of the program and the socket.  Twice is not an error."""
        if self.ended.is_set():
            return
        self.ended.set()
        self.clear_all_breaks()
        self.set_continue()
        for file in (self._writes, self._reads):
            try:
                file.close()
            except OSError:
                pass  # the other end is gone
        self._sock.close()

    def do_continue(self, arg: str) -> bool | None:
        """Go on; without a breakpoint the debugger ends with that."""
        if not self.breaks:
            self.end()
            return True
        return super().do_continue(arg)

    # pdb's other names, which its class binds to its own: an alias would have no type of its own.
    def do_c(self, arg: str) -> bool | None:
        """As `do_continue`."""
        return self.do_continue(arg)

    def do_cont(self, arg: str) -> bool | None:
        """As `do_continue`."""
        return self.do_continue(arg)

    def do_quit(self, arg: str) -> bool | None:
        """End the debugger, and let the program go on."""
        self.end()
        return True

    def do_q(self, arg: str) -> bool | None:
        """As `do_quit`."""
        return self.do_quit(arg)

    def do_exit(self, arg: str) -> bool | None:
        """As `do_quit`."""
        return self.do_quit(arg)

    def do_EOF(self, arg: str) -> bool | None:  # noqa: N802  # pdb's name
        """As `do_quit`."""
        return self.do_quit(arg)

    def interaction(self, *arguments: Any) -> None:
        """Prompt; an end of the connection is the end of the debugger."""
        self._prompts = True
        try:
            super().interaction(*arguments)
        except (OSError, ValueError):
            self.end()
        finally:
            self._prompts = False
