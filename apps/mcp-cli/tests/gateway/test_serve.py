"""`mcp-cli serve`: all servers as one, on stdio and over HTTP."""

from __future__ import annotations

import json
import signal
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from daemonry.testing import wait_until


@pytest.mark.parametrize("mode", [(), ("--no-daemon",)])
def test_all_servers_under_one_roof(app, mode):
    app.servers(one=[], two={"disabled_tools": ["write_*"]}, broken=["--exit-at-once", "1"])
    talk = app.talk(*mode, "serve")
    assert talk.begin()["protocolVersion"] == "2025-06-18"
    tools = [tool["name"] for tool in talk.ask("tools/list")["result"]["tools"]]
    assert {"one__echo", "two__echo", "one__write_file"} <= set(tools)
    assert "two__write_file" not in tools
    assert any("broken" in json.dumps(message) for message in talk.heard)
    said = talk.ask("tools/call", name="two__echo", arguments={"text": "x"})
    assert said["result"] == {"content": [{"type": "text", "text": "x"}]}
    hidden = talk.ask("tools/call", name="two__write_file", arguments={})
    assert hidden["result"]["isError"]
    assert "not allowed" in hidden["result"]["content"][0]["text"]
    unknown = talk.ask("tools/call", name="nobody__echo", arguments={})
    assert unknown["error"]["code"] == -32602
    crashed = talk.ask("tools/call", name="one__crash", arguments={})
    assert "not known" in crashed["result"]["content"][0]["text"]
    refused = talk.ask("tools/call", name="one__refuse", arguments={})
    assert (refused["error"]["code"], refused["error"]["data"]) == (-32050, {"why": 1})
    assert talk.ask("nonsense")["error"]["code"] == -32601
    assert talk.end() == 0


def test_three_tools_stand_for_all_where_that_is_asked_for(app):
    talk = app.talk("serve", "--lazy")
    assert "fake" in talk.begin()["instructions"]
    listed = talk.ask("tools/list")["result"]["tools"]
    assert [tool["name"] for tool in listed] == ["search_tools", "describe_tools", "call_tool"]
    assert len(json.dumps(listed)) < 2000

    def said(tool: str, /, **given: object) -> tuple[str, bool]:
        result = talk.ask("tools/call", name=tool, arguments=given)["result"]
        return result["content"][0]["text"], bool(result.get("isError"))

    assert said("search_tools", query="say a text again")[0].startswith("fake__echo: Says it again")
    described = json.loads(said("describe_tools", names=["fake__echo"])[0])
    assert described[0]["inputSchema"]["required"] == ["text"]
    assert said("call_tool", name="fake__echo", arguments={"text": "x"}) == ("x", False)
    near, failed = said("call_tool", name="fake__ecko", arguments={"text": "x"})
    assert (near.endswith("nothing was done. Did you mean echo?"), failed) == (True, True)
    for name, given in (
        ("call_tool", {"name": "fake__echo", "arguments": {"txet": "x"}}),
        ("call_tool", {"name": "fake__echo", "arguments": "x"}),
        ("call_tool", {}),
        ("search_tools", {"query": " "}),
        ("describe_tools", {"names": []}),
        ("describe_tools", {"names": ["none"]}),
    ):
        assert said(name, **given)[1], given
    assert talk.ask("tools/call", name="fake__echo", arguments={})["error"]["code"] == -32602
    assert talk.end() == 0


def test_a_message_that_is_none_is_refused_and_the_next_is_answered(app):
    """One that breaks the protocol must not end the server for all that is under way."""
    talk = app.talk("serve", "fake")
    for wrong, code in (
        ({"id": [1], "method": "ping"}, -32600),
        ({"id": {"a": 1}, "method": "ping"}, -32600),
        ({"id": 7, "method": ["ping"]}, -32600),
        ({"id": 7, "method": "tools/list", "params": [1]}, -32602),
    ):
        talk.send(**wrong)
        assert talk.answer(7 if wrong["id"] == 7 else None)["error"]["code"] == code
    talk.send(method="notifications/cancelled", params=[1])
    talk.send(method="notifications/cancelled", params={"requestId": [1]})
    talk.send(method=["notifications/cancelled"])
    assert talk.ask("ping")["result"] == {}
    assert talk.end() == 0


