"""What becomes of a call, for both clients: each decision, as steps that a driver performs.

Owns the order of a call's steps, what a failure of one says about the question that matters, whether the
call ran, and when it is made again.  Does no I/O and reads no socket: a method here is a generator that
yields a step, is sent the step's result, or has its error raised where it stands, and returns what came
of the call.  The blocking client and the asyncio client each perform steps in their own way, in one
function: `Client._perform` and `AsyncClient._perform`.

    step        its result                          its errors
    Connect     None: the line is connected         those of `daemonry.connect`
    Write       None: all was taken                 ConnectionLost, DeadlineExceeded
    Read        bytes; b"" at the end               ConnectionLost, DeadlineExceeded
    Peek        bytes that had come, or None        none
    Sleep       None                                none
    Deliver     None: the caller of a stream has it none

A call that is left between two steps, by Ctrl-C or a cancellation, leaves its line not at rest.  The driver
then ends the connection (`Line.finish`): the reply to come would be taken for the next call's.

`ran` is "no" as long as the call's last byte was not sent, for a frame without its end never runs, and
"maybe" from then on.
"""

from __future__ import annotations

from daemonry import faults
from daemonry.clock import Deadline, monotonic
from daemonry.limits import CONNECT_TIMEOUT_S
from daemonry.wire import varlink
from daemonry.wire.framer import LONG_BYTES, keep_pages
from daemonry.wire.varlink import MAX_FRAME_BYTES, Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from typing import Any, TypeVar

    from daemonry.native_calls import Exchange
    from daemonry.service.client.conversation import Conversation
    from daemonry.service.client.proxy import Converter, Given
    from daemonry.service.client.retry import Attempts
    from daemonry.transport.ancillary import Fd
    from daemonry.transport.endpoint import Endpoint
    from daemonry.wire.connection import Codec
    from daemonry.wire.varlink import AnyReply

    Result = TypeVar("Result")
    Steps = Generator["Step", Any, Result]

CALL_TIMEOUT_S = 30.0
_ENDLESS = float("inf")


class Step:
    """Something that a driver does for a call.

    Attributes:
        deadline: until when it may wait.
        kind: one of the names below, which say what the value is.
        value: as the kind says.
        value_fds: the descriptors to write.
    """

    __slots__ = ("deadline", "kind", "value", "value_fds")

    def __init__(self, kind: str, deadline: Deadline, value: Any = None, fds: Sequence[Fd] = ()) -> None:
        self.kind: str = kind
        self.deadline: Deadline = deadline
        self.value: Any = value
        self.value_fds: Sequence[Fd] = fds


CONNECT = "connect"  # to the endpoint `value`, until the deadline
WRITE = "write"  # the bytes `value`, and the descriptors
READ = "read"
PEEK = "peek"
SLEEP = "sleep"  # for `value` seconds
DELIVER = "deliver"  # `value`, the fields of a stream's reply

_NEVER = Deadline(None)
_PEEK = Step(PEEK, _NEVER)


class Line:
    """One connection as the engine knows it; its socket is the driver's.

    Attributes:
        inherited: whether it is the parent process's, and closed here.
        passes_fds: whether descriptors are taken, on each connection from now on.
        received: the descriptors of the last reply.
        talk: the state of the exchange.
    """

    __slots__ = ("inherited", "passes_fds", "received", "talk")

    talk: Conversation
    received: list[Fd]
    inherited: bool
    passes_fds: bool

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        raise NotImplementedError

    def disconnect(self) -> None:
        """End the connection.  Twice is not an error."""
        raise NotImplementedError

    def check_answerer(self) -> None:
        """Refuse a call whose reply this thread would wait for and give; nothing where it does not wait."""

    def prepare_for(self, call: Call) -> None:
        """Have an open connection be as a call needs it.

        Raises:
            WaitsForItself: as `check_answerer`.
        """
        if not call.oneway:
            self.check_answerer()
        if self.passes_fds:
            self.accept_fds()

    def accept_fds(self) -> None:
        """Take descriptors from now on; the kernel closes those that come to a line that does not."""
        raise NotImplementedError

    def mark(self) -> int:
        """Return where in all that was read the next reply begins."""
        raise NotImplementedError

    def collect(self, start: int) -> None:
        """Keep the descriptors of the reply that began at `start` as `received`."""
        raise NotImplementedError

    def hand_over(self, early: bytes) -> Any:
        """Give the connection away, with what came early for the protocol that it speaks now."""
        raise NotImplementedError

    def finish(self) -> None:
        """End the connection unless the next call can have it."""
        talk = self.talk
        if not talk.at_rest and not talk.has_strays and self.is_open:
            self.disconnect()

    def take_fds(self) -> list[Fd]:
        """Return the descriptors of the last reply; they are the caller's from now on."""
        received, self.received = self.received, []
        return received

    def drop_received(self) -> None:
        """Close the descriptors that nobody took."""
        while self.received:
            self.received.pop().close()


