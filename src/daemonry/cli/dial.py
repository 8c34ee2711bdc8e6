"""`daemonry dial`: the far side of an ssh endpoint.

Owns finding the daemon, reporting the result in one line before any byte of a call is on its way, and
joining standard input and output to the daemon's socket from then on.  The line is
`daemonry.transport.ssh_words`'.  On the path of each connection over ssh: C modules only.
"""

from __future__ import annotations

import os
import select
import sys
from _socket import SHUT_WR

from daemonry import faults
from daemonry.cli.hosts.told_socket import told_socket
from daemonry.cli.output import DENIED, DONE, FAILED, NO_ANSWER, NOT_RUNNING
from daemonry.daemon.instance import Instance
from daemonry.transport import ssh_words
from daemonry.transport.connect import connect
from daemonry.transport.endpoint import Endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from typing import Final

# How long a daemon that is there may take to accept, and one that ends to be gone, in seconds: less than
# the caller waits.
_ACCEPT_S: Final = 3.0
# The most bytes on their way in one direction.
_BUFFER_BYTES: Final = 1 << 16
_INPUT: Final = 0
_OUTPUT: Final = 1


def quickly(words: list[str]) -> int | None:
    """Dial for the plain words of an ssh endpoint; None where a fuller parser has to look."""
    if words[0].startswith("-") or (len(words) == 3 and words[1] != "--start"):
        return None
    return dial(words[0], words[2] if len(words) == 3 else None)


def dial(target: str, program: str | None) -> int:
    """Join standard input and output to a daemon, and return the exit code once it has closed.

    Args:
        target: a daemon's name, or its socket's absolute path.
        program: what starts it where it does not run; None for nothing.
    """
    try:
        instance = _instance(target)
        try:
            sock = _socket_of(instance)
        except (faults.NotRunning, faults.NotListening, faults.ConnectionRefused) as error:
            if program is None or instance.lock_held():
                raise
            sock = _started(target, program, _start(program, error))
    except faults.DeadlineExceeded:
        return _say(ssh_words.BUSY, target, NO_ANSWER)
    except faults.AccessDenied as error:
        return _say(ssh_words.DENIED, error.reason, DENIED)
    except (faults.NotListening, faults.ConnectionRefused, faults.NotRunning) as error:
        if instance.lock_held():  # it makes a new socket in a moment, or ends
            return _say(ssh_words.BUSY, target, NO_ANSWER)
        return _say(ssh_words.ABSENT, str(error), NOT_RUNNING)
    except (faults.DaemonryError, OSError) as error:
        return _say(ssh_words.FAILED, str(error), FAILED)
    where = told_socket(instance)
    reason = instance.endpoint().bare if where is None else str(where)
    _write_all(ssh_words.first_line(ssh_words.SERVING, reason))
    try:
        _join(sock)
    finally:
        sock.close()
    return DONE


def _instance(target: str) -> Instance:
    if target.startswith("/"):
        return Instance(None, Endpoint.unix(os.path.normpath(target)))
    return Instance.named(target)


def _socket_of(instance: Instance) -> Socket:
    """Return a connection, for which a daemon that ends or is replaced just now is waited for."""
    return instance.reach(connect, _ACCEPT_S).take_socket()


def _started(target: str, program: str, said: str) -> Socket:
    """Return a connection to a daemon after its program was started.

    Raises:
        ConnectError: the program's daemon has another name, or has ended at once.
    """
    instance = _instance(target)
    try:
        return _socket_of(instance)
    except (faults.NotRunning, faults.NotListening, faults.ConnectionRefused) as error:
        if instance.lock_held():
            raise
        why = f"{target} does not run after the start of {program}, which says: {said}"
        raise faults.ConnectError(target, why) from error


