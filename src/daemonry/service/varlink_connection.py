"""One accepted connection that speaks Varlink, on an asyncio loop.

Owns its socket, the calls that run for it, and what waits to be sent.  Whose turn it is to speak
is `wire.connection`'s; what a call comes to is `calls`'s.

A peer that is gone has its running call cancelled.  A peer that has only finished sending (a
half-closed connection) is answered to the end.  A peer that does not read is waited for: a stream
is not asked for more while `HIGH_WATER_BYTES` wait, and after `REPLY_TIMEOUT_S` without a byte
taken the connection is closed.
"""

from __future__ import annotations

import asyncio
import logging
import select
from _socket import socket as Socket
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, Final

from daemonry import errors
from daemonry.limits import READ_BYTES, REPLY_TIMEOUT_S
from daemonry.service import calls
from daemonry.service.calls import Bound, Calls
from daemonry.service.handler import Context
from daemonry.transport.credentials import Peer
from daemonry.wire import fast_varlink
from daemonry.wire.connection import Ended, ServerConnection
from daemonry.wire.varlink import Call, Reply

logger = logging.getLogger("daemonry.server")

# What may wait to be sent before a stream is held: asyncio's own mark is 64 KiB, h2's 64 KiB.
HIGH_WATER_BYTES: Final = 1 << 18
# What a peer may send ahead of its answers before its socket is left alone.
READ_AHEAD_BYTES: Final = 1 << 20


