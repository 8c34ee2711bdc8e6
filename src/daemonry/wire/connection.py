"""One Varlink connection as a state machine, for the side that serves and the side that calls.

Owns whose turn it is: which calls and replies may pass in which state, in what order they belong
together, and when the connection ends or becomes another protocol's.  What the bytes of a frame
mean belongs to the codec, `wire.varlink` or `wire.fast_varlink`; sockets, deadlines and handlers
belong to `service`.  No I/O, no clock, no logging: bytes go in, events and bytes come out.

Both sides go through one table, `TRANSITIONS`, because both see the same call, from two ends:

    receive_data(bytes), receive_eof()      what came from the peer
    next_event() -> ... | None              the next event; ask until it returns None
    next_event(bytes)                       both in one step, for whoever counts microseconds
    send_call(call), send_reply(reply)      the bytes to write, to the last one, in this order

**One call at a time.**  The protocol has no ids: replies come in the order of the calls.  A server
is given the next call when the one in hand has had its last reply, so pipelined calls wait as
bytes and cannot be answered out of order.  A client may send calls ahead; it remembers them.

**One-way calls** are in hand until they are "answered" too, so that a server treats every call
alike: what `send_reply` returns for them is empty.  Their sender remembers nothing of them.

**Half-closed peers** are answered: the end of file counts when all that came before is done.

**Upgrades.**  Behind an upgrade call nothing is read as a frame, ever.  Its reply makes the
connection another protocol's, and `trailing_data` hands over what came early.  An error refuses
the upgrade and closes, for the bytes behind the call may be that protocol's.

**Faults.**  What the peer may not send raises RemoteProtocolError from `next_event`, then and ever
after; a server may still send one error, as its last word.  What this side may not send raises
LocalProtocolError and changes nothing.
"""

from __future__ import annotations

