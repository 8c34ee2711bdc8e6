"""One service of `home.toml`, checked: commands are looked up, durations and signals are read.

Owns what each key of a service means.  What is between services (names, needs, groups) is `home_file`'s.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from daemonry.errors import ConfigError, EndpointInvalid
from daemonry.home import environment_file, file_changes
from daemonry.home.form import AliveForm, Command, Duration, FileForm, ReadyForm, ServiceForm
from daemonry.home.policy import Policy, When
from daemonry.home.service import Alive, Kind, Orphan, Process, Ready, Service
from daemonry.home.trigger.schedule import Schedule, ScheduleInvalid, parse_time
from daemonry.limits import MAX_CONFIG_BYTES
from daemonry.process.regular_file import read_regular
from daemonry.transport.endpoint import Endpoint
from daemonry.typed_toml.positions import KeyPath
from daemonry.typed_toml.source import ConfigText

# What a program needs to find programs, files, the user and the language.  All else of the
# supervisor's environment may be a secret, and is for those whom the file names.
_INHERITED: Final = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"),
    # The user's directories, or a daemon would have its files elsewhere than the `up` that started it.
    *("XDG_CACHE_HOME", "XDG_CONFIG_DIRS", "XDG_CONFIG_HOME", "XDG_DATA_DIRS", "XDG_DATA_HOME"),
    *("XDG_RUNTIME_DIR", "XDG_STATE_HOME"),
)

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\Z")
_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_S: Final = 1e6
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgG])(?:i?[bB])?\Z")
_SIZES: Final = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
# Less than what the smallest of programs takes: certainly a mistake in the unit.
_LEAST_MEMORY: Final = 1 << 20
# Those that the watcher of a process group leaves to the group (`process.lifeline`).
_STOP_SIGNALS: Final = ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "ALRM")


class Instance(NamedTuple):
    """A service that is to be read: one of its table's, of which there may be several.

    Attributes:
        name: its name.
        table: its table's name in the file.
        needs: the services that it needs; groups have been replaced by their members.
        groups: names that mean it and others.
        replica: which of its table's it is, from 1; 0 where there is only one.
    """

    name: str
    table: str
    needs: tuple[str, ...]
    groups: tuple[str, ...]
    replica: int = 0


class ServiceReader:
    """Reads services of one file.

    Args:
        source: the file, for the places of errors.
        directory: the home's directory.
        form: the file's form.
        environment: what services inherit from.
    """

    def __init__(
        self, source: ConfigText, directory: str, form: FileForm, environment: Mapping[str, str]
    ) -> None:
        self._source = source
        self._directory = directory
        self._form = form
        self._environment = environment

    def _error(self, where: KeyPath, reason: str) -> ConfigError:
        return self._source.error(where, reason)

    def read(self, instance: Instance) -> Service:
        """Return a service.

        Raises:
            ConfigError: something of it cannot be used.
        """
        name, form = instance.name, self._form.services[instance.table]
        above = ("services", instance.table)
        directory = os.path.normpath(os.path.join(self._directory, os.path.expanduser(form.directory)))
        if not os.path.isdir(directory):
            raise self._error((*above, "directory"), f"{directory} is no directory")
        environment = self._environment_of(instance, form, above)
        where = _Where(directory, environment.get("PATH", os.defpath))
        ready = self._ready(form.ready, (*above, "ready"), where, self._socket_path(name))
        alive = self._alive(form, ready, above, where, self._socket_path(name))
        kinds = (ready.kind, alive.way.kind if alive is not None else ready.kind)
        channels = tuple(kind for kind in (Kind.MESSAGE, Kind.NOTIFY) if kind in kinds)
        process = Process(
            self._words(form.command, (*above, "command"), where),
            directory,
            tuple(sorted(environment.items())),
            self._choice(Orphan, form.orphan, (*above, "orphan")),
            channels,
        )
        return Service(
            name,
            process,
            instance.needs,
            ready,
            self._policy(form, above),
            self._signals(form.stop_signal, (*above, "stop_signal")),
            self._seconds(form.stop_timeout, (*above, "stop_timeout")),
            tuple(self._hooks(form, above, where)),
            self._socket_path(name),
            instance.groups,
            form.restart_with,
            alive,
            *self._on_demand(form, ready, above, self._socket_path(name)),
            self._schedule(form, (*above, "schedule")),
            self._watch(form, (*above, "watch")),
            *self._limits(form, above),
        )

    def _socket_path(self, name: str) -> str:
        return os.path.join(self._directory, f"{name}.sock")

    def _environment_of(self, instance: Instance, form: ServiceForm, above: KeyPath) -> dict[str, str]:
        names = (*_INHERITED, *self._form.inherit, *form.inherit)
        found = {one: self._environment[one] for one in names if one in self._environment}
        for at, name in enumerate(form.environment_files):
            found |= self._environment_file(name, (*above, "environment_files", at))
        for key, given in (
            (("environment",), self._form.environment),
            ((*above, "environment"), form.environment),
        ):
            for variable, value in given.items():
                if not variable or "=" in variable or "\0" in variable + value:
                    raise self._error((*key, variable), "the system allows no such variable")
                found[variable] = value
        found |= {f"DAEMONRY_SOCKET_{as_variable(one)}": self._socket_path(one) for one in instance.needs}
        if instance.replica:
            # Not how many there are: another number would restart all of them.
            found["DAEMONRY_REPLICA"] = str(instance.replica)
        return found | {
            "DAEMONRY_HOME": self._directory,
            "DAEMONRY_SERVICE": instance.name,
            "DAEMONRY_SOCKET": self._socket_path(instance.name),
        }

    def _environment_file(self, name: str, key: KeyPath) -> dict[str, str]:
        is_optional = name.startswith("-")  # as in systemd
        path = os.path.join(self._directory, os.path.expanduser(name.removeprefix("-")))
        try:
            return environment_file.parse(read_regular(path, MAX_CONFIG_BYTES).decode())
        except FileNotFoundError:
            if is_optional:
                return {}
            raise self._error(key, f"there is no {path}; a - before it makes it optional") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise self._error(key, f"{path}: {reason}") from None

    def _words(self, command: Command, key: KeyPath, where: _Where) -> tuple[str, ...]:
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

    def _alive(
        self, service: ServiceForm, ready: Ready, above: KeyPath, where: _Where, own_socket: str
    ) -> Alive | None:
        form, key = service.alive, (*above, "alive")
        if form is None:
            return None
        if not isinstance(form, AliveForm):
            every_s = self._seconds(form, key)
            form = AliveForm(every=every_s)
        if not 1 <= form.failures <= 1000:
            raise self._error((*key, "failures"), "from 1 to 1000")
        way = self._ready(form, key, where, own_socket)
        if way.kind is Kind.STARTED and ready.kind in (Kind.SOCKET, Kind.HTTP, Kind.COMMAND, Kind.NOTIFY):
            way = replace(ready, timeout_s=way.timeout_s)
        return Alive(way, self._seconds(form.every, (*key, "every")), form.failures)

    def _ready(self, form: ReadyForm | AliveForm, key: KeyPath, where: _Where, own_socket: str) -> Ready:
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

    def _policy(self, form: ServiceForm, above: KeyPath) -> Policy:
        if not 0 <= form.restarts_max <= 1_000_000:
            raise self._error((*above, "restarts_max"), "from 0 to 1000000")
        return Policy(
            self._choice(When, form.restart, (*above, "restart")),
            self._seconds(form.restart_delay, (*above, "restart_delay")),
            self._seconds(form.restart_delay_max, (*above, "restart_delay_max")),
            form.restarts_max,
            self._seconds(form.restarts_within, (*above, "restarts_within")),
        )

    def _on_demand(
        self, form: ServiceForm, ready: Ready, above: KeyPath, own_socket: str
    ) -> tuple[str, float]:
        if form.start not in ("up", "on_demand"):
            raise self._error((*above, "start"), f"{form.start!r} is none of up, on_demand")
        if form.start == "up":
            for key in ("listen", "idle_timeout"):
                if getattr(form, key):
                    raise self._error((*above, key), 'is for services with start = "on_demand"')
            return "", 0.0
        if form.schedule is not None:
            raise self._error((*above, "schedule"), 'is not for services with start = "on_demand"')
        if form.orphan != "end":
            raise self._error((*above, "orphan"), "the supervisor holds its socket: it cannot outlive it")
        if ready.kind is Kind.SOCKET and not form.listen:
            raise self._error((*above, "ready", "socket"), "proves nothing: the supervisor holds that socket")
        target = form.listen or f"unix:{own_socket}"
        self._check_listen(target, (*above, "listen"))
        if form.idle_timeout is None:
            return target, 0.0
        return target, self._seconds(form.idle_timeout, (*above, "idle_timeout"))

    def _check_listen(self, target: str, key: KeyPath) -> None:
        self._check_endpoint(target, key)
        if not re.match(r"unix:/|tcp:.*:[1-9]\d{0,4}\Z", target):
            raise self._error(key, f"{target!r} is neither unix:/PATH nor tcp:HOST:PORT")

    def _schedule(self, form: ServiceForm, key: KeyPath) -> Schedule | None:
        given = form.schedule
        if given is None:
            return None
        kinds = [name for name in ("every", "at", "cron") if getattr(given, name)]
        if len(kinds) != 1:
            raise self._error(key, "one of every, at and cron")
        times = [given.at] if isinstance(given.at, str) else given.at
        try:
            at = tuple(parse_time(text) for text in times if text)
            every_s = self._seconds(given.every, (*key, "every")) if given.every is not None else 0.0
            schedule = Schedule(every_s, at, given.cron)
            schedule.next_after(datetime.now())  # noqa: DTZ005  # local time, as crontab means it
        except ScheduleInvalid as error:
            raise self._error((*key, kinds[0]), str(error)) from None
        return schedule

    def _watch(self, form: ServiceForm, key: KeyPath) -> tuple[str, ...]:
        for at, pattern in enumerate(form.watch):
            if os.path.isabs(pattern) or ".." in pattern.split("/") or not pattern or "\0" in pattern:
                raise self._error((*key, at), f"{pattern!r} is no path below its directory")
        if form.watch and not file_changes.is_installed():
            raise self._error(key, 'needs: pip install "daemonry[watch]"')
        return tuple(form.watch)

    def _limits(self, form: ServiceForm, above: KeyPath) -> tuple[int, float]:
        memory = form.memory_max
        if isinstance(memory, str):
            found = _SIZE.match(memory.strip())
            memory = int(float(found[1]) * _SIZES[found[2].upper()]) if found else 0
        if memory is not None and memory < _LEAST_MEMORY:
            reason = f"{form.memory_max!r} is no size that a program could live with: try 200M, 1.5G"
            raise self._error((*above, "memory_max"), reason)
        cpu = form.cpu_max
        if cpu is not None and not 0 < cpu <= 4096:
            raise self._error((*above, "cpu_max"), f"{cpu!r} is no number of processors: try 0.5, 2")
        return memory or 0, cpu or 0.0

    def _signals(self, given: str | list[str], key: KeyPath) -> tuple[int, ...]:
        if isinstance(given, str):
            return (self._signal(given, key),)
        if not given:
            raise self._error(key, "is empty")
        return tuple(self._signal(text, (*key, at)) for at, text in enumerate(given))

    def _signal(self, text: str, key: KeyPath) -> int:
        name = text.upper().removeprefix("SIG")
        if name not in _STOP_SIGNALS:
            raise self._error(key, f"{text!r} is none of {', '.join(_STOP_SIGNALS)}")
        return int(signal.Signals[f"SIG{name}"])

    def _hooks(
        self, form: ServiceForm, above: KeyPath, where: _Where
    ) -> Iterator[tuple[str, tuple[str, ...]]]:
        for at, command in (("ready", form.on_ready), ("fail", form.on_fail), ("stop", form.on_stop)):
            if command:
                yield at, self._words(command, (*above, f"on_{at}"), where)

    def _choice(self, kind: type[Any], text: str, key: KeyPath) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise self._error(key, f"{text!r} is none of {', '.join(one.value for one in kind)}") from None

    def _seconds(self, duration: Duration, key: KeyPath) -> float:
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


def as_variable(name: str) -> str:
    """Return what stands for a service's name in the name of a variable."""
    return name.upper().replace("-", "_")
