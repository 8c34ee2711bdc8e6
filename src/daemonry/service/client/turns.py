"""Which call has which connection of a blocking client: the reason why threads may share one.

Owns the connections of one client.  A call takes one that is free and puts it back behind its reply;
no connection is ever in the hands of two calls.  Where none is free a new one is made, up to `most`,
and further calls wait for their turn, in the order in which they came.  A stream keeps its connection
until it ends, and is not counted among the most, so that open streams hold up no call.

There is no lock around any of this.  Taking and putting back are one operation of a list each, which
Python makes whole.  So a fork while another thread is in the middle of a call finds nothing locked in
the child, and a signal handler may call in the middle of a call.

A connection that is lost between two steps, because Ctrl-C came there, is collected with the frame
that had it, and leaves the count by its weak reference: its place is not lost.

After a fork the connections are the parent's.  The child closes its copies, which ends nothing for
the parent, and its next call makes a connection of its own.
"""

from __future__ import annotations

from _thread import LockType, allocate_lock, get_ident
from _weakref import ref

from daemonry import faults
from daemonry.service.client.link import Link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from daemonry.clock import Deadline
    from daemonry.transport.endpoint import Endpoint

# A waiter looks this often, in seconds, whether a place became free without a notice.
_LOOK_S = 1.0


class Waiting:
    """A call that waits for its turn.

    Attributes:
        link: the link that it gets, before `given` is released.
        given: held until then.
    """

    __slots__ = ("given", "link")

    def __init__(self) -> None:
        self.link: Link | None = None
        self.given: LockType = allocate_lock()
        self.given.acquire()


class Turns:
    """The connections of one client.

    Args:
        whom: the peer.
        most: how many there may be beside those of streams; 0 if none can be made.
        free: as the attribute.
        waiting: as the attribute.
        first: the connection that there is already; None for none.

    Attributes:
        free: those that no call has; the one that was used last is taken first.
        waiting: the calls that wait for one.  Who puts one back calls `settle` where there are any.
        inherited: whether those that were there are the parent process's.
    """

    __slots__ = ("_live", "_most", "_whom", "free", "inherited", "waiting")

    def __init__(
        self, whom: str | Endpoint, most: int, free: list[Link], waiting: list[Waiting], first: Link | None
    ) -> None:
        self._whom = whom
        self._most = most
        self._live: set[ref[Link]] = set()
        self.free: list[Link] = free
        self.waiting: list[Waiting] = waiting
        self.inherited: bool = False
        if first is not None:
            self.add(first)

    def add(self, link: Link) -> None:
        """Count a connection among this client's; once more is not an error."""
        self._live.add(ref(link, self._live.discard))

    def live(self) -> list[Link]:
        """Return all connections: free ones, those that a call has, and closed ones."""
        return [link for found in list(self._live) if (link := found()) is not None]

    def take(self, deadline: Deadline) -> Link:
        """Return a connection for one call, which may not be connected yet.

        Raises:
            DeadlineExceeded: all are in use; nothing was sent.
            ConnectionLost: there is none, and none can be made.
            LocalProtocolError: this thread itself holds the only one, by a stream that goes on.
        """
        while True:
            try:
                return self.free.pop()
            except IndexError:
                pass
            live = self.live()
            if sum(not link.streaming_in for link in live) < self._most:
                return self._new()
            if not self._most:
                self._check_can_wait(live)
            link = self._wait(deadline)
            if link is not None:
                return link
            if deadline.expired:
                timeout_s = deadline.timeout_s or 0.0
                raise faults.DeadlineExceeded("turn", timeout_s, "no", str(self._whom))

    def _new(self) -> Link:
        link = Link(self._whom)
        self.add(link)
        return link

    def _check_can_wait(self, live: list[Link]) -> None:
        if not live:
            raise self.lost(None, "no")
        me = get_ident()
        if any(link.streaming_in == me for link in live):
            raise faults.LocalProtocolError("an earlier call has replies to come: use another connection")

    def lost(self, link: Link | None, ran: faults.Ran) -> faults.ConnectionLost:
        """Return the error for a connection that is gone."""
        inherited = self.inherited if link is None else link.inherited
        kind = faults.InheritedConnection if inherited else faults.ConnectionLost
        return kind(str(self._whom), ran)

    def _wait(self, deadline: Deadline) -> Link | None:
        """Wait for a turn, for a while; return the link that it gave."""
        mine = Waiting()
        self.waiting.append(mine)
        try:
            self.settle()  # one that was put back before we were seen to wait
            left_s = deadline.remaining_s()
            given = mine.given.acquire(timeout=_LOOK_S if left_s is None else min(left_s, _LOOK_S))
        except BaseException:
            self._leave(mine)
            if mine.link is not None:
                self.put_back(mine.link)
            raise
        if not given:
            self._leave(mine)
        return mine.link

    def _leave(self, mine: Waiting) -> None:
        """Wait no more; if a connection is being given at this moment, it is there behind this."""
        try:
            self.waiting.remove(mine)
        except ValueError:
            mine.given.acquire(timeout=_LOOK_S)

    def put_back(self, link: Link) -> None:
        """Let the next call have a connection."""
        self.free.append(link)
        if self.waiting:
            self.settle()

    def settle(self) -> None:
        """Give free links to those that wait."""
        while self.waiting and self.free:
            try:
                link = self.free.pop()
            except IndexError:  # another thread was quicker
                return
            try:
                first = self.waiting.pop(0)
            except IndexError:
                self.free.append(link)
                continue
            first.link = link
            first.given.release()

    def close_free(self) -> int:
        """End the connections that no call has; return how many there were."""
        count = 0
        while self.free:
            try:
                link = self.free.pop()
            except IndexError:
                break
            link.disconnect()
            count += 1
        return count

    def close(self) -> None:
        """End all connections; those that calls have are cut, and each call closes its own."""
        if self.close_free() < len(self._live):
            for link in self.live():
                link.interrupt()

    def drop_in_child(self) -> None:
        """Forget all connections: they are the parent's, and the threads that had them are not here."""
        self.inherited = True
        for link in self.live():
            link.drop_in_child()
        self._live.clear()
        self.free.clear()
        self.waiting.clear()
