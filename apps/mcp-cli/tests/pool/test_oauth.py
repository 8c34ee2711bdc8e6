"""An HTTP server that wants OAuth: said so, granted by a browser, kept in a private file, refreshed."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from mcp_cli.pool.access import tokens
from mcp_cli.pool.access.loopback import AccessRefused, Loopback
from mcp_cli.pool.service import ServerPool
from mcp_cli.protocol import interfaces as api


class Site(ThreadingHTTPServer):
    """An MCP server and its authorization server in one.

    Attributes:
        valid: the access tokens that are taken.
        grants: which grants were asked for.
        clients: the redirect URIs that clients were registered with.
        denies: whether the user says no.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.valid: set[str] = set()
        self.grants: list[str] = []
        self.clients: list[str] = []
        self.denies = False


class Handler(BaseHTTPRequestHandler):
    server: Site

    def log_message(self, *_: object) -> None:
        pass

    def _reply(self, status: int, body: object = None, **headers: str) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        site, parts = self.server, urlsplit(self.path)
        if parts.path.startswith("/.well-known/oauth-protected-resource"):
            self._reply(200, {"resource": f"{site.url}/mcp", "authorization_servers": [site.url]})
        elif parts.path == "/.well-known/oauth-authorization-server":
            metadata = {
                "issuer": site.url,
                "authorization_endpoint": f"{site.url}/authorize",
                "token_endpoint": f"{site.url}/oauth/token",
                "registration_endpoint": f"{site.url}/register",
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none"],
            }
            self._reply(200, metadata)
        elif parts.path == "/authorize":
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            given = {"error": "access_denied"} if site.denies else {"code": "the-code"}
            query = urlencode({**given, "state": asked["state"]})
            self._reply(302, Location=f"{asked['redirect_uri']}?{query}")
        else:
            self._reply(405 if parts.path == "/mcp" else 404)

    def do_DELETE(self) -> None:
        self._reply(405)

    def do_POST(self) -> None:
        site = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/register":
            asked = json.loads(body)
            site.clients += asked["redirect_uris"]
            self._reply(201, {**asked, "client_id": "registered", "token_endpoint_auth_method": "none"})
        elif self.path == "/oauth/token":
            grant = parse_qs(body.decode())["grant_type"][0]
            site.grants.append(grant)
            token = f"secret-token-{len(site.grants)}"
            site.valid = {token}
            self._reply(
                200,
                {"access_token": token, "token_type": "Bearer", "expires_in": 3600, "refresh_token": "again"},
            )
        elif self.headers.get("Authorization", "").removeprefix("Bearer ") not in site.valid:
            where = f'Bearer resource_metadata="{site.url}/.well-known/oauth-protected-resource/mcp"'
            self._reply(401, WWW_Authenticate=where)
        else:
            self._mcp(json.loads(body))

    def _mcp(self, message: dict[str, Any]) -> None:
        answers: dict[str, Any] = {
            "initialize": {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "site", "version": "1"},
            },
            "tools/list": {"tools": [{"name": "who", "inputSchema": {"type": "object"}}]},
            "tools/call": {"content": [{"type": "text", "text": "it is you"}]},
        }
        if "id" not in message:
            self._reply(202)
        elif message["method"] in answers:
            self._reply(200, {"jsonrpc": "2.0", "id": message["id"], "result": answers[message["method"]]})
        else:
            error = {"code": -32601, "message": "Method not found"}
            self._reply(200, {"jsonrpc": "2.0", "id": message["id"], "error": error})


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Site]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    server = Site()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def definition(site: Site, **fields: Any) -> api.Server:
    return api.Server(name="site", fingerprint="1", kind="http", url=f"{site.url}/mcp", **fields)


async def call(site: Site, **fields: Any) -> str:
    pool = ServerPool()
    await pool.configure([definition(site, **fields)])
    try:
        events = [event async for event in pool.call("site", "1", "who")]
    finally:
        await pool.close()
    return events[-1].text


async def authorize(site: Site, timeout_s: float = 20.0) -> list[str]:
    pool = ServerPool()
    await pool.configure([definition(site)])
    kinds = []
    try:
        async for event in pool.authorize("site", "1", timeout_s):
            kinds.append(event.kind)
            if event.kind == "visit":
                await asyncio.to_thread(lambda url: urllib.request.urlopen(url, timeout=5).read(), event.text)
    finally:
        await pool.close()
    return kinds


