"""Endpoints: values that say where a daemon is reached.

    unix:/path, /path              a Unix socket
    unix:@name                     a Unix socket without a file (Linux's abstract namespace)
    tcp:host:port, host:port       TCP; also tcp://host:port, and [::1]:port
    fd:N                           a socket that this process was given
    pipe:name                      a Windows named pipe

Owns parsing, checking and printing.  Whether a kind exists on this system is the transport's to
say, when it is used.
"""

from __future__ import annotations

import daemonry
from daemonry.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

UNIX: Final = "unix"
TCP: Final = "tcp"
FD: Final = "fd"
PIPE: Final = "pipe"

_PIPE_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


class Endpoint(Value):
    """Where a daemon is reached.

    Attributes:
        kind: "unix", "tcp", "fd" or "pipe".
        address: the path, `@name`, host, or pipe's name; "" for a descriptor.
        number: the port, or the descriptor; 0 for the other kinds.
    """

    __slots__ = ("address", "kind", "number")
    address: str
    kind: str
    number: int

    def __init__(self, address: str, kind: str, number: int = 0) -> None:
        self._set(address=address, kind=kind, number=number)

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Return the endpoint that `text` names; blanks around it do not count.

        Raises:
            EndpointInvalid: it names none.
        """
        stripped = text.strip()
        if stripped.startswith("/"):
            return cls.unix(stripped)
        kind, colon, rest = stripped.partition(":")
        if not colon:
            raise daemonry.errors.EndpointInvalid(
                text, "expected unix:/path, /path, tcp:host:port, fd:N or pipe:name"
            )
        if kind == UNIX:
            return _unix(text, rest)
        if kind == TCP:
            return _tcp(text, rest.removeprefix("//"))
        if kind == FD:
            return _fd(text, rest)
        if kind == PIPE:
            return _pipe(text, rest)
        if rest.startswith("//"):
            raise daemonry.errors.EndpointInvalid(text, f"the scheme {kind!r} is not known")
        return _tcp(text, stripped)

    @classmethod
    def unix(cls, path: str) -> Endpoint:
        """Return the endpoint of a Unix socket at an absolute path, or at `@name`.

        Raises:
            EndpointInvalid: the path is not absolute, ends in no name, or has a NUL byte in it.
        """
        return _unix(path, path)

    @property
    def path(self) -> str | None:
        """The socket file; None for an endpoint that has none."""
        return self.address if self.kind == UNIX and not self.address.startswith("@") else None

    @property
    def local(self) -> bool:
        """Whether it is on this machine for certain; no name is looked up."""
        return self.kind != TCP or self.address in ("localhost", "::1") or _is_loopback(self.address)

    def __str__(self) -> str:
        if self.kind == TCP:
            host = f"[{self.address}]" if ":" in self.address else self.address
            return f"tcp:{host}:{self.number}"
        return f"fd:{self.number}" if self.kind == FD else f"{self.kind}:{self.address}"


def _is_loopback(host: str) -> bool:
    # All digits and dots, or it is a name: 127.example.com may be anywhere.
    return host.startswith("127.") and host.replace(".", "").isdigit()


def _unix(text: str, address: str) -> Endpoint:
    if not address:
        raise daemonry.errors.EndpointInvalid(text, "there is no path")
    if "\0" in address:
        raise daemonry.errors.EndpointInvalid(text, "a path cannot have a NUL byte in it")
    if address != address.rstrip():
        # It could be printed and not be read again, and the record holds what is printed.
        raise daemonry.errors.EndpointInvalid(text, "a path cannot end in a blank")
    if not _is_file_name(address):
        raise daemonry.errors.EndpointInvalid(text, "no file can be called so")
    if address.startswith("@"):
        if len(address) == 1:
            raise daemonry.errors.EndpointInvalid(text, "there is no name after the @")
        return Endpoint(address, UNIX)
    if not address.startswith("/"):
        raise daemonry.errors.EndpointInvalid(text, "the path must be absolute")
    if address.endswith(("/", "/.", "/..")):
        raise daemonry.errors.EndpointInvalid(text, "the path names a directory")
    return Endpoint(address, UNIX)


def _is_file_name(address: str) -> bool:
    try:
        address.encode("utf-8", "surrogateescape")  # as the interpreter names files, PEP 383
    except UnicodeEncodeError:
        return False
    return True


def _tcp(text: str, rest: str) -> Endpoint:
    host, colon, port = rest.rpartition(":")
    if not colon or not host:
        raise daemonry.errors.EndpointInvalid(text, "expected host:port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise daemonry.errors.EndpointInvalid(text, "an IPv6 address stands in brackets: [::1]:port")
    if not host or any(char.isspace() or char in "/@?#[]\0" for char in host):
        raise daemonry.errors.EndpointInvalid(text, f"{host!r} is no host")
    return Endpoint(host, TCP, _number(text, port, "a port", 65535))


def _fd(text: str, rest: str) -> Endpoint:
    return Endpoint("", FD, _number(text, rest, "a descriptor", 2**31 - 1))


def _pipe(text: str, name: str) -> Endpoint:
    if not name or not set(name) <= _PIPE_CHARS:
        raise daemonry.errors.EndpointInvalid(
            text, "a pipe's name has letters, digits, '-', '_' and '.' only"
        )
    return Endpoint(name, PIPE)


def _number(text: str, digits: str, what: str, most: int) -> int:
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 10 or int(digits) > most:
        raise daemonry.errors.EndpointInvalid(text, f"{digits!r} is not {what} (0 to {most})")
    return int(digits)
