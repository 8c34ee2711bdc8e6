"""Tokens of other programs, read from their JSON.

    {"access_token": ..., "refresh_token": ..., "expires_in": 3600}    an OAuth answer, and mcp-remote's file
    {"accessToken": ..., "refreshToken": ..., "expiresAt": MILLISECONDS}    an entry of Claude Code's file
    {"tokens": {...}, "clientInfo": {...}}    an entry of mcporter's vault

A file with the entries of several servers is searched for the one that has the server's URL.  Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mcp_cli.pool.access.tokens import StoredTokens

# Seconds from here on are milliseconds: the year 2286.
_MILLISECONDS_FROM: Final = 1e10
_MAX_DEPTH: Final = 6
_VALUE: Final = re.compile(r"[\x21-\x7e]{1,65536}")


class NotTokens(Exception):
    """The text has no tokens of the server; its text says why."""


def tokens_in(text: str, url: str, now: float) -> StoredTokens:
    """Return the tokens of a server that another program's JSON has.

    Args:
        text: the JSON.
        url: the server's.
        now: the wall clock, for tokens that say in how many seconds they expire.

    Raises:
        NotTokens: it is not JSON, has no tokens, or only those of other servers.
    """
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        raise NotTokens("is not JSON") from None
    entries = list(_entries(whole, 0))
    own = [entry for entry in entries if _url_of(entry) == url.rstrip("/")]
    anonymous = [entry for entry in entries if not _url_of(entry)]
    if own:
        return _stored(own[-1], url, now)
    if len(anonymous) == 1:
        return _stored(anonymous[0], url, now)
    if not entries:
        raise NotTokens("has no access token")
    raise NotTokens(f"has tokens of {len(entries)} servers, and none of {url.partition('?')[0]}")


def _entries(value: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    """Yield each object that has tokens, itself or in `tokens`."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, Mapping):
        inner = value.get("tokens")
        if _text(value, "access_token") or (isinstance(inner, Mapping) and _text(inner, "access_token")):
            yield value
            return
        for one in value.values():
            yield from _entries(one, depth + 1)
    elif isinstance(value, list):
        for one in value:
            yield from _entries(one, depth + 1)


def _stored(entry: Mapping[str, Any], url: str, now: float) -> StoredTokens:
    inner = entry.get("tokens")
    token = inner if isinstance(inner, Mapping) else entry
    access, refresh = _text(token, "access_token"), _text(token, "refresh_token")
    if not _VALUE.fullmatch(access) or (refresh and not _VALUE.fullmatch(refresh)):
        raise NotTokens("has a token with characters that no token has")
    made = {"access_token": access, "token_type": "Bearer"}
    if refresh:
        made["refresh_token"] = refresh
    scope = token.get("scope") or token.get("scopes")
    if isinstance(scope, list):
        scope = " ".join(str(one) for one in scope)
    if isinstance(scope, str) and scope:
        made["scope"] = scope
    return StoredTokens(
        url, json.dumps(made), _client(entry), "", _expires_at(token, entry, now), _redirect(entry)
    )


def _expires_at(token: Mapping[str, Any], entry: Mapping[str, Any], now: float) -> float:
    for table in (token, entry):
        for key in ("expires_at", "expiry_date", "expires"):
            at = _number(table, key)
            if at:
                return at / 1000 if at >= _MILLISECONDS_FROM else at
    within = _number(token, "expires_in")
    return now + within if within else 0.0


def _client(entry: Mapping[str, Any]) -> str:
    """Return the client that the tokens were given to, as the SDK writes it; "" for unknown."""
    found = entry.get("clientInfo") or entry.get("client_info") or entry.get("client") or entry
    if not isinstance(found, Mapping) or not _text(found, "client_id"):
        return ""
    made: dict[str, Any] = {"client_id": _text(found, "client_id")}
    secret = _text(found, "client_secret")
    if secret:
        made |= {"client_secret": secret, "token_endpoint_auth_method": "client_secret_post"}
    method = _text(found, "token_endpoint_auth_method")
    if method:
        made["token_endpoint_auth_method"] = method
    return json.dumps(made)


def _redirect(entry: Mapping[str, Any]) -> str:
    found = entry.get("clientInfo") or entry.get("client_info") or {}
    uris = found.get("redirect_uris") if isinstance(found, Mapping) else None
    return uris[0] if isinstance(uris, list) and uris and isinstance(uris[0], str) else ""


def _url_of(entry: Mapping[str, Any]) -> str:
    return (_text(entry, "server_url") or _text(entry, "url")).rstrip("/")


def _text(table: Mapping[str, Any], name: str) -> str:
    value = table.get(name) or table.get(_camel(name))
    return value if isinstance(value, str) else ""


def _number(table: Mapping[str, Any], name: str) -> float:
    value = table.get(name) or table.get(_camel(name))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if 0 < value < 1e15 else 0.0


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(one.capitalize() for one in rest)
