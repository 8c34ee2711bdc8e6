"""Broadcast topics: values that many readers follow, with the last ones kept for those who come later.

    changes: Topic[Change] = Topic(keep=100)
    changes.publish(change)                            # in the daemon, from any thread
    async for one in changes.read(after=cursor): ...   # a stream method returns `changes.read(after)`

Owns a ring of the last values, and where each reader is in it.  Nothing is queued for a reader: it holds a
number.  One that is slower than the publisher skips what the ring has dropped, and sees how many that were.
A topic lives as long as its process; a cursor of an earlier process gets all that is kept.

A cursor is `EPOCH-NUMBER`, as the ids of Redis streams have two parts: the process, and the value in it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Published(Generic[Value]):
    """A value as a reader gets it.

    Attributes:
        cursor: to be handed to `read(after=...)`, to go on behind this value.
        value: the value itself, the same object for all readers: nobody may change it.
        missed: how many values before it this reader will never get, because the ring had dropped them.
    """

    __slots__ = ("cursor", "missed", "value")

    def __init__(self, cursor: str, value: Value, missed: int) -> None:
        self.cursor: str = cursor
        self.value: Value = value
        self.missed: int = missed

    def __repr__(self) -> str:
        return f"Published({self.cursor!r}, {self.value!r}, missed={self.missed})"


class Topic(Generic[Value]):
    """A bounded broadcast: the last `keep` values, and their readers.  For any thread.

    Args:
        keep: how many values are kept; a reader that falls back further misses some.

    Raises:
        ValueError: `keep` is less than one.
    """

    def __init__(self, *, keep: int = 100) -> None:
        if keep < 1:
            raise ValueError(f"a topic keeps at least one value, and not {keep}")
        self._kept: deque[Value] = deque(maxlen=keep)
        self._count = 0  # of all values ever published
        self._epoch = os.urandom(4).hex()
        self._closed = False
        self._lock = threading.Lock()
        self._waiting: list[asyncio.Future[None]] = []

    def publish(self, value: Value) -> str:
        """Hand a value to all readers, keep it, and return its cursor.  Never waits for a reader.

        Raises:
            RuntimeError: the topic is closed.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the topic is closed")
            self._kept.append(value)
            self._count += 1
            cursor = self._cursor(self._count)
            waiting, self._waiting = self._waiting, []
        _wake(waiting)
        return cursor

    @property
    def last(self) -> Value | None:
        """The last value; None before the first."""
        with self._lock:
            return self._kept[-1] if self._kept else None

    @property
    def cursor(self) -> str:
        """The cursor of the last value: `read(after=...)` with it gives what comes later."""
        with self._lock:
            return self._cursor(self._count)

    def recent(self, count: int) -> list[Value]:
        """Return the last `count` values that are kept, the oldest first."""
        with self._lock:
            return list(self._kept)[-count:] if count > 0 else []

    def close(self) -> None:
        """End the topic: each reader gets the values that are kept, and its end.  Twice is not an error."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, []
        _wake(waiting)

    async def read(self, after: str = "", *, last: int = 0) -> AsyncIterator[Published[Value]]:
        """Yield values as they are published, without an end until the topic is closed.

        Args:
            after: the cursor of the last value that the reader has; all behind it come, as far as they are
                kept.  "" begins with the next value to be published.
            last: begin with the last so many that are kept, where there is no cursor.

        Raises:
            ValueError: `after` is not a cursor.
        """
        position = self._begin(after, last)
        while True:
            with self._lock:
                oldest = self._count - len(self._kept)
                missed = max(0, oldest - position)
                position += missed
                if position < self._count:
                    value, waiting = self._kept[position - oldest], None
                elif self._closed:
                    return
                else:
                    waiting = asyncio.get_running_loop().create_future()
                    self._waiting.append(waiting)
            if waiting is not None:
                await self._wait(waiting)
                continue
            position += 1
            yield Published(self._cursor(position), value, missed)

    async def values(self, after: str = "", *, last: int = 0) -> AsyncIterator[Value]:
        """Yield the values of `read` alone."""
        async for one in self.read(after, last=last):
            yield one.value

    async def _wait(self, waiting: asyncio.Future[None]) -> None:
        try:
            await waiting
        finally:
            with self._lock:
                if waiting in self._waiting:
                    self._waiting.remove(waiting)

    def _cursor(self, number: int) -> str:
        return f"{self._epoch}-{number}"

    def _begin(self, after: str, last: int) -> int:
        """Return how many values the reader has, or does not want."""
        with self._lock:
            oldest = self._count - len(self._kept)
            if not after:
                return max(oldest, self._count - max(0, last))
            epoch, dash, number = after.partition("-")
            if not (epoch and dash and number.isascii() and number.isdigit() and len(number) < 20):
                raise ValueError(f"{after[:80]!r} is not a cursor of a topic")
            if epoch != self._epoch:
                return oldest  # of an earlier process, whose values nobody knows here
            return min(int(number), self._count)


def _wake(waiting: list[asyncio.Future[None]]) -> None:
    for future in waiting:
        try:
            future.get_loop().call_soon_threadsafe(_done, future)
        except RuntimeError:
            pass  # its loop is closed, and its reader with it


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
