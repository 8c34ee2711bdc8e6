"""The application: all routes behind the guard, on uvicorn's protocol.

Owns putting them together.  Imported by the first request, with all that is third-party.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route, Router
from uvicorn.server import ServerState

from daemonry.http.call_routes import CallRoutes
from daemonry.http.guard import Guard
from daemonry.http.page_files import PageFiles
from daemonry.http.problems import Problem
from daemonry.http.protocol import CONNECTION, Protocol, config_of
from daemonry.http.requests import body_of, query_of
from daemonry.http.responses import json_response
from daemonry.http.routes import Routes

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from daemonry.daemon.http_settings import Http
    from daemonry.http.browser_sessions import BrowserSessions
    from daemonry.http.connection import HttpConnection
    from daemonry.http.host import Host
    from daemonry.service.server.bounds import Bounds
    from daemonry.service.server.gate import WrongTokens

_CODE_BYTES = 1024


class App:
    """HTTP for one process.

    Args:
        host: the process.
        settings: what its program says of HTTP.
        bounds: what its server lets clients do.
        sessions: the codes and tokens of browsers.
        hosts: returns what `Host` may say on the port.
        tokens: returns the tokens that count now.
        wrong: counts those who present another one.
    """

    def __init__(  # each by name, once
        self,
        *,
        host: Host,
        settings: Http,
        bounds: Bounds,
        sessions: BrowserSessions,
        hosts: Callable[[], frozenset[str]],
        tokens: Callable[[], Iterable[str]],
        wrong: WrongTokens,
    ) -> None:
        self._host = host
        self._sessions = sessions
        self._calls = CallRoutes(host, bounds.frame_bytes)
        self._routes = Routes(host, self._calls, [part.name for part in settings.parts])
        routes: list[BaseRoute] = [
            *self._routes.all(),
            *PageFiles(host, settings.parts).all(),
            Route("/v1/session", self._session, methods=["POST"]),
            *_of_the_program(settings.routes, host),
        ]
        self._router = Router(routes, redirect_slashes=False)
        self._guard = Guard(self._serve, hosts, tokens, wrong, bounds.stall_s)
        self._config = config_of(self._guard)
        self._shared = ServerState()

    def protocol(self, connection: HttpConnection) -> Protocol:
        """Return the protocol for a connection."""
        return Protocol(self._config, self._shared, connection)

    def close(self) -> None:
        """Listen to nothing, and begin no further blocking handler."""
        self._routes.close()
        self._calls.close()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self._router  # or the router answers 404 and 405 itself, in plain text
        try:
            await self._router(scope, receive, send)
        except HTTPException as error:
            raise _problem(scope, error) from None

    async def _session(self, request: Request) -> Response:
        query_of(request, {})
        code = (await body_of(request, _CODE_BYTES)).get("code")
        token = self._sessions.redeem(code) if isinstance(code, str) else None
        if token is None:
            await self._guard.wrong_token(
                request.scope[CONNECTION],
                f"The code is not known, or was used: run `daemonry ui {self._host.name}` again.",
            )
        return json_response({"token": token})


def _problem(scope: Scope, error: HTTPException) -> Problem:
    details = {
        404: f"There is nothing at {scope['path']}; /openapi.json tells what there is.",
        405: f"{scope['path']} does not take {scope['method']}.",
    }
    return Problem(
        error.status_code, details.get(error.status_code, error.detail), headers=dict(error.headers or {})
    )


def _of_the_program(target: str, host: Host) -> list[Any]:
    """Return the program's own routes, which stand at `module:function`."""
    if not target:
        return []
    module, _, name = target.partition(":")
    found: list[Any] = getattr(importlib.import_module(module), name)(host)
    return found
