"""Connecting to a daemon of another machine through the user's own ssh.

Owns the ssh process of each connection: `ssh HOST daemonry dial NAME`, joined to one end of a socket
pair, whose other end is the stream.  The user's configuration, agent, jump hosts and host keys hold,
because it is their ssh.  A connection is kept for a minute (ControlMaster), so that the next one costs
no handshake; while it is, what a dial has told saves the next ones, see `ssh_socket`.

Its messages on failure differ: a machine that cannot be reached is `Unreachable`, never
"nobody listens".  The words are `ssh_words`'.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, MSG_PEEK, SOCK_STREAM, socketpair
from _socket import socket as Socket

from daemonry.clock import Deadline
from daemonry.errors import (
    AccessDenied,
    ConnectError,
    DeadlineExceeded,
    NotListening,
    Unreachable,
    UnsafePath,
)
from daemonry.process.place import runtime_dir
from daemonry.process.private_dir import ensure_private
from daemonry.transport import ssh_note, ssh_socket, ssh_words
from daemonry.transport.stream import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Final

    from daemonry.transport.endpoint import Endpoint

# The ssh program with options of the user's, as git's $GIT_SSH_COMMAND; the daemonry of the other machine.
SSH_VARIABLE: Final = "DAEMONRY_SSH"
REMOTE_VARIABLE: Final = "DAEMONRY_REMOTE"
# `ssh-`, the 40 characters of %C, and the 17 that ssh adds while it binds; and a tag's.
_CONTROL_NAME_BYTES: Final = 61
_TAG_BYTES: Final = 7
# The least of all systems.
_SOCKET_PATH_BYTES: Final = 103
_QUOTES: Final = frozenset("'\"\\")
# In a path that its configuration names, these have a meaning that nothing takes away everywhere.
_NOT_FOR_SSH: Final = frozenset("'\"\\$\n")
# Of ssh's error output that is looked at.
_SAID_BYTES: Final = 1 << 14
_SIGTERM: Final = 15
# Of an unknown answer.
_ANSWER_CHARS: Final = 40
# How long an ssh that has closed its output may take to end, in seconds.
_END_S: Final = 2.0


class SharedSshStream(Stream):
    """A connection through the ssh that is kept, without a process there."""

    __slots__ = ()
    route: ClassVar[str] = "kept"


class DialledStream(Stream):
    """A connection through an ssh of its own, and `daemonry dial` there."""

    __slots__ = ()
    route: ClassVar[str] = "dialled"


class _ControlPlace:
    """Where kept connections have their sockets: looked at once for a dial.

    Attributes:
        directory: our own; "" where none is safe, or short enough for a socket's name.
        is_tagged: whether the names tell the machines apart, and there is room for the sockets of forwards.
    """

    __slots__ = ("directory", "is_tagged")

    def __init__(self) -> None:
        directory = runtime_dir("daemonry")
        if set(directory) & _NOT_FOR_SSH:
            directory = ""
        left = _SOCKET_PATH_BYTES - len(os.fsencode(directory)) - 1 - _CONTROL_NAME_BYTES
        fits = left >= 0 and directory != "" and _is_safe(directory)
        self.directory: str = directory if fits else ""
        self.is_tagged: bool = bool(self.directory) and left >= _TAG_BYTES

    def path_for(self, endpoint: Endpoint) -> str | None:
        """Return the path of a machine's socket, for ssh to complete; None where none is kept."""
        if not self.directory:
            return None
        whose = f"{ssh_note.tag(_machine(endpoint))}-" if self.is_tagged else ""
        path = f"{self.directory.replace('%', '%%')}/ssh-{whose}%C"
        return path if path.split() == [path] else f'"{path}"'


def _is_safe(directory: str) -> bool:
    try:
        ensure_private(directory)
    except (UnsafePath, OSError):
        return False
    return True


class _OldSsh(Exception):
    """It did nothing, for it does not know an option of ours; the next one will be without that."""


# The $DAEMONRY_SSH that were found to be older than OpenSSH 8.7.
_old: set[str] = set()


# Processes that may have ended and were not waited for.  One that connects is its thread's alone.
_children: set[int] = set()


def connect(endpoint: Endpoint, deadline: Deadline) -> Stream:
    """Return a stream to a daemon of another machine.

    Raises:
        Unreachable: ssh did not get there, or there is no answer in time: nobody knows whether it runs.
        NotListening: the machine says that it does not run.
        AccessDenied: the machine says that we may not talk to it.
        DeadlineExceeded: the machine says that it is there, and too busy to accept.
        ConnectError: the machine has no daemonry, or one that is too old; or its start failed.
    """
    _reap()
    control = _ControlPlace()
    route = route_to(endpoint, control)
    known = None if route is None else through_kept(route, deadline)
    if known is not None:
        return SharedSshStream(known, endpoint.bare)
    try:
        return _dialled(endpoint, control, route, deadline)
    except _OldSsh:
        return _dialled(endpoint, control, route, deadline)


