"""The known facts of the access to servers over HTTP, without asking any of them: for `auth status`.

Owns the words.  No token is in them.
"""

from __future__ import annotations

import json
import time
from typing import Any

from mcp_cli.names import CODE, FILES
from mcp_cli.pool.access import tokens
from mcp_cli.protocol.access import Access, AccessState
from mcp_cli.protocol.interfaces import Server


def access_to(server: Server) -> Access:
    """Return the known facts of the access to a server."""
    made = Access(
        server=server.name, grant=server.oauth_grant or CODE, store=server.oauth_store or FILES, state="none"
    )
    if any(name.lower() == "authorization" for name in server.headers):
        made.state = "header"
        return made
    if not server.oauth:
        made.state = "off"
        return made
    try:
        kept = tokens.load(tokens.key_of(server), server.oauth_store)
    except tokens.StoreFailed as error:
        made.state, made.reason = "unknown", str(error)
        return made
    token = _object(kept.tokens)
    if not token.get("access_token"):
        return made
    left_s = kept.expires_at - time.time() if kept.expires_at else None
    made.renews = bool(token.get("refresh_token")) or made.grant != CODE
    made.scopes = str(token.get("scope") or "")
    made.issuer = server.oauth_issuer or str(_object(kept.metadata).get("issuer") or "")
    made.client_id = server.oauth_client_id or str(_object(kept.client).get("client_id") or "")
    made.expires_in_s = None if left_s is None else round(left_s, 1)
    made.state = _state(left_s, renews=made.renews)
    return made


def _state(left_s: float | None, *, renews: bool) -> AccessState:
    if left_s is not None and left_s <= 0:
        return "renewable" if renews else "expired"
    return "granted"


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
