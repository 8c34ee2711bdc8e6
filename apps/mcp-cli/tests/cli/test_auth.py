"""`auth` where the browser is elsewhere: which pasted addresses are taken."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mcp_cli.cli.auth import _show, query_of
from mcp_cli.cli.progress import _open

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


def test_why_a_store_cannot_be_read_widens_no_other_row(monkeypatch):
    said: list[str] = []
    monkeypatch.setattr("mcp_cli.cli.auth.kit.say", said.append)
    kept = {"grant": "authorization_code", "store": "keyring"}
    reason = "the keyring cannot be used: " + "x" * 200
    _show(
        [
            {"server": "a", "state": "none", **kept},
            {"server": "b", "state": "unknown", "reason": reason, **kept},
        ]
    )
    assert said == ["  a  no tokens  keyring", f"  b  unknown    {reason}; keyring"]


@pytest.mark.parametrize(("variables", "opened"), [({}, []), ({"BROWSER": "wslview"}, [URI])])
def test_a_page_is_opened_where_a_desktop_or_browser_is_named(monkeypatch, variables, opened):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    seen: list[str] = []
    monkeypatch.setattr("webbrowser.open", seen.append)
    _open(URI)
    assert seen == opened


class _Unauthorized(http.server.BaseHTTPRequestHandler):
    """Wants OAuth, and is silent when it is asked which authorization server is its."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(401)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.server.ended.wait(60)  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def unauthorized() -> Iterator[str]:
    """The address of a server that nobody can be authorized for."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Unauthorized) as server:
        server.ended = threading.Event()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/mcp"
        server.ended.set()  # type: ignore[attr-defined]
        server.shutdown()


@pytest.mark.slow
def test_a_server_that_grants_nothing_is_told_without_the_command_that_was_just_run(
    app: Callable[..., Any], unauthorized: str
) -> None:
    app.config(f'[[servers]]\nname = "h"\ntransport = {{ type = "http", url = "{unauthorized}" }}\n')
    told = app("auth", "h", "--no-browser")
    assert (told.code, told.err.splitlines()[-1][:20]) == (4, "access denied to h: ")
    assert "mcp-cli auth" not in told.err
    assert app("call", "h/x").err.splitlines()[-1].startswith("h asks for authorization: mcp-cli auth h (")
