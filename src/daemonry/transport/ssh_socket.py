"""Connecting to a socket of another machine through a connection that ssh keeps, without a process there.

A dial tells where the daemon's socket is.  For a minute from then on, and while that connection is kept, its
master is asked for a channel to this socket: no ssh starts here, and no shell and no dial there.  The
dial's line is kept in one small file beside the master's control socket.

A forwarded socket accepts although nobody is behind it, so two connections are made, and the second is asked
a question.  The channels are opened in their order: once its answer is back, the first one has reached the
daemon, too.  After anything else the caller dials.

Owns the file, and the exchange with the master.  The packets are `ssh_mux`'s.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, MSG_PEEK, SOCK_STREAM
from _socket import socket as Socket
from itertools import count
from time import time

from daemonry.clock import Deadline
from daemonry.process.atomic_file import write_atomically
from daemonry.process.regular_file import read_regular
from daemonry.transport import ssh_mux
from daemonry.transport.ssh_words import FarSocket
from daemonry.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, Self

# How long what a dial told counts, in seconds.  The user's configuration is read by each dial: so an edit of
# it is noticed as soon.
_COUNTS_S: Final = 60.0
# A channel that takes longer is given up for a dial, in seconds.
_PATIENCE_S: Final = 1.0
# A machine that refuses channels (AllowStreamLocalForwarding no) is asked twice for the same process in the
# life of a connection: once could have been the moment when it replaced its socket.
_MOST_REFUSALS: Final = 2
_FORMAT: Final = "1"
_MAX_NOTE_BYTES: Final = 1 << 13
_FIELDS: Final = 4
_PING: Final = b"PING\n"
_PONG: Final = b"PONG\n"
# The longest answer of a daemon that is read, in bytes.
_MAX_ANSWER_BYTES: Final = 1 << 16
# The largest prime below 2**24; see `daemonry.process.environment` for why no module's checksum.
_PRIME: Final = 16_777_213

_numbers = count()


def tag(words: tuple[str, ...]) -> str:
    """Return six characters for words: what belongs to them has these in its name."""
    text = "\0".join(words).encode("utf-8", "surrogateescape")
    return f"{int.from_bytes(text, 'big') % _PRIME:06x}"


class FarNote(Value):
    """What a dial told, and of which kept connection.

    Attributes:
        master: the name of its control socket.
        identity: of that socket's file.
        refusals: how often this connection gave no channel to the socket.
        far: the daemon's socket.
    """

    __slots__ = ("far", "identity", "master", "refusals")
    far: FarSocket
    identity: str
    master: str
    refusals: int

    def __init__(self, master: str, identity: str, refusals: int, far: FarSocket) -> None:
        self._set(master=master, identity=identity, refusals=refusals, far=far)

    @classmethod
    def read(cls, data: bytes, words: tuple[str, ...]) -> Self | None:
        """Return what a file of ours holds; None if it is another format's, or about other words.

        Raises:
            ValueError: it was not written whole.
        """
        form, *fields = data.decode("utf-8", "surrogateescape").split("\0")
        if form != _FORMAT or tuple(fields[_FIELDS:]) != words:
            return None
        master, identity, refusals, told = fields[:_FIELDS]
        far = FarSocket.read(told)
        return None if far is None else cls(master, identity, int(refusals), far)

    def to_bytes(self, words: tuple[str, ...]) -> bytes:
        """Return the file's content: about a daemon that these words name."""
        told = (self.master, self.identity, str(self.refusals), str(self.far))
        return "\0".join((_FORMAT, *told, *words)).encode("utf-8", "surrogateescape")

    def refused_again(self) -> FarNote:
        """The same, with one refusal more."""
        return FarNote(self.master, self.identity, self.refusals + 1, self.far)


class _NoChannel(Exception):
    """The master took the connection, and the other machine did not."""


def _proved(path: str, deadline: Deadline, question: bytes, holds: Callable[[bytes], bool]) -> Socket:
    """Return a connection once the daemon has answered at another one, which was made after it.

    Raises:
        _NoChannel: one of the two has ended without a word.
        OSError: no answer in time, or another one.
    """
    used, proof = Socket(AF_UNIX, SOCK_STREAM), Socket(AF_UNIX, SOCK_STREAM)
    try:
        for one in (used, proof):
            one.settimeout(_left_s(deadline))
            one.connect(path)
        if not holds(_asked(proof, question, deadline)):
            raise OSError("another answer than the right one")
        if _has_ended(used):
            raise _NoChannel
    except BaseException:
        used.close()
        raise
    finally:
        proof.close()
    used.settimeout(None)
    return used


def _asked(proof: Socket, question: bytes, deadline: Deadline) -> bytes:
    said = b""
    try:
        proof.sendall(question)
        while not said.endswith(b"\n"):
            proof.settimeout(_left_s(deadline))
            piece = proof.recv(4096)
            if not piece:
                raise _NoChannel
            said += piece
            if len(said) > _MAX_ANSWER_BYTES:
                raise OSError("a line without an end")
    except (BrokenPipeError, ConnectionResetError):
        raise _NoChannel from None
    return said


