"""Owned children: processes that end with the one that started them, however that one ends.

    owned = spawn_owned(["cass", "--home", home])
    ...
    owned.terminate()

Owns the child's life from its start to the last process that it leaves.  Daemons that outlive
their starter are `spawn`'s.

The child may be any program; it knows nothing of this.  Before it, a watcher is started: a shell
that leads a new process group and reads a pipe, the lifeline, whose other end only the owner has.
The child joins that group before it becomes its program.  When the owner ends, also by SIGKILL,
and whichever of its threads had spawned, the kernel closes the lifeline, and the watcher ends the
group, and what left the group (see `sweep`): SIGTERM, and after the grace SIGKILL.

An owner that is killed at any moment leaves nothing.  Before the child is there, the watcher sees
the end all the same.  A child that is just being born joins the group while the watcher still
looks; later there is no such group, and it ends before it has become its program.

Not used here: PR_SET_PDEATHSIG.  It is sent when the thread that spawned ends, it is forgotten at
a change of credentials, and setting it needs code between fork and exec.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Any, Final, Self

from daemonry.clock import Deadline
from daemonry.errors import DeadlineExceeded
from daemonry.limits import OWNED_GRACE_S, OWNED_STOP_TIMEOUT_S
from daemonry.process import sweep
from daemonry.process.forks import not_for_children
from daemonry.process.program import launching
from daemonry.process.selector import wait_readable

# What the owner may send to the group is for the child.  The watcher has these blocked from its first
# moment, and ignores them as soon as it can.
_NOT_FOR_WATCHER: Final = ("HUP", "INT", "QUIT", "ALRM", "TERM", "USR1", "USR2", "PIPE")

# $1 the mark, $2 the grace, then the words by which `sweep` runs.  The last line is for when these do not
# start any more, and for whatever joined the group too late; it ends the watcher too.
_WATCHER: Final = f"""
trap '' {" ".join(_NOT_FOR_WATCHER)}
read -r _
mark=$1 grace=$2
shift 2
"$@" "$$" "$mark" "$grace"
kill -s KILL 0
"""

_HAS_PIDFDS: Final = hasattr(os, "pidfd_open")


class Owned:
    """A child that ends with this process.  Made by `spawn_owned`.

    A context manager: its end terminates the child.  An owned child that is forgotten goes on, at
    most as long as this process.

    Attributes:
        argv: its words.
        mark: a value that all that it starts has in its environment.
        pid: its process id.
        stdin, stdout, stderr: our ends of the pipes that were asked for with `subprocess.PIPE`, else None.
    """

    def __init__(
        self, argv: list[str], process: subprocess.Popen[bytes], watcher: _GroupWatcher, mark: str
    ) -> None:
        self.argv = argv
        self.mark = mark
        self.pid: int = process.pid
        self.stdin: IO[bytes] | None = process.stdin
        self.stdout: IO[bytes] | None = process.stdout
        self.stderr: IO[bytes] | None = process.stderr
        self._process = process
        self._watcher = watcher
        self._lock = threading.Lock()
        self._pidfd = os.pidfd_open(process.pid) if _HAS_PIDFDS else -1

    def __repr__(self) -> str:
        code = self._process.returncode
        state = f"pid {self.pid}" if code is None else f"ended with {code}"
        return f"<Owned {self.argv[0]} {state}>"

    @property
    def group(self) -> int:
        """The number of its process group, which is not its pid; meaningless once `poll` gives a code."""
        return self._watcher.group

    def close_pidfd(self) -> None:
        """Give back the descriptor that only the blocking methods and `wait_ended` need."""
        with self._lock:
            fd, self._pidfd = self._pidfd, -1
        if fd >= 0:
            os.close(fd)

    def collect(self) -> int | None:
        """Do as `poll` does, and leave what the child has left in its group; `close` ends that."""
        return self._process.poll()

    def close(self, *, reaped: bool = True) -> None:
        """End what an ended child has left in its group.  Twice is not an error.

        The other methods do so by themselves when they find that it has ended, except `collect`.

        Args:
            reaped: whether to wait for the watcher's end too; otherwise `is_guarded` reaps it later.
        """
        if self._process.poll() is not None:
            self._bury(reaped=reaped)

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it lives."""
        code = self._process.poll()
        if code is not None:
            self._bury()
        return code

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the child's end, end the rest of its group, and return the exit code.

        Args:
            timeout_s: for how long, in seconds; None for ever.

        Raises:
            DeadlineExceeded: it lives still; nothing was done to it.
        """
        if self._process.returncode is None and not self._wait_exit(timeout_s):
            assert timeout_s is not None
            raise DeadlineExceeded("end", timeout_s, "maybe", f"{self.argv[0]} (pid {self.pid})")
        code = self._process.wait()
        self._bury()
        return code

    async def wait_ended(self) -> int:
        """Do as `wait` does, on an asyncio loop, without a thread where the system has pidfds."""
        import asyncio

        loop = asyncio.get_running_loop()
        if not _HAS_PIDFDS:
            await loop.run_in_executor(None, self._process.wait)
        elif (fd := self._own_pidfd()) is not None:
            try:
                await _readable(loop, fd)
            finally:
                os.close(fd)
        return self.wait()

    def is_guarded(self) -> bool:
        """Whether the watcher is still there; also reaps one that somebody has killed."""
        return self._watcher.is_there()

    def send_signal(self, number: int) -> None:
        """Send a signal to the child and to its whole group; nothing happens when it has ended.

        The watcher in the group ignores HUP, INT, QUIT, ALRM, TERM, USR1, USR2 and PIPE; another
        signal of those that end a process would end it too.
        """
        if self._process.poll() is not None:
            return
        self._watcher.signal_group(number)
        if os.getpgid(self.pid) != self.group:  # it made a session or a group of its own
            self._process.send_signal(number)

    def terminate(self, timeout_s: float = OWNED_STOP_TIMEOUT_S) -> int:
        """Ask the child and its group to end, kill what does not, and return the exit code.

        The child may end before others of its group, as a shell does before what it runs; where
        there is a procfs, those have the same time.

        Args:
            timeout_s: the time between SIGTERM and SIGKILL, in seconds.
        """
        if self.poll() is not None:
            return self.wait()
        deadline = Deadline(timeout_s)
        self.send_signal(signal.SIGTERM)
        self.send_signal(signal.SIGCONT)  # one that was stopped could not obey
        if self._process.returncode is None and not self._wait_exit(timeout_s):
            return self.kill()
        group, left_s = self.group, deadline.remaining_s() or 0.0
        sweep.end(group, self.mark, left_s, frozenset((group,)), asked=group)
        return self.wait()

    def kill(self) -> int:
        """Kill the child and its group, and return the exit code."""
        if self.poll() is None:
            self._process.kill()  # it may have left the group
            self._watcher.end()
        return self.wait()

    def end_strays(self, grace_s: float = 0.0) -> set[int]:
        """End all that bears the child's mark, also those that left its group or outlived it.

        Takes a look at every process of the machine; finds nothing where there is no procfs.

        Args:
            grace_s: the time between SIGTERM and SIGKILL, in seconds.

        Returns:
            The ones that live on: of another user, or in a wait of the kernel that cannot be ended.
        """
        return sweep.end(0, self.mark, grace_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.terminate()
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                pipe.close()

    def _wait_exit(self, timeout_s: float | None) -> bool:
        if not _HAS_PIDFDS:
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                return False
            return True
        fd = self._own_pidfd()
        if fd is None:
            return True
        try:
            return wait_readable(fd, timeout_s)
        finally:
            os.close(fd)

    def _own_pidfd(self) -> int | None:
        """Return a copy for a waiter: another may find the end first, and close ours; None then."""
        with self._lock:
            return os.dup(self._pidfd) if self._pidfd >= 0 else None

    def _bury(self, *, reaped: bool = True) -> None:
        """End what the child left in its group, and the watcher."""
        self._watcher.end(reaped=reaped)
        self.close_pidfd()


async def _readable(loop: Any, fd: int) -> None:
    found = loop.create_future()
    loop.add_reader(fd, lambda: found.done() or found.set_result(None))
    try:
        await found
    finally:
        loop.remove_reader(fd)


class _GroupWatcher:
    """The process that leads the group and holds the far end of the lifeline."""

    def __init__(self, mark: str, grace_s: float, held_fds: Sequence[int]) -> None:
        far, self._lifeline = os.pipe()
        self._owner = os.getpid()
        self._lock = threading.Lock()
        words = [mark, f"{grace_s:g}", *launching.script_words(sweep.__file__, launching.SWEEP)]
        # Without our own mark: who ends us would otherwise end it before it has ended the child.
        environment = launching.environment(os.environ)
        environment.pop(sweep.MARK_VARIABLE, None)
        blocked = {getattr(signal, f"SIG{name}") for name in _NOT_FOR_WATCHER}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)  # of this thread, for its child
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _WATCHER, "daemonry-lifeline", *words],
                stdin=far,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=environment,
                pass_fds=held_fds,
                process_group=0,
            )
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(far)
        self.group: int = self._process.pid
        not_for_children(self)

    def is_there(self) -> bool:
        with self._lock:
            return self._process.poll() is None

    def signal_group(self, number: int) -> None:
        with self._lock:
            if self._lifeline < 0:
                return
            try:
                os.killpg(self.group, number)  # of our child or its watcher: neither is reaped
            except ProcessLookupError:
                pass  # somebody killed the watcher, and the child has left the group

    def end(self, *, reaped: bool = True) -> None:
        """Kill the whole group, watcher and all, and wait for its end if asked.  Twice is not an error."""
        with self._lock:
            if self._lifeline < 0 or self._owner != os.getpid():
                return
            if self._process.poll() is None:
                os.killpg(self.group, signal.SIGKILL)
                if reaped:
                    self._process.wait()
            os.close(self._lifeline)
            self._lifeline = -1

    def drop_in_child(self) -> None:
        """Let go of the lifeline in a forked child, which must not keep our children alive."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1


