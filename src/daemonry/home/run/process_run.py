"""One run of a service: its process from birth to the last of its descendants.

Owns starting, signalling and ending.  Three kinds, for whoever performs a service's life all alike:
a child that ends with us, a child that may outlive us, and one that outlived our predecessor.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple, Self

from daemonry.clock import Deadline
from daemonry.home.service import Orphan, Process
from daemonry.home.trigger import held_socket
from daemonry.limits import SERVICE_SWEEP_S
from daemonry.process import orphans, platform, sweep
from daemonry.process.children.child_guard import ChildGuard
from daemonry.process.children.reaping import Reaper
from daemonry.process.identity import Identity


class ProcessRun:
    """One run.

    Attributes:
        ended: done when its first process has ended; the exit code, negative for a signal, None
            where it cannot be known.
        identity: its first process.
        mark: what all of its processes have in their environment.
        started_at: when, in seconds since 1970, for people.
        paused: called with True when its first process was stopped by a signal, with False when it goes on.
    """

    def __init__(self, identity: Identity, mark: str, started_at: float) -> None:
        self.ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self.identity = identity
        self.mark = mark
        self.started_at = started_at
        self.paused: Callable[[bool], None] = lambda stopped: None
        self._asked_until: Deadline | None = None
        self._hidden: dict[int, int] = {}

    @property
    def pid(self) -> int:
        """Its process id, for people."""
        return self.identity.pid

    def send_signal(self, number: int) -> None:
        """Send a signal to all of its processes that it has not hidden."""
        raise NotImplementedError

    def owns(self, pid: int) -> bool:
        """Whether a process belongs to it."""
        return pid == self.pid or sweep.belongs(pid, 0, self.mark)

    async def terminate(self, numbers: Sequence[int], timeout_s: float) -> None:
        """Ask it to end by one signal after the other, kill it, and return when its first process has ended.

        Args:
            numbers: the signals.
            timeout_s: how long it has after each, in seconds.
        """
        self._asked_until = Deadline(timeout_s * len(numbers))
        # Looked for while their parents are there: afterwards they are nobody's.
        orphans.unpin(self._hidden)
        self._hidden = orphans.pinned_below(self.pid, self.mark)
        for number in numbers:
            self.send_signal(number)
            self.send_signal(signal.SIGCONT)  # one that was stopped could not obey
            if await self._ended_within(timeout_s):
                return
        self.kill()
        await asyncio.shield(self.ended)

    async def _ended_within(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self.ended)
        except TimeoutError:
            return False
        return True

    def kill(self) -> None:
        """Kill all of it at once."""
        orphans.finish(orphans.pinned_below(self.pid, self.mark), 0)
        self.send_signal(signal.SIGKILL)
        sweep.send(0, self.mark, frozenset(), signal.SIGKILL, among=self._among)

    async def sweep(self) -> set[int]:
        """End what its first process has left, and return those that cannot be ended.

        Where it was asked to end, they have the rest of its time; a shell ends before what it runs.
        """
        grace_s = SERVICE_SWEEP_S
        if self._asked_until is not None:
            grace_s = max(grace_s, self._asked_until.remaining_s() or 0.0)
        left = set()
        if self._hidden or self._left():
            left = await asyncio.to_thread(self._sweep_all, grace_s)
        self._swept()
        return left

    def _left(self) -> set[int]:
        """Return the processes of it that live."""
        return sweep.belonging(0, self.mark, self._among)

    def _among(self) -> Iterable[int]:
        """Return the processes that it may have started, and others."""
        return sweep.all_pids()

    def _swept(self) -> None:
        """Take note that all of it has ended that can be."""

    def _sweep_all(self, grace_s: float) -> set[int]:
        deadline = Deadline(grace_s)
        orphans.ask(self._hidden, self._asked_group)
        left = self._sweep(grace_s)
        orphans.finish(self._hidden, deadline.remaining_s() or 0.0)
        return left

    def _sweep(self, grace_s: float) -> set[int]:
        return sweep.end(0, self.mark, grace_s, asked=self._asked_group, among=self._among)

    @property
    def _asked_group(self) -> int:
        """The process group that has been asked to end, or 0."""
        return self.pid if self._asked_until is not None else 0

    def _pause(self, is_stopped: bool) -> None:
        self.paused(is_stopped)

    def _end(self, code: int | None) -> None:
        if not self.ended.done():
            self.ended.set_result(code)


class Minders(NamedTuple):
    """Those who see the ends of processes.

    Attributes:
        reaper: sees the ends of our children.
        guard: sees our own, and ends the children that must not outlive us.
        left: sees what those that have ended leave.
    """

    reaper: Reaper
    guard: ChildGuard
    left: orphans.LeftToUs

    @classmethod
    def make(cls, session: int = 0) -> Self:
        """Make all three; `session` is one of which all is ours to end, or 0."""
        reaper = Reaper()
        return cls(reaper, ChildGuard(reaper, session), orphans.LeftToUs(reaper.knows))


class _ChildRun(ProcessRun):
    """A run whose first process is our child, and leads a process group.

    As a subreaper we become the parent of all that its processes leave when they end, so only processes
    below it, and below children that we do not know, can be its: nothing else is looked at.

    Args:
        place: its place in the guard's table; None where it may outlive us.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], mark: str, minders: Minders, place: int | None
    ) -> None:
        super().__init__(_identity(process.pid), mark, time.time())
        self._process = process
        self._minders = minders
        self._place = place
        self._number = 0
        if place is not None:
            minders.guard.born(place, process.pid, self.identity.start_time)
        minders.reaper.watch(process.pid, self._collect, self._pause)

    def send_signal(self, number: int) -> None:
        if self._process.poll() is None:
            _signal_group(self.pid, number)
            if os.getpgid(self.pid) != self.pid:  # it has joined another group
                self._process.send_signal(number)
        # It may have ended meanwhile, and been collected there and not by the reaper.
        self._collect()

    def _collect(self) -> None:
        code = self._process.poll()
        if code is not None and not self.ended.done():
            self._number = self._minders.left.count_end()
            if not sweep.HAS_PROCFS:  # nobody could find the rest of its group later
                _signal_group(self.pid, signal.SIGKILL)
            self._end(code)

    def _among(self) -> Iterable[int]:
        return orphans.left_to_us(self._minders.reaper.knows) | orphans.descendants([self.pid]) | {self.pid}

    def _left(self) -> set[int]:
        if self._number and self._minders.left.is_nothing(self._number):
            return set()
        return sweep.belonging(self.pid, self.mark, self._among)

    def _sweep(self, grace_s: float) -> set[int]:
        return sweep.end(self.pid, self.mark, grace_s, asked=self._asked_group, among=self._among)

    def _swept(self) -> None:
        if self._place is not None:
            self._minders.guard.leave(self._place)
            self._place = None


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass  # its leader has left it, and nobody else is there


