"""OAuth for requests to a server: the SDK's flows, with tokens that are renewed before they expire.

Owns when tokens are renewed and by which process, and what the configuration demands of a flow: issuer,
scopes, how the client proves itself.  The flows themselves, and the checks of what an authorization server
says, are the SDK's.  A request with a good token does not enter the SDK's flow, which holds a lock until the
server has answered: calls would wait for one another.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import AsyncGenerator
from typing import Any, Final

import httpx2
from mcp.client.auth import OAuthClientProvider, OAuthFlowError, OAuthRegistrationError, OAuthTokenError
from mcp.client.auth.utils import (
    build_oauth_authorization_server_metadata_discovery_urls,
    build_protected_resource_metadata_discovery_urls,
    create_oauth_metadata_request,
    credentials_match_issuer,
    extract_field_from_www_auth,
    handle_auth_metadata_response,
    handle_protected_resource_response,
    issuers_match,
    validate_metadata_issuer,
)
from mcp.shared.auth import OAuthClientMetadata
from pydantic import Field

from mcp_cli.pool.access import bounds, tokens
from mcp_cli.pool.access.storage import ServerTokens
from mcp_cli.pool.results import brief
from mcp_cli.protocol.interfaces import Server

logger = logging.getLogger("mcp_cli.server")

# Tokens are renewed so long before they expire: a call and the clocks' difference fit in.  Of a token that
# lives for a minute, its last fifth.
MARGIN_S: Final = 60.0
MARGIN_SHARE: Final = 0.2
# After a renewal that failed while the old token is good.
RETRY_S: Final = 15.0
# How long the renewing task sleeps where nothing expires.
LONG_S: Final = 3600.0


class ScopedMetadata(OAuthClientMetadata):
    """Our client, whose configured scopes win over those that a server names.

    Attributes:
        wanted: the configured scopes, with blanks between; "" for what the server names.
        steps_up: whether a server has refused these as too few.
    """

    wanted: str = Field(default="", exclude=True)
    steps_up: bool = Field(default=False, exclude=True)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "scope" and self.wanted and not self.steps_up:
            value = self.wanted
        super().__setattr__(name, value)


class Fresh(OAuthClientProvider):
    """What all of our flows have in common; `begin` is called once after the SDK's constructor.

    Attributes:
        ended: why tokens that there were are of no use any more; "" while they are.
    """

    ended = ""

    def begin(self, server: Server, stored: ServerTokens) -> None:
        """Take the server's definition and its stored tokens."""
        self._server = server
        self._stored = stored
        self._not_before = 0.0
        given = self.context.client_metadata
        wanted = " ".join(server.oauth_scopes)
        self.context.client_metadata = ScopedMetadata(
            **{**given.model_dump(exclude={"scope"}), "scope": wanted or None, "wanted": wanted}
        )
        stored.follow(self.context)

    # --- a request ---------------------------------------------------------------------------

    async def _auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        await self.keep_fresh()
        held: httpx2.Response | None = None
        while self.context.is_token_valid():
            used = self._access_token()
            self._add_auth_header(request)
            held = yield request
            if held.status_code != 401 and not _too_few_scopes(held):
                return
            if held.status_code != 401 or not await self._has_other(used):
                break
            held = None
        metadata = self.context.client_metadata
        assert isinstance(metadata, ScopedMetadata)
        metadata.steps_up = held is not None and held.status_code == 403
        flow = super()._auth_flow(request)
        try:
            outgoing = await flow.__anext__()  # has the lock from here on
            if held is not None and outgoing is request and self._access_token() in ("", used):
                outgoing = await flow.asend(held)
            while True:
                outgoing = await flow.asend((yield outgoing))
        except StopAsyncIteration:
            return
        finally:
            await flow.aclose()

    def _access_token(self) -> str:
        return self.context.current_tokens.access_token if self.context.current_tokens else ""

    async def _has_other(self, used: str) -> bool:
        """Whether there is, or can be made, another token than one that the server refused."""
        async with tokens.renewing(tokens.key_of(self._server)):
            self._take_newer()
            if self._access_token() == used and self._can_renew():
                await self._renew()
        return self._access_token() not in ("", used)

    # --- renewal -----------------------------------------------------------------------------

    def due_in_s(self) -> float:
        """Return in how many seconds the tokens are to be renewed; infinite where they never are."""
        expires_at = self.context.token_expiry_time
        if not expires_at or not self._can_renew():
            return math.inf
        token = self.context.current_tokens
        lifetime_s = float(token.expires_in or 0) if token is not None else 0.0
        due_at = expires_at - min(MARGIN_S, max(0.0, lifetime_s) * MARGIN_SHARE)
        return max(due_at - time.time(), self._not_before - time.monotonic())

    async def keep_fresh(self) -> None:
        """Renew the tokens, if they are about to expire and no other process has renewed them.

        Raises:
            OAuthFlowError: they have expired, and cannot be renewed now.
        """
        if not self._initialized:
            await self._initialize()
        if not self.context.is_token_valid() and not self._can_renew():
            self._take_newer()
        if self.due_in_s() > 0:
            return
        async with tokens.renewing(tokens.key_of(self._server)):
            self._take_newer()
            if self.due_in_s() <= 0:
                await self._renew()

    async def stay_fresh(self) -> None:
        """Renew the tokens whenever they are about to expire, for as long as a connection is there."""
        if not self._initialized:
            await self._initialize()
        while True:
            self._stored.changed.clear()
            wait_s = min(max(1.0, self.due_in_s()), LONG_S)
            try:
                async with asyncio.timeout(wait_s):
                    await self._stored.changed.wait()
            except TimeoutError:
                try:
                    await self.keep_fresh()
                except Exception as error:  # noqa: BLE001  # the next request says so to its caller
                    logger.warning("%s: %s", self._server.name, said(error))

    def _take_newer(self) -> None:
        newer = self._stored.newer()
        if newer is not None:
            self.context.current_tokens = newer
            self.context.token_expiry_time = self._stored.expires_at or None

    async def _renew(self) -> None:
        self._not_before = time.monotonic() + RETRY_S
        try:
            async with self._client() as client:
                if self.context.oauth_metadata is None:
                    await self._discover(client)
                await self._renewed(client)
            if self.context.is_token_valid():
                self._not_before = 0.0
        except (httpx2.HTTPError, OAuthFlowError) as error:
            if self.context.is_token_valid():
                logger.warning("%s: its tokens could not be renewed yet: %s", self._server.name, said(error))
                return
            if isinstance(error, OAuthFlowError):
                raise
            raise OAuthFlowError(
                f"the authorization server cannot be asked for new tokens: {said(error)}"
            ) from None

    def _can_renew(self) -> bool:
        return self.context.can_refresh_token()

    async def _renewed(self, client: httpx2.AsyncClient) -> None:
        self._settle()
        response = await client.send(await self._refresh_token())
        if response.status_code >= 500 or response.status_code == 429:
            raise OAuthFlowError(f"the authorization server answered {response.status_code} to a renewal")
        await response.aread()
        if not await self._handle_refresh_response(response):
            self.ended = f"its access has ended: {refusal(response.text) or response.status_code}"
            logger.warning("%s: %s", self._server.name, self.ended)

    def _client(self) -> httpx2.AsyncClient:
        async def ask(request: httpx2.Request) -> None:
            bounds.ask(request, self._server.url)

        async def hear(response: httpx2.Response) -> None:
            bounds.hear(response, lambda _error: None)

        return httpx2.AsyncClient(event_hooks={"request": [ask], "response": [hear]})

    async def _discover(self, client: httpx2.AsyncClient) -> None:
        """Find the authorization server, as the SDK does after a 401, for tokens that came without it."""
        context = self.context
        for url in build_protected_resource_metadata_discovery_urls(None, context.server_url):
            answer = await client.send(create_oauth_metadata_request(url))
            found = await handle_protected_resource_response(answer)
            if found is not None:
                await self._validate_resource_match(found)
                context.protected_resource_metadata = found
                context.auth_server_url = self._select_authorization_server(
                    [str(one) for one in found.authorization_servers]
                )
                break
        expected = self._expected_issuer()
        client_info = context.client_info
        if client_info is not None and not credentials_match_issuer(client_info, expected, None):
            raise OAuthFlowError(f"the server names another authorization server than before: {expected}")
        for url in build_oauth_authorization_server_metadata_discovery_urls(
            context.auth_server_url, context.server_url
        ):
            is_usable, metadata = await handle_auth_metadata_response(
                await client.send(create_oauth_metadata_request(url))
            )
            if metadata is not None:
                if context.auth_server_url is None and issuers_match(str(metadata.issuer), expected):
                    expected = str(metadata.issuer)
                validate_metadata_issuer(metadata, expected)
                context.oauth_metadata = metadata
            if metadata is not None or not is_usable:
                break

    # --- the flow ----------------------------------------------------------------------------

    def _select_authorization_server(self, advertised: list[str]) -> str:
        own = self._server.oauth_issuer
        return next((one for one in advertised if own and issuers_match(one, own)), advertised[0])

    async def _perform_authorization(self) -> httpx2.Request:
        metadata, own = self.context.oauth_metadata, self._server.oauth_issuer
        if own and (metadata is None or not issuers_match(str(metadata.issuer), own)):
            named = "no authorization server" if metadata is None else str(metadata.issuer)
            raise OAuthFlowError(f"the server names {named}, and oauth.issuer is {own}")
        if metadata is not None:
            bounds.refuse_plain(str(metadata.authorization_endpoint), self._server.url)
        self._settle()
        return await super()._perform_authorization()

    def _settle(self) -> None:
        """Choose how a configured secret is sent, from what the authorization server takes."""
        info, metadata = self.context.client_info, self.context.oauth_metadata
        if info is None or not info.client_secret or info.client_id != self._server.oauth_client_id:
            return
        # RFC 8414: one that names no method takes `client_secret_basic`.
        taken = metadata.token_endpoint_auth_methods_supported if metadata is not None else None
        is_basic = not taken or "client_secret_basic" in taken
        info.token_endpoint_auth_method = "client_secret_basic" if is_basic else "client_secret_post"


def refusal(text: str) -> str:
    """Return the error in an authorization server's answer, `error: error_description`; "" for none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(found, dict) or not isinstance(found.get("error"), str):
        return ""
    described = found.get("error_description")
    return brief(f"{found['error']}: {described}" if isinstance(described, str) else found["error"])


def said(error: Exception) -> str:
    """Return what went wrong in a flow, for people, without the tokens that the SDK's text may quote."""
    text = str(error) or type(error).__name__
    if isinstance(error, OAuthRegistrationError) and text.startswith("Invalid registration response"):
        return "the authorization server's answer to a registration breaks the standard"
    if isinstance(error, OAuthRegistrationError) and (why := refusal("".join(text.partition("{")[1:]))):
        return f"the authorization server registers no such client: {why}"
    if isinstance(error, OAuthTokenError):
        head, _, body = text.partition(": ")
        if head == "Invalid token response":
            return "the authorization server's answer with tokens breaks the standard"
        return f"the authorization server refused a token: {refusal(body) or brief(head)}"
    return brief(text)


def _too_few_scopes(response: httpx2.Response) -> bool:
    return (
        response.status_code == 403 and extract_field_from_www_auth(response, "error") == "insufficient_scope"
    )
