"""A debugger in the daemon: pdb over a socket, for `breakpoint()` and for the loop.

Owns the wait of a `breakpoint()` for somebody who attaches.  The thread that came to it listens at a socket
of its own beside the daemon's, since it may be the thread that would have accepted.  Only a process of the
same user is let in.  Leaving the debugger lets the program go on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pdb  # noqa: T100  # the debugger itself
import socket
import sys
import threading
from types import FrameType
from typing import IO, Any, Final

from daemonry.clock import Deadline
from daemonry.limits import BREAKPOINT_WAIT_S
from daemonry.process.program import development
from daemonry.terminal_text import printable
from daemonry.transport.credentials import peer_of

logger: logging.Logger = logging.getLogger("daemonry.debug")

# How often it is looked whether the other end is gone while the program runs.
_WATCH_S: Final = 0.5
_one_at_a_time: Final = threading.Lock()


class _SocketPdb(pdb.Pdb):
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

    do_c = do_cont = do_continue

    def do_quit(self, arg: str) -> bool | None:
        """End the debugger, and let the program go on."""
        self.end()
        return True

    do_q = do_exit = do_EOF = do_quit  # noqa: N815  # pdb's names

    def interaction(self, *arguments: Any) -> None:
        """Prompt; an end of the connection is the end of the debugger."""
        self._prompts = True
        try:
            super().interaction(*arguments)
        except (OSError, ValueError):
            self.end()
        finally:
            self._prompts = False


def debug_loop(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    """Stop a loop at its next turn, and return when the debugger there has ended."""
    debugger = _SocketPdb(socket.socket(fileno=sock.detach()))
    loop.call_soon_threadsafe(_stop_here, debugger)
    debugger.watch()


def _stop_here(debugger: _SocketPdb) -> None:
    debugger.set_trace(sys._getframe())  # noqa: SLF001  # documented, in spite of its name


def install(path: str, name: str) -> None:
    """Have `breakpoint()` wait for somebody who attaches, in a daemon that has no terminal.

    Args:
        path: the socket at which it waits.
        name: the daemon's, for the line that says how to attach.
    """
    usual = sys.breakpointhook

    def hook(*arguments: Any, **named: Any) -> Any:
        if os.environ.get("PYTHONBREAKPOINT"):
            return usual(*arguments, **named)
        frame = sys._getframe(1)  # noqa: SLF001
        if not development.is_on():
            logger.warning("breakpoint() at %s is passed over: it waits with DAEMONRY_DEV=1", _where(frame))
            return None
        debugger = _attached(path, name, frame)
        if debugger is not None:
            threading.Thread(target=debugger.watch, name="daemonry-debugger", daemon=True).start()
            debugger.set_trace(frame)
        return None

    sys.breakpointhook = hook


def _attached(path: str, name: str, frame: FrameType) -> _SocketPdb | None:
    """Return a debugger for whoever attaches in time; None for nobody."""
    with _one_at_a_time:
        logger.warning("breakpoint() at %s waits for: daemonry attach %s --debugger", _where(frame), name)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if os.path.exists(path):
                os.unlink(path)
            listener.bind(path)
            os.chmod(path, 0o600)
            listener.listen(1)
            return _accepted(listener)
        except OSError as error:
            logger.warning("breakpoint() at %s is passed over: %s", _where(frame), error)
            return None
        finally:
            listener.close()
            if os.path.exists(path):
                os.unlink(path)


def _accepted(listener: socket.socket) -> _SocketPdb | None:
    deadline = Deadline(BREAKPOINT_WAIT_S)
    while not deadline.expired:
        listener.settimeout(deadline.remaining_s())
        try:
            sock, _ = listener.accept()
        except TimeoutError:
            break
        if peer_of(sock).is_own_user:
            sock.setblocking(True)
            return _SocketPdb(sock)
        sock.close()
    logger.warning("nobody attached within %g s: breakpoint() is passed over", BREAKPOINT_WAIT_S)
    return None


def _where(frame: FrameType) -> str:
    return printable(f"{frame.f_code.co_filename}:{frame.f_lineno}")
