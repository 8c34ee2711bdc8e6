"""A connection that speaks another protocol: the handler's `speak`, until it returns.

Owns the socket from the reply to the upgrade on, and closes it.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from _socket import SHUT_RDWR
from collections.abc import Callable
from concurrent.futures import Executor
from socket import socket as Socket

from daemonry.service.interface.handler import Speak

logger: logging.Logger = logging.getLogger("daemonry.server")


class Upgraded:
    """What speaks on a connection that was handed over.

    Args:
        loop: the loop that served it.
        threads: where a `speak` that blocks runs.
        sock: the connection; closed by this object.
        speak: the other protocol.
        early: the bytes that came for it already.
        done: called once, when the other protocol is done.
    """

    __slots__ = ("_done", "_sock", "_task", "_threads")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        threads: Executor,
        sock: Socket,
        speak: Speak,
        early: bytes,
        done: Callable[[], None],
    ) -> None:
        self._threads = threads
        self._sock = sock
        self._done = done
        self._task = loop.create_task(self._speak(speak, early))

    def end(self) -> None:
        """Cancel what speaks, and shut the socket of what blocks."""
        try:
            self._sock.shutdown(SHUT_RDWR)  # wakes a thread that reads
        except OSError:
            pass  # the peer was quicker, or the socket was detached
        self._task.cancel()

    async def _speak(self, speak: Speak, early: bytes) -> None:
        sock = self._sock
        try:
            if inspect.iscoroutinefunction(speak):
                with sock:
                    sock.setblocking(False)
                    await speak(sock, early)
            else:
                await self._speak_in_thread(speak, early)
        except Exception:
            logger.exception("an upgraded connection failed")
        finally:
            self._done()

    async def _speak_in_thread(self, speak: Speak, early: bytes) -> None:
        sock = self._sock

        def run() -> None:
            # Closed here and not on the loop, which may end while this thread still uses it.
            with sock:
                sock.setblocking(True)
                speak(sock, early)

        spoken = self._threads.submit(run)
        try:
            await asyncio.wrap_future(spoken)
        finally:
            if spoken.cancelled():
                sock.close()
