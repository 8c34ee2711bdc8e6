"""The open connections of a server: each new one is counted, admitted or refused, and given to its dialect.

Owns the limits on connections, and the list of those that are open.  `first_byte` holds those that have sent
nothing yet, `fast_connection` those that send only calls which are answered at once; the dialects are
`text_connection`'s and `varlink.connection`'s.
"""

from __future__ import annotations

import asyncio
import os
import resource
from _socket import socket as Socket
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final

from daemonry.errors import Draining, Overloaded
from daemonry.limits import CONNECTION_SHARE, MAX_CONNECTIONS, MAX_HANDLER_THREADS, READ_BYTES
from daemonry.service.server.control import ControlState, answer
from daemonry.service.server.epoll import Readers, hears_many, readers
from daemonry.service.server.fast_connection import FastConnection
from daemonry.service.server.first_byte import FirstByteWait
from daemonry.service.server.gate import Gate, WrongTokens
from daemonry.service.server.graceful_close import retire
from daemonry.service.server.held import peek
from daemonry.service.server.refusal import OVERLOADED, TOO_MANY, has_called
from daemonry.service.server.text_connection import TextConnection, finish
from daemonry.transport.credentials import ids_of
from daemonry.wire import dialect, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from daemonry.clock import Deadline
    from daemonry.service.server.bounds import Bounds
    from daemonry.service.server.dispatch import Calls, Ran, Ready
    from daemonry.service.server.foreign import Foreign, ForeignConnection
    from daemonry.service.server.varlink.connection import VarlinkConnection
    from daemonry.transport.proof import Served

# Connections that only the text dialect may use, so that a daemon full of calls can be asked and stopped.
CONTROL_RESERVE: Final = 16


