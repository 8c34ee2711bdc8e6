"""Keeps a peer that errs again and again from writing the log full.

Owns which warnings and errors are written: of each kind, and each peer, one line a second.  The others are
counted, and the count is written once the second is over, also where nothing else is logged any more.

The kind of a line is the text that it is made from; the peer is the first value filled in.  Where that is
another one each time, `MOST_PEERS` get a line of their own, and the rest is counted together.  Only lines
of daemonry itself: what a program logs, it may mean as often as it says it.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from daemonry import clock

# A person who looks for a fault needs one line; twelve rotated files hold a day of one a second.
PERIOD_S: Final = 1.0
# Lines of one kind in a second that come from different peers, such as processes that each err once.
MOST_PEERS: Final = 10

_OTHERS: Final = "others"


class _Burst:
    """Lines of one kind and peer within a second.

    Attributes:
        began_s: when the first one was written.
        last: the last one that was not; None if there was none.
        repeated: how many were not.
    """

    __slots__ = ("began_s", "last", "repeated")

    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self.repeated = 0
        self.last: logging.LogRecord | None = None


class FloodFilter(logging.Filter):
    """A handler's filter.

    Args:
        handler: the handler; it is also given the counts.  Its lock is used, which logging itself makes
            again in a forked child.
    """

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__("daemonry")
        self._handler = handler
        self._bursts: dict[tuple[str, str], _Burst] = {}
        self._timer: threading.Timer | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a line is written now."""
        is_ours = super().filter(record)
        if record.levelno < logging.WARNING or not is_ours or hasattr(record, "repeated"):
            return True
        self._handler.acquire()
        try:
            self.tell()
            return self._is_first(record)
        finally:
            self._handler.release()

    def tell(self, *, all_of_them: bool = False) -> None:
        """Write the counts of the seconds that are over."""
        now_s = clock.monotonic()
        self._handler.acquire()
        try:
            for key, burst in list(self._bursts.items()):
                if all_of_them or now_s - burst.began_s >= PERIOD_S:
                    del self._bursts[key]
                    self._count(burst, now_s)
        finally:
            self._handler.release()

    def _is_first(self, record: logging.LogRecord) -> bool:
        kind = f"{record.name} {record.msg}"
        first = record.args[0] if isinstance(record.args, tuple) and record.args else ""
        key = (kind, f"peer {first}")
        burst = self._bursts.get(key)
        if burst is None and sum(1 for other, _ in self._bursts if other == kind) >= MOST_PEERS:
            key = (kind, _OTHERS)
            burst = self._bursts.setdefault(key, _Burst(clock.monotonic()))
        if burst is None:
            self._bursts[key] = _Burst(clock.monotonic())
            return True
        burst.repeated += 1
        burst.last = record
        self._look_later()
        return False

    def _count(self, burst: _Burst, now_s: float) -> None:
        last = burst.last
        if last is None:
            return
        more = f"{burst.repeated} more in {now_s - burst.began_s:.1f} s, the last: {last.getMessage()}"
        line = logging.LogRecord(last.name, last.levelno, last.pathname, last.lineno, more, None, None)
        line.repeated = burst.repeated
        self._handler.handle(line)

    def _look_later(self) -> None:
        if self._timer is not None and self._timer.is_alive():
            return
        self._timer = threading.Timer(PERIOD_S, self._look)
        self._timer.name = "daemonry-log-counts"
        self._timer.daemon = True
        try:
            self._timer.start()
        except RuntimeError:
            self._timer = None  # no further thread: the next line tells

    def _look(self) -> None:
        self.tell()
        self._handler.acquire()
        try:
            self._timer = None
            if any(burst.repeated for burst in self._bursts.values()):
                self._look_later()
        finally:
            self._handler.release()

    def close(self) -> None:
        """Write all counts, and look no more."""
        if self._timer is not None:
            self._timer.cancel()
        self.tell(all_of_them=True)
