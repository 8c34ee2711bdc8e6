"""The server: listens at an endpoint and answers clients in the dialect that they speak.

Owns the order of a server's life: bind, run, clean up, and the steps of an end or a replacement in
between.  The listener is `bound_listener`'s, accepting `acceptor`'s, the open connections `connections`'s,
the meaning of a command `control`'s, and answers while the loop is stuck `standby`'s.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any, Self

from daemonry.errors import Draining, NotBound
from daemonry.process.forks import not_for_children
from daemonry.process.place import Place
from daemonry.service.server import bounds
from daemonry.service.server.bounds import Bounds
from daemonry.service.server.connections import Connections, most_connections, most_of_calls
from daemonry.service.server.gate import WrongTokens, new_exchange, token_of, whom
from daemonry.service.server.held import Held, HeldConnection
from daemonry.service.server.listener import socket_file
from daemonry.service.server.listener.acceptor import Acceptor, accept_waiting
from daemonry.service.server.listener.bound_listener import BoundListener
from daemonry.service.server.refusal import DRAINING, refuse_held
from daemonry.transport.endpoint import Endpoint

if TYPE_CHECKING:
    from _socket import socket as Socket
    from collections.abc import Callable

    from daemonry.clock import Deadline
    from daemonry.service.server.control import ControlState
    from daemonry.service.server.dispatch import Calls
    from daemonry.service.server.foreign import Foreign
    from daemonry.transport.proof import Served
    from daemonry.transport.stream import Listener
    from daemonry.transport.unix import Leftovers

logger: logging.Logger = logging.getLogger("daemonry.server")


class Server:
    """Answers the text dialect, and typed calls where it has interfaces, at one endpoint.

    `bind`, then `run` until cancelled, then `cleanup`; the last also happens when the object goes
    away.  Only what this object bound is ever removed.

    Args:
        endpoint: an endpoint, its text, a socket's path, or a listener, which may be bound.
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
        file_calls: set on the loop by somebody else who notices that the socket file may have changed;
            None for a server that looks by itself.
        listener_changed: called when the listener is another one, or is accepted from no more.
        held: connections that were accepted beside the loop while it was stuck, and wait for it.
    """

    def __init__(
        self,
        endpoint: Endpoint | BoundListener | str | os.PathLike[str],
        *,
        leftovers: Leftovers = "refuse",
        first_byte_timeout_s: float | None = None,
        calls: Calls | None = None,
        limits: Bounds = bounds.DEFAULT,
        token_path: str | None = None,
        http: Foreign | None = None,
    ) -> None:
        self._http = http
        self._bound = BoundListener.of(endpoint, leftovers, token_path)
        self._limits = limits
        self._first_byte_timeout_s = (
            limits.first_byte_s if first_byte_timeout_s is None else first_byte_timeout_s
        )
        self._acceptor: Acceptor | None = None
        self._connections: Connections | None = None
        self._most_connections = limits.connections or most_connections()
        self.held: Held = Held()
        self._calls = calls
        self.awaits_notices = False
        self.file_calls: asyncio.Event | None = None
        self.listener_changed: Callable[[], None] = _nothing
        self._wrong_tokens = WrongTokens()
        not_for_children(self)

    def __repr__(self) -> str:
        if self._bound.listener is None:
            state = "not listening"
        elif not self._bound.accepts:
            state = "another process accepts"
        elif self._connections is None:
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
        return self._bound.endpoint

    @property
    def path(self) -> str | None:
        """The socket file; None for an endpoint without one."""
        return self._bound.path

    @property
    def listener(self) -> Listener | None:
        """The listener while bound, for a `Standby`; None while another process accepts from it."""
        return self._bound.accepted_from

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
        """How many clients have sent nothing yet, or speak the text dialect."""
        return len(self.held) + (0 if self._connections is None else self._connections.newcomers)

    @property
    def connections(self) -> int:
        """How many are open; from any thread."""
        return len(self.held) + (0 if self._connections is None else len(self._connections))

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
        self._bound.bind()

    def adopt(self, listener: Listener) -> None:
        """Take a listener that another process still accepts from; `accept_from_now` takes over.

        Raises:
            AlreadyBound: it listens already.
        """
        self._bound.adopt(listener)

    def accept_from_now(self) -> None:
        """Accept from the listener, which is this object's alone from now on."""
        self._bound.own()
        self._watch_listener()
        self.listener_changed()

    def stop_accepting(self) -> None:
        """Leave the listener to another process; accepted connections are served on."""
        self.take_all_back()
        self._bound.accepts = False
        if self._acceptor is not None:
            self._acceptor.close()
            self._acceptor = None
        self.listener_changed()

    def abandon(self) -> None:
        """Close the listener and leave its path alone: both are another process's."""
        self._bound.abandon()

    def refuse_more(self) -> int:
        """Have every further connection refused, take in those that wait, and return how many did.

        On a Unix socket nobody comes between the two: whoever connected before is taken in, and
        whoever tries later is refused before anything is sent.
        """
        listener = self._bound.listener
        assert listener is not None
        if self._acceptor is None or self._connections is None:
            return 0
        listener.refuse_more()
        self._acceptor.close()
        self._acceptor = None
        return self.take_all_back() + accept_waiting(listener, self._connections.take_in)

    def take_back(self) -> None:
        """Take in connections held while the loop was stuck, one in each turn of the loop; called on it."""
        self.held.hand_over_in_turns(self._take_in)

    def take_all_back(self) -> int:
        """Take in all connections that were held while the loop was stuck, and return how many there were."""
        return self.held.hand_over(self._take_in)

    def _take_in(self, connection: HeldConnection) -> None:
        if self._connections is not None:
            self._connections.take_in(connection.sock, connection.exchange)
        else:
            refuse_held(connection, Draining(DRAINING))

    def new_exchange(self) -> Served | None:
        """Return the beginning of a new client's proof; None where nobody has to prove anything."""
        listener = self._bound.listener
        token = None if listener is None else token_of(listener)
        return None if token is None else new_exchange(token)

    def count_wrong_token(self, sock: Socket) -> None:
        """Count a client who presented a wrong proof beside the loop."""
        self._wrong_tokens.add(whom(sock))

    def listen_again(self) -> None:
        """Listen again, after `refuse_more`.

        Raises:
            SocketBindError, UnsafePath: it cannot be done now.
        """
        old, _ = self._bound.make_again()
        old.abandon()
        self._watch_listener()
        self.listener_changed()

    async def retire(self, deadline: Deadline) -> None:
        """Have every connection end without losing a call: see `daemonry.service.server.graceful_close`."""
        if self._connections is not None:
            self.take_all_back()
            await self._connections.retire(deadline)

    def retire_idle(self) -> None:
        """Have every connection on which nothing is in hand take no further call."""
        if self._connections is not None:
            self._connections.retire_idle()

    def _watch_listener(self) -> None:
        if self._connections is not None and self._acceptor is None:
            assert self._bound.listener is not None
            loop = asyncio.get_running_loop()
            self._acceptor = Acceptor(loop, self._bound.listener, self._connections.take_in)

    async def run(self, state: ControlState, cancel: asyncio.Event) -> None:
        """Serve until `cancel` is set, then close every connection; the listener stays bound.

        Raises:
            NotBound: `bind` was not called.
        """
        listener = self._bound.listener
        if listener is None:
            raise NotBound(str(self.endpoint))
        loop = asyncio.get_running_loop()
        connections = self._connections = Connections(
            loop, state, self._calls, self._limits, self._first_byte_timeout_s, self._most_connections
        )
        connections.http = self._http
        token = token_of(listener)
        if token is not None:
            connections.ask_for(token, self._wrong_tokens)
        if self._bound.accepts:
            self._watch_listener()
        file_check = loop.create_task(
            socket_file.look_after(
                self._bound, self.check_file, by_notice=self.awaits_notices, called=self.file_calls
            )
        )
        try:
            await cancel.wait()
            await connections.end_control()
        finally:
            file_check.cancel()
            if self._acceptor is not None:
                self._acceptor.close()
                self._acceptor = None
            self.take_all_back()
            self._connections = None
            connections.close()
            if self._calls is not None:
                self._calls.stepper.close()

    @property
    def calls_under_way(self) -> list[str]:
        """The full names of the program's calls that run; from any thread."""
        return [] if self._connections is None else self._connections.calls_under_way

    async def drain(self, timeout_s: float) -> list[str]:
        """Let calls come to their end and streams end with Draining; return the names of those left.

        Once `calls` takes no more; `run` goes on, and cuts off the rest when it is cancelled.
        """
        return [] if self._connections is None else await self._connections.drain(timeout_s)

    def cleanup(self) -> None:
        """Stop listening and remove the socket file if it is still ours.  Twice is not an error."""
        self._bound.close()

    def drop_in_child(self) -> None:
        """Close a forked child's copies of the connections; a listener sees to itself."""
        if self._connections is not None:
            self._connections.drop_in_child()

    def check_file(self) -> bool:
        """Listen again if the socket file was removed or replaced; return whether it was.

        Raises:
            SocketBindError, UnsafePath: it is gone, and no new one can be made now.
        """
        if not self._bound.file_is_lost:
            return False
        old, new = self._bound.make_again()
        if self._acceptor is not None:
            self._acceptor.replace(new)
        old.abandon()
        self.listener_changed()
        logger.warning("the socket file %s was gone; listening there again", self.path)
        return True


def _nothing() -> None:
    """Do nothing: nobody wants to know."""
