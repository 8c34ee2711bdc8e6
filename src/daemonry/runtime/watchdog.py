"""The guardian: a thread that keeps the daemon's promises when its loop cannot.

Owns the wait, and the signals.  The thread waits on descriptors, and on the clock only while there is
something to wait for.  Signal handlers only leave a note here (a queue whose `put` is safe in one, and a
byte in a pipe), because a handler that waited for the loop would wait for the code that blocks it.
What to look at, and what a signal means, are the callers'.
"""

from __future__ import annotations

import logging
import math
import os
import queue
import selectors
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

import msgspec

from daemonry import clock
from daemonry.limits import GUARDIAN_TICK_S
from daemonry.process.forks import not_for_children

logger: logging.Logger = logging.getLogger("daemonry.guardian")

SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGCONT")
    if hasattr(signal, name)
)
_PIECE_BYTES = 4096
_OURS = b"\0"


class Wait(msgspec.Struct, frozen=True):
    """What the guardian waits for.

    Attributes:
        timeout_s: how long at most, in seconds; None for without end.
        fds: descriptors that end the wait once they can be read.
        listener: a descriptor that ends it if it can be read and still can a tick later; -1 for none.
    """

    timeout_s: float | None
    fds: tuple[int, ...] = ()
    listener: int = -1


class Duties(Protocol):
    """What the guardian does when a wait is over."""

    def look(self, ready: frozenset[int]) -> Wait:
        """Do the duties that are due, and return the next wait.

        Args:
            ready: those of the descriptors waited for that can be read.
        """


class Guardian:
    """Does its duties whenever they are due, and a reaction to each signal, in a thread of its own."""

    def __init__(self) -> None:
        self._notes: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._before: dict[int, Any] = {}
        self._thread: threading.Thread | None = None
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        # Unlike poll(2), epoll(7) and kqueue(2) do not hold a listener that is closed during the wait.
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._have_noted: Callable[[], None] = _nothing
        not_for_children(self)

    def __repr__(self) -> str:
        watches = self._thread is not None and self._thread.is_alive()
        return f"Guardian({'watching' if watches else 'not watching'}, signals noted: {len(self._before)})"

    def start(
        self, duties: Duties, on_signal: Callable[[int], None], have_noted: Callable[[], None] | None = None
    ) -> None:
        """Begin.  Call `listen_to_signals` first, so that none is missed.

        Args:
            duties: the looks of one daemon.
            on_signal: is called with the number of each signal that came.
            have_noted: has the main thread run, so that it notes signals that came to another thread.
        """
        self._have_noted = have_noted or _nothing
        self._thread = threading.Thread(
            target=self._watch, args=(duties, on_signal), name="daemonry-guardian", daemon=True
        )
        self._thread.start()

    def listen_to_signals(self) -> None:
        """Install the handlers; only the main thread may.  Signals are noted from now on."""
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        # The kernel gives a signal to any thread, and the interpreter runs the handler when the main thread
        # runs next, which may be never.  uvloop, and a loop of which the program asks for signals, replace
        # this and wake themselves.
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def wake(self) -> None:
        """Have the duties looked at now; from any thread, and from a signal's handler."""
        try:
            os.write(self._wake_write, _OURS)
        except OSError:
            pass  # full: it wakes anyway; or closed

    def drop_in_child(self) -> None:
        """Give signals their former meaning in a forked child, where nobody reads the notes."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if self._before and (other := signal.set_wakeup_fd(-1)) not in (self._wake_write, -1):
            signal.set_wakeup_fd(other)
        self._close_descriptors()

    def close(self) -> None:
        """End the thread and wait for it; signals that come later are ignored."""
        self._notes.put(None)
        self.wake()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join()
        self._close_descriptors()

    def _close_descriptors(self) -> None:
        if self._wake_read >= 0:
            self._selector.close()
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_read = self._wake_write = -1

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._notes.put(number)
        self.wake()

    def _watch(self, duties: Duties, on_signal: Callable[[int], None]) -> None:
        ready: frozenset[int] = frozenset()
        while True:
            while not self._notes.empty():
                note = self._notes.get()
                if note is None:
                    return
                try:
                    on_signal(note)
                except Exception:
                    logger.exception("a duty of the guardian failed")
            try:
                wait = duties.look(ready)
            except Exception:
                logger.exception("a duty of the guardian failed")
                wait = Wait(GUARDIAN_TICK_S)
            ready = self._wait(wait)

    def _wait(self, wait: Wait) -> frozenset[int]:
        fds = [*wait.fds, *([wait.listener] if wait.listener >= 0 else [])]
        watched = [fd for fd in fds if self._add(fd)]
        # One that could not be watched is looked at by the clock.
        timeout_s = wait.timeout_s if len(watched) == len(fds) else GUARDIAN_TICK_S
        try:
            found = self._called_by(math.inf if timeout_s is None else timeout_s, wait.listener)
        except OSError:  # no memory
            clock.sleep(GUARDIAN_TICK_S)
            found = set()
        for fd in watched:
            if fd in self._selector.get_map():
                self._selector.unregister(fd)  # a closed descriptor is not an error
        if self._wake_read in found:
            found.discard(self._wake_read)
            self._take_bytes()
        return frozenset(found)

    def _called_by(self, timeout_s: float, listener: int) -> set[int]:
        """Wait; return the descriptors that can be read.

        A client that the loop takes within a tick costs these few lines.  In a daemon that was idle for a
        while, whatever else is looked at has left the processor's caches, and takes longer than the answer.
        """
        until_s = clock.monotonic() + timeout_s
        while True:
            found = self._select(until_s)
            if found != {listener}:
                return found
            self._selector.unregister(listener)
            found = self._select(min(until_s, clock.monotonic() + GUARDIAN_TICK_S))
            if found or not self._add(listener):
                return found | {listener}
            if found := self._select(0.0):
                return found

    def _select(self, until_s: float) -> set[int]:
        timeout_s = None if until_s == math.inf else max(0.0, until_s - clock.monotonic())
        return {key.fd for key, _ in self._selector.select(timeout_s)}

    def _add(self, fd: int) -> bool:
        try:
            self._selector.register(fd, selectors.EVENT_READ)
        except (OSError, ValueError, KeyError):
            return False
        return True

    def _take_bytes(self) -> None:
        try:
            data = os.read(self._wake_read, _PIECE_BYTES)
        except OSError:
            return
        if data.strip(_OURS):  # signals, by their numbers
            self._have_noted()


def _nothing() -> None:
    """Do nothing: nobody needs it."""
