"""Exchanging a running daemon for a new process of its program, while clients come and go.

Owns the starter's side.  The new process prepares itself while the old one serves, takes the socket,
the lock and the record over (see `hand_over`), and the old one ends when it has answered all that it
accepted.  If the new one fails anywhere on the way, the old one goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemonry.clock import Deadline
from daemonry.daemon import single_instance
from daemonry.daemon.instance import Instance
from daemonry.daemon.recipe import Recipe
from daemonry.errors import NotRunning
from daemonry.launch import of_home
from daemonry.launch.start import start_locked
from daemonry.launch.stop import stop
from daemonry.limits import REQUEST_TIMEOUT_S, START_TIMEOUT_S
from daemonry.process import homes
from daemonry.runtime.handover import is_offered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daemonry.process.lock import Lock
    from daemonry.process.place import Place
    from daemonry.process.record import DaemonRecord


def upgrade(
    place: Place,
    recipe: Recipe,
    *,
    timeout_s: float = START_TIMEOUT_S,
    progress: Callable[[str], None] = lambda stage: None,
) -> DaemonRecord:
    """Exchange the daemon that runs for a new process and return that one's record.

    One that does not run is started.  One that does not know how to hand itself over (it was written
    with an older release) is stopped and started, and so is a service of a home, by the home.

    Args:
        place: where its files are.
        recipe: how it is started.
        timeout_s: how long it may take, in seconds.
        progress: called with each stage as it begins.

    Raises:
        StartFailed: the new one did not come up; the old one goes on.
        Everything else that `start` raises.
    """
    deadline = Deadline(timeout_s)
    owner = homes.owner_of(place)
    if owner is not None and homes.is_up(owner.home):
        progress("home")
        of_home.restart(owner, deadline)
        return of_home.ready_record(owner, place.name)
    single_instance.prepare(place)
    lock = single_instance.take_start_lock(place, deadline)
    return upgrade_locked(place, recipe, lock, deadline, progress)


def upgrade_locked(  # as `start_locked`
    place: Place,
    recipe: Recipe,
    start_lock: Lock,
    deadline: Deadline,
    progress: Callable[[str], None],
    env: Mapping[str, str] | None = None,
) -> DaemonRecord:
    """As `upgrade`, for a caller that has the start lock already; it is let go of, whatever happens."""
    instance = Instance(place)
    running = instance.record()
    try:
        take_over = running is not None and not running.draining and bool(instance.lock_held())
        if take_over and not is_offered(
            instance.endpoint(), min(REQUEST_TIMEOUT_S, deadline.remaining_s() or 0.0)
        ):
            progress("stop")
            take_over = False
            try:
                stop(instance, timeout_s=deadline.remaining_s() or 0.0)
            except NotRunning:
                pass
    except BaseException:
        start_lock.forget()
        raise
    return start_locked(place, recipe, start_lock, deadline, progress, env, take_over=take_over)
