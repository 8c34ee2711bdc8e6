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

from daemonry.clock import Deadline
from daemonry.home.service import Orphan, Process
from daemonry.home.trigger import held_socket
from daemonry.limits import SERVICE_SWEEP_S
from daemonry.process import orphans, platform, sweep
from daemonry.process.identity import Identity
from daemonry.process.lifeline import Owned, spawn_owned
from daemonry.process.reaping import Reaper


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

    def is_guarded(self) -> bool:
        """Whether it would end with us."""
        return True

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
        if not self._hidden and not self._left():
            self._close()
            return set()
        return await asyncio.to_thread(self._sweep_all, grace_s)

    def _left(self) -> set[int]:
        """Return the processes of it that live."""
        return sweep.belonging(0, self.mark, self._among)

    def _among(self) -> Iterable[int]:
        """Return the processes that it may have started, and others."""
        return sweep.all_pids()

    def _close(self) -> None:
        """Let go of it: it has ended, and left nothing."""

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


class _ChildRun(ProcessRun):
    """A run whose first process is our child.

    As a subreaper we become the parent of all that its processes leave when they end, so only what is
    below it, and below children that we do not know, can be its: nothing else is looked at.
    """

    def __init__(self, identity: Identity, mark: str, started_at: float, reaper: Reaper) -> None:
        super().__init__(identity, mark, started_at)
        self._reaper = reaper

    def _among(self) -> Iterable[int]:
        return orphans.left_to_us(self._reaper.knows) | orphans.descendants([self.pid]) | {self.pid}


class _OwnedRun(_ChildRun):
    def __init__(self, owned: Owned, reaper: Reaper) -> None:
        super().__init__(_identity(owned.pid), owned.mark, time.time(), reaper)
        self._owned = owned
        self._group = owned.group
        owned.close_pidfd()  # the reaper sees its end
        reaper.watch(owned.pid, self._collect, self._pause)
        reaper.watch(owned.group, owned.is_guarded)

    def send_signal(self, number: int) -> None:
        if number == signal.SIGKILL:
            # The group's watcher goes with it, and both are collected here.
            self._end(self._owned.kill())
            return
        self._owned.send_signal(number)
        # It may have ended meanwhile, and been collected there and not by the reaper.
        self._collect()

    def _collect(self) -> None:
        code = self._owned.collect()
        if code is not None:
            self._end(code)

    def _sweep(self, grace_s: float) -> set[int]:
        # The watcher is of the group, and goes last.
        spared = frozenset((self._group,))
        left = sweep.end(self._group, self.mark, grace_s, spared, self._asked_group, self._among)
        self._close()
        return left - {self._group}

    def _left(self) -> set[int]:
        return sweep.belonging(self._group, self.mark, self._among) - {self._group}

    def _close(self) -> None:
        self._owned.close(reaped=False)  # the reaper does it: to wait here would hold all others up

    @property
    def _asked_group(self) -> int:
        return self._group if self._asked_until is not None else 0

    def is_guarded(self) -> bool:
        return self._owned.is_guarded()


class _FreeRun(_ChildRun):
    """A child that leads a session of its own and knows no lifeline."""

    def __init__(self, process: subprocess.Popen[bytes], mark: str, reaper: Reaper) -> None:
        super().__init__(_identity(process.pid), mark, time.time(), reaper)
        self._process = process
        reaper.watch(process.pid, self._collect, self._pause)

    def send_signal(self, number: int) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)
        self._collect()

    def _collect(self) -> None:
        code = self._process.poll()
        if code is not None:
            self._end(code)


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
    return Identity(platform.boot_id(), pid, platform.pid_namespace(), platform.start_time(pid) or 0)


def start(
    process: Process,
    mark: str,
    extra: Mapping[str, str],
    output: tuple[int, int],
    pass_fds: Sequence[int],
    reaper: Reaper,
    listener: int | None = None,
) -> ProcessRun:
    """Start a service's process.

    Args:
        process: its command, directory and environment.
        mark: what all of its processes have in their environment.
        extra: further variables.
        output: (reading end, writing end) of the pipe for its standard output and error.
        pass_fds: further descriptors.
        reaper: where its end is noticed.
        listener: a listening socket that it gets as `held_socket` says.

    Raises:
        OSError: it cannot be started.
    """
    environment = {**dict(process.environment), **extra}
    words = process.words
    if listener is not None:
        environment |= held_socket.VARIABLES
        words = held_socket.words_with_socket(words)
    far, near = output
    if process.orphan is Orphan.END:
        owned = spawn_owned(
            words,
            env=environment,
            cwd=process.directory,
            stdin=subprocess.DEVNULL if listener is None else listener,
            stdout=near,
            stderr=near,
            pass_fds=pass_fds,
            held_fds=(far,),  # it may have something to write when we have been killed
            mark=mark,
        )
        return _OwnedRun(owned, reaper)
    child = subprocess.Popen(
        process.words,
        stdin=subprocess.DEVNULL,
        stdout=near,
        stderr=near,
        env={**environment, sweep.MARK_VARIABLE: mark},
        cwd=process.directory,
        pass_fds=pass_fds,
        start_new_session=True,
    )
    return _FreeRun(child, mark, reaper)
