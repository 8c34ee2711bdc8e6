"""Handing a running daemon over to a new process, without a refused connection or a lost call.

    new -> old   the call org.daemonry.Control.HandOver.Take; the connection is upgraded
    new -> old   "give"      prepared: import and configuration are done
    old -> new   a line of JSON, and with it the listening socket and the life lock, as descriptors
    new -> old   "take"      setup is done
    old -> new   "yours"     nothing is accepted here any more
    new -> old   "thanks"    the record is written, and connections are accepted

Owns this exchange.  The lock belongs to an open file that both processes have, so there is no moment
in which nobody holds it; the record names the old one until the new one replaces it; the kernel queues
clients that connect in between.  Until "thanks" the old one can take everything back, and does so when the
new one goes away.  After it, the old one answers what it had accepted, ends its work, and ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import TYPE_CHECKING, Any, Final, Protocol

from daemonry import strict_json
from daemonry.clock import Deadline
from daemonry.errors import BadFrame, CallFailed, ConnectionLost, DeadlineExceeded, RemoteProtocolError
from daemonry.limits import REQUEST_TIMEOUT_S
from daemonry.process.lock import Lock
from daemonry.service.interface.declare import Interface
from daemonry.service.interface.handler import Upgrade
from daemonry.service.server.dispatch import CONTROL
from daemonry.transport.endpoint import FD, UNIX, Endpoint
from daemonry.transport.unix import UnixListener

if TYPE_CHECKING:
    from daemonry.process.place import Place
    from daemonry.transport.stream import Listener

logger: logging.Logger = logging.getLogger("daemonry.daemon")

INTERFACE: Final = f"{CONTROL}.HandOver"
# What the old one waits for the new one's setup.
_SETUP_S: Final = 600.0


class HandOver(Interface, name=INTERFACE):
    """Handing the daemon over to a new process of the same user."""

    def __init__(self, old_side: OldSide) -> None:
        self._old_side = old_side

    async def take(self) -> Upgrade[None]:
        """Begin; the connection then speaks the hand-over's own words."""
        return Upgrade(None, self._old_side.speak)


class HandoverHost(Protocol):
    """The running daemon, as the old side of a hand-over needs it."""

    def offer(self) -> tuple[Listener, Lock] | None:
        """Return the listener and the life lock; None when there is nothing to hand over now."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what the new process is to know: `pid`, `version`, `paused`."""
        ...

    def stop_accepting(self) -> None:
        """Accept no more connections."""
        ...

    def accept_again(self) -> None:
        """Be the daemon as before: the new process is gone."""
        ...

    def hand_over(self) -> None:
        """Leave everything to the new process, which is the daemon now."""
        ...


class OldSide:
    """The side of the process that runs.

    Attributes:
        under_way: whether a hand-over has begun and is not over.
    """

    def __init__(self, host: HandoverHost) -> None:
        self._host = host
        self.under_way: bool = False

    async def speak(self, sock: socket.socket, early: bytes) -> None:
        """Hand the daemon over to the peer of `sock`."""
        offer = self._host.offer()
        if self.under_way or offer is None:
            return
        self.under_way = True
        try:
            await self._give(sock, early, *offer)
        except (OSError, TimeoutError, EOFError) as error:
            logger.warning("the hand-over was given up: %s", error)
        finally:
            self.under_way = False

    async def _give(self, sock: socket.socket, early: bytes, listener: Listener, lock: Lock) -> None:
        words = _Words(sock, early)
        await words.expect("give", REQUEST_TIMEOUT_S)
        fields = self._host.describe()
        fields["endpoint"] = str(listener.endpoint)
        fields["file"] = listener.file if isinstance(listener, UnixListener) else None
        line = (strict_json.encode(fields) + "\n").encode()
        socket.send_fds(sock, [line], [listener.fileno(), lock.fd])
        await words.expect("take", _SETUP_S)
        self._host.stop_accepting()
        try:
            await words.say("yours")
            await words.expect("thanks", REQUEST_TIMEOUT_S)
        except BaseException:
            self._host.accept_again()
            raise
        self._host.hand_over()


class _Words:
    def __init__(self, sock: socket.socket, early: bytes) -> None:
        self._sock = sock
        self._held = early

    async def say(self, word: str) -> None:
        await asyncio.get_running_loop().sock_sendall(self._sock, f"{word}\n".encode())

    async def expect(self, word: str, timeout_s: float) -> None:
        async with asyncio.timeout(timeout_s):
            while b"\n" not in self._held:
                data = await asyncio.get_running_loop().sock_recv(self._sock, 4096)
                if not data:
                    raise EOFError("the new process is gone")
                self._held += data
        said, _, self._held = self._held.partition(b"\n")
        if said != word.encode():
            raise EOFError(f"the new process said {said[:20]!r} instead of {word}")


