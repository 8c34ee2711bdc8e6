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

from daemonry.testing import wait_until
from mcp_cli.pool.access import tokens
from mcp_cli.pool.access.flows import access_of
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
        lifetime_s: of a token.
        lies: what is put over the authorization server's metadata; `huge`, `slow`, `gzip`, `token` and
            `iss` are lies of other kinds.
        secrets: what clients proved themselves with.
        together: holds refusals until there are as many as it wants; None for at once.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.valid: set[str] = set()
        self.grants: list[str] = []
        self.clients: list[str] = []
        self.denies = False
        self.lifetime_s = 3600
        self.lies: dict[str, Any] = {}
        self.secrets: list[str] = []
        self.together: threading.Barrier | None = None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leave no traceback of a client that hangs up."""


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
            if "huge" in site.lies:
                metadata["padding"] = "x" * (3 << 20)
            self._reply(200, {**metadata, **site.lies}, **site.lies.get("gzip", {}))
        elif parts.path == "/authorize":
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            given = {"error": "access_denied"} if site.denies else {"code": "the-code"}
            query = urlencode({**given, "state": asked["state"], **site.lies.get("back", {})})
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
            if "register" in site.lies:
                self._reply(400, {"error": "invalid_client_metadata", "error_description": "go away"})
                return
            site.clients += asked["redirect_uris"]
            self._reply(201, {**asked, "client_id": "registered", "token_endpoint_auth_method": "none"})
        elif self.path == "/oauth/token":
            fields = parse_qs(body.decode())
            site.grants.append(fields["grant_type"][0])
            site.secrets.append(self.headers.get("Authorization") or fields.get("client_secret", [""])[0])
            token = f"secret-token-{len(site.grants)}"
            if site.lies.get("refuses") == fields["grant_type"][0]:
                self._reply(400, {"error": "invalid_grant", "error_description": "it was revoked"})
                return
            site.valid = {token}
            answer = {"access_token": token, "token_type": "Bearer", "refresh_token": "again"}
            self._reply(200, {**answer, "expires_in": site.lifetime_s, **site.lies.get("token", {})})
        elif self.headers.get("Authorization", "").removeprefix("Bearer ") not in site.valid:
            if site.together is not None:
                site.together.wait(20)
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


def visit(url: str) -> None:
    with urllib.request.urlopen(url, timeout=5) as page:
        page.read()


async def authorize(site: Site, timeout_s: float = 20.0, **fields: Any) -> list[str]:
    pool = ServerPool()
    await pool.configure([definition(site, **fields)])
    kinds = []
    try:
        async for event in pool.authorize("site", "1", timeout_s):
            kinds.append(event.kind)
            if event.kind == "visit":
                await asyncio.to_thread(visit, event.text)
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


def test_certificates_that_cannot_be_read_are_told_with_their_variable(site, monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(api.ServerFailed) as raised:
        asyncio.run(call(site))
    assert f"SSL_CERT_FILE={tmp_path}/none.pem: No such file" in raised.value.reason


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


# --- renewal --------------------------------------------------------------------------------------


def expire(site: Site, left_s: float = -10.0) -> None:
    kept = tokens.load(f"{site.url}/mcp")
    kept.expires_at = time.time() + left_s
    tokens.save(kept)


def test_a_token_is_renewed_before_it_expires_and_no_request_waits_for_it(site):
    """The daemon renews in the last fifth of a token's life, while nobody calls."""
    site.lifetime_s = 2

    async def work() -> str:
        pool = ServerPool()
        await pool.configure([definition(site)])
        try:
            assert [event async for event in pool.call("site", "1", "who")]
            grants = len(site.grants)
            await asyncio.to_thread(wait_until, lambda: len(site.grants) > grants, 15)
            return site.grants[-1]
        finally:
            await pool.close()

    asyncio.run(authorize(site))
    assert asyncio.run(work()) == "refresh_token"


