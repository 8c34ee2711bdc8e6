"""Calls that take long: a line in the log, with where the time went.

Owns the measurement of one call and the line.  A call that is not to be measured, because no threshold was
set, costs one look at None.  Plain handlers that are not blocking hold the loop: see `standby`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from daemonry import clock

logger: logging.Logger = logging.getLogger("daemonry.calls")


class Stopwatch:
    """Measures one call.

    Args:
        full_name: the method's.
        slow_s: from when on a call is slow, in seconds.
    """

    def __init__(self, full_name: str, slow_s: float) -> None:
        self._full_name = full_name
        self._slow_s = slow_s
        self._began_s = clock.monotonic()
        self._parts: list[tuple[float, str]] = []

    def in_thread(self, work: Callable[[], Any]) -> Callable[[], Any]:
        """Return a blocking handler that is measured: its wait for a thread, and its CPU time."""

        def measured() -> Any:
            started_s, cpu_s = clock.monotonic(), time.thread_time()
            try:
                return work()
            finally:
                cpu_s = time.thread_time() - cpu_s
                self._parts = [
                    (started_s - self._began_s, "waiting for a thread"),
                    (cpu_s, "on the CPU"),
                    (clock.monotonic() - started_s - cpu_s, "waiting in its handler"),
                ]

        return measured

    def on_loop(self, result: Awaitable[Any]) -> Awaitable[Any]:
        """Return an async handler's awaitable, measured: its time on the loop, and its waits."""
        return _TimedSteps(result, self._took)

    def _took(self, held_s: float) -> None:
        self._parts = [
            (held_s, "on the loop"),
            (clock.monotonic() - self._began_s - held_s, "waiting in its handler"),
        ]

    def tell(self) -> None:
        """Write a line, if the call was slow."""
        seconds = clock.monotonic() - self._began_s
        if seconds >= self._slow_s:
            parts = ", ".join(f"{part_s:.3f} s {what}" for part_s, what in self._parts)
            logger.warning("slow call: %s took %.3f s: %s", self._full_name, seconds, parts)


class _TimedSteps:
    """An awaitable whose steps are timed."""

    __slots__ = ("_awaited", "_tell")

    def __init__(self, awaited: Awaitable[Any], tell: Callable[[float], None]) -> None:
        self._awaited = awaited
        self._tell = tell

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._awaited.__await__()
        held_s = 0.0
        send: Callable[[], Any] = lambda: steps.send(None)  # noqa: E731
        try:
            while True:
                began_s = clock.monotonic()
                try:
                    waits_for = send()
                finally:
                    held_s += clock.monotonic() - began_s
                try:
                    sent = yield waits_for
                    send = lambda sent=sent: steps.send(sent)  # type: ignore[misc]  # noqa: E731
                except BaseException as raised:  # noqa: BLE001  # a cancellation belongs to the handler
                    send = lambda raised=raised: steps.throw(raised)  # type: ignore[misc]  # noqa: E731
        except StopIteration as ended:
            return ended.value
        finally:
            self._tell(held_s)
