"""The calls of one pipeline without its socket: their order, their bytes, and the outcome of each.

Owns the order of the calls, the outcome of each, and how many bytes of them were sent.  Waiting, sending and
reading belong to `pipeline`, which blocks, and to `async_pipeline`.

Varlink answers the calls of a connection in their order.  So many can be sent ahead, and each reply belongs
to the first call that has none yet.  A call whose last byte was not sent never runs; of one that was sent and
not answered, nobody can tell once the connection is gone.
"""

from __future__ import annotations

from collections import deque
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from daemonry import errors
from daemonry.limits import PIPELINE_MOST_CALLS
from daemonry.service.client.engine import failed
from daemonry.wire.framer import FEW_FRAMES, Framer
from daemonry.wire.varlink import MAX_FRAME_BYTES, Call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from daemonry.errors.root import Ran
    from daemonry.service.client.engine import NamedMethod
    from daemonry.service.client.proxy import Converter, Given
    from daemonry.wire.connection import Codec

T = TypeVar("T")

Outcome = Literal["waiting", "done", "not_sent", "maybe_ran"]


class QueuedCall(Generic[T]):
    """A call in a pipeline.

    Attributes:
        converter: the method.
        end: where its last byte is among all bytes of the pipeline; 0 until it is taken to be sent.
        failure: the error, once it is known.
        frame: its bytes, until it has its outcome.
        oneway: whether no reply will come.
        outcome: "waiting"; "done": a reply came, which may be an error; "not_sent": it certainly did not run;
            "maybe_ran": it was sent, and nobody will know more, as of a one-way call.
        value: the result, once it is known.
        WAKES: whether `settled` has to be called when the outcome is known.
    """

    WAKES: ClassVar[bool] = False

    __slots__ = ("_pipeline", "converter", "end", "failure", "frame", "oneway", "outcome", "value")

    def __init__(
        self, pipeline: Any, converter: Converter | NamedMethod, frame: bytes, oneway: bool = False
    ) -> None:
        self._pipeline = pipeline
        self.converter: Converter | NamedMethod = converter
        self.frame: bytes = frame
        self.oneway: bool = oneway
        self.end: int = 0
        self.outcome: Outcome = "waiting"
        self.failure: BaseException | None = None
        self.value: Any = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.converter.full_name}: {self.outcome}>"

    @property
    def done(self) -> bool:
        """Whether the outcome is known."""
        return self.outcome != "waiting"

    def cancel(self) -> None:
        """Have this call alone fail: it is not sent any more, or its reply is dropped when it comes."""
        self._pipeline.cancel(self)

    def succeed(self, value: Any, outcome: Outcome = "done") -> None:
        """Have a result."""
        self.value = value
        self.outcome = outcome
        self.settled()

    def fail(self, failure: BaseException, outcome: Outcome) -> None:
        """Have an error."""
        self.failure = failure
        self.outcome = outcome
        self.settled()

    def settled(self) -> None:
        """Wake those that wait for the outcome."""

    def known(self) -> T:
        """Return the result; raise the error, which other calls may have too."""
        if self.failure is not None:
            raise self.failure.with_traceback(None)
        value: T = self.value
        return value