def test_a_line_that_no_interpreter_reads_is_an_error_and_the_next_is_answered(app):
    """Python gives up at some depth with an error that is no ValueError."""
    talk = app.talk("serve", "fake")
    for line in ("[" * 200_000, '{"a":' * 200_000, "[" * 200_000 + "]" * 200_000, "nonsense"):
        talk.process.stdin.write(line + "\n")
        talk.process.stdin.flush()
        assert talk.answer(None)["error"]["code"] == -32700
    assert talk.ask("ping")["result"] == {}
    assert talk.end() == 0


def test_progress_is_passed_on_and_a_cancelled_call_is_cancelled(app):
    talk = app.talk("serve", "fake")
    talk.begin()
    progress = {"progressToken": "p"}
    done = talk.ask("tools/call", name="slow", arguments={"n": 0.3, "progress": True}, _meta=progress)
    assert done["result"]["content"][0]["text"] == "done"
    assert any(message.get("params", {}).get("progressToken") == "p" for message in talk.heard)
    talk.send(
        id=99,
        method="tools/call",
        params={"name": "slow", "arguments": {"n": 30, "progress": True}, "_meta": progress},
    )
    talk.heard.clear()
    line = json.loads(talk.process.stdout.readline())
    assert line["method"] == "notifications/progress"
    talk.send(method="notifications/cancelled", params={"requestId": 99})

    def cancelled():
        told = talk.ask("tools/call", name="cancelled", arguments={})
        return json.loads(told["result"]["content"][0]["text"])

    # The call ends with its connection to the daemon, and this one asks on another: it may be there first.
    assert len(wait_until(cancelled)) == 1
    assert talk.end() == 0


@pytest.mark.slow
def test_a_daemon_stays_as_long_as_the_configuration_says_whoever_starts_it(app):
    app.config("daemon_ttl = 7\n" + app.config_path.read_text())

    def idle_end():
        told = app("daemon", "status", "--json").json()
        return told["idle_timeout_secs"], told.get("environment_differs", [])

    talk = app.talk("serve", "fake")
    talk.begin()
    talk.ask("tools/list")
    by_serve = idle_end()
    assert talk.end() == 0
    app.done("daemon", "stop")
    program = "import mcp_cli\nwith mcp_cli.connect() as servers:\n    servers.fake.echo(text='x')"
    assert app.python(program).returncode == 0
    assert by_serve == idle_end() == (7, [])


