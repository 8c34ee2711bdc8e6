"""A cache that many processes share: the first to need it starts it, and it ends with the last one.

from kvd import cache

with cache() as kv:
    kv.put("answer", b"42", ttl_s=60)
    kv.get("answer")
    kv.add("hits", 1)
"""

import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import daemonry

MOST_ENTRIES = 100_000


class Cache(daemonry.Interface, name="org.example.cache"):
    """Keeps values and counters in memory; the least recently used go first."""

    def __init__(self) -> None:
        self.values: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self.counters: dict[str, int] = {}

    def put(self, key: str, value: bytes, ttl_s: float = 3600.0) -> None:
        """Keep a value for some time."""
        self.values[key] = (time.monotonic() + ttl_s, value)
        self.values.move_to_end(key)
        while len(self.values) > MOST_ENTRIES:
            self.values.popitem(last=False)

    def get(self, key: str) -> bytes | None:
        """Return a value; null if it is not there, or its time is over."""
        until_s, value = self.values.get(key, (0.0, None))
        if until_s < time.monotonic():
            self.values.pop(key, None)
            return None
        self.values.move_to_end(key)
        return value

    def add(self, key: str, steps: int = 1) -> int:
        """Count, and return the sum: no two callers see the same one."""
        self.counters[key] = self.counters.get(key, 0) + steps
        return self.counters[key]


daemon = daemonry.Daemon("kvd", version="1.0", idle_timeout_s=300.0)
daemon.serve(Cache)


@contextmanager
def cache() -> Iterator[Cache]:
    """Give a client of the cache, which is started if need be."""
    with daemonry.ensure(daemon) as client:
        yield client.proxy(Cache)


if __name__ == "__main__":
    daemon.main()
