"""`POST /v1/call/INTERFACE/METHOD`: every typed method, with its parameters as a JSON object.

Owns the form of answers: a reply is a JSON object, a stream is server-sent events, an error a problem.
A client that goes away has its call cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from starlette.responses import Response
from starlette.routing import Route

from daemonry import strict_json
from daemonry.http.calls import CallInHand, cancelled, method_of
from daemonry.http.event_stream import EventStream, framed, until_gone
from daemonry.http.problems import of_error
from daemonry.http.protocol import CONNECTION
from daemonry.http.requests import body_of, query_of
from daemonry.limits import MAX_HANDLER_THREADS
from daemonry.wire import fast_varlink

if TYPE_CHECKING:
    from starlette.requests import Request

    from daemonry.http.connection import HttpConnection
    from daemonry.http.host import Host
    from daemonry.wire.varlink import Reply


# W3C Trace Context, and what goes with it.
_TRACE_HEADERS: Final = ("traceparent", "tracestate", "baggage")


class CallRoutes:
    """The route of all methods.

    Args:
        host: the process.
        most_bytes: how long a call's parameters may be.
    """

    def __init__(self, host: Host, most_bytes: int) -> None:
        self._host = host
        self._most_bytes = most_bytes
        self._threads = ThreadPoolExecutor(MAX_HANDLER_THREADS, thread_name_prefix="daemonry-http")

    def all(self) -> list[Route]:
        """Return it."""
        return [Route("/v1/call/{interface}/{method}", self._call, methods=["POST"])]

    def is_served(self, full_name: str) -> bool:
        """Whether there is a method of that name."""
        return method_of(self._host.calls, full_name) is not None

    def close(self) -> None:
        """Begin no further blocking handler."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, request: Request) -> Response:
        query_of(request, {})
        parameters = await body_of(request, self._most_bytes)
        full_name = f"{request.path_params['interface']}.{request.path_params['method']}"
        connection: HttpConnection = request.scope[CONNECTION]
        method = method_of(self._host.calls, full_name)
        connection.call = full_name if method is not None else ""
        connection.is_program = not full_name.startswith(("org.daemonry.Control.", "org.varlink.service."))
        trace = {name: request.headers[name] for name in _TRACE_HEADERS if name in request.headers}
        call = CallInHand(
            self._host.calls, self._threads, full_name, parameters, connection.peer, trace or None
        )
        refused = call.begin()
        if refused is None and call.streams:
            return EventStream(_pieces(call))
        reply = refused if refused is not None else await _unless_gone(call, request)
        if reply.error is not None:
            raise of_error(reply.error, reply.parameters)
        return _json(reply)


def _json(reply: Reply) -> Response:
    return Response(fast_varlink.encode_parameters(reply.parameters), media_type="application/json")


async def _unless_gone(call: CallInHand, request: Request) -> Reply:
    """Return a call's reply; cancel it when the client goes first."""
    running = asyncio.create_task(call.reply())
    gone = asyncio.create_task(until_gone(request.receive))
    try:
        await asyncio.wait((running, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        running.cancel()
        gone.cancel()
        await asyncio.wait((running, gone))
    return cancelled() if running.cancelled() else running.result()


async def _pieces(call: CallInHand) -> AsyncIterator[str]:
    replies = call.replies()
    try:
        async for reply in replies:
            yield _event(reply)
            if reply.error is not None:
                return
        yield framed("end", "{}")
    finally:
        await replies.aclose()


def _event(reply: Reply) -> str:
    if reply.error is not None:
        return framed("error", strict_json.encode(of_error(reply.error, reply.parameters).members()))
    return framed("reply", fast_varlink.encode_parameters(reply.parameters).decode("utf-8"))