def test_all_servers_over_http_on_loopback(app):
    server = app.popen("serve", "--http", "0")
    try:
        said = server.stderr.readline()
        url = said.split()[3]
        token = Path(said.rpartition(" ")[2].strip().rstrip(")")).read_text().strip()
        assert url.startswith("http://127.0.0.1:"), said

        bearer = {"Authorization": f"Bearer {token}"}

        def post(message: object, **headers: str) -> tuple[int, str]:
            text = message if isinstance(message, str) else json.dumps(message)
            request = urllib.request.Request(
                url, text.encode(), {"Content-Type": "application/json", **bearer, **headers}
            )
            try:
                with urllib.request.urlopen(request, timeout=30) as reply:
                    return reply.status, reply.read().decode()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read().decode()

        begin = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {"protocolVersion": "2025-11-25"},
        }
        assert '"serverInfo"' in post(begin)[1]
        given = {
            "name": "fake__slow",
            "arguments": {"n": 0.2, "progress": True},
            "_meta": {"progressToken": 1},
        }
        code, text = post({"jsonrpc": "2.0", "id": "x", "method": "tools/call", "params": given})
        events = [
            json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line[:5] == "data:"
        ]
        assert code == 200
        assert events[-1]["id"] == "x"
        assert events[-1]["result"]["content"][0]["text"] == "done"
        assert {event.get("method") for event in events[:-1]} == {"notifications/progress"}
        # A page of another site may not reach it, nor may one whose name was made to point here.
        assert post(begin, Origin="http://evil.example")[0] == 403
        assert post(begin, Host="evil.example")[0] == 421
        assert post(begin, Origin="")[0] == 403
        assert post(begin, Authorization="")[0] == 401
        assert post(begin, Authorization="Bearer " + "0" * 64)[0] == 401
        assert post(begin, Origin="http://[")[0] == 403
        assert post(begin, Host="[")[0] == 421
        assert post({"jsonrpc": "2.0", "method": "notifications/initialized"})[0] == 202
        # Nobody is to wait for what will not be answered.
        assert post({"jsonrpc": "2.0", "id": None, "method": "ping"})[0] == 202
        assert post({"jsonrpc": "2.0", "id": 1, "method": None})[0] == 202
        for revision in ("2025-06-18", "2025-11-25"):
            assert post([begin], **{"MCP-Protocol-Version": revision})[0] == 400
        for text in ("[" * 200_000, "nonsense"):
            code, answer = post(text)
            assert (code, json.loads(answer)["error"]["code"]) == (400, -32700)
        assert '"serverInfo"' in post(begin)[1]
        assert '"code":-32600' in post({"jsonrpc": "2.0", "id": [1], "method": "ping"})[1]
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=20)
    assert server.returncode == 0


FORM = {
    "method": "elicitation/create",
    "params": {"message": "Who?", "requestedSchema": {"type": "object", "properties": {}}},
}


