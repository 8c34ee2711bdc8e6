"""A server that is reached over HTTP: the SDK's transports, with our headers, tokens and errors.

Owns what an HTTP failure means: whether the server was reached, whether the request was sent, and whether
it wants authorization.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import httpx2
from mcp.client.auth import AuthorizationCodeResult, OAuthFlowError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from mcp_cli.pool.access import bounds
from mcp_cli.pool.access.flows import access_of
from mcp_cli.pool.access.fresh import Fresh, said
from mcp_cli.pool.access.loopback import AccessRefused, Loopback
from mcp_cli.pool.access.tokens import StoreFailed
from mcp_cli.pool.http.answers import named
from mcp_cli.pool.http.overheard import Overheard, id_of
from mcp_cli.pool.results import brief
from mcp_cli.protocol.interfaces import Server

CONNECT_S = 30.0
# A server may be silent for as long as it works; how long a call may be is the call's own.
READ_S = 24 * 3600.0
# Answers that suggest a server of the older transport, as the specification has it.
OLDER = frozenset((400, 404, 405))

# They log URLs, which may hold a secret, and requests.
for _name in ("httpx2", "mcp"):
    logging.getLogger(_name).setLevel(logging.WARNING)
# Each flow that is refused, with its traceback; the refusal reaches the caller.
logging.getLogger("mcp.client.auth").setLevel(logging.CRITICAL)

Visit = Callable[[str], Awaitable[None]]


# Variables by which the HTTP client finds the authorities that it trusts.
_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class _Sends(Protocol):
    def __call__(self, request: httpx2.Request, *, sent: bool) -> None: ...


class NotGranted(OAuthFlowError):
    """There is no token, and nobody is there to grant one."""


class Unanswered(OAuthFlowError):
    """A request of a flow has met with something that nobody has told of."""


class Transport:
    """One connection's transport.

    Args:
        server: its definition.
        sse: whether the transport of 2024 is spoken.
        visit: is given the URL that the user opens, where there is a user; None otherwise.
        loopback: where the browser comes back to.

    Attributes:
        reached: whether the server ever answered, whatever it was.
        status: of its last answer that was an error; 0 for none.
        unauthorized: why it wants authorization; "" if it does not.
        awaited: whether a browser is waited for.
        broke_off: why a flow of authorization ended, unless a user was missing; "" while none has.
        overheard: the answers' text.
        kept_back: the requests, by id, that were not sent yet, or that the server refused for want of access.
    """

    def __init__(
        self, server: Server, *, sse: bool, visit: Visit | None = None, loopback: Loopback | None = None
    ) -> None:
        self.server = server
        self.sse = sse
        self.reached = False
        self.status = 0
        self.unauthorized = ""
        self.awaited = False
        self.broke_off = ""
        self.overheard = Overheard()
        self.kept_back: set[Any] = set()
        self._statuses: dict[Any, int] = {}  # by the id of a request that is waited for
        self._visit = visit
        self._visited = False
        self._loopback = loopback
        self._access: httpx2.Auth | None = None
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Any:
        server = self.server
        async with self._stack as stack:
            if self.sse:
                streams = await stack.enter_async_context(
                    sse_client(
                        server.url,
                        timeout=CONNECT_S,
                        sse_read_timeout=READ_S,
                        httpx_client_factory=self._client_for_sse,
                    )
                )
            else:
                client = await stack.enter_async_context(self._client())
                if isinstance(self._access, Fresh):
                    renewing = asyncio.create_task(self._access.stay_fresh())
                    stack.callback(renewing.cancel)
                streams = await stack.enter_async_context(
                    streamable_http_client(server.url, http_client=client, max_sse_event_size=None)
                )
            self._stack = stack.pop_all()
        return streams

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)

    def _client_for_sse(
        self,
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        return self._client()  # which has its own of all three

    def _client(self) -> httpx2.AsyncClient:
        headers = httpx2.Headers(self.server.headers)
        # Compressed bytes cannot be passed on as text.
        headers.setdefault("accept-encoding", "identity")
        access = self._auth()
        try:
            return httpx2.AsyncClient(
                headers=headers,
                timeout=httpx2.Timeout(CONNECT_S, read=READ_S),
                auth=access,
                event_hooks={"request": [self._asks], "response": [self._answered]},
            )
        except OSError as error:
            named = next((name for name in _CERTIFICATES if os.environ.get(name)), "")
            if not named:
                raise
            why = error.strerror or error
            raise RuntimeError(f"the certificates of {named}={os.environ[named]}: {why}") from None

    def _auth(self) -> httpx2.Auth | None:
        server = self.server
        if not server.oauth or any(name.lower() == "authorization" for name in server.headers):
            return None
        uri = self._loopback.uri if self._loopback is not None else ""
        try:
            self._access = access_of(server, uri, self._redirect, self._callback)
        except (OAuthFlowError, StoreFailed) as error:
            self.broke_off = said(error)
            raise
        return _Overseen(self._access, self._broke, self._sends)

    def _broke(self, error: Exception) -> None:
        if not isinstance(error, NotGranted) and not (self.broke_off and isinstance(error, Unanswered)):
            self.broke_off = said(error)

    def _sends(self, request: httpx2.Request, *, sent: bool) -> None:
        key = id_of(request.content)
        if sent:
            self.kept_back.discard(key)
        elif key is not None:
            self.kept_back.add(key)

    async def _redirect(self, url: str) -> None:
        if self._visit is None:
            ended = self._access.ended if isinstance(self._access, Fresh) else ""
            self.unauthorized = ended or "it wants to be authorized"
            raise NotGranted(self.unauthorized)
        if self._visited:
            raise OAuthFlowError("the tokens that were just granted have expired, or are refused")
        self._visited = True
        await self._visit(url)

    async def _callback(self) -> AuthorizationCodeResult:
        assert self._loopback is not None
        self.awaited = True
        try:
            fields = await self._loopback.wait()
        except AccessRefused as error:
            self.unauthorized = f"access was not granted: {brief(error)}"
            raise NotGranted(self.unauthorized) from None
        self.awaited = False
        return AuthorizationCodeResult(code=fields["code"], state=fields.get("state"), iss=fields.get("iss"))

    async def _asks(self, request: httpx2.Request) -> None:
        if bounds.authorizes(request):
            try:
                bounds.ask(request, self.server.url)
            except bounds.Unbounded as error:
                self._broke(error)
                raise

    async def _answered(self, response: httpx2.Response) -> None:
        if bounds.authorizes(response.request):
            bounds.hear(response, self._broke)
            return
        self.reached = True
        await self.overheard.hear(response)
        # No server has to offer a stream for its own messages (GET).
        if response.request.method != "POST" or not _same_place(str(response.request.url), self.server.url):
            return
        code = response.status_code
        self.status = code if code >= 400 else 0
        key = id_of(response.request.content)
        if self.status and self.overheard.expected(key):
            self._statuses[key] = code
        self.unauthorized = f"it answered {named(code)}" if code in (401, 403) else ""

    def never_sent(self, error: BaseException) -> bool:
        """Whether an error means that no request went out."""
        return isinstance(
            error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout | NotGranted
        )

    def keeps_back(self, answer: object, outstanding: Mapping[Any, object]) -> bool:
        """Whether the request of an answer was refused for want of access, or waited for it.

        The first of several that are refused ends the connection of all.
        """
        return any(outstanding.get(key) is answer for key in self.kept_back)

    def status_of(self, key: Any) -> int:
        """Return the status of the answer to one request, if that was an error, once; 0 otherwise."""
        return self._statuses.pop(key, 0)

    def reason(self, error: BaseException | None) -> str:
        """Return what an error means, for people; "" if that is not known here."""
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            where = self.server.url if error._request is None else str(error.request.url)  # noqa: SLF001  # `request` raises without
            return f"cannot connect to {shown(where)}: {brief(error) or 'no answer'}"
        if isinstance(error, OAuthFlowError | StoreFailed):
            return said(error)
        if self.status:
            return f"{shown(self.server.url)} answered {named(self.status)}"
        if isinstance(error, httpx2.HTTPError):
            return f"{shown(self.server.url)}: {type(error).__name__} {brief(error)}".rstrip()
        return ""

    def refusal(self) -> tuple[str, str]:
        """Return the stage at which access failed, and why; two "" where it did not."""
        if self.broke_off:
            return "access", self.broke_off
        return ("authorize", self.unauthorized) if self.unauthorized else ("", "")

    @property
    def maybe_older(self) -> bool:
        """Whether the failure is the one that a server of the older transport gives."""
        return not self.sse and self.server.kind == "http" and self.status in OLDER


class _Overseen(httpx2.Auth):
    """Another `Auth`, whose failures are seen: of the SDK's errors not all come as they were raised.

    Args:
        inner: the other.
        broke: is given each failure.
        sends: is told when a request is on its way, and when it is not, or was refused.
    """

    requires_request_body = True
    requires_response_body = True

    def __init__(self, inner: httpx2.Auth, broke: Callable[[Exception], None], sends: _Sends) -> None:
        self._inner = inner
        self._broke = broke
        self._sends = sends

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Hand on what the other asks."""
        flow = self._inner.async_auth_flow(request)
        outgoing = request
        self._sends(request, sent=False)
        try:
            outgoing = await flow.__anext__()
            while True:
                if outgoing is request:
                    self._sends(request, sent=True)
                response = yield outgoing
                if outgoing is request and response.status_code in (401, 403):
                    self._sends(request, sent=False)
                outgoing = await flow.asend(response)
        except StopAsyncIteration:
            return
        except GeneratorExit:
            # What a request of the flow has met with is not told here: only that there was no answer.
            if outgoing is not request:
                self._broke(Unanswered(f"{shown(str(outgoing.url))} gave no answer"))
            raise
        except (OAuthFlowError, StoreFailed, httpx2.HTTPError) as error:
            self._broke(error)
            raise
        finally:
            await flow.aclose()


def shown(url: str) -> str:
    """Return a URL without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _same_place(one: str, other: str) -> bool:
    first, second = urlsplit(one), urlsplit(other)
    return first.netloc.rpartition("@")[2] == second.netloc.rpartition("@")[2] and (
        first.path.rstrip("/") == second.path.rstrip("/")
    )