def _dialled(
    endpoint: Endpoint, control: _ControlPlace, route: ssh_socket.Route | None, deadline: Deadline
) -> Stream:
    """Return a stream after a dial; raises `_OldSsh` and as `connect` does."""
    near, far = socketpair(AF_UNIX, SOCK_STREAM)
    errors = _error_output()
    try:
        try:
            pid = _run(endpoint, control, deadline, far, errors)
        finally:
            far.close()
        answer, reason = _answer(endpoint, near, pid, deadline, errors)
    except BaseException:
        near.close()
        raise
    finally:
        os.close(errors)
    _children.add(pid)
    if answer != ssh_words.SERVING:
        near.close()
        raise _refusal(endpoint, answer, reason, deadline)
    told = ssh_words.FarSocket.read(reason)
    if route is not None and told is not None and route.told(told) is not None:
        known = through_kept(route, deadline)
        if known is not None:  # a process less on the way of each call
            near.close()
            return SharedSshStream(known, endpoint.bare)
    return DialledStream(near, endpoint.bare)


def route_to(endpoint: Endpoint, control: _ControlPlace | None = None) -> ssh_socket.Route | None:
    """Return the way to a daemon through a kept connection; None where no safe path has room for one."""
    control = control or _ControlPlace()
    if not control.is_tagged:
        return None
    daemon = (remote_program("daemonry"), endpoint.target)
    return ssh_socket.Route(control.directory, _machine(endpoint), daemon)


def through_kept(route: ssh_socket.Route, deadline: Deadline) -> Socket | None:
    """Return a connection of a route to a daemon that has answered; None where a dial has to tell."""
    note = route.note()
    left_s = deadline.remaining_s()
    return None if note is None else route.connect(note, None if left_s is None else left_s / 2)


def _machine(endpoint: Endpoint) -> tuple[str, ...]:
    return _line_of_ssh(), endpoint.address, str(endpoint.number)


def _line_of_ssh() -> str:
    return os.environ.get(SSH_VARIABLE) or "ssh"


def _error_output() -> int:
    """Return the descriptor of a file without a name, for ssh's error output.

    A file and no pipe: the kept connection holds it open for as long as it is kept.
    """
    if hasattr(os, "memfd_create"):
        return os.memfd_create("ssh-errors")
    from tempfile import TemporaryFile  # half of bare Python's time

    with TemporaryFile() as file:
        return os.dup(file.fileno())


def _run(endpoint: Endpoint, control: _ControlPlace, deadline: Deadline, far: Socket, errors: int) -> int:
    dial = ssh_words.dial_command(endpoint, remote_program("daemonry"))
    words = command_line(endpoint, dial, deadline.remaining_s(), control=control)
    actions = [(os.POSIX_SPAWN_DUP2, far.fileno(), 0), (os.POSIX_SPAWN_DUP2, far.fileno(), 1)]
    actions.append((os.POSIX_SPAWN_DUP2, errors, 2))
    # A process group of its own: Ctrl-C at a terminal is for the command, which closes the connection.
    return spawn(endpoint, words, actions, own_group=True)


def command_line(
    endpoint: Endpoint,
    command: str,
    time_s: float | None = None,
    *,
    terminal: bool = False,
    control: _ControlPlace | None = None,
) -> list[str]:
    """Return the words of an ssh that runs a command on an endpoint's machine.

    Args:
        endpoint: an ssh endpoint.
        command: what the shell there runs, see `ssh_words.line`.
        time_s: how long connecting may take, in seconds; None for the usual.
        terminal: whether the command gets a terminal.
        control: where the kept connection is; it is looked for if left out.
    """
    path = (control or _ControlPlace()).path_for(endpoint)
    ssh = _line_of_ssh()
    options = ssh_words.arguments(endpoint, path, time_s, command, terminal=terminal, old=ssh in _old)
    return [*_words_of(endpoint, ssh), *options]


def is_old(status: int, said: str) -> bool:
    """Whether an ssh did nothing because it is old; the next `command_line` is for such a one.

    Args:
        status: its exit status, negative for a signal.
        said: its standard error.
    """
    ssh = _line_of_ssh()
    if ssh in _old or not ssh_words.is_old(status, said):
        return False
    _old.add(ssh)
    return True


def _words_of(endpoint: Endpoint, line: str) -> list[str]:
    if not set(line) & _QUOTES:
        return line.split() or ["ssh"]
    import shlex  # and `re`: a third of bare Python's time

    try:
        return shlex.split(line) or ["ssh"]
    except ValueError as error:
        raise ConnectError(endpoint.bare, f"${SSH_VARIABLE} cannot be read: {error}") from None


def remote_program(name: str) -> str:
    """Return what runs a program of ours on other machines: beside `$DAEMONRY_REMOTE`, if that is a path."""
    remote = os.environ.get(REMOTE_VARIABLE) or "daemonry"
    if name == "daemonry":
        return remote
    directory, slash, _ = remote.rpartition("/")
    return f"{directory}/{name}" if slash else name


