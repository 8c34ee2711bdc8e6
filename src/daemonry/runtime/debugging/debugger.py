"""A debugger in the daemon: pdb over a socket, for `breakpoint()` and for the loop.

Owns the wait of a `breakpoint()` for somebody who attaches.  The thread that came to it listens at a socket
of its own beside the daemon's, since it may be the thread that would have accepted.  Only a process of the
same user is let in.  Leaving the debugger lets the program go on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from daemonry.clock import Deadline
from daemonry.limits import BREAKPOINT_WAIT_S
from daemonry.process.program import development
from daemonry.terminal_text import printable
from daemonry.transport.credentials import peer_of

if TYPE_CHECKING:
    from daemonry.runtime.debugging.socket_pdb import SocketPdb

logger: logging.Logger = logging.getLogger("daemonry.debug")

_one_at_a_time: Final = threading.Lock()


def debug_loop(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    """Stop a loop at its next turn, and return when the debugger there has ended."""
    from daemonry.runtime.debugging.socket_pdb import SocketPdb

    debugger = SocketPdb(socket.socket(fileno=sock.detach()))
    loop.call_soon_threadsafe(_stop_here, debugger)
    debugger.watch()


def _stop_here(debugger: SocketPdb) -> None:
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


def _attached(path: str, name: str, frame: FrameType) -> SocketPdb | None:
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


def _accepted(listener: socket.socket) -> SocketPdb | None:
    from daemonry.runtime.debugging.socket_pdb import SocketPdb

    deadline = Deadline(BREAKPOINT_WAIT_S)
    while not deadline.expired:
        listener.settimeout(deadline.remaining_s())
        try:
            sock, _ = listener.accept()
        except TimeoutError:
            break
        if peer_of(sock).is_own_user:
            sock.setblocking(True)
            return SocketPdb(sock)
        sock.close()
    logger.warning("nobody attached within %g s: breakpoint() is passed over", BREAKPOINT_WAIT_S)
    return None


def _where(frame: FrameType) -> str:
    return printable(f"{frame.f_code.co_filename}:{frame.f_lineno}")
