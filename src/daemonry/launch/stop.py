"""Stopping a daemon, and knowing that it is gone.

Owns the asking and the waiting.  Gone means that the life lock is free: the socket vanishes earlier,
and a pid may be another's.  A daemon that does not take the command gets SIGTERM; only `force` kills,
and only the very process that the record names.  A service of a home is stopped by the home.
"""

from __future__ import annotations

from daemonry.clock import Deadline
from daemonry.daemon.instance import Instance
from daemonry.errors import (
    CommandFailed,
    ConnectionLost,
    DaemonryError,
    DeadlineExceeded,
    StopFailed,
)
from daemonry.limits import DRAIN_TIMEOUT_S, PROBE_TIMEOUT_S, REQUEST_TIMEOUT_S, STOP_TIMEOUT_S
from daemonry.process import homes
from daemonry.process.lock import wait_released
from daemonry.transport.connect import try_connect
from daemonry.wire import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from daemonry.daemon.definition import Daemon
    from daemonry.process.homes import Owner

_SIGTERM = 15
_SIGKILL = 9


def stop(
    daemon: Instance | Daemon | str,
    *,
    timeout_s: float | None = None,
    force: bool = False,
    progress: Callable[[str], None] = lambda held_up_by: None,
) -> None:
    """Stop the daemon and return once it is gone.

    Args:
        daemon: which one: a definition, as seen from outside, or the name of one of this user.
        timeout_s: how long it may take, in seconds; None for what the daemon's own drain needs, and no
            less than `STOP_TIMEOUT_S`.
        force: kill it when the time is over.
        progress: called with the work that the daemon still waits for, about once a second.

    Raises:
        NotRunning: it was not there.
        AccessDenied: it is another user's.
        CommandFailed: it refuses to, and there is no process that we know to signal.
        DeadlineExceeded: it takes neither the command nor the signal.
        StopFailed: it took it, and is still there when the time is over.
        TargetInvalid: the name means none.
    """
    instance = _instance(daemon)
    if timeout_s is None:
        timeout_s = _patience_s(instance)
    owner = homes.owner_of(instance.place) if instance.place is not None else None
    if owner is not None and Instance(owner.place).lock_held():
        instance = Instance(owner.place)
        if _stopped_by_home(owner, instance, timeout_s):
            return
    deadline = Deadline(timeout_s)
    heard = _ask(instance, min(REQUEST_TIMEOUT_S, timeout_s))
    held_up_by = ""
    while not _gone(instance, Deadline(min(1.0, deadline.remaining_s() or 0.0))):
        held_up_by = _held_up_by(instance) or held_up_by
        if deadline.expired:
            break
        progress(held_up_by)
    else:
        return
    if force and _kill(instance):
        return
    if not heard:
        raise DeadlineExceeded("reply", timeout_s, "maybe", _described(instance))
    raise StopFailed(instance.name, timeout_s, held_up_by)


def _instance(daemon: Instance | Daemon | str) -> Instance:
    if isinstance(daemon, str):
        return Instance.named(daemon)
    return daemon if isinstance(daemon, Instance) else Instance.of(daemon.place())


def _stopped_by_home(owner: Owner, instance: Instance, timeout_s: float) -> bool:
    """Have the home stop the service: its supervisor would start what ends without its knowledge."""
    from daemonry.launch import of_home

    try:
        of_home.stop(owner, Deadline(timeout_s))
    except DeadlineExceeded:
        raise StopFailed(instance.name, timeout_s, _held_up_by(instance)) from None
    return not instance.lock_held()


def _patience_s(instance: Instance) -> float:
    """Return how long a stop may take by the daemon's own word: its drain, and what comes after it."""
    record = instance.record()
    if record is None:
        return STOP_TIMEOUT_S
    return max(STOP_TIMEOUT_S, record.drain_timeout_s + STOP_TIMEOUT_S - DRAIN_TIMEOUT_S)


def _ask(instance: Instance, timeout_s: float) -> bool:
    """Send STOP, or else SIGTERM; say whether the daemon took the command."""
    try:
        instance.command(text.STOP, timeout_s)
    except ConnectionLost:
        # It went away at once, or somebody else listens at its path and has said nothing.
        if not _gone(instance, Deadline(PROBE_TIMEOUT_S)) and not _is_draining(instance):
            _signal(instance, _SIGTERM)
    except CommandFailed:
        if not _signal(instance, _SIGTERM):  # it does not know STOP, and we do not know it
            raise
    except DeadlineExceeded:
        _signal(instance, _SIGTERM)
        return False
    return True


def _gone(instance: Instance, deadline: Deadline) -> bool:
    if instance.place is not None:
        return wait_released(instance.place.life_lock_path, deadline)
    # Known by its endpoint alone: gone is when nobody listens there.
    endpoint = instance.endpoint().unproved()
    # The answer of another machine takes as long as its ssh.
    probe_s = REQUEST_TIMEOUT_S if endpoint.kind == "ssh" else PROBE_TIMEOUT_S
    while True:
        try:
            stream = try_connect(endpoint, probe_s)
        except DeadlineExceeded:
            if endpoint.kind != "ssh":
                raise
        else:
            if stream is None:
                return True
            stream.close()
        if not deadline.sleep(0.02):
            return False


def _held_up_by(instance: Instance) -> str:
    try:
        waiting_for = instance.status(PROBE_TIMEOUT_S).get("waiting_for", [])
    except DaemonryError:
        return ""
    return ", ".join(str(one) for one in waiting_for)


def _is_draining(instance: Instance) -> bool:
    record = instance.record()
    return record is not None and record.draining


def _signal(instance: Instance, number: int) -> bool:
    record = instance.record()
    return record is not None and record.identity.send_signal(number)


def _kill(instance: Instance) -> bool:
    if not instance.lock_held():
        return True
    if not _signal(instance, _SIGKILL):
        return False
    return _gone(instance, Deadline(REQUEST_TIMEOUT_S))


def _described(instance: Instance) -> str:
    pid = instance.pid()
    return instance.name if pid is None else f"{instance.name} (pid {pid})"