def new_mark() -> str:
    """Return a value for `DAEMONRY_OWNED` that nothing has."""
    return os.urandom(8).hex()


def spawn_owned(  # noqa: PLR0913  # what a process is given, as Popen names it
    argv: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    stdin: int | IO[Any] | None = subprocess.DEVNULL,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
    pass_fds: Sequence[int] = (),
    held_fds: Sequence[int] = (),
    grace_s: float = OWNED_GRACE_S,
    mark: str = "",
) -> Owned:
    """Start a program that ends with this process, also when this process is killed.

    It gets a process group of its own, so that Ctrl-C in a terminal does not reach it; this
    process's session; and the default signals.  May be called from any thread; the thread's end
    means nothing to the child.  Takes the time of starting two small processes.

    Args:
        argv: its words; the first is looked for in `env`'s PATH.
        env: its whole environment; this process's by default.  One variable is added, `DAEMONRY_OWNED`.
        cwd: its directory; this process's by default.
        stdin: as for `subprocess.Popen`; nothing to read by default.
        stdout: as for `subprocess.Popen`; this process's by default.
        stderr: the same.
        pass_fds: descriptors that it gets, under the same numbers.
        held_fds: descriptors that stay open until the child has ended, also if this process ends
            before: with the reading end of its output, what it writes in its last moments does not
            end it by SIGPIPE.
        grace_s: the time between SIGTERM and SIGKILL once this process has died, in seconds.
        mark: the value of `DAEMONRY_OWNED`, which nothing else may have; a random one by default.

    Raises:
        OSError: it cannot be started; nothing is left of the attempt.
    """
    words = [os.fspath(word) for word in argv]
    mark = mark or new_mark()
    watcher = _GroupWatcher(mark, grace_s, held_fds)
    try:
        process = subprocess.Popen(
            words,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            env={**(os.environ if env is None else env), sweep.MARK_VARIABLE: mark},
            pass_fds=pass_fds,
            process_group=watcher.group,
        )
    except BaseException:
        watcher.end()
        raise
    return Owned(words, process, watcher, mark)