def spawn(endpoint: Endpoint, words: list[str], actions: list[Any], *, own_group: bool) -> int:
    """Start ssh and return its pid.

    Args:
        endpoint: whose machine it is for.
        words: see `command_line`.
        actions: its descriptors, as `os.posix_spawn` takes them.
        own_group: whether it gets a process group of its own.

    Raises:
        ConnectError: there is no such program.
    """
    how: dict[str, Any] = {"setpgroup": 0} if own_group else {}
    try:
        return os.posix_spawnp(words[0], words, os.environ, file_actions=actions, **how)
    except OSError as error:
        why = f"{words[0]} cannot be run: {error.strerror}"
        raise ConnectError(endpoint.bare, why, error.errno) from None


def _answer(endpoint: Endpoint, near: Socket, pid: int, deadline: Deadline, errors: int) -> tuple[str, str]:
    """Return what the machine says in its first line, whatever its shell says before."""
    passed, before = 0, b""
    while passed < ssh_words.MAX_GREETING:
        try:
            line = _line(near, deadline)
        except (TimeoutError, BlockingIOError):
            _end(pid)
            why = f"no answer within {deadline.timeout_s or 0.0:.3g} s"
            started = f", in which {endpoint.start} was to be started, too" if endpoint.start else ""
            raise Unreachable(endpoint.bare, why + started) from None
        except OSError:
            line = b""
        except BaseException:
            _end(pid)
            raise
        if not line:
            raise _why_ended(endpoint, pid, errors, before.decode("utf-8", "replace"))
        passed += len(line)
        found = ssh_words.read_first_line(line)
        if found is not None:
            near.settimeout(None)
            return found
        before = line if line.strip() else before
    _end(pid)
    raise ConnectError(endpoint.bare, f"the shell of {endpoint.address} prints too much before daemonry dial")


def _line(near: Socket, deadline: Deadline) -> bytes:
    """Return the next line and not a byte more, which would be the daemon's; b"" at the end."""
    line = b""
    while not line.endswith(b"\n") and len(line) < ssh_words.MAX_GREETING:
        near.settimeout(deadline.remaining_s())
        seen = near.recv(4096, MSG_PEEK)
        if not seen:
            return b""
        end = seen.find(b"\n") + 1
        line += near.recv(end or len(seen))
    return line


def _why_ended(endpoint: Endpoint, pid: int, errors: int, printed: str) -> Exception:
    """Return why ssh ended before the first line, and after it had printed another one."""
    status = _status(pid)
    said = os.pread(errors, _SAID_BYTES, 0).decode("utf-8", "replace")
    if status is None:
        why = ssh_words.last_line(said) or "ssh has closed its output and goes on"
        return Unreachable(endpoint.bare, why)
    if is_old(status, said):
        return _OldSsh()
    lost = ssh_words.why_unreachable(status, said)
    if lost is not None:
        return Unreachable(endpoint.bare, lost)
    why = ssh_words.why_not_begun(status, said, endpoint.address, printed=printed)
    return ConnectError(endpoint.bare, why)


def _refusal(endpoint: Endpoint, answer: str, reason: str, deadline: Deadline) -> Exception:
    where = endpoint.bare
    if answer == ssh_words.ABSENT:
        return NotListening(where, reason=reason or "it does not run there")
    if answer == ssh_words.DENIED:
        return AccessDenied(where, reason)
    if answer == ssh_words.BUSY:
        return DeadlineExceeded("connect", deadline.timeout_s or 0.0, "no", where)
    if answer == ssh_words.FAILED and reason:
        return ConnectError(where, reason)
    told = f"its machine answers {answer[:_ANSWER_CHARS]!r}, and not to a dial"
    return ConnectError(where, f"{told}: a forced command there may have it so")


# --- its processes ------------------------------------------------------------------------------


def _status(pid: int) -> int | None:
    """Return the exit status of an ssh that is about to end, negative for a signal; None if it goes on."""
    from daemonry.backoff import delays

    deadline = Deadline(_END_S)
    for delay_s in delays(0.001, 0.05):
        status = _waited(pid)
        if status is not None:
            return os.waitstatus_to_exitcode(status)
        if not deadline.sleep(delay_s):
            break
    _end(pid)
    return None


def _end(pid: int) -> None:
    """End an ssh that is still ours to wait for, so that its pid is nobody else's."""
    try:
        os.kill(pid, _SIGTERM)
    except ProcessLookupError:  # waited for by somebody else
        return
    _children.add(pid)


def _reap() -> None:
    """Wait for those that have ended.  An ssh ends when its stream is closed."""
    for pid in tuple(_children):
        if _waited(pid) is not None:
            _children.discard(pid)


def _waited(pid: int) -> int | None:
    """Return the status of a child that has ended, as waitpid(2) gives it; None while it runs."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # somebody else in this process waits for every child
        return 0xFF00
    return status if found else None


def _forget() -> None:
    _children.clear()


os.register_at_fork(after_in_child=_forget)  # they are the parent's
