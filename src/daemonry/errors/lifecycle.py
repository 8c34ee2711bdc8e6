"""Errors of starting, finding and stopping a daemon."""

from __future__ import annotations

from daemonry.errors.root import DaemonryError


class LifecycleError(DaemonryError):
    """Starting, finding or stopping a daemon."""


class AlreadyRunning(LifecycleError):
    """Another process is this daemon.

    Attributes:
        name: the daemon's name.
        pid: its process id, or None where the record does not tell.
        endpoint: where it is reached, or None.
    """

    def __init__(self, name: str, pid: int | None, endpoint: str | None) -> None:
        super().__init__(f"{name}: already running" + (f" (pid {pid})" if pid is not None else ""))
        self.name = name
        self.pid = pid
        self.endpoint = endpoint


class NotRunning(LifecycleError):
    """No process is this daemon.

    Attributes:
        name: the daemon's name or endpoint.
        hint: what to do about it, or "".
    """

    def __init__(self, name: str, hint: str = "") -> None:
        super().__init__(f"{name}: not running" + (f" ({hint})" if hint else ""))
        self.name = name
        self.hint = hint


class VersionMismatch(LifecycleError):
    """The daemon that runs is of a version that the caller does not take.

    Attributes:
        name: the daemon's name.
        running: its version.
        wanted: the caller's.
        reason: why it is not taken.
    """

    def __init__(self, name: str, running: str, wanted: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.running = running
        self.wanted = wanted
        self.reason = reason


class StartFailed(LifecycleError):
    """The daemon did not come up.

    Attributes:
        name: the daemon's name.
        stage: how far it came ("spawn", "directories", "lock", "config", "bind", "setup").
        error: the reason, one line.
        exit_status: the process's exit status, negative for a signal, None while it lives.
        log_tail: the last lines that it wrote, or "".
    """

    def __init__(
        self, name: str, stage: str, error: str, exit_status: int | None = None, log_tail: str = ""
    ) -> None:
        super().__init__(f"{name}: start failed ({stage}): {error}")
        self.name = name
        self.stage = stage
        self.error = error
        self.exit_status = exit_status
        self.log_tail = log_tail


class NotReadyInTime(LifecycleError):
    """The daemon lives but has not said that it is ready.

    Attributes:
        name: the daemon's name.
        stage: the last stage that it told.
        timeout_s: how long was waited, in seconds.
        pid: its process id.
    """

    def __init__(self, name: str, stage: str, timeout_s: float, pid: int | None) -> None:
        super().__init__(f"{name}: not ready within {timeout_s:g} s (still in {stage!r}, pid {pid})")
        self.name = name
        self.stage = stage
        self.timeout_s = timeout_s
        self.pid = pid


class StopFailed(LifecycleError):
    """The daemon was asked to stop and is still there.

    Attributes:
        name: the daemon's name.
        timeout_s: how long was waited, in seconds.
        held_up_by: what it was still waiting for, as it told, or "".
    """

    def __init__(self, name: str, timeout_s: float, held_up_by: str) -> None:
        held = f", held up by {held_up_by}" if held_up_by else ""
        super().__init__(f"{name}: still stopping after {timeout_s:g} s{held}")
        self.name = name
        self.timeout_s = timeout_s
        self.held_up_by = held_up_by
