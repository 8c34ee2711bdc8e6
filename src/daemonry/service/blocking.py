"""The blocking client of typed calls.

Owns one connection: calls in turn, streams as iterators, and for each failure what it means for
the question that matters, whether the call ran.  Works with the standard library alone; a process
that has loaded msgspec for something else, such as a typed proxy, uses it here too.

A timeout is for the whole call; `idle_s` is for each reply of a stream, which every reply renews.
Deadlines are the socket's own (SO_RCVTIMEO), which costs a third of what polling before each read
would.

What a failure says about the call: `ran` is "no" as long as its last byte was not sent, for a frame
without its end is never run, and "maybe" from then on.
"""

from __future__ import annotations

import sys

from daemonry import errors
from daemonry.clock import Deadline
from daemonry.limits import CONNECT_TIMEOUT_S, READ_BYTES
from daemonry.transport.connect import connect
from daemonry.transport.endpoint import Endpoint
from daemonry.transport.stream import Stream
from daemonry.wire import varlink
from daemonry.wire.connection import IN_CALL, IN_STREAM, IN_UPGRADE, ClientConnection, Ended
from daemonry.wire.varlink import AnyReply, Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from typing import Any, NoReturn, Self, TypeVar

    from daemonry.service.interface import Interface
    from daemonry.transport.ancillary import Fd, FdStream
    from daemonry.wire.connection import Codec

    AnyInterface = TypeVar("AnyInterface", bound=Interface)

CALL_TIMEOUT_S = 30.0

_AWAITING = frozenset((IN_CALL, IN_STREAM, IN_UPGRADE))


