"""One call of one connection, from its first look to its last reply.

Owns running the handler, of every kind, and making replies of its results; sending them
is the connection's.  Which exception is which error on the wire is `failures`'.
"""

from __future__ import annotations

import asyncio
import logging
import types
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Executor
from functools import partial
from typing import Any, Final, Protocol

from daemonry import errors
from daemonry.clock import monotonic
from daemonry.service.interface.handler import Context, Speak, Upgrade
from daemonry.service.server import dispatch
from daemonry.service.server.dispatch import Bound, Calls
from daemonry.service.server.failures import FAILED, told_by
from daemonry.service.server.reply_check import Misfit
from daemonry.service.server.results import Results
from daemonry.service.server.stepping import Suspended
from daemonry.service.server.tap import Begun, Tap
from daemonry.transport.ancillary import Arrivals, Fd, close_all
from daemonry.transport.credentials import Peer
from daemonry.wire.varlink import AnyCall, AnyReply, Reply

logger: logging.Logger = logging.getLogger("daemonry.server")

# Replies of a stream in one turn of the loop, and for how long those that are there at once are collected, to
# leave together: so a stream that never waits leaves time for the others.
REPLIES_PER_TURN: Final = 256
TOGETHER_S: Final = 0.0005
# How many of them, and how many bytes, are collected before a client that does not read is looked for.
TOGETHER_BYTES: Final = 32 << 10
RESULTS_AT_ONCE: Final = 32


class CallConnection(Protocol):
    """The connection that a call came by."""

    @property
    def peer(self) -> Peer:
        """The caller."""

    @property
    def is_closed(self) -> bool:
        """Whether nobody can be answered any more."""

    @property
    def is_gone(self) -> bool:
        """Whether the caller is gone."""

    def send(self, reply: AnyReply, fds: list[Fd]) -> AnyReply:
        """Put a reply where it will be sent, or an error in its place; return the one that was put."""

    def send_more(self, data: bytes) -> None:
        """Put replies of a stream, as they are sent, where they will be; drop those of nobody."""

    def write(self) -> None:
        """Send what waits."""

    def upgrade(self, speak: Speak) -> None:
        """Be another protocol's once the reply is sent."""

    @property
    def is_full(self) -> bool:
        """Whether much waits to be sent."""

    async def until_drained(self) -> None:
        """Try to send, and wait until nothing waits any more."""

    def ended(self, call: RunningCall, failure: BaseException | None) -> None:
        """Go on behind a call that took its time; `failure` is a fault of ours."""


class _AnsweredAlready(Exception):
    """An error went out in place of a reply of a stream, which is over with it."""


