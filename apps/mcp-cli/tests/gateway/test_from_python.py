"""The servers from Python, as one server, as a generated module, and out of a recording."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from mcp_cli.client.api import python_name, signature
from mcp_cli.gateway import generate, recording

MODES = ["auto", "direct"]


def python(app, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program in the sandbox."""
    path = app.sandbox.path / "program.py"
    path.write_text(text)
    return subprocess.run(
        [sys.executable, path, *words],
        env=app.sandbox.env,
        cwd=app.sandbox.path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# --- connect() ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_tools_are_functions_and_results_have_what_one_wants(app, mode):
    ended = python(
        app,
        f"""
import json, mcp_cli
from mcp_cli.client.api import ToolFailed

with mcp_cli.connect(mode={mode!r}) as servers:
    assert servers.names == ["fake"]
    assert servers.fake.echo(text="hé").text == "hé"
    assert str(servers.fake.echo.__signature__).startswith("(*, text: str)")
    typed = servers["fake"].typed(right=True)
    assert typed.structured == {{"n": 1}} == typed.json()
    assert servers.fake.call("raw").raw.endswith('"m":{{"b":1,"a":2}}}}')
    try:
        servers.fake.fail()
    except ToolFailed as error:
        print("failed:", error.result.text)
    try:
        servers.fake.echo(txet="x")
    except Exception as error:
        print(type(error).__name__, error.error, error.parameters["nearest"])
    big = servers.fake.big(n=2_500_000)
    assert len(big.text) == 2_500_000
""",
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "failed: it failed\nCallFailed org.daemonry.mcp.BadArguments text\n"


def test_one_program_may_do_without_a_daemon_twice(app):
    text = """
import mcp_cli
for _ in range(2):
    with mcp_cli.connect(mode="direct") as servers:
        print(servers.fake.echo(text="again"))
"""
    assert python(app, text).stdout == "again\nagain\n"


def test_threads_call_at_the_same_time_and_a_daemon_that_ended_is_started_again(app):
    ended = python(
        app,
        """
import subprocess, sys, threading, mcp_cli
servers = mcp_cli.connect()
answers = {}
def one(n):
    answers[n] = servers.fake.echo(text=str(n)).text
threads = [threading.Thread(target=one, args=(n,)) for n in range(20)]
[t.start() for t in threads]
[t.join() for t in threads]
assert answers == {n: str(n) for n in range(20)}, answers
subprocess.run([sys.argv[1], "daemon", "stop"], check=True, stdout=subprocess.DEVNULL)
assert servers.fake.echo(text="again").text == "again"
""",
        os.path.join(os.path.dirname(sys.executable), "mcp-cli"),
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_names_that_python_cannot_have():
    assert [python_name(one) for one in ("get-sum", "2d", "class", "a.b")] == [
        "get_sum",
        "_2d",
        "class_",
        "a_b",
    ]
    made = signature(
        {"properties": {"b": {"type": "integer"}, "a-c": {"type": "string"}}, "required": ["a-c"]}
    )
    assert [str(one) for one in made.parameters.values()] == ["a_c: str", "b: int = None"]


# --- generate -------------------------------------------------------------------------------------

ODD = {
    "name": "do-it",
    "description": 'Does "it"\\',
    "inputSchema": {
        "type": "object",
        "properties": {
            "class": {"type": "string", "description": "Which"},
            "mode": {"enum": ["a", "b"]},
            "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
            "n": {"type": ["integer", "null"]},
            "either": {"anyOf": [{"type": "string"}, {"type": "number"}]},
            "extra": {"type": "object", "additionalProperties": {"type": "boolean"}},
            "_given": {"type": "string"},
        },
        "required": ["class"],
        "$defs": {"tag": {"type": "string"}},
    },
}


def test_a_generated_module_says_the_types_of_the_schemas():
    text = generate.module(
        "serv", [ODD, {"name": "do_it", "inputSchema": {"type": "object"}}], standalone=True
    )
    compile(text, "serv.py", "exec")
    for line in (
        "    class_: str,",
        "    mode: Literal['a', 'b'] | None = None,",
        "    tags: list[str] | None = None,",
        "    n: int | None = None,",
        "    either: str | float | None = None,",
        "    extra: dict[str, bool] | None = None,",
        "    _given_: str | None = None,",
        "    return _servers.call('serv', 'do-it', _given)",
        "def do_it() -> Result:",
    ):
        assert line in text, (line, text)


def test_a_generated_module_calls_through_the_daemon(app):
    made = app("generate", "fake", "-o", "fake_tools.py")
    assert made.code == 0, made
    ended = python(app, "import fake_tools; print(fake_tools.echo(text='x').text, fake_tools.slow(n=0.1))")
    assert (ended.returncode, ended.stdout) == (0, "x done\n"), ended


@pytest.mark.slow
def test_a_generated_module_passes_a_strict_type_checker(app):
    assert app("generate", "fake", "--command", "-o", "fake_tools.py").code == 0
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", app.sandbox.path, "fake_tools.py"],
        cwd=app.sandbox.path,
        capture_output=True,
        text=True,
        env=app.sandbox.env,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_a_generated_command_has_options_and_completion(app):
    made = app("generate", "fake", "--command", "-o", "fake-tools")
    assert made.code == 0, made
    path = app.sandbox.path / "fake-tools"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, path, *words],
            env=app.sandbox.env,
            cwd=app.sandbox.path,
            capture_output=True,
            text=True,
            check=False,
        )

    assert os.access(path, os.X_OK)
    assert run("echo", "--text", "hé").stdout == "hé\n"
    assert run("fail").returncode == 1
    assert "required" in run("echo").stderr
    assert "echo" in run("--complete", "ec").stdout.split()
    assert run("--complete", "slow", "--").stdout.split() == ["--n", "--progress"]
    assert run("--complete", "--completion", "").stdout.split() == ["bash", "zsh", "fish"]
    assert "complete -o default -F _fake_tools fake-tools" in run("--completion").stdout
    assert "compdef _fake_tools fake-tools" in run("--completion", "zsh").stdout
    assert "complete -c fake-tools" in run("--completion", "fish").stdout
    assert run("--completion", "tcsh").returncode == 2
    wrong = run("slow", "--n", "soon")
    assert wrong.returncode == 2
    assert "argument --n: invalid float value: 'soon'" in wrong.stderr
    assert path.read_text().startswith(f"#!{sys.executable}\n")
    assert json.loads(run("--json", "typed", "--right").stdout)["structuredContent"] == {"n": 1}


# --- serve ----------------------------------------------------------------------------------------


class Talk:
    """A client of an MCP server on stdio, message by message."""

    def __init__(self, app, *words: str) -> None:
        self.process = app.popen(*words, stdin=subprocess.PIPE)
        self.heard: list[dict[str, object]] = []
        self.asked = 0

    def send(self, **message: object) -> None:
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def ask(self, method: str, **params: object) -> dict:
        """Ask, and return the answer; what comes before it is in `heard`."""
        self.asked += 1
        self.send(id=self.asked, method=method, params=params)
        return self.answer(self.asked)

    def answer(self, number: object) -> dict:
        while True:
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read()
            message = json.loads(line)
            if message.get("id") == number and "method" not in message:
                return message
            self.heard.append(message)

    def begin(self) -> dict:
        client = {"name": "test", "version": "1"}
        begun = self.ask("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=client)
        self.send(method="notifications/initialized")
        return begun["result"]

    def end(self) -> int:
        self.process.stdin.close()
        code = self.process.wait(20)
        self.process.stdout.close()
        self.process.stderr.close()
        return code


@pytest.mark.parametrize("mode", [(), ("--no-daemon",)])
def test_all_servers_under_one_roof(app, mode):
    app.servers(one=[], two={"disabled_tools": ["write_*"]}, broken=["--exit-at-once", "1"])
    talk = Talk(app, *mode, "serve")
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
    talk = Talk(app, "serve", "--lazy")
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
    talk = Talk(app, "serve", "fake")
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
    talk = Talk(app, "serve", "fake")
    for line in ("[" * 200_000, '{"a":' * 200_000, "[" * 200_000 + "]" * 200_000, "nonsense"):
        talk.process.stdin.write(line + "\n")
        talk.process.stdin.flush()
        assert talk.answer(None)["error"]["code"] == -32700
    assert talk.ask("ping")["result"] == {}
    assert talk.end() == 0


def test_progress_is_passed_on_and_a_cancelled_call_is_cancelled(app):
    talk = Talk(app, "serve", "fake")
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
    told = json.loads(talk.ask("tools/call", name="cancelled", arguments={})["result"]["content"][0]["text"])
    assert len(told) == 1
    assert talk.end() == 0


def test_a_daemon_stays_as_long_as_the_configuration_says_whoever_starts_it(app):
    app.config("daemon_ttl = 7\n" + app.config_path.read_text())

    def idle_end():
        told = app("daemon", "status", "--json").json()
        return told["idle_timeout_secs"], told.get("environment_differs", [])

    talk = Talk(app, "serve", "fake")
    talk.begin()
    talk.ask("tools/list")
    by_serve = idle_end()
    assert talk.end() == 0
    app.done("daemon", "stop")
    program = "import mcp_cli\nwith mcp_cli.connect() as servers:\n    servers.fake.echo(text='x')"
    assert python(app, program).returncode == 0
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
        assert post([begin])[0] == 400
        for text in ("[" * 200_000, "nonsense"):
            code, answer = post(text)
            assert (code, json.loads(answer)["error"]["code"]) == (400, -32700)
        assert '"serverInfo"' in post(begin)[1]
        assert '"code":-32600' in post({"jsonrpc": "2.0", "id": [1], "method": "ping"})[1]
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=20)
    assert server.returncode == 0


# --- record and replay ----------------------------------------------------------------------------


def test_a_recording_is_served_again_without_the_server(app):
    path = app.sandbox.path / "exchange.jsonl"
    path.touch(0o644)  # one that is there is no less private
    first = Talk(app, "record", str(path), "fake")
    first.begin()
    tools = first.ask("tools/list")
    said = first.ask("tools/call", name="echo", arguments={"text": "x"})
    first.ask("tools/call", name="slow", arguments={"n": 0.2, "progress": True}, _meta={"progressToken": 7})
    assert first.end() == 0
    assert path.stat().st_mode & 0o777 == 0o600
    app.config("")  # no server is configured any more
    again = Talk(app, "replay", str(path))
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


def test_the_helper_threads_of_these_tests_are_gone():
    assert [one.name for one in threading.enumerate() if one.name.startswith("mcp-cli")] == []
