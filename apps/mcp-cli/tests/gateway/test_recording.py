"""Recording a server, and serving the recording."""

from __future__ import annotations

import json

import pytest

from mcp_cli.gateway import recording


def test_a_recording_is_served_again_without_the_server(app):
    path = app.sandbox.path / "exchange.jsonl"
    path.touch(0o644)  # one that is there is no less private
    first = app.talk("record", str(path), "fake")
    first.begin()
    tools = first.ask("tools/list")
    said = first.ask("tools/call", name="echo", arguments={"text": "x"})
    first.ask("tools/call", name="slow", arguments={"n": 0.2, "progress": True}, _meta={"progressToken": 7})
    assert first.end() == 0
    assert path.stat().st_mode & 0o777 == 0o600
    app.config("")  # no server is configured any more
    again = app.talk("replay", str(path))
    again.begin()
    again.ask("ping")
    assert again.ask("tools/list")["result"] == tools["result"]
    for _ in range(2):
        assert again.ask("tools/call", name="echo", arguments={"text": "x"})["result"] == said["result"]
    slow = again.ask(
        "tools/call", name="slow", arguments={"progress": True, "n": 0.2}, _meta={"progressToken": "t"}
    )
    assert slow["result"]["content"][0]["text"] == "done"
    assert {message["params"]["progressToken"] for message in again.heard} == {"t"}
    other = again.ask("tools/call", name="echo", arguments={"text": "y"})
    assert "not in the recording" in other["error"]["message"]
    assert again.end() == 0


def test_a_batch_is_recorded_and_served_again_as_one(app):
    path = app.sandbox.path / "exchange.jsonl"
    told = []
    for words in (("record", str(path), "fake"), ("replay", str(path))):
        talk = app.talk(*words)
        talk.ask("initialize", protocolVersion="2025-03-26", capabilities={}, clientInfo={})
        echo = {"method": "tools/call", "params": {"name": "echo", "arguments": {"text": "x"}}}
        batch = [{"jsonrpc": "2.0", "id": 1, "method": "ping"}, {"jsonrpc": "2.0", "id": 2, **echo}]
        talk.process.stdin.write(json.dumps(batch) + "\n")
        talk.process.stdin.flush()
        told.append(sorted(json.loads(talk.process.stdout.readline()), key=lambda one: one["id"]))
        assert talk.end() == 0
    assert told[0] == told[1]
    assert [one["id"] for one in told[0]] == [1, 2]
    assert told[0][1]["result"]["content"][0]["text"] == "x"


@pytest.mark.parametrize(
    "words", [("record", "kept.jsonl", "fack"), ("serve", "fack"), ("serve", "fake", "fack")]
)
def test_a_server_that_is_not_there_is_told_before_anything_is_served(app, words):
    """A client would only be told that there are no tools, and a recording made before would be lost."""
    kept = app.sandbox.path / "kept.jsonl"
    kept.write_text("kept")
    ended = app(*words)
    assert ended.code == 1
    assert "did you mean 'fake'?" in ended.err
    assert kept.read_text() == "kept"


def test_what_is_no_recording_is_told_with_its_line(app):
    path = app.sandbox.path / "wrong"
    path.write_text('{"mcp-cli": "recording"}\n{"at": \n')
    ended = app("replay", str(path))
    assert ended.code == 1
    assert "line 2" in ended.err
    for line in ("{}", "import mcp_cli"):
        with pytest.raises(recording.Unreadable, match="not a recording"):
            recording.Recording([line])
