"""Starting and stopping a daemon that is a service of a home: its supervisor does it.

Owns the requests to the supervisor, for every caller of such a daemon.  A second copy beside the
home's is never started: a home that is coming up or going down is waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daemonry import errors
from daemonry.clock import Deadline
from daemonry.limits import CONNECT_RETRY_MAX_S, CONNECT_TIMEOUT_S
from daemonry.process import homes, record
from daemonry.service.client.blocking import Client
from daemonry.transport.endpoint import Endpoint

if TYPE_CHECKING:
    from daemonry.process.homes import Owner
    from daemonry.process.record import DaemonRecord

_INTERFACE = "org.daemonry.Home"


def start(owner: Owner, deadline: Deadline) -> None:
    """Have the home start the service, and return when it is ready, or is somebody else's to start.

    That is the case where the home goes down, or has no such service any more.

    Raises:
        StartFailed: it did not become ready; the reason is the supervisor's.
        DeadlineExceeded: the supervisor did not answer in time.
    """
    _ask(owner, "Start", {}, deadline)


def replace(owner: Owner, pid: int, deadline: Deadline) -> None:
    """Have the home start the service again, unless its daemon is another process than `pid` by now.

    Raises:
        As `start`.
    """
    _ask(owner, "Replace", {"pid": pid, "version": owner.claim.version}, deadline)


def restart(owner: Owner, deadline: Deadline) -> None:
    """Have the home stop the service, which ends its calls first, and start it.

    Raises:
        As `start`.
    """
    _ask(owner, "Restart", {}, deadline)


def stop(owner: Owner, deadline: Deadline) -> None:
    """Have the home stop the service, and return when it has; it is started again when somebody asks.

    Raises:
        As `start`.
    """
    _ask(owner, "Stop", {}, deadline)


def state(owner: Owner, timeout_s: float) -> str:
    """Return the state in which the home has the service, or "not running" where it does not say."""
    try:
        with Client.connect(Endpoint.unix(f"{owner.home}/home.sock"), timeout_s) as client:
            services = client.call(f"{_INTERFACE}.Services", timeout_s=timeout_s)["result"]
    except (errors.DaemonryError, OSError):
        return "not running"
    return next((str(one["state"]) for one in services if one["name"] == owner.service), "not running")


def ready_record(owner: Owner, name: str) -> DaemonRecord:
    """Return the record of a daemon that its home says is ready.

    Raises:
        StartFailed: the service is ready, and no daemon of this name.
    """
    now = homes.read_claim(owner.home, owner.service)
    found = record.read(now.place.record_path) if now is not None else None
    if found is None or found.draining:
        raise errors.StartFailed(name, "home", f"{owner} does not run it")
    return found


def _ask(owner: Owner, method: str, parameters: dict[str, Any], deadline: Deadline) -> None:
    asked = {"service": owner.service, **parameters}
    while homes.is_up(owner.home):
        try:
            if _call(owner, method, asked, deadline):
                return
        except (errors.NotListening, errors.ConnectionRefused):
            pass  # it is on its way to its socket, or away from it
        except errors.ConnectionLost:
            pass  # it ended meanwhile
        if not deadline.sleep(CONNECT_RETRY_MAX_S):
            subject = f"the supervisor of {owner.home}"
            raise errors.DeadlineExceeded("start", deadline.timeout_s or 0.0, "no", subject)


def _call(owner: Owner, method: str, asked: dict[str, Any], deadline: Deadline) -> bool:
    """Ask once; False while the home goes down."""
    endpoint = Endpoint.unix(f"{owner.home}/home.sock")
    left_s = deadline.remaining_s() or 0.0
    try:
        with Client.connect(endpoint, min(left_s, CONNECT_TIMEOUT_S)) as client:
            client.call(f"{_INTERFACE}.{method}", asked, timeout_s=deadline.remaining_s() or 0.0)
    except errors.CallFailed as error:
        kind = error.error.rpartition(".")[2]
        if kind in ("GoingDown", "Draining"):
            return False
        if kind == "NoSuchService":
            homes.remove_claim(owner.home, owner.service)  # left over from an earlier home.toml
            return True
        reason = error.parameters.get("reason") or str(error)
        raise errors.StartFailed(owner.place.name, "home", f"{owner}: {reason}") from None
    return True
