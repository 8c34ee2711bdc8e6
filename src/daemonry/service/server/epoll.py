"""Finding the few sockets that have sent something among many that have not: an epoll inside the loop's.

Owns that epoll and the callbacks.  A reader of the loop itself costs uvloop seven system calls from
first to last, and a kilobyte; one of these costs two, and an entry in a dict, which is right for whoever
connects, says one thing and leaves, and for whoever says nothing.  What comes costs one system call
more here, so that a connection in use is better watched by the loop.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from functools import partial

from daemonry.native_calls import calls as native_calls

HAS_EPOLL = hasattr(select, "epoll")
# Of those who have sent something, how many are heard in one turn; the others are in the next.
_MOST_AT_ONCE = 64  # `native/calls/hear.h` has the same


# The native part hears many in one step, for one system call more; beyond so many that is less than the loop
# takes for each of them.
_FEW = 4


class Readers:
    """Calls back when a descriptor is readable, as the loop's own readers do.

    Args:
        loop: the loop on which the callbacks run.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._epoll = select.epoll()
        fd = self._epoll.fileno()
        if native_calls is None:
            loop.add_reader(fd, self._readable)
        else:
            loop.add_reader(fd, partial(native_calls.hear, fd, self._callbacks, self._failed))

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        """Call `callback` whenever `fd` is readable, and no other that was asked for it before."""
        if fd not in self._callbacks:
            self._epoll.register(fd, select.EPOLLIN)
        self._callbacks[fd] = callback

    def remove_reader(self, fd: int) -> None:
        """Ask for nothing more; before `fd` is closed.  Twice is not an error."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def close(self) -> None:
        """Watch nothing any more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._callbacks.clear()
        self._epoll.close()

    def drop_in_child(self) -> None:
        """Close a forked child's copy; the sockets that it watches are the parent's too."""
        self._epoll.close()

    def _readable(self) -> None:
        for fd, _ in self._epoll.poll(0, _MOST_AT_ONCE):
            # One of those before may have ended it.
            callback = self._callbacks.get(fd)
            if callback is None:
                continue
            try:
                callback()
            except Exception as error:  # noqa: BLE001  # those behind it are not to wait for ever
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._loop.call_exception_handler({"message": "a reader failed", "exception": error})


def hears_many(watching: Readers | asyncio.AbstractEventLoop, count: int) -> bool:
    """Whether so many connections in use are better watched by `watching` than by the loop itself."""
    return native_calls is not None and count > _FEW and isinstance(watching, Readers)


def readers(loop: asyncio.AbstractEventLoop) -> Readers | asyncio.AbstractEventLoop:
    """Return what watches descriptors for `loop`: where there is no epoll, the loop."""
    return Readers(loop) if HAS_EPOLL else loop
