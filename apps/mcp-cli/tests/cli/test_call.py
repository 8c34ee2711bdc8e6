"""`mcp-cli call`: arguments from words, standard input and files; results, large ones too."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def test_arguments_need_no_dashes(app):
    for words in (
        ["fake/echo", "text=7"],
        ["fake/echo", "--text", "7"],
        ["fake/echo", "--text=7"],
        ["fake/echo", 'text:="7"'],
        ["fake", "echo", "text=7"],
        ["fake/echo", "--", "--text", "7"],
    ):
        assert app.done("call", *words) == "7\n", words
    out = app.done("call", "--json", "fake/echo", "text=7", "--raw")
    assert json.loads(out)["content"][0]["text"] == "7"


def test_arguments_from_standard_input_and_from_a_file(app):
    text = '{"text": "from afar"}'
    path = app.sandbox.write("given.json", text)
    assert app("call", "fake/echo", stdin=text).out == "from afar\n"
    assert app("call", "fake/echo", "-", stdin=text).out == "from afar\n"
    assert app("call", "fake/echo", f"@{path}").out == "from afar\n"
    absent = app("call", "fake/echo", "@nowhere.json")
    assert (absent.code, absent.err) == (2, "@nowhere.json: cannot be read: No such file or directory\n")
    bad = app("call", "fake/echo", stdin="{text: 1}")
    assert bad.code == 2
    assert "the arguments are not JSON" in bad.err


@pytest.mark.slow
def test_a_pipe_that_nobody_writes_to_is_told(app):
    call = app.popen("call", "fake/echo", stdin=subprocess.PIPE)
    assert call.stderr.readline() == (
        "reading the arguments from standard input; give {} for none, or </dev/null\n"
    )
    out, err = call.communicate('{"text": "late"}', timeout=30)
    assert (call.returncode, out, err) == (0, "late\n", "")


@pytest.mark.slow
def test_a_big_argument_and_a_big_result_pass_whole(app):
    text = "ä" * 1_000_000
    out = app("call", "fake/echo", stdin=json.dumps({"text": text}))
    assert out.out == text + "\n"
    assert len(app.done("call", "fake/big", "n=50000000")) == 50_000_001


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["call"], "call: needs a tool: mcp-cli call SERVER/TOOL key=value ..."),
        (["call", "fake"], "fake: names no tool"),
        (["call", "fake/"], "fake/: is not SERVER/TOOL"),
        (["call", "fake/echo", "--timeout", "soon"], "soon: is not a number of seconds above 0"),
        (["list", "--config"], "--config: needs a value"),
        (["nonsense"], "mcp-cli: argument COMMAND: invalid choice: 'nonsense'"),
        (["info"], "mcp-cli info: the following arguments are required: SERVER"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(app, words, said):
    ended = app(*words)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), ended
    assert ended.err.startswith(said)


def test_a_result_that_breaks_its_schema_is_told(app):
    broken = app("call", "fake/typed")
    assert broken.code == 1
    assert "breaks the tool's own output schema" in broken.err
    assert app("call", "fake/typed", "right=true").code == 0


def test_a_hundred_calls_at_once_each_have_their_own_answer(app):
    app.done("call", "fake/echo", "text=0")
    code = (
        "import sys, threading\n"
        "from daemonry import Client\n"
        "from mcp_cli.client import connect, options\n"
        "from mcp_cli.config import files, model\n"
        "c = files.load(None, options.environment())\n"
        "f = model.definition(c.servers[0], c, options.environment())['fingerprint']\n"
        "bad = []\n"
        "def one(n):\n"
        "    with Client.connect('unix:' + connect.socket_path()) as client:\n"
        "        *_, last = client.stream('org.daemonry.mcp.Call', {'server': 'fake', 'fingerprint': f,\n"
        "            'tool': 'echo', 'words': [f'text={n}'], 'logs': False})\n"
        "        if last['text'] != str(n): bad.append((n, last))\n"
        "threads = [threading.Thread(target=one, args=(n,)) for n in range(100)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "print(len(bad))\n"
    )
    ended = app.sandbox.run(sys.executable, "-c", code)
    assert (ended.code, ended.out) == (0, "0\n"), ended


def test_a_pin_is_what_the_tool_command_printed(app):
    pin = app.sandbox.write("echo.json", app("tool", "fake/echo", "--json").out)
    assert app("call", "fake/echo", "text=x", "--schema", str(pin)).out == "x\n"
    changed = json.loads(pin.read_text())
    changed["inputSchema"]["properties"]["loud"] = {"type": "boolean"}
    pin.write_text(json.dumps(changed))
    ended = app("call", "fake/echo", "text=x", "--schema", str(pin))
    assert (ended.code, ended.out) == (2, "")
    assert "not as it was pinned: inputSchema.properties.loud is gone" in ended.err
    assert "nothing was sent" in ended.err
    for words in (
        ("call", "fake/slow", "--schema", str(pin)),
        ("call", "fake/echo", "--schema", "none.json"),
        ("list", "--schema", str(pin)),
    ):
        assert app(*words).code == 2, words
