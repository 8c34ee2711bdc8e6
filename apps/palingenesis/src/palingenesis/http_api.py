"""The original's HTTP API, `/api/v1/...`: its routes, its payloads, its errors, on daemonry's server.

Owns that translation.  What the original did without a token needs one on the port here, as everything.
`/health` and `/metrics` of the library are the library's; the original's are below `/api/v1` too.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response
from starlette.routing import Route

from daemonry import strict_json
from daemonry.cli.kit import ALREADY_PAUSED, NOT_PAUSED
from daemonry.errors import DaemonryError
from daemonry.http.kit import EventStream, Host, framed, json_response

if TYPE_CHECKING:
    from starlette.requests import Request

# The original's.
_HEARTBEAT_S = 30.0
_LOOK_S = 1.0
_COUNTS = {"saves_count": "Saves of sessions.", "total_resumes": "Sessions that went on."}


def routes(host: Host) -> list[Route]:
    """Return the original's routes."""
    api = _Api(host)
    return [
        Route("/api/v1/status", api.status),
        Route("/api/v1/pause", api.pause, methods=["POST"]),
        Route("/api/v1/resume", api.resume, methods=["POST"]),
        Route("/api/v1/new-session", api.new_session, methods=["POST"]),
        Route("/api/v1/health", api.health),
        Route("/api/v1/events", api.events),
        Route("/api/v1/metrics", api.metrics),
        Route("/api/v1/{rest:path}", _nothing_there, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
    ]


class _Api:
    def __init__(self, host: Host) -> None:
        self._host = host

    async def status(self, request: Request) -> Response:
        status = await self._host.status()
        settings = self._host.config().daemon
        monitoring = self._host.config().monitoring
        return _done(
            {
                "state": status.get("state"),
                "pid": os.getpid(),
                "current_session": status.get("current_session"),
                "stats": {name: status.get(name) for name in ("uptime_secs", "saves_count", "total_resumes")},
                "config_summary": {
                    "http_enabled": settings.http_enabled,
                    "http_port": settings.http_port,
                    "auto_detect": monitoring.auto_detect,
                    "assistants": monitoring.assistants,
                },
            }
        )

    async def health(self, request: Request) -> Response:
        status = await self._host.status()
        issues = list(self._host.not_ready())
        found: dict[str, Any] = {
            "status": "degraded" if issues else "ok",
            "uptime": _for_people(int(status.get("uptime_secs", 0))),
        }
        return _done({**found, "issues": issues} if issues else found)

    async def pause(self, request: Request) -> Response:
        return await _command(self._host.state.pause, {ALREADY_PAUSED: "ALREADY_PAUSED"}, "PAUSE_ERROR")

    async def resume(self, request: Request) -> Response:
        return await _command(self._host.state.resume, {NOT_PAUSED: "NOT_PAUSED"}, "RESUME_ERROR")

    async def new_session(self, request: Request) -> Response:
        """Refuse: the original counted, and began nothing; here a session is begun for one that stopped."""
        return _failed(
            500,
            "SESSION_ERROR",
            "name the session that a new one is to take over from: palingenesis new-session SESSION",
        )

    async def events(self, request: Request) -> Response:
        return EventStream(self._events())

    async def _events(self) -> AsyncGenerator[str, None]:
        yield framed("connected", strict_json.encode({"event": "connected", "timestamp": _now()}))
        resumes, quiet_s = (await self._host.status()).get("total_resumes", 0), 0.0
        while True:
            await asyncio.sleep(_LOOK_S)
            now = (await self._host.status()).get("total_resumes", 0)
            quiet_s += _LOOK_S
            for _ in range(now - resumes):
                yield framed(
                    "resume_succeeded", strict_json.encode({"event": "resume_succeeded", "timestamp": _now()})
                )
            if now == resumes and quiet_s >= _HEARTBEAT_S:
                yield ": heartbeat\n\n"
            if now != resumes or quiet_s >= _HEARTBEAT_S:
                resumes, quiet_s = now, 0.0

    async def metrics(self, request: Request) -> Response:
        status = await self._host.status()
        registry = CollectorRegistry()
        for name, about in _COUNTS.items():
            Counter(f"palingenesis_{name}", about, registry=registry).inc(float(status.get(name, 0)))
        Gauge("palingenesis_uptime_seconds", "Since its start.", registry=registry).set(
            float(status.get("uptime_secs", 0))
        )
        Gauge("palingenesis_paused", "1 while it is paused.", registry=registry).set(
            float(status.get("state") == "paused")
        )
        encoder, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encoder(registry), headers={"content-type": media_type})


async def _nothing_there(request: Request) -> Response:
    return _failed(404, "NOT_FOUND", f"there is nothing at {request.url.path}")


async def _command(command: Callable[[], Any], known: dict[str, str], otherwise: str) -> Response:
    try:
        result = command()
        if inspect.isawaitable(result):
            await result
    except DaemonryError as error:
        code = known.get(str(error))
        return _failed(500 if code is None else 400, code or otherwise, str(error))
    return json_response({"success": True})


def _done(data: dict[str, Any]) -> Response:
    return json_response({"success": True, "data": data})


def _failed(status: int, code: str, message: str) -> Response:
    return json_response({"success": False, "error": {"code": code, "message": message}}, status)


def _for_people(seconds: int) -> str:
    """Return a span as the original has it: 2h30m, 5m, 12s."""
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    if hours:
        return f"{hours}h{minutes}m"
    return f"{minutes}m" if minutes else f"{seconds}s"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
