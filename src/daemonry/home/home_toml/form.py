"""The form of `home.toml`: its keys, their types and their defaults, and its JSON schema for editors.

Owns the table that the reader and the schema are made from, and which words a text may be.  The meaning of
a key, and whether its value can be used, are `service_reader`'s.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from daemonry.home.policy import When
from daemonry.home.service import Orphan
from daemonry.limits import LOG_FILE_BYTES

Command = str | list[str]
Duration = float | str


class ProbeForm(msgspec.Struct):
    """The keys of `ready` and `alive` that name the way in which a service shows it; one of them is given."""

    message: bool = False
    notify: bool = False
    socket: bool | str = False
    http: str = ""
    status: int | None = None
    command: Command = ""
    output: str = ""


class ReadyForm(ProbeForm):
    """The table `ready`."""

    timeout: Duration = "30s"


class AliveForm(ProbeForm):
    """The table `alive`."""

    every: Duration = "10s"
    timeout: Duration = "5s"
    failures: int = 3


class ScheduleForm(msgspec.Struct):
    """The table `schedule`."""

    every: Duration | None = None
    at: str | list[str] = ""
    cron: str = ""


class ServiceForm(msgspec.Struct):
    """A table `[services.NAME]`."""

    command: Command
    directory: str = "."
    environment: dict[str, str] = {}
    environment_files: list[str] = []
    inherit: list[str] = []
    needs: list[str] = []
    groups: list[str] = []
    replicas: int = 1
    ready: ReadyForm = msgspec.field(default_factory=ReadyForm)
    alive: AliveForm | Duration | None = None
    start: str = "up"
    listen: str = ""
    idle_timeout: Duration | None = None
    schedule: ScheduleForm | None = None
    watch: list[str] = []
    memory_max: int | str | None = None
    cpu_max: float | None = None
    restart: str = "on-failure"
    restart_with: bool = False
    restart_delay: Duration = "200ms"
    restart_delay_max: Duration = "30s"
    restarts_max: int = 5
    restarts_within: Duration = "60s"
    stop_signal: str | list[str] = "TERM"
    stop_timeout: Duration = "10s"
    orphan: str = "end"
    on_ready: Command = ""
    on_fail: Command = ""
    on_stop: Command = ""


class FileForm(msgspec.Struct):
    """The file."""

    services: dict[str, ServiceForm] = {}
    environment: dict[str, str] = {}
    inherit: list[str] = []
    log_bytes: int = LOG_FILE_BYTES
    http: bool | int | str = False


_WORDS: Final = {
    "restart": [one.value for one in When],
    "orphan": [one.value for one in Orphan],
    "start": ["up", "on_demand"],
}


def schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12)."""
    found = msgspec.json.schema(FileForm)
    for definition in found["$defs"].values():
        if "properties" in definition:
            definition["additionalProperties"] = False
    for key, words in _WORDS.items():
        found["$defs"]["ServiceForm"]["properties"][key]["enum"] = words
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "home.toml of daemonry",
        **found,
    }
