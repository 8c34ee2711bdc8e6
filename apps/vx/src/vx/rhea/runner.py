"""The process that runs commands: it forks them, tells how they end, and takes them along when it ends.

rhea has threads and may be killed at any moment.  This process has neither: one thread, so that
forking is sound and cheap, and a socket whose end is rhea's.  For each job it forks a keeper:

    rhea -- runner -- keeper -- command -- whatever that starts
                   `- keeper -- command -- ...

Each is a subreaper (prctl(2)), so what a command starts stays below its keeper, however far it has
wandered: a session of its own, a double fork.  When the command ends, its keeper kills the rest
of it.  When the caller goes, the runner kills the keeper and all below.  When rhea is killed, the
socket ends, and the runner kills everything; when the runner is killed, the kernel kills keepers and
commands (PR_SET_PDEATHSIG), and rhea, a subreaper too, the rest.

Spoken on a SOCK_SEQPACKET pair, whose descriptor is the one argument:

    run ID      with three descriptors: standard output, standard error, and a file with the JSON of
                [words, environment, directory, watched]; `watched` is null, or [trace, inside, looks,
                writable]: the file for `sandbox.Trace`, the directories that are the job's, whether looks
                count, and the directories below which it may write
    kill ID     kill it and all that it has started
    {"id", "pid"}                            it runs
    {"id", "errno"}                          it could not be started
    {"id", "status", "cpu_ms", "rss_kib"}    it ended, and so has all that it had started

Loads the standard library and `sandbox` alone, so that it starts quickly and stays small.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

from vx.rhea import sandbox

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_MAX_MESSAGE_BYTES: Final = 256
_SPEC_BYTES: Final = 1 << 16
# Of all that could open something nobody is left: this ends at once.
_TRACE_TIMEOUT_S: Final = 2.0


def prctl(option: int, value: int) -> None:
    """Ask the kernel for something about this process; nothing where it is not Linux."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def become_subreaper() -> None:
    """Have orphans among our descendants become our children instead of init's."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children_of(pid: int) -> list[int]:
    """Return the children of a process, by procfs; none where there is no such list."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
        except OSError:
            continue
    return found


def kill_tree(pid: int) -> None:
    """Kill a process and its descendants, from above, so that none can start others in the end."""
    _signal(pid, signal.SIGSTOP)
    below = children_of(pid)
    _signal(pid, signal.SIGKILL)
    for child in below:
        kill_tree(child)


def kill_children() -> None:
    """Kill all children of this process and all below them, and reap them, until there are none."""
    while children := children_of(os.getpid()):
        for child in children:
            kill_tree(child)
        for child in children:
            try:
                os.waitpid(child, 0)
            except ChildProcessError:
                pass


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


