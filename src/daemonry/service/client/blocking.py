"""The blocking client of typed calls.

Owns calls and their attempts: calls in turn, streams as iterators, and for each failure what it means
for the question that matters, whether the call ran.  Its connections are `link`'s, and which call has
which is `turns`'.  Works with the standard library alone; a process that has loaded msgspec for
something else, such as a typed proxy, uses it here too.

A timeout is for the whole call; a stream has one for its first reply, and none by default for those
behind it.  A client that knows where its daemon is connects anew and calls again where `retry` says
so.
"""

from __future__ import annotations

from _socket import MSG_DONTWAIT
from _thread import get_ident

from daemonry import faults
from daemonry.clock import Deadline, monotonic
from daemonry.limits import CONNECT_TIMEOUT_S, MAX_CLIENT_CONNECTIONS, READ_BYTES
from daemonry.service.client.link import Link
from daemonry.service.client.replies import CALL_TIMEOUT_S, failed, first_deadline
from daemonry.service.client.turns import Turns
from daemonry.transport.connect import connect
from daemonry.transport.endpoint import Endpoint
from daemonry.transport.stream import Stream
from daemonry.wire.varlink import AnyReply, Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from typing import Any, Self, TypeVar

    from daemonry.service.client.proxy import Converter
    from daemonry.service.client.retry import Attempts
    from daemonry.service.interface.declare import Interface
    from daemonry.transport.ancillary import Fd

    AnyInterface = TypeVar("AnyInterface", bound=Interface)


