"""Connecting to a socket of another machine through a connection that ssh keeps, without a process there.

A dial tells where the daemon's socket is.  For a minute from then on, and while that connection is kept, its
master is asked for a channel to this socket: no ssh starts here, and no shell and no dial there.  The
dial's line is kept in one small file beside the master's control socket.

A forwarded socket accepts although nobody is behind it, so two connections are made, and the second is asked
a question.  The channels are opened in their order: once its answer is back, the first one has reached the
daemon, too.  After anything else the caller dials.  A single question takes one connection.

Owns the exchange with the master, the file's place and time, and removing what killed processes have left.
The file's content is `ssh_note`'s, the packets are `ssh_mux`'s.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, MSG_PEEK, SOCK_STREAM
from _socket import socket as Socket
from itertools import count
from time import time

from daemonry.clock import Deadline
from daemonry.process.atomic_file import lives, sweep, write_atomically
from daemonry.process.regular_file import read_regular
from daemonry.transport import ssh_mux
from daemonry.transport.ssh_note import FarNote, tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, TypeVar

    from daemonry.transport.ssh_words import FarSocket

    Used = TypeVar("Used")

# How long what a dial told counts, in seconds.  The user's configuration is read by each dial: so an edit of
# it is noticed as soon.
_COUNTS_S: Final = 60.0
# A note that is older is removed; while its connection is used, each dial writes it again.
_FORGOTTEN_S: Final = 3600.0
# A channel that takes longer is given up for a dial, in seconds.
_PATIENCE_S: Final = 1.0
# A machine that refuses channels (AllowStreamLocalForwarding no) is asked twice for the same process in the
# life of a connection: once could have been the moment when it replaced its socket.
_MOST_REFUSALS: Final = 2
_MAX_NOTE_BYTES: Final = 1 << 13
_PING_PONG: Final = (b"PING\n", b"PONG\n".__eq__)
# The longest answer of a daemon that is read, in bytes.
_MAX_ANSWER_BYTES: Final = 1 << 16
_FORWARD: Final = "to-"
_NOTE: Final = "far-"
_numbers = count()


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


def _answered(path: str, deadline: Deadline, question: bytes) -> bytes:
    """Return the line that a daemon answers on a connection of its own; raises as `_proved`."""
    sock = Socket(AF_UNIX, SOCK_STREAM)
    try:
        sock.settimeout(_left_s(deadline))
        sock.connect(path)
        return _asked(sock, question, deadline)
    finally:
        sock.close()


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


def _is_listening(path: str) -> bool:
    """Whether somebody listens at a socket of this machine."""
    sock = Socket(AF_UNIX, SOCK_STREAM)
    try:
        sock.settimeout(0)
        sock.connect(path)
    except BlockingIOError:
        return True  # its queue is full
    except OSError:  # ssh removes its file when it makes the next
        return False
    finally:
        sock.close()
    return True


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
        self._path = f"{directory}/{_NOTE}{tag(self._words)}"

    def note(self) -> FarNote | None:
        """Return what the last dial told, if that still counts."""
        found, old_s = self._kept()
        if found is None or not 0 <= old_s < _COUNTS_S or self._identity(found.master) != found.identity:
            return None
        return found

    def told(self, far: FarSocket) -> FarNote | None:
        """Keep what a dial has told and return it; None where no single connection is kept."""
        try:
            names = os.listdir(self._directory)
        except OSError:
            return None
        self._sweep(names)
        # ssh adds a point and more while it binds.
        masters = [name for name in names if name.startswith(self._masters) and "." not in name]
        if len(masters) > 1:  # the user's configuration has changed, or a master was killed
            masters = [name for name in masters if _is_listening(f"{self._directory}/{name}")]
        identity = self._identity(masters[0]) if len(masters) == 1 else ""
        if not identity:
            return None
        before = self._kept()[0]
        same = before is not None and (before.identity, before.far.pid) == (identity, far.pid)
        refusals = before.refusals if same and before is not None else 0  # else it was absent then
        note = FarNote(masters[0], identity, refusals, far)
        self._keep(note)
        return note

    def connect(self, note: FarNote, timeout_s: float | None) -> Socket | None:
        """Return a socket that the daemon has accepted, or None for any doubt.

        Args:
            note: where it is.
            timeout_s: in seconds; None for the usual.
        """
        return self._forwarded(note, timeout_s, lambda path, deadline: _proved(path, deadline, *_PING_PONG))

    def connect_to(
        self, note: FarNote, timeout_s: float | None, question: bytes, holds: Callable[[bytes], bool]
    ) -> Socket | None:
        """The same for a daemon that a question tells from others.

        Args:
            note: where it is.
            timeout_s: in seconds; None for the usual.
            question: a line that the daemon is asked first, on a connection of its own.
            holds: whether the answer to it, a line, is that of the daemon that is meant.
        """
        return self._forwarded(
            note, timeout_s, lambda path, deadline: _proved(path, deadline, question, holds)
        )

    def ask(self, note: FarNote, timeout_s: float | None, question: bytes) -> bytes | None:
        """Return the line that the daemon answers to a harmless one, or None for any doubt."""
        return self._forwarded(note, timeout_s, lambda path, deadline: _answered(path, deadline, question))

    def _forwarded(
        self, note: FarNote, timeout_s: float | None, use: Callable[[str, Deadline], Used]
    ) -> Used | None:
        """Return what `use` makes of a path whose connections go on to the daemon; None for any doubt."""
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
            return self._through(master, note, deadline, use)
        except _NoChannel:
            self._keep(note.refused_again())
            return None
        except OSError:
            return None
        finally:
            master.close()

    def _through(
        self, master: Socket, note: FarNote, deadline: Deadline, use: Callable[[str, Deadline], Used]
    ) -> Used | None:
        here = f"{self._directory}/{_FORWARD}{os.getpid()}-{next(_numbers)}"
        master.sendall(ssh_mux.open_forward(here, note.far.path))
        if not ssh_mux.is_ok(_answer(master, deadline)):
            return None
        try:
            return use(here, deadline)
        finally:
            try:
                os.unlink(here)
                master.sendall(ssh_mux.close_forward(here, note.far.path))
                _answer(master, deadline)
            except OSError:
                pass  # it has ended, and its listeners with it

    def _sweep(self, names: list[str]) -> None:
        """Remove what killed processes have left, and old notes."""
        sweep(self._directory)
        for name in names:
            path = f"{self._directory}/{name}"
            try:
                if name.startswith(_FORWARD):
                    of = name[len(_FORWARD) :].partition("-")[0]
                    if of.isdecimal() and not lives(int(of)):
                        os.unlink(path)
                elif name.startswith(_NOTE) and time() - os.stat(path).st_mtime > _FORGOTTEN_S:
                    os.unlink(path)
            except OSError:
                pass

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
