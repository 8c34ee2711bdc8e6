"""OpenTelemetry: a span of each call that a daemon answers, within the trace of its caller.

    Daemon("thumbnails", tracing=True)    a span of each call of the program's own methods
    otel.instrument()                     each call of this process carries its caller's trace

Owns the spans, and the join with opentelemetry-api, the extra `otel`.  Which spans are kept, and where they
go, says the SDK that the program configures; without one nothing is recorded.  A daemon that does not trace
never imports this file.

Handlers are coroutines whose steps are taken by whoever serves the call, also outside of a task.  So a span
is made the current one for each step, and not from its begin to its end.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self

from daemonry.errors import Refused
from daemonry.version import __version__
from daemonry.wire.varlink import split_name, tracing

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

Handler = Callable[..., Any]


def check_modules() -> None:
    """Return where spans can be made.

    Raises:
        Refused: the extra is not installed.
    """
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.trace") is None:
        raise Refused(
            "tracing needs opentelemetry-api: install the extra, as in pip install 'daemonry[otel]', "
            "or leave tracing off"
        )


def instrument() -> None:
    """Let each call that this process makes from now on carry its caller's place in its trace.

    Raises:
        Refused: the extra is not installed.
    """
    check_modules()
    from opentelemetry import propagate

    def fields() -> dict[str, str]:
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        return carrier

    tracing.source = fields


def uninstrument() -> None:
    """Undo `instrument`."""
    tracing.source = None


def spanned(full_name: str, kind: str, handler: Handler, trace: Mapping[str, str] | None) -> Handler:
    """Return a handler that makes a span of each call; see `dispatch.Spans`.

    Args:
        full_name: the method's.
        kind: "plain", "async", "stream" or "thread".
        handler: what answers the calls.
        trace: the caller's place in its trace; None for one that has none.
    """
    if kind == "stream":
        return functools.wraps(handler)(_spanned_stream(full_name, handler, trace))
    if kind == "async":
        return functools.wraps(handler)(_spanned_coroutine(full_name, handler, trace))

    @functools.wraps(handler)
    def plain(*args: Any, **kwargs: Any) -> Any:
        with _InSpan(full_name, trace) as span:
            return span.step(lambda: handler(*args, **kwargs))

    return plain


def _spanned_coroutine(full_name: str, handler: Handler, trace: Mapping[str, str] | None) -> Handler:
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        with _InSpan(full_name, trace) as span:
            return await _SpannedSteps(handler(*args, **kwargs), span)

    return coroutine


def _spanned_stream(full_name: str, handler: Handler, trace: Mapping[str, str] | None) -> Handler:
    async def stream(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        with _InSpan(full_name, trace) as span:
            results = handler(*args, **kwargs)
            try:
                while True:
                    try:
                        result = await _SpannedSteps(results.__anext__(), span)
                    except StopAsyncIteration:
                        return
                    yield result
            finally:
                await _SpannedSteps(results.aclose(), span)

    return stream


class _InSpan:
    """A span of one call, from its begin to its end.

    Args:
        full_name: the method's.
        trace: the caller's place in its trace; None for one that has none.
    """

    def __init__(self, full_name: str, trace: Mapping[str, str] | None) -> None:
        from opentelemetry import propagate
        from opentelemetry import trace as api

        service, method = split_name(full_name)
        self._span: Span = api.get_tracer("daemonry", __version__).start_span(
            full_name,
            context=propagate.extract(trace) if trace is not None else None,
            kind=api.SpanKind.SERVER,
            attributes={"rpc.system": "daemonry", "rpc.service": service, "rpc.method": method},
        )
        self._context: Context = api.set_span_in_context(self._span)

    def step(self, work: Callable[[], Any]) -> Any:
        """Do something with the span as the current one."""
        from opentelemetry import context

        token = context.attach(self._context)
        try:
            return work()
        finally:
            context.detach(token)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        from opentelemetry.trace import Status, StatusCode

        # The reader of a stream may have enough of it: that is not a failure.
        if error is not None and not isinstance(error, GeneratorExit):
            self._span.record_exception(error)
            self._span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
        self._span.end()


class _SpannedSteps:
    """An awaitable whose steps are taken with a span as the current one."""

    __slots__ = ("_awaited", "_span")

    def __init__(self, awaited: Awaitable[Any], span: _InSpan) -> None:
        self._awaited = awaited
        self._span = span

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._awaited.__await__()
        work: Callable[[], Any] = functools.partial(steps.send, None)
        while True:
            try:
                waits_for = self._span.step(work)
            except StopIteration as ended:
                return ended.value
            try:
                work = functools.partial(steps.send, (yield waits_for))
            except BaseException as raised:  # noqa: BLE001  # a cancellation belongs to the handler
                work = functools.partial(steps.throw, raised)
