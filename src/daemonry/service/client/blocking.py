"""The blocking client of typed calls.

Owns how the steps of a call are performed where waiting blocks, and the short way of a typed call.  What
the steps are, and what a failure of one means for the call, is `engine`'s.  Its connections are `link`'s,
and which call has which is `turns`'.  Works with the standard library alone; a process that has loaded
msgspec for something else, such as a typed proxy, uses it here too.

A timeout is for the whole call; a stream has one for its first reply, and none by default for those
behind it.  A client that knows where its daemon is reconnects and calls again where `retry` says
so.
"""

from __future__ import annotations

from _socket import MSG_DONTWAIT
from _thread import get_ident
from _weakref import ref

from daemonry import faults
from daemonry.clock import Deadline, monotonic, sleep
from daemonry.limits import CONNECT_TIMEOUT_S, MAX_CLIENT_CONNECTIONS, READ_BYTES
from daemonry.process.forks import not_for_children
from daemonry.service.client.engine import (
    CALL_TIMEOUT_S,
    DELIVER,
    PEEK,
    READ,
    SLEEP,
    WRITE,
    Engine,
    NamedMethod,
    connect_time_s,
    first_deadline,
    time_left_s,
)
from daemonry.service.client.link import Link, codec, how_far
from daemonry.service.client.remote import BlockingRemote
from daemonry.service.client.turns import Turns, Waiting
from daemonry.transport.connect import connect
from daemonry.transport.endpoint import Endpoint
from daemonry.transport.stream import Stream
from daemonry.wire.varlink import Call

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from os import PathLike
    from typing import Any, Self, TypeVar

    from daemonry.service.client.engine import Steps
    from daemonry.service.client.pipeline import Pipeline
    from daemonry.service.client.proxy import Converter, Given
    from daemonry.service.interface.declare import Interface
    from daemonry.transport.ancillary import Fd

    AnyInterface = TypeVar("AnyInterface", bound=Interface)
    # The frame, how much of it was sent (-1: that failed), the received bytes, the errno of the sending or
    # else of the waiting (0: none), the timeout, how long ago it began, and an exception that ends it.
    Begun = tuple[bytes, int, bytes | None, int, float, float, BaseException | None]