class NewSide:
    """The side of the new process, with the things that it was given.

    Attributes:
        fields: the old one's message: `endpoint`, `file`, `paused`, `pid`, `version`.
        listener: the listening socket.
        lock: the life lock, which the old one still holds too.
    """

    def __init__(self, sock: socket.socket, fields: dict[str, Any], listener: Listener, lock: Lock) -> None:
        self.fields = fields
        self.listener = listener
        self.lock = lock
        self._sock = sock
        self._kept = False

    @classmethod
    def ask(cls, place: Place, endpoint: Endpoint, timeout_s: float = REQUEST_TIMEOUT_S) -> NewSide:
        """Ask the daemon that runs at `endpoint`.

        Raises:
            CallFailed, ConnectError, ConnectionLost, DeadlineExceeded: it gives nothing; it goes on.
        """
        from daemonry.service.client.blocking import Client

        deadline = Deadline(timeout_s)
        with Client.connect(endpoint, timeout_s) as client:
            _, stream = client.upgrade(f"{INTERFACE}.Take", timeout_s=deadline.remaining_s() or 0.0)
        taken = stream.take_socket()
        sock = socket.socket(fileno=taken.detach())
        sock.settimeout(deadline.remaining_s())
        try:
            sock.sendall(b"give\n")
            data, fds, _, _ = socket.recv_fds(sock, 1 << 16, 2)
            if len(fds) != 2:
                for fd in fds:
                    os.close(fd)
                raise ConnectionLost(str(endpoint), "no")
            for fd in fds:
                os.set_inheritable(fd, False)
            lock = Lock(place.life_lock_path, fds[1])
            fields = strict_json.decode_object(data.decode())
            return cls(sock, fields, _listener(fds[0], fields), lock)
        except (BadFrame, UnicodeDecodeError) as error:
            sock.close()
            raise RemoteProtocolError(f"the daemon that runs handed over {error}") from error
        except TimeoutError:
            sock.close()
            raise DeadlineExceeded("reply", timeout_s, "no", str(endpoint)) from None
        except BaseException:
            sock.close()
            raise

    def take(self, timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        """Have the old one accept no more.

        Raises:
            ConnectionLost: it went away or took everything back.
            DeadlineExceeded: it does not answer.
        """
        self._sock.settimeout(timeout_s)
        try:
            self._sock.sendall(b"take\n")
            if self._sock.recv(64) != b"yours\n":
                raise ConnectionLost("the daemon that runs", "no")
        except TimeoutError:
            raise DeadlineExceeded("reply", timeout_s, "no", "the daemon that runs") from None
        except OSError as error:
            if isinstance(error, ConnectionLost):
                raise
            raise ConnectionLost("the daemon that runs", "no") from error

    def keep(self) -> Lock:
        """Return the lock for good; `give_up` does nothing from now on."""
        self._kept = True
        return self.lock

    def thank(self) -> None:
        """Let the old one go."""
        try:
            self._sock.sendall(b"thanks\n")
        except OSError:
            pass  # it is gone already
        self._sock.close()

    def give_up(self) -> None:
        """Leave everything to the old one.  After `keep` nothing happens."""
        if self._kept:
            return
        self._sock.close()
        self.lock.forget()
        self.listener.abandon()


def _listener(fd: int, fields: dict[str, Any]) -> Listener:
    from daemonry.transport import activation

    endpoint = Endpoint.parse(str(fields["endpoint"]))
    listener = activation.bind(Endpoint("", FD, fd))
    if not isinstance(listener, UnixListener):
        return listener
    file = fields.get("file")
    return UnixListener.of_another(listener, endpoint, (int(file[0]), int(file[1])) if file else None)


def is_offered(endpoint: Endpoint, timeout_s: float = REQUEST_TIMEOUT_S) -> bool:
    """Whether the daemon at `endpoint` knows how to hand itself over.

    Raises:
        ConnectError, ConnectionLost, DeadlineExceeded: it does not answer.
    """
    from daemonry.service.client.blocking import Client

    if endpoint.kind != UNIX:
        return False  # descriptors pass through Unix sockets only
    with Client.connect(endpoint, timeout_s) as client:
        try:
            info = client.call("org.varlink.service.GetInfo", timeout_s=timeout_s)
        except CallFailed:
            return False
    return INTERFACE in info.get("interfaces", ())