class Client:
    """A connection to a daemon.

    Args:
        stream: a connected stream; the client closes it.

    One call at a time: it may pass from thread to thread, and two may not use it at once.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._machine = ClientConnection(_codec())
        self._fd_stream: FdStream | None = None
        self._received: list[Fd] = []

    @classmethod
    def connect(cls, target: str | Endpoint, timeout_s: float = CONNECT_TIMEOUT_S) -> Self:
        """Connect to a daemon by its endpoint.

        Raises:
            As `daemonry.connect`: nothing was sent.
        """
        return cls(connect(target, timeout_s))

    @property
    def peer(self) -> str:
        """Who is at the other end, for people."""
        return self._stream.peer

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""
        return self._stream.fileno() < 0

    def close(self) -> None:
        """End the connection.  Twice is not an error."""
        self._stream.close()
        self._drop_received()

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
            LocalProtocolError: the parameters cannot be sent, or a stream is still under way on
                this connection; nothing was sent.
            RemoteProtocolError: what came back is not Varlink.
        """
        deadline = Deadline(timeout_s)
        self._send(Call(method, parameters), deadline)
        reply = self._reply(deadline)
        if reply.error is not None:
            raise failed(reply)
        fields: dict[str, Any] = reply.parameters
        return fields

    def call_with_fds(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        fds: Sequence[Fd] = (),
        *,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> tuple[dict[str, Any], list[Fd]]:
        """Call a method, passing descriptors, and return its fields and the descriptors that came back.

        In parameters and fields a descriptor is its index among them.

        Args:
            method: as `call`.
            parameters: as `call`.
            fds: what is passed; closed once sent, or once that failed.
            timeout_s: as `call`.

        Raises:
            As `call`.
        """
        self.accept_fds()
        deadline = Deadline(timeout_s)
        self._send(Call(method, parameters), deadline, fds)
        reply = self._reply(deadline)
        if reply.error is not None:
            raise failed(reply)
        received, self._received = self._received, []
        return reply.parameters, received

    def stream(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        fds: Sequence[Fd] = (),
        idle_s: float | None = None,
    ) -> Generator[dict[str, Any], None, None]:
        """Call a method that gives several replies and yield the fields of each.

        The call is sent when the first reply is asked for.  Leaving the loop early closes the
        connection: there is no other way to say "enough".

        Args:
            method: its full name.
            parameters: what it is given.
            fds: as `call_with_fds`.
            idle_s: how long to wait for each reply, in seconds; None for as long as it takes.

        Raises:
            As `call`.
        """
        if fds:
            self.accept_fds()
        self._send(Call(method, parameters, more=True), Deadline(idle_s), fds)
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

    def upgrade(
        self, method: str, parameters: Mapping[str, Any] | None = None, *, timeout_s: float = CALL_TIMEOUT_S
    ) -> tuple[dict[str, Any], Stream]:
        """Call a method behind whose reply the connection speaks another protocol.

        Returns:
            The fields of the reply, and the connection, whose first bytes may have come already.
            It is the caller's to close; this client is closed.

        Raises:
            As `call`.  The connection is closed then: what the daemon makes of further bytes is
            not known.
        """
        deadline = Deadline(timeout_s)
        self._send(Call(method, parameters, upgrade=True), deadline)
        reply = self._reply(deadline)
        if reply.error is not None:
            self.close()
            raise failed(reply)
        return reply.parameters, UpgradedStream(self._stream, self._machine.trailing_data())

    def proxy(self, kind: type[AnyInterface], *, timeout_s: float = CALL_TIMEOUT_S) -> AnyInterface:
        """Return an object with the methods of an interface, each of which calls the daemon.

        Arguments and results have the interface's types; streams are iterators; declared errors
        are raised as they are declared.
        """
        from daemonry.service.proxy import blocking_proxy

        return blocking_proxy(self, kind, timeout_s)

    def accept_fds(self) -> None:
        """Take descriptors from now on; what comes to a client that does not, the kernel closes."""
        if self._fd_stream is None and not self.closed:
            from daemonry.transport.ancillary import FdStream

            self._stream = self._fd_stream = FdStream(self._stream)

    def take_fds(self) -> list[Fd]:
        """Return the descriptors of the last reply; they are the caller's from now on."""
        received, self._received = self._received, []
        return received

    def _send(self, call: Call, deadline: Deadline, fds: Sequence[Fd] = ()) -> None:
        try:
            if self._stream.fileno() < 0:
                raise errors.ConnectionLost(self.peer, "no")
            if self._machine.state in _AWAITING:
                raise errors.LocalProtocolError("an earlier call has replies to come: use another connection")
            data = self._machine.send_call(call)
            self._write(data, deadline, fds)
        finally:
            for fd in fds:
                fd.close()

    def _write(self, data: bytes, deadline: Deadline, fds: Sequence[Fd]) -> None:
        try:
            if fds and self._fd_stream is not None:
                self._fd_stream.write_with_fds(data, fds, deadline.remaining_s())
            else:
                self._stream.write(data, deadline.remaining_s())
        except errors.DeadlineExceeded as error:
            self.close()
            raise errors.DeadlineExceeded("write", deadline.timeout_s or 0.0, "no", self.peer) from error
        except errors.ConnectionLost as error:
            self.close()
            raise errors.ConnectionLost(self.peer, "no") from error

    def _reply(self, deadline: Deadline) -> AnyReply:
        machine = self._machine
        if self._fd_stream is not None:
            return self._reply_with_fds(self._fd_stream, deadline)
        try:
            while True:
                event = machine.next_event()
                if event is None:
                    self._read(deadline)
                elif isinstance(event, Ended):
                    raise errors.ConnectionLost(self.peer, "maybe")
                else:
                    return event
        except errors.IpcError as error:
            self._failed(error, deadline)

    def _reply_with_fds(self, stream: FdStream, deadline: Deadline) -> AnyReply:
        machine = self._machine
        self._drop_received()
        try:
            while True:
                start = stream.read_bytes - machine.buffered_bytes
                event = machine.next_event()
                if event is None:
                    self._read(deadline)
                elif isinstance(event, Ended):
                    raise errors.ConnectionLost(self.peer, "maybe")
                else:
                    self._received = stream.arrivals.take(start)
                    stream.arrivals.drop(stream.read_bytes - machine.buffered_bytes)
                    return event
        except errors.IpcError as error:
            self._failed(error, deadline)

    def _read(self, deadline: Deadline) -> None:
        data = self._stream.read(timeout_s=deadline.remaining_s())
        if data:
            self._machine.receive_data(data)
        else:
            self._machine.receive_eof()

    def _failed(self, error: errors.IpcError, deadline: Deadline) -> NoReturn:
        self.close()
        if isinstance(error, errors.DeadlineExceeded):
            raise errors.DeadlineExceeded("reply", deadline.timeout_s or 0.0, "maybe", self.peer) from error
        raise error

    def _drop_received(self) -> None:
        while self._received:
            self._received.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class UpgradedStream(Stream):
    """A connection that speaks another protocol now; what came early is read first."""

    __slots__ = ("_early",)

    def __init__(self, stream: Stream, early: bytes) -> None:
        super().__init__(stream.take_socket(), stream.peer)
        self._early = early

    def read(self, max_bytes: int = READ_BYTES, timeout_s: float | None = None) -> bytes:
        """As `Stream.read`."""
        if self._early:
            data, self._early = self._early[:max_bytes], self._early[max_bytes:]
            return data
        return super().read(max_bytes, timeout_s)

    def take_early(self) -> bytes:
        """Return what came early and was not read; for who takes the socket."""
        early, self._early = self._early, b""
        return early


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


def failed(reply: AnyReply) -> errors.CallFailed:
    """Return the exception for a reply that is an error."""
    assert reply.error is not None
    return _STANDARD.get(reply.error, errors.CallFailed)(reply.error, reply.parameters)
