"""Many calls sent ahead of their replies on one connection, by a client that blocks.

Owns sending and reading at the same time: a daemon stops reading from a client that does not take its
replies, so nothing here waits for room alone.  Which reply is whose, and what a loss means for each call, is
`pipelined`'s; the connection is lent by `blocking`.
"""

from __future__ import annotations

from _socket import MSG_DONTWAIT
from collections.abc import Callable
from selectors import EVENT_READ, EVENT_WRITE
from threading import RLock  # and not `_thread`'s: gevent and eventlet replace this one
from typing import TYPE_CHECKING, Any, Self

from daemonry import errors
from daemonry.clock import monotonic, sleep
from daemonry.limits import PIPELINE_PIECE_BYTES, READ_BYTES
from daemonry.process.forks import not_for_children
from daemonry.process.selector import selector
from daemonry.service.client.engine import NamedMethod
from daemonry.service.client.pending_call import PendingCall
from daemonry.service.client.pipelined import Ledger, is_refusal, meaning_of
from daemonry.service.client.pipelined_remote import PipelinedRemote
from daemonry.service.client.retry import WAITS_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemonry.errors.root import Ran
    from daemonry.service.client.link import Link
    from daemonry.service.client.proxy import Converter, Given
    from daemonry.wire.connection import Codec