class Driver(Engine):
    """Performs the steps of calls, and has the connections that it performs them on.

    Args: as `Client`.
    """

    __slots__ = ("__weakref__", "_first", "_free", "_made_turns", "_waiting")

    def __init__(
        self,
        stream: Stream | None,
        endpoint: Endpoint | None = None,
        reconnect: Callable[[Endpoint, float], Stream] = connect,
    ) -> None:
        if stream is None and endpoint is None:
            raise TypeError("a client needs a connection, or an endpoint to make one")
        if isinstance(stream, str):
            raise TypeError(f"{stream!r} is no connection: Client.connect({stream!r}) makes one")
        self._closed = False
        self._endpoint = endpoint
        self._reconnect_by = reconnect
        self._whom: str | Endpoint = endpoint or "" if stream is None else stream.whom
        self._free: list[Link] = []
        self._waiting: list[Waiting] = []
        # Most clients have one connection and make one call: what shares out connections is made for others.
        self._made_turns: list[Turns] = []
        self._first: ref[Link] | None = None
        if stream is not None:
            link = Link(stream.whom, stream)
            self._first = ref(link)
            self._free.append(link)
        not_for_children(self)

    @property
    def _turns(self) -> Turns:
        made = self._made_turns
        if not made:
            most = 0 if self._endpoint is None else MAX_CLIENT_CONNECTIONS
            first = None if self._first is None else self._first()
            made.append(Turns(self._whom, most, self._free, self._waiting, first))
        return made[0]  # of two threads that make one at once, both get the first

    def drop_in_child(self) -> None:
        """Forget all connections: they are the parent's."""
        self._turns.drop_in_child()

    @property
    def closed(self) -> bool:
        """Whether no connection is open; the next call makes a new one, if it may."""
        return all(link.stream.fileno() < 0 for link in self._turns.live())

    def close(self) -> None:
        """End all connections, for good.  Twice is not an error.

        A call that another thread has under way fails with `ClientClosed`.
        """
        self._closed = True
        try:
            link = self._free.pop()
        except IndexError:
            link = None
        if link is not None:
            link.disconnect()
        if link is None or self._made_turns:
            self._turns.close()

    def __repr__(self) -> str:
        lines = sum(link.is_open for link in self._turns.live())
        return self._state(lines, max(0, lines - len(self._free)), len(self._waiting))

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

    def _lent(self, timeout_s: float) -> Link:
        """Return a connected link for a pipeline, which `_put_back` gets behind it."""
        deadline = Deadline(timeout_s)
        link = self._take(deadline)
        link.streaming_in = get_ident()  # beside the calls that are made meanwhile
        try:
            if link.is_open and link.peek() is not None:
                link.disconnect()  # it ended while nobody called
            self._open(link, deadline)
        except BaseException:
            link.streaming_in = 0
            self._put_back(link)
            raise
        return link

    def _renew(self, link: Link, timeout_s: float) -> None:
        """Connect the link of a pipeline again."""
        link.disconnect()
        self._open(link, Deadline(timeout_s))

    def _open(self, link: Link, deadline: Deadline) -> None:
        self._perform(link, self._opened(link, deadline))
        link.check_answerer()
        link.stream.block()

    def _settle(self) -> None:
        if self._closed:
            self._turns.close_free()
        self._turns.settle()

    # --- the driver ---------------------------------------------------------------------------

    def _perform(self, link: Link, steps: Steps[Any]) -> Any:
        """Perform steps up to the next reply of a stream, or to what came of the call; return that."""
        result: Any = None
        error: faults.DaemonryError | None = None
        try:
            while True:
                step = steps.send(result) if error is None else steps.throw(error)
                result = error = None
                kind = step.kind
                try:
                    if kind is READ:
                        result = link.stream.read(READ_BYTES, time_left_s(step.deadline))
                    elif kind is WRITE:
                        link.write(step.value, step.value_fds, step.deadline)
                    elif kind is DELIVER:
                        return step.value
                    elif kind is PEEK:
                        result = link.peek()
                    elif kind is SLEEP:
                        sleep(step.value)
                    else:
                        link.connect(self._reconnect_by(step.value, connect_time_s(step.deadline)))
                        self._turns.add(link)  # which forgets all connections in a forked process
                except faults.DaemonryError as raised:
                    error = raised
        except StopIteration as ended:
            return ended.value
        finally:
            error = None  # whose trace knows this frame

    def go_on(self, link: Link, converter: Converter, given: Given, came: Begun) -> Any:
        """Go on with a typed call that the native part began, as `call_typed`; raises as `call`.

        Args:
            link: its connection, which is taken.
            converter: the method.
            given: the arguments by place.
            came: how far it came.
        """
        frame, sent, received, number, timeout_s, elapsed_s, raised = came
        del came  # which has the exception, whose trace knows this frame
        began_s = monotonic() - elapsed_s
        try:
            if raised is not None:
                raise raised
            sent, failure = how_far((sent, number))
            begun = link.begun(frame, sent, received, failure, timeout_s)
            failure = None  # whose trace knows this frame
            steps = self._typed(link, converter, given, begun, _since(began_s, timeout_s))
            return self._perform(link, steps)
        finally:
            raised = None  # the same
            self._put_back(link)


