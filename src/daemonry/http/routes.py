"""The routes that every daemon has: health, status, commands, events, logs, metrics.

Owns what each of them answers.  The commands are those of the text dialect, and are asked of the same
state, so that all dialects agree.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response
from starlette.routing import Route

from daemonry.errors import DaemonryError
from daemonry.http import openapi
from daemonry.http.call_routes import CallRoutes
from daemonry.http.event_source import EventSource
from daemonry.http.event_stream import EventStream
from daemonry.http.log_lines import EVERY, LEVELS, ServedLog, Wanted, as_they_come, lines_there
from daemonry.http.meter import KEPT_S, Meter
from daemonry.http.problems import Problem
from daemonry.http.requests import body_of, flag, number, one_of, query_of, some_of
from daemonry.http.responses import json_response
from daemonry.limits import HTTP_LOG_LINES
from daemonry.process.log_reader import parse_span
from daemonry.wire.text import ALREADY_PAUSED, NOT_PAUSED

if TYPE_CHECKING:
    from starlette.requests import Request

    from daemonry.http.host import Host

TOPICS: Final = ("state", "call")
_MOST_TEXT_CHARS: Final = 200
# A command has no parameters.
_COMMAND_BYTES: Final = 1024


class Routes:
    """The routes of one process.

    Args:
        host: the process.
        calls: the routes of its methods.
        part_names: the parts of its page.
    """

    def __init__(self, host: Host, calls: CallRoutes, part_names: list[str]) -> None:
        self._host = host
        self._calls = calls
        self._part_names = part_names
        self._sources = {flagged: EventSource(host, payloads=flagged) for flagged in (False, True)}
        self._meter: Meter | None = None

    def close(self) -> None:
        """Listen to nothing any more."""
        for source in self._sources.values():
            source.close()

    def all(self) -> list[Route]:
        """Return them."""
        made = [
            Route("/health", self._health),
            Route("/v1/status", self._status),
            Route("/v1/events", self._events),
            Route("/v1/logs", self._logs),
            Route("/v1/rates", self._rates),
            Route("/metrics", self._metrics),
            Route("/openapi.json", self._openapi),
            Route("/v1/reload", self._reload, methods=["POST"]),
            Route("/v1/stop", self._stop, methods=["POST"]),
            *self._calls.all(),
        ]
        if self._host.kind != "home":
            made.append(Route("/v1/pause", self._pause, methods=["POST"]))
            made.append(Route("/v1/resume", self._resume, methods=["POST"]))
        return made

    async def _health(self, request: Request) -> Response:
        query_of(request, {})
        reasons = self._host.not_ready()
        found = {"live": True, "ready": not reasons, "reasons": reasons}
        return json_response(found, 503 if reasons else 200)

    async def _status(self, request: Request) -> Response:
        query_of(request, {})
        return json_response(await self._host.status())

    async def _events(self, request: Request) -> Response:
        query = query_of(request, {"topics": some_of(*TOPICS), "parameters": flag})
        source = self._sources[query.get("parameters", False)]
        topics = query.get("topics", frozenset(TOPICS)) | {"service"}
        return EventStream(self._busy(source.pieces(request.headers.get("last-event-id", ""), topics)))

    async def _logs(self, request: Request) -> Response:
        logs = self._host.logs()
        query = query_of(
            request,
            {
                "lines": number(0, HTTP_LOG_LINES),
                "level": one_of(*LEVELS),
                "since": parse_span,
                "grep": _text,
                "follow": flag,
                **({"service": one_of(EVERY, *logs)} if logs else {}),
            },
        )
        follow = query.pop("follow", False)
        service = query.get("service", "")
        chosen = (
            logs if service == EVERY else {service: logs[service]} if service else {"": self._host.log_path}
        )
        sources = [ServedLog(path, name) for name, path in chosen.items()]
        wanted = Wanted(
            query.get("lines", 100), query.get("level", "debug"), query.get("grep", ""), query.get("since")
        )
        if follow:
            return EventStream(self._busy(as_they_come(sources, wanted)))
        return json_response({"lines": await lines_there(sources, wanted)})

    async def _busy(self, pieces: AsyncGenerator[str, None]) -> AsyncIterator[str]:
        """Keep the daemon from ending because it is idle while somebody listens."""
        with self._host.busy():
            try:
                async for piece in pieces:
                    yield piece
            finally:
                await pieces.aclose()

    async def _rates(self, request: Request) -> Response:
        query_of(request, {})
        return json_response(
            {
                "seconds": self.meter.recent(),
                "kept": KEPT_S,
                "running": self._host.calls.running,
                "connections": self._host.connections(),
            }
        )

    async def _metrics(self, request: Request) -> Response:
        from daemonry.http.metrics import exposition

        query_of(request, {})
        accept = request.headers.get("accept", "")
        body, media_type = exposition(self._host, self.meter, await self._host.status(), accept)
        return Response(body, headers={"content-type": media_type})

    async def _openapi(self, request: Request) -> Response:
        query_of(request, {})
        return json_response(openapi.document(self._host, self._part_names))

    @property
    def meter(self) -> Meter:
        """What counts calls, from now on at the latest."""
        if self._meter is None:
            self._meter = Meter(self._calls.is_served)
            self._host.calls.tap.watchers.add(self._meter)
        return self._meter

    # --- commands -------------------------------------------------------------------------------------

    async def _pause(self, request: Request) -> Response:
        return await self._command(request, self._host.state.pause, ALREADY_PAUSED)

    async def _resume(self, request: Request) -> Response:
        return await self._command(request, self._host.state.resume, NOT_PAUSED)

    async def _reload(self, request: Request) -> Response:
        return await self._command(request, self._host.state.reload_config)

    async def _stop(self, request: Request) -> Response:
        stop = getattr(self._host.state, "stop", None)
        if stop is None:
            raise Problem(501, "It cannot be stopped from here.")
        return await self._command(request, stop, status=202)

    async def _command(
        self, request: Request, command: Callable[[], Any], nothing_to_do: str = "", status: int = 200
    ) -> Response:
        query_of(request, {})
        if await body_of(request, _COMMAND_BYTES):
            raise Problem(400, "The command takes no parameters.")
        changed, note = True, None
        try:
            result = command()
            note = await result if inspect.isawaitable(result) else result
        except DaemonryError as error:
            if not nothing_to_do or str(error) != nothing_to_do:
                raise Problem(409, str(error)) from None
            changed = False
        for source in self._sources.values():
            await source.look_again()
        state = str((await self._host.status()).get("state", ""))
        return json_response({"state": state, "changed": changed, "note": note or ""}, status)


def _text(text: str) -> str:
    if len(text) > _MOST_TEXT_CHARS:
        raise ValueError(f"it is longer than {_MOST_TEXT_CHARS} characters")
    return text
