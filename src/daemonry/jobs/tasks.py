"""The functions that jobs run: the check of their parameters, their calls, and traces of their exceptions."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, get_type_hints

import msgspec

from daemonry.jobs.refusals import NoSuchTask, UnfitParameters
from daemonry.jobs.retry import RetryPolicy
from daemonry.jobs.run import JobRun

_TRACE_LINES: Final = 40
_OURS: Final = os.path.dirname(__file__)


class JobTask(NamedTuple):
    """A function that jobs run.

    Attributes:
        name: the task's name.
        function: called with a `JobRun` and the job's parameters.
        retry: when a job runs more than once.
        concurrency: how many of its jobs run at once.
        timeout_s: how long one run may take; None for as long as it likes.
    """

    name: str
    function: Callable[..., Any]
    retry: RetryPolicy
    concurrency: int
    timeout_s: float | None

    @property
    def is_async(self) -> bool:
        """Whether it is cancelled by an exception; a plain one looks at `job.canceled`."""
        return inspect.iscoroutinefunction(self.function)

    def arguments(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return a job's parameters as its function takes them.

        Raises:
            UnfitParameters: one is missing, unknown or of another type.
        """
        hints = get_type_hints(self.function)
        try:
            inspect.signature(self.function).bind(None, **parameters)
        except TypeError as error:
            raise UnfitParameters(task=self.name, reason=str(error)) from None
        arguments = {}
        for name, value in parameters.items():
            try:
                arguments[name] = msgspec.convert(value, hints.get(name, Any))
            except msgspec.ValidationError as error:
                raise UnfitParameters(task=self.name, reason=f"{name}: {error}") from None
        return arguments

    async def call(self, one: JobRun, parameters: Mapping[str, Any]) -> Any:
        """Call the function, and return what it returns.

        Raises:
            Whatever it raises; TimeoutError when its time is over.
            CancelledError: it was cancelled, or is a plain one that returned after that.
        """
        arguments = self.arguments(parameters)
        if self.is_async:
            async with asyncio.timeout(self.timeout_s):
                return await self.function(one, **arguments)
        result = await _in_thread(lambda: self.function(one, **arguments), f"job {one.job}")
        if one.canceled:
            raise asyncio.CancelledError
        return result


async def _in_thread(act: Callable[[], Any], name: str) -> Any:
    """Call in a thread of its own, which the process does not wait for when it ends."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if not future.done():
            future.set_result(result) if error is None else future.set_exception(error)

    def work() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = act()
        except StopIteration as stop:  # a future takes none
            error = RuntimeError(f"StopIteration: {stop}")
        except BaseException as raised:  # noqa: BLE001  # it is the job's outcome
            error = raised
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            pass  # the loop is closed: the daemon has ended

    threading.Thread(target=work, name=name, daemon=True).start()
    return await future


def checked(known: Mapping[str, JobTask], task: str, parameters: dict[str, Any], most_bytes: int) -> str:
    """Return a job's parameters as JSON.

    Raises:
        NoSuchTask, UnfitParameters: they are not the parameters of a task.
    """
    if task not in known:
        raise NoSuchTask(task=task[:80], known=sorted(known))
    known[task].arguments(parameters)
    text = msgspec.json.encode(parameters)
    if len(text) > most_bytes:
        raise UnfitParameters(task=task, reason=f"they are longer than {most_bytes} bytes of JSON")
    return text.decode()


def trace_of(error: BaseException) -> str:
    """Return the trace of a task's exception from the task's own first frame on, at most 40 lines."""
    trace = error.__traceback__
    while trace is not None and os.path.dirname(trace.tb_frame.f_code.co_filename) == _OURS:
        trace = trace.tb_next
    lines = "".join(traceback.format_exception(type(error), error, trace)).splitlines()
    return "\n".join(lines[-_TRACE_LINES:])
