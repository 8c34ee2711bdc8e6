"""Connecting to a daemon that serves, if its version will do; whether one that runs is to be replaced.

Owns the quick part of `ensure`, and acting on what `daemon.versions` decides.  Starting and replacing
are `launch.acquire`'s.
"""

from __future__ import annotations

from daemonry import faults
from daemonry.process import record_fields
from daemonry.process.program import development
from daemonry.transport.connect import connect
from daemonry.transport.endpoint import Endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daemonry.clock import Deadline
    from daemonry.daemon.definition import Daemon
    from daemonry.daemon.instance import Instance
    from daemonry.daemon.versions import Verdict, Versions
    from daemonry.process.place import Place
    from daemonry.transport.stream import Stream

_reached: set[str] = set()


def reach(
    place: Place,
    deadline: Deadline,
    daemon: Daemon | None,
    versions: Versions | None,
    mode: str,
) -> tuple[Stream, Endpoint] | None:
    """Return a stream to the daemon if it is ready and of a version that is taken; None if not.

    Raises:
        VersionMismatch: its version is not taken, and it is not to be replaced.
        AccessDenied, DeadlineExceeded, ConnectError: somebody may be there.
    """
    fields = record_fields.read_fields(place.record_path)
    told = fields.get("endpoint")
    if not isinstance(told, str) or fields.get("draining") is True or fields.get("ready") is False:
        return None
    running = str(fields.get("version"))
    # Known by its name alone, a daemon is as good as any of its range: there is no other to start.
    wanted = running if daemon is None else daemon.version
    policy = versions or (None if daemon is None or running == wanted else daemon.versions)
    if policy is not None and not is_taken(place, policy, running, wanted, mode):
        return None
    endpoint = Endpoint.parse(told)
    if development.is_on() and _is_stale(place, endpoint, mode):
        return None
    try:
        stream = connect(endpoint, deadline.remaining_s())
    except (faults.NotListening, faults.ConnectionRefused):
        return None
    _reached.add(place.record_path)
    return stream, endpoint


def _is_stale(place: Place, endpoint: Endpoint, mode: str) -> bool:
    """Whether the daemon has old code and is to be replaced for it; where it is not, that is said."""
    from daemonry.launch import stale

    changed = stale.changed_files(endpoint)
    if changed and mode != "auto":
        stale.say(place.name, changed, "the daemon goes on with the old code")
    return bool(changed) and mode == "auto"


def why_stale(instance: Instance) -> str:
    """Return why the daemon that runs is to be replaced for its code; "" if it is not."""
    if not development.is_on() or not instance.lock_held():
        return ""
    from daemonry.launch import stale

    changed = stale.changed_files(instance.endpoint())
    if not changed:
        return ""
    stale.say(instance.name, changed, "replacing the daemon")
    return stale.reason(changed)


def has_reached(place: Place) -> bool:
    """Whether this process has been connected to the daemon of `place` before."""
    return place.record_path in _reached


def is_taken(place: Place, policy: Versions, running: str, wanted: str, mode: str) -> bool:
    """Whether the daemon of version `running` is taken as it is; False if it is to be replaced.

    Raises:
        VersionMismatch: neither, or `mode` allows no start.
    """
    from daemonry.daemon.versions import CONNECT, REFUSE, judge
    from daemonry.errors import VersionMismatch

    verdict = judge(policy, running, wanted, reconnecting=has_reached(place))
    if verdict.action == REFUSE or (verdict.action != CONNECT and mode != "auto"):
        raise VersionMismatch(place.name, running, wanted, verdict.reason)
    return verdict.action == CONNECT


def replaceable(instance: Instance, policy: Versions, wanted: str) -> Verdict | None:
    """Return why the daemon that runs is to be replaced; None if it is not, or none runs."""
    from daemonry.daemon.versions import CONNECT, judge
    from daemonry.process import record

    assert instance.place is not None
    running = record.read(instance.place.record_path)
    if running is None or running.draining or not instance.lock_held():
        return None
    verdict = judge(policy, running.version, wanted, reconnecting=has_reached(instance.place))
    return None if verdict.action == CONNECT else verdict
