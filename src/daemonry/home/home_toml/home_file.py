"""`home.toml`: the services of a home, checked before anything of it starts.

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

Owns the relations of services: names, groups, replicas, needs and their order.  The keys of one
service are `service_reader`'s; all are in docs/home-file.md.  Errors say `FILE:LINE:COLUMN: key: reason`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from daemonry.daemon.http_settings import Http, of_text
from daemonry.errors import ArgumentInvalid, ConfigError
from daemonry.home import order
from daemonry.home.home_toml.form import FileForm, ServiceForm
from daemonry.home.home_toml.instance import NamedService
from daemonry.home.home_toml.service_environment import as_variable
from daemonry.home.home_toml.service_reader import ServiceReader
from daemonry.home.names import FILE_NAME, RESERVED
from daemonry.home.service import HomeFile
from daemonry.limits import MAX_NAME_CHARS, MAX_SERVICES
from daemonry.spelling import did_you_mean
from daemonry.typed_toml.positions import KeyPath
from daemonry.typed_toml.source import ConfigText
from daemonry.typed_toml.source import read as read_toml
from daemonry.typed_toml.typed import convert

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\Z")


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
    form = convert(source, FileForm)
    return _Reader(source, directory, form, os.environ if environment is None else environment).read()


class _Reader:
    """One reading: makes values of the file's form, and knows where in it it is."""

    def __init__(
        self, source: ConfigText, directory: str, form: FileForm, environment: Mapping[str, str]
    ) -> None:
        self._source = source
        self._directory = directory
        self._form = form
        self._environment = environment

    def read(self) -> HomeFile:
        self._check_names()
        instances = self._instances()
        self._check_ring(instances)
        if self._form.log_bytes < 4096:
            raise self._error(("log_bytes",), "less than 4096 would keep nothing of use")
        reader = ServiceReader(self._source, self._directory, self._form, self._environment)
        services = {one.name: reader.read(one) for one in instances}
        needs = {name: service.needs for name, service in services.items()}
        return HomeFile(
            self._source.path,
            {name: services[name] for name in order.in_order(needs)},
            self._form.log_bytes,
            self._http(),
        )

    def _http(self) -> Http | None:
        said = self._form.http
        if said is False:
            return None
        try:
            return of_text("on" if said is True else str(said), "http")
        except ArgumentInvalid as error:
            raise self._error(("http",), error.reason) from None

    def _error(self, where: KeyPath, reason: str) -> ConfigError:
        return self._source.error(where, reason)

    # --- names ----------------------------------------------------------------------------------

    def _check_names(self) -> None:
        if not self._form.services:
            raise self._error(("services",), "there are none: add a table [services.NAME] with a command")
        alike: dict[str, str] = {}
        count = 0
        for table, form in self._form.services.items():
            key = ("services", table)
            if not 1 <= form.replicas <= MAX_SERVICES:
                raise self._error((*key, "replicas"), f"from 1 to {MAX_SERVICES}")
            count += form.replicas
            for name in (table, *_replica_names(table, form)):
                self._check_name(name, key)
                other = alike.setdefault(as_variable(name), name)
                if other != name or (name != table and name in self._form.services):
                    raise self._error(
                        key, f"too much like {other!r}: their files and variables would be the same"
                    )
        if count > MAX_SERVICES:
            raise self._error(("services",), f"more than {MAX_SERVICES}")
        for table, form in self._form.services.items():
            for at, group in enumerate(form.groups):
                self._check_group(group, ("services", table, "groups", at), alike)

    def _check_name(self, name: str, key: KeyPath) -> None:
        if not _NAME.match(name) or len(name) > MAX_NAME_CHARS:
            raise self._error(
                key, f"a name is of letters, digits, - and _, at most {MAX_NAME_CHARS}: it names files"
            )
        if name.lower() == RESERVED:
            raise self._error(key, "this name is for the supervisor's own files")

    def _check_group(self, group: str, key: KeyPath, alike: Mapping[str, str]) -> None:
        self._check_name(group, key)
        if as_variable(group) in alike:
            raise self._error(key, f"{group!r} is a service: a group needs a name of its own")

    # --- needs ----------------------------------------------------------------------------------

    def _instances(self) -> list[NamedService]:
        members: dict[str, list[str]] = {}
        for table, form in self._form.services.items():
            names = _replica_names(table, form) or [table]
            for word in (table, *form.groups):
                members.setdefault(word, []).extend(names)
        return [one for table in self._form.services for one in self._of_table(table, members)]

    def _of_table(self, table: str, members: Mapping[str, list[str]]) -> Iterator[NamedService]:
        form = self._form.services[table]
        needs = self._needs(table, form, members)
        names = _replica_names(table, form)
        if not names:
            yield NamedService(table, table, needs, tuple(dict.fromkeys(form.groups)))
        for number, name in enumerate(names, 1):
            yield NamedService(name, table, needs, tuple(dict.fromkeys((*form.groups, table))), number)

    def _needs(self, table: str, form: ServiceForm, members: Mapping[str, list[str]]) -> tuple[str, ...]:
        for at, needed in enumerate(form.needs):
            if needed not in members:
                reason = f"{needed!r} is not a service: {did_you_mean(needed, members, 'there are')}"
                raise self._error(("services", table, "needs", at), reason)
        return tuple(dict.fromkeys(name for needed in form.needs for name in members[needed]))

    def _check_ring(self, instances: Sequence[NamedService]) -> None:
        ring = order.cycle({one.name: one.needs for one in instances})
        if ring:
            table = next(one.table for one in instances if one.name == ring[0])
            raise self._error(("services", table, "needs"), f"a cycle: {' -> '.join(ring)}")


def _replica_names(table: str, form: ServiceForm) -> list[str]:
    """Return the names of a table's services where it has several, else []."""
    return [f"{table}-{number + 1}" for number in range(form.replicas)] if form.replicas > 1 else []