class RunningCall:
    """A call in hand.

    Args:
        connection: the connection that it came by.
        served: the interfaces that may be called.
        loop: the loop that serves it.
        threads: where blocking handlers run.
        oneway: whether nobody is to be answered.

    Attributes:
        bound: the method; None until it is found.
        oneway: as given.
    """

    __slots__ = (
        *("_connection", "_context", "_loop", "_noted", "_reason", "_served"),
        *("_task", "_threads", "bound", "oneway"),
    )

    def __init__(
        self,
        connection: CallConnection,
        served: Calls,
        loop: asyncio.AbstractEventLoop,
        threads: Executor,
        *,
        oneway: bool,
    ) -> None:
        self._connection = connection
        self._served = served
        self._loop = loop
        self._threads = threads
        self.oneway = oneway
        self.bound: Bound | None = None
        self._context: Context | None = None
        self._task: asyncio.Task[None] | None = None
        self._reason: errors.CallFailed | None = None  # why it was cancelled, if we did
        self._noted = _Noted(served.tap, connection.peer)

    @property
    def lasts(self) -> bool:
        """Whether it takes its time."""
        return self._task is not None

    @property
    def is_open(self) -> bool:
        """Whether it is the control plane's."""
        return self.bound is not None and self.bound.open

    # --- its end by others ------------------------------------------------------------------------

    async def drain(self, reason: errors.CallFailed) -> None:
        """Wait for its end; a stream ends with `reason`."""
        task = self._task
        if task is not None:
            if self.bound is not None and self.bound.kind == "stream":
                self._reason = reason
                task.cancel()
            await asyncio.wait((task,))

    def caller_gone(self) -> None:
        """End it, since nobody waits for it, unless it is one-way."""
        if not self.oneway:
            self._cancel()

    def abandon(self) -> None:
        """End it with its connection."""
        self._cancel()
        self._noted.cancelled("the caller is gone")

    def _cancel(self) -> None:
        if self._context is not None:
            self._context.leave()
        if self._task is not None:
            self._task.cancel()

    # --- its beginning ----------------------------------------------------------------------------

    def begin(self, call: AnyCall, arrivals: Arrivals | None, start: int) -> None:
        """Answer it, or begin what takes its time.

        Args:
            call: the call.
            arrivals: the descriptors that came; None where none are taken.
            start: where the call began among the connection's bytes.
        """
        self._noted.begin(call)
        try:
            bound = self.bound = self._served.find(call)
        except errors.CallFailed as error:
            self._send(dispatch.refusal(error))
            return
        quick = bound.kind == "plain"
        context = dispatch.context_of(call, self._connection.peer) if bound.method.context else None
        try:
            if bound.method.takes_fds:
                arguments = _arguments_with_fds(bound, call, context, arrivals, start)
            else:
                arguments = bound.arguments(call, context)
        except errors.CallFailed as error:
            self._send(dispatch.refusal(error))
            return
        except Exception as error:  # noqa: BLE001  # a type's own __post_init__ may raise anything
            self._fail(bound, error)
            return
        self._context = context
        if quick:
            self._answer(bound, arguments)
        elif bound.kind == "async" and self._served.slow_call_s is None and self._served.stepper.is_ready():
            self._step(bound, arguments)
        else:
            self._noted.lasts(call.method)
            work = self._stream if bound.kind == "stream" else self._await
            self._run(work(bound, arguments))

    def take(self, bound: Bound, result: Any, error: BaseException | None) -> None:
        """Go on with a call whose handler was called already: with its result, or its exception."""
        self.bound = bound
        if isinstance(error, asyncio.CancelledError):
            self._cancelled()
        elif error is not None:
            self._fail(bound, error)
        else:
            self._take_result(bound, result)

    def _answer(self, bound: Bound, arguments: dict[str, Any]) -> None:
        try:
            result = bound.function(**arguments)
        except BaseException as error:  # noqa: BLE001  # whatever a handler raises does not end the daemon
            self.take(bound, None, error)
            return
        self._take_result(bound, result)

    def _step(self, bound: Bound, arguments: dict[str, Any]) -> None:
        """Take a coroutine's first step, with which it may be done."""
        try:
            result = bound.function(**arguments)
            if type(result) is types.CoroutineType:
                result = self._served.stepper.begin(result)
        except BaseException as error:  # noqa: BLE001  # the same; nothing was awaited yet
            self.take(bound, None, error)
        else:
            self._take_result(bound, result)

    def _take_result(self, bound: Bound, result: Any) -> None:
        if type(result) is Suspended:
            self._noted.lasts(bound.full_name)
            self._watch(result.go_on(lambda rest: self._await_result(bound, rest)))
        elif type(result) is types.CoroutineType:  # a plain function around an async one
            self._run(self._await_result(bound, result))
        else:
            self._reply(bound, result)

    # --- what takes its time ----------------------------------------------------------------------

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self._watch(self._loop.create_task(work))

    def _watch(self, task: asyncio.Task[None]) -> None:
        self._served.running += 1
        self._task = task
        task.add_done_callback(self._ran)

    def _ran(self, task: asyncio.Task[None]) -> None:
        self._served.running -= 1
        self._task = self._context = None
        if task.cancelled() and not self._connection.is_closed:
            self._cancelled()
        self._connection.ended(self, None if task.cancelled() else task.exception())

    def _cancelled(self) -> None:
        reason = self._reason
        if reason is None:
            gone = self._connection.is_gone
            self._noted.cancelled("the caller is gone" if gone else "cancelled by the program")
            reason = errors.Failed(FAILED, {"message": "the call was cancelled"})
        self._send(dispatch.refusal(reason))

    async def _await(self, bound: Bound, arguments: dict[str, Any]) -> None:
        watch = self._served.stopwatch(bound)
        if bound.kind == "thread":
            work = partial(bound.function, **arguments)
            result: Any = self._loop.run_in_executor(
                self._threads, work if watch is None else watch.in_thread(work)
            )
        else:
            result = bound.function(**arguments)
            if watch is not None:
                result = watch.on_loop(result)
        await self._await_result(bound, result)
        if watch is not None:
            watch.tell()

    async def _await_result(self, bound: Bound, result: Any) -> None:
        try:
            value = await result
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  # as above
            self._fail(bound, error)
            return
        self._reply(bound, value)

    async def _stream(self, bound: Bound, arguments: dict[str, Any]) -> None:
        results: Results | None = None
        try:
            generator: AsyncIterator[Any] = bound.function(**arguments)
            results = Results(generator)
            await self._send_all(bound, results)
        except _AnsweredAlready:
            pass
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  # as above
            self._fail(bound, error)
        finally:
            if results is not None:
                await results.close()

    async def _send_all(self, bound: Bound, results: Results) -> None:
        connection = self._connection
        held: list[Any] = []
        most, count, until_s = 1, 0, 0.0
        while True:
            if not held:
                try:
                    held.append(await results.next())
                except StopAsyncIteration:
                    self._send(Reply())
                    return
                until_s = monotonic() + TOGETHER_S
            if connection.is_full:
                await connection.until_drained()
            held += results.at_once(most, until_s)
            if results.error is not None:
                self._send_more(bound, held)
                results.fail()
            if results.ended:
                self._send_more(bound, held[:-1])
                self._send_one(bound, held[-1], last=True)
                connection.write()
                return
            # The last is kept until it is known for one behind which another comes, unless that takes time.
            ready, held = (held, []) if results.waits else (held[:-1], held[-1:])
            most = min(4 * most, RESULTS_AT_ONCE, self._send_more(bound, ready))
            count += len(ready)
            # Results that are there at once leave together.
            is_turn_over = count >= REPLIES_PER_TURN or monotonic() >= until_s
            if results.waits or is_turn_over:
                connection.write()
                if is_turn_over:
                    await asyncio.sleep(0)
                    count = 0
                until_s = monotonic() + TOGETHER_S

    def _send_more(self, bound: Bound, results: list[Any]) -> int:
        """Put replies behind which others come where they will be sent; return how many fill a step."""
        data = bound.items.frames(results)
        if data is not None and len(data) <= self._served.most_bytes:
            self._connection.send_more(data)
            return max(1, TOGETHER_BYTES * len(results) // (len(data) or 1))
        for result in results:
            frame = bound.items.frame(result)
            if frame is None or len(frame) > self._served.most_bytes:
                self._send_one(bound, result, last=False)
            else:
                self._connection.send_more(frame)
        return 1

    def _send_one(self, bound: Bound, result: Any, *, last: bool) -> None:
        fds: list[Fd] = []
        try:
            reply = bound.reply(result, continues=not last, fds=fds)
        except Exception:
            close_all(fds)
            raise
        if last and reply.parameters in ({}, b"{}"):
            # Clients take an empty last reply for the end alone.
            self._send(Reply(None, continues=True))
        if not self._send(reply, fds):
            self._connection.write()
            raise _AnsweredAlready

    # --- its replies ------------------------------------------------------------------------------

    def _reply(self, bound: Bound, result: Any) -> None:
        fds: list[Fd] = []
        speak = None
        try:
            if bound.method.upgrades:
                if not isinstance(result, Upgrade):
                    raise Misfit(f"expected `Upgrade`, got `{type(result).__name__}`")
                result, speak = result.reply, result.speak
            reply = bound.reply(result, fds=fds)
        except Exception as error:  # noqa: BLE001  # a result of another type than the method's
            close_all(fds)
            self._fail(bound, error)
            return
        if self._send(reply, fds) and speak is not None:
            self._connection.upgrade(speak)

    def _fail(self, bound: Bound, raised: BaseException) -> None:
        self._send(self._served.failures.error(bound, raised, self._connection.peer))

    def _send(self, reply: AnyReply, fds: list[Fd] | None = None) -> bool:
        """Put a reply where it will be sent; False if an error had to take its place."""
        if self._connection.is_closed:
            close_all(fds or ())
            return True
        sent = self._connection.send(reply, fds or [])
        self._noted.end(sent)
        return sent is reply


class _Noted:
    """The events of one call, for those that watch.

    Args:
        tap: the watchers.
        peer: the caller.
    """

    __slots__ = ("_begun", "_peer", "_tap")

    def __init__(self, tap: Tap, peer: Peer) -> None:
        self._tap = tap
        self._peer = peer
        self._begun: Begun | None = None

    def begin(self, call: AnyCall) -> None:
        """Note that it begins, if anybody watches."""
        if self._tap.watchers:
            self._begun = self._tap.begin(call.method, self._peer, call.parameters, lasts=False)

    def lasts(self, method: str) -> None:
        """Note that it takes its time."""
        if self._begun is None:
            self._begun = self._tap.begin(method, self._peer, None, lasts=True)
        else:
            self._tap.lasts(self._begun)

    def end(self, reply: AnyReply) -> None:
        """Note a reply: the last one ends it."""
        if self._begun is not None and not reply.continues:
            self._tap.end(self._begun, reply.error, told_by(reply), None if reply.error else reply.parameters)
            self._begun = None

    def cancelled(self, reason: str) -> None:
        """Note that it was not let come to its end."""
        if self._begun is not None:
            self._tap.cancelled(self._begun, reason)
            self._begun = None


def _arguments_with_fds(
    bound: Bound, call: AnyCall, context: Context | None, arrivals: Arrivals | None, start: int
) -> dict[str, Any]:
    fds = arrivals.take(start) if arrivals is not None else []
    try:
        return bound.arguments(call, context, fds)
    finally:
        close_all(fds)  # those that no parameter took
