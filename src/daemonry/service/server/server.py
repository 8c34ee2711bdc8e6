"""The server: listens at an endpoint and answers whoever connects, in the dialect they speak.

Owns the listener's life: bind, look after the socket file, clean up.  Accepting is `acceptor`'s; who
is let in, and as what, `reception`'s; what a connection does, `connection`'s; what a command means,
`control`'s; who answers while the loop is stuck, `standby`'s.
"""

from __future__ import annotations

import asyncio
import logging
import os
import weakref
from typing import TYPE_CHECKING, Any, Self

from daemonry.errors import AlreadyBound, DaemonryError, Draining, NotBound, SocketBindError
from daemonry.limits import SOCKET_CHECK_S
from daemonry.process.forks import not_for_children
from daemonry.process.place import Place
from daemonry.service.server import bounds
from daemonry.service.server.acceptor import Acceptor
from daemonry.service.server.bounds import Bounds
from daemonry.service.server.connections import Reception, most_connections, most_of_calls
from daemonry.service.server.gate import WrongTokens, new_exchange, token_of, whom
from daemonry.service.server.held import Held, HeldConnection
from daemonry.service.server.refusal import DRAINING, refuse_held
from daemonry.transport.connect import listen
from daemonry.transport.endpoint import OPEN, TCP, Endpoint
from daemonry.transport.file_watch import watch_entries
from daemonry.transport.unix import UnixListener

if TYPE_CHECKING:
    from _socket import socket as Socket

    from daemonry.clock import Deadline
    from daemonry.service.server.control import ControlState
    from daemonry.service.server.dispatch import Calls
    from daemonry.service.server.foreign import Foreign
    from daemonry.transport.proof import Served
    from daemonry.transport.stream import Listener
    from daemonry.transport.unix import Leftovers

logger = logging.getLogger("daemonry.server")