class AdoptedRun(ProcessRun):
    """A process that a supervisor before us has started.

    Raises:
        ProcessLookupError: it has just ended.
    """

    def __init__(self, identity: Identity, mark: str, started_at: float) -> None:
        super().__init__(identity, mark, started_at)
        self._loop = asyncio.get_running_loop()
        self._pidfd = os.pidfd_open(identity.pid)
        if not identity.alive():  # the number may have passed on before it was pinned
            os.close(self._pidfd)
            raise ProcessLookupError(identity.pid)
        self._loop.add_reader(self._pidfd, self._ended)

    def send_signal(self, number: int) -> None:
        """Send a signal to all that bear its mark: its number may be another's as soon as it ends."""
        sweep.send(0, self.mark, frozenset(), number)

    def _ended(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        self._end(None)


def _identity(pid: int) -> Identity:
    # Asked while it cannot have been reaped; a zombie has no start time, and needs none.
    boot_id, pid_namespace = _here()
    return Identity(boot_id, pid, pid_namespace, platform.start_time(pid) or 0)


@cache
def _here() -> tuple[str, str]:
    """Return the boot and the numbering of processes: ours, and our children's, for our whole life."""
    return platform.boot_id(), platform.pid_namespace()


def start(
    process: Process,
    mark: str,
    extra: Mapping[str, str],
    output: int,
    pass_fds: Sequence[int],
    minders: Minders,
    listener: int | None = None,
) -> ProcessRun:
    """Start a service's process.

    Args:
        process: its command, directory and environment.
        mark: what all of its processes have in their environment.
        extra: further variables.
        output: the writing end of the pipe for its standard output and error.
        pass_fds: further descriptors.
        minders: who notices its end, and ours.
        listener: a listening socket that it gets as `held_socket` says.

    Raises:
        OSError: it cannot be started.
    """
    environment = {**dict(process.environment), **extra, sweep.MARK_VARIABLE: mark}
    words = process.words
    if listener is not None:
        environment |= held_socket.VARIABLES
        words = held_socket.words_with_socket(words)
    place = minders.guard.enter(mark) if process.orphan is Orphan.END else None
    try:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL if listener is None else listener,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=process.directory,
            pass_fds=pass_fds,
            process_group=0 if place is not None else None,
            start_new_session=place is None,  # one that may outlive us leaves our terminal
        )
    except BaseException:
        if place is not None:
            minders.guard.leave(place)
        raise
    return _ChildRun(child, mark, minders, place)