class Connections:
    """The open connections of a server that runs.

    Args:
        loop: the loop.
        state: answers commands.
        calls: the interfaces that are served; without them every connection is taken for text.
        limits: the bounds on clients.
        first_byte_s: how long a client may take for its line, or its first byte.
        most: how many connections may be open.

    Attributes:
        answer_at_once, ready: answer the calls of fast connections: see `Calls`.
        http: speaks HTTP; None to take it for text.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        state: ControlState,
        calls: Calls | None,
        limits: Bounds,
        first_byte_s: float,
        most: int,
    ) -> None:
        self._loop = loop
        self._state = state
        self._calls = calls
        self._limits = limits
        self._readers = readers(loop)
        self._first_byte_s = first_byte_s
        self._unheard = FirstByteWait(loop, first_byte_s, self._dismiss)
        self._fast: set[FastConnection] = set()  # those that have sent something
        self.answer_at_once: Callable[[bytes], Ran | bytes | None] = _answer_nothing
        self.ready: dict[bytes, Ready] = {}
        # Else there may be descriptors beside the bytes, or one read may take more than a call's length.
        self._takes_fast = calls is not None and not calls.takes_fds and limits.frame_bytes >= READ_BYTES
        self._uid = os.geteuid()
        self._gate: Gate | None = None
        self._connections: set[TextConnection | VarlinkConnection | ForeignConnection] = set()
        self.http: Foreign | None = None
        self._most = most
        # A call may hold its connection for long; STATUS and STOP must find room beside all of them.
        self._most_of_calls = most_of_calls(most)
        self._threads: Executor | None = None
        if calls is not None:
            calls.stepper.move_to(loop)
            from daemonry.service.server.varlink.connection import VarlinkConnection

            self._threads = ThreadPoolExecutor(MAX_HANDLER_THREADS, thread_name_prefix="daemonry-handler")
            self._make_caller = VarlinkConnection
            calls.most_bytes = limits.frame_bytes
            self.answer_at_once, self.ready = calls.answer_at_once, calls.ready

    def __repr__(self) -> str:
        return f"<Connections: {len(self)} open, {len(self._fast)} fast, {len(self._unheard)} silent>"

    def __len__(self) -> int:
        return len(self._connections) + len(self._fast) + len(self._unheard)

    def ask_for(self, token: str, wrong: WrongTokens) -> None:
        """Admit only clients that prove that they know `token`; `wrong` counts those that know another."""
        self._gate = Gate(self._loop, self._readers, token, self._first_byte_s, self._let_in, wrong)

    def take_in(self, sock: Socket, exchange: Served | None = None) -> None:
        """Let a new connection in, refuse it, or have it prove first that it knows the token.

        Args:
            sock: the connection.
            exchange: how far it has come with its proof.
        """
        if self._gate is not None and not (exchange is not None and exchange.done):
            self._gate.take_in(sock, exchange)
        else:
            self._let_in(sock)

    def _let_in(self, sock: Socket) -> None:
        ids = ids_of(sock)
        fast = FastConnection(self, sock, ids)
        count, most = len(self), self._limits.connections_per_uid
        everybody = (self._unheard, self._fast, self._connections)
        if ids is not None and ids[1] != self._uid and not fast.peer.may_command:
            refused = text.PERMISSION_DENIED
        elif count >= self._most:
            refused = TOO_MANY
        elif most is not None and _open_of(fast.peer.uid, everybody) >= most:
            refused = f"{TOO_MANY} of this user"
        else:
            self._welcome(fast, crowded=count >= self._most_of_calls)
            return
        if self._calls is not None and refused.startswith(TOO_MANY) and has_called(sock):
            self._caller(fast).refuse(Overloaded(OVERLOADED, {"limit": self._most}))
        else:
            self._text(fast).refuse(refused)

    def _welcome(self, fast: FastConnection, *, crowded: bool) -> None:
        if not self._takes_fast or crowded:
            self._unheard.enter(fast)
            self._readers.add_reader(fast.sock.fileno(), lambda: self._text(fast).read())
            return
        # Most clients send before their connection is accepted: there is something to read.
        fast.speaks()
        if not fast.here:
            return
        if fast.activity:
            self._fast.add(fast)
            self._readers.add_reader(fast.sock.fileno(), fast.speaks_again)
        else:
            self._unheard.enter(fast)
            self._readers.add_reader(fast.sock.fileno(), fast.speaks_first)

    # --- fast connections -------------------------------------------------------------------------

    def has_spoken(self, fast: FastConnection) -> None:
        """Take note of a connection's first bytes, which were answered."""
        self._unheard.leave(fast)
        self._fast.add(fast)
        self._readers.add_reader(fast.sock.fileno(), fast.speaks_again)

    def watch_by_loop(self, fast: FastConnection) -> None:
        """Let the loop itself watch a connection on which more than one call comes, unless there are many."""
        fast.watched_by_loop = not hears_many(self._readers, len(self._fast))
        if fast.watched_by_loop:
            self._readers.remove_reader(fast.sock.fileno())
        self._watcher_of(fast).add_reader(fast.sock.fileno(), fast.speaks)

    def leave(self, fast: FastConnection) -> None:
        """End a fast connection."""
        self._let_go(fast)
        self._watcher_of(fast).remove_reader(fast.sock.fileno())
        fast.sock.close()

    def finish(self, fast: FastConnection) -> None:
        """End it so that the client has all that was sent."""
        finish(fast.sock)
        self.leave(fast)

    def take_over(self, fast: FastConnection, data: bytes, ran: Ran | bytes | None) -> None:
        """Replace a fast connection by one of the dialect that its client speaks.

        Args:
            fast: the connection.
            data: the bytes that were read.
            ran: the result of the call in them, if it ran: see `Calls.answer_at_once`; or the part of its
                reply that is not sent yet.
        """
        if fast.activity > 1 or ran is not None or dialect.detect(data) == dialect.VARLINK:
            self._call(fast, data, ran)
        elif self.http is not None and dialect.detect(data) == dialect.HTTP:
            self._speak_http(fast, data)
        else:
            self._text(fast).receive(data)

    def take_back(self, sock: Socket) -> None:
        """Have a fast connection again, of a client whose calls are all answered at once."""
        fast = FastConnection(self, sock, ids_of(sock))
        fast.activity = 2  # it has called more than once
        self._fast.add(fast)
        self.watch_by_loop(fast)

    def _let_go(self, fast: FastConnection) -> None:
        fast.here = False
        self._fast.discard(fast)
        self._unheard.leave(fast)

    def _watcher_of(self, fast: FastConnection) -> Readers | asyncio.AbstractEventLoop:
        return self._loop if fast.watched_by_loop else self._readers

    # --- the others -------------------------------------------------------------------------------

    @property
    def calls_under_way(self) -> list[str]:
        """The full names of the program's calls that run, or whose replies are not sent; from any thread."""
        return [one.call or "a reply" for one in self._callers() if one.owes]

    async def drain(self, timeout_s: float) -> list[str]:
        """Let calls come to their end and streams end with an error; return the names of those left.

        Calls of the control plane go on.  The caller has to see to it that no further calls are taken.
        """
        return await _drained([one for one in self._callers() if one.owes], timeout_s)

    async def end_control(self) -> None:
        """Let the calls of the control plane come to their end, its streams with an error."""
        from daemonry.service.server.varlink.connection import LAST_REPLY_S

        await _drained([one for one in self._callers() if one.controls], LAST_REPLY_S, of_control=True)

    def _callers(self) -> list[VarlinkConnection | ForeignConnection]:
        others = self.http.others() if self.http is not None else ()
        return [one for one in (*self._connections, *others) if not isinstance(one, TextConnection)]

    @property
    def newcomers(self) -> int:
        """How many have sent nothing yet, or speak the text dialect."""
        return len(self._unheard) + sum(1 for one in self._connections if isinstance(one, TextConnection))

    async def retire(self, deadline: Deadline) -> None:
        """Have every connection end without losing a call."""
        await retire(lambda: [*self._connections, *self._fast, *self._unheard, *(self._gate or ())], deadline)

    def retire_idle(self) -> None:
        """Have every connection on which nothing is in hand take no further call."""
        for fast in list(self._fast):
            fast.retire()
        for one in self._callers():
            if one.activity is not None:
                one.retire()

    def close(self) -> None:
        """End every connection, once the requests that have come on it are answered or refused."""
        if self._gate is not None:
            self._gate.close()
        for fast in [*self._unheard, *self._fast]:
            fast.see_off()
        self._unheard.close()
        for connection in list(self._connections):
            if connection.activity is not None:
                connection.retire()
            connection.close()
        if isinstance(self._readers, Readers):
            self._readers.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def drop_in_child(self) -> None:
        """Close a forked child's copies, beside the loop, which parent and child share."""
        if self._gate is not None:
            self._gate.drop_in_child()
        for one in (*self._unheard, *self._fast, *self._connections):
            one.drop_in_child()
        if isinstance(self._readers, Readers):
            self._readers.drop_in_child()

    def _dismiss(self, fast: FastConnection) -> None:
        if peek(fast.sock) is None:
            self._text(fast).refuse(text.TIMEOUT)
        else:
            self._unheard.enter(fast)  # it has just spoken, and is heard in this turn of the loop

    def _text(self, fast: FastConnection) -> TextConnection:
        self._let_go(fast)
        fast.sock.setblocking(False)
        if not fast.until_s:  # it spoke as it came in
            fast.until_s = self._loop.time() + self._first_byte_s
        connection = TextConnection(
            self._loop,
            self._watcher_of(fast),
            fast,
            partial(answer, state=self._state),
            self._connections.discard,
            self._spoken if self._calls is not None else None,
            takes_http=self.http is not None,
            peeks=self._calls is not None and self._calls.takes_fds,
        )
        self._connections.add(connection)
        return connection

    def _spoken(self, fast: FastConnection, data: bytes) -> None:
        """Go on with a connection whose first bytes came in pieces, in the dialect that they show."""
        if dialect.detect(data) == dialect.HTTP:
            self._speak_http(fast, data)
        else:
            self._call(fast, data)

    def _speak_http(self, fast: FastConnection, data: bytes) -> None:
        assert self.http is not None
        crowded = len(self) > self._most_of_calls
        self._watcher_of(fast).remove_reader(fast.sock.fileno())
        self._let_go(fast)
        self._connections.add(self.http.take(fast, data, self._connections.discard, crowded=crowded))

    def _call(self, fast: FastConnection, data: bytes, ran: Ran | bytes | None = None) -> None:
        connection = self._caller(fast)
        if ran is not None:
            connection.go_on(data, ran)
        elif fast.activity < 2 and len(self) > self._most_of_calls:
            connection.refuse(Overloaded(OVERLOADED, {"limit": self._most_of_calls}))
        else:
            connection.begin(data)

    def _caller(self, fast: FastConnection) -> VarlinkConnection:
        assert self._calls is not None
        assert self._threads is not None
        self._let_go(fast)
        fast.sock.setblocking(False)
        connection = self._make_caller(
            self._loop,
            self._watcher_of(fast),
            fast.sock,
            self._calls,
            self._threads,
            self._connections.discard,
            self._limits,
        )
        if self._takes_fast:
            connection.calm = self.take_back
        self._connections.add(connection)
        return connection


