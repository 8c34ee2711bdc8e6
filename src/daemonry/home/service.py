"""The services of a home as values: their processes, and how they show that they are ready.

Owns the shapes.  `home_file` reads them, `keeper` runs them.  They are Structs: to make a dataclass takes a
millisecond of a supervisor's start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

from msgspec import Struct

from daemonry.daemon.http_settings import Http
from daemonry.home.policy import Policy
from daemonry.home.trigger.schedule import Schedule


class Kind(Enum):
    """How a service shows that it is ready."""

    STARTED = "started"
    MESSAGE = "message"
    NOTIFY = "notify"
    SOCKET = "socket"
    HTTP = "http"
    COMMAND = "command"
    OUTPUT = "output"


class Orphan(Enum):
    """What becomes of a service when its supervisor was killed."""

    END = "end"
    ADOPT = "adopt"


class Ready(Struct, frozen=True):
    """How a service shows that it is ready.

    Attributes:
        kind: the way.
        target: the endpoint, the URL, or the pattern; "" where the kind has none.
        words: the command.
        status: the HTTP status that is meant; None for any from 200 to 299.
        timeout_s: how long it may take, in seconds.
    """

    kind: Kind
    timeout_s: float
    target: str = ""
    words: tuple[str, ...] = ()
    status: int | None = None


class Alive(Struct, frozen=True):
    """How a service shows, once it is ready, that it still is.

    Attributes:
        way: the way; `Kind.STARTED` for one that only must not be stopped by a signal.
        every_s: the wait between two looks, in seconds.
        failures: after how many failed looks in a row it is restarted.
    """

    way: Ready
    every_s: float
    failures: int


class Process(Struct, frozen=True):
    """A service's process: its command, directory and variables.  A reload restarts it if one changes.

    Attributes:
        words: its command; the first is an absolute path.
        directory: where it runs.
        environment: its whole environment, less what differs from run to run.
        orphan: whether it ends with its supervisor.
        channels: the kinds of readiness and liveness that need a channel to the supervisor.
    """

    words: tuple[str, ...]
    directory: str
    environment: tuple[tuple[str, str], ...]
    orphan: Orphan
    channels: tuple[Kind, ...]

    def __repr__(self) -> str:
        return f"<Process {self.words} in {self.directory}>"  # the environment may hold secrets


class Service(Struct, frozen=True):
    """One service of a home.

    Attributes:
        name: its name.
        process: the settings of its process.
        needs: the services that must be ready before it starts.
        ready: how it shows that it is.
        policy: whether it is restarted when it ends by itself.
        stop_signals: the numbers of the signals that ask it to end, one after the other.
        stop_timeout_s: how long it has after each, in seconds.
        hooks: commands by the event that they are run at: "ready", "fail", "stop".
        socket_path: its socket.
        groups: names that mean it and others.
        alive: how it shows that it is alive; None where nobody looks.
        listens_at: the socket whose first connection starts it; "" where `up` does.
        idle_timeout_s: how long it may run without a connection, in seconds; 0 for ever.
        schedule: when it runs; None where `up` starts it.
        watch: files below its directory whose change restarts it, and patterns of them.
        memory_max: bytes of memory above which it is ended; 0 for no limit.
        cpu_max: processors above which it is ended; 0 for no limit.
        restart_with: whether it restarts after a service that it needs has restarted.
    """

    name: str
    process: Process
    needs: tuple[str, ...]
    ready: Ready
    policy: Policy
    stop_signals: tuple[int, ...]
    stop_timeout_s: float
    hooks: tuple[tuple[str, tuple[str, ...]], ...]
    socket_path: str
    groups: tuple[str, ...] = ()
    restart_with: bool = False
    alive: Alive | None = None
    listens_at: str = ""
    idle_timeout_s: float = 0.0
    schedule: Schedule | None = None
    watch: tuple[str, ...] = ()
    memory_max: int = 0
    cpu_max: float = 0.0

    @property
    def beat_s(self) -> float:
        """How often it must say by itself that it is alive, in seconds; 0 for never."""
        by_itself = self.alive is not None and self.alive.way.kind in (Kind.MESSAGE, Kind.NOTIFY)
        return self.alive.every_s if self.alive is not None and by_itself else 0.0

    def hook(self, at: str) -> tuple[str, ...]:
        """Return the command that is run at "ready", "fail" or "stop"; () for none."""
        return dict(self.hooks).get(at, ())


class HomeFile(Struct, frozen=True):
    """A home's file.

    Attributes:
        path: the file.
        services: its services by name, each after those that it needs.
        log_bytes: how large a log may become before it is rotated.
        http: where the supervisor answers HTTP; None for nowhere.
    """

    path: str
    services: Mapping[str, Service]
    log_bytes: int
    http: Http | None = None

    @property
    def needs(self) -> dict[str, tuple[str, ...]]:
        """For each service those that it needs."""
        return {name: service.needs for name, service in self.services.items()}

    @property
    def groups(self) -> dict[str, list[str]]:
        """For each group its services."""
        found: dict[str, list[str]] = {}
        for name, service in self.services.items():
            for group in service.groups:
                found.setdefault(group, []).append(name)
        return found

    def meant(self, names: Iterable[str]) -> list[str]:
        """Return the services that names of services and of groups mean, in order.

        Raises:
            KeyError: a name means none; it is the error's argument.
        """
        groups = self.groups
        meant = {one for name in names for one in groups.get(name) or [self.services[name].name]}
        return [name for name in self.services if name in meant]
