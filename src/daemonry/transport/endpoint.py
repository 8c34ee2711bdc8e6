"""Endpoints: values that say where a daemon is reached.

    unix:/path, /path              a Unix socket
    unix:@name                     a Unix socket without a file (Linux's abstract namespace)
    tcp:host:port, host:port       TCP; also tcp://host:port, and [::1]:port
    fd:N                           a socket that this process was given
    pipe:name                      a Windows named pipe
    ssh:[user@]host[:port]/NAME    a daemon of another machine, by its name there
    ssh:[user@]host[:port]//path   the same, by its socket's absolute path; an IPv6 address is [::1]

Behind TCP's, and a descriptor's, stands how a client proves who it is, where that is not the usual way:

    tcp:host:port;token=/path      it knows the token in that file
    tcp:host:port;open             it does not: whoever reaches the port may do what the owner may

Behind ssh's may stand what starts the daemon there, where none runs:

    ssh:host/NAME;start=PROGRAM    module:attribute or a file.py, as `daemonry start` takes it

Owns parsing, checking and printing.  Whether a kind exists on this system is the transport's to
say, when it is used.
"""

from __future__ import annotations

from daemonry import faults
from daemonry.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Protocol

    class Path(Protocol):
        """As `os.PathLike[str]`; a module that decides does not import os."""

        def __fspath__(self) -> str: ...


UNIX: Final = "unix"
TCP: Final = "tcp"
FD: Final = "fd"
PIPE: Final = "pipe"
SSH: Final = "ssh"
# The `proof` of an endpoint that asks for none; a token's path begins with a slash.
OPEN: Final = "open"

# A server's words to a client that has not proved that it knows the token, and the remedy.
PROOF_WANTED: Final = "Permission denied: a connection begins with the proof that its client knows the token"
HOW_TO_PROVE: Final = (
    "the daemon asks for its token: add ;token=/path to the endpoint,"
    " or name the token's file in $DAEMONRY_TOKEN_FILE"
)

_FORMS: Final = "unix:/path, /path, tcp:host:port, ssh:host/NAME, fd:N or pipe:name"
# A host, or an alias of the user's ssh configuration, with a user before it.  ssh takes the word alone.
_SSH_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@%")
# An IPv6 address in its brackets, with a zone as in fe80::1%eth0.
_IPV6_CHARS = _SSH_CHARS - {"@"} | {":"}
_PIPE_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


