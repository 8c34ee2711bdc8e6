"""The OAuth flows of machines, which prove themselves by a secret, a signed statement, or another's word.

Owns where the proof comes from: a key's file, or a command of the configuration.  The SDK's part imports
a library of cryptography, so it comes with the first server that wants it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from mcp.client.auth import OAuthFlowError
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.client.auth.extensions.identity_assertion import IdentityAssertionOAuthProvider

from daemonry import read_regular
from mcp_cli.pool.access.fresh import Fresh
from mcp_cli.pool.access.storage import ServerTokens
from mcp_cli.pool.questions import hooks
from mcp_cli.protocol.interfaces import Server

if TYPE_CHECKING:
    import httpx2
    from mcp.shared.auth import OAuthToken

MAX_KEY_BYTES: Final = 1 << 16
# An identity provider answers in seconds; it is not waited for a person to sign in there.
COMMAND_S: Final = 30.0
_CURVES: Final = {256: "ES256", 384: "ES384", 521: "ES512"}


class _Machine(Fresh):
    """A token is fetched again where a person's is refreshed."""

    def _can_renew(self) -> bool:
        return self.context.current_tokens is not None

    async def _renewed(self, client: httpx2.AsyncClient) -> None:
        response = await client.send(await self._perform_authorization())
        await self._handle_token_response(response)


class SecretAccess(_Machine, ClientCredentialsOAuthProvider):
    """A machine proves itself with a secret."""


class KeyAccess(_Machine, PrivateKeyJWTOAuthProvider):
    """A machine proves itself with a signed statement."""


class _Unexpired(ServerTokens):
    async def get_tokens(self) -> OAuthToken | None:
        """Return the stored tokens, while they are good."""
        token = await super().get_tokens()
        return None if token is not None and token.expires_in is not None and token.expires_in <= 0 else token


def by_credentials(server: Server) -> Fresh:
    """Return the flow `client_credentials`.

    Raises:
        OAuthFlowError: the key cannot be used.
        StoreFailed: nor can the keyring.
    """
    scope = " ".join(server.oauth_scopes) or None
    stored = ServerTokens(server)
    name, issuer = server.oauth_client_id, server.oauth_issuer
    made: Fresh
    if server.oauth_client_secret:
        secret = server.oauth_client_secret
        made = SecretAccess(server.url, stored, name, secret, scope=scope, issuer=issuer)
    else:
        made = KeyAccess(server.url, stored, name, _signer(server), scope, issuer)
    made.begin(server, stored)
    return made


def by_assertion(server: Server) -> httpx2.Auth:
    """Return the flow `identity_assertion`: an identity provider's word, which a command fetches.

    Raises:
        StoreFailed: the keyring cannot be used.
    """
    return IdentityAssertionOAuthProvider(
        server.url,
        _Unexpired(server),
        server.oauth_client_id,
        server.oauth_client_secret,
        server.oauth_issuer,
        lambda audience, resource: _by_command(server, audience, resource),
        " ".join(server.oauth_scopes) or None,
    )


def _signer(server: Server) -> Callable[[str], Awaitable[str]]:
    if server.oauth_assertion_command:
        return lambda audience: _by_command(server, audience, server.url)
    try:
        key = read_regular(server.oauth_key_file, MAX_KEY_BYTES).decode()
        algorithm = _algorithm(key)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = getattr(error, "strerror", None) or "is not a private key without a password, in PEM"
        raise OAuthFlowError(f"oauth.key_file {server.oauth_key_file}: {reason}") from None
    return SignedJWTParameters(
        issuer=server.oauth_client_id,
        subject=server.oauth_client_id,
        signing_key=key,
        signing_algorithm=algorithm,
    ).create_assertion_provider()


def _algorithm(key: str) -> str:
    """Return the signature's name for a key.

    Raises:
        ValueError, TypeError: it is no private key, or it needs a password.
    """
    found = load_pem_private_key(key.encode(), None)
    if isinstance(found, rsa.RSAPrivateKey):
        return "RS256"
    if isinstance(found, ed25519.Ed25519PrivateKey):
        return "EdDSA"
    if isinstance(found, ec.EllipticCurvePrivateKey):
        return _CURVES[found.curve.key_size]
    raise ValueError(key)


async def _by_command(server: Server, audience: str, resource: str) -> str:
    """Return the signed statement that the configured command writes."""
    asked = json.dumps({"server": server.name, "audience": audience, "resource": resource}).encode()
    try:
        said = await hooks.run(server.oauth_assertion_command, asked + b"\n", COMMAND_S)
    except hooks.HookFailed as error:
        raise OAuthFlowError(f"oauth.assertion_command: {error}") from None
    token = said.strip()
    # Three parts of base64url, RFC 7515; no more is known of it here.
    if token.count(".") != 2 or not token.replace(".", "").replace("-", "").replace("_", "").isalnum():
        raise OAuthFlowError("oauth.assertion_command wrote no JWT")
    return token