class StartedCall:
    """A call that was begun without steps, as far as it came.

    Attributes:
        rest: the bytes that were not sent.
        received: the first bytes of its reply; None for none yet.
        failure: the error of the sending if there is a rest, else of the waiting; None for none.
    """

    __slots__ = ("failure", "received", "rest")

    def __init__(
        self, rest: bytes, received: bytes | None = None, failure: faults.IpcError | None = None
    ) -> None:
        self.rest: bytes = rest
        self.received: bytes | None = received
        self.failure: faults.IpcError | None = failure


class NamedMethod:
    """A method that is called by its name, with plain values: what `Converter` is for a proxy's.

    Args:
        full_name: its name on the wire.
        idempotent: as `Client.call`.
        codec: makes frames of messages.
    """

    __slots__ = ("_codec", "full_name", "idempotent")

    # As of `Converter`: calls by name are seldom.
    exchange: Exchange | None = None
    read_run: Callable[[bytes, int], Any] | None = None

    def __init__(self, full_name: str, idempotent: bool, codec: Codec) -> None:
        self.full_name: str = full_name
        self.idempotent: bool = idempotent
        self._codec = codec

    def frame(self, parameters: Mapping[str, Any] | None) -> bytes | None:
        """Return the call as it is sent, with its NUL; None for one that is too long.

        Raises:
            NotSendable: the parameters have no form.
        """
        frame = self._codec.encode_call(Call(self.full_name, parameters))
        return frame + b"\0" if len(frame) <= MAX_FRAME_BYTES else None

    def read(self, received: bytes) -> Any:
        """Return the fields of a reply that is whole and no error; NotImplemented for all else."""
        if received.find(b"\0") != len(received) - 1:
            return NotImplemented
        try:
            reply = self._codec.decode_reply(received[:-1])
        except faults.RemoteProtocolError:
            return NotImplemented
        return NotImplemented if reply.error is not None or reply.continues else reply.parameters

    def plain(self, given: Any) -> Any:
        """Return the parameters."""
        return given

    def result(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields."""
        return fields

    def error(self, raised: faults.CallFailed) -> faults.CallFailed:
        """Return the error."""
        return raised


class Engine:
    """What both clients decide; each is a subclass with a driver.

    Attributes:
        peer: the other end, for people.
    """

    __slots__ = ("_closed", "_endpoint", "_reconnect_by", "_whom")

    _closed: bool
    _endpoint: Endpoint | None
    _reconnect_by: Callable[[Endpoint, float], Any]
    _whom: str | Endpoint

    @property
    def peer(self) -> str:
        """The other end, for people."""
        return str(self._whom)

    def _packed(self, *arguments: Any) -> tuple[Any, ...]:
        """Return what `__reduce__` returns: where the daemon is, and no connection.

        Raises:
            TypeError: the client is closed, or knows no endpoint.
        """
        if self._closed:
            raise TypeError(f"cannot pickle the client of {self.peer}: it is closed")
        if self._endpoint is None:
            raise TypeError(
                f"cannot pickle the client of {self.peer}: it has this one connection and knows no endpoint"
            )
        return type(self), (*arguments, self._endpoint, self._reconnect_by)

    def _state(self, lines: int, busy: int, waiting: int) -> str:
        """Return the report of a client, for its `repr`."""
        state = "closed" if self._closed else f"{lines} connections, {busy} in a call, {waiting} waiting"
        return f"<{type(self).__name__} of {self.peer}: {state}>"

    # --- a call and its attempts --------------------------------------------------------------

    def _typed(
        self,
        line: Line,
        converter: Converter | NamedMethod,
        given: Given | None,
        begun: StartedCall | None,
        deadline: Deadline,
    ) -> Steps[Any]:
        """Make a proxy's call, which may be begun, and return its result.

        A reply that is proved right as it came is not looked at by the connection's state machine; all
        else is, and it is given the sent bytes then.
        """
        if begun is not None and begun.failure is None:
            came_more = yield from self._gather(line, begun, deadline)
            if came_more and begun.received:
                result = converter.read(begun.received)
                if result is not NotImplemented:
                    line.talk.at_rest = True
                    return result
        call = Call(converter.full_name, converter.plain(given or {}))
        reply = yield from self._answered(line, call, deadline, idempotent=converter.idempotent, begun=begun)
        return converter.result(reply.parameters)

    def _gather(self, line: Line, begun: StartedCall, deadline: Deadline) -> Steps[bool]:
        """Send the rest of a call, and read until its reply may be whole; return whether more came."""
        try:
            if begun.rest:
                yield Step(WRITE, deadline, begun.rest)
                begun.rest = b""
            pieces = [] if begun.received is None else [begun.received]
            had, count_bytes = len(pieces), sum(map(len, pieces))
            while not pieces or (pieces[-1] and pieces[-1][-1] and count_bytes <= MAX_FRAME_BYTES):
                pieces.append((yield Step(READ, deadline)))
                count_bytes += len(pieces[-1])
                if len(pieces) > _MOST_PIECES:
                    pieces, had = [b"".join(pieces)], 0
            if count_bytes >= LONG_BYTES:
                keep_pages()
            begun.received = b"".join(pieces)
        except faults.IpcError as error:
            begun.failure = error
            return False
        return len(pieces) > had

    def _answered(
        self,
        line: Line,
        call: Call,
        deadline: Deadline,
        fds: Sequence[Fd] = (),
        *,
        idempotent: bool = False,
        begun: StartedCall | None = None,
    ) -> Steps[AnyReply]:
        """Make a call until it is answered, and return its reply.

        Args:
            line: its connection.
            call: the call.
            deadline: for all its attempts.
            fds: descriptors that have left with a call that may have run cannot leave again.
            idempotent: as `Client.call`.
            begun: a first attempt that was begun already.

        Raises:
            As `Client.call`.
        """
        attempts: Attempts | None = None
        while True:
            try:
                if begun is None:
                    yield from self._send(line, call, deadline, fds)
                else:
                    yield from self._resume(line, call, begun, deadline)
                reply = yield from self._reply(line, deadline)
                break
            except faults.IpcError as error:
                attempts = attempts or self._attempts(idempotent=idempotent and not fds)
                wait_s = attempts.wait_s(self._named(line, error), deadline.remaining_s())
            begun = None
            yield Step(SLEEP, _NEVER, wait_s)
        if reply.error is not None:
            raise failed(reply)
        return reply

    def _sent(self, line: Line, call: Call, deadline: Deadline, fds: Sequence[Fd] = ()) -> Steps[None]:
        """Send a call, on a new connection where the one that is there turns out to be lost."""
        attempts: Attempts | None = None
        while True:
            try:
                return (yield from self._send(line, call, deadline, fds))
            except faults.IpcError as error:
                attempts = attempts or self._attempts(idempotent=False)
                wait_s = attempts.wait_s(self._named(line, error), deadline.remaining_s())
            yield Step(SLEEP, _NEVER, wait_s)

    def _replies(
        self,
        line: Line,
        call: Call,
        fds: Sequence[Fd],
        deadline: Deadline,
        idle_s: float | None,
        converter: Converter | None = None,
    ) -> Steps[None]:
        """Make a call that gives several replies, and deliver the fields of each.

        With a converter it delivers lists of results: those that came together.
        """
        yield from self._sent(line, call, deadline, fds)
        deliver = Step(DELIVER, _NEVER)
        continues = True
        while continues:
            if converter is not None and not line.passes_fds:
                deliver.value = line.talk.read_each(converter.read_item, converter.read_items)
                if deliver.value:
                    yield deliver
            try:
                reply = self._next(line, deadline)
                if reply is None:
                    reply = yield from self._reply(line, deadline)
            except faults.ConnectionLost as error:
                raise self._named(line, error) from error.__cause__
            deadline = Deadline(idle_s)
            continues = reply.continues
            if reply.error is not None:
                raise failed(reply)
            # A stream that ends without knowing its last reply beforehand ends with an empty one.
            if continues or reply.parameters:
                fields = reply.parameters
                deliver.value = fields if converter is None else [converter.result(fields)]
                yield deliver

    def _upgraded(self, line: Line, call: Call, deadline: Deadline) -> Steps[tuple[dict[str, Any], Any]]:
        """Make a call whose connection is another protocol's behind its reply, and hand that over."""
        reply = yield from self._answered(line, call, deadline)
        return reply.parameters, line.hand_over(line.talk.trailing_data())

    def _attempts(self, *, idempotent: bool) -> Attempts:
        from daemonry.service.client.retry import Attempts

        return Attempts(idempotent=idempotent, reconnects=self._endpoint is not None and not self._closed)

    def _named(self, line: Line, error: faults.IpcError) -> faults.IpcError:
        """Return an error of a connection, named after the action of this side where that caused it."""
        if not isinstance(error, faults.ConnectionLost):
            return error
        named = self._lost(line, error.ran)
        if type(named) is faults.ConnectionLost:
            return error
        named.__cause__ = error
        return named

    def _lost(self, line: Line, ran: faults.Ran) -> faults.ConnectionLost:
        """Return the error for a connection that is gone."""
        kind = faults.ConnectionLost
        if self._closed:
            kind = faults.ClientClosed
        elif line.inherited:
            kind = faults.InheritedConnection
        return kind(self.peer, ran)

    # --- one connection -----------------------------------------------------------------------

    def _send(self, line: Line, call: Call, deadline: Deadline, fds: Sequence[Fd]) -> Steps[None]:
        """Send a call, over a new connection where there is none.

        Raises:
            As `Client.call`; the connection is closed then, unless nothing was sent.
        """
        yield from self._opened(line, deadline)
        line.prepare_for(call)
        talk = line.talk
        try:
            data = talk.frame(call)
        except faults.RemoteProtocolError:
            line.disconnect()
            raise
        rests = talk.at_rest  # which it does behind a call that is not answered
        talk.at_rest = False
        try:
            yield Step(WRITE, deadline, data, fds)
        except faults.IpcError as error:
            raise (yield from self._not_written(line, error, deadline)) from error
        talk.at_rest = rests

    def _opened(self, line: Line, deadline: Deadline) -> Steps[None]:
        """Make a new connection where there is none."""
        if line.is_open:
            return
        if self._endpoint is None or self._closed:
            raise self._lost(line, "no")
        yield Step(CONNECT, deadline, self._endpoint)
        if self._closed:  # meanwhile, by another thread or task, which did not see this one
            line.disconnect()
            raise self._lost(line, "no")

    def _resume(self, line: Line, call: Call, begun: StartedCall, deadline: Deadline) -> Steps[None]:
        """Have the state machine go on with a call that was begun without it."""
        failure = begun.failure
        if failure is not None:
            if begun.rest:
                raise (yield from self._not_written(line, failure, deadline)) from failure
            raise self._not_read(line, failure, deadline) from failure
        assert begun.received is not None
        line.talk.frame(call)
        line.talk.receive(begun.received)

    def _reply(self, line: Line, deadline: Deadline) -> Steps[AnyReply]:
        """Return the next reply, with its descriptors in the line's `received`.

        Raises:
            As `Client.call`; the connection is closed then.
        """
        while (reply := self._next(line, deadline)) is None:
            try:
                line.talk.receive((yield Step(READ, deadline)))
            except faults.IpcError as error:
                raise self._not_read(line, error, deadline) from error
        return reply

    def _next(self, line: Line, deadline: Deadline) -> AnyReply | None:
        """As `_reply`, of the bytes that were read; None where more have to be."""
        if line.received:
            line.drop_received()
        start = line.mark()
        try:
            reply = line.talk.next_reply()
        except faults.IpcError as error:
            raise self._not_read(line, error, deadline) from error
        if reply is not None:
            line.collect(start)
        return reply

    def _not_written(
        self, line: Line, error: faults.IpcError, deadline: Deadline
    ) -> Steps[faults.DaemonryError]:
        """End the connection and return what an error while sending means.

        The peer may have said why it takes nothing, and closed.  The call's end was not sent: nothing ran.
        """
        refusal = None
        if isinstance(error, faults.ConnectionLost):
            last_word = yield _PEEK
            if last_word is not None:
                refusal = line.talk.refusal_in(last_word)
        line.disconnect()
        if refusal is not None:
            return refusal
        if isinstance(error, faults.DeadlineExceeded):
            return faults.DeadlineExceeded("write", deadline.timeout_s or 0.0, "no", self.peer)
        return faults.ConnectionLost(self.peer, "no") if isinstance(error, faults.ConnectionLost) else error

    def _not_read(self, line: Line, error: faults.IpcError, deadline: Deadline) -> faults.IpcError:
        """End the connection and return what an error while waiting for the reply means."""
        line.disconnect()
        if isinstance(error, faults.DeadlineExceeded):
            return faults.DeadlineExceeded("reply", deadline.timeout_s or 0.0, "maybe", self.peer)
        return error


# Sending a call takes microseconds, but for one that is longer than the socket holds.  What it took
# is taken off the time for the reply from here on; below it, the socket may keep its timeout.
_AT_ONCE_S = 0.005
# A reply that comes in more pieces than this is joined on the way: each piece may be a single byte.
_MOST_PIECES = 1024


def connect_time_s(deadline: Deadline) -> float:
    """Return how long a new connection may take."""
    left_s = deadline.remaining_s()
    return CONNECT_TIMEOUT_S if left_s is None else left_s


def time_left_s(deadline: Deadline) -> float | None:
    """Return the rest of the time; all of it, as long as next to nothing was used.

    A socket that gets the same timeout again has it already.
    """
    timeout_s, at_s = deadline.timeout_s, deadline.at_s
    if timeout_s is None or at_s is None:
        return None
    left_s = at_s - monotonic()
    return timeout_s if timeout_s - left_s < _AT_ONCE_S else max(0.0, left_s)


def first_deadline(first_s: float | None, idle_s: float | None) -> Deadline:
    """Return until when a stream's first reply is waited for: there is always an end, but for `inf`."""
    if first_s is None:
        first_s = CALL_TIMEOUT_S if idle_s is None else idle_s
    return Deadline(None if first_s == _ENDLESS else first_s)


def failed(reply: AnyReply) -> faults.CallFailed:
    """Return the exception for a reply that is an error."""
    assert reply.error is not None
    standard = {
        varlink.INTERFACE_NOT_FOUND: faults.InterfaceNotFound,
        varlink.METHOD_NOT_FOUND: faults.MethodNotFound,
        varlink.METHOD_NOT_IMPLEMENTED: faults.MethodNotImplemented,
        varlink.INVALID_PARAMETER: faults.InvalidParameter,
        varlink.PERMISSION_DENIED: faults.PermissionDenied,
        varlink.EXPECTED_MORE: faults.ExpectedMore,
        "org.daemonry.Control.Paused": faults.Paused,
        "org.daemonry.Control.Draining": faults.Draining,
        "org.daemonry.Control.Overloaded": faults.Overloaded,
        "org.daemonry.Control.Failed": faults.Failed,
        "org.daemonry.Control.BadReply": faults.BadReply,
    }
    return standard.get(reply.error, faults.CallFailed)(reply.error, reply.parameters)
