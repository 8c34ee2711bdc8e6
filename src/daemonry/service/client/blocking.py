"""The blocking client of typed calls.

Owns one connection: calls in turn, streams as iterators, and for each failure what it means for
the question that matters, whether the call ran.  Works with the standard library alone; a process
that has loaded msgspec for something else, such as a typed proxy, uses it here too.

A timeout is for the whole call; `idle_s` is for each reply of a stream, which every reply renews.

What a failure says about the call: `ran` is "no" as long as its last byte was not sent, for a frame
without its end is never run, and "maybe" from then on.  A client that knows where its daemon is
connects anew and calls again where `attempts` says so.
"""

from __future__ import annotations

import sys
from _socket import MSG_DONTWAIT

import daemonry
from daemonry.clock import Deadline, monotonic
from daemonry.limits import CONNECT_TIMEOUT_S, READ_BYTES
from daemonry.service.client.conversation import Conversation
from daemonry.transport.connect import connect
from daemonry.transport.endpoint import Endpoint
from daemonry.transport.stream import Stream
from daemonry.wire import varlink
from daemonry.wire.varlink import AnyReply, Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from typing import Any, Self, TypeVar

    from daemonry.service.client.proxy import Converter
    from daemonry.service.client.retry import Attempts
    from daemonry.service.interface.declare import Interface
    from daemonry.transport.ancillary import Fd, FdStream
    from daemonry.wire.connection import Codec

    AnyInterface = TypeVar("AnyInterface", bound=Interface)

CALL_TIMEOUT_S = 30.0
# Sending a call takes microseconds, but for one that is longer than the socket holds.  What it took
# is taken off the time for the reply from here on; below it, the socket may keep its timeout.
_AT_ONCE_S = 0.005


