"""`ps --all-hosts`: the daemons of this machine and of each that the user lists.

    hosts = ["box", "me@build.example:2222"]        # ~/.config/daemonry/daemonry.toml

Owns the list, asking all machines at the same time, and checking what they answer: a machine that is gone
is one line of the answer and delays nobody else.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from daemonry import strict_json, typed_toml
from daemonry.cli import survey
from daemonry.cli.hosts import words as host_words
from daemonry.cli.hosts.near import Course
from daemonry.errors import ArgumentInvalid, BadFrame, ConfigError, DaemonryError, Unreachable
from daemonry.process.place import config_path
from daemonry.terminal_text import printable
from daemonry.transport.ssh_words import last_line

HOSTS: Final = "hosts"
_MAX_HOSTS: Final = 256
_AT_ONCE: Final = 64
# A machine that is switched off answers nothing at all, so that ssh's own time is what the list takes.
_CONNECT_S: Final = 2.0
_BEGIN_S: Final = 10.0
_MAX_ANSWER_BYTES: Final = 4 << 20
_FIELDS: Final = ("name", "pid", "state", "uptime_secs", "version", "endpoint", "log", "daemon")


def listed() -> list[str]:
    """Return the machines of `~/.config/daemonry/daemonry.toml`, in its order.

    Raises:
        ConfigError: the file cannot be read, or lists an entry that is not a machine.
    """
    path = os.path.join(os.path.dirname(config_path("daemonry")), "daemonry.toml")
    text = typed_toml.read(path, must_exist=False)
    text.refuse_unknown(text.values, (HOSTS,))
    hosts = text.values.get(HOSTS, [])
    if not isinstance(hosts, list) or len(hosts) > _MAX_HOSTS:
        raise text.error((HOSTS,), f"is a list of at most {_MAX_HOSTS} machines")
    for number, host in enumerate(hosts):
        if not isinstance(host, str):
            raise text.error((HOSTS, number), "is the name of a machine, a string")
        try:
            host_words.machine(host)
        except ArgumentInvalid as error:
            raise text.error((HOSTS, number), error.reason) from None
    if not hosts:
        raise ConfigError(path, HOSTS, 'lists no machines: add hosts = ["NAME", ...]')
    return list(dict.fromkeys(hosts))


def rows() -> list[dict[str, Any]]:
    """Return this machine's rows, `host` "", then each other's; a machine that gave none has one row.

    Such a row has the kind "host", the state "unreachable" or "failed", and the `reason`.
    """
    hosts = listed()
    with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(hosts))) as pool:
        found = pool.map(_rows_of, hosts)
        here = [{"host": "", **row} for row in survey.rows()]
        return [*here, *(row for rows in found for row in rows)]


def _rows_of(host: str) -> list[dict[str, Any]]:
    said, errors = bytearray(), bytearray()

    def keep(chunk: bytes) -> None:
        said.extend(chunk[: _MAX_ANSWER_BYTES + 1 - len(said)])

    def keep_error(chunk: bytes) -> None:
        errors[:] = (errors + chunk)[-4096:]

    course = Course(host_words.machine(host), "daemonry", keep, keep_error)
    try:
        status = course.run(
            ["ps", "--json"], with_input=False, terminal=False, begin_s=_BEGIN_S, connect_s=_CONNECT_S
        )
    except Unreachable as error:
        return [_without_answer(host, "unreachable", error.reason)]
    except DaemonryError as error:
        return [_without_answer(host, "failed", str(error))]
    if status:
        why = last_line(errors.decode("utf-8", "replace")) or f"daemonry ps ended with {status}"
        return [_without_answer(host, "failed", why)]
    try:
        return [{"host": host, **row} for row in checked(bytes(said))]
    except ValueError as error:
        return [_without_answer(host, "failed", str(error))]


def _without_answer(host: str, state: str, reason: str) -> dict[str, Any]:
    return {"host": host, "kind": "host", "name": host, "state": state, "reason": printable(reason)}


def checked(answer: bytes) -> list[dict[str, Any]]:
    """Return the rows of another machine's `ps --json`, with the fields that we know and no others.

    Raises:
        ValueError: it is not such a list.
    """
    if len(answer) > _MAX_ANSWER_BYTES:
        raise ValueError(f"its list has more than {_MAX_ANSWER_BYTES} bytes")
    try:
        found = strict_json.decode(answer.decode("utf-8"))
    except (BadFrame, UnicodeDecodeError):
        raise ValueError("its list is not JSON") from None
    if not isinstance(found, list):
        raise ValueError("it answers no list of daemons")  # noqa: TRY004  # what is wrong is its value
    return [_row(one) for one in found]


def _row(one: object) -> dict[str, Any]:
    if not isinstance(one, dict) or not isinstance(one.get("state"), str) or one.get("name") is None:
        raise ValueError("a daemon in its list has no name or state")
    kind = "home" if one.get("kind") == "home" else "daemon"
    row: dict[str, Any] = {"kind": kind, **{name: _plain(one.get(name)) for name in _FIELDS}}
    services = one.get("services")
    if kind == "home" and isinstance(services, list):
        row["services"] = [_row(service) for service in services]
    return row


def _plain(found: object) -> object:
    return found if found is None or isinstance(found, (str, int, float)) else str(found)