def test_a_server_that_wants_authorization_says_so(site):
    with pytest.raises(api.NeedsAuthorization):
        asyncio.run(call(site))
    with pytest.raises(api.NeedsAuthorization) as raised:
        asyncio.run(call(site, oauth=False))
    assert "401" in raised.value.reason


def test_a_list_says_what_can_be_done_about_it(site):
    async def error() -> str:
        pool = ServerPool()
        await pool.configure([definition(site)])
        try:
            listings = [one async for one in pool.tools([api.Ref(server="site", fingerprint="1")])]
        finally:
            await pool.close()
        return listings[0].state.error

    assert asyncio.run(error()) == "asks for authorization: mcp-cli auth site (it wants to be authorized)"


def test_access_is_granted_by_a_browser_and_kept(site):
    assert asyncio.run(authorize(site)) == ["visit", "done"]
    assert asyncio.run(call(site)) == "it is you"
    assert site.grants == ["authorization_code"]
    kept = tokens._path(f"{site.url}/mcp")
    with open(kept) as file:
        assert "secret-token-1" in file.read()
    assert stat.S_IMODE(os.stat(kept).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(kept)).st_mode) == 0o700


def test_a_token_that_has_expired_is_refreshed_without_a_browser(site):
    asyncio.run(authorize(site))
    kept = tokens.load(f"{site.url}/mcp")
    kept.expires_at = time.time() - 10
    tokens.save(kept)
    site.valid = set()
    assert asyncio.run(call(site)) == "it is you"
    assert site.grants == ["authorization_code", "refresh_token"]


def test_a_client_is_registered_once(site):
    asyncio.run(authorize(site))
    site.valid = set()
    kept = tokens.load(f"{site.url}/mcp")
    kept.tokens = ""
    tokens.save(kept)
    asyncio.run(authorize(site))
    assert len(site.clients) == 1


def test_a_user_who_says_no_is_told_as_that(site):
    site.denies = True
    with pytest.raises(api.NeedsAuthorization) as raised:
        asyncio.run(authorize(site))
    assert "access_denied" in raised.value.reason


def test_a_user_who_does_nothing_is_told_what_was_waited_for(site):
    async def wait() -> None:
        pool = ServerPool()
        await pool.configure([definition(site)])
        try:
            async for _ in pool.authorize("site", "1", 1.0):
                pass
        finally:
            await pool.close()

    with pytest.raises(api.NeedsAuthorization) as raised:
        asyncio.run(wait())
    assert raised.value.reason == "no browser came back within 1 s"


def test_a_refused_flow_leaves_no_traceback_in_the_log(site, caplog):
    """It has requests in it, and what it says is told to the caller."""
    with pytest.raises(api.NeedsAuthorization):
        asyncio.run(call(site))
    assert [record for record in caplog.records if record.exc_info] == []


def test_what_was_kept_can_be_deleted(site):
    asyncio.run(authorize(site))

    async def forget() -> tuple[bool, bool]:
        pool = ServerPool()
        await pool.configure([definition(site)])
        return await pool.forget("site", "1"), await pool.forget("site", "1")

    assert asyncio.run(forget()) == (True, False)
    with pytest.raises(api.NeedsAuthorization):
        asyncio.run(call(site))


def test_headers_of_ones_own_are_sent_and_no_oauth_is_tried(site):
    site.valid = {"mine"}
    assert asyncio.run(call(site, headers={"Authorization": "Bearer mine"})) == "it is you"
    with pytest.raises(api.NeedsAuthorization):
        asyncio.run(call(site, headers={"Authorization": "Bearer wrong"}))
    assert site.grants == []


def test_the_loopback_listens_to_nothing_but_the_answer():
    async def work() -> None:
        async with Loopback() as loopback:

            def get(path: str) -> int:
                try:
                    return urllib.request.urlopen(loopback.uri.replace("/callback", path), timeout=5).status
                except urllib.error.HTTPError as error:
                    return error.code

            assert await asyncio.to_thread(get, "/favicon.ico") == 404
            assert await asyncio.to_thread(get, "/callback") == 404
            assert await asyncio.to_thread(get, "/callback?error=access_denied") == 200
            assert await asyncio.to_thread(get, "/callback?code=late") == 200
            with pytest.raises(AccessRefused, match="access_denied"):
                await loopback.wait()

    asyncio.run(work())
