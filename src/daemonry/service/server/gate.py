"""Connections whose client has yet to prove that it knows the token: those of a TCP endpoint.

Owns them until then: for how long, how many, and the end of those that prove nothing.  The exchange
itself is `transport.proof`'s.  Not a byte behind the proof is read here, so a connection that passes goes on
as a connection that was just accepted.

Nobody here counts as a connection of the server: others than its user can come here as often as they
like, and may not take its places.  Beyond `GATE_MOST` the oldest has to go, so that a flood does not
keep out a client that has the token and takes a millisecond to show it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from _socket import MSG_DONTWAIT
from _socket import socket as Socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from daemonry import clock
from daemonry.limits import GATE_LOG_S, GATE_MOST, WRONG_TOKEN_DELAY_S
from daemonry.service.server.text_connection import finish
from daemonry.transport import proof

if TYPE_CHECKING:
    from daemonry.service.server.epoll import Readers
    from daemonry.transport.stream import Listener

logger: logging.Logger = logging.getLogger("daemonry.server")


class WrongTokens:
    """How many clients presented a wrong proof: counted, and told to the log once in a while.

    Attributes:
        count: since the start.
    """

    def __init__(self) -> None:
        self.count: int = 0
        self._told = 0
        self._told_at_s: float | None = None

    def add(self, whom: str) -> None:
        """Count one, and write a line unless one was written just now."""
        self.count += 1
        now_s = clock.monotonic()
        if self._told_at_s is not None and now_s - self._told_at_s < GATE_LOG_S:
            return
        logger.warning("%d presented a wrong token, the last from %s", self.count - self._told, whom)
        self._told, self._told_at_s = self.count, now_s


class Gate:
    """Lets in who knows the token.

    Args:
        loop: the loop.
        readers: watches their sockets.
        token: the token that they have to know.
        timeout_s: how long all of the proof may take.
        proved: is given a socket whose client has proved it.
        wrong: counts those who presented a wrong one.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        readers: Readers | asyncio.AbstractEventLoop,
        token: str,
        timeout_s: float,
        proved: Callable[[Socket], None],
        wrong: WrongTokens,
    ) -> None:
        self._loop = loop
        self._readers = readers
        self._token = token
        self._timeout_s = timeout_s
        self._proved = proved
        self._wrong = wrong
        self._here: dict[Applicant, None] = {}  # in the order in which they came

    def __len__(self) -> int:
        return len(self._here)

    def __iter__(self) -> Iterator[Applicant]:
        return iter(list(self._here))

    def take_in(self, sock: Socket, exchange: proof.Served | None = None) -> None:
        """Take a connection, which may have begun with its proof elsewhere."""
        if len(self._here) >= GATE_MOST:
            self.end(next(iter(self._here)))
        sock.setblocking(False)
        applicant = Applicant(self, sock, exchange or new_exchange(self._token))
        self._here[applicant] = None
        applicant.timer = self._loop.call_later(self._timeout_s, partial(self.end, applicant))
        self._readers.add_reader(sock.fileno(), partial(self.read, applicant))
        self.read(applicant)  # most clients send before their connection is accepted

    def read(self, applicant: Applicant) -> None:
        """Read the part of a proof that has come."""
        exchange, sock = applicant.exchange, applicant.sock
        while exchange.wants_bytes:
            try:
                data = sock.recv(exchange.wants_bytes, MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data and not applicant.said:  # it looked whether somebody listens
                self.end(applicant)
                return
            applicant.said = True
            answer = exchange.receive(data)
            if exchange.refused is not None:
                self._refuse(applicant, answer)
            elif answer and not self._send(applicant, answer):
                return
        if exchange.done:
            self._leave(applicant)
            self._proved(sock)

    def _refuse(self, applicant: Applicant, answer: bytes) -> None:
        """Answer, and end the connection: at once, or after a while where the proof was wrong."""
        self._readers.remove_reader(applicant.sock.fileno())
        if not applicant.exchange.wrong:
            self._say_and_end(applicant, answer)
            return
        self._wrong.add(whom(applicant.sock))
        if applicant.timer is not None:
            applicant.timer.cancel()
        applicant.timer = self._loop.call_later(
            WRONG_TOKEN_DELAY_S, partial(self._say_and_end, applicant, answer)
        )

    def _say_and_end(self, applicant: Applicant, answer: bytes) -> None:
        if self._send(applicant, answer):
            finish(applicant.sock)
            self.end(applicant)

    def _send(self, applicant: Applicant, answer: bytes) -> bool:
        # A line of that length goes into the buffer of a socket that is as good as new, or the peer is gone.
        try:
            if applicant.sock.send(answer, MSG_DONTWAIT) == len(answer):
                return True
        except OSError:
            pass
        self.end(applicant)
        return False

    def end(self, applicant: Applicant) -> None:
        """End a connection.  Twice is not an error."""
        if applicant in self._here:
            self._leave(applicant)
            applicant.sock.close()

    def _leave(self, applicant: Applicant) -> None:
        del self._here[applicant]
        self._readers.remove_reader(applicant.sock.fileno())
        if applicant.timer is not None:
            applicant.timer.cancel()
            applicant.timer = None

    def close(self) -> None:
        """End every connection."""
        for applicant in self:
            self.end(applicant)

    def drop_in_child(self) -> None:
        """Close a forked child's copies, beside the loop, which parent and child share."""
        for applicant in self:
            applicant.sock.close()


class Applicant:
    """One connection in the gate.

    Attributes:
        exchange: the exchange so far.
        said: whether the client has sent anything.
        sock: the connection.
        timer: ends it.
    """

    __slots__ = ("_gate", "exchange", "said", "sock", "timer")

    def __init__(self, gate: Gate, sock: Socket, exchange: proof.Served) -> None:
        self._gate = gate
        self.exchange: proof.Served = exchange
        self.sock: Socket = sock
        self.said: bool = exchange.begun
        self.timer: asyncio.TimerHandle | None = None

    @property
    def activity(self) -> int:
        """As a connection's: see `retire`."""
        return 0

    def retire(self) -> None:
        """End it: its client has sent nothing yet but its proof, and tries again."""
        self._gate.end(self)


def new_exchange(token: str) -> proof.Served:
    """Return the beginning of a client's proof."""
    return proof.Served(token, os.urandom(proof.NONCE_BYTES).hex())


def whom(sock: Socket) -> str:
    """Return the address at the other end, for people."""
    try:
        return str(sock.getpeername()[0])
    except OSError:
        return "an address that is gone"


def token_of(listener: Listener) -> str | None:
    """Return what the clients of a listener have to prove that they know; None where nothing."""
    token: str | None = getattr(listener, "token", None)
    return token
