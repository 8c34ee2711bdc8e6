"""A bound on checks whose rules are somebody else's.

Owns the limit.  A server's `pattern` can take a regular expression's exponential time, and references that
double at each step take it without one; both would hold the process that all servers share.  What counts is
the process's own CPU time, so that a busy machine cuts nothing short.  Python's regular expressions look
for signals while they match.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Final

# A check takes well below a millisecond.
MOST_CPU_S: Final = 1.0
# Until it is ended again, where a library took the first end for an error of its own.
AGAIN_S: Final = 0.05


class TookTooLong(Exception):
    """A check was ended."""

    def __init__(self) -> None:
        super().__init__(f"checking against it takes longer than {MOST_CPU_S:g} s")


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    """End what takes longer; in another thread than the main one, which no signal reaches, nothing is ended.

    Raises:
        TookTooLong: it did.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    late = False

    def end(*_: object) -> None:
        nonlocal late
        late = True
        raise TookTooLong

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, MOST_CPU_S, AGAIN_S)
    try:
        yield
    except Exception:
        if late:  # whatever became of it on its way
            raise TookTooLong from None
        raise
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    if late:
        raise TookTooLong
