"""One service of `home.toml`, checked: commands are looked up, durations and signals are read.

Owns the meaning of each key of a service.  Names, needs and groups, which concern several services, are
`home_file`'s; variables are `service_environment`'s, programs `command_words`'s, numbers `units`'s.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar

from msgspec.structs import replace

from daemonry.errors import ConfigError, EndpointInvalid
from daemonry.home import file_changes
from daemonry.home.home_toml import units
from daemonry.home.home_toml.command_words import ProgramSearch
from daemonry.home.home_toml.form import AliveForm, Command, Duration, FileForm, ReadyForm, ServiceForm
from daemonry.home.home_toml.instance import NamedService, socket_path
from daemonry.home.home_toml.service_environment import EnvironmentReader
from daemonry.home.policy import Policy, When
from daemonry.home.service import Alive, Kind, Orphan, Process, Ready, Service
from daemonry.home.trigger.schedule import Schedule, ScheduleInvalid, parse_time
from daemonry.transport.endpoint import Endpoint
from daemonry.typed_toml.positions import KeyPath
from daemonry.typed_toml.source import ConfigText

_Given = TypeVar("_Given")
_Read = TypeVar("_Read")


class ServiceReader:
    """Reads services of one file.

    Args:
        source: the file, for the places of errors.
        directory: the home's directory.
        form: the file's form.
        environment: the variables that services may inherit.
    """

    def __init__(
        self, source: ConfigText, directory: str, form: FileForm, environment: Mapping[str, str]
    ) -> None:
        self._source = source
        self._directory = directory
        self._form = form
        self._environments = EnvironmentReader(source, directory, form, environment)
        self._found: dict[tuple[str, str], str | None] = {}

    def _error(self, where: KeyPath, reason: str) -> ConfigError:
        return self._source.error(where, reason)

    def read(self, instance: NamedService) -> Service:
        """Return a service.

        Raises:
            ConfigError: something of it cannot be used.
        """
        name, form = instance.name, self._form.services[instance.table]
        above = ("services", instance.table)
        directory = os.path.normpath(os.path.join(self._directory, os.path.expanduser(form.directory)))
        if not os.path.isdir(directory):
            raise self._error((*above, "directory"), f"{directory} is not a directory")
        environment = self._environments.read(instance, form, above)
        programs = ProgramSearch(directory, environment.get("PATH", os.defpath), self._found)
        own_socket = socket_path(self._directory, name)
        ready = self._ready(form.ready, (*above, "ready"), programs, own_socket)
        alive = self._alive(form, ready, above, programs, own_socket)
        kinds = (ready.kind, alive.way.kind if alive is not None else ready.kind)
        channels = tuple(kind for kind in (Kind.MESSAGE, Kind.NOTIFY) if kind in kinds)
        process = Process(
            self._words(form.command, (*above, "command"), programs),
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
            tuple(self._hooks(form, above, programs)),
            own_socket,
            instance.groups,
            form.restart_with,
            alive,
            *self._on_demand(form, ready, above, own_socket),
            self._schedule(form, (*above, "schedule")),
            self._watch(form, (*above, "watch")),
            *self._limits(form, above),
        )

    def _alive(
        self, service: ServiceForm, ready: Ready, above: KeyPath, programs: ProgramSearch, own_socket: str
    ) -> Alive | None:
        form, key = service.alive, (*above, "alive")
        if form is None:
            return None
        if not isinstance(form, AliveForm):
            every_s = self._seconds(form, key)
            form = AliveForm(every=every_s)
        if not 1 <= form.failures <= 1000:
            raise self._error((*key, "failures"), "from 1 to 1000")
        way = self._ready(form, key, programs, own_socket)
        if way.kind is Kind.STARTED and ready.kind in (Kind.SOCKET, Kind.HTTP, Kind.COMMAND, Kind.NOTIFY):
            way = replace(ready, timeout_s=way.timeout_s)
        return Alive(way, self._seconds(form.every, (*key, "every")), form.failures)

    def _ready(
        self, form: ReadyForm | AliveForm, key: KeyPath, programs: ProgramSearch, own_socket: str
    ) -> Ready:
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
            words = self._words(form.command, (*key, "command"), programs)
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
            raise self._error(key, f"is not a regular expression: {error}") from None
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
            raise self._error((*above, "start"), f"{form.start!r} must be up or on_demand")
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
                raise self._error((*key, at), f"{pattern!r} must be a path below its directory")
        if form.watch and not file_changes.is_installed():
            raise self._error(key, 'needs: pip install "daemonry[watch]"')
        return tuple(form.watch)

    def _limits(self, form: ServiceForm, above: KeyPath) -> tuple[int, float]:
        return (
            self._checked((*above, "memory_max"), units.memory_bytes, form.memory_max),
            self._checked((*above, "cpu_max"), units.processors, form.cpu_max),
        )

    def _signals(self, given: str | list[str], key: KeyPath) -> tuple[int, ...]:
        if isinstance(given, str):
            return (self._checked(key, units.stop_signal, given),)
        if not given:
            raise self._error(key, "is empty")
        return tuple(self._checked((*key, at), units.stop_signal, text) for at, text in enumerate(given))

    def _hooks(
        self, form: ServiceForm, above: KeyPath, programs: ProgramSearch
    ) -> Iterator[tuple[str, tuple[str, ...]]]:
        for at, command in (("ready", form.on_ready), ("fail", form.on_fail), ("stop", form.on_stop)):
            if command:
                yield at, self._words(command, (*above, f"on_{at}"), programs)

    def _choice(self, kind: type[Any], text: str, key: KeyPath) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise self._error(key, f"{text!r} is not one of {', '.join(one.value for one in kind)}") from None

    def _seconds(self, duration: Duration, key: KeyPath) -> float:
        return self._checked(key, units.seconds, duration)

    def _words(self, command: Command, key: KeyPath, programs: ProgramSearch) -> tuple[str, ...]:
        return self._checked(key, programs.words, command)

    def _checked(self, key: KeyPath, check: Callable[[_Given], _Read], given: _Given) -> _Read:
        """Return what `check` makes of a value; its ValueError becomes an error at the value's place."""
        try:
            return check(given)
        except ValueError as error:
            raise self._error(key, str(error)) from None