class Runner:
    """The commands that run here.

    Args:
        control: where rhea asks.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._pids: dict[str, int] = {}
        self._ids: dict[int, str] = {}

    def run(self) -> None:
        """Carry out requests until rhea is gone; then kill everything."""
        woken, wake = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            while self._turn(woken):
                pass
        finally:
            self._end()

    def _turn(self, woken: int) -> bool:
        ready, _, _ = select.select([self._control.fileno(), woken], [], [])
        if woken in ready:
            try:
                while os.read(woken, 512):
                    pass
            except BlockingIOError:
                pass
            self._reap()
        return self._control.fileno() not in ready or self._take()

    def _take(self) -> bool:
        try:
            message, fds, _, _ = socket.recv_fds(
                self._control, _MAX_MESSAGE_BYTES, 3, socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:
            return False
        if not message:
            return False
        word, _, job = message.decode().partition(" ")
        try:
            if word == "run":
                self._start(job, fds)
            elif job in self._pids:
                kill_tree(self._pids[job])
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _start(self, job: str, fds: list[int]) -> None:
        out, err, spec = fds
        pid = os.fork()
        if pid == 0:
            try:
                words, environment, directory, watched = json.loads(_read_all(spec))
                _keep(self._tell, job, words, environment, directory, watched, (out, err))
            finally:
                os._exit(1)
        self._pids[job] = pid
        self._ids[pid] = job

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            job = self._ids.pop(pid, None)
            if job is None:
                continue
            del self._pids[job]
            if status:  # killed: it has reported nothing itself, and its children have become ours
                self._kill_strays()
                self._tell({"id": job, "status": -signal.SIGKILL, "cpu_ms": 0, "rss_kib": 0})

    def _kill_strays(self) -> None:
        for child in children_of(os.getpid()):
            if child not in self._ids:
                kill_tree(child)

    def _end(self) -> None:
        for job in self._ids:
            kill_tree(job)
        kill_children()

    def _tell(self, fields: dict[str, Any]) -> None:
        try:
            self._control.send(json.dumps(fields).encode())
        except OSError:
            pass  # rhea is gone, which the next turn sees


def _keep(
    tell: Callable[[dict[str, Any]], None],
    job: str,
    words: list[str],
    environment: dict[str, str],
    directory: str,
    watched: tuple[str, list[str], bool, list[str]] | None,
    outputs: tuple[int, int],
) -> None:
    """Be a job's keeper; in a forked child.  Does not return."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    become_subreaper()
    failed, report = os.pipe()
    keeper = os.getpid()
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        enter = None if watched is None else (theirs, watched[3], watched[2])
        _become(words, environment, directory, outputs, report, keeper, enter)
    for fd in (report, *outputs):
        os.close(fd)
    theirs.close()
    watcher = None if watched is None else sandbox.JobWatcher(ours, watched[1], watched[3])
    if watcher is not None:
        watcher.start()
    error = os.read(failed, 16)
    if error:
        os.waitpid(pid, 0)
        tell({"id": job, "errno": int(error)})
        os._exit(0)
    tell({"id": job, "pid": pid})
    while True:
        ended, status, usage = os.wait4(-1, 0)
        if ended == pid:
            break
    _signal_group(pid)
    kill_children()
    if watcher is not None and watched is not None:
        _write_trace(watcher, watched[0])
    told = {
        "id": job,
        "status": os.waitstatus_to_exitcode(status),
        "cpu_ms": round((usage.ru_utime + usage.ru_stime) * 1000),
        "rss_kib": usage.ru_maxrss,
    }
    tell(told)
    os._exit(0)


def _write_trace(watcher: sandbox.JobWatcher, path: str) -> None:
    watcher.join(_TRACE_TIMEOUT_S)
    trace = None if watcher.is_alive() else watcher.trace()
    if trace is not None:
        with open(path, "x", encoding="ascii") as file:
            json.dump(trace, file)


def _become(
    words: list[str],
    environment: dict[str, str],
    directory: str,
    outputs: tuple[int, int],
    report: int,
    keeper: int,
    enter: tuple[socket.socket, list[str], bool] | None,
) -> None:
    """Become the command; in the child of the keeper.  Does not return."""
    try:
        os.setsid()
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(127)  # it died before the line above
        for ignored in (signal.SIGPIPE, signal.SIGINT, signal.SIGHUP, signal.SIGXFSZ):
            signal.signal(ignored, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.umask(0o022)
        os.chdir(directory)
        nothing = os.open("/dev/null", os.O_RDONLY)
        # What Python opens is not inherited, but for these three.
        for number, fd in enumerate((nothing, *outputs)):
            os.dup2(fd, number, inheritable=True)
        if enter is not None:
            sandbox.enter(enter[0], enter[1], looks=enter[2])
        os.execve(words[0], words, environment)
    except OSError as error:
        os.write(report, str(error.errno).encode())
    finally:
        os._exit(127)


def _signal_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _read_all(fd: int) -> bytes:
    data = b""
    while piece := os.pread(fd, _SPEC_BYTES, len(data)):
        data += piece
    return data


def main() -> None:
    """Run commands for the process at the other end of the socket."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    become_subreaper()
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    Runner(control).run()
