"""The part of the daemon's page that shows servers, where DAEMONRY_HTTP turns HTTP on."""

import json

import pytest

pytest.importorskip("starlette", reason="the extra `http` is not installed")


def asked(app, path):
    return app.sandbox.run("curl", "-s", "--unix-socket", app.socket_path, f"http://d{path}")


def test_servers_their_tools_and_states_are_on_the_page(app):
    app.servers(files=[])
    app.done("call", "files", "echo", '{"text": "a"}', DAEMONRY_HTTP="on")
    assert [part["name"] for part in json.loads(asked(app, "/v1/parts").out)["parts"]] == ["servers"]
    assert "export async function mount" in asked(app, "/parts/servers.js").out
    (shown,) = json.loads(asked(app, "/v1/parts/servers").out)["servers"]
    assert (shown["server"], shown["state"], shown["starts"], shown["calls"]) == ("files", "ready", 1, [])
    assert shown["pid"] > 0


def test_without_the_operators_word_there_is_no_http(app):
    app.servers(files=[])
    app.done("call", "files", "echo", '{"text": "a"}')
    assert asked(app, "/v1/parts").code != 0