class Ledger:
    """The calls of one pipeline, in their order.

    Args:
        codec: makes frames of messages.

    Attributes:
        codec: as given.
        unsent_bytes: of the calls that were not taken to be sent.
    """

    __slots__ = (
        *("_flight", "_framed", "_framer", "_mixed", "_oneways", "_sent", "_unsent"),
        *("codec", "unsent_bytes"),
    )

    def __init__(self, codec: Codec) -> None:
        self.codec: Codec = codec
        self._framer = Framer()
        self._unsent: deque[QueuedCall[Any]] = deque()
        self._flight: deque[QueuedCall[Any]] = deque()
        self._oneways: deque[QueuedCall[Any]] = deque()
        self._framed = 0  # bytes of calls that were taken to be sent
        self._sent = 0
        self._mixed = False  # whether one of those that wait to be sent was cancelled, or has no reply
        self.unsent_bytes: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether every call has its outcome, and every reply came."""
        return not (self._unsent or self._flight or self._oneways)

    @property
    def is_at_rest(self) -> bool:
        """Whether it is settled, and nothing came that belongs to no call."""
        return self.is_settled and self._framer.is_empty

    @property
    def is_full(self) -> bool:
        """Whether no further call may be added until replies come."""
        return len(self._flight) + len(self._unsent) >= PIPELINE_MOST_CALLS

    @property
    def awaits(self) -> bool:
        """Whether a call that was taken to be sent has no reply yet."""
        return bool(self._flight)

    # --- sending ----------------------------------------------------------------------------------

    def frame(self, converter: Converter | NamedMethod, given: Given | None, *, oneway: bool) -> bytes:
        """Return the bytes of a call that `Converter.frame` does not make.

        Raises:
            NotSendable: it has no form, or is too long.
        """
        call = Call(converter.full_name, converter.plain(given or {}), oneway=oneway)
        frame = self.codec.encode_call(call) + b"\0"
        if len(frame) > MAX_FRAME_BYTES:
            raise errors.NotSendable(f"longer than {MAX_FRAME_BYTES} bytes")
        return frame

    def add(self, call: QueuedCall[Any]) -> int:
        """Queue a call behind all others; return how many bytes wait to be sent."""
        self._unsent.append(call)
        if call.oneway:
            self._mixed = True
        self.unsent_bytes = count = self.unsent_bytes + len(call.frame)
        return count

    def take_unsent(self, most_bytes: int) -> bytes:
        """Return calls to be sent in one piece, about so many bytes; from now on they may run."""
        unsent, flight, end = self._unsent, self._flight, self._framed
        if unsent and not self._mixed and self.unsent_bytes - len(unsent[-1].frame) < most_bytes:
            return self._take_all_unsent()
        pieces: list[bytes] = []
        until, taken_bytes = end + most_bytes, 0
        while unsent and end < until:
            call = unsent.popleft()
            count_bytes = len(call.frame)
            taken_bytes += count_bytes
            if call.outcome != "waiting":
                continue  # cancelled
            pieces.append(call.frame)
            call.end = end = end + count_bytes
            (self._oneways if call.oneway else flight).append(call)
        self.unsent_bytes -= taken_bytes
        self._framed = end
        self._mixed = self._mixed and bool(unsent)
        return b"".join(pieces)

    def _take_all_unsent(self) -> bytes:
        """Take all that wait, where each of them is sent and has a reply: what most pipelines come to."""
        unsent = self._unsent
        frames = [call.frame for call in unsent]
        ends = accumulate(map(len, frames), initial=self._framed)
        next(ends)  # where the first begins
        for call, end in zip(unsent, ends, strict=True):
            call.end = end
        self._flight += unsent
        unsent.clear()
        self._framed += self.unsent_bytes
        self.unsent_bytes = 0
        return b"".join(frames)

    def sent(self, count_bytes: int) -> None:
        """Take note that the socket took bytes."""
        self._sent += count_bytes
        oneways = self._oneways
        while oneways and oneways[0].end <= self._sent:
            oneways.popleft().succeed(None, "maybe_ran")

    def requeue(self) -> None:
        """Have the calls that were not sent whole wait again; none of them ran, nor will."""
        unsent, flight = self._unsent, self._flight
        back = list(self._oneways)
        self._oneways.clear()
        while flight and flight[-1].end > self._sent:
            back.append(flight.pop())
        for call in sorted(back, key=_end, reverse=True):
            call.end = 0
            unsent.appendleft(call)
            self.unsent_bytes += len(call.frame)
        self._mixed = self._mixed or bool(back)
        self._framed = self._sent

    def begin_again(self) -> None:
        """Go on over a new connection, where no call that was sent has no reply."""
        self._framer = Framer()

    def cancel(self, call: QueuedCall[Any], error: BaseException) -> None:
        """Have a call fail alone: it is not sent any more, or its reply is dropped when it comes."""
        if call.outcome == "waiting":
            self._mixed = True
            call.fail(error, "maybe_ran" if call.end else "not_sent")

    # --- replies ----------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take bytes that were read, and give each reply to its call.

        Raises:
            RemoteProtocolError: no reply; the connection is good for nothing any more.
        """
        framer = self._framer
        framer.receive_data(data)
        self._take_run()
        framer.read_each(self._take)
        frame = framer.next_frame()  # refuses one that is too long
        if frame is not None:
            raise errors.BadFrame("it came when no call was made")

    def _take_run(self) -> None:
        """Give the first replies to their calls, where those are of one method, as most pipelines' are."""
        flight, framer = self._flight, self._framer
        if len(flight) < FEW_FRAMES:
            return
        read = flight[0].converter.read_run
        if read is None:
            return
        frames = framer.whole_frames()
        came = frames.count(b"\0")
        calls = _of_one_method(flight, came)
        count = len(calls)
        if count < FEW_FRAMES or count * 2 < came:
            return
        if count < came:
            frames = frames[: len(frames) - len(frames.split(b"\0", count)[count])]
        results = read(frames, count)
        if results is NotImplemented:
            return
        framer.take(len(frames))
        _succeed(calls, results)
        if count == len(flight):
            flight.clear()
        else:
            for _ in calls:
                flight.popleft()

    def _take(self, frame: bytes) -> Any:
        flight = self._flight
        if not flight:
            return NotImplemented
        call = flight[0]
        result = call.converter.read(frame)
        if result is NotImplemented:
            self._take_with_care(call, frame)
        elif call.outcome == "waiting":  # `succeed`, written out
            call.value = result
            call.outcome = "done"
            if call.WAKES:
                call.settled()
        flight.popleft()
        call.frame = b""
        return None

    def _take_with_care(self, call: QueuedCall[Any], frame: bytes) -> None:
        reply = self.codec.decode_reply(frame[:-1])
        if reply.continues:
            raise errors.BadFrame("no call asked for this reply that continues")
        if call.outcome != "waiting":
            return
        try:
            if reply.error is not None:
                raise call.converter.error(failed(reply))
            call.succeed(call.converter.result(reply.parameters))
        except errors.DaemonryError as error:
            call.fail(error, "done")

    def take_rest(self) -> bytes:
        """Return the bytes that came and are not a whole reply."""
        return self._framer.take_rest()

    # --- the end ----------------------------------------------------------------------------------

    def end(
        self, error_of: Callable[[Ran], BaseException], offered_bytes: int = 0, *, refused: bool = False
    ) -> None:
        """Give every call that has no outcome the one that it has without a connection.

        Args:
            error_of: makes its error, from whether it may have run.
            offered_bytes: bytes behind those that the socket took which it may have taken.
            refused: the daemon read nothing.
        """
        reached = 0 if refused else self._sent + offered_bytes
        waiting = (*self._flight, *self._oneways, *self._unsent)
        self._flight.clear()
        self._oneways.clear()
        self._unsent.clear()
        self.unsent_bytes = 0
        ended: dict[Ran, BaseException] = {}
        for call in waiting:
            if call.outcome == "waiting":
                ran: Ran = "maybe" if 0 < call.end <= reached else "no"
                if ran not in ended:
                    ended[ran] = error_of(ran)
                call.fail(ended[ran], "maybe_ran" if ran == "maybe" else "not_sent")


