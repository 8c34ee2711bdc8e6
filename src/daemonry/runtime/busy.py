"""A daemon's jobs other than calls: counted, so that it does not end under them.

Owns the count.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Jobs:
    """The jobs in hand other than calls; counted from any thread."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self.running: int = 0
        self.begun: int = 0

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Count one job while the block runs."""
        with self._mutex:
            self.running += 1
            self.begun += 1
        try:
            yield
        finally:
            with self._mutex:
                self.running -= 1