class Endpoint(Value):
    """Where a daemon is reached.

    Attributes:
        kind: "unix", "tcp", "fd", "pipe" or "ssh".
        address: the path, `@name`, host (for ssh `user@host`, an IPv6 address without brackets), or pipe's
            name; "" for a descriptor.
        number: the port, or the descriptor; 0 for the other kinds, and for ssh's own choice.
        target: for ssh, the daemon's name or socket path on that machine; "" for the other kinds.
        start: for ssh, the program that starts it there where none runs; "" for none.
        proof: for TCP and descriptors, the path of the token's file, or `OPEN`; None where nothing was
            said: a server keeps its token beside its record, and a client finds it there.
    """

    __slots__ = ("address", "kind", "number", "proof", "start", "target")
    address: str
    kind: str
    number: int
    proof: str | None
    start: str
    target: str

    def __init__(
        self,
        address: str,
        kind: str,
        number: int = 0,
        proof: str | None = None,
        start: str = "",
        target: str = "",
    ) -> None:
        self._set(address=address, kind=kind, number=number, proof=proof, start=start, target=target)

    @classmethod
    def to_connect(cls, text: str | Path) -> Endpoint:
        """Return the endpoint that a program connects to; for what may be a daemon's name, with the cure.

        Raises:
            EndpointInvalid: as `parse`.
        """
        try:
            return cls.parse(text)
        except faults.EndpointInvalid as error:
            name = str(text).strip()
            if name.replace("-", "").replace("_", "").isalnum():
                error.add_note(
                    f"To connect to a daemon by its name: daemonry.ensure({name!r}, mode='require')"
                )
            raise

    @classmethod
    def parse(cls, text: str | Path) -> Endpoint:
        """Return the endpoint that `text` names, or a path; blanks around it do not count.

        Raises:
            EndpointInvalid: it names none.
            TypeError: it is neither a text nor a path.
        """
        if not isinstance(text, str):
            return cls.unix(_path(text))
        stripped = text.strip()
        if stripped.startswith("/"):
            return cls.unix(stripped)
        kind, colon, rest = stripped.partition(":")
        if not colon:
            raise faults.EndpointInvalid(
                text, "expected unix:/path, /path, tcp:host:port, ssh:host/NAME, fd:N or pipe:name"
            )
        if kind == UNIX:
            return _unix(text, rest)
        if kind == TCP:
            return _tcp(text, rest.removeprefix("//"))
        if kind == FD:
            return _fd(text, rest)
        if kind == PIPE:
            return _pipe(text, rest)
        if kind == SSH:
            return _ssh(text, rest.removeprefix("//"))
        if rest.startswith("//"):
            raise faults.EndpointInvalid(text, f"the scheme {kind!r} is not known")
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
        if self.kind == SSH:
            return False
        return self.kind != TCP or self.address in ("localhost", "::1") or _is_loopback(self.address)

    @property
    def token_path(self) -> str | None:
        """The file that its token is in; None where it does not say, or asks for none."""
        return None if self.proof == OPEN else self.proof

    @property
    def bare(self) -> str:
        """Its text without the proof, for people."""
        if self.kind == TCP:
            host = f"[{self.address}]" if ":" in self.address else self.address
            return f"tcp:{host}:{self.number}"
        if self.kind == SSH:
            return f"ssh:{self.machine}/{self.target}"
        return f"fd:{self.number}" if self.kind == FD else f"{self.kind}:{self.address}"

    @property
    def machine(self) -> str:
        """For ssh, `[user@]host[:port]`."""
        user, at, host = self.address.rpartition("@")
        named = f"{user}{at}[{host}]" if ":" in host else self.address
        return f"{named}:{self.number}" if self.number else named

    def unproved(self) -> Endpoint:
        """Return the same place, for who only wants to know whether somebody listens there."""
        if self.kind == SSH:
            return Endpoint(self.address, SSH, self.number, target=self.target)
        return self if self.kind == UNIX else self.with_proof(OPEN)

    def with_proof(self, proof: str | None) -> Endpoint:
        """Return the same place with another proof: a path, `OPEN` or None."""
        return Endpoint(self.address, self.kind, self.number, proof)

    def __str__(self) -> str:
        if self.start:
            return f"{self.bare};start={self.start}"
        if self.proof is None:
            return self.bare
        return f"{self.bare};open" if self.proof == OPEN else f"{self.bare};token={self.proof}"


def _is_loopback(host: str) -> bool:
    # All digits and dots, or it is a name: 127.example.com may be anywhere.
    return host.startswith("127.") and host.replace(".", "").isdigit()


def _path(target: Path) -> str:
    if not hasattr(target, "__fspath__"):
        raise TypeError(
            f"an endpoint is a text or a path, and not {type(target).__name__}: "
            "daemonry.ensure() connects to a Daemon, and starts it where it does not run"
        )
    return target.__fspath__()


def _unix(text: str, address: str) -> Endpoint:
    if not address:
        raise faults.EndpointInvalid(text, "there is no path")
    if "\0" in address:
        raise faults.EndpointInvalid(text, "a path cannot have a NUL byte in it")
    if address != address.rstrip():
        # It could be printed and not be read again, and the record holds the printed form.
        raise faults.EndpointInvalid(text, "a path cannot end in a blank")
    if not _is_file_name(address):
        raise faults.EndpointInvalid(text, "no file can be called so")
    if address.startswith("@"):
        if len(address) == 1:
            raise faults.EndpointInvalid(text, "there is no name after the @")
        return Endpoint(address, UNIX)
    if not address.startswith("/"):
        raise faults.EndpointInvalid(text, "the path must be absolute")
    if address.endswith(("/", "/.", "/..")):
        raise faults.EndpointInvalid(text, "the path names a directory")
    return Endpoint(address, UNIX)


