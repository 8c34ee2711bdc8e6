"""A daemon's jobs other than calls: counted, so that it does not end under them.

Owns the count.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Jobs:
    """The jobs in hand other than calls; counted from any thread.

    Attributes:
        begun: how many have begun.
        running: how many there are.
        when_begun: called once, in the thread that begins the next one; None for nobody.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self.running: int = 0
        self.begun: int = 0
        self.when_begun: Callable[[], None] | None = None

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Count one job while the block runs."""
        with self._mutex:
            self.running += 1
            self.begun += 1
            tell, self.when_begun = self.when_begun, None
        if tell is not None:
            tell()
        try:
            yield
        finally:
            with self._mutex:
                self.running -= 1