def request(number: object, method: str = "ping", **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def slow(number: object, seconds: float, **params: object) -> dict[str, object]:
    return request(number, "tools/call", name="slow", arguments={"n": seconds, "progress": True}, **params)


def outcomes(answers: list[dict]) -> dict[object, object]:
    """The answers of a batch by their ids: the code of an error, or the text or value of a result."""
    told = {}
    for one in answers:
        result = one.get("result")
        said = result["content"][0]["text"] if result else result
        told[one["id"]] = one["error"]["code"] if "error" in one else said
    assert len(told) == len(answers)
    return told


def write(talk, message: object) -> None:
    talk.process.stdin.write(json.dumps(message) + "\n")
    talk.process.stdin.flush()


def read_batch(talk) -> list[dict]:
    """The next answers to a batch; what comes before them is in `talk.heard`."""
    while isinstance(message := json.loads(talk.process.stdout.readline()), dict):
        talk.heard.append(message)
    return message


def begin(talk, revision: str) -> None:
    told = talk.ask("initialize", protocolVersion=revision, capabilities={"elicitation": {}}, clientInfo={})
    assert told["result"]["protocolVersion"] == revision


def test_a_batch_of_2025_03_26_is_answered_by_one_array(app):
    talk = app.talk("serve", "fake")
    begin(talk, "2025-03-26")
    gone = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "gone"}}
    members = [
        request("a"),
        slow("b", 0.2, _meta={"progressToken": "p"}),
        request("c", "nonsense"),
        request("d", "initialize", protocolVersion="2025-03-26", capabilities={}, clientInfo={}),
        request("e", _meta={"io.modelcontextprotocol/protocolVersion": "2026-07-28"}),
        request("asks", "tools/call", name="ask", arguments={"message": FORM}),
        slow("gone", 30),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": "nobody asked", "result": {}},
        7,
        gone,
    ]
    write(talk, members)
    while (asked := json.loads(talk.process.stdout.readline()))["method"] != "elicitation/create":
        talk.heard.append(asked)
    write(talk, [{"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "decline"}}])
    told = outcomes(read_batch(talk))
    assert json.loads(told.pop("asks")) == {"action": "decline"}
    assert told == {"a": {}, "b": "done", "c": -32601, "d": -32600, "e": -32602, None: -32600}
    assert {one["params"]["progressToken"] for one in talk.heard if "progress" in one["method"]} == {"p"}
    # Neither notifications and answers alone nor cancelled requests are answered; the next line is.
    write(talk, [gone, {"jsonrpc": "2.0", "id": 1, "result": {}}])
    write(talk, [slow("gone", 30), gone])
    assert talk.ask("ping")["result"] == {}
    for wrong in ([], [request(number) for number in range(1001)]):
        write(talk, wrong)
        assert talk.answer(None)["error"]["code"] == -32600
    write(talk, [request(number) for number in range(1000)])
    assert outcomes(read_batch(talk)) == {number: {} for number in range(1000)}
    # What is under way when the input ends is answered.
    write(talk, [slow(1, 0.2), request(2)])
    talk.process.stdin.close()
    assert outcomes(read_batch(talk)) == {1: "done", 2: {}}
    assert talk.end() == 0


def test_the_requests_of_a_batch_run_at_the_same_time(app):
    """Each call waits for an answer to a question that is given when all of them have asked."""
    app.servers(one=[], two=[])
    talk = app.talk("serve")
    begin(talk, "2025-03-26")
    asks = [f"{server}__ask" for server in ("one", "two")]
    write(talk, [request(name, "tools/call", name=name, arguments={"message": FORM}) for name in asks])
    asked = [json.loads(talk.process.stdout.readline()) for _ in range(2)]
    for one in asked:
        talk.send(id=one["id"], result={"action": "cancel"})
    assert set(outcomes(read_batch(talk))) == set(asks)
    assert talk.end() == 0


@pytest.mark.parametrize("revision", ["2024-11-05", "2025-06-18", "2025-11-25"])
def test_a_session_of_another_revision_has_no_batches(app, revision):
    talk = app.talk("serve", "fake")
    for begun in (False, True):
        if begun:
            begin(talk, revision)
        write(talk, [request("b1")])
        assert talk.answer(None)["error"] == {"code": -32600, "message": "a message is a JSON object"}
    assert talk.end() == 0


@pytest.mark.parametrize("headers", [{}, {"MCP-Protocol-Version": "2025-03-26"}])
def test_a_batch_over_http_is_answered_by_one_array(app, headers):
    """A POST without the header is of 2025-03-26: the revisions after it require the header."""
    server = app.popen("serve", "fake", "--http", "0", "--open")
    try:
        url = server.stderr.readline().split()[3]

        def post(message: object) -> tuple[int, list[object]]:
            sent = urllib.request.Request(
                url, json.dumps(message).encode(), {"Content-Type": "application/json", **headers}
            )
            try:
                with urllib.request.urlopen(sent, timeout=30) as reply:
                    lines = reply.read().decode().splitlines()
                    return reply.status, [json.loads(line[6:]) for line in lines if line[:5] == "data:"]
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, []

        gone = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 3}}
        code, events = post(
            [
                request(1),
                slow(2, 0.2, _meta={"progressToken": "p"}),
                slow(3, 30),
                request(4, "initialize"),
                gone,
                [],
            ]
        )
        assert (code, outcomes(events.pop())) == (200, {1: {}, 2: "done", 4: -32600, None: -32600})
        assert {event["method"] for event in events} == {"notifications/progress"}
        assert post([slow(3, 30), gone]) == (200, [])
        assert post([gone, {"jsonrpc": "2.0", "id": 1, "result": {}}]) == (202, [])
        assert post([]) == (400, [])
        assert post([request(number) for number in range(1001)]) == (400, [])
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=20)
    assert server.returncode == 0


def test_the_helper_threads_of_these_tests_are_gone():
    assert [one.name for one in threading.enumerate() if one.name.startswith("mcp-cli")] == []