def _start(program: str, because: Exception) -> str:
    """Start the daemon as `daemonry start` does, whose start lock lets one of many in; return what that says.

    Raises:
        ConnectError: it cannot be started.
    """
    import subprocess

    command = [sys.executable, "-m", "daemonry", "start", program]
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode != DONE:
        said = ssh_words.last_line(done.stderr.decode("utf-8", "replace"))
        raise faults.ConnectError(program, said or f"{program} cannot be started") from because
    return ssh_words.last_line(done.stdout.decode("utf-8", "replace"))


def _say(answer: str, reason: str, code: int) -> int:
    _write_all(ssh_words.first_line(answer, reason))
    return code


def _write_all(data: bytes) -> None:
    while data:
        data = data[os.write(_OUTPUT, data) :]


class _Direction:
    """One direction: its source, its destination, the bytes on their way, and whether more come."""

    __slots__ = ("more", "pending", "reads", "writes")

    def __init__(self, reads: int, writes: int) -> None:
        self.reads = reads
        self.writes = writes
        self.pending = b""
        self.more = True

    def fill(self) -> None:
        """Read what there is."""
        try:
            self.pending = os.read(self.reads, _BUFFER_BYTES)
        except BlockingIOError:
            return
        except OSError:  # reset: as good as the end
            self.pending = b""
        self.more = bool(self.pending)

    def drain(self) -> bool:
        """Write what there is room for; say whether there is still a reader."""
        try:
            self.pending = self.pending[os.write(self.writes, self.pending) :]
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def relay(self) -> bool:
        """Read what there is, and write what there is room for: all, but for a peer that is slow."""
        self.fill()
        return not self.pending or self.drain()


def _join(sock: Socket) -> None:
    """Pass bytes both ways until the daemon has closed, or nobody reads its replies.

    Neither direction waits for the other: each holds one buffer, and reads when that is empty.
    """
    daemon = sock.fileno()
    for one in (_INPUT, _OUTPUT, daemon):
        os.set_blocking(one, False)
    there, back = _Direction(_INPUT, daemon), _Direction(daemon, _OUTPUT)
    waiting = _PolledDescriptors()
    while back.more or back.pending:
        ready = waiting.ready(there, back)
        if back.pending and ready.get(_OUTPUT):
            if not back.drain():
                return
        elif not back.pending and ready.get(_OUTPUT, 0) & select.POLLERR:
            return  # ssh is gone
        if there.pending and ready.get(daemon, 0) & ~select.POLLIN and not there.drain():
            there.pending, there.more = b"", False  # it reads no more, and may still say why
        if not back.pending and ready.get(daemon, 0) & ~select.POLLOUT and not back.relay():
            return
        if there.more and not there.pending and ready.get(_INPUT):
            _take_input(sock, there)


def _take_input(sock: Socket, there: _Direction) -> None:
    if not there.relay():
        there.pending, there.more = b"", False
    elif not there.more:
        _finish(sock)


class _PolledDescriptors:
    """The awaited events.  The kernel's list changes only where a reader is slow, or one side has ended."""

    __slots__ = ("_events", "_poll")

    def __init__(self) -> None:
        self._poll = select.poll()
        self._events: dict[int, int | None] = {}

    def ready(self, there: _Direction, back: _Direction) -> dict[int, int]:
        """Wait, and return what happened at which descriptor."""
        self._watch(_INPUT, select.POLLIN if there.more and not there.pending else None)
        self._watch(_OUTPUT, select.POLLOUT if back.pending else 0)
        events = (select.POLLOUT if there.pending else 0) | (0 if back.pending else select.POLLIN)
        self._watch(back.reads, events or None)
        return dict(self._poll.poll())

    def _watch(self, number: int, events: int | None) -> None:
        """Wait for events of a descriptor; 0 for its end, None for nothing."""
        if self._events.get(number) == events:
            return
        if events is None:
            self._poll.unregister(number)
        else:
            self._poll.register(number, events)
        self._events[number] = events


def _finish(sock: Socket) -> None:
    try:
        sock.shutdown(SHUT_WR)
    except OSError:
        pass
