"""The homes of this user, and which daemon runs as which of their services.

    LIST/home-SUM.json         "there is a home in this directory"; written by its supervisor
    LIST/NAME.only.lock        held by every daemon called NAME: shared, or alone by a home's
    HOME/SERVICE.daemon.json   which daemon the service is, and how its last run ended; written by the daemon

LIST is `~/.local/state/daemonry/HOST`, whatever XDG_STATE_HOME says.  A caller, the `up` of a home and
cron may have different XDG variables, and must find the same daemon; they share HOME.

A pointer and a claim are hints: the supervisor's lock and the daemon's life lock are the truth.

Owns these files, and the question which home a daemon belongs to.  What a supervisor is asked is
`daemonry.launch.of_home`'s.
"""

from __future__ import annotations

import os

from daemonry import faults, strict_json
from daemonry.limits import MAX_RECORD_BYTES
from daemonry.process import lock, place
from daemonry.process.place import Place
from daemonry.process.private_dir import ensure_private
from daemonry.process.regular_file import open_regular
from daemonry.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

HOME_VARIABLE: Final = "DAEMONRY_HOME"
SERVICE_VARIABLE: Final = "DAEMONRY_SERVICE"
SOCKET_VARIABLE: Final = "DAEMONRY_SOCKET"

# How a run ended by itself, where its home should know more than the exit code tells.
IDLE: Final = "idle"
BY_COMMAND: Final = "stop"

_SUFFIX: Final = ".daemon.json"
_POINTER: Final = "home-"


class Claim(Value):
    """Which daemon a service is.

    Attributes:
        place: where its files are.
        usual: whether that is the usual place of its name; only then is it found from other XDG variables.
        version: the daemon's version.
        mark: what all processes of this run of the service have in their environment.
        ended: how the run ended by itself: `IDLE`, `BY_COMMAND`, or "" while it runs or for any other end.
    """

    __slots__ = ("ended", "mark", "place", "usual", "version")
    ended: str
    mark: str
    place: Place
    usual: bool
    version: str

    def __init__(self, place: Place, usual: bool, version: str, mark: str, ended: str = "") -> None:
        self._set(place=place, usual=usual, version=version, mark=mark, ended=ended)

    def with_end(self, ended: str) -> Claim:
        """Return the same, of a run that has ended so."""
        return Claim(self.place, self.usual, self.version, self.mark, ended)


class Owner(Value):
    """The home that runs a daemon.

    Attributes:
        home: the home's directory.
        service: the service's name.
        claim: which daemon it is.
    """

    __slots__ = ("claim", "home", "service")
    claim: Claim
    home: str
    service: str

    def __init__(self, home: str, service: str, claim: Claim) -> None:
        self._set(home=home, service=service, claim=claim)

    @property
    def place(self) -> Place:
        """Where the daemon's files are."""
        return self.claim.place

    def __str__(self) -> str:
        return f"the service {self.service} of the home {self.home}"


# --- the list -----------------------------------------------------------------------------------


def list_dir() -> str:
    """Return the directory of pointers to homes.

    Raises:
        UnsafePath: no home directory is known.
    """
    return f"{place.home_dir()}/.local/state/daemonry/{place.host_id()}"


def _pointer_path(home: str) -> str:
    import zlib

    return f"{list_dir()}/{_POINTER}{zlib.crc32(os.fsencode(home)):08x}.json"


def add(home: str) -> None:
    """Make the home in a directory known.

    Raises:
        OSError, UnsafePath: it could not be written.
    """
    from daemonry.process.atomic_file import write_atomically

    ensure_private(list_dir())
    write_atomically(_pointer_path(home), strict_json.encode_names({"home": home}).encode(), durable=False)


def remove(home: str) -> None:
    """Forget a home; nothing happens when it is not known."""
    try:
        os.unlink(_pointer_path(home))
    except (OSError, faults.DaemonryError):
        pass


def known() -> list[str]:
    """Return the directories of all homes that are known, by their paths."""
    try:
        directory = list_dir()
        names = os.listdir(directory)
    except (OSError, faults.DaemonryError):
        return []
    found = set()
    for name in names:
        if name.startswith(_POINTER) and name.endswith(".json"):
            home = _read(f"{directory}/{name}").get("home")
            if isinstance(home, str) and home.startswith("/"):
                found.add(home)
    return sorted(found)


