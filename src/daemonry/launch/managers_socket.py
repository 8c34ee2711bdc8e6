"""A daemon whose socket a service manager keeps while it does not run: it is started by a connection.

Owns telling such a socket from a foreign one, and waiting for the daemon.  A second listener at that path
is impossible, so who wants the daemon connects, as systemd.socket(5) means it.
"""

from __future__ import annotations

import os

from daemonry import faults
from daemonry.backoff import delays
from daemonry.clock import Deadline
from daemonry.limits import LOCK_RETRY_FIRST_S, LOCK_RETRY_MAX_S, MANAGER_START_PATIENCE_S
from daemonry.process import platform, record
from daemonry.process.lock import is_held
from daemonry.transport.connect import connect
from daemonry.transport.endpoint import Endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daemonry.process.place import Place
    from daemonry.process.record import DaemonRecord
    from daemonry.transport.stream import Stream


def knock(endpoint: Endpoint) -> Stream | None:
    """Return a stream to who listens for a daemon that is not there; None where nobody does.

    The process that is reached is not trusted: it counts when its record is there, as everywhere.
    """
    try:
        return connect(endpoint, LOCK_RETRY_MAX_S)
    except (faults.DaemonryError, OSError):
        return None


def knock_at_manager(place: Place) -> Stream | None:
    """Return a stream to a daemon's usual socket if a service manager keeps it, else None.

    The caller has found that no process is the daemon.
    """
    if not os.path.exists(place.socket_path):
        return None
    stream = knock(Endpoint.unix(place.socket_path))
    if stream is not None and not platform.keeps_for_others(stream.sock):
        stream.close()
        return None
    return stream


def await_started(place: Place, deadline: Deadline) -> DaemonRecord | None:
    """Return the record of the daemon once it is ready; None when nobody begins to start it for a while.

    The caller has knocked, keeps that connection, and holds neither of its locks.
    """
    patience = Deadline(MANAGER_START_PATIENCE_S)
    for delay_s in delays(LOCK_RETRY_FIRST_S, LOCK_RETRY_MAX_S):
        is_running = is_held(place.life_lock_path)
        found = record.read(place.record_path)
        if is_running and found is not None and found.ready and not found.draining:
            return found
        is_coming = is_running or is_held(place.start_lock_path)
        if (patience.expired and not is_coming) or not deadline.sleep(delay_s):
            break
    return None
