"""Which OAuth flow a server's definition asks for.

Owns the choice.  The flows of machines, and what all have in common, are beside it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from mcp.client.auth import AuthorizationCodeResult, OAuthFlowError
from mcp.shared.auth import OAuthClientMetadata
from pydantic import AnyUrl

from mcp_cli.names import ASSERTION, CREDENTIALS, NAME
from mcp_cli.pool.access.fresh import Fresh
from mcp_cli.pool.access.storage import ServerTokens
from mcp_cli.protocol.interfaces import Server

if TYPE_CHECKING:
    import httpx2

Redirect = Callable[[str], Awaitable[None]]
Callback = Callable[[], Awaitable[AuthorizationCodeResult]]


def access_of(server: Server, redirect_uri: str, redirect: Redirect, callback: Callback) -> httpx2.Auth:
    """Return a server's OAuth.

    Args:
        server: its definition.
        redirect_uri: where a browser is sent back to; "" where nobody has one.
        redirect: is given the page to open, as the SDK has it.
        callback: returns what the browser brought back, as the SDK has it.

    Raises:
        OAuthFlowError: a key cannot be used.
        StoreFailed: nor can the keyring.
    """
    if server.oauth_grant in (CREDENTIALS, ASSERTION):
        from mcp_cli.pool.access import machine

        is_assertion = server.oauth_grant == ASSERTION
        return machine.by_assertion(server) if is_assertion else machine.by_credentials(server)
    stored = ServerTokens(server, redirect_uri)

    async def redirect_with_proof(url: str) -> None:
        _refuse_without_proof(made)
        await redirect(url)

    made = Fresh(
        server.url,
        OAuthClientMetadata(
            redirect_uris=[AnyUrl(stored.redirect_uri)],
            client_name=NAME,
            scope=" ".join(server.oauth_scopes) or None,
        ),
        stored,
        redirect_handler=redirect_with_proof,
        callback_handler=callback,
        client_metadata_url=server.oauth_client_metadata_url or None,
    )
    made.begin(server, stored)
    return made


def _refuse_without_proof(made: Fresh) -> None:
    """Refuse a server that does not do PKCE: the SDK asks it to, and does not look whether it can.

    Raises:
        OAuthFlowError: the authorization server says that it does not do it by S256.
    """
    metadata = made.context.oauth_metadata
    if metadata is None or metadata.code_challenge_methods_supported is None:
        return  # as the SDK's other languages: older servers do it and do not say so
    offered = metadata.code_challenge_methods_supported
    if "S256" not in offered:
        named = ", ".join(offered)[:40]
        raise OAuthFlowError(f"{metadata.issuer} proves codes by {named!r} (PKCE), and not by S256")