class Client:
    """Calls to a daemon, from any thread.

    Each call has a connection of its own while it is under way: threads that call at the same time
    do not wait for each other, and a stream that goes on holds up nobody.  After a fork the child makes
    its own connections.  A client that was made by `connect` or `ensure` can be pickled: what travels
    is where the daemon is.

    A client that was made by `connect` knows where its daemon is.  When its connection is lost, or
    ended with a call that did, the next call makes a new one; and a call that certainly did not run,
    or that may run twice (`idempotent`), is made again, within its timeout.

    Args:
        stream: a connected stream, which the client closes; None to connect with the first call.
        endpoint: where to connect, and connect anew; None for never: then there is one connection,
            and calls wait for each other.
        reconnect: how to; `daemonry.connect` by default.
    """

    __slots__ = ("_closed", "_endpoint", "_free", "_reconnect_by", "_turns", "_waiting", "_whom")

    def __init__(
        self,
        stream: Stream | None,
        endpoint: Endpoint | None = None,
        reconnect: Callable[[Endpoint, float], Stream] = connect,
    ) -> None:
        if stream is None and endpoint is None:
            raise TypeError("a client needs a connection, or an endpoint to make one")
        self._closed = False
        self._endpoint = endpoint
        self._reconnect_by = reconnect
        self._whom: str | Endpoint = endpoint or "" if stream is None else stream.whom
        self._turns = turns = Turns(self._whom, 0 if endpoint is None else MAX_CLIENT_CONNECTIONS)
        self._free = turns.free
        self._waiting = turns.waiting
        if stream is not None:
            turns.begin(stream)

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
        return str(self._whom)

    @property
    def closed(self) -> bool:
        """Whether no connection is open; the next call makes a new one, if it may."""
        return all(link.stream.fileno() < 0 for link in self._turns.live())

    def close(self) -> None:
        """End all connections, for good.  Twice is not an error.

        A call that another thread has under way fails with `ClientClosed`.
        """
        self._closed = True
        self._turns.close()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._closed:
            raise TypeError(f"cannot pickle the client of {self.peer}: it is closed")
        if self._endpoint is None:
            raise TypeError(
                f"cannot pickle the client of {self.peer}: it has this one connection and knows no endpoint"
            )
        return type(self), (None, self._endpoint, self._reconnect_by)

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
            ClientClosed: the client was closed, before or meanwhile.
            ConnectError: it had gone away before, and nobody listens now; nothing was sent.
            LocalProtocolError: the parameters cannot be sent, or this thread has a stream under way
                on the only connection; nothing was sent.
            RemoteProtocolError: what came back is not Varlink.
        """
        deadline = Deadline(timeout_s)
        try:
            link = self._free.pop()
        except IndexError:
            link = self._take(deadline)
        try:
            reply = self._answered(link, Call(method, parameters), deadline, idempotent=idempotent)
        finally:  # `_put_back`, written out
            if not link.talk.at_rest:
                link.finish()
            self._free.append(link)
            if self._waiting or self._closed:
                self._settle()
        fields: dict[str, Any] = reply.parameters
        return fields

    def call_typed(  # noqa: C901  # the short way is written out: it is what each call costs
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
        try:
            link = self._free.pop()
        except IndexError:
            link = self._take(_since(began_s, timeout_s))
        talk = link.talk
        try:
            stream = link.stream
            timed = stream.counted_s == timeout_s  # which it is neither for no time nor with descriptors
            if frame is not None and talk.at_rest and (timed or link.is_for_short(timeout_s)):
                talk.at_rest = False  # until the reply is here, whatever happens between
                sent = -1
                try:
                    sent = stream.sock.send(frame, MSG_DONTWAIT)
                    if sent == len(frame):
                        if not timed:
                            stream.wait_on_sock(timeout_s)
                        received = stream.sock.recv(READ_BYTES)
                except OSError as error:
                    failure = link.failed_at_once(sent, error, timeout_s)
                if received is not None:
                    result = converter.read(received)
                    if result is not NotImplemented:
                        talk.at_rest = True
                        return result
                elif failure is None:
                    received, failure = link.send_rest(frame[max(sent, 0) :], _since(began_s, timeout_s))
            reply = self._answered(
                link,
                Call(converter.full_name, converter.plain(given)),
                _since(began_s, timeout_s),
                idempotent=converter.idempotent,
                failure=failure,
                received=received,
            )
        finally:  # `_put_back`, written out
            if not link.talk.at_rest:
                link.finish()
            self._free.append(link)
            if self._waiting or self._closed:
                self._settle()
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
        with _Closing(fds):
            deadline = Deadline(timeout_s)
            link = self._take(deadline)
            try:
                link.passes_fds = True
                reply = self._answered(link, Call(method, parameters), deadline, fds)
                return reply.parameters, link.take_fds()
            finally:
                self._put_back(link)

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
            idle_s: how long to wait for each reply, in seconds; None for as long as it takes, but for the
                first one: a stream may have nothing to tell for days, but whoever serves it begins.
            first_s: how long the connection and the first reply may take; None for `idle_s`, and where
                that is None too for the 30 s of a call.  `math.inf` for as long as it takes.

        Raises:
            As `call`.  Replies that were yielded are done; the call is not made again behind them.
        """
        call = Call(method, parameters, more=True)
        return self._streamed(call, fds, first_s, idle_s, passes_fds=bool(fds), pairs=False)

    def stream_with_fds(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        fds: Sequence[Fd] = (),
        *,
        idle_s: float | None = None,
        first_s: float | None = None,
    ) -> Generator[tuple[dict[str, Any], list[Fd]], None, None]:
        """As `stream`, and yield with the fields of each reply the descriptors that came with it."""
        call = Call(method, parameters, more=True)
        return self._streamed(call, fds, first_s, idle_s, passes_fds=True, pairs=True)

    def _streamed(
        self,
        call: Call,
        fds: Sequence[Fd],
        first_s: float | None,
        idle_s: float | None,
        *,
        passes_fds: bool,
        pairs: bool,
    ) -> Generator[Any, None, None]:
        finished = False
        with _Closing(fds):
            deadline = first_deadline(first_s, idle_s)
            link = self._take(deadline)
            link.streaming_in = get_ident()
            try:
                link.passes_fds = link.passes_fds or passes_fds
                self._sent(link, call, deadline, fds)
                while not finished:
                    reply = self._next_reply(link, deadline)
                    deadline = Deadline(idle_s)
                    finished = not reply.continues
                    if reply.error is not None:
                        raise failed(reply)
                    # A stream that ends without knowing its last reply beforehand ends with an empty one.
                    if reply.continues or reply.parameters:
                        yield (reply.parameters, link.take_fds()) if pairs else reply.parameters
            finally:
                if not finished:
                    link.disconnect()
                link.streaming_in = 0
                self._put_back(link)

    def oneway(self, method: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Send a call that is not answered; whether it ran is not known."""
        deadline = Deadline(CALL_TIMEOUT_S)
        link = self._take(deadline)
        try:
            self._sent(link, Call(method, parameters, oneway=True), deadline)
        finally:
            self._put_back(link)

    def upgrade(
        self, method: str, parameters: Mapping[str, Any] | None = None, *, timeout_s: float = CALL_TIMEOUT_S
    ) -> tuple[dict[str, Any], Stream]:
        """Call a method behind whose reply the connection speaks another protocol.

        Returns:
            The fields of the reply, and the connection, whose first bytes may have come already.
            It is the caller's to close, and the client's no more.

        Raises:
            As `call`.  The connection is closed then: what the daemon makes of further bytes is
            not known.
        """
        deadline = Deadline(timeout_s)
        link = self._take(deadline)
        try:
            reply = self._answered(link, Call(method, parameters, upgrade=True), deadline)
            return reply.parameters, UpgradedStream(link.stream, link.talk.trailing_data())
        finally:  # closes the connection, unless it was given away
            self._put_back(link)

    def proxy(self, kind: type[AnyInterface], *, timeout_s: float = CALL_TIMEOUT_S) -> AnyInterface:
        """Return an object with the methods of an interface, each of which calls the daemon.

        Arguments and results have the interface's types; streams are iterators; declared errors
        are raised as they are declared.  Methods that the interface declares `idempotent` are made
        again as `call` says.  The timeout is for each call, and for the first value of a stream.
        """
        made: AnyInterface = _blocking_proxy()(self, kind, timeout_s)
        return made

    # --- which connection ---------------------------------------------------------------------

    def _take(self, deadline: Deadline) -> Link:
        """Return the connection for a call, which `_put_back` gets behind it."""
        if self._closed:
            raise faults.ClientClosed(self.peer, "no")
        try:
            return self._free.pop()
        except IndexError:
            return self._turns.take(deadline)

    def _put_back(self, link: Link) -> None:
        if not link.talk.at_rest:
            link.finish()
        self._free.append(link)
        if self._waiting or self._closed:
            self._settle()

    def _settle(self) -> None:
        if self._closed:
            self._turns.close_free()
        self._turns.settle()

    # --- a call and its attempts --------------------------------------------------------------

    def _answered(
        self,
        link: Link,
        call: Call,
        deadline: Deadline,
        fds: Sequence[Fd] = (),
        *,
        idempotent: bool = False,
        failure: faults.DaemonryError | None = None,
        received: bytes | None = None,
    ) -> AnyReply:
        """Make a call until it is answered, and return its reply.

        Args:
            link: its connection.
            call: the call.
            deadline: for all its attempts.
            fds: what has left with a call that may have run cannot leave again.
            idempotent: as `call`.
            failure: how a first attempt failed that was made already.
            received: what came as an answer to it.

        Raises:
            As `call`.
        """
        attempts: Attempts | None = None
        while True:
            try:
                if failure is not None:
                    raise failure
                if received is None:
                    self._send(link, call, deadline, fds)
                else:
                    link.talk.frame(call)
                    link.talk.receive(received)
                reply = link.reply(deadline)
                break
            except faults.IpcError as error:
                failure = received = None
                attempts = self._again(link, error, deadline, attempts, idempotent=idempotent and not fds)
        if reply.error is not None:
            raise failed(reply)
        return reply

    def _sent(self, link: Link, call: Call, deadline: Deadline, fds: Sequence[Fd] = ()) -> None:
        """Send a call, on a new connection where the one that is there turns out to be lost."""
        attempts: Attempts | None = None
        while True:
            try:
                return self._send(link, call, deadline, fds)
            except faults.IpcError as error:
                attempts = self._again(link, error, deadline, attempts, idempotent=False)

    def _again(
        self,
        link: Link,
        error: faults.IpcError,
        deadline: Deadline,
        attempts: Attempts | None,
        *,
        idempotent: bool,
    ) -> Attempts:
        """Return when the call is to be made again; else raise what became of it."""
        reconnects = self._endpoint is not None and not self._closed
        if attempts is None:
            from daemonry.service.client.retry import Attempts

            attempts = Attempts(idempotent=idempotent, reconnects=reconnects)
        deadline.sleep(attempts.wait_s(self._named(link, error), deadline.remaining_s()))
        return attempts

    def _named(self, link: Link, error: faults.IpcError) -> faults.IpcError:
        """Return an error of a connection by the name of what this side did to it, if it did."""
        if not isinstance(error, faults.ConnectionLost):
            return error
        named: faults.ConnectionLost
        if self._closed:
            named = faults.ClientClosed(self.peer, error.ran)
        elif link.inherited:
            named = self._turns.lost(link, error.ran)
        else:
            return error
        named.__cause__ = error
        return named

    # --- one connection -----------------------------------------------------------------------

    def _send(self, link: Link, call: Call, deadline: Deadline, fds: Sequence[Fd]) -> None:
        if link.stream.fileno() < 0:
            self._reconnect(link, deadline)
        if link.passes_fds:
            link.accept_fds()
        link.send(call, deadline, fds)

    def _reconnect(self, link: Link, deadline: Deadline) -> None:
        endpoint = self._endpoint
        if endpoint is None or self._closed:
            raise self._turns.lost(link, "no")
        left_s = deadline.remaining_s()
        link.connect(self._reconnect_by(endpoint, CONNECT_TIMEOUT_S if left_s is None else left_s))
        self._turns.add(link)  # which forgets all connections in a forked process
        if self._closed:  # meanwhile, by another thread, which did not see this one
            link.disconnect()
            raise self._turns.lost(link, "no")

    def _next_reply(self, link: Link, deadline: Deadline) -> AnyReply:
        try:
            return link.reply(deadline)
        except faults.ConnectionLost as error:
            raise self._named(link, error) from error.__cause__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Closing:
    """Closes descriptors at the end of a block; `contextlib` would cost the quick commands too much."""

    __slots__ = ("_fds",)

    def __init__(self, fds: Sequence[Fd]) -> None:
        self._fds = fds

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        for fd in self._fds:
            fd.close()


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
