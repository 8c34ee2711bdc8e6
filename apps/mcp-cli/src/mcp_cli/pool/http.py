"""A server that is reached over HTTP: the SDK's transports, with our headers, tokens and errors.

Owns what an HTTP failure means: whether the server was reached, whether the request was sent, and whether
it wants authorization.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx2
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider, OAuthFlowError, TokenStorage
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthMetadata, OAuthToken
from mcp_types import CONNECTION_CLOSED, INTERNAL_ERROR, INVALID_REQUEST, PARSE_ERROR
from pydantic import AnyUrl

from mcp_cli.pool.access import tokens
from mcp_cli.pool.access.loopback import AccessRefused, Loopback
from mcp_cli.pool.overheard import Overheard
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


class NotGranted(OAuthFlowError):
    """There is no token, and nobody is there to grant one."""


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
        overheard: the answers' text.
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
        self.overheard = Overheard()
        self._visit = visit
        self._loopback = loopback
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
        return httpx2.AsyncClient(
            headers=headers,
            timeout=httpx2.Timeout(CONNECT_S, read=READ_S),
            auth=self._auth(),
            event_hooks={"response": [self._answered, self.overheard.hear]},
        )

    def _auth(self) -> httpx2.Auth | None:
        server = self.server
        if not server.oauth or any(name.lower() == "authorization" for name in server.headers):
            return None
        storage = _Storage(server, self._loopback.uri if self._loopback is not None else "")
        provider = OAuthClientProvider(
            server.url,
            OAuthClientMetadata(
                redirect_uris=[AnyUrl(storage.redirect_uri)],
                client_name="mcp-cli",
                scope=" ".join(server.oauth_scopes) or None,
            ),
            storage,
            redirect_handler=self._redirect,
            callback_handler=self._callback,
        )
        storage.follow(provider)
        return provider

    async def _redirect(self, url: str) -> None:
        if self._visit is None:
            self.unauthorized = "it wants to be authorized"
            raise NotGranted(self.unauthorized)
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

    async def _answered(self, response: httpx2.Response) -> None:
        self.reached = True
        # Tokens are asked for elsewhere; and no server has to offer a stream for its own messages (GET).
        if response.request.method != "POST" or not _same_place(str(response.request.url), self.server.url):
            return
        code = response.status_code
        self.status = code if code >= 400 else 0
        self.unauthorized = f"it answered {_status(code)}" if code in (401, 403) else ""

    def never_sent(self, error: BaseException) -> bool:
        """Whether an error means that no request went out."""
        return isinstance(
            error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout | NotGranted
        )

    def session_lost(self, code: int, message: str) -> str:
        """Return what an error means that says that the server does not know our session; else ""."""
        # The specification has 404; many servers answer 400.  The first two are the SDK's words for an
        # HTTP error, else the server has words of its own.
        said = (code, message) in (
            (INVALID_REQUEST, "Session terminated"),
            (INTERNAL_ERROR, "Server returned an error response"),
        )
        if self.status in (400, 404, 410) and (said or "session" in message.lower()):
            return f"{shown(self.server.url)} answered {_status(self.status)}"
        return ""

    def reason(self, error: BaseException | None) -> str:
        """Return what an error means, for people; "" if that is not known here."""
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            return f"cannot connect to {shown(self.server.url)}: {brief(error) or 'no answer'}"
        if isinstance(error, OAuthFlowError):
            return brief(error)
        if self.status:
            return f"{shown(self.server.url)} answered {_status(self.status)}"
        if isinstance(error, httpx2.HTTPError):
            return f"{shown(self.server.url)}: {type(error).__name__} {brief(error)}".rstrip()
        return ""

    def unanswered(self, code: int, message: str) -> str:
        """Return what an error means that is the SDK's, for an answer that it could not take; else ""."""
        if not self.status and code == CONNECTION_CLOSED and message.startswith("SSE stream "):
            return brief(message)
        if code == PARSE_ERROR and message.startswith("Failed to parse "):
            return "its answer cannot be understood"  # the SDK's words have the answer in them
        return ""

    @property
    def maybe_older(self) -> bool:
        """Whether the failure is the one that a server of the older transport gives."""
        return not self.sse and self.server.kind == "http" and self.status in OLDER


def shown(url: str) -> str:
    """Return a URL without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _same_place(one: str, other: str) -> bool:
    first, second = urlsplit(one), urlsplit(other)
    return first.netloc.rpartition("@")[2] == second.netloc.rpartition("@")[2] and (
        first.path.rstrip("/") == second.path.rstrip("/")
    )


def _status(code: int) -> str:
    with contextlib.suppress(ValueError):
        return f"{code} {httpx2.codes(code).name.replace('_', ' ').title()}"
    return str(code)


class _Storage(TokenStorage):
    """Our files, as the SDK wants them."""

    def __init__(self, server: Server, redirect_uri: str) -> None:
        self._server = server
        self._kept = tokens.load(server.url)
        if redirect_uri and redirect_uri != self._kept.redirect_uri:
            # The client was registered for another address: a new one is.
            self._kept.client = ""
            self._kept.redirect_uri = redirect_uri
        self.redirect_uri = self._kept.redirect_uri or f"http://127.0.0.1{Loopback.PATH}"
        self._provider: OAuthClientProvider | None = None

    def follow(self, provider: OAuthClientProvider) -> None:
        """Give the provider what the SDK does not keep by itself."""
        self._provider = provider
        if self._kept.expires_at:
            provider.context.token_expiry_time = self._kept.expires_at
        if self._kept.metadata:
            with contextlib.suppress(ValueError):
                provider.context.oauth_metadata = OAuthMetadata.model_validate_json(self._kept.metadata)

    async def get_tokens(self) -> OAuthToken | None:
        if self._kept.tokens:
            with contextlib.suppress(ValueError):
                return OAuthToken.model_validate_json(self._kept.tokens)
        return None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self._kept.tokens = tokens.model_dump_json(exclude_none=True)
        self._kept.expires_at = time.time() + tokens.expires_in if tokens.expires_in else 0.0
        self._save()

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        server = self._server
        if server.oauth_client_id:
            return OAuthClientInformationFull(
                client_id=server.oauth_client_id,
                client_secret=server.oauth_client_secret or None,
                redirect_uris=[AnyUrl(self.redirect_uri)],
            )
        if self._kept.client:
            with contextlib.suppress(ValueError):
                return OAuthClientInformationFull.model_validate_json(self._kept.client)
        return None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self._kept.client = client_info.model_dump_json(exclude_none=True)
        self._save()

    def _save(self) -> None:
        if self._provider is not None and self._provider.context.oauth_metadata is not None:
            self._kept.metadata = self._provider.context.oauth_metadata.model_dump_json(exclude_none=True)
        tokens.save(self._kept)