class VarlinkConnection:
    """A client that calls.

    Args:
        loop: the loop that serves it.
        sock: the accepted socket, not blocking; closed by this object.
        peer: who is at its other end.
        served: the interfaces that it may call.
        threads: where blocking handlers run.
        closed: called once, when the socket is closed.
    """

    __slots__ = (
        "_closed",
        "_context",
        "_drained",
        "_finishing",
        "_loop",
        "_machine",
        "_out",
        "_over",
        "_peer",
        "_reading",
        "_served",
        "_sock",
        "_task",
        "_threads",
        "_timer",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: Socket,
        peer: Peer,
        served: Calls,
        threads: Executor,
        closed: Callable[[Any], None],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._peer = peer
        self._served = served
        self._threads = threads
        self._closed = closed
        self._machine = ServerConnection(fast_varlink)
        self._out = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._context: Context | None = None
        self._drained: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reading = False
        self._finishing = False
        self._over = False
        self._read_on()

    @property
    def busy(self) -> bool:
        """Whether a call of it runs."""
        return self._task is not None

    def receive(self, data: bytes) -> None:
        """Take bytes that were read already; `b""` is the end of what the peer sends."""
        if data:
            self._machine.receive_data(data)
            if self._machine.buffered_bytes > READ_AHEAD_BYTES and self._task is not None:
                self._read_no_more()
        else:
            self._machine.receive_eof()
            self._finishing = True
            self._read_no_more()
            if self._is_gone():
                self.close()
                return
        self._advance()

    def close(self) -> None:
        """End the connection and whatever runs for it.  Twice is not an error."""
        fd = self._sock.fileno()
        if fd < 0:
            return
        self._read_no_more()
        self._loop.remove_writer(fd)
        if self._timer is not None:
            self._timer.cancel()
        if self._context is not None:
            self._context.gone.set()
        if self._task is not None:
            self._task.cancel()
        self._sock.close()
        self._closed(self)

    # --- reading ----------------------------------------------------------------------------------

    def _readable(self) -> None:
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self.receive(data)

    def _read_on(self) -> None:
        if not self._reading:
            self._reading = True
            self._loop.add_reader(self._sock.fileno(), self._readable)

    def _read_no_more(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._sock.fileno())

    def _is_gone(self) -> bool:
        # Both halves closed, and not only the one that the peer sends on.
        poll = select.poll()
        poll.register(self._sock.fileno(), 0)
        return any(found & (select.POLLHUP | select.POLLERR) for _, found in poll.poll(0))

    # --- calls ------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Begin the calls that wait, until one takes its time or too much waits to be sent."""
        while self._task is None and len(self._out) <= HIGH_WATER_BYTES:
            try:
                event = self._machine.next_event()
            except errors.RemoteProtocolError as error:
                self._last_word(error)
                break
            if event is None:
                break
            if isinstance(event, Ended):
                self._finish()
                break
            self._begin(event)
        if self._out and self._timer is None:
            self._write()

    def _begin(self, call: Call) -> None:
        try:
            bound = self._served.find(call)
            context = (
                calls.context_of(call, self._peer) if bound.method.context or bound.kind != "plain" else None
            )
            arguments = bound.arguments(call, context)
        except errors.CallFailed as error:
            self._send(calls.refusal(error))
            return
        if bound.kind == "plain":
            self._answer(bound, arguments)
        else:
            self._context = context
            self._run(
                self._stream(bound, arguments) if bound.kind == "stream" else self._await(bound, arguments)
            )

    def _answer(self, bound: Bound, arguments: dict[str, Any]) -> None:
        try:
            reply = bound.reply(bound.function(**arguments))
        except Exception as error:  # noqa: BLE001  # a handler may raise anything; the caller is told
            reply = bound.error(error)
        self._send(reply)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = self._loop.create_task(work)
        self._task.add_done_callback(self._ran)

    def _ran(self, task: asyncio.Task[None]) -> None:
        self._task = self._context = None
        if self._sock.fileno() < 0 or task.cancelled():
            return
        if task.exception() is not None:
            logger.error("a connection failed", exc_info=task.exception())
            self.close()
            return
        if not self._finishing:
            self._read_on()
        self._advance()

    async def _await(self, bound: Bound, arguments: dict[str, Any]) -> None:
        try:
            if bound.kind == "thread":
                result = await self._loop.run_in_executor(self._threads, lambda: bound.function(**arguments))
            else:
                result = await bound.function(**arguments)
            reply = bound.reply(result)
        except Exception as error:  # noqa: BLE001
            reply = bound.error(error)
        self._send(reply)

    async def _stream(self, bound: Bound, arguments: dict[str, Any]) -> None:
        results: AsyncIterator[Any] = bound.function(**arguments)
        try:
            async for reply in calls.replies(bound, results):
                self._send(reply)
                self._write()
                await self._until_drained()
        except Exception as error:  # noqa: BLE001
            self._send(bound.error(error))
        finally:
            await results.aclose()  # type: ignore[attr-defined]

    # --- writing ----------------------------------------------------------------------------------

    def _send(self, reply: Reply) -> None:
        if self._sock.fileno() < 0:
            return
        try:
            self._out += self._machine.send_reply(reply)
        except errors.LocalProtocolError as error:
            logger.error("a reply could not be sent: %s", error)
            message = {"message": f"the reply could not be sent: {error}"}
            self._out += self._machine.send_reply(Reply(message, error=calls.FAILED))

    def _last_word(self, error: errors.RemoteProtocolError) -> None:
        self._out += self._machine.send_reply(Reply({"reason": str(error)}, error=calls.PROTOCOL_VIOLATION))
        self._finish()

    def _finish(self) -> None:
        """Close as soon as all is sent; no further call will come."""
        self._over = True
        self._read_no_more()
        if not self._out:
            self.close()

    def _write(self) -> None:
        if not self._out or self._sock.fileno() < 0:
            return
        try:
            sent = self._sock.send(self._out)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        del self._out[:sent]
        if self._out:
            self._write_later(progressed=bool(sent))
        else:
            self._all_sent()

    def _write_later(self, *, progressed: bool) -> None:
        if self._timer is None:
            self._loop.add_writer(self._sock.fileno(), self._writable)
        elif progressed:
            self._timer.cancel()
        if self._timer is None or progressed:
            self._timer = self._loop.call_later(REPLY_TIMEOUT_S, self._too_slow)

    def _writable(self) -> None:
        self._write()
        if self._timer is None and self._sock.fileno() >= 0 and self._task is None:
            self._advance()

    def _too_slow(self) -> None:
        logger.warning("%s does not read its replies; disconnected", self._peer)
        self.close()

    def _all_sent(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._loop.remove_writer(self._sock.fileno())
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self._over:
            self.close()

    async def _until_drained(self) -> None:
        if len(self._out) > HIGH_WATER_BYTES:
            self._drained = self._loop.create_future()
            await self._drained
            self._drained = None
