"""What a fork without exec waits for, what the child must not keep, and who in the parent hears of it.

Owns the lists of such objects, and the moments: right before the fork and right after it.  Close-on-exec
helps against exec only.  A worker of `multiprocessing` that kept a listening socket would hold
the place of a daemon that has died, and one that kept a connection would keep its client waiting,
or read the answer to a call of its parent.

A lock that another thread holds at that moment stays locked in the child for ever.  So nothing takes one
after a fork, and the fork waits for the one that is here, and for those that Python has for each module
while it is imported.
"""

from __future__ import annotations

import _frozen_importlib
import os
from _thread import RLock, get_ident
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


_owners: set[ref[ForkOwner]] = set()
_forget = _owners.discard
_watchers: set[ref[ForkWatcher]] = set()


def not_for_children(owner: ForkOwner) -> None:
    """Call `owner.drop_in_child` in each child that is forked while it lives."""
    _owners.add(ref(owner, _forget))


def tell_of_forks(watcher: ForkWatcher) -> None:
    """Call `watcher.forked` in this process after each fork without exec, while it lives."""
    _watchers.add(ref(watcher, _watchers.discard))


def _finish_imports() -> None:
    """Wait until no other thread imports a module of this library.

    Many are imported at their first use, such as a client's first proxy.
    """
    while names := _imported_by_others():
        for name in names:
            try:
                __import__(name)  # as everyone who needs it meanwhile: it waits for the other thread
            except Exception:  # noqa: BLE001, S112  # the other thread hears of it
                continue


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
    for found in list(_watchers):
        watcher = found()
        if watcher is not None:
            watcher.forked()


def _drop_all() -> None:
    for found in list(_owners):
        owner = found()
        if owner is not None:
            owner.drop_in_child()


# The lock that a thread holds while no process may be forked.  Taken and given back by functions in C: what
# a signal's handler raises within one in Python is lost, and the rest of it does not run.
held_at_forks = RLock()
# The hooks before a fork run from the last to the first: a thread that imports comes to the end of
# that, and no further than to this lock.
os.register_at_fork(before=_finish_imports, after_in_child=_drop_all, after_in_parent=_tell_all)
os.register_at_fork(
    before=held_at_forks.acquire, after_in_child=held_at_forks.release, after_in_parent=held_at_forks.release
)