def _is_file_name(address: str) -> bool:
    try:
        address.encode("utf-8", "surrogateescape")  # as the interpreter names files, PEP 383
    except UnicodeEncodeError:
        return False
    return True


def _tcp(text: str, rest: str) -> Endpoint:
    rest, proof = _split_proof(text, rest)
    host, colon, port = rest.rpartition(":")
    if not colon or not host:
        raise faults.EndpointInvalid(text, "expected host:port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise faults.EndpointInvalid(text, "an IPv6 address stands in brackets: [::1]:port")
    if not host or any(char.isspace() or char in "/@?#[]\0" for char in host):
        raise faults.EndpointInvalid(text, f"{host!r} is not a valid host")
    return Endpoint(host, TCP, _number(text, port, "a port", 65535), proof)


def _fd(text: str, rest: str) -> Endpoint:
    number, proof = _split_proof(text, rest)
    return Endpoint("", FD, _number(text, number, "a descriptor", 2**31 - 1), proof)


def _split_proof(text: str, rest: str) -> tuple[str, str | None]:
    """Return what stands before the first `;`, and the proof that stands behind it."""
    before, semicolon, option = rest.partition(";")
    if not semicolon:
        return before, None
    if option == OPEN:
        return before, OPEN
    word, equals, path = option.partition("=")
    if word != "token" or not equals:
        raise faults.EndpointInvalid(text, "what follows ';' is 'open' or 'token=/path'")
    if not path.startswith("/") or path.endswith("/") or "\0" in path or not _is_file_name(path):
        raise faults.EndpointInvalid(text, f"{path!r} is not the absolute path of a token's file")
    return before, path


def _pipe(text: str, name: str) -> Endpoint:
    if not name or not set(name) <= _PIPE_CHARS:
        raise faults.EndpointInvalid(text, "a pipe's name has letters, digits, '-', '_' and '.' only")
    return Endpoint(name, PIPE)


def _ssh(text: str, rest: str) -> Endpoint:
    host, slash, target = rest.partition("/")
    target, semicolon, option = target.partition(";")
    word, _, start = option.partition("=")
    if semicolon and (word != "start" or not start):
        raise faults.EndpointInvalid(text, "what follows ';' is 'start=PROGRAM'")
    if not slash or not target:
        raise faults.EndpointInvalid(text, "expected ssh:host/NAME, or ssh:host//path of a socket")
    address, port = _ssh_machine(text, host)
    if not _can_be_passed(target) or not _can_be_passed(start):
        raise faults.EndpointInvalid(text, "a name has no control characters, and does not begin with '-'")
    return Endpoint(address, SSH, port, start=start, target=target)


def _ssh_machine(text: str, machine: str) -> tuple[str, int]:
    """Return `[user@]host` as ssh takes it, which is without an IPv6 address's brackets, and the port."""
    host, colon, digits = machine.rpartition(":")
    if not colon or machine.endswith("]"):
        host, colon = machine, ""
    port = _number(text, digits, "a port", 65535, least=1) if colon else 0
    user, at, name = host.rpartition("@")
    if name.startswith("[") and name.endswith("]"):
        name, allowed, known = name[1:-1], _IPV6_CHARS, ":" in name
    else:
        if name.count(":"):
            raise faults.EndpointInvalid(text, "an IPv6 address stands in brackets: ssh:[::1]/NAME")
        allowed, known = _SSH_CHARS, True
    words = (name, user) if at else (name,)
    if not known or not set(name) <= allowed or not set(user) <= _SSH_CHARS:
        raise faults.EndpointInvalid(text, f"{host!r} is not a valid host")
    if not all(words) or any(word.startswith("-") for word in words):
        raise faults.EndpointInvalid(text, f"{host!r} is not a valid host")
    return f"{user}{at}{name}", port


def _can_be_passed(word: str) -> bool:
    """Whether a word can be an argument of a command on another machine."""
    return not word.startswith("-") and word.isprintable() and _is_file_name(word)


def _number(text: str, digits: str, what: str, most: int, least: int = 0) -> int:
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= 10
    if not is_number or not least <= int(digits) <= most:
        raise faults.EndpointInvalid(text, f"{digits!r} is not {what} ({least} to {most})")
    return int(digits)