from daemonry import faults
from daemonry.values import Value
from daemonry.wire import varlink
from daemonry.wire.framer import FEW_FRAMES, Framer
from daemonry.wire.varlink import (
    MAX_FRAME_BYTES,
    MORE,
    ONEWAY,
    PLAIN,
    UPGRADE,
    AnyCall,
    AnyReply,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Mapping
    from typing import Any, Final, Protocol

    class Codec(Protocol):
        """What turns messages into frames and back; the modules of `wire` that do are two."""

        def encode_call(self, call: AnyCall) -> bytes:
            """Return the call's frame, without the NUL that ends it."""

        def encode_reply(self, reply: AnyReply) -> bytes:
            """Return the reply's frame, without the NUL that ends it."""

        def decode_call(self, frame: bytes) -> AnyCall:
            """Return the call that a frame, without its NUL, holds."""

        def decode_reply(self, frame: bytes) -> AnyReply:
            """Return the reply that a frame, without its NUL, holds."""

else:
    from _collections import deque  # `collections` takes as long to import as the rest of a command

# States.
IDLE: Final = "idle"  # no call in hand
IN_CALL: Final = "in call"  # one reply is owed
IN_STREAM: Final = "in stream"  # replies follow until the last
IN_ONEWAY: Final = "in oneway"  # nothing is owed, and the call is not done
IN_UPGRADE: Final = "in upgrade"  # one reply is owed, and nothing more is read as a frame
UPGRADED: Final = "upgraded"  # another protocol's
HALF_CLOSED: Final = "half-closed"  # the peer sends no more, and was answered to the end
CLOSED: Final = "closed"  # no call can pass any more
BROKEN: Final = "broken"  # the peer left the protocol

# Events in addition to the modes of a call that begins: PLAIN, MORE, ONEWAY, UPGRADE.
REPLY: Final = "reply"
CONTINUES: Final = "reply that continues"
ERROR: Final = "error"
ENDED: Final = "end of file"
BROKE: Final = "protocol violation"

TRANSITIONS: Final[Mapping[str, Mapping[str, str]]] = {
    IDLE: {
        PLAIN: IN_CALL,
        MORE: IN_STREAM,
        ONEWAY: IN_ONEWAY,
        UPGRADE: IN_UPGRADE,
        ENDED: HALF_CLOSED,
        BROKE: BROKEN,
    },
    IN_CALL: {REPLY: IDLE, ERROR: IDLE, ENDED: CLOSED, BROKE: BROKEN},
    IN_STREAM: {CONTINUES: IN_STREAM, REPLY: IDLE, ERROR: IDLE, ENDED: CLOSED, BROKE: BROKEN},
    IN_ONEWAY: {REPLY: IDLE, ERROR: IDLE},  # by the server alone, and not sent
    IN_UPGRADE: {REPLY: UPGRADED, ERROR: CLOSED, ENDED: CLOSED, BROKE: BROKEN},
    UPGRADED: {},
    HALF_CLOSED: {},
    CLOSED: {},
    BROKEN: {ERROR: CLOSED},  # the last word
}
_BEGINS: Final = TRANSITIONS[IDLE]
# Where a client may send; the calls that wait for their turn are answered later.
_CALLABLE: Final = frozenset((IDLE, IN_CALL, IN_STREAM))
# Where a client listens.
_LISTENING: Final = frozenset((IDLE, IN_CALL, IN_STREAM, IN_UPGRADE))

_NUL = b"\0"
_BLANKS = b" \t\r\n"


class Ended(Value):
    """The peer sends no more, and nothing that it sent is left.

    Attributes:
        unanswered: a client's calls that had no last reply, in their order.  Each may have run:
            the first may have been worked on, those behind it may have been read.  Empty for a
            server.  One-way calls are not among them: whether such a one ran is never known.
    """

    __slots__ = ("unanswered",)
    unanswered: tuple[AnyCall, ...]

    def __init__(self, unanswered: tuple[AnyCall, ...] = ()) -> None:
        self._set(unanswered=unanswered)


class _Connection:
    """What both sides have: bytes, a state, and how it ended."""

    __slots__ = ("_codec", "_ended", "_framer", "_limit_bytes", "_outcome", "_state")

    def __init__(self, codec: Codec = varlink, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._codec = codec
        self._limit_bytes = max_frame_bytes
        self._framer = Framer(max_frame_bytes)
        self._state: str = IDLE
        self._ended = False
        self._outcome: Ended | faults.RemoteProtocolError | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._state}, {self._framer.buffered_bytes} bytes waiting>"

    @property
    def state(self) -> str:
        """One of the states of `TRANSITIONS`."""
        return self._state

    @property
    def buffered_bytes(self) -> int:
        """Bytes that were fed and wait for their turn.

        Only the frame at the front is measured against the limit, when its turn comes; whoever
        feeds stops reading from a peer that sends much ahead of its answers.
        """
        return self._framer.buffered_bytes

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the peer; then ask `next_event`.  Where nothing is awaited they are dropped."""
        self._framer.receive_data(data)

    def receive_eof(self) -> None:
        """The peer will send no more; then ask `next_event`."""
        self._ended = True

    def trailing_data(self) -> bytes:
        """Return what came behind an upgrade and was not handed over yet; it is the other protocol's.

        Raises:
            OutOfTurn: the connection is not upgraded.
        """
        if self._state is not UPGRADED:
            raise faults.OutOfTurn(self._state, "trailing data")
        return self._framer.take_rest()

    def _refuse_length(self) -> None:
        raise faults.NotSendable(f"longer than {self._limit_bytes} bytes")

    def _at_end(self, unanswered: tuple[AnyCall, ...]) -> Ended | None:
        # A line end behind the last NUL is what a person's `echo` adds, and no begun frame.
        if self._framer.take_rest().strip(_BLANKS):
            raise faults.BadFrame("the stream ends inside it")
        self._close(TRANSITIONS[self._state][ENDED], Ended(unanswered))
        return self._resting()

    def _break(self, error: faults.RemoteProtocolError) -> None:
        # A copy: a raised exception knows its trace, which knows the frame, which may be of 16 MiB.
        self._close(TRANSITIONS[self._state][BROKE], _fresh(error))

    def _close(self, state: str, outcome: Ended | faults.RemoteProtocolError) -> None:
        self._framer.close()
        self._state = state
        self._outcome = outcome

    def _resting(self, data: bytes = b"") -> Ended | None:
        if data:
            self._framer.receive_data(data)
        outcome = self._outcome
        if isinstance(outcome, faults.RemoteProtocolError):
            raise _fresh(outcome)
        self._outcome = None
        return outcome


def _fresh(error: faults.RemoteProtocolError) -> faults.RemoteProtocolError:
    restore, fields = error.__reduce__()
    copied: faults.RemoteProtocolError = restore(*fields)
    return copied


class ServerConnection(_Connection):
    """The side that is called.

    Args:
        codec: `wire.varlink` or `wire.fast_varlink`.
        max_frame_bytes: the longest frame that is taken or sent, without its NUL.
    """

    __slots__ = ()

    def is_idle_for(self, count_bytes: int) -> bool:
        """Say whether a frame of so many bytes, with its NUL, would be the next event, and the only one.

        Whoever answers such a call at once, by one last reply, may do so beside this object: it would
        be the same afterwards.
        """
        idle = self._state is IDLE and self._framer.is_empty and not self._ended
        return idle and count_bytes <= self._limit_bytes

    def next_event(self, data: bytes = b"") -> AnyCall | Ended | None:
        """Return what came next.

        Args:
            data: bytes that come first through `receive_data`; in one step where they can.

        Returns:
            The next call, once the one before has had its last reply; `Ended`, a single time, when
            the peer sends no more and all its calls are answered; None while nothing is to do but
            to answer the call in hand or to feed more bytes, after an upgrade, and after the end.

        Raises:
            RemoteProtocolError: FrameTooLarge or BadFrame.  Every later call raises it again, what
                is fed is dropped, and `send_reply` takes one error more.
        """
        if self._state is not IDLE:
            return self._resting(data)
        try:
            frame = self._framer.next_frame(data)
            if frame is None:
                return self._at_end(()) if self._ended else None
            call = self._codec.decode_call(frame)
        except faults.RemoteProtocolError as error:
            self._break(error)
            raise
        self._state = _BEGINS[call.mode if call.oneway or call.more or call.upgrade else PLAIN]
        return call

    def answer_each(
        self,
        data: bytes,
        answer: Callable[[bytes], Any],
        most_bytes: int,
        ready: Mapping[bytes, Callable[[], Any]],
    ) -> tuple[list[bytes], Any]:
        """Take bytes, and the calls at their front as long as each is answered at once by one last reply.

        It is the same as `next_event` and `send_reply` for each; the rest is the next event.

        Args:
            data: bytes that come first through `receive_data`.
            answer: is given a call as it came, with its NUL, and returns the reply as it is sent; anything
                else, such as None, for a call that is not answered so.
            most_bytes: of replies, beyond which no further call is taken.
            ready: answers the short calls that it has, as `answer` would.

        Returns:
            The replies, and the other thing that `answer` returned; None for no such thing.
        """
        if data:
            self._framer.receive_data(data)
        if self._state is not IDLE:
            return [], None
        return self._framer.answer_each(answer, most_bytes, ready)

    def send_reply(self, reply: AnyReply) -> bytes:
        """Return the bytes of a reply to the call in hand; none for a one-way call, which is done with it.

        Raises:
            OutOfTurn: no call is in hand, or it did not ask for `more`.
            NotSendable: the reply has no form.  The call is still in hand and wants another one.
        """
        happened = ERROR if reply.error is not None else CONTINUES if reply.continues else REPLY
        state = self._state
        following = TRANSITIONS[state].get(happened)
        if following is None:
            raise faults.OutOfTurn(state, happened)
        if state is IN_ONEWAY:
            self._state = following
            return b""
        frame = self._codec.encode_reply(reply)
        if len(frame) > self._limit_bytes:
            self._refuse_length()
        self._state = following
        if following is CLOSED:
            self._close(CLOSED, self._outcome or Ended())
        return frame + _NUL


class ClientConnection(_Connection):
    """The side that calls.

    Args:
        codec: `wire.varlink` or `wire.fast_varlink`.
        max_frame_bytes: the longest frame that is taken or sent, without its NUL.
    """

    __slots__ = ("_waiting",)

    def __init__(self, codec: Codec = varlink, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        super().__init__(codec, max_frame_bytes)
        self._waiting: deque[AnyCall] = deque()

    @property
    def unanswered(self) -> tuple[AnyCall, ...]:
        """The calls that wait for a reply, or for the rest of a stream, in their order.

        The next reply belongs to the first.  After the connection ended or broke these may have
        run; all others that were sent are done, but for one-way calls, of which nobody can tell.
        """
        return tuple(self._waiting)

    def send_call(self, call: AnyCall) -> bytes:
        """Return the bytes of a call; it may be sent before earlier ones are answered.

        Raises:
            OutOfTurn: the connection is at its end, or an upgrade was asked for.
            NotSendable: the call has no form.
        """
        waiting = self._waiting
        if self._state not in _CALLABLE or (waiting and waiting[-1].upgrade):
            raise faults.OutOfTurn(IN_UPGRADE if self._state in _CALLABLE else self._state, "call")
        frame = self._codec.encode_call(call)
        if len(frame) > self._limit_bytes:
            self._refuse_length()
        if not call.oneway:
            if not waiting:
                self._state = _BEGINS[call.mode if call.more or call.upgrade else PLAIN]
            waiting.append(call)
        return frame + _NUL

    def read_each(
        self, read: Callable[[bytes], Any], read_run: Callable[[bytes, int], Any] | None = None
    ) -> list[Any]:
        """Take the replies at the front that continue a stream, as long as each can be read at once.

        It is the same as `next_event` for each; the rest is the next event.

        Args:
            read: is given a reply as it came, with its NUL, and returns its result if it is well-formed
                and says that others follow; else NotImplemented.
            read_run: as `read`, of many replies and their count; returns the list of their results.
        """
        if self._state is not IN_STREAM:
            return []
        framer = self._framer
        if read_run is not None:
            run = framer.whole_frames()
            run = run[: run.rfind(varlink.CONTINUES_END) + len(varlink.CONTINUES_END)]
            count = run.count(_NUL)
            results: Any = read_run(run, count) if count >= FEW_FRAMES else NotImplemented
            if results is not NotImplemented:
                framer.take(len(run))
                found: list[Any] = results
                return found
        return framer.read_each(read)

    def next_event(self, data: bytes = b"") -> AnyReply | Ended | None:
        """Return what came next.

        Args:
            data: bytes that come first through `receive_data`; in one step where they can.

        Returns:
            A reply to the first of `unanswered`, which is dropped from there with its last reply;
            errors come as replies.  `Ended`, a single time, when the peer sends no more.  None while
            more bytes are needed, after an upgrade, and after the end.

        Raises:
            RemoteProtocolError: FrameTooLarge, or BadFrame, also for a reply that no call asked
                for.  Every later call raises it again, and further bytes are dropped.
        """
        if self._state not in _LISTENING:
            return self._resting(data)
        try:
            frame = self._framer.next_frame(data)
            if frame is None:
                return self._at_end(self.unanswered) if self._ended else None
            reply = self._codec.decode_reply(frame)
            happened = ERROR if reply.error is not None else CONTINUES if reply.continues else REPLY
            following = TRANSITIONS[self._state].get(happened)
            if following is None:
                raise faults.BadFrame(f"no call asked for this {happened}")
        except faults.RemoteProtocolError as error:
            self._break(error)
            raise
        if happened is not CONTINUES:
            waiting = self._waiting
            waiting.popleft()
            if waiting:
                following = _BEGINS[waiting[0].mode]
            elif following is CLOSED:
                self._close(CLOSED, Ended())
        self._state = following
        return reply
