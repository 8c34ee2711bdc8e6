"""Starting a home's supervisor: its starter, its reports, and waiting until none is on its way.

Owns the new process and the time before it holds its lock.  It makes no file before it has read home.toml,
so nothing would tell of it: its starter shares the lock of home.toml itself, and hands that on.
"""

from __future__ import annotations

import os

from daemonry.backoff import delays
from daemonry.errors import AlreadyRunning, NotReadyInTime, StartFailed
from daemonry.home.names import RESERVED
from daemonry.limits import LOCK_PROBE_PATIENCE_S, LOCK_RETRY_FIRST_S, LOCK_RETRY_MAX_S
from daemonry.process import crash_file, readiness
from daemonry.process.lock import Lock, is_given_shared, is_held
from daemonry.process.readiness import Reporter
from daemonry.process.spawn import spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Final

    from daemonry.clock import Deadline
    from daemonry.home.home import Home

# How long a supervisor that cannot be one takes to end, at most.
_END_PATIENCE_S: Final = LOCK_PROBE_PATIENCE_S * 8


def start(
    home: Home, names: list[str], deadline: Deadline, meanwhile: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Start the supervisor, and return its message of being ready.

    Args:
        home: its files.
        names: the services and groups that are meant; [] for all.
        deadline: until when it is waited for; then it is left to go on.
        meanwhile: called while it starts.

    Raises:
        AlreadyRunning: there is one.
        StartFailed: it did not come up; at the stage "config" home.toml cannot be used.
        NotReadyInTime: it lives, and has not said that it is ready.
        OSError: it could not be started.
    """
    try:
        return _start(home, names, deadline, meanwhile)
    except (AlreadyRunning, StartFailed, OSError):
        _remove_output(home)
        raise


def _start(home: Home, names: list[str], deadline: Deadline, meanwhile: Callable[[], None]) -> dict[str, Any]:
    crash_path = home.path(RESERVED, "crash")
    words = ["up", "--foreground", "--home", home.directory, *names]
    read_fd, write_fd = os.pipe()
    lock = Lock.share_given(home.file_path)
    boot = {"ready_fd": write_fd} if lock is None else {"ready_fd": write_fd, "lock_fd": lock.fd}
    try:
        spawned = spawn(words, boot, tuple(boot.values()), crash_path)
    except OSError:
        os.close(read_fd)
        raise
    finally:
        os.close(write_fd)
        if lock is not None:
            lock.forget()
    try:
        meanwhile()
        told = _await_ready(home, read_fd, spawned.pid, deadline)
    except (AlreadyRunning, StartFailed):
        spawned.wait(_END_PATIENCE_S)  # it has said its last word, and ends
        raise
    except BaseException:
        spawned.let_go()
        raise
    finally:
        os.close(read_fd)
    spawned.let_go()
    return told


def _remove_output(home: Home) -> None:
    """Remove the crash file if it is empty and no other supervisor writes there."""
    if is_held(home.lock_path) is False and not is_given_shared(home.file_path):
        crash_file.remove_empty(home.path(RESERVED, "crash"))


def _await_ready(home: Home, report_fd: int, pid: int, deadline: Deadline) -> dict[str, Any]:
    stage = "spawn"
    for message in readiness.messages(report_fd, deadline):
        if message is None:
            raise NotReadyInTime(home.name, stage, deadline.timeout_s or 0.0, pid)
        if "ready" in message:
            told: dict[str, Any] = message["ready"]
            return told
        if "running" in message:
            raise AlreadyRunning(home.name, message["running"]["pid"], message["running"]["endpoint"])
        if "failed" in message:
            raise StartFailed(home.name, message["failed"]["stage"], message["failed"]["error"])
        stage = message.get("stage", stage)
    tail = crash_file.tail(home.path(RESERVED, "crash"))
    raise StartFailed(home.name, stage, "the supervisor ended before it was ready", None, tail)


class StartReporter(Reporter):
    """The supervisor's end: tells its starter how far it is, and others that it is on its way.

    Args:
        home: its files.
        boot: its starter's fields; {} in the foreground.
        settled: called once it is ready.
    """

    def __init__(
        self, home: Home, boot: Mapping[str, Any], settled: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(boot.get("ready_fd"))
        self._settled = settled
        fd = boot.get("lock_fd")
        if fd is None:
            self._lock = Lock.share_given(home.file_path)
        else:
            os.set_inheritable(fd, False)
            self._lock = Lock(home.file_path, fd)

    def enter(self, stage: str) -> None:
        """Tell that `stage` has begun; from the one after "lock" on the supervisor's own lock tells of it."""
        super().enter(stage)
        if stage not in ("config", "lock") and self._lock is not None:
            self._lock.forget()
            self._lock = None

    def ready(self, record: dict[str, Any]) -> None:
        """Tell that it serves; the last message."""
        super().ready(record)
        self._settled()


def wait_until_none_starts(home: Home, deadline: Deadline) -> bool:
    """Return True once no supervisor is on its way to its lock, False when the deadline came first."""
    for delay_s in delays(LOCK_RETRY_FIRST_S, LOCK_RETRY_MAX_S):
        if home.is_up() or not is_given_shared(home.file_path):
            return True
        if not deadline.sleep(delay_s):
            return False
    raise AssertionError("delays() is endless")
