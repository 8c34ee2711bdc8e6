"""All daemons of this user, and all homes with their services.

Owns finding and asking them.  Each daemon and each home is asked at the same time, so one that does not
answer delays nothing but itself: the daemons by one thread, homes and what takes more than one exchange by
several.  A daemon that is a service stands below its home, and nowhere else.
"""

from __future__ import annotations

import functools
import os
import time

from daemonry.daemon.instance import Instance
from daemonry.errors import DaemonryError, DeadlineExceeded
from daemonry.limits import PROBE_TIMEOUT_S
from daemonry.process import homes, registry
from daemonry.transport.endpoint import Endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from daemonry.home.home import Home
    from daemonry.process.place import Place
    from daemonry.process.record import DaemonRecord

    Ask = Callable[[], dict[str, Any] | None]

_SERVICES = "org.daemonry.Home.Services"


def names() -> list[str]:
    """Return the names of all daemons, those in homes too; nobody is asked."""
    places, owners = _known()
    return sorted({place.name for place in (*places, *(owner.place for owner in owners))})


def rows() -> list[dict[str, Any]]:
    """Return each daemon, then each home with its services, as `ps --json` prints them."""
    places, directories = _known()[0], list(homes.known())
    if len(places) + len(directories) <= 1:  # nobody else is delayed
        found = [*map(_row, places), *map(home_row, directories)]
        return [row for row in found if row is not None]
    if not directories:
        return _daemon_rows(places)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=16) as pool:
        services = pool.map(home_row, directories)
        return [*_daemon_rows(places), *(row for row in services if row is not None)]


def _each(asks: Sequence[Ask]) -> list[dict[str, Any] | None]:
    """Ask several at the same time, each by a thread of its own; a pool takes longer than one answer."""
    if len(asks) <= 1:
        return [ask() for ask in asks]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=16) as pool:
        return [made.result() for made in [pool.submit(ask) for ask in asks]]


def _known() -> tuple[list[Place], list[homes.Owner]]:
    """Return where the daemons are that are not services, and the services that are daemons."""
    owners = list(homes.owners())
    owned = {owner.place.life_lock_path for owner in owners}
    return [place for place in registry.places() if place.life_lock_path not in owned], owners


# --- daemons ------------------------------------------------------------------------------------


def _daemon_rows(places: Sequence[Place]) -> list[dict[str, Any]]:
    from daemonry.service.client import roll_call
    from daemonry.wire import text

    found: dict[int, dict[str, Any] | None] = {}
    later: dict[int, Ask] = {}
    running: list[tuple[int, Instance, DaemonRecord, Endpoint]] = []
    for number, place in enumerate(places):
        instance = Instance(place)
        record = instance.record()
        endpoint = _endpoint_of(record)
        if record is None or endpoint is None or instance.lock_held() is False:
            later[number] = functools.partial(_row, place)
        else:
            running.append((number, instance, record, endpoint))
    replies = roll_call.ask_each([endpoint for *_, endpoint in running], text.STATUS, PROBE_TIMEOUT_S)
    for (number, instance, record, _), reply in zip(running, replies, strict=True):
        if isinstance(reply, DeadlineExceeded):
            later[number] = functools.partial(_silent_row, instance)
        elif reply is None or reply.fields is None:
            later[number] = functools.partial(_row, places[number])
        else:
            found[number] = _fields(instance, record, str(reply.fields.get("state", "serving")), reply.fields)
    found |= zip(later, _each([*later.values()]), strict=True)
    return [row for _, row in sorted(found.items()) if row is not None]


def _row(place: Place) -> dict[str, Any] | None:
    instance = Instance(place)
    if instance.lock_held() is False:
        if not os.path.exists(place.record_path):
            registry.remove(place)
            return None
        return _fields(instance, instance.record(), "crashed", {})
    try:
        status = instance.status(PROBE_TIMEOUT_S)
    except DaemonryError:
        return _silent_row(instance)
    return _fields(instance, instance.record(), str(status.get("state", "serving")), status)


def _silent_row(instance: Instance) -> dict[str, Any]:
    return _fields(instance, instance.record(), instance.liveness(0.2).answer, {})


def _endpoint_of(record: DaemonRecord | None) -> Endpoint | None:
    try:
        return Endpoint.parse(record.endpoint) if record is not None else None
    except DaemonryError:
        return None


def _fields(instance: Instance, record: DaemonRecord | None, state: str, status: Any) -> dict[str, Any]:
    return {
        "kind": "daemon",
        "name": instance.name,
        "pid": record.pid if record is not None else None,
        "state": state,
        "uptime_secs": status.get("uptime_secs"),
        "version": record.version if record is not None else None,
        "endpoint": record.endpoint if record is not None else None,
        "log": instance.place.log_path if instance.place is not None else None,
    }


# --- homes --------------------------------------------------------------------------------------


def home_row(directory: str) -> dict[str, Any] | None:
    """Return a home with its services; None for one that is gone, which is forgotten."""
    from daemonry.home.home import Home

    home = Home(directory)
    left = [owner for owner in homes.owners() if owner.home == directory]
    if not home.is_up():
        if not left:
            homes.remove(directory)
            return None
        return _home_fields(home, "supervisor gone", None, [_left_row(owner) for owner in left])
    try:
        with home.connect(PROBE_TIMEOUT_S) as client:
            services = client.call(_SERVICES, timeout_s=PROBE_TIMEOUT_S)["result"]
            told = client.call("org.daemonry.Control.GetStatus", timeout_s=PROBE_TIMEOUT_S)["status"]
    except (DaemonryError, OSError):
        return _home_fields(home, "no answer", None, [_left_row(owner) for owner in left])
    state = "going down" if told["state"] == "draining" else "up"
    return _home_fields(home, state, told["uptime_secs"], [_service_row(one) for one in services])


def _home_fields(
    home: Home, state: str, uptime_s: float | None, services: list[dict[str, Any]]
) -> dict[str, Any]:
    record = home.record() if home.is_up() else None
    return {
        "kind": "home",
        "name": home.name,
        "home": home.directory,
        "pid": record.pid if record is not None else None,
        "state": state,
        "uptime_secs": uptime_s,
        "version": record.version if record is not None else None,
        "endpoint": str(home.endpoint),
        "services": services,
    }


def _service_row(one: dict[str, Any]) -> dict[str, Any]:
    running = one["pid"] is not None
    return {
        "kind": "service",
        "name": one["name"],
        "daemon": one["daemon"],
        "pid": one["pid"],
        "state": one["state"],
        "uptime_secs": int(max(0.0, time.time() - one["since"])) if running else None,
        "version": one["version"],
        "endpoint": one["endpoint"],
    }


def _left_row(owner: homes.Owner) -> dict[str, Any]:
    """Return a service of a home that cannot be asked, as its daemon's own files tell."""
    found = Instance(owner.place).record()
    return {
        "kind": "service",
        "name": owner.service,
        "daemon": owner.place.name,
        "pid": found.pid if found is not None else None,
        "state": "running" if Instance(owner.place).lock_held() else "not running",
        "uptime_secs": None,
        "version": owner.claim.version,
        "endpoint": found.endpoint if found is not None else None,
    }
