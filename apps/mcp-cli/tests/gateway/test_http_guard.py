"""Which requests `serve --http` takes, and what editors are told."""

import json
import os
import stat
import tomllib

import pytest

from mcp_cli.gateway import editor_config
from mcp_cli.gateway.http_guard import HttpRefusal, check_origin, check_request, check_token

PORT = 8123
TOKEN = "0123456789abcdef" * 4


def status_of(check, *arguments):
    try:
        check(*arguments)
    except HttpRefusal as refusal:
        return refusal.status
    return 200


@pytest.mark.parametrize("host", ["127.0.0.1:8123", "localhost:8123", "LOCALHOST:8123", "[::1]:8123"])
def test_our_own_address_is_taken(host):
    assert status_of(check_origin, [("host", host)], PORT) == 200
    assert status_of(check_origin, [("host", host), ("origin", f"http://{host}")], PORT) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8123",
        "evil.example@localhost:8123",
        "localhost:8123@evil.example",
        "127.0.0.1.evil.example:8123",
        "localhost",
        "localhost:80",
        "localhost:8124",
        "localhost.:8123",
        "localhost:8123/",
        "0.0.0.0:8123",
        "[",
        "",
    ],
)
def test_another_host_is_not_served(host):
    assert status_of(check_origin, [("host", host)], PORT) == 421


def test_two_hosts_and_none_are_refused():
    ours = ("host", f"localhost:{PORT}")
    assert status_of(check_origin, [ours, ours], PORT) == 421
    assert status_of(check_origin, [], PORT) == 421


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "http://evil.example",
        "http://localhost",
        "http://localhost:3000",
        "http://x@localhost:8123",
        "https://localhost:8123",
        "chrome-extension://localhost:8123",
        "file://localhost:8123",
        "http://[",
    ],
)
def test_a_page_that_is_not_ours_is_refused(origin):
    headers = [("host", f"localhost:{PORT}"), ("origin", origin)]
    assert status_of(check_origin, headers, PORT) == 403


@pytest.mark.parametrize("given", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Bearer  {TOKEN} "])
def test_the_token_is_taken(given):
    check_token([("authorization", given)], TOKEN, "/f")


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ([], False),
        ([""], True),
        (["Bearer"], True),
        (["Bearer "], True),
        ([f"Bearer {TOKEN[:-1]}"], True),
        ([f"Bearer {TOKEN}x"], True),
        ([f"Basic {TOKEN}"], True),
        ([TOKEN], True),
        (["Bearer \xff"], True),
        ([f"Bearer {TOKEN}", f"Bearer {TOKEN}"], True),
    ],
)
def test_without_the_token_it_is_told_where_that_is(given, wrong):
    with pytest.raises(HttpRefusal, match="the token is in /f") as caught:
        check_token([("authorization", one) for one in given], TOKEN, "/f")
    assert (caught.value.status, caught.value.wrong_token) == (401, wrong)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("application/jsonp", 415),
        ("application/json, text/plain", 415),
        ("text/plain", 415),
        ("text/plain; application/json", 415),
        ("", 415),
    ],
)
def test_a_message_is_json_by_its_whole_type(kind, status):
    assert status_of(check_request, "/mcp", "POST", kind) == status


def test_other_places_and_methods_are_refused():
    assert status_of(check_request, "/x", "POST", "application/json") == 404
    assert status_of(check_request, "/mcp", "GET", "application/json") == 405


@pytest.mark.parametrize("editor", editor_config.FORMS)
def test_an_editors_file_has_the_address_and_the_token(editor):
    text = editor_config.text_for(editor, "http://127.0.0.1:8123/mcp", TOKEN)
    value = tomllib.loads(text) if editor == "codex" else json.loads(text)
    ((server,),) = [list(servers.values()) for servers in value.values()]
    assert "http://127.0.0.1:8123/mcp" in server.values()
    assert {"Authorization": f"Bearer {TOKEN}"} in server.values()
    assert "Authorization" not in editor_config.text_for(editor, "http://h:1/mcp", None)


def test_the_printed_token_is_the_one_that_is_kept(app):
    first, second = (app("serve", "--http", "8123", "--print-config", "cursor") for _ in range(2))
    assert first.code == 0, first
    assert first.out == second.out
    token = json.loads(first.out)["mcpServers"]["mcp-cli"]["headers"]["Authorization"].split()[1]
    (path,) = app.sandbox.path.rglob("*serve.token")
    assert path.read_text().strip() == token
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    path.chmod(0o644)
    refused = app("serve", "--http", "0")
    assert refused.code == 1
    assert "open to others (mode 0644): chmod 600 it" in refused.err
