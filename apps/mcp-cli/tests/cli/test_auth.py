"""`auth` where the browser is elsewhere: which pasted addresses are taken."""

from __future__ import annotations

import pytest

from mcp_cli.cli.auth import query_of

URI = "http://127.0.0.1:41234/callback"


@pytest.mark.parametrize(
    "line",
    [
        f"{URI}?code=c1&state=s1\n",
        f"  '{URI}?code=c1&state=s1' ",
        f"<{URI}?code=c1&state=s1#_=_>",
        "code=c1&state=s1",
        "?code=c1&state=s1",
    ],
)
def test_an_address_is_taken_as_people_paste_it(line):
    assert query_of(line, URI) == "code=c1&state=s1"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("https://evil.example/callback?code=c&state=s", "another page"),
        ("http://127.0.0.1:41235/callback?code=c&state=s", "another page"),
        ("c1", "neither a code nor an error"),
        (f"{URI}?", "neither a code nor an error"),
        ("code=c HTTP/1.1", "not an address"),
        ("code=\x1b[2J", "not an address"),
    ],
)
def test_another_address_is_refused_with_the_reason(line, why):
    with pytest.raises(ValueError, match=why):
        query_of(line, URI)