class Pipeline(PipelinedRemote):
    """Calls that are sent ahead of their replies, on a connection of their own; use it in a `with` block.

    The block ends when every call has its outcome.  It raises no error of a call: `result` does.  A block
    that is left by an exception sends nothing more and ends the connection.

    A call that was sent is not sent again: after a loss each has its outcome.  Where a
    daemon answers all that was sent and takes no more, as one that is upgraded, the others go to the next.
    Of several threads each may call; a thread that waits for a reply also sends and reads for the others.

    Args:
        lend: returns a connected link.
        renew: connects it again.
        give_back: takes it back.
        lost: makes the error of a connection that is gone.
        codec: makes frames of messages.
        timeout_s: how long to wait for the next reply, or for the daemon to take more, in seconds.
    """

    __slots__ = (
        *("__weakref__", "_began", "_give_back", "_ledger", "_lend", "_link", "_lock", "_lost", "_may_send"),
        *("_moves", "_offered_bytes", "_piece", "_renew", "_renewals", "_timeout_s", "_waiting"),
    )

    def __init__(
        self,
        lend: Callable[[], Link],
        renew: Callable[[Link], None],
        give_back: Callable[[Link], None],
        lost: Callable[[Link, Ran], errors.ConnectionLost],
        codec: Codec,
        timeout_s: float,
    ) -> None:
        self._lend = lend
        self._renew = renew
        self._renewals = 0  # since the last reply
        self._give_back = give_back
        self._lost = lost
        self._timeout_s = timeout_s
        self._ledger = Ledger(codec)
        self._began = False
        self._link: Link | None = None  # in the block
        self._lock = RLock()
        self._moves = False
        self._may_send = True
        self._piece = memoryview(b"")  # of calls that were taken to be sent
        self._offered_bytes = 0  # given to the kernel, which has not said yet how much it took
        self._waiting = selector()

    def drop_in_child(self) -> None:
        """Have every call fail: the connection is the parent's."""
        self._lock = RLock()  # a thread that is not here may hold the other one
        link, self._moves = self._link, False
        if link is not None:
            self._end(lambda ran: errors.InheritedConnection(link.peer, ran))

    # --- calls ------------------------------------------------------------------------------------

    def call(self, method: str, parameters: Mapping[str, Any] | None = None) -> PendingCall[dict[str, Any]]:
        """Queue a call by its method's name; its result is the fields of the reply.

        Raises:
            NotSendable: the parameters have no form.
            LocalProtocolError: the pipeline is not open.
        """
        named = NamedMethod(method, False, self._ledger.codec)
        return self.queue(named, parameters, named.frame(parameters))

    def oneway(self, method: str, parameters: Mapping[str, Any] | None = None) -> PendingCall[None]:
        """Queue a call that is not answered; its result is None once it is sent, as far as anyone knows."""
        named = NamedMethod(method, False, self._ledger.codec)
        return self.queue(named, parameters, None, oneway=True)

    def proxy(self, kind: type[Any]) -> Any:
        """Return an object with the methods of an interface, each of which returns a `PendingCall`.

        `remote` returns one method with its types.  Methods that stream, upgrade or pass descriptors raise
        LocalProtocolError: each needs a connection of its own.
        """
        from daemonry.service.client.pipelined_proxy import pipelined_proxy

        return pipelined_proxy(self, kind)

    def queue(
        self,
        converter: Converter | NamedMethod,
        given: Given | None,
        frame: bytes | None,
        *,
        oneway: bool = False,
    ) -> PendingCall[Any]:
        """Queue a call as a proxy does; see `Client.call_typed`."""
        ledger = self._ledger
        if frame is None:
            frame = ledger.frame(converter, given, oneway=oneway)
        call: PendingCall[Any] = _made(PendingCall)  # its `__init__`, written out: to call it takes longer
        call._pipeline = self  # noqa: SLF001  # a part of it
        call.converter = converter
        call.frame = frame
        call.oneway = oneway
        call.end = 0
        call.outcome = "waiting"
        call.failure = call.value = None
        with self._lock:
            if self._may_send and self._link is not None:
                if ledger.add(call) >= PIPELINE_PIECE_BYTES:
                    self._move(self._has_room)
            else:
                self._refuse(call)
        return call

    def _refuse(self, call: PendingCall[Any]) -> None:
        if self._link is None:
            raise errors.LocalProtocolError("a pipeline takes calls inside its `with` block only")
        call.fail(self._lost(self._link, "no"), "not_sent")

    def flush(self) -> None:
        """Send all calls that are queued, and take the replies that come meanwhile."""
        with self._lock:
            self._move(self._has_sent)

    def wait_for(self, call: PendingCall[Any]) -> None:
        """Wait until a call has its outcome."""
        with self._lock:
            if call.outcome == "waiting":
                self._move(lambda: call.outcome != "waiting")

    def cancel(self, call: PendingCall[Any]) -> None:
        """Have a call fail alone."""
        with self._lock:
            peer = "" if self._link is None else self._link.peer
            self._ledger.cancel(call, errors.CallCancelled(peer, "maybe" if call.end else "no"))

    # --- the connection ---------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._began:
            raise errors.LocalProtocolError("a pipeline is used once: make another")
        self._began = True
        not_for_children(self)
        self._link = link = self._lend()
        self._watch(link)
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        link = self._link
        assert link is not None
        try:
            with self._lock:
                if kind is None:
                    self._move(lambda: self._ledger.is_settled)
                else:
                    self._end(lambda ran: self._lost(link, ran))
        finally:
            with self._lock:
                link.talk.at_rest = self._may_send and self._ledger.is_at_rest
                link.streaming_in = 0
                self._link = None
                self._give_back(link)

    def _has_room(self) -> bool:
        return self._ledger.unsent_bytes < PIPELINE_PIECE_BYTES and not self._ledger.is_full

    def _has_sent(self) -> bool:
        return not self._piece and not self._ledger.unsent_bytes

    def _move(self, enough: Callable[[], bool]) -> None:
        """Send and read until it is enough, or nothing can come any more."""
        link = self._link
        if link is None or link.inherited:
            return
        if self._moves:  # a signal handler, in the middle of another call
            raise errors.LocalProtocolError("this pipeline is being used: make one for each signal handler")
        self._moves = True
        try:
            since_s = monotonic()
            while True:
                if self._may_send:
                    self._send(link)
                if enough():
                    break
                if not (self._may_send or self._ledger.awaits):
                    self._connect_again(link)
                elif self._read_or_room(link, since_s):
                    since_s = monotonic()
        except errors.DaemonryError as error:
            self._fail(link, error)
        except BaseException:
            self._end(lambda ran: self._lost(link, ran))
            raise
        finally:
            self._moves = False

    def _connect_again(self, link: Link) -> None:
        """Send over a new connection the calls that were not sent; all others have their replies.

        That is so where a daemon hands over to its next version, or was restarted: it answers the calls that
        were sent, and takes no more.
        """
        if self._renewals == len(WAITS_S):
            raise self._lost(link, "no")
        sleep(WAITS_S[self._renewals])
        self._renewals += 1
        self._renew(link)
        self._watch(link)
        self._ledger.begin_again()
        self._may_send = True

    def _watch(self, link: Link) -> None:
        link.talk.at_rest = False  # until every reply is here, whatever happens between
        self._waiting = selector()
        self._waiting.register(link.stream.fileno(), EVENT_READ)

    def _cannot_send(self) -> None:
        self._may_send = False
        self._piece = memoryview(b"")
        self._ledger.requeue()

    def _send(self, link: Link) -> None:
        ledger, sock = self._ledger, link.stream.sock
        while self._piece or ledger.unsent_bytes:
            if not self._piece:
                self._piece = memoryview(ledger.take_unsent(PIPELINE_PIECE_BYTES))
                continue
            self._offered_bytes = len(self._piece)
            try:
                count_bytes = sock.send(self._piece, MSG_DONTWAIT)
            except BlockingIOError:
                count_bytes = 0
            except OSError:
                self._offered_bytes = 0
                self._cannot_send()  # and the replies that it sent before it went are read
                return
            ledger.sent(count_bytes)
            self._piece = self._piece[count_bytes:]
            self._offered_bytes = 0
            if not count_bytes:
                return

    def _read_or_room(self, link: Link, since_s: float) -> bool:
        """Wait for a reply, or for room, and read; say whether there was any progress."""
        wants_room = self._may_send and bool(self._piece or self._ledger.unsent_bytes)
        fd = link.stream.fileno()
        if fd < 0:
            raise self._lost(link, "maybe")
        self._waiting.modify(fd, EVENT_READ | (EVENT_WRITE if wants_room else 0))
        left_s = max(0.0, since_s + self._timeout_s - monotonic())
        found = self._waiting.select(min(left_s, _LONGEST_S))
        if not found:
            raise errors.DeadlineExceeded("reply", self._timeout_s, "maybe", link.peer)
        if found[0][1] & EVENT_READ:
            try:
                data = link.stream.sock.recv(READ_BYTES, MSG_DONTWAIT)
            except BlockingIOError:
                return False
            except OSError:
                data = b""
            if data:
                self._ledger.receive(data)
                self._renewals = 0
                return True
            self._cannot_send()
            refusal = link.talk.refusal_in(self._ledger.take_rest())
            if refusal is not None or self._ledger.awaits:
                self._fail(link, refusal)
        return True

    def _fail(self, link: Link, error: errors.DaemonryError | None) -> None:
        """End the connection; each call without a reply fails by what that means for it."""
        lost = meaning_of(error, lambda ran: self._lost(link, ran))
        self._end(lost, refused=is_refusal(error))

    def _end(self, error_of: Callable[[Ran], BaseException], *, refused: bool = False) -> None:
        self._may_send = False
        self._piece = memoryview(b"")
        self._ledger.end(error_of, self._offered_bytes, refused=refused)
        if self._link is not None and not self._link.inherited:
            self._link.disconnect()


_made = object.__new__
# A poll's time is an int of milliseconds.
_LONGEST_S = 1e6
