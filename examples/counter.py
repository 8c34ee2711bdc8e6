"""A daemon that counts for whoever calls: a method, an error and a stream."""

import asyncio
from collections.abc import AsyncIterator

from daemonry import CallError, Daemon, Interface

LIMIT = 100


class TooFar(CallError):
    """The count would pass its limit."""

    limit: int


class Counter(Interface, name="org.example.counter", errors=(TooFar,)):
    """Counts."""

    def __init__(self) -> None:
        self.count = 0
        self.changed = asyncio.Event()

    def add(self, steps: int = 1) -> int:
        """Count on, and return how far it is now."""
        if self.count + steps > LIMIT:
            raise TooFar(limit=LIMIT)
        self.count += steps
        self.changed.set()
        self.changed = asyncio.Event()
        return self.count

    async def watch(self) -> AsyncIterator[int]:
        """Return the count now, and again whenever it changes."""
        while True:
            changed = self.changed
            yield self.count
            await changed.wait()


daemon = Daemon("counter", version="1.0")
daemon.serve(Counter())

if __name__ == "__main__":
    daemon.main()
