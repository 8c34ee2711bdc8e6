"""Our stored tokens, as the SDK wants them.

Owns the translation between the two.  Where they are is `tokens`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from mcp.client.auth import TokenStorage
from mcp.shared.auth import OAuthClientInformationFull, OAuthMetadata, OAuthToken, ProtectedResourceMetadata
from pydantic import AnyUrl

from mcp_cli.pool.access import tokens
from mcp_cli.pool.access.loopback import Loopback
from mcp_cli.protocol.interfaces import Server


class ServerTokens(TokenStorage):
    """The tokens of one server.

    Args:
        server: its definition.
        redirect_uri: where a browser is sent back to; "" where there is none.

    Attributes:
        changed: is set when tokens were stored.
    """

    def __init__(self, server: Server, redirect_uri: str = "") -> None:
        self._server = server
        self._kept = tokens.load(tokens.key_of(server), server.oauth_store)
        if redirect_uri and redirect_uri != self._kept.redirect_uri:
            # The client was registered for another address: a new one is.
            self._kept.client = ""
            self._kept.redirect_uri = redirect_uri
        self.redirect_uri = self._kept.redirect_uri or f"http://127.0.0.1{Loopback.PATH}"
        self.changed = asyncio.Event()
        self._context: Any = None

    @property
    def expires_at(self) -> float:
        """When the access token expires, on the wall clock; 0 for unknown."""
        return self._kept.expires_at

    def follow(self, context: Any) -> None:
        """Give the SDK's context what the SDK does not keep by itself."""
        self._context = context
        if self._kept.expires_at:
            context.token_expiry_time = self._kept.expires_at
        if self._kept.metadata:
            with contextlib.suppress(ValueError):
                context.oauth_metadata = OAuthMetadata.model_validate_json(self._kept.metadata)
        if self._kept.resource:
            with contextlib.suppress(ValueError):
                found = ProtectedResourceMetadata.model_validate_json(self._kept.resource)
                context.protected_resource_metadata = found
                if found.authorization_servers:
                    context.auth_server_url = str(found.authorization_servers[0])

    def newer(self) -> OAuthToken | None:
        """Return the tokens that another process has stored since; None where there are none."""
        found = tokens.load(tokens.key_of(self._server), self._server.oauth_store)
        if not found.tokens or found.tokens == self._kept.tokens:
            return None
        self._kept.tokens, self._kept.expires_at = found.tokens, found.expires_at
        return _token(found.tokens)

    async def get_tokens(self) -> OAuthToken | None:
        """Return the stored tokens, with the seconds that are left of them."""
        token = _token(self._kept.tokens)
        if token is not None and self._kept.expires_at:
            token.expires_in = int(self._kept.expires_at - time.time())
        return token

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Store tokens."""
        self._kept.tokens = tokens.model_dump_json(exclude_none=True)
        self._kept.expires_at = time.time() + tokens.expires_in if tokens.expires_in else 0.0
        await self._save()
        self.changed.set()

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """Return the client that is configured, or the one that was registered."""
        server = self._server
        if server.oauth_client_id:
            return OAuthClientInformationFull(
                client_id=server.oauth_client_id,
                client_secret=server.oauth_client_secret or None,
                redirect_uris=[AnyUrl(self.redirect_uri)],
                token_endpoint_auth_method="client_secret_post" if server.oauth_client_secret else None,
                issuer=server.oauth_issuer or None,
            )
        if self._kept.client:
            with contextlib.suppress(ValueError):
                return OAuthClientInformationFull.model_validate_json(self._kept.client)
        return None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Store the client that was registered."""
        self._kept.client = client_info.model_dump_json(exclude_none=True)
        await self._save()

    async def _save(self) -> None:
        context = self._context
        if context is not None and context.oauth_metadata is not None:
            self._kept.metadata = context.oauth_metadata.model_dump_json(exclude_none=True)
        if context is not None and context.protected_resource_metadata is not None:
            self._kept.resource = context.protected_resource_metadata.model_dump_json(exclude_none=True)
        await asyncio.to_thread(tokens.save, self._kept, self._server.oauth_store)


def _token(text: str) -> OAuthToken | None:
    if text:
        with contextlib.suppress(ValueError):
            return OAuthToken.model_validate_json(text)
    return None
