"""The blocking client of typed calls.

Owns one connection: calls in turn, streams as iterators, and for each failure what it means for
the question that matters, whether the call ran.  Works with the standard library alone; a process
that has loaded msgspec for something else, such as a typed proxy, uses it here too.

A timeout is for the whole call; `idle_s` is for each reply of a stream, which every reply renews.
Deadlines are the socket's own (SO_RCVTIMEO), which costs a third of what polling before each read
would.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Self, TypeVar

from daemonry import errors
from daemonry.clock import Deadline
from daemonry.limits import CONNECT_TIMEOUT_S
from daemonry.transport.connect import connect
from daemonry.transport.endpoint import Endpoint
from daemonry.wire import varlink
from daemonry.wire.connection import ClientConnection, Ended
from daemonry.wire.varlink import Call, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from daemonry.service.interface import Interface
    from daemonry.transport.stream import Stream
    from daemonry.wire.connection import Codec

    AnyInterface = TypeVar("AnyInterface", bound=Interface)

CALL_TIMEOUT_S = 30.0


class Client:
    """A connection to a daemon.

    Args:
        stream: a connected stream; the client closes it.

    One call at a time: it may pass from thread to thread, and two may not use it at once.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._machine = ClientConnection(_codec())

    @classmethod
    def connect(cls, target: str | Endpoint, timeout_s: float = CONNECT_TIMEOUT_S) -> Self:
        """Connect to a daemon by its name or its endpoint.

        Raises:
            As `daemonry.connect`: nothing was sent.
        """
        return cls(connect(target, timeout_s))

    @property
    def peer(self) -> str:
        """Who is at the other end, for people."""
        return self._stream.peer

    def close(self) -> None:
        """End the connection.  Twice is not an error."""
        self._stream.close()

    def call(
        self, method: str, parameters: Mapping[str, Any] | None = None, *, timeout_s: float = CALL_TIMEOUT_S
    ) -> dict[str, Any]:
        """Call a method and return the fields of its reply.

        Args:
            method: its full name: `org.example.jobs.Start`.
            parameters: what it is given.
            timeout_s: for the whole call, in seconds.

        Raises:
            CallFailed: the daemon answered with an error; the standard ones are its kinds.
            DeadlineExceeded: no reply in time; the connection is closed, since a late reply would
                be taken for the next call's.
            ConnectionLost: the daemon went away; `ran` tells whether the call may have run.
            LocalProtocolError: the parameters cannot be sent; nothing was.
            RemoteProtocolError: what came back is not Varlink.
        """
        deadline = Deadline(timeout_s)
        self._send(Call(method, parameters), deadline)
        reply = self._reply(deadline)
        if reply.error is not None:
            raise failed(reply)
        fields: dict[str, Any] = reply.parameters
        return fields

    def stream(
        self, method: str, parameters: Mapping[str, Any] | None = None, *, idle_s: float | None = None
    ) -> Iterator[dict[str, Any]]:
        """Call a method that gives several replies and yield the fields of each.

        Leaving the loop early closes the connection: there is no other way to say "enough".

        Args:
            method: its full name.
            parameters: what it is given.
            idle_s: how long to wait for each reply, in seconds; None for as long as it takes.

        Raises:
            As `call`.
        """
        deadline = Deadline(idle_s)
        self._send(Call(method, parameters, more=True), deadline)
        finished = False
        try:
            while not finished:
                reply = self._reply(Deadline(idle_s))
                finished = not reply.continues
                if reply.error is not None:
                    raise failed(reply)
                # A stream that ends without knowing its last reply beforehand ends with an empty one.
                if reply.continues or reply.parameters:
                    yield reply.parameters
        finally:
            if not finished:
                self.close()

    def oneway(self, method: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Send a call that is not answered; whether it ran is not known."""
        self._send(Call(method, parameters, oneway=True), Deadline(CALL_TIMEOUT_S))

    def proxy(self, kind: type[AnyInterface], *, timeout_s: float = CALL_TIMEOUT_S) -> AnyInterface:
        """Return an object with the methods of an interface, each of which calls the daemon.

        Arguments and results have the interface's types; streams are iterators; declared errors
        are raised as they are declared.
        """
        from daemonry.service.proxy import blocking_proxy

        return blocking_proxy(self, kind, timeout_s)

    def _send(self, call: Call, deadline: Deadline) -> None:
        if self._stream.fileno() < 0:
            raise errors.ConnectionLost(self.peer, "no")
        data = self._machine.send_call(call)
        try:
            self._stream.write(data, deadline.remaining_s())
        except errors.IpcError:
            self.close()
            raise

    def _reply(self, deadline: Deadline) -> Reply:
        machine = self._machine
        try:
            while True:
                event = machine.next_event()
                if event is None:
                    data = self._stream.read(timeout_s=deadline.remaining_s())
                    if data:
                        machine.receive_data(data)
                    else:
                        machine.receive_eof()
                elif isinstance(event, Ended):
                    raise errors.ConnectionLost(self.peer, "maybe")
                else:
                    return event
        except errors.DeadlineExceeded as error:
            self.close()
            raise errors.DeadlineExceeded("reply", deadline.timeout_s or 0.0, "maybe", self.peer) from error
        except errors.IpcError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _codec() -> Codec:
    return _fast_codec() if "msgspec" in sys.modules else varlink


def _fast_codec() -> Codec:
    from daemonry.wire import fast_varlink

    return fast_varlink


_STANDARD = {
    varlink.INTERFACE_NOT_FOUND: errors.InterfaceNotFound,
    varlink.METHOD_NOT_FOUND: errors.MethodNotFound,
    varlink.METHOD_NOT_IMPLEMENTED: errors.MethodNotImplemented,
    varlink.INVALID_PARAMETER: errors.InvalidParameter,
    varlink.PERMISSION_DENIED: errors.PermissionDenied,
    varlink.EXPECTED_MORE: errors.ExpectedMore,
    "org.daemonry.Control.Paused": errors.Paused,
    "org.daemonry.Control.Draining": errors.Draining,
    "org.daemonry.Control.Overloaded": errors.Overloaded,
    "org.daemonry.Control.Failed": errors.Failed,
}


def failed(reply: Reply) -> errors.CallFailed:
    """Return the exception for a reply that is an error."""
    assert reply.error is not None
    return _STANDARD.get(reply.error, errors.CallFailed)(reply.error, reply.parameters)
