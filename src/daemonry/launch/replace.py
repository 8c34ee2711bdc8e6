"""A daemon of another version than the caller's: taken, replaced or refused.

Owns acting on what `versions` decides.
"""

from __future__ import annotations

from daemonry.daemon.instance import Instance
from daemonry.daemon.versions import CONNECT, REFUSE, Verdict, Versions, judge
from daemonry.errors import VersionMismatch
from daemonry.launch import ensure
from daemonry.process import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daemonry.process.place import Place


def is_taken(place: Place, policy: Versions, running: str, wanted: str, mode: str) -> bool:
    """Whether the daemon of version `running` is taken as it is; False if it is to be replaced.

    Raises:
        VersionMismatch: neither, or `mode` allows no start.
    """
    verdict = judge(policy, running, wanted, reconnecting=ensure.has_reached(place))
    if verdict.action == REFUSE or (verdict.action != CONNECT and mode != "auto"):
        raise VersionMismatch(place.name, running, wanted, verdict.reason)
    return verdict.action == CONNECT


def replaceable(instance: Instance, policy: Versions, wanted: str) -> Verdict | None:
    """Return why the daemon that runs is to be replaced; None if it is not, or none runs."""
    assert instance.place is not None
    running = record.read(instance.place.record_path)
    if running is None or running.draining or not instance.lock_held():
        return None
    verdict = judge(policy, running.version, wanted, reconnecting=ensure.has_reached(instance.place))
    return None if verdict.action == CONNECT else verdict
