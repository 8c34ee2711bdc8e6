"""`--remote_cache` and its like, by Bazel's names: settings of the remote for one command.

Owns what each option sets.  The services have their settings from their start, so an aether that runs with
others is ended first; the command that follows starts one with these.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import daemonry
from daemonry import Instance
from daemonry.cli import kit
from daemonry.cli.grammar import Option
from vx import home

if TYPE_CHECKING:
    from vx.remote.settings import RemoteSettings

_PREFIX: Final = "VX_REMOTE_"
_STOP_TIMEOUT_S: Final = 20.0

# Bazel's name, the variable, a value's name in the help, and the help.
_TABLE: Final = (
    ("remote_cache", "CACHE", "URL", "the shared cache: grpc://HOST:PORT, grpcs://HOST:PORT"),
    ("remote_executor", "EXECUTE", "URL", "the farm whose workers compile"),
    ("remote_instance_name", "INSTANCE", "NAME", "the server's instance"),
    ("remote_upload_local_results", "UPLOAD", "BOOL", "whether results go to the cache"),
    ("remote_default_exec_properties", "PLATFORM", "NAME=VALUE", "which workers may compile; repeatable"),
    ("remote_header", "HEADERS", "NAME=VALUE", "sent with each call; repeatable"),
    ("remote_timeout", "TIMEOUT_S", "SECONDS", "for a call that moves blobs"),
    ("tls_certificate", "TLS_CA", "FILE", "certificates of servers to trust"),
    ("tls_client_certificate", "TLS_CERTIFICATE", "FILE", "our certificate"),
    ("tls_client_key", "TLS_KEY", "FILE", "the key to it"),
    ("credential_helper", "CREDENTIAL_HELPER", "PROGRAM", "makes headers"),
)
_REPEATED: Final = ("PLATFORM", "HEADERS")

OPTIONS: Final = tuple(
    Option(f"--{name}", text, value, repeated=variable in _REPEATED) for name, variable, value, text in _TABLE
)


def variables(options: argparse.Namespace) -> dict[str, str]:
    """Return the variables that the options of a command stand for."""
    found = {}
    for name, variable, _, _ in _TABLE:
        given = getattr(options, name, None)
        if given not in (None, []):  # an empty text turns off what a file sets, as Bazel's does
            found[_PREFIX + variable] = ",".join(given) if variable in _REPEATED else given
    return found


def loaded(options: argparse.Namespace) -> RemoteSettings:
    """Return the settings of a command, in which its options win over the variables.

    Raises:
        Refused: one is wrong; names the option, the variable, or the place in the file.
    """
    from vx.remote import settings

    given = variables(options)
    try:
        return settings.load({**os.environ, **given})
    except daemonry.Refused as error:
        raise daemonry.Refused(_by_option(str(error), given)) from None


def apply(options: argparse.Namespace) -> None:
    """Have the command's settings hold, also where aether runs with others.

    Raises:
        daemonry.errors.DaemonryError: that one does not end.
        Refused: an option is wrong.
    """
    wanted = variables(options)
    if not wanted:
        return
    chosen = loaded(options)
    os.environ.update(wanted)
    instance = Instance(home.place(home.AETHER))
    try:
        there = instance.status().get("remote_settings")
    except (daemonry.errors.DaemonryError, OSError):
        return  # it does not run
    from vx.remote.settings import fingerprint

    if there != fingerprint(chosen):
        kit.complain("vx: aether is started again, with the remote of this command")
        daemonry.stop(instance, timeout_s=_STOP_TIMEOUT_S, force=True)


def _by_option(told: str, given: Iterable[str]) -> str:
    """Return an error about a variable with the option that stands for it."""
    for name, variable, _, _ in _TABLE:
        full = _PREFIX + variable
        if full in given and told.startswith((f"{full}=", f"{full}:")):
            return f"--{name}{told.removeprefix(full)}"
    return told
