"""One call of one connection, from its first look to its last reply.

Owns running the handler, of every kind, and making replies of its results; sending them
is the connection's.  Which exception is which error on the wire is `failures`'.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Executor
from functools import partial
from typing import Any, Protocol

from daemonry import errors
from daemonry.service.interface.handler import Context, Speak, Upgrade
from daemonry.service.server import dispatch
from daemonry.service.server.dispatch import Bound, Calls
from daemonry.service.server.failures import FAILED, told_by
from daemonry.service.server.reply_check import Misfit
from daemonry.service.server.stepping import Suspended
from daemonry.service.server.streams.results import Results
from daemonry.service.server.streams.sending import AnsweredAlready, Sending, StreamConnection
from daemonry.service.server.tap import Begun, Tap
from daemonry.transport.ancillary import Arrivals, Fd, close_all
from daemonry.transport.credentials import Peer
from daemonry.wire.varlink import AnyCall, AnyReply


class CallConnection(StreamConnection, Protocol):
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

    def upgrade(self, speak: Speak) -> None:
        """Be another protocol's once the reply is sent."""

    def ended(self, call: RunningCall, failure: BaseException | None) -> None:
        """Go on behind a call that took its time; `failure` is a fault of ours."""


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
        *("_answered", "_connection", "_context", "_loop", "_noted", "_reason", "_served"),
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
        self._answered = False  # to the end
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

    def begin(self, call: AnyCall, arrivals: Arrivals | None, start: int, *, alone: bool) -> None:
        """Answer it, or begin what takes its time.

        Args:
            call: the call.
            arrivals: the descriptors that came; None where none are taken.
            start: where the call began among the connection's bytes.
            alone: whether nothing came behind it.
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
        elif self._may_step(bound, alone=alone):
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

    def _may_step(self, bound: Bound, *, alone: bool) -> bool:
        # The first turn of a stream is half a millisecond, which many in a row do not get from the loop.
        if bound.kind != "async" and not (bound.kind == "stream" and alone):
            return False
        return self._served.slow_call_s is None and self._served.stepper.is_ready()

    def _step(self, bound: Bound, arguments: dict[str, Any]) -> None:
        """Take a coroutine's first step, with which it may be done."""
        try:
            if bound.kind == "stream":
                result: Any = self._stream(bound, arguments)
            else:
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
            if self._connection.is_closed or self._connection.is_gone:
                self.caller_gone()  # it left meanwhile, when there was no task to be cancelled
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
        if not self._answered:
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
            sending = Sending(self._connection, self._send, self._served.most_bytes)
            await sending.all(bound, results)
        except AnsweredAlready:
            pass
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  # as above
            self._fail(bound, error)
        finally:
            if results is not None:
                await self._close(bound, results)

    async def _close(self, bound: Bound, results: Results) -> None:
        try:
            await results.close()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  # as above; the caller has its answer
            self._served.failures.log_clean_up(bound, error)

    # --- its replies ------------------------------------------------------------------------------

    def _reply(self, bound: Bound, result: Any) -> None:
        if bound.kind == "stream":
            return  # it sent its replies itself
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
        self._answered = not sent.continues
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
