"""A typed method called by HTTP: the same checks, the same handler, the same errors as over Varlink.

Owns one call's way from its parameters to its replies.  Which errors there are is `dispatch`'s and
`failures`'s; the form of answers is `call_routes`'s.  A call whose caller has gone is cancelled, as
over Varlink; a stream ends with an error when the daemon does.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import TYPE_CHECKING, Any

from daemonry import errors
from daemonry.service.server import dispatch
from daemonry.service.server.dispatch import Bound, Calls
from daemonry.service.server.failures import FAILED, told_by
from daemonry.service.server.streams.results import Results
from daemonry.wire.varlink import Call, Reply

if TYPE_CHECKING:
    from daemonry.service.interface.declare import Method
    from daemonry.service.interface.handler import Context
    from daemonry.service.server.tap import Begun
    from daemonry.transport.credentials import Peer

NOT_OVER_HTTP = "org.daemonry.Http.NotOverHttp"


def method_of(calls: Calls, full_name: str) -> Method | None:
    """Return the served method of that name; None for none."""
    interface, _, name = full_name.rpartition(".")
    where = calls.interface(interface)
    return None if where is None else where.methods.get(name)


def is_callable(method: Method) -> bool:
    """Whether a method can be called over HTTP: descriptors, and other protocols, need a Unix socket."""
    return not (method.takes_fds or method.gives_fds or method.upgrades)


class CallInHand:
    """One call.

    Args:
        calls: the interfaces that are served.
        threads: where blocking handlers run.
        full_name: the method's name, with its interface's.
        parameters: its parameters.
        peer: the caller.
        trace: the caller's place in its trace, if it has one.

    Attributes:
        bound: the method, once it was found.
        streams: whether it gives several replies.
    """

    def __init__(
        self,
        calls: Calls,
        threads: Executor,
        full_name: str,
        parameters: dict[str, Any],
        peer: Peer,
        trace: Mapping[str, str] | None = None,
    ) -> None:
        method = method_of(calls, full_name)
        self.streams: bool = method is not None and method.streams
        self.bound: Bound | None = None
        self._method = method
        self._calls = calls
        self._threads = threads
        self._call = Call(full_name, parameters, more=self.streams)
        self._call.trace = trace
        self._peer = peer
        self._begun: Begun | None = None
        self._context: Context | None = None
        self._arguments: dict[str, Any] = {}

    async def reply(self) -> Reply:
        """Run the method, which has begun, and return its reply, or its error.

        A cancellation is passed on to the handler, and counts as a caller that has gone.
        """
        bound = self.bound
        assert bound is not None
        with _Running(self):
            try:
                return self._ended(bound.reply(await self._result(bound)))
            except (asyncio.CancelledError, GeneratorExit):
                self._gone("the caller is gone")
                raise
            except BaseException as error:  # noqa: BLE001  # whatever a handler raises does not end the daemon
                return self._ended(self._calls.failures.error(bound, error, self._peer))

    async def replies(self) -> AsyncGenerator[Reply, None]:
        """Run a stream's method, which has begun, and yield its replies; the last may be an error."""
        bound = self.bound
        assert bound is not None
        results = None
        with _Running(self):
            try:
                results = Results(bound.function(**self._arguments))
                while True:
                    try:
                        result = await results.next()
                    except StopAsyncIteration:
                        break
                    yield bound.reply(result, continues=True)
                self._ended(Reply())
            except (asyncio.CancelledError, GeneratorExit):
                self._gone("the caller is gone")
                raise
            except BaseException as error:  # noqa: BLE001  # the same
                yield self._ended(self._calls.failures.error(bound, error, self._peer))
            finally:
                if results is not None:
                    await results.close()

    def begin(self) -> Reply | None:
        """Find the method and check the parameters; return the error with which nothing is run."""
        error = self._refused()
        return None if error is None else self._ended(error)

    def _refused(self) -> Reply | None:
        tap = self._calls.tap
        self._begun = tap.begin(self._call.method, self._peer, self._call.parameters, lasts=False)
        if self._method is not None and not is_callable(self._method):
            reason = "it passes descriptors, or gives the connection away: call it over the Unix socket"
            return Reply({"method": self._call.method, "reason": reason}, error=NOT_OVER_HTTP)
        try:
            bound = self._calls.find(self._call)
        except errors.CallFailed as error:
            return dispatch.refusal(error)
        self.bound = bound
        self._context = dispatch.context_of(self._call, self._peer)
        try:
            self._arguments = bound.arguments(self._call, self._context)
        except errors.CallFailed as error:
            return dispatch.refusal(error)
        except Exception as error:  # noqa: BLE001  # a type's own __post_init__ may raise anything
            return self._calls.failures.error(bound, error, self._peer)
        if bound.kind != "plain":
            tap.lasts(self._begun)
        return None

    async def _result(self, bound: Bound) -> Any:
        arguments = self._arguments
        watch = self._calls.stopwatch(bound)
        try:
            if bound.kind == "thread":
                work = partial(bound.function, **arguments)
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(
                    self._threads, work if watch is None else watch.in_thread(work)
                )
            result = bound.function(**arguments)
            if bound.kind == "async" or type(result) is types.CoroutineType:
                return await (result if watch is None else watch.on_loop(result))
            return result
        finally:
            if watch is not None:
                watch.tell()

    def count(self, by: int) -> None:
        """Count the call among those that run."""
        self._calls.running += by

    def _ended(self, reply: Reply) -> Reply:
        if self._begun is not None:
            self._calls.tap.end(
                self._begun, reply.error, told_by(reply), None if reply.error else reply.parameters
            )
            self._begun = None
        return reply

    def _gone(self, reason: str) -> None:
        if self._context is not None:
            self._context.leave()
        if self._begun is not None:
            self._calls.tap.cancelled(self._begun, reason)
            self._begun = None


class _Running:
    """Counts a call among those that run."""

    def __init__(self, call: CallInHand) -> None:
        self._call = call

    def __enter__(self) -> None:
        self._call.count(1)

    def __exit__(self, *exc: object) -> None:
        self._call.count(-1)


def cancelled() -> Reply:
    """Return the error for a caller whose call the program itself has cancelled."""
    return Reply({"message": "the call was cancelled"}, error=FAILED)