def test_two_processes_renew_a_token_once(site):
    """A second use of a refresh token is theft to a server that rotates them."""
    asyncio.run(authorize(site))
    expire(site)
    site.valid = set()

    async def both() -> list[str]:
        return list(await asyncio.gather(call(site), call(site)))

    assert asyncio.run(both()) == ["it is you", "it is you"]
    assert site.grants == ["authorization_code", "refresh_token"]


def test_a_token_that_the_server_refuses_early_is_renewed_without_a_browser(site):
    asyncio.run(authorize(site))
    site.valid = set()
    assert asyncio.run(call(site)) == "it is you"
    assert site.grants == ["authorization_code", "refresh_token"]


def test_tokens_that_are_no_longer_renewed_say_so_and_stay(site):
    asyncio.run(authorize(site))
    expire(site)
    site.valid = set()
    site.lies["refuses"] = "refresh_token"
    with pytest.raises(api.NeedsAuthorization) as raised:
        asyncio.run(call(site))
    assert raised.value.reason == "its access has ended: invalid_grant: it was revoked"
    assert tokens.load(f"{site.url}/mcp").tokens


def test_of_calls_at_once_that_are_refused_none_may_have_run(site):
    """The first refusal ends the connection that they share, and the others' with it."""

    async def work() -> list[BaseException | list[api.Event]]:
        pool = ServerPool()
        await pool.configure([definition(site)])

        async def one() -> list[api.Event]:
            return [event async for event in pool.call("site", "1", "who")]

        try:
            await one()
            site.valid = set()
            site.lies["refuses"] = "refresh_token"
            site.together = threading.Barrier(6, action=lambda: setattr(site, "together", None))
            return await asyncio.gather(*(one() for _ in range(6)), return_exceptions=True)
        finally:
            await pool.close()

    asyncio.run(authorize(site))
    assert [type(one) for one in asyncio.run(work())] == [api.NeedsAuthorization] * 6


def test_a_token_that_lives_for_seconds_is_renewed_each_time(site):
    """Only a renewal that failed is followed by a pause."""

    async def nobody(*_: object) -> Any:
        raise AssertionError

    async def work() -> tuple[float, float]:
        access = access_of(definition(site), "", nobody, nobody)
        await access.keep_fresh()
        return access.due_in_s(), len(site.grants)

    asyncio.run(authorize(site))
    expire(site)
    site.lifetime_s = 2
    due_in_s, grants = asyncio.run(work())
    assert grants == 2
    assert due_in_s < 2


def test_a_token_for_a_resource_is_renewed_for_it_after_a_restart(site):
    asyncio.run(authorize(site))
    assert json.loads(tokens.load(f"{site.url}/mcp").resource)["resource"] == f"{site.url}/mcp"


# --- machines -------------------------------------------------------------------------------------


def test_a_machine_gets_tokens_with_its_secret_and_no_browser(site):
    fields = {
        "oauth_grant": "client_credentials",
        "oauth_client_id": "robot",
        "oauth_client_secret": "s3cret",
        "oauth_issuer": site.url,
    }
    site.lies["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    assert asyncio.run(call(site, **fields)) == "it is you"
    assert (site.grants, site.secrets) == (["client_credentials"], ["s3cret"])
    assert asyncio.run(call(site, **fields)) == "it is you"
    assert site.grants == ["client_credentials"]


def test_a_machine_s_secret_goes_to_the_configured_issuer_only(site):
    fields = {
        "oauth_grant": "client_credentials",
        "oauth_client_id": "robot",
        "oauth_client_secret": "s3cret",
        "oauth_issuer": "https://mine.example",
    }
    with pytest.raises(api.ServerFailed) as raised:
        asyncio.run(call(site, **fields))
    assert "oauth.issuer is https://mine.example" in raised.value.reason
    assert site.secrets == []


def test_a_machine_signs_with_its_key(site, tmp_path):
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "key.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    fields = {
        "oauth_grant": "client_credentials",
        "oauth_client_id": "robot",
        "oauth_key_file": str(path),
        "oauth_issuer": site.url,
    }
    assert asyncio.run(call(site, **fields)) == "it is you"
    path.write_text("no key")
    with pytest.raises(api.ServerFailed) as raised:
        asyncio.run(call(site, **fields))
    assert "is not a private key" in raised.value.reason