def _of_one_method(flight: Iterable[QueuedCall[Any]], most: int) -> list[QueuedCall[Any]]:
    """Return the calls at the front, up to so many, that are of the same method as the first one."""
    calls = list(islice(flight, most))
    for count, call in enumerate(calls):
        if call.converter is not calls[0].converter:
            return calls[:count]
    return calls


def _succeed(calls: list[QueuedCall[Any]], results: list[Any]) -> None:
    for call, result in zip(calls, results, strict=True):
        if call.outcome == "waiting":  # `succeed`, written out
            call.value = result
            call.outcome = "done"
            if call.WAKES:
                call.settled()
        call.frame = b""


def _end(call: QueuedCall[Any]) -> int:
    return call.end


def is_refusal(error: BaseException | None) -> bool:
    """Whether a daemon let nobody in, and so read nothing."""
    return isinstance(error, errors.AccessDenied | errors.Overloaded)


def meaning_of(
    error: errors.DaemonryError | None, lost: Callable[[Ran], errors.ConnectionLost]
) -> Callable[[Ran], BaseException]:
    """Return what makes the error of a call without a reply, from whether it may have run.

    Args:
        error: why the connection ended; None where the peer ended it.
        lost: makes the error of a connection that is gone.
    """

    def error_of(ran: Ran) -> BaseException:
        if isinstance(error, errors.DeadlineExceeded):
            phase = "reply" if ran == "maybe" else "write"
            return errors.DeadlineExceeded(phase, error.timeout_s, ran, error.subject)
        if error is None or isinstance(error, errors.ConnectionLost):
            return lost(ran)
        if isinstance(error, errors.ConnectError):  # which concerns the calls that were not sent
            return error if ran == "no" else lost(ran)
        # A bad reply has nothing to do with calls that were not sent; a refusal is for all.
        return error if ran == "maybe" or is_refusal(error) else lost(ran)

    return error_of
