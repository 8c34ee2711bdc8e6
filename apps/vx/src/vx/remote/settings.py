"""What a user may set of remote caches and workers: `[remote]` in $VX_HOME/config.toml, and VX_REMOTE_*.

    [remote]
    cache = "grpcs://cache.example:9092"    # CAS and ActionCache
    execute = "grpc://farm.example:50051"   # Execution; its storage is `cache`, or itself
    instance = "main"                       # the server's instance name; "" for its only one
    upload = true                           # whether results made here go to the cache
    when = "miss"                           # which jobs run there: "miss" all, "hybrid" those
                                            # that have no place here, "never" none
    platform = { OSFamily = "linux" }       # which workers may run them
    headers = { x-team = "blue" }           # sent with each call
    tls-ca = "/etc/ssl/team.pem"            # whom to trust, if not the usual
    tls-certificate = "me.pem"              # who we are, and
    tls-key = "me.key"                      # the key to it
    credential-helper = "/usr/bin/helper"   # a program that makes headers (Bazel's protocol)
    timeout-s = 60                          # for one call that moves bytes

A variable wins over the file: VX_REMOTE_CACHE, VX_REMOTE_TLS_CA, ...; tables are `NAME=VALUE,NAME=VALUE`.

Owns their form and their checks.  Its only I/O is reading the environment and that file.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from typing import Final, Literal

import msgspec

from daemonry import Refused
from daemonry.errors import ConfigError
from daemonry.spelling import did_you_mean
from daemonry.typed_toml import read
from daemonry.typed_toml.typed import convert
from vx import digests, home

PREFIX: Final = "VX_REMOTE_"
When = Literal["miss", "hybrid", "never"]

# Host and port; an IPv6 address in brackets.
_TARGET: Final = re.compile(r"(grpcs?)://((?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+)(?::[0-9]{1,5})?)/?")
_SOCKET: Final = re.compile(r"(unix):(/.+)")
_HEADER: Final = re.compile(r"[a-z0-9_.-]+")
_DEFAULT_PORTS: Final = {"grpc": 80, "grpcs": 443}
MAX_TIMEOUT_S: Final = 3600.0


class RemoteSettings(msgspec.Struct, frozen=True, rename="kebab"):
    """`[remote]`: see the module."""

    cache: str = ""
    execute: str = ""
    instance: str = ""
    upload: bool = True
    when: When = "miss"
    platform: dict[str, str] = {}
    headers: dict[str, str] = {}
    tls_ca: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    credential_helper: str = ""
    timeout_s: float = 60.0

    @property
    def storage(self) -> str:
        """Where blobs are: the cache, or the farm's own; "" for nowhere."""
        return self.cache or self.executor

    @property
    def executor(self) -> str:
        """Where jobs run; "" for here alone."""
        return "" if self.when == "never" else self.execute


class _File(msgspec.Struct, frozen=True):
    """$VX_HOME/config.toml."""

    remote: RemoteSettings = RemoteSettings()


class ServerAddress(msgspec.Struct, frozen=True):
    """A server's address.

    Attributes:
        name: for gRPC: `host:port`, or `unix:/path`.
        tls: whether TLS is spoken.
    """

    name: str
    tls: bool


def load(environ: Mapping[str, str] | None = None) -> RemoteSettings:
    """Return the settings: the file's, and over them the environment's.

    Raises:
        Refused: one of them is wrong; says which.
    """
    environ = os.environ if environ is None else environ
    path = home.config_path(environ)
    try:
        source = read(path, must_exist=False)
        settings = convert(source, _File).remote
    except ConfigError as error:
        raise Refused(str(error)) from None
    settings = _with_variables(settings, environ)
    for field, why in _troubles(settings):
        variable = PREFIX + field.upper()
        if variable in environ:
            raise Refused(f"{variable}: {why}")
        raise Refused(str(source.error(("remote", field.replace("_", "-")), why)))
    return settings


def fingerprint(settings: RemoteSettings) -> str:
    """Return a text that tells these settings from others, and holds no secret of them."""
    return digests.of_bytes(msgspec.json.encode(settings))[:16]


def require_grpc() -> None:
    """Return if gRPC is installed; it is not loaded.

    Raises:
        Refused: it is not.
    """
    try:
        found = all(
            importlib.util.find_spec(one) for one in ("grpc", "google.protobuf", "google.longrunning")
        )
    except ImportError:
        found = False
    if not found:
        raise Refused("a remote is set, and gRPC is not installed: pip install 'vx[remote]'")


def _troubles(settings: RemoteSettings) -> Iterator[tuple[str, str]]:
    """Yield which settings cannot be used, and why, in words."""
    for field in ("cache", "execute"):
        url = getattr(settings, field)
        if url and target_of(url) is None:
            yield field, f"{url!r} is neither grpc://HOST:PORT, grpcs://HOST:PORT nor unix:/PATH"
    for name, value in settings.headers.items():
        if not is_header(name, value):
            yield "headers", f"{name!r} cannot be sent: lower-case names, printable ASCII values"
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        yield "tls_key" if settings.tls_key else "tls_certificate", "tls-certificate and tls-key go together"
    if not 0 < settings.timeout_s <= MAX_TIMEOUT_S:
        yield "timeout_s", f"{settings.timeout_s:g} is not above 0 and at most {MAX_TIMEOUT_S:g}"


def is_header(name: str, value: str) -> bool:
    """Whether gRPC can send a header: a lower-case name, and a printable ASCII value."""
    return (
        _HEADER.fullmatch(name) is not None
        and not name.endswith("-bin")
        and value.isascii()
        and value.isprintable()
    )


def target_of(url: str) -> ServerAddress | None:
    """Return the address that a URL names; None if it is not the URL of a server."""
    socket = _SOCKET.fullmatch(url)
    if socket is not None:
        return ServerAddress(url, tls=False)
    found = _TARGET.fullmatch(url)
    if found is None:
        return None
    scheme, host = found.groups()
    if ":" not in host.rpartition("]")[2]:
        host = f"{host}:{_DEFAULT_PORTS[scheme]}"
    if not 0 < int(host.rpartition(":")[2]) < 1 << 16:
        return None
    return ServerAddress(host, tls=scheme == "grpcs")


def _with_variables(settings: RemoteSettings, environ: Mapping[str, str]) -> RemoteSettings:
    changed: dict[str, object] = {}
    fields = {PREFIX + field.name.upper(): field for field in msgspec.structs.fields(RemoteSettings)}
    for name in environ:
        if name.startswith(PREFIX) and name not in fields:
            raise Refused(f"{name} is not known: {did_you_mean(name, fields)}")
    for name, field in fields.items():
        given = environ.get(name)
        if given is not None:
            changed[field.name] = _value(name, field.type, given.strip())
    return msgspec.structs.replace(settings, **changed)


def _value(name: str, kind: object, text: str) -> object:
    value: object = text
    if kind == dict[str, str]:
        pairs = [one.partition("=") for one in text.split(",") if one.strip()]
        if not all(equals and key.strip() for key, equals, _ in pairs):
            raise Refused(f"{name}={text!r} is not NAME=VALUE,NAME=VALUE")
        value = {key.strip(): one.strip() for key, _, one in pairs}
    elif kind is bool:
        value = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(
            text.lower()
        )
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        wanted = {"bool": "true or false", "float": "a number of seconds"}.get(
            getattr(kind, "__name__", ""), "miss, hybrid or never"
        )
        raise Refused(f"{name}={text!r} is not {wanted}") from None
