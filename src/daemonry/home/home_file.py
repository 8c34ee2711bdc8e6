"""`home.toml`: what a home runs, checked before anything of it starts.

    inherit = ["SSH_AUTH_SOCK"]

    [services.store]
    command = ["./store.py", "--level", "2"]
    ready = { socket = true, timeout = "10s" }

    [services.web]
    command = "sh web.sh"
    needs = ["store"]
    environment = { PORT = "8080" }
    ready = { http = "http://127.0.0.1:8080/" }
    restart = "always"

Owns the file's form and what each key means; every key is in docs/homes.md.  Errors say
`FILE:LINE:COLUMN: key: reason`.  Commands are looked up, needs and their order are checked, durations read.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

import msgspec

from daemonry.errors import ConfigError, EndpointInvalid
from daemonry.home import order
from daemonry.home.policy import Policy, When
from daemonry.limits import LOG_FILE_BYTES, MAX_NAME_CHARS, MAX_SERVICES
from daemonry.spelling import did_you_mean
from daemonry.transport.endpoint import Endpoint
from daemonry.typed_toml.positions import KeyPath
from daemonry.typed_toml.source import ConfigText
from daemonry.typed_toml.source import read as read_toml
from daemonry.typed_toml.typed import convert

FILE_NAME: Final = "home.toml"
# The supervisor's own files have this name; no service may.
RESERVED: Final = "home"

# What a program needs to find programs, files, the user and the language.  All else of the
# supervisor's environment may be a secret, and is for those whom the file names.
_INHERITED: Final = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"),
    # The user's directories, or a daemon would have its files elsewhere than the `up` that started it.
    *("XDG_CACHE_HOME", "XDG_CONFIG_DIRS", "XDG_CONFIG_HOME", "XDG_DATA_DIRS", "XDG_DATA_HOME"),
    *("XDG_RUNTIME_DIR", "XDG_STATE_HOME"),
)

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\Z")
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\Z")
_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_S: Final = 1e6
# Those that the watcher of a process group leaves to the group (`process.lifeline`).
_STOP_SIGNALS: Final = ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "ALRM")


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


@dataclass(frozen=True)
class Ready:
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


@dataclass(frozen=True)
class Process:
    """What a service's process is given.  If any of it changes, a reload starts it anew.

    Attributes:
        words: its command; the first is an absolute path.
        directory: where it runs.
        environment: its whole environment, less what differs from run to run.
        orphan: whether it ends with its supervisor.
        channel: the kind of readiness that needs a channel to the supervisor, or None.
    """

    words: tuple[str, ...]
    directory: str
    environment: tuple[tuple[str, str], ...] = field(repr=False)
    orphan: Orphan
    channel: Kind | None


@dataclass(frozen=True)
class Service:
    """One service of a home.

    Attributes:
        name: its name.
        process: what its process is given.
        needs: the services that must be ready before it starts.
        ready: how it shows that it is.
        policy: what is done when it ends by itself.
        stop_signal: the number of the signal that asks it to end.
        stop_timeout_s: how long it then has, in seconds.
        hooks: commands by what they are run at: "ready", "fail", "stop".
        socket_path: its socket.
    """

    name: str
    process: Process
    needs: tuple[str, ...]
    ready: Ready
    policy: Policy
    stop_signal: int
    stop_timeout_s: float
    hooks: tuple[tuple[str, tuple[str, ...]], ...]
    socket_path: str

    def hook(self, at: str) -> tuple[str, ...]:
        """Return the command that is run at "ready", "fail" or "stop"; () for none."""
        return dict(self.hooks).get(at, ())


@dataclass(frozen=True)
class HomeFile:
    """A home's file.

    Attributes:
        path: the file.
        services: its services by name, each after those that it needs.
        log_bytes: how large a log may become before it is rotated.
    """

    path: str
    services: Mapping[str, Service]
    log_bytes: int

    @property
    def needs(self) -> dict[str, tuple[str, ...]]:
        """For each service those that it needs."""
        return {name: service.needs for name, service in self.services.items()}


# --- the file's form ----------------------------------------------------------------------------

_Command = str | list[str]
_Duration = float | str


class _Ready(msgspec.Struct):
    message: bool = False
    notify: bool = False
    socket: bool | str = False
    http: str = ""
    status: int | None = None
    command: _Command = ""
    output: str = ""
    timeout: _Duration = "30s"


class _Service(msgspec.Struct):
    command: _Command
    directory: str = "."
    environment: dict[str, str] = {}
    inherit: list[str] = []
    needs: list[str] = []
    ready: _Ready = msgspec.field(default_factory=_Ready)
    restart: str = "on-failure"
    restart_delay: _Duration = "200ms"
    restart_delay_max: _Duration = "30s"
    restarts_max: int = 5
    restarts_within: _Duration = "60s"
    stop_signal: str = "TERM"
    stop_timeout: _Duration = "10s"
    orphan: str = "end"
    on_ready: _Command = ""
    on_fail: _Command = ""
    on_stop: _Command = ""


class _File(msgspec.Struct):
    services: dict[str, _Service] = {}
    environment: dict[str, str] = {}
    inherit: list[str] = []
    log_bytes: int = LOG_FILE_BYTES


# --- reading it ---------------------------------------------------------------------------------


def load(directory: str, environment: Mapping[str, str] | None = None) -> HomeFile:
    """Return what the `home.toml` of a directory says.

    Args:
        directory: the home, as an absolute path.
        environment: what services inherit from; this process's by default.

    Raises:
        ConfigError: it is not there, cannot be read, or something in it cannot be used.
    """
    path = os.path.join(directory, FILE_NAME)
    if not os.path.isdir(directory):
        raise ConfigError(path, "", "there is no such directory")
    source = read_toml(path)
    form = convert(source, _File)
    return _Reader(source, directory, form, os.environ if environment is None else environment).read()


class _Reader:
    """One reading: makes values of the file's form, and knows where in it it is."""

    def __init__(
        self, source: ConfigText, directory: str, form: _File, environment: Mapping[str, str]
    ) -> None:
        self._source = source
        self._directory = directory
        self._form = form
        self._environment = environment

    def read(self) -> HomeFile:
        self._check_names()
        self._check_needs()
        if self._form.log_bytes < 4096:
            raise self._error(("log_bytes",), "less than 4096 would keep nothing of use")
        services = {name: self._service(name, form) for name, form in self._form.services.items()}
        needs = {name: service.needs for name, service in services.items()}
        return HomeFile(
            self._source.path, {name: services[name] for name in order.in_order(needs)}, self._form.log_bytes
        )

    def _error(self, where: KeyPath, reason: str) -> ConfigError:
        return self._source.error(where, reason)

    def _check_names(self) -> None:
        if not self._form.services:
            raise self._error(("services",), "there are none: add a table [services.NAME] with a command")
        if len(self._form.services) > MAX_SERVICES:
            raise self._error(("services",), f"more than {MAX_SERVICES}")
        alike: dict[str, str] = {}
        for name in self._form.services:
            key = ("services", name)
            if not _NAME.match(name) or len(name) > MAX_NAME_CHARS:
                raise self._error(
                    key, f"a name is of letters, digits, - and _, at most {MAX_NAME_CHARS}: it names files"
                )
            if name.lower() == RESERVED:
                raise self._error(key, "this name is for the supervisor's own files")
            other = alike.setdefault(_as_variable(name), name)
            if other != name:
                raise self._error(
                    key, f"too much like {other!r}: their files and variables would be the same"
                )

    def _check_needs(self) -> None:
        for name, form in self._form.services.items():
            for needed in form.needs:
                if needed not in self._form.services:
                    raise self._error(
                        ("services", name, "needs", form.needs.index(needed)), self._no_service(needed)
                    )
        ring = order.cycle({name: form.needs for name, form in self._form.services.items()})
        if ring:
            raise self._error(("services", ring[0], "needs"), f"a cycle: {' -> '.join(ring)}")

    def _no_service(self, name: str) -> str:
        return f"{name!r} is no service: {did_you_mean(name, self._form.services, 'there are')}"

    def _service(self, name: str, form: _Service) -> Service:
        above = ("services", name)
        directory = os.path.normpath(os.path.join(self._directory, os.path.expanduser(form.directory)))
        if not os.path.isdir(directory):
            raise self._error((*above, "directory"), f"{directory} is no directory")
        environment = self._environment_of(name, form, above)
        where = _Where(directory, environment.get("PATH", os.defpath))
        ready = self._ready(form.ready, (*above, "ready"), where, self._socket_path(name))
        channel = ready.kind if ready.kind in (Kind.MESSAGE, Kind.NOTIFY) else None
        process = Process(
            self._words(form.command, (*above, "command"), where),
            directory,
            tuple(sorted(environment.items())),
            self._choice(Orphan, form.orphan, (*above, "orphan")),
            channel,
        )
        return Service(
            name,
            process,
            tuple(dict.fromkeys(form.needs)),
            ready,
            self._policy(form, above),
            self._signal(form.stop_signal, (*above, "stop_signal")),
            self._seconds(form.stop_timeout, (*above, "stop_timeout")),
            tuple(self._hooks(form, above, where)),
            self._socket_path(name),
        )

    def _socket_path(self, name: str) -> str:
        return os.path.join(self._directory, f"{name}.sock")

    def _environment_of(self, name: str, form: _Service, above: KeyPath) -> dict[str, str]:
        names = (*_INHERITED, *self._form.inherit, *form.inherit)
        found = {one: self._environment[one] for one in names if one in self._environment}
        for key, given in (
            (("environment",), self._form.environment),
            ((*above, "environment"), form.environment),
        ):
            for variable, value in given.items():
                if not variable or "=" in variable or "\0" in variable + value:
                    raise self._error((*key, variable), "the system allows no such variable")
                found[variable] = value
        found |= {f"DAEMONRY_SOCKET_{_as_variable(one)}": self._socket_path(one) for one in form.needs}
        return found | {
            "DAEMONRY_HOME": self._directory,
            "DAEMONRY_SERVICE": name,
            "DAEMONRY_SOCKET": self._socket_path(name),
        }

    def _words(self, command: _Command, key: KeyPath, where: _Where) -> tuple[str, ...]:
        if isinstance(command, str):
            try:
                command = shlex.split(command)
            except ValueError as error:
                raise self._error(key, f"cannot be split into words: {error}".lower()) from None
        if not command or not command[0]:
            raise self._error(key, "is empty")
        if any("\0" in word for word in command):
            raise self._error(key, "has a NUL in it")
        return (self._program(command[0], key, where), *command[1:])

    def _program(self, word: str, key: KeyPath, where: _Where) -> str:
        if "/" not in word:
            found = shutil.which(word, path=where.search_path)
            if found is None:
                raise self._error(key, f"{word!r} is in none of {where.search_path}")
            return os.path.abspath(found)
        path = os.path.normpath(os.path.join(where.directory, os.path.expanduser(word)))
        if not os.path.isfile(path):
            raise self._error(key, f"there is no {path}")
        if not os.access(path, os.X_OK):
            raise self._error(key, f"{path} is not executable: chmod +x it")
        return path

    def _ready(self, form: _Ready, key: KeyPath, where: _Where, own_socket: str) -> Ready:
        timeout_s = self._seconds(form.timeout, (*key, "timeout"))
        given = [kind for kind in Kind if getattr(form, kind.value, None)]
        if len(given) > 1:
            raise self._error(key, f"one way only: {' or '.join(kind.value for kind in given)}")
        kind = given[0] if given else Kind.STARTED
        if form.status is not None and (kind is not Kind.HTTP or not 100 <= form.status <= 599):
            raise self._error((*key, "status"), "is for http, and from 100 to 599")
        target = ""
        words: tuple[str, ...] = ()
        if kind is Kind.SOCKET:
            target = f"unix:{own_socket}" if form.socket is True else str(form.socket)
            self._check_endpoint(target, (*key, "socket"))
        elif kind is Kind.HTTP:
            target = self._url(form.http, (*key, "http"))
        elif kind is Kind.OUTPUT:
            target = self._pattern(form.output, (*key, "output"))
        elif kind is Kind.COMMAND:
            words = self._words(form.command, (*key, "command"), where)
        return Ready(kind, timeout_s, target, words, form.status)

    def _check_endpoint(self, text: str, key: KeyPath) -> None:
        try:
            Endpoint.parse(text)
        except EndpointInvalid as error:
            raise self._error(key, str(error)) from None

    def _url(self, text: str, key: KeyPath) -> str:
        from urllib.parse import urlsplit

        if text.startswith("/"):
            return text  # over its own socket
        try:
            parts = urlsplit(text)
            usable = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or any(ord(char) <= 32 or ord(char) > 126 for char in text):
            raise self._error(
                key, f"{text!r} is neither http://HOST[:PORT]/PATH nor a /PATH on its own socket"
            )
        return text

    def _pattern(self, text: str, key: KeyPath) -> str:
        try:
            re.compile(text)
        except re.error as error:
            raise self._error(key, f"no regular expression: {error}") from None
        return text

    def _policy(self, form: _Service, above: KeyPath) -> Policy:
        if not 0 <= form.restarts_max <= 1_000_000:
            raise self._error((*above, "restarts_max"), "from 0 to 1000000")
        return Policy(
            self._choice(When, form.restart, (*above, "restart")),
            self._seconds(form.restart_delay, (*above, "restart_delay")),
            self._seconds(form.restart_delay_max, (*above, "restart_delay_max")),
            form.restarts_max,
            self._seconds(form.restarts_within, (*above, "restarts_within")),
        )

    def _signal(self, text: str, key: KeyPath) -> int:
        name = text.upper().removeprefix("SIG")
        if name not in _STOP_SIGNALS:
            raise self._error(key, f"{text!r} is none of {', '.join(_STOP_SIGNALS)}")
        return int(signal.Signals[f"SIG{name}"])

    def _hooks(self, form: _Service, above: KeyPath, where: _Where) -> Iterator[tuple[str, tuple[str, ...]]]:
        for at, command in (("ready", form.on_ready), ("fail", form.on_fail), ("stop", form.on_stop)):
            if command:
                yield at, self._words(command, (*above, f"on_{at}"), where)

    def _choice(self, kind: type[Any], text: str, key: KeyPath) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise self._error(key, f"{text!r} is none of {', '.join(one.value for one in kind)}") from None

    def _seconds(self, duration: _Duration, key: KeyPath) -> float:
        if isinstance(duration, str):
            found = _DURATION.match(duration.strip())
            seconds = float(found[1]) * _UNITS_S[found[2]] if found else 0.0
        else:
            seconds = duration
        if not 0 < seconds <= _LONGEST_S:
            raise self._error(key, f"{duration!r} is no length of time: try 250ms, 10s, 5m, 1h")
        return seconds


@dataclass(frozen=True)
class _Where:
    """Where a service's commands are looked for: its directory, and its PATH."""

    directory: str
    search_path: str


def _as_variable(name: str) -> str:
    return name.upper().replace("-", "_")
