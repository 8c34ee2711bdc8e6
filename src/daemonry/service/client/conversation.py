"""One connection as its client sees it, without its socket: what may be sent, and what came.

Owns what both clients do beside the protocol's state machine: making it when it is needed, knowing
when nothing is under way, and telling a reply that was cut from bytes that are not a reply.
"""

from __future__ import annotations

from daemonry import faults
from daemonry.wire.connection import IDLE, IN_CALL, IN_STREAM, IN_UPGRADE, ClientConnection, Ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from daemonry.transport.endpoint import Endpoint
    from daemonry.wire.connection import Codec
    from daemonry.wire.varlink import AnyReply, Call

_AWAITING = frozenset((IN_CALL, IN_STREAM, IN_UPGRADE))
# Enough bytes that are not a frame to recognize a server's refusal.
_HEAD_BYTES = 100


class Conversation:
    """The calls and replies of one connection, one after the other.

    Args:
        find_codec: returns the codec that frames messages, when it is needed.
        whom: the peer; written out for people only where something fails.

    Attributes:
        at_rest: whether nothing is under way and all that came was taken, so that the next reply is
            the next call's.
    """

    __slots__ = ("_find_codec", "_head", "_machine", "_whom", "at_rest")

    def __init__(self, find_codec: Callable[[], Codec], whom: str | Endpoint) -> None:
        self._find_codec = find_codec
        self._whom = whom
        # Made when it is needed: a client that makes one typed call has no use for it.
        self._machine: ClientConnection | None = None
        self._head = b""  # how that begins which was not taken yet
        self.at_rest: bool = True

    @property
    def _connection(self) -> ClientConnection:
        if self._machine is None:
            self._machine = ClientConnection(self._find_codec())
        return self._machine

    @property
    def buffered_bytes(self) -> int:
        """Bytes that came and were not taken."""
        return 0 if self._machine is None else self._machine.buffered_bytes

    @property
    def has_strays(self) -> bool:
        """Whether something came that no call asked for; the next call is refused with that."""
        machine = self._machine
        return machine is not None and machine.state is IDLE and machine.buffered_bytes > 0

    def frame(self, call: Call) -> bytes:
        """Return a call as it is sent; it is under way from then on.

        Raises:
            LocalProtocolError: it has no form, or an earlier one has replies to come.
            BadFrame: something came that no call asked for, and would be taken for its reply.
        """
        connection = self._connection
        if connection.state in _AWAITING:
            raise faults.LocalProtocolError("an earlier call has replies to come: use another connection")
        if connection.buffered_bytes and connection.state is IDLE:
            raise faults.BadFrame("it came when no call was made")
        self.at_rest = False  # and stays so where a signal's handler raises at any step of this
        try:
            data = connection.send_call(call)
        except faults.LocalProtocolError:
            self._look()
            raise
        self._look()
        return data

    def receive(self, data: bytes) -> None:
        """Take the bytes that were read; b"" means that the peer sends no more.

        Raises:
            ConnectionLost: it ends within a reply, or a server of ours had waited for too long.
            AccessDenied, Overloaded: a server of ours let nobody in, and said so before it knew
                that we would call.
        """
        connection = self._connection
        waiting_bytes = connection.buffered_bytes
        if data:
            if not waiting_bytes:
                self._head = data[:_HEAD_BYTES]
            elif len(self._head) < _HEAD_BYTES:
                self._head = (self._head + data)[:_HEAD_BYTES]
            connection.receive_data(data)
        elif waiting_bytes and self._head.startswith(b"{"):
            raise faults.ConnectionLost(str(self._whom), "maybe")
        else:
            if waiting_bytes:
                self._look_for_refusal()
            connection.receive_eof()

    def refusal_in(self, data: bytes) -> faults.DaemonryError | None:
        """Return why a server let nobody in, if it said so before it closed and before we came to send.

        Args:
            data: the last bytes that it sent.
        """
        try:
            self.receive(data)
            self.receive(b"")
        except (faults.AccessDenied, faults.Overloaded) as refusal:
            return refusal
        except faults.IpcError:
            pass  # something else
        return None

    def next_reply(self) -> AnyReply | None:
        """Return the next reply; None until more was read.

        Raises:
            ConnectionLost: the peer sends no more.
            RemoteProtocolError: the answer is not a reply.
        """
        event = self._connection.next_event()
        if isinstance(event, Ended):
            raise faults.ConnectionLost(str(self._whom), "maybe")
        if event is not None:
            self._look()
        return event

    def read_each(
        self, read: Callable[[bytes], Any], read_run: Callable[[bytes, int], Any] | None
    ) -> list[Any]:
        """Return the results of the replies that came and continue a stream, as far as these know them."""
        return self._connection.read_each(read, read_run)

    def trailing_data(self) -> bytes:
        """Return what came behind an upgrade."""
        return self._connection.trailing_data()

    def _look_for_refusal(self) -> None:
        from daemonry.transport.endpoint import HOW_TO_PROVE, PROOF_WANTED
        from daemonry.wire import text

        refused, _, reason = self._head.decode("ascii", "replace").strip().partition(": ")
        if refused != "ERR":
            return
        if reason == text.PERMISSION_DENIED:
            raise faults.AccessDenied(str(self._whom), reason)
        if reason == PROOF_WANTED:
            raise faults.AccessDenied(str(self._whom), HOW_TO_PROVE)
        if reason == text.TIMEOUT:  # our call and its last word crossed: it read nothing
            raise faults.ConnectionLost(str(self._whom), "no")
        if reason.startswith("Too many connections"):
            raise faults.Overloaded("org.daemonry.Control.Overloaded", {"message": reason})

    def _look(self) -> None:
        connection = self._connection
        self.at_rest = connection.state is IDLE and not connection.buffered_bytes
