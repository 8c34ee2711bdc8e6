"""Becoming the one: the start lock, then the life lock.

Owns the order and the patience.  The process that starts a daemon holds the start lock until it is ready
or has failed; the daemon holds the life lock until it ends.
"""

from __future__ import annotations

from daemonry.clock import Deadline
from daemonry.daemon.instance import Instance
from daemonry.daemon.liveness import SERVING
from daemonry.errors import AlreadyRunning, DeadlineExceeded
from daemonry.limits import LOCK_PROBE_PATIENCE_S
from daemonry.process.lock import Lock, is_held, wait_released
from daemonry.process.place import Place
from daemonry.process.private_dir import ensure_ours, ensure_private, ensure_unwritable_by_others


def prepare(place: Place) -> None:
    """Make or check the directory of locks, record and log.

    Raises:
        UnsafePath: it cannot be used.
    """
    if place.own is not None:
        for directory in place.directories():
            ensure_ours(directory)
        return
    ensure_unwritable_by_others(place.state_path)
    ensure_private(place.host_dir)


def take_start_lock(place: Place, deadline: Deadline) -> Lock:
    """Take the start lock, waiting for others who start the same daemon.

    Raises:
        DeadlineExceeded: another start is still under way.
        UnsafePath: the lock file cannot be used.
    """
    lock = Lock.take(place.start_lock_path, deadline)
    if lock is None:
        raise DeadlineExceeded("lock", deadline.timeout_s or 0.0, "no", f"another start of {place.name}")
    return lock


def await_vacancy(place: Place, deadline: Deadline) -> None:
    """Return when nobody is this daemon; one that is ending is waited for.

    The caller holds the start lock, so a process that has the life lock is ready, or on its way out.

    Raises:
        AlreadyRunning: somebody is, and stays.
        DeadlineExceeded: somebody is still ending.
    """
    instance = Instance(place)
    while is_held(place.life_lock_path):
        record = instance.record()
        if record is not None and not record.draining and record.identity.alive():
            raise AlreadyRunning(place.name, record.pid, record.endpoint)
        # A process that asks about the lock holds it while asking, and one that ends releases it soon.
        if wait_released(place.life_lock_path, Deadline(LOCK_PROBE_PATIENCE_S)):
            return
        if _stays(instance):
            raise AlreadyRunning(place.name, instance.pid(), str(instance.endpoint()))
        if deadline.expired:
            subject = f"{place.name}, which is stopping,"
            raise DeadlineExceeded("lock", deadline.timeout_s or 0.0, "no", subject)


def _stays(instance: Instance) -> bool:
    record = instance.record()
    if record is not None:
        return not record.draining
    # It removes its record before it lets go; one that still answers has lost it otherwise.
    return instance.liveness().answer == SERVING


def take_life_lock(place: Place, deadline: Deadline) -> Lock:
    """Take the life lock; the caller holds the start lock.

    Raises:
        AlreadyRunning: somebody is this daemon.
        DeadlineExceeded: somebody is still ending.
        UnsafePath: the lock file cannot be used.
    """
    await_vacancy(place, deadline)
    lock = Lock.take(place.life_lock_path, Deadline(LOCK_PROBE_PATIENCE_S))
    if lock is None:
        raise AlreadyRunning(place.name, Instance(place).pid(), None)
    return lock
