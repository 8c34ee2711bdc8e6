"""What a fork without exec waits for, what the child must not keep, and who in the parent hears of it.

Owns the lists of such objects, and the moments: right before the fork and right after it.  Close-on-exec
helps against exec only.  A worker of `multiprocessing` that kept a listening socket would hold
the place of a daemon that has died, and one that kept a connection would keep its client waiting,
or read the answer to a call of its parent.

A lock that another thread holds at that moment stays locked in the child for ever.  So what is done after a
fork takes none, and the fork waits for two kinds: those that are named here, and those that Python has for
each module while it is imported.
"""

from __future__ import annotations

import _frozen_importlib
import os
from _thread import get_ident
from _weakref import ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class ForkOwner(Protocol):
        """An object with descriptors that are the parent's alone."""

        def drop_in_child(self) -> None:
            """Close this process's copies; touch nothing that parent and child share."""

    class ForkWatcher(Protocol):
        """An object that goes on otherwise once its process has forked."""

        def forked(self) -> None:
            """Take note, in the thread that forked."""

    class ForkLock(Protocol):
        """A lock that a thread may take twice."""

        def acquire(self) -> bool:
            """Wait for it."""

        def release(self) -> None:
            """Give it back."""


_owners: set[ref[ForkOwner]] = set()
_forget = _owners.discard
_watchers: set[ref[ForkWatcher]] = set()
_locks: list[ForkLock] = []
_held: dict[int, list[ForkLock]] = {}  # by the thread that forks


def not_for_children(owner: ForkOwner) -> None:
    """Call `owner.drop_in_child` in each child that is forked while it lives."""
    _owners.add(ref(owner, _forget))


def tell_of_forks(watcher: ForkWatcher) -> None:
    """Call `watcher.forked` in this process after each fork without exec, while it lives."""
    _watchers.add(ref(watcher, _watchers.discard))


def hold_at_forks(lock: ForkLock) -> None:
    """Hold a lock whenever this process forks, so that no other thread is in the middle of what it guards."""
    _locks.append(lock)


def _keep_still() -> None:
    """Take the locks, and wait until no other thread imports a module of this library.

    Many are imported at their first use, such as a client's first proxy.  One of them may have a lock.
    """
    held = _held[get_ident()] = []
    while True:
        for lock in _locks[len(held) :]:
            lock.acquire()
            held.append(lock)
        names = _imported_by_others()
        if not names:
            return
        for name in names:
            try:
                __import__(name)  # as everyone who needs it meanwhile: it waits for the other thread
            except Exception:  # noqa: BLE001, S112  # the other thread hears of it
                continue


def _let_go() -> None:
    for lock in _held.pop(get_ident(), ()):
        lock.release()


def _imported_by_others() -> list[str]:
    """Return our modules that other threads import now, by CPython's own table of locks."""
    locks: dict[str, Any] = getattr(_frozen_importlib, "_module_locks", {})
    nobodys = (None, get_ident())
    return [
        name
        for name, lock in list(locks.items())
        if name.startswith("daemonry.") and getattr(lock(), "owner", None) not in nobodys
    ]


def _tell_all() -> None:
    _let_go()
    for found in list(_watchers):
        watcher = found()
        if watcher is not None:
            watcher.forked()


def _drop_all() -> None:
    _let_go()
    _held.clear()  # other threads', which forked at the same time
    for found in list(_owners):
        owner = found()
        if owner is not None:
            owner.drop_in_child()


os.register_at_fork(before=_keep_still, after_in_child=_drop_all, after_in_parent=_tell_all)
