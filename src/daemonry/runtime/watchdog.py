"""The guardian: a thread that keeps the daemon's promises when its loop cannot.

Owns a slow tick, and the signals.  Signal handlers only leave a note here (a queue whose `put`
is safe in one), because a handler that waited for the loop would wait for whatever blocks it.
What is done at a tick or a signal is the callers'.
"""

from __future__ import annotations

import logging
import queue
import signal
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from daemonry.limits import GUARDIAN_TICK_S

logger = logging.getLogger("daemonry.guardian")

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
)


class Guardian:
    """Runs duties at each tick, and a reaction to each signal, in a thread of its own.

    Args:
        duties: each is called at every tick with the seconds that it may take.
        on_signal: is called with the number of each signal that came.
    """

    def __init__(self, duties: Iterable[Callable[[float], None]], on_signal: Callable[[int], None]) -> None:
        self._duties = tuple(duties)
        self._on_signal = on_signal
        self._notes: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._before: dict[int, Any] = {}
        self._thread = threading.Thread(target=self._watch, name="daemonry-guardian", daemon=True)

    def start(self) -> None:
        """Begin.  Call `listen_to_signals` first, so that none is missed."""
        self._thread.start()

    def listen_to_signals(self) -> None:
        """Install the handlers; only the main thread may."""
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}

    def forget_signals(self) -> None:
        """Give the signals the meaning back that they had before; for a child that was forked."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def close(self) -> None:
        """End the thread and wait for it; signals that come later are ignored."""
        self._notes.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._notes.put(number)

    def _watch(self) -> None:
        while True:
            try:
                note = self._notes.get(timeout=GUARDIAN_TICK_S)
            except queue.Empty:
                self._tick()
                continue
            if note is None:
                return
            self._guarded(self._on_signal, note)

    def _tick(self) -> None:
        for duty in self._duties:
            self._guarded(duty, GUARDIAN_TICK_S)

    def _guarded(self, duty: Callable[..., None], argument: float) -> None:
        try:
            duty(argument)
        except Exception:
            logger.exception("a duty of the guardian failed")
