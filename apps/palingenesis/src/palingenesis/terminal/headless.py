"""A program whose output goes on to a pipe or a file, and that is resumed after a limit all the same.

Owns the passing on: every byte of its standard output, as it comes.  Standard input is the program's own, and
so are its errors, but for an agent that tells nowhere else why a turn failed: there they are read on the way.
It is a job of its user's shell, and ends with it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Final

import msgspec

from palingenesis.agents.profile import Profile
from palingenesis.evidence import processes
from palingenesis.evidence.terminals import Terminal
from palingenesis.terminal.course import Course
from palingenesis.terminal.events import Printed
from palingenesis.terminal.store import TerminalStore

TICK_S: Final = 0.5
# How long to wait for its output after its end, if another process keeps that open.
DRAIN_S: Final = 0.5
_PASSED: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class _Passed:
    """One stream of the program, passed on.

    Args:
        source: where it comes from.
        target: the descriptor that gets it.
        taken: called with each piece and when it came.
    """

    def __init__(self, source: IO[bytes], target: int, taken: Callable[[bytes, float], None]) -> None:
        self.fd = source.fileno()
        os.set_blocking(self.fd, False)
        self._source, self._target, self._taken = source, target, taken

    @property
    def is_open(self) -> bool:
        """Whether more can come."""
        return not self._source.closed

    def close(self) -> None:
        """Take no more of it."""
        self._source.close()

    def take(self) -> None:
        """Pass a piece on."""
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return
        if not data:
            self.close()
            return
        self._taken(data, time.time())
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._target, view) :]
        except OSError:  # nobody reads: then the program shall meet that too
            self.close()


class Headless:
    """One program, from its first run to its end.

    Args:
        store: where its record is.
        terminal: its record.
        profile: its agent's table; None for a program that is not an agent.
        course: what follows when it stops.
    """

    def __init__(
        self, store: TerminalStore, terminal: Terminal, profile: Profile | None, course: Course
    ) -> None:
        pid = os.getpid()
        self._store = store
        self._terminal = msgspec.structs.replace(
            terminal, pid=pid, start=processes.start_of(pid), headless=True
        )
        self._profile = profile
        self._course = course
        self._printed = Printed()
        self._child: subprocess.Popen[bytes] | None = None
        self._passed_by: int | None = None

    def run(self) -> int:
        """Run it to its end, and return its status, as wait(2) tells it."""
        wake, woken = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(woken, False)
        before = signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        handlers = {number: signal.signal(number, lambda *_: None) for number in (*_PASSED, signal.SIGCHLD)}
        self._wake = wake
        try:
            return self._run()
        finally:
            signal.set_wakeup_fd(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self._course.close()
            self._store.remove(self._terminal.name, "json", "lock")
            os.close(wake)
            os.close(woken)

    def _run(self) -> int:
        status = self._one_run(self._terminal.argv, first=True)
        while True:
            told = self._course.next_order(program_lives=False)
            if told.session:
                self._tell(session=told.session)
            if told.say:
                self._say(told.say)
            if told.wait_until_s:
                self._tell(state="waiting", why=told.why, at_s=told.wait_until_s)
            if told.words:
                status = self._one_run(told.words, first=False)
            elif told.is_over:
                return status if told.code is None else told.code << 8
            elif self._passed_by is not None and self._child is None and self._course.is_waiting:
                return self._passed_by  # asked to end while it waits
            elif told == type(told)():
                self._wait({self._course.notices: self._course.take_notices})

    def _one_run(self, words: Sequence[str], *, first: bool) -> int:
        environment = {**os.environ, "PALINGENESIS_TERMINAL": self._terminal.name}
        reads_errors = self._profile is not None and not self._profile.tells_errors
        child = subprocess.Popen(
            list(words), stdin=None if first else subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if reads_errors else None, cwd=self._terminal.cwd, env=environment,
        )  # fmt: skip
        self._child, self._printed, self._passed_by = child, Printed(), None
        self._course.begun(lambda pid: processes.descends(pid, child.pid))
        self._tell(state="running", why="", at_s=0.0)
        passed = [
            _Passed(source, target, taken)
            for source, target, taken in (
                (child.stdout, 1, self._printed.feed),
                (child.stderr, 2, self._printed.feed_errors),
            )
            if source is not None
        ]
        deadline_s: float | None = None
        while (deadline_s is None or time.monotonic() < deadline_s) and any(one.is_open for one in passed):
            calls = {one.fd: one.take for one in passed if one.is_open}
            calls[self._course.notices] = self._course.take_notices
            self._wait(calls, 0.05 if deadline_s else TICK_S)
            self._course.look_for_progress()
            if deadline_s is None and child.poll() is not None:
                deadline_s = time.monotonic() + DRAIN_S
        for one in passed:
            one.close()
        while child.poll() is None:
            self._wait({})
        self._child = None
        self._printed.end(time.time())
        status = _status_of(child.returncode)
        self._course.ended(status, self._printed)
        return status

    def _wait(self, descriptors: Mapping[int, Callable[[], None]], seconds: float = TICK_S) -> None:
        """Wait for one of the descriptors or for a signal, and see to them."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ, self._on_signal)
            for fd, called in descriptors.items():
                selector.register(fd, selectors.EVENT_READ, called)
            for key, _ in selector.select(seconds):
                key.data()

    def _on_signal(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in os.read(self._wake, 512):
                if number in _PASSED:
                    self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        self._passed_by = number
        if self._child is None or (number == signal.SIGINT and _typed_here()):
            return
        with contextlib.suppress(ProcessLookupError):
            self._child.send_signal(number)

    def _tell(self, **changes: object) -> None:
        self._terminal = msgspec.structs.replace(self._terminal, **changes)
        with contextlib.suppress(OSError):
            self._store.write(self._terminal)

    def _say(self, words: str) -> None:
        sys.stderr.write(f"palingenesis: {words}\n")
        sys.stderr.flush()


def _typed_here() -> bool:
    """Whether Ctrl-C reaches the program by itself: this is the terminal's foreground job."""
    for fd in (0, 2):
        with contextlib.suppress(OSError):
            return os.tcgetpgrp(fd) == os.getpgrp()
    return False


def _status_of(returncode: int) -> int:
    return -returncode if returncode < 0 else returncode << 8