def _has_ended(sock: Socket) -> bool:
    sock.settimeout(0)
    try:
        sock.recv(1, MSG_PEEK)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        pass
    return True


def _answer(master: Socket, deadline: Deadline) -> bytes:
    size = ssh_mux.length(_exactly(master, ssh_mux.LENGTH_BYTES, deadline))
    if size > ssh_mux.MAX_ANSWER:
        raise OSError("no answer of a master")
    return _exactly(master, size, deadline)


def _exactly(sock: Socket, count: int, deadline: Deadline) -> bytes:
    data = b""
    while len(data) < count:
        sock.settimeout(_left_s(deadline))
        piece = sock.recv(count - len(data))
        if not piece:
            raise OSError("the master has closed")
        data += piece
    return data


def _left_s(deadline: Deadline) -> float:
    """Return the seconds that are left: some, for 0 means not to wait at all."""
    return max(0.001, deadline.remaining_s() or 0.0)


class Route:
    """The way to one daemon of another machine.

    Args:
        directory: where control sockets are; ours alone.
        machine: what leads to the machine: the ssh, its address and its port.
        daemon: what names the daemon there: the `daemonry` that finds it, and its name or path.
    """

    def __init__(self, directory: str, machine: tuple[str, ...], daemon: tuple[str, ...]) -> None:
        self._directory = directory
        self._words = (*machine, *daemon)
        self._masters = f"ssh-{tag(machine)}-"
        self._path = f"{directory}/far-{tag(self._words)}"

    def note(self) -> FarNote | None:
        """Return what the last dial told, if that still counts."""
        found, old_s = self._kept()
        if found is None or not 0 <= old_s < _COUNTS_S or self._identity(found.master) != found.identity:
            return None
        return found

    def told(self, far: FarSocket) -> FarNote | None:
        """Keep what a dial has told and return it; None where no single connection is kept."""
        try:
            names = [name for name in os.listdir(self._directory) if name.startswith(self._masters)]
        except OSError:
            return None
        masters = [name for name in names if "." not in name]  # ssh adds a point and more while it binds
        identity = self._identity(masters[0]) if len(masters) == 1 else ""
        if not identity:
            return None
        before = self._kept()[0]
        same = before is not None and (before.identity, before.far.pid) == (identity, far.pid)
        refusals = before.refusals if same and before is not None else 0  # else it was absent then
        note = FarNote(masters[0], identity, refusals, far)
        self._keep(note)
        return note

    def connect(
        self,
        note: FarNote,
        timeout_s: float | None,
        question: bytes = _PING,
        holds: Callable[[bytes], bool] = _PONG.__eq__,
    ) -> Socket | None:
        """Return a socket that the daemon has accepted, or None for any doubt.

        Args:
            note: where it is.
            timeout_s: in seconds; None for the usual.
            question: a line that the daemon is asked first, on a connection of its own.
            holds: whether the answer to it, a line, is that of the daemon that is meant.
        """
        if note.refusals >= _MOST_REFUSALS:
            return None
        limit_s = _PATIENCE_S if timeout_s is None else min(timeout_s, _PATIENCE_S)
        deadline = Deadline(limit_s)
        master = Socket(AF_UNIX, SOCK_STREAM)
        try:
            master.settimeout(limit_s)
            master.connect(f"{self._directory}/{note.master}")
            master.sendall(ssh_mux.hello())
            if not ssh_mux.is_hello(_answer(master, deadline)):
                return None
            return self._through(master, note, deadline, question, holds)
        except _NoChannel:
            self._keep(note.refused_again())
            return None
        except OSError:
            return None
        finally:
            master.close()

    def _through(
        self,
        master: Socket,
        note: FarNote,
        deadline: Deadline,
        question: bytes,
        holds: Callable[[bytes], bool],
    ) -> Socket | None:
        here = f"{self._directory}/to-{os.getpid()}-{next(_numbers)}"
        master.sendall(ssh_mux.open_forward(here, note.far.path))
        if not ssh_mux.is_ok(_answer(master, deadline)):
            return None
        try:
            return _proved(here, deadline, question, holds)
        finally:
            try:
                os.unlink(here)
                master.sendall(ssh_mux.close_forward(here, note.far.path))
                _answer(master, deadline)
            except OSError:
                pass  # it has ended, and its listeners with it

    def _identity(self, master: str) -> str:
        """Return what tells one kept connection from the next of the same name; "" for none."""
        try:
            found = os.lstat(f"{self._directory}/{master}")
        except OSError:
            return ""
        return f"{found.st_ino}:{found.st_ctime_ns}"

    def _kept(self) -> tuple[FarNote | None, float]:
        """Return what the file says, and its age in seconds."""
        try:
            old_s = time() - os.stat(self._path).st_mtime
            return FarNote.read(read_regular(self._path, _MAX_NOTE_BYTES), self._words), old_s
        except (OSError, ValueError):
            return None, 0.0

    def _keep(self, note: FarNote) -> None:
        try:
            write_atomically(self._path, note.to_bytes(self._words), durable=False)
        except OSError:
            pass  # the next one dials
