"""The guard in front of every request: access, the headers of every response, and slow readers.

Owns doing what `security` decides.  A wrong token is answered late and counted; a client that does not
take its response is cut off; whatever fails becomes a problem, and never a trace.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from daemonry.http import security
from daemonry.http.problems import MEDIA_TYPE, Problem
from daemonry.http.protocol import CONNECTION
from daemonry.limits import WRONG_TOKEN_DELAY_S

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from daemonry.http.connection import HttpConnection
    from daemonry.service.server.gate import WrongTokens

logger: logging.Logger = logging.getLogger("daemonry.http")

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# On every response: no foreign page may read, frame or guess any of them, and nothing keeps them.
_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", _POLICY.encode("ascii")),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
# Requests that find room where there is room for nothing else.
_CONTROL_PATHS: Final = frozenset(
    {"/health", "/v1/status", "/v1/pause", "/v1/resume", "/v1/reload", "/v1/stop", "/metrics"}
)


class Guard:
    """An ASGI application around another one.

    Args:
        app: what answers those who may ask.
        hosts: returns what `Host` may say on the port.
        tokens: returns the tokens that count now.
        wrong: counts those who present another one.
        stall_s: how long a client may take for each piece of its response.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Callable[[], frozenset[str]],
        tokens: Callable[[], Iterable[str]],
        wrong: WrongTokens,
        stall_s: float,
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._tokens = tokens
        self._wrong = wrong
        self._stall_s = stall_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        answer = _Answer(scope[CONNECTION], send, self._stall_s)
        try:
            await self._admit(scope, scope[CONNECTION])
            await self._app(scope, receive, answer.send)
        except Problem as problem:
            await answer.problem(problem)
        except OSError as error:  # the response could not be sent
            if not answer.broken:
                logger.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
                await answer.problem(_unforeseen())
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            await answer.problem(_unforeseen())

    async def _admit(self, scope: Scope, connection: HttpConnection) -> None:
        """Return where a request may be answered.

        Raises:
            Problem: it may not.
        """
        if connection.crowded and scope["path"] not in _CONTROL_PATHS:
            raise Problem(
                503, "There are as many connections as the daemon takes.", headers={"Connection": "close"}
            )
        if not connection.on_port:
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        reason = security.wrong_host(hosts, self._hosts())
        if reason:
            raise Problem(421, reason, headers={"Connection": "close"})
        public = security.is_public(scope["method"], scope["path"])
        # A link may lead to the page from anywhere; what stands there nobody else can read or frame.
        reason = "" if public and scope["method"] != "POST" else security.wrong_origin(headers, self._hosts())
        if reason:
            raise Problem(403, reason, headers={"Connection": "close"})
        if public:
            return
        token = security.presented(headers)
        if token is None:
            raise Problem(
                401,
                "The request has no token: send it as `Authorization: Bearer TOKEN`.",
                headers={"WWW-Authenticate": "Bearer", "Connection": "close"},
            )
        if not security.is_token(token, self._tokens()):
            await self.wrong_token(connection, "That is not the token.")
        connection.trusted = True

    async def wrong_token(self, connection: HttpConnection, detail: str) -> None:
        """Count a wrong token, and refuse it after a while.

        Raises:
            Problem: always.
        """
        self._wrong.add(connection.where)
        await asyncio.sleep(WRONG_TOKEN_DELAY_S)
        raise Problem(401, detail, headers={"WWW-Authenticate": "Bearer", "Connection": "close"})


def _unforeseen() -> Problem:
    return Problem(500, "The daemon failed to answer; its log has the reason.")


class _Answer:
    """One response on its way."""

    def __init__(self, connection: HttpConnection, send: Send, stall_s: float) -> None:
        self._connection = connection
        self._send = send
        self._stall_s = stall_s
        self._begun = False
        self.broken = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begun = True
            there = {name for name, _ in message["headers"]}
            more = [(name, value) for name, value in _HEADERS if name not in there]
            message = {**message, "headers": [*message["headers"], *more]}
        try:
            async with asyncio.timeout(self._stall_s):
                await self._send(message)
        except TimeoutError:
            self.broken = True
            logger.info("%s does not read its response; disconnected", self._connection.where or "a client")
            self._connection.abort()
            raise

    async def problem(self, problem: Problem) -> None:
        if self._begun:
            self._connection.abort()
            return
        headers = {"content-type": MEDIA_TYPE, **problem.headers}
        body = problem.body()
        headers["content-length"] = str(len(body))
        start: dict[str, Any] = {
            "type": "http.response.start",
            "status": problem.status,
            "headers": [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
            ],
        }
        await self.send(start)
        await self.send({"type": "http.response.body", "body": body})