async def _drained(
    callers: list[VarlinkConnection | ForeignConnection], timeout_s: float, *, of_control: bool = False
) -> list[str]:
    """Drain connections; return the names of the calls on those that did not end in time."""
    if not callers:
        return []
    from daemonry.service.server.dispatch import DRAINING

    reason = Draining(DRAINING, {"begun": True})
    loop = asyncio.get_running_loop()
    owing = {loop.create_task(one.drain(reason, of_control=of_control)): one for one in callers}
    _, late = await asyncio.wait(owing, timeout=timeout_s)
    for task in late:
        task.cancel()
    return [owing[task].call or "a reply" for task in late]


def _open_of(
    uid: int | None,
    groups: Iterable[Iterable[FastConnection | TextConnection | VarlinkConnection | ForeignConnection]],
) -> int:
    """Return how many connections a user has."""
    return sum(1 for group in groups for one in group if one.peer.uid == uid)


def _answer_nothing(_data: bytes) -> None:
    return None


def most_of_calls(most: int) -> int:
    """Return how many of so many connections are for calls; the others are the control plane's."""
    return most - min(CONTROL_RESERVE, most // 4)


def most_connections() -> int:
    """Return the default for the number of connections: a share of the process's descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, int(soft * CONNECTION_SHARE))
