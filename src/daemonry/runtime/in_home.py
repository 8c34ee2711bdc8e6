"""A daemon that runs as a service of a home: it says which daemon the service is, and how a run ends.

Owns the daemon's side.  A process is a service's if the home's record of the present run has the mark
that the process has in its environment; variables alone may have come down from an earlier run.
The home's side is `daemonry.home.keeper`'s.
"""

from __future__ import annotations

import logging
import os

from daemonry.daemon.instance import Instance
from daemonry.errors import ConnectionLost, DaemonryError, NotRunning, Refused
from daemonry.process import homes, lock, place, record, record_fields
from daemonry.process.homes import Claim
from daemonry.process.lock import Lock, wait_released
from daemonry.process.sweep import MARK_VARIABLE
from daemonry.runtime.handover import is_offered
from daemonry.wire import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daemonry.clock import Deadline
    from daemonry.process.place import Place
    from daemonry.transport.endpoint import Endpoint

logger: logging.Logger = logging.getLogger("daemonry.daemon")


class InHome:
    """The daemon as a service.

    Args:
        home: the home's directory.
        service: the service's name.
        socket_path: where the home looks for the service's socket.
        claim: which daemon it is.

    Attributes:
        home, service: as given.
    """

    def __init__(self, home: str, service: str, socket_path: str, claim: Claim) -> None:
        self.home = home
        self.service = service
        self._socket_path = socket_path
        self._claim = claim

    @classmethod
    def of_environment(cls, where: Place, version: str) -> InHome | None:
        """Return the home, and the service there, that this process is, by its environment and the record."""
        values = [
            os.environ.get(name, "")
            for name in (homes.HOME_VARIABLE, homes.SERVICE_VARIABLE, homes.SOCKET_VARIABLE, MARK_VARIABLE)
        ]
        home, service, socket_path, mark = values
        if not all(values) or record_fields.read_fields(f"{home}/{service}.json").get("mark") != mark:
            return None
        found = homes.read_claim(home, service)
        if found is not None and found.mark == mark and _is_another(found.place, where):
            return None  # a daemon of the service has said that it is the service; this is a helper of it
        return cls(home, service, socket_path, Claim(where, place.is_usual(where), version, mark))

    def __str__(self) -> str:
        return f"the service {self.service} of the home {self.home}"

    def fields(self) -> dict[str, str]:
        """Return what STATUS tells of it."""
        return {"home": self.home, "service": self.service}

    def say(self) -> None:
        """Say which daemon the service is.

        Raises:
            Refused: it could not be written.
        """
        try:
            homes.write_claim(self.home, self.service, self._claim)
        except OSError as error:
            path = homes.claim_path(self.home, self.service)
            raise Refused(f"{path} cannot be written: {error.strerror}") from error

    def say_end(self, ended: str) -> None:
        """Say how this run ends: idle, or because somebody commanded it."""
        try:
            homes.write_claim(self.home, self.service, self._claim.with_end(ended))
        except OSError as error:
            logger.warning("the home does not learn why this run ends: %s", error)

    def link_socket(self, endpoint: Endpoint) -> None:
        """Have the service's socket in the home lead to where the daemon listens."""
        path = endpoint.path
        if path is None or path == self._socket_path:
            return
        made = f"{self._socket_path}.{os.getpid()}.tmp"
        try:
            if os.path.lexists(self._socket_path) and not os.path.islink(self._socket_path):
                logger.warning("%s is not a link, and stays as it is", self._socket_path)
                return
            os.symlink(path, made)
            os.replace(made, self._socket_path)
        except OSError as error:
            logger.warning("%s does not lead to %s: %s", self._socket_path, path, error.strerror)


def _is_another(running: Place, where: Place) -> bool:
    return running.life_lock_path != where.life_lock_path and lock.is_held(running.life_lock_path) is True


def take_name(where: Place, in_home: InHome | None) -> Lock | None:
    """Take the lock by which a home's daemon and others of its name exclude each other.

    Within one place the life lock does so; this one holds whatever XDG variables each of them has.
    None where it is not needed, or where nobody could look for it.

    Raises:
        Refused: the other kind runs; the message tells where.
    """
    if not place.is_usual(where):
        return None
    try:
        path = homes.only_lock_path(where.name)
        taken = Lock.try_share(path) if in_home is None else Lock.try_take(path)
    except DaemonryError:
        return None  # where the list of homes cannot be, no home is found through it
    if taken is None:
        raise Refused(_other(where, in_home))
    owner = homes.owner_of(where) if in_home is None else None
    if (
        owner is not None
    ):  # asked under the lock: the home's daemon is not there now, and may come at any time
        taken.release()
        raise Refused(f"it is {owner}; start it there: daemonry restart --home {owner.home} {owner.service}")
    return taken


def _other(where: Place, in_home: InHome | None) -> str:
    owner = homes.owner_of(where) if in_home is None else None
    if owner is not None:
        found = record.read(owner.place.record_path)
        return f"it runs as {owner}" + (f" (pid {found.pid})" if found is not None else "")
    if in_home is None:
        return f"another {where.name} runs as a service of a home"
    return (
        f"another {where.name} runs outside of this home, with other XDG variables: "
        f"end it (daemonry stop {where.name}, where it was started)"
    )


def make_way(where: Place, endpoint: Endpoint, deadline: Deadline) -> bool:
    """Have a daemon that runs outside of its home make way for the home's, by the hand-over if it can.

    The caller holds the start lock, and will listen at `endpoint`.  A daemon that cannot hand itself over,
    or listens elsewhere, is stopped: it answers what it has accepted, and ends.

    Returns:
        Whether there is a daemon, which hands itself over.

    Raises:
        CommandFailed, DeadlineExceeded: it refuses to end, or does not answer.
    """
    instance = Instance(where)
    running = record.read(where.record_path)
    if running is None or running.draining or not instance.lock_held():
        return False
    try:
        takes_over = running.ready and running.endpoint == str(endpoint)
        if takes_over and is_offered(instance.endpoint(), deadline.remaining_s() or 0.0):
            return True
        instance.command(text.STOP, deadline.remaining_s() or 0.0)
    except (NotRunning, ConnectionLost):
        pass  # it ends by itself
    wait_released(where.life_lock_path, deadline)
    return False