def is_up(home: str) -> bool:
    """Whether a home has a supervisor, also one that starts or ends."""
    return lock.is_held(f"{home}/home.lock") is True


def only_lock_path(name: str) -> str:
    """Return the lock that keeps a home's daemon called `name` from running beside another of that name.

    Raises:
        UnsafePath: no home directory is known, or the list cannot be made.
    """
    directory = list_dir()
    ensure_private(directory)
    return f"{directory}/{name}.only.lock"


# --- claims -------------------------------------------------------------------------------------


def claim_path(home: str, service: str) -> str:
    """Return the file in which a service's daemon says that it is."""
    return f"{home}/{service}{_SUFFIX}"


def write_claim(home: str, service: str, claim: Claim) -> None:
    """Say that a service is a daemon.

    Raises:
        OSError: it could not be written.
    """
    from daemonry.process.atomic_file import write_atomically

    where = claim.place
    fields: dict[str, Any] = {
        "name": where.name,
        "host_dir": where.host_dir,
        "runtime_dir": where.runtime_dir,
        "usual": claim.usual,
        "version": claim.version,
        "mark": claim.mark,
        "ended": claim.ended,
    }
    if where.own is not None:
        fields["own"] = dict(where.own)
    write_atomically(claim_path(home, service), strict_json.encode_names(fields).encode(), durable=False)


def read_claim(home: str, service: str) -> Claim | None:
    """Return which daemon a service is; None for other programs, and if its file cannot be read."""
    fields = _read(claim_path(home, service))
    own = fields.get("own")
    texts = [fields.get(key) for key in ("host_dir", "name", "runtime_dir", "version", "mark", "ended")]
    if not all(isinstance(text, str) for text in texts) or not isinstance(own, dict | None):
        return None
    host_dir, name, runtime_dir, version, mark, ended = map(str, texts)
    paths = None if own is None else [(str(kind), str(path)) for kind, path in own.items()]
    try:
        where = Place(host_dir, place.check_name(name), runtime_dir, paths)
    except faults.TargetInvalid:
        return None
    return Claim(where, fields.get("usual") is True, version, mark, ended)


def claims(home: str) -> dict[str, Claim]:
    """Return which of a home's services are daemons, by the services' names."""
    try:
        names = sorted(os.listdir(home))
    except OSError:
        return {}
    services = [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]
    found = {service: read_claim(home, service) for service in services}
    return {service: claim for service, claim in found.items() if claim is not None}


def remove_claim(home: str, service: str) -> None:
    """Forget that a service is a daemon."""
    try:
        os.unlink(claim_path(home, service))
    except OSError:
        pass


# --- whose a daemon is --------------------------------------------------------------------------


def owners() -> Iterator[Owner]:
    """Yield each daemon that runs, or may be started, as a service of a home."""
    for home in known():
        up = is_up(home)
        for service, claim in claims(home).items():
            # A service may outlive its supervisor (`orphan = "adopt"`), and is no less there.
            if up or lock.is_held(claim.place.life_lock_path):
                yield Owner(home, service, claim)


def owner_of(where: Place) -> Owner | None:
    """Return the home that runs the daemon whose files are at a place, or would be by its name; or None.

    A home that is not up owns nothing, except what outlived its supervisor.
    """
    return next((owner for owner in owners() if _is_meant(owner.claim, where)), None)


def locate(where: Place) -> Place:
    """Return the place of the daemon that is meant by a place: its home's, if it has one."""
    owner = owner_of(where)
    return where if owner is None else owner.place


def _is_meant(claim: Claim, where: Place) -> bool:
    if claim.place.life_lock_path == where.life_lock_path:
        return True
    return claim.usual and claim.place.name == where.name and place.is_usual(where)


def _read(path: str) -> dict[str, Any]:
    """Return the fields of a file of ours; {} when there is none that can be trusted and read."""
    try:
        fd = open_regular(path)
    except OSError:
        return {}
    try:
        if os.fstat(fd).st_uid != os.geteuid():
            return {}
        return strict_json.decode_object(os.read(fd, MAX_RECORD_BYTES).decode(), with_names=True)
    except (OSError, ValueError, faults.BadFrame):
        return {}
    finally:
        os.close(fd)