class Client:
    """A connection to a daemon.

    One call at a time: it may pass from thread to thread, and two may not use it at once.

    A client that was made by `connect` knows where its daemon is.  When its connection is lost, or
    ended with a call that did, the next call makes a new one; and a call that certainly did not run,
    or that may run twice (`idempotent`), is made again, within its timeout.

    Args:
        stream: a connected stream; the client closes it.
        endpoint: where to connect anew; None for never.
        reconnect: how to; `daemonry.connect` by default.
    """

    __slots__ = ("_endpoint", "_fd_stream", "_received", "_reconnect_by", "_stream", "_takes_fds", "_talk")

    def __init__(
        self,
        stream: Stream,
        endpoint: Endpoint | None = None,
        reconnect: Callable[[Endpoint, float], Stream] = connect,
    ) -> None:
        self._endpoint = endpoint
        self._reconnect_by = reconnect
        self._fd_stream: FdStream | None = None
        self._received: list[Fd] = []
        self._takes_fds = False
        self._begin(stream)

    def _begin(self, stream: Stream) -> None:
        self._stream = stream
        self._talk = Conversation(_codec, stream.whom)

    @classmethod
    def connect(cls, target: str | Endpoint, timeout_s: float = CONNECT_TIMEOUT_S) -> Self:
        """Connect to a daemon by its endpoint.

        Raises:
            As `daemonry.connect`: nothing was sent.
        """
        endpoint = _parsed(target) if isinstance(target, str) else target
        return cls(connect(endpoint, timeout_s), endpoint)

    @property
    def peer(self) -> str:
        """Who is at the other end, for people."""
        return self._stream.peer

    @property
    def closed(self) -> bool:
        """Whether the connection has ended; the next call makes a new one, if it may."""
        return self._stream.fileno() < 0

    def close(self) -> None:
        """End the connection, for good.  Twice is not an error."""
        self._endpoint = None
        self._disconnect()

    def _disconnect(self) -> None:
        self._talk.at_rest = False
        self._stream.close()
        if self._received:
            self._drop_received()

    def call(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = CALL_TIMEOUT_S,
        idempotent: bool = False,
    ) -> dict[str, Any]:
        """Call a method and return the fields of its reply.

        Args:
            method: its full name: `org.example.jobs.Start`.
            parameters: what it is given.
            timeout_s: for the whole call, with all its attempts, in seconds.
            idempotent: doing it twice is as good as once, so it is made again even where it may
                have run.

        Raises:
            CallFailed: the daemon answered with an error; the standard ones are its kinds.
            DeadlineExceeded: no reply in time; the connection is closed, since a late reply would
                be taken for the next call's.
            ConnectionLost: the daemon went away; `ran` tells whether the call may have run.
            ConnectError: it had gone away before, and nobody listens now; nothing was sent.
            LocalProtocolError: the parameters cannot be sent, or a stream is still under way on
                this connection; nothing was sent.
            RemoteProtocolError: what came back is not Varlink.
        """
        call = Call(method, parameters)
        reply = self._answered(call, Deadline(timeout_s), idempotent=idempotent)
        fields: dict[str, Any] = reply.parameters
        return fields

    def call_typed(
        self, converter: Converter, given: Mapping[str, Any], frame: bytes | None, timeout_s: float
    ) -> Any:
        """Call a method as a proxy does and return its result; raises as `call`.

        The short way is for a reply that comes whole, in one piece, and is proved to be right.  All
        else goes through the connection's state machine, which learns then what was sent and came.

        Args:
            converter: the method.
            given: the arguments, as `Converter.given` returns them.
            frame: the call with them as it is sent, as `Converter.frame` returns it.
            timeout_s: as `call`.
        """
        began_s = monotonic()
        failure = received = None
        stream = self._stream
        timed = stream.counted_s == timeout_s  # which it is neither for no time nor with descriptors
        if frame is not None and self._talk.at_rest and (timed or self._is_for_short(timeout_s)):
            sent = -1
            try:
                sent = stream.sock.send(frame, MSG_DONTWAIT)
                if sent == len(frame):
                    if not timed:
                        stream.wait_on_sock(timeout_s)
                    received = stream.sock.recv(READ_BYTES)
            except OSError as error:
                failure = self._failed_at_once(sent, error, timeout_s)
            except BaseException:  # an interrupt: what comes now would be taken for the next call's reply
                self._disconnect()
                raise
            if received is not None:
                result = converter.read(received)
                if result is not NotImplemented:
                    return result
            elif failure is None:
                received, failure = self._send_rest(frame[max(sent, 0) :], _since(began_s, timeout_s))
        reply = self._answered(
            Call(converter.full_name, converter.plain(given)),
            _since(began_s, timeout_s),
            idempotent=converter.idempotent,
            failure=failure,
            received=received,
        )
        return converter.result(reply.parameters)

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
        reply = self._answered(Call(method, parameters), Deadline(timeout_s), fds)
        return reply.parameters, self.take_fds()

    def stream(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        fds: Sequence[Fd] = (),
        idle_s: float | None = None,
        first_s: float | None = None,
    ) -> Generator[dict[str, Any], None, None]:
        """Call a method that gives several replies and yield the fields of each.

        The call is sent when the first reply is asked for.  Leaving the loop early ends the
        connection: there is no other way to say "enough".

        Args:
            method: its full name.
            parameters: what it is given.
            fds: as `call_with_fds`.
            idle_s: how long to wait for each reply, in seconds; None for as long as it takes.
            first_s: how long to wait for the first one, where that is not as long as for the others.

        Raises:
            As `call`.  Replies that were yielded are done; the call is not made again behind them.
        """
        if fds:
            self.accept_fds()
        deadline = Deadline(idle_s if first_s is None else first_s)
        self._sent(Call(method, parameters, more=True), deadline, fds)
        finished = False
        try:
            while not finished:
                reply = self._reply(deadline)
                deadline = Deadline(idle_s)
                finished = not reply.continues
                if reply.error is not None:
                    raise failed(reply)
                # A stream that ends without knowing its last reply beforehand ends with an empty one.
                if reply.continues or reply.parameters:
                    yield reply.parameters
        finally:
            if not finished:
                self._disconnect()

    def oneway(self, method: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Send a call that is not answered; whether it ran is not known."""
        self._sent(Call(method, parameters, oneway=True), Deadline(CALL_TIMEOUT_S))

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
        try:
            reply = self._answered(Call(method, parameters, upgrade=True), Deadline(timeout_s))
        except daemonry.errors.CallFailed:
            self._disconnect()
            raise
        self._endpoint = None
        return reply.parameters, UpgradedStream(self._stream, self._talk.trailing_data())

    def proxy(self, kind: type[AnyInterface], *, timeout_s: float = CALL_TIMEOUT_S) -> AnyInterface:
        """Return an object with the methods of an interface, each of which calls the daemon.

        Arguments and results have the interface's types; streams are iterators; declared errors
        are raised as they are declared.  Methods that the interface declares `idempotent` are made
        again as `call` says.
        """
        made: AnyInterface = _blocking_proxy()(self, kind, timeout_s)
        return made

    def accept_fds(self) -> None:
        """Take descriptors from now on; what comes to a client that does not, the kernel closes."""
        self._takes_fds = True
        if self._fd_stream is None and not self.closed:
            from daemonry.transport.ancillary import FdStream

            self._stream = self._fd_stream = FdStream(self._stream)

    def take_fds(self) -> list[Fd]:
        """Return the descriptors of the last reply; they are the caller's from now on."""
        received, self._received = self._received, []
        return received

    # --- a call and its attempts --------------------------------------------------------------

    def _answered(
        self,
        call: Call,
        deadline: Deadline,
        fds: Sequence[Fd] = (),
        *,
        idempotent: bool = False,
        failure: daemonry.errors.DaemonryError | None = None,
        received: bytes | None = None,
    ) -> AnyReply:
        """Make a call until it is answered, and return its reply.

        Args:
            call: the call.
            deadline: for all its attempts.
            fds: closed in the end; what has left with a call that may have run cannot leave again.
            idempotent: as `call`.
            failure: how a first attempt failed that was made already.
            received: what came as an answer to it.

        Raises:
            As `call`.
        """
        attempts: Attempts | None = None
        try:
            while True:
                try:
                    if failure is not None:
                        raise failure
                    if received is None:
                        self._send(call, deadline, fds)
                    else:
                        self._talk.frame(call)
                        self._talk.receive(received)
                    reply = self._reply(deadline)
                    break
                except daemonry.errors.IpcError as error:
                    failure = received = None
                    attempts = self._again(error, deadline, attempts, idempotent=idempotent and not fds)
        finally:
            for fd in fds:
                fd.close()
        if reply.error is not None:
            raise failed(reply)
        return reply

    def _is_for_short(self, timeout_s: float) -> bool:
        return self._fd_stream is None and timeout_s > 0.0

    def _failed_at_once(
        self, sent: int, error: OSError, timeout_s: float
    ) -> daemonry.errors.DaemonryError | None:
        """End the connection and return what an error on the short way means; None if there was no room.

        Args:
            sent: how much was sent; -1 where the error is the sending's.
            error: the system's.
            timeout_s: how long the call may take.
        """
        if isinstance(error, (BlockingIOError, TimeoutError)):
            if sent < 0:
                return None
            self._disconnect()
            return daemonry.errors.DeadlineExceeded("reply", timeout_s, "maybe", self.peer)
        lost = daemonry.errors.ConnectionLost(self.peer, "no" if sent < 0 else "maybe")
        lost.__cause__ = error
        if sent < 0:
            return self._not_written(lost, timeout_s)
        self._disconnect()
        return lost

    def _send_rest(
        self, rest: bytes, deadline: Deadline
    ) -> tuple[bytes | None, daemonry.errors.DaemonryError | None]:
        """Send what is left of a call and wait; return what came first, or how it failed."""
        timeout_s = deadline.timeout_s
        try:
            self._stream.write(rest, deadline.remaining_s())
        except daemonry.errors.IpcError as error:
            return None, self._not_written(error, timeout_s)
        except BaseException:
            self._disconnect()
            raise
        try:
            return self._stream.read(READ_BYTES, deadline.remaining_s()), None
        except daemonry.errors.IpcError as error:
            return None, self._not_read(error, timeout_s)
        except BaseException:
            self._disconnect()
            raise

    def _sent(self, call: Call, deadline: Deadline, fds: Sequence[Fd] = ()) -> None:
        """Send a call, on a new connection where the one that is there turns out to be lost."""
        attempts: Attempts | None = None
        try:
            while True:
                try:
                    return self._send(call, deadline, fds)
                except daemonry.errors.IpcError as error:
                    attempts = self._again(error, deadline, attempts, idempotent=False)
        finally:
            for fd in fds:
                fd.close()

    def _again(
        self,
        error: daemonry.errors.IpcError,
        deadline: Deadline,
        attempts: Attempts | None,
        *,
        idempotent: bool,
    ) -> Attempts:
        """Return when the call is to be made again; else raise what became of it."""
        if attempts is None:
            from daemonry.service.client.retry import Attempts

            attempts = Attempts(idempotent=idempotent, reconnects=self._endpoint is not None)
        deadline.sleep(attempts.wait_s(error, deadline.remaining_s()))
        return attempts

    # --- one connection -----------------------------------------------------------------------

    def _reconnect(self, deadline: Deadline) -> None:
        if self._endpoint is None:
            raise daemonry.errors.ConnectionLost(self.peer, "no")
        left_s = deadline.remaining_s()
        self._begin(self._reconnect_by(self._endpoint, CONNECT_TIMEOUT_S if left_s is None else left_s))
        self._fd_stream = None
        if self._takes_fds:
            self.accept_fds()

    def _send(self, call: Call, deadline: Deadline, fds: Sequence[Fd]) -> None:
        if self._stream.fileno() < 0:
            self._reconnect(deadline)
        try:
            data = self._talk.frame(call)
        except daemonry.errors.RemoteProtocolError:
            self._disconnect()
            raise
        try:
            if fds and self._fd_stream is not None:
                self._fd_stream.write_with_fds(data, fds, time_left_s(deadline))
            else:
                self._stream.write(data, time_left_s(deadline))
        except daemonry.errors.IpcError as error:
            raise self._not_written(error, deadline.timeout_s) from error
        except BaseException:
            self._disconnect()
            raise

    def _reply(self, deadline: Deadline) -> AnyReply:
        """Return the next reply, with its descriptors in `_received`.

        Raises:
            As `call`; the connection is closed then.
        """
        talk = self._talk
        fd_stream = self._fd_stream
        if self._received:
            self._drop_received()
        try:
            while True:
                start = 0 if fd_stream is None else fd_stream.read_bytes - talk.buffered_bytes
                reply = talk.next_reply()
                if reply is not None:
                    break
                talk.receive(self._stream.read(READ_BYTES, time_left_s(deadline)))
        except daemonry.errors.IpcError as error:
            raise self._not_read(error, deadline.timeout_s) from error
        except BaseException:
            self._disconnect()
            raise
        if fd_stream is not None:
            self._received = fd_stream.arrivals.take(start)
            fd_stream.arrivals.drop(fd_stream.read_bytes - talk.buffered_bytes)
        return reply

    def _not_written(
        self, error: daemonry.errors.IpcError, timeout_s: float | None
    ) -> daemonry.errors.DaemonryError:
        """End the connection and return what an error while sending means."""
        refusal = None
        try:
            if isinstance(error, daemonry.errors.ConnectionLost):
                refusal = self._talk.refusal_in(self._stream.read(READ_BYTES, 0.0))
        except daemonry.errors.IpcError:
            pass  # nothing is there
        finally:
            self._disconnect()
        if refusal is not None:
            return refusal
        if isinstance(error, daemonry.errors.DeadlineExceeded):
            return daemonry.errors.DeadlineExceeded("write", timeout_s or 0.0, "no", self.peer)
        lost = isinstance(error, daemonry.errors.ConnectionLost)
        return daemonry.errors.ConnectionLost(self.peer, "no") if lost else error

    def _not_read(self, error: daemonry.errors.IpcError, timeout_s: float | None) -> daemonry.errors.IpcError:
        """End the connection and return what an error while waiting for the reply means."""
        self._disconnect()
        if isinstance(error, daemonry.errors.DeadlineExceeded):
            return daemonry.errors.DeadlineExceeded("reply", timeout_s or 0.0, "maybe", self.peer)
        return error

    def _drop_received(self) -> None:
        while self._received:
            self._received.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def time_left_s(deadline: Deadline) -> float | None:
    """Return what is left of the time; all of it, as long as next to nothing was used.

    A socket that is told the same timeout again has it already.
    """
    timeout_s, at_s = deadline.timeout_s, deadline.at_s
    if timeout_s is None or at_s is None:
        return None
    left_s = at_s - monotonic()
    return timeout_s if timeout_s - left_s < _AT_ONCE_S else max(0.0, left_s)


def _since(began_s: float, timeout_s: float) -> Deadline:
    """Return the deadline of what began at a moment of the monotonic clock."""
    deadline = Deadline(timeout_s)
    deadline.at_s = began_s + timeout_s
    return deadline


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


# What was parsed, and what was imported for proxies: who connects for each call does both each time.
_endpoints: dict[str, Endpoint] = {}
_MOST_ENDPOINTS = 64
_proxy_makers: list[Callable[..., Any]] = []


def _parsed(target: str) -> Endpoint:
    endpoint = _endpoints.get(target)
    if endpoint is None:
        if len(_endpoints) >= _MOST_ENDPOINTS:
            _endpoints.clear()
        endpoint = _endpoints[target] = Endpoint.parse(target)
    return endpoint


def _blocking_proxy() -> Callable[..., Any]:
    if not _proxy_makers:
        from daemonry.service.client.proxy import blocking_proxy

        _proxy_makers.append(blocking_proxy)
    return _proxy_makers[0]


def _codec() -> Codec:
    return _fast_codec() if "msgspec" in sys.modules else varlink


def _fast_codec() -> Codec:
    from daemonry.wire import fast_varlink

    return fast_varlink


def failed(reply: AnyReply) -> daemonry.errors.CallFailed:
    """Return the exception for a reply that is an error."""
    assert reply.error is not None
    standard = {
        varlink.INTERFACE_NOT_FOUND: daemonry.errors.InterfaceNotFound,
        varlink.METHOD_NOT_FOUND: daemonry.errors.MethodNotFound,
        varlink.METHOD_NOT_IMPLEMENTED: daemonry.errors.MethodNotImplemented,
        varlink.INVALID_PARAMETER: daemonry.errors.InvalidParameter,
        varlink.PERMISSION_DENIED: daemonry.errors.PermissionDenied,
        varlink.EXPECTED_MORE: daemonry.errors.ExpectedMore,
        "org.daemonry.Control.Paused": daemonry.errors.Paused,
        "org.daemonry.Control.Draining": daemonry.errors.Draining,
        "org.daemonry.Control.Overloaded": daemonry.errors.Overloaded,
        "org.daemonry.Control.Failed": daemonry.errors.Failed,
        "org.daemonry.Control.BadReply": daemonry.errors.BadReply,
    }
    return standard.get(reply.error, daemonry.errors.CallFailed)(reply.error, reply.parameters)