class Client(Driver, BlockingRemote):
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
        endpoint: where to connect, and to reconnect; None for never: then there is one connection,
            and calls wait for each other.
        reconnect: how to; `daemonry.connect` by default.
    """

    __slots__ = ()

    @classmethod
    def connect(cls, target: str | PathLike[str] | Endpoint, timeout_s: float = CONNECT_TIMEOUT_S) -> Self:
        """Connect to a daemon by its endpoint.

        Raises:
            As `daemonry.connect`: nothing was sent.
        """
        endpoint = target if isinstance(target, Endpoint) else _parsed(target)
        return cls(connect(endpoint, timeout_s), endpoint)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._packed(None)

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
            parameters: its parameters, by name.
            timeout_s: for the whole call, with all its attempts, in seconds.
            idempotent: a second execution changes nothing, so the call is made again even where it may
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
        named = NamedMethod(method, idempotent, codec())
        fields: dict[str, Any] = self.call_typed(named, parameters, named.frame(parameters), timeout_s)
        return fields

    def call_typed(  # noqa: C901, PLR0912  # the short way is written out: each call pays for it
        self,
        converter: Converter | NamedMethod,
        given: Given | None,
        frame: bytes | None,
        timeout_s: float,
    ) -> Any:
        """Call a method as a proxy does and return its result; raises as `call`.

        The short way is for a reply that comes whole, in one piece, and is proved to be right.  All
        else goes through the connection's state machine, which is given the bytes of both directions then.

        Args:
            converter: the method.
            given: the arguments, as `Converter.given` returns them.
            frame: the call with them as it is sent, as `Converter.frame` returns it.
            timeout_s: as `call`.
        """
        began_s = monotonic()
        begun = failure = received = None
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
                exchange = converter.exchange if timed else None
                try:
                    if exchange is not None:
                        came = exchange(stream.sock.fileno(), frame, READ_BYTES)
                        if isinstance(came, bytes):
                            received, sent = came, len(frame)
                        else:
                            sent, failure = how_far(came)
                    else:
                        sent = stream.sock.send(frame, MSG_DONTWAIT)
                        if sent == len(frame):
                            if not timed:
                                stream.wait_on_sock(timeout_s)
                            received = stream.sock.recv(READ_BYTES)
                except OSError as error:
                    failure = error
                if received is not None:
                    result = converter.read(received)
                    if result is not NotImplemented:
                        talk.at_rest = True
                        return result
                begun = link.begun(frame, sent, received, failure, timeout_s)
                failure = None  # whose trace knows this frame
            steps = self._typed(link, converter, given, begun, _since(began_s, timeout_s))
            return self._perform(link, steps)
        finally:  # `_put_back`, written out
            if not link.talk.at_rest:
                link.finish()
            self._free.append(link)
            if self._waiting or self._closed:
                self._settle()

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
            fds: the descriptors to pass; closed once sent, or once that failed.
            timeout_s: as `call`.

        Raises:
            As `call`.
        """
        with _Closing(fds):
            deadline = Deadline(timeout_s)
            link = self._take(deadline)
            try:
                link.passes_fds = True
                reply = self._perform(link, self._answered(link, Call(method, parameters), deadline, fds))
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
            parameters: its parameters, by name.
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

    def stream_typed(
        self, converter: Converter, parameters: Mapping[str, Any], first_s: float
    ) -> Generator[Any, None, None]:
        """Call a method that gives several replies as a proxy does, and yield the result of each."""
        call = Call(converter.full_name, parameters, more=True)
        return self._streamed(call, (), first_s, None, passes_fds=False, pairs=False, converter=converter)

    def _streamed(
        self,
        call: Call,
        fds: Sequence[Fd],
        first_s: float | None,
        idle_s: float | None,
        *,
        passes_fds: bool,
        pairs: bool,
        converter: Converter | None = None,
    ) -> Generator[Any, None, None]:
        with _Closing(fds):
            deadline = first_deadline(first_s, idle_s)
            link = self._take(deadline)
            link.streaming_in = get_ident()
            try:
                link.passes_fds = link.passes_fds or passes_fds
                steps = self._replies(link, call, fds, deadline, idle_s, converter)
                while (came := self._perform(link, steps)) is not None:
                    if converter is not None:
                        yield from came
                    else:
                        yield (came, link.take_fds()) if pairs else came
            finally:
                link.streaming_in = 0
                self._put_back(link)

    def oneway(self, method: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Send a call that is not answered; whether it ran is not known."""
        deadline = Deadline(CALL_TIMEOUT_S)
        link = self._take(deadline)
        try:
            self._perform(link, self._sent(link, Call(method, parameters, oneway=True), deadline))
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
            steps = self._upgraded(link, Call(method, parameters, upgrade=True), deadline)
            fields, stream = self._perform(link, steps)
            return fields, stream
        finally:  # closes the connection, unless it was given away
            self._put_back(link)

    def pipeline(self, *, timeout_s: float = CALL_TIMEOUT_S) -> Pipeline:
        """Return a pipeline, for a `with` block: its calls are sent ahead of their replies.

        Args:
            timeout_s: how long to wait for each next reply, in seconds; for the connection too.
        """
        from daemonry.service.client.pipeline import Pipeline

        def lend() -> Link:
            return self._lent(timeout_s)

        def renew(link: Link) -> None:
            self._renew(link, timeout_s)

        return Pipeline(lend, renew, self._put_back, self._lost, codec(), timeout_s)

    def proxy(self, kind: type[AnyInterface], *, timeout_s: float = CALL_TIMEOUT_S) -> AnyInterface:
        """Return an object with the methods of an interface, each of which calls the daemon.

        Arguments and results have the interface's types; streams are iterators; declared errors
        are raised as they are declared.  Methods that the interface declares `idempotent` are made
        again as `call` says.  The timeout is for each call, and for the first value of a stream.
        """
        made: AnyInterface = _blocking_proxy()(self, kind, timeout_s)
        return made

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


# Parsed endpoints, and imported modules of proxies: a program that connects for each call needs both again.
_endpoints: dict[str | PathLike[str], Endpoint] = {}
_MOST_ENDPOINTS = 64
_proxy_makers: list[Callable[..., Any]] = []


def _parsed(target: str | PathLike[str]) -> Endpoint:
    endpoint = _endpoints.get(target)
    if endpoint is None:
        if len(_endpoints) >= _MOST_ENDPOINTS:
            _endpoints.clear()
        endpoint = _endpoints[target] = Endpoint.to_connect(target)
    return endpoint


def _blocking_proxy() -> Callable[..., Any]:
    if not _proxy_makers:
        from functools import partial

        from daemonry.service.client.native_way import short_calls
        from daemonry.service.client.proxy import blocking_proxy

        _proxy_makers.append(partial(blocking_proxy, short_of=short_calls(Client)))
    return _proxy_makers[0]
