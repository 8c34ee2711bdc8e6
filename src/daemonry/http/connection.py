"""One HTTP connection, as the server sees it: who it is, what runs on it, and how it ends.

Owns the socket until the protocol has it, and the state that the server asks for; HTTP itself is
`protocol`'s.  Nothing third-party is imported here: a connection may wait for that to be loaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from socket import socket as UserSocket
from typing import TYPE_CHECKING, Any, Final

from daemonry.errors import Draining
from daemonry.limits import HTTP_LAST_REPLY_S
from daemonry.service.server.dispatch import DRAINING

if TYPE_CHECKING:
    from daemonry.errors import CallFailed
    from daemonry.transport.credentials import Peer

# How often a response's last bytes are looked after while a daemon ends.
_LOOK_S: Final = 0.02


class HttpConnection:
    """A client.

    Args:
        sock: the connection, which does not block; closed by this object.
        data: the bytes of it that were read already.
        peer: the user and process at the other end.
        closed: called once, when the socket is closed.
        on_port: whether it came to the TCP port, so that it has to show a token.
        crowded: whether only requests of the control plane are taken.

    Attributes:
        call: the full name of the method that runs; "" for none.
        data, peer, crowded, on_port: as given.
        ending: why a stream on it is to end; None while it is not.
        is_program: whether what runs is a call of the program's own interfaces.
        received: how much the client has sent.
        serving: whether a request is being answered.
        trusted: whether it has shown a token.
        where: the address at the other end, for people.
    """

    def __init__(
        self,
        sock: UserSocket,
        data: bytes,
        peer: Peer,
        closed: Callable[[Any], None],
        *,
        on_port: bool = False,
        crowded: bool = False,
        where: str = "",
    ) -> None:
        self.data = data
        self.peer = peer
        self.on_port = on_port
        self.crowded = crowded
        self.where = where
        self.call = ""
        self.is_program = False
        self.serving = False
        self.trusted: bool = not on_port
        self.ending: CallFailed | None = None
        self.received: int = len(data)
        self._sock: UserSocket | None = sock
        self._closed = closed
        self._is_closed = False
        self._transport: asyncio.Transport | None = None
        self._shut_down: Callable[[], None] | None = None
        self._streams: set[asyncio.Task[Any]] = set()

    # --- for the protocol ---------------------------------------------------------------------------

    def take_socket(self) -> UserSocket | None:
        """Return the socket, for the transport; None where the connection has ended meanwhile."""
        sock, self._sock = self._sock, None
        return sock

    def made(self, transport: asyncio.Transport, shut_down: Callable[[], None]) -> None:
        """Note the transport, and what ends the connection once its response is sent."""
        self._transport = transport
        self._shut_down = shut_down
        if self._is_closed:
            transport.abort()

    def lost(self) -> None:
        """Note that the connection has ended."""
        for task in self._streams:
            task.cancel()
        self._transport = None
        self._end()

    def stream(self, task: asyncio.Task[Any]) -> None:
        """Have a task cancelled when the connection is to end."""
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)
        if self.ending is not None:
            task.cancel()

    # --- for the server: see `foreign.ForeignConnection` ----------------------------------------------

    @property
    def owes(self) -> bool:
        """Whether a call that is the program's runs on it."""
        return self.serving and self.is_program

    @property
    def controls(self) -> bool:
        """Whether a request of the control plane runs on it."""
        return self.serving and not self.is_program

    @property
    def activity(self) -> int | None:
        """A number that changes whenever the client sends something; None while it is being served."""
        return None if self.serving or self._waits_to_send() else self.received

    async def drain(self, reason: CallFailed, *, of_control: bool = False) -> None:
        """Let the request in hand come to its end; a stream ends with `reason`."""
        if self.serving and (of_control or self.is_program):
            self.ending = reason
            for task in list(self._streams):
                task.cancel()
            while self.serving:  # noqa: ASYNC110  # nobody tells, and it is over in a moment
                await asyncio.sleep(_LOOK_S)
        try:
            async with asyncio.timeout(HTTP_LAST_REPLY_S):
                while self._waits_to_send():  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            pass  # a client that does not read does not keep the daemon

    def retire(self) -> None:
        """Take no further request; one that is being answered is answered to its end.

        A stream of the control plane has none, and ends now: its client finds the next process.
        """
        if self.controls and self._streams:
            self.ending = Draining(DRAINING, {"begun": True})
            for task in list(self._streams):
                task.cancel()
        if self._shut_down is not None:
            self._shut_down()
        else:
            self.close()

    def close(self) -> None:
        """End the connection and whatever runs for it.  Twice is not an error."""
        if self._transport is not None:
            self._transport.close()
        elif self._sock is not None:
            self._sock.close()
            self._sock = None
            self._end()
        else:
            self._is_closed = True

    def abort(self) -> None:
        """End the connection now: what waits to be sent is not."""
        if self._transport is not None:
            self._transport.abort()
        else:
            self.close()

    def drop_in_child(self) -> None:
        """Close a forked child's copy, beside the loop, which parent and child share."""
        sock: Any = self._sock
        if sock is None and self._transport is not None:
            sock = self._transport.get_extra_info("socket")
        if sock is not None:
            import os

            os.close(sock.fileno())

    def _waits_to_send(self) -> bool:
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    def _end(self) -> None:
        closed, self._closed = self._closed, _nobody
        self._is_closed = True
        closed(self)


def _nobody(_connection: Any) -> None:
    """Stands in for a client that has its answer already."""
