"""Which daemon is meant: a name, an endpoint, `module:attribute`, or a file.

    ticker                          a daemon of this user, by its name
    unix:/path, tcp:h:p             an endpoint
    /path.sock, dir/x.sock          a Unix socket; a relative path begins at the present directory
    ssh:host/NAME                   a daemon of another machine
    package.module:attribute        where its `Daemon` stands
    path/file.py[:attribute]        the same

Owns the choice, and the connection to it; `daemonry.daemon.loader` imports the program for the last two.
Commands that only pass words on connect from here, and not from `cli.call`: its reader of descriptions costs
as much as the rest of such a command.
"""

from __future__ import annotations

import os

from daemonry.daemon.instance import Instance
from daemonry.daemon.loader import load
from daemonry.limits import CONNECT_TIMEOUT_S, START_TIMEOUT_S
from daemonry.process.place import check_name
from daemonry.transport.endpoint import SSH, Endpoint

__all__ = [
    "check",
    "connected",
    "instance_of",
    "instance_of_daemon",
    "is_endpoint",
    "is_program",
    "load",
    "there",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daemonry.daemon.definition import Daemon
    from daemonry.service.client.blocking import Client

_SCHEMES = ("unix:", "tcp:", "ssh:", "fd:", "pipe:")


def instance_of(text: str) -> Instance:
    """Return the daemon that `text` means, as seen from outside.

    Raises:
        TargetInvalid, EndpointInvalid: it means none.
    """
    if is_endpoint(text):
        return Instance(None, Endpoint.parse(os.path.abspath(text) if _is_relative(text) else text))
    if is_program(text):
        daemon = load(text)
        return instance_of_daemon(daemon)
    return Instance.named(text)


def instance_of_daemon(daemon: Daemon) -> Instance:
    """Return a defined daemon as seen from outside."""
    return Instance.of(daemon.place())


def is_endpoint(text: str) -> bool:
    """Whether `text` is an endpoint and not a name, a module or a file."""
    if text.startswith(_SCHEMES) or "://" in text:
        return True
    if text.startswith("/") or _is_relative(text):
        return not _without_attribute(text).endswith(".py")
    host, colon, port = text.rpartition(":")
    return bool(colon) and port.isdigit() and bool(host)


def _is_relative(text: str) -> bool:
    return "/" in text and ":" not in text and not text.startswith("/")


def is_program(text: str) -> bool:
    """Whether `text` names a module or a file of a program."""
    return ":" in text or text.endswith(".py")


def _without_attribute(text: str) -> str:
    return text.rpartition(":")[0] if ":" in text else text


def there(endpoint: Endpoint) -> str:
    """Return how a command gets at the files of another machine's daemon; "" for every other endpoint."""
    if endpoint.kind != SSH:
        return ""
    name = "the daemon's name" if endpoint.target.startswith("/") else f"the name {endpoint.target}"
    return f"its files are on that machine: give --host {endpoint.machine} and {name}"


def check(text: str) -> str:
    """Return `text` if it can mean a daemon at all, before anything is looked up.

    Raises:
        TargetInvalid: it cannot.
    """
    return text if is_endpoint(text) or is_program(text) else check_name(text)


def connected(instance: Instance, timeout_s: float) -> Client:
    """Return a client of a daemon.

    Raises:
        NotRunning: it is certainly not there.
        As `daemonry.connect`, for everything else.
    """
    from daemonry.service.client.blocking import Client

    starts_it = instance.place is None and instance.endpoint().start != ""
    return instance.reach(Client.connect, min(timeout_s, START_TIMEOUT_S if starts_it else CONNECT_TIMEOUT_S))
