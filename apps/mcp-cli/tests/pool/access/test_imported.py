"""Tokens of other programs: each of the shapes that they write, and texts that have none of this server."""

from __future__ import annotations

import json

import pytest

from mcp_cli.pool.access.imported import NotTokens, tokens_in

URL = "https://far.example/mcp"
NOW = 1_000_000_000.0


def test_an_oauth_answer_is_read_with_its_client():
    given = {"access_token": "a1", "refresh_token": "r1", "expires_in": 60, "client_id": "c1"}
    kept = tokens_in(json.dumps(given), URL, NOW)
    token = {"access_token": "a1", "token_type": "Bearer", "refresh_token": "r1"}
    assert json.loads(kept.tokens) == token
    assert (kept.url, kept.expires_at, json.loads(kept.client)) == (URL, NOW + 60, {"client_id": "c1"})


def test_the_entry_of_this_server_is_taken_from_many():
    """As Claude Code writes them: camelCase, milliseconds."""
    entry = {"serverUrl": f"{URL}/", "accessToken": "mine", "expiresAt": (NOW + 5) * 1000, "clientId": "c"}
    other = {"serverUrl": "https://other.example/mcp", "accessToken": "not mine"}
    kept = tokens_in(json.dumps({"mcpOAuth": {"x|1": other, "far|2": entry}}), URL, NOW)
    assert json.loads(kept.tokens)["access_token"] == "mine"
    assert kept.expires_at == NOW + 5


def test_an_entry_with_tokens_and_client_apart_is_read():
    client = {"client_id": "c", "client_secret": "s", "redirect_uris": ["http://127.0.0.1:7/callback"]}
    entry = {"serverUrl": URL, "tokens": {"access_token": "a", "scope": "x y"}, "clientInfo": client}
    kept = tokens_in(json.dumps({"entries": {"k": entry}}), URL, NOW)
    assert json.loads(kept.tokens)["scope"] == "x y"
    assert kept.redirect_uri == "http://127.0.0.1:7/callback"
    assert json.loads(kept.client)["client_secret"] == "s"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("{}", "has no access token"),
        ('{"access_token": 5}', "has no access token"),
        ('{"access_token": "a\\r\\nX-Evil: 1"}', "characters that no token has"),
        (json.dumps({"url": "https://o.example", "access_token": "a"}), "none of https://far.example/mcp"),
    ],
)
def test_a_text_without_tokens_of_this_server_says_why(text, why):
    with pytest.raises(NotTokens, match=why):
        tokens_in(text, URL, NOW)