class Server:
    """Answers the text dialect, and typed calls where it has interfaces, at one endpoint.

    `bind`, then `run` until cancelled, then `cleanup`; the last also happens when the object goes
    away.  Only what this object bound is ever removed.

    Args:
        endpoint: where to listen: an endpoint, its text, or a socket's path.
        leftovers: see `daemonry.transport.connect.listen`.
        first_byte_timeout_s: how long a client may take for its line, in seconds; None for what
            `limits` says.
        calls: the interfaces that it serves; without them it speaks the text dialect only.
        limits: what clients may do.
        token_path: where the token of a TCP endpoint is made, one for each `bind`, if the endpoint
            names no file; without it the endpoint has to name one, or say that it is open.
        http: speaks HTTP on this endpoint too; None to take it for text.

    Attributes:
        awaits_notices: whether to look at the socket file when the system says that its directory has
            changed, where it can, and not by the clock.
        held: connections that were accepted beside the loop while it was stuck, and wait for it.
    """

    def __init__(
        self,
        endpoint: Endpoint | str | os.PathLike[str],
        *,
        leftovers: Leftovers = "refuse",
        first_byte_timeout_s: float | None = None,
        calls: Calls | None = None,
        limits: Bounds = bounds.DEFAULT,
        token_path: str | None = None,
        http: Foreign | None = None,
    ) -> None:
        self._http = http
        self._endpoint = endpoint if isinstance(endpoint, Endpoint) else Endpoint.parse(os.fspath(endpoint))
        self._leftovers: Leftovers = leftovers
        self._limits = limits
        self._first_byte_timeout_s = (
            limits.first_byte_s if first_byte_timeout_s is None else first_byte_timeout_s
        )
        self._listener: Listener | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None
        self._acceptor: Acceptor | None = None
        self._reception: Reception | None = None
        self._most_connections = limits.connections or most_connections()
        self.held = Held()
        self._calls = calls
        self._token_path = token_path
        self.awaits_notices = False
        self._wrong_tokens = WrongTokens()
        self._accepts = True
        not_for_children(self)

    def __repr__(self) -> str:
        if self._listener is None:
            state = "not listening"
        elif not self._accepts:
            state = "another process accepts"
        elif self._reception is None:
            state = "listening"
        else:
            calls = 0 if self._calls is None else self._calls.running
            state = f"serving, connections: {self.connections}, calls: {calls}"
        return f"<Server at {self.endpoint}: {state}>"

    @classmethod
    def at_default_path(cls, name: str) -> Self:
        """Return a server at the usual socket path of the daemon called `name`."""
        return cls(Endpoint.unix(Place.of(name).socket_path), leftovers="replace")

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens, or would."""
        return self._listener.endpoint if self._listener is not None else self._endpoint

    @property
    def path(self) -> str | None:
        """The socket file; None for an endpoint without one."""
        return self._endpoint.path

    @property
    def listener(self) -> Listener | None:
        """The listener while bound, for a `Standby`; None while another process accepts from it."""
        return self._listener if self._accepts else None

    @property
    def first_byte_s(self) -> float:
        """How long a client may take for its line, or its first byte, in seconds."""
        return self._first_byte_timeout_s

    @property
    def most_connections(self) -> int:
        """How many may be open at the same time."""
        return self._most_connections

    @property
    def newcomers(self) -> int:
        """How many clients have not shown yet what they want, or ask something of the control plane."""
        return len(self.held) + (0 if self._reception is None else self._reception.newcomers)

    @property
    def connections(self) -> int:
        """How many are open; from any thread."""
        return len(self.held) + (0 if self._reception is None else len(self._reception))

    @property
    def crowded(self) -> bool:
        """Whether what room is left is the control plane's; from any thread."""
        return self.connections > most_of_calls(self._most_connections)

    @property
    def full(self) -> bool:
        """Whether there is no room; from any thread."""
        return self.connections >= self._most_connections

    def fields(self) -> dict[str, Any]:
        """Return what a status tells of its clients: how many presented a wrong token, if any did."""
        return {"wrong_tokens": self._wrong_tokens.count} if self._wrong_tokens.count else {}

    def bind(self) -> None:
        """Listen; clients can connect from now on and are answered once `run` runs.

        Raises:
            AlreadyBound: it was called before.
            SocketBindError, UnsafePath, EndpointInvalid: as `listen`, or a TCP endpoint has no token;
                nothing was left behind.
        """
        if self._listener is not None:
            raise AlreadyBound(str(self.endpoint))
        self._hold(self._listen())
        logger.info("listening at %s", self.endpoint)

    def adopt(self, listener: Listener) -> None:
        """Take a listener that another process still accepts from; `accept_from_now` takes over.

        Raises:
            AlreadyBound: it listens already.
        """
        if self._listener is not None:
            raise AlreadyBound(str(self.endpoint))
        self._listener = listener
        self._accepts = False

    def accept_from_now(self) -> None:
        """Accept from the listener, which is this object's alone from now on."""
        assert self._listener is not None
        self._accepts = True
        if isinstance(self._listener, UnixListener):
            self._listener.listen_here()
        self._hold(self._listener)
        self._watch_listener()

    def stop_accepting(self) -> None:
        """Leave the listener to another process; what was accepted is served on."""
        self.take_all_back()
        self._accepts = False
        if self._acceptor is not None:
            self._acceptor.close()
            self._acceptor = None

    def abandon(self) -> None:
        """Close the listener and leave its path alone: both are another process's."""
        if self._finalizer is not None:
            self._finalizer.detach()
        if self._listener is not None:
            self._listener.abandon()
        self._listener = self._finalizer = None

    def refuse_more(self) -> int:
        """Have every further connection refused, take in those that wait, and return how many did.

        On a Unix socket nobody comes between the two: whoever connected before is taken in, and
        whoever tries later is refused before anything is sent.
        """
        assert self._listener is not None
        if self._acceptor is None or self._reception is None:
            return 0
        self._listener.refuse_more()
        self._acceptor.close()
        self._acceptor = None
        came = self.take_all_back()
        while True:
            try:
                sock = self._listener.accept_socket()
            except OSError:
                return came
            if sock is None:
                return came
            self._reception.take_in(sock)
            came += 1

    def take_back(self) -> None:
        """Take in who has waited longest while the loop was stuck, and the others in its next turns.

        Called on the loop.  One at a time: a call may have it stuck again, and then the rest is looked
        after as before.
        """
        try:
            self._take_oldest_back()
        finally:
            if len(self.held):
                asyncio.get_running_loop().call_soon(self.take_back)

    def take_all_back(self) -> int:
        """Take in all who have waited while the loop was stuck, and return how many they were."""
        came = 0
        while self._take_oldest_back():
            came += 1
        return came

    def _take_oldest_back(self) -> bool:
        connection = self.held.take_oldest()
        if connection is None:
            return False
        self._take_in(connection)
        return True

    def _take_in(self, connection: HeldConnection) -> None:
        if self._reception is not None:
            self._reception.take_in(connection.sock, connection.exchange)
        else:
            refuse_held(connection, Draining(DRAINING))

    def new_exchange(self) -> Served | None:
        """Return the beginning of a new client's proof; None where nobody has to prove anything."""
        token = None if self._listener is None else token_of(self._listener)
        return None if token is None else new_exchange(token)

    def count_wrong_token(self, sock: Socket) -> None:
        """Count a client who presented a wrong proof beside the loop."""
        self._wrong_tokens.add(whom(sock))

    def listen_again(self) -> None:
        """Listen anew, after `refuse_more`.

        Raises:
            SocketBindError, UnsafePath: it cannot be done now.
        """
        assert self._listener is not None
        old = self._listener
        new = self._listen()
        old.abandon()
        self._hold(new)
        self._watch_listener()

    async def retire(self, deadline: Deadline) -> None:
        """Have every connection end without losing a call: see `daemonry.service.server.graceful_close`."""
        if self._reception is not None:
            self.take_all_back()
            await self._reception.retire(deadline)

    def retire_idle(self) -> None:
        """Have every connection on which nothing is in hand take no further call."""
        if self._reception is not None:
            self._reception.retire_idle()

    def _watch_listener(self) -> None:
        if self._reception is not None and self._acceptor is None:
            assert self._listener is not None
            self._acceptor = Acceptor(asyncio.get_running_loop(), self._listener, self._reception.take_in)

    async def run(self, state: ControlState, cancel: asyncio.Event) -> None:
        """Serve until `cancel` is set, then close every connection; the listener stays bound.

        Raises:
            NotBound: `bind` was not called.
        """
        if self._listener is None:
            raise NotBound(str(self._endpoint))
        loop = asyncio.get_running_loop()
        reception = self._reception = Reception(
            loop, state, self._calls, self._limits, self._first_byte_timeout_s, self._most_connections
        )
        reception.http = self._http
        token = token_of(self._listener)
        if token is not None:
            reception.ask_for(token, self._wrong_tokens)
        if self._accepts:
            self._watch_listener()
        keeper = loop.create_task(self._look_after_file())
        try:
            await cancel.wait()
            await reception.end_control()
        finally:
            keeper.cancel()
            if self._acceptor is not None:
                self._acceptor.close()
                self._acceptor = None
            self.take_all_back()
            self._reception = None
            reception.close()
            if self._calls is not None:
                self._calls.stepper.close()

    @property
    def calls_under_way(self) -> list[str]:
        """The full names of the program's calls that run; from any thread."""
        return [] if self._reception is None else self._reception.calls_under_way

    async def drain(self, timeout_s: float) -> list[str]:
        """Let calls come to their end and streams end with Draining; return the names of those left.

        Once `calls` takes no more; `run` goes on, and cuts off what is left when it is cancelled.
        """
        return [] if self._reception is None else await self._reception.drain(timeout_s)

    def cleanup(self) -> None:
        """Stop listening and remove the socket file if it is still ours.  Twice is not an error."""
        if self._finalizer is not None:
            self._finalizer()
        self._listener = self._finalizer = None

    def drop_in_child(self) -> None:
        """Close a forked child's copies of the connections; a listener sees to itself."""
        if self._reception is not None:
            self._reception.drop_in_child()

    def check_file(self) -> bool:
        """Listen anew if the socket file was removed or replaced; say whether that was done.

        Raises:
            SocketBindError, UnsafePath: it is gone, and no new one can be made now.
        """
        listener = self.listener
        if not isinstance(listener, UnixListener) or listener.file_is_ours():
            return False
        new = self._listen()
        if self._acceptor is not None:
            self._acceptor.replace(new)
        listener.abandon()
        self._hold(new)
        logger.warning("the socket file %s was gone; listening there again", self.path)
        return True

    def _listen(self) -> Listener:
        listener = listen(self._endpoint, leftovers=self._leftovers, warn=logger.warning)
        try:
            self._ask_for_proof(listener)
        except BaseException:
            listener.close()
            raise
        return listener

    def _ask_for_proof(self, listener: Listener) -> None:
        """Have the clients of a TCP listener prove that they know its token, unless it is open by name."""
        endpoint = listener.endpoint
        if endpoint.kind != TCP:
            return
        from daemonry.process import token_file
        from daemonry.transport.tcp import TcpListener

        assert isinstance(listener, TcpListener)
        if endpoint.proof == OPEN:
            logger.warning("%s is open: whoever reaches it may do what its owner may", endpoint.bare)
        elif endpoint.token_path is not None:
            listener.ask_for(endpoint.token_path, token_file.read(endpoint.token_path))
        elif self._token_path is not None:
            listener.ask_for(self._token_path, token_file.make(self._token_path), ours=True)
        else:
            reason = (
                "it has no token, and every user of this machine could command it: say ;token=/path, or ;open"
            )
            raise SocketBindError(endpoint.bare, reason)

    def _hold(self, listener: Listener) -> None:
        if self._finalizer is not None:
            self._finalizer.detach()
        self._listener = listener
        self._finalizer = weakref.finalize(self, type(listener).close, listener)

    async def _until_file_changes(self, troubled: bool) -> None:
        """Return when it is time to look at the socket file: at a notice, or after a while."""
        fd = None
        if self.awaits_notices and not troubled and self.path is not None and self.path.startswith("/"):
            fd = watch_entries(os.path.dirname(self.path))
        if fd is None:
            await asyncio.sleep(SOCKET_CHECK_S)
            return
        loop = asyncio.get_running_loop()
        try:
            if (
                isinstance(self.listener, UnixListener) and self.listener.file_is_ours()
            ):  # it may be gone already
                noticed = asyncio.Event()
                loop.add_reader(fd, noticed.set)
                await noticed.wait()
        finally:
            loop.remove_reader(fd)
            os.close(fd)

    async def _look_after_file(self) -> None:
        troubled = False
        while True:
            await self._until_file_changes(troubled)
            try:
                self.check_file()
                troubled = False
            except DaemonryError as error:
                if not troubled:
                    logger.error("the socket file is gone and cannot be made again: %s", error)
                troubled = True
