"""Becoming the one: the start lock, then the life lock.

Owns the order and the patience.  Whoever starts a daemon holds the start lock until it is ready
or has failed; whoever is the daemon holds the life lock until it ends.
"""

from __future__ import annotations

from daemonry.clock import Deadline
from daemonry.daemon.instance import Instance
from daemonry.errors import AlreadyRunning, DeadlineExceeded
from daemonry.limits import LOCK_PROBE_PATIENCE_S, STOP_TIMEOUT_S
from daemonry.process.lock import Lock, wait_released
from daemonry.process.place import Place, state_dir
from daemonry.process.private_dir import ensure_private, ensure_unwritable_by_others


def prepare(place: Place) -> None:
    """Make or check the directory of locks, record and log.

    Raises:
        UnsafePath: it cannot be used.
    """
    ensure_unwritable_by_others(state_dir(place.name))
    ensure_private(place.host_dir)


def take_start_lock(place: Place, timeout_s: float) -> Lock:
    """Take the start lock, waiting for others who start the same daemon.

    Raises:
        DeadlineExceeded: another start is still under way.
        UnsafePath: the lock file cannot be used.
    """
    lock = Lock.take(place.start_lock_path, Deadline(timeout_s))
    if lock is None:
        raise DeadlineExceeded("lock", timeout_s, "no", f"another start of {place.name}")
    return lock


def await_vacancy(place: Place) -> None:
    """Return when nobody is this daemon; one that is ending is waited for.

    Raises:
        AlreadyRunning: somebody is, and stays.
    """
    instance = Instance(place)
    deadline = Deadline(STOP_TIMEOUT_S)
    # A moment's patience, because whoever asks about the lock holds it while asking.
    while not wait_released(place.life_lock_path, Deadline(LOCK_PROBE_PATIENCE_S)):
        record = instance.record()
        if record is None or not record.draining or deadline.expired:
            raise AlreadyRunning(place.name, instance.pid(), str(instance.endpoint()))


def take_life_lock(place: Place) -> Lock:
    """Take the life lock; the caller holds the start lock.

    Raises:
        AlreadyRunning: somebody is this daemon.
        UnsafePath: the lock file cannot be used.
    """
    await_vacancy(place)
    lock = Lock.take(place.life_lock_path, Deadline(LOCK_PROBE_PATIENCE_S))
    if lock is None:
        raise AlreadyRunning(place.name, Instance(place).pid(), None)
    return lock
