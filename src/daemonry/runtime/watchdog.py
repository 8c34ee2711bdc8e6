"""The guardian: a thread that keeps the daemon's promises when its loop cannot.

Owns a slow tick, and the signals.  Signal handlers only leave a note here (a queue whose `put`
is safe in one), because a handler that waited for the loop would wait for the code that blocks it.
The actions at a tick or a signal are the callers'.
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
from daemonry.process.forks import not_for_children

logger: logging.Logger = logging.getLogger("daemonry.guardian")

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
)


class Guardian:
    """Runs duties at each tick, and a reaction to each signal, in a thread of its own."""

    def __init__(self) -> None:
        self._notes: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._before: dict[int, Any] = {}
        self._thread: threading.Thread | None = None
        not_for_children(self)

    def __repr__(self) -> str:
        watches = self._thread is not None and self._thread.is_alive()
        return f"Guardian({'watching' if watches else 'not watching'}, signals noted: {len(self._before)})"

    def start(self, duties: Iterable[Callable[[float], None]], on_signal: Callable[[int], None]) -> None:
        """Begin.  Call `listen_to_signals` first, so that none is missed.

        Args:
            duties: each is called at every tick with the seconds that it may take.
            on_signal: is called with the number of each signal that came.
        """
        self._thread = threading.Thread(
            target=self._watch, args=(tuple(duties), on_signal), name="daemonry-guardian", daemon=True
        )
        self._thread.start()

    def listen_to_signals(self) -> None:
        """Install the handlers; only the main thread may.  Signals are noted from now on."""
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}

    def drop_in_child(self) -> None:
        """Give signals their former meaning in a forked child, where nobody reads the notes."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def close(self) -> None:
        """End the thread and wait for it; signals that come later are ignored."""
        self._notes.put(None)
        if self._thread is not None and self._thread.is_alive():
            self._thread.join()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._notes.put(number)

    def _watch(self, duties: Iterable[Callable[[float], None]], on_signal: Callable[[int], None]) -> None:
        while True:
            try:
                note = self._notes.get(timeout=GUARDIAN_TICK_S)
            except queue.Empty:
                for duty in duties:
                    _guarded(duty, GUARDIAN_TICK_S)
                continue
            if note is None:
                return
            _guarded(on_signal, note)


def _guarded(duty: Callable[..., None], argument: float) -> None:
    try:
        duty(argument)
    except Exception:
        logger.exception("a duty of the guardian failed")