def test_an_identity_provider_s_word_comes_from_a_command(site, tmp_path):
    fields = {
        "oauth_grant": "identity_assertion",
        "oauth_client_id": "robot",
        "oauth_client_secret": "s3cret",
        "oauth_issuer": site.url,
        "oauth_assertion_command": ["/bin/sh", "-c", "cat >&2; echo eyJh.eyJi.c2ln"],
    }
    assert asyncio.run(call(site, **fields)) == "it is you"
    assert site.grants == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    site.valid = set()
    fields["oauth_assertion_command"] = ["/bin/sh", "-c", "echo no token"]
    with pytest.raises(api.ServerFailed) as raised:
        asyncio.run(call(site, **fields))
    assert "oauth.assertion_command wrote no JWT" in raised.value.reason


def test_a_configured_client_sends_its_secret_and_its_scopes(site):
    """The SDK alone would send neither."""
    fields = {"oauth_client_id": "me", "oauth_client_secret": "s3cret", "oauth_scopes": ["read"]}
    seen: list[str] = []

    async def work() -> None:
        pool = ServerPool()
        await pool.configure([definition(site, **fields)])
        try:
            async for event in pool.authorize("site", "1", 20.0):
                if event.kind == "visit":
                    seen.append(event.text)
                    await asyncio.to_thread(visit, event.text)
        finally:
            await pool.close()

    site.lies["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    site.lies["scopes_supported"] = ["read", "write"]
    asyncio.run(work())
    assert site.secrets == ["s3cret"]
    assert parse_qs(urlsplit(seen[0]).query)["scope"] == ["read"]
    assert site.clients == []


def test_a_document_s_url_is_the_client_where_the_server_reads_documents(site):
    site.lies["client_id_metadata_document_supported"] = True
    document = "https://me.example/client.json"
    asyncio.run(authorize(site, oauth_client_metadata_url=document))
    assert json.loads(tokens.load(f"{site.url}/mcp").client)["client_id"] == document
    assert site.clients == []


# --- an authorization server that lies ------------------------------------------------------------


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        ({"issuer": "https://other.example"}, "issuer mismatch"),
        ({"code_challenge_methods_supported": ["plain"]}, "proves codes by 'plain' (PKCE), and not by S256"),
        ({"huge": True}, "answered with more than 1 MiB"),
        ({"gzip": {"Content_Encoding": "gzip"}}, "answered compressed"),
        ({"authorization_endpoint": "http://evil.example/a"}, "tokens travel by https only"),
        ({"authorization_endpoint": "javascript:alert(1)"}, ""),
        ({"token_endpoint": "http://evil.example/token"}, "tokens travel by https only"),
        ({"back": {"iss": "https://other.example"}}, "iss mismatch"),
        ({"back": {"state": "forged"}}, "State parameter mismatch"),
        ({"authorization_response_iss_parameter_supported": True}, "missing iss"),
        ({"token": {"access_token": None, "refresh_token": "leaked"}}, "breaks the standard"),
        ({"token": {"access_token": "a\r\nX-Evil: 1", "refresh_token": "leaked"}}, ""),
        ({"token": {"token_type": "leaked"}}, "breaks the standard"),
        ({"refuses": "authorization_code"}, "invalid_grant: it was revoked"),
        ({"token_endpoint": "http://127.0.0.1:1/token"}, "http://127.0.0.1:1/token gave no answer"),
        (
            {"token": {"access_token": "leaked"}},
            "the tokens that were just granted have expired, or are refused",
        ),
        ({"register": True}, "registers no such client: invalid_client_metadata: go away"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_lie_ends_the_flow_with_its_reason_and_no_token(site, lie, why):
    site.lies = lie
    with pytest.raises((api.ServerFailed, api.NeedsAuthorization)) as raised:
        asyncio.run(authorize(site))
    assert why in raised.value.reason
    assert "leaked" not in raised.value.reason
    assert "\n" not in raised.value.reason


# --- status and import ----------------------------------------------------------------------------


async def asked(site: Site, question: str, *given: Any, **fields: Any) -> Any:
    pool = ServerPool()
    await pool.configure([definition(site, **fields)])
    try:
        return await getattr(pool, question)(*given)
    finally:
        await pool.close()


REFS = [api.Ref(server="site", fingerprint="1")]


def test_the_status_says_how_long_a_token_lives_and_not_what_it_is(site):
    (before,) = asyncio.run(asked(site, "accesses", REFS))
    asyncio.run(authorize(site))
    (after,) = asyncio.run(asked(site, "accesses", REFS))
    assert (before.state, after.state, after.renews, after.issuer) == ("none", "granted", True, site.url)
    assert 3500 < after.expires_in_s <= 3600
    assert "secret-token" not in repr(after)
    expire(site)
    assert asyncio.run(asked(site, "accesses", REFS))[0].state == "renewable"


def test_two_clients_at_one_server_have_tokens_of_their_own(site):
    """A machine's are not a person's, and neither's are another client's."""
    asyncio.run(authorize(site))
    fields = {"oauth_client_id": "me", "oauth_client_secret": "s3cret"}
    (mine,) = asyncio.run(asked(site, "accesses", REFS, **fields))
    machine = {**fields, "oauth_grant": "client_credentials", "oauth_issuer": site.url}
    site.lies["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    assert asyncio.run(call(site, **machine)) == "it is you"
    (person,) = asyncio.run(asked(site, "accesses", REFS))
    assert (mine.state, person.client_id, site.grants) == (
        "none",
        "registered",
        ["authorization_code", "client_credentials"],
    )


def test_imported_tokens_are_used_and_renewed(site):
    """They come without the authorization server's address, which is found when it is needed."""
    given = {"access_token": "old", "refresh_token": "again", "expires_in": 1, "client_id": "theirs"}
    asyncio.run(asked(site, "import_tokens", "site", "1", json.dumps(given)))
    assert stat.S_IMODE(os.stat(tokens._path(f"{site.url}/mcp")).st_mode) == 0o600
    expire(site)
    assert asyncio.run(call(site)) == "it is you"
    assert site.grants == ["refresh_token"]
    with pytest.raises(api.ServerFailed) as raised:
        asyncio.run(asked(site, "import_tokens", "site", "1", "nothing"))
    assert raised.value.reason == "the file is not JSON"


def test_the_keyring_is_used_where_the_configuration_says_so(site):
    keyring = pytest.importorskip("keyring", reason="the extra `keyring` is not installed")
    backend = pytest.importorskip("keyring.backend")
    held: dict[str, str] = {}

    class Ring(backend.KeyringBackend):
        priority = 1

        def get_password(self, service: str, username: str) -> str | None:
            return held.get(username)

        def set_password(self, service: str, username: str, password: str) -> None:
            held[username] = password

        def delete_password(self, service: str, username: str) -> None:
            del held[username]

    before = keyring.get_keyring()
    keyring.set_keyring(Ring())
    try:
        asyncio.run(authorize(site, oauth_store="keyring"))
        assert asyncio.run(call(site, oauth_store="keyring")) == "it is you"
        assert "secret-token-1" in held[f"{site.url}/mcp"]
        assert not os.path.exists(tokens._path(f"{site.url}/mcp"))
        assert asyncio.run(asked(site, "forget", "site", "1", oauth_store="keyring"))
        assert held == {}
    finally:
        keyring.set_keyring(before)
