"""What a child that was forked without exec must not keep, and who in the parent hears of the fork.

Owns the lists of such objects, and the moment: right after the fork.  Close-on-exec
helps against exec only.  A worker of `multiprocessing` that kept a listening socket would hold
the place of a daemon that has died, and one that kept a connection would keep its client waiting,
or read the answer to a call of its parent.

It takes no lock: at the moment of a fork another thread could hold it.
"""

from __future__ import annotations

import os
from _weakref import ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

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


os.register_at_fork(after_in_child=_drop_all, after_in_parent=_tell_all)
