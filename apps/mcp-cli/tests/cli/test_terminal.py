"""What a person at a terminal sees: a pseudo-terminal stands for it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import sys
import time
from pathlib import Path

import pytest

from daemonry.terminal_text import is_unsafe


class Screen:
    """A command on a pseudo-terminal, and what it wrote there."""

    def __init__(self, app, *words, command=None):
        self._master, slave = pty.openpty()
        app.sandbox.env["TERM"] = "xterm"
        streams = {"stdin": slave, "stdout": slave, "stderr": slave}
        if command is None:
            self.process = app.popen(*words, **streams)
        else:
            self.process = app.sandbox.popen(*command, *words, **streams)
        os.close(slave)
        self.text = ""

    def until(self, wanted, timeout_s=20.0):
        """Read until a text is there, or the end."""
        end = time.monotonic() + timeout_s
        while wanted not in self.text:
            ready, _, _ = select.select([self._master], [], [], max(0, end - time.monotonic()))
            assert ready, f"{wanted!r} did not come: {self.text!r}"
            try:
                data = os.read(self._master, 65536)
            except OSError:  # EIO: nobody has the other side any more
                data = b""
            if not data:
                break
            self.text += data.decode()
        return self

    def type(self, text):
        os.write(self._master, text.encode())

    def end(self):
        """Read all, and return the exit code."""
        self.until("\0no such text\0")
        code = self.process.wait(20)
        os.close(self._master)
        return code


def test_control_characters_of_a_server_do_not_reach_the_terminal(app):
    evil = "a\x1b]0;title\x07b\x9bc\u202egnp.exe\r\nd\te"
    screen = Screen(app, "call", "fake/echo", json.dumps({"text": evil}))
    assert screen.end() == 0
    assert "a\\x1b]0;title\\x07b\\x9bc\\u202egnp.exe\r\nd\te" in screen.text
    piped = app("call", "fake/echo", json.dumps({"text": evil}))
    assert piped.out == evil.replace("\r\n", "\n") + "\n"  # to a pipe it goes as it is


# What a hostile server says of its tool, and answers: ESC, BEL, C1, bidi, zero-width, TAG, a separator, DEL.
EVIL = "\x1b]0;title\x07\x9b2J\u202egnp.exe\u2066x\u200b\U000e0041\u2028\x7f"


@pytest.mark.slow
def test_no_command_shows_what_a_hostile_server_says_as_it_is(app):
    schema = {"type": "object", "properties": {"text": {"type": "string", "description": EVIL}}}
    tools = [{"name": name, "description": EVIL, "inputSchema": schema} for name in ("echo", f"a{EVIL}")]
    listed = app.sandbox.write("tools.json", json.dumps(tools))
    server = str(Path(__file__).parents[1] / "odd_server.py")
    app.servers(odd={"transport": {"args": [server, str(listed)]}})
    given = json.dumps({"text": EVIL})
    app.sandbox.env["NO_COLOR"] = "1"
    for words in (
        ("list",),
        ("list", "--json"),
        ("list", "-d"),
        ("info", "odd"),
        ("info", "odd", "--json"),
        ("info", "odd/echo"),
        ("info", "odd/echo", "--json"),
        ("grep", "*echo*"),
        ("grep", "*echo*", "--json"),
        ("call", "odd/echo", given),
        ("call", "odd/echo", given, "--json"),
        ("call", "odd/echo", given, "--raw"),
        ("call", f"odd/no{EVIL}", given),
        ("call", f"odd/no{EVIL}", given, "--json"),
        ("call", f"no{EVIL}/echo", given),
        ("tool", "odd/echo"),
        ("daemon", "status"),
        ("daemon", "status", "--json"),
        ("generate", "odd", "--command"),
        (EVIL,),
    ):
        screen = Screen(app, *words)
        screen.end()
        # The commands' own: back to the line's beginning, up, and clear to the end of line or screen.
        text = re.sub("\x1b\\[(\\d*A|K|J)|\r", "", screen.text)
        assert text.strip(), words
        assert [char for char in text if char not in "\n\t" and is_unsafe(ord(char))] == [], (words, text)
        if words[-1] in {"--json", "--raw"} and "odd/echo" in words[1:2] and words[0] == "call":
            result = json.loads(text)
            result = result.get("result", result)
            assert json.loads(result["content"][0]["text"])["text"] == EVIL
    piped = app("call", "odd/echo", given, "--raw").out
    assert json.loads(json.loads(piped)["content"][0]["text"])["text"] == EVIL


def test_a_generated_command_shows_nothing_as_it_is(app):
    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    tools = [{"name": "echo", "description": EVIL, "inputSchema": schema}]
    listed = app.sandbox.write("tools.json", json.dumps(tools))
    server = str(Path(__file__).parents[1] / "odd_server.py")
    app.servers(odd={"transport": {"args": [server, str(listed)]}})
    app.done("generate", "odd", "--command", "-o", "odd-tools")
    for words in (("--help",), ("echo", "--text", EVIL), ("--json", "echo", "--text", EVIL)):
        screen = Screen(app, *words, command=[sys.executable, str(app.sandbox.path / "odd-tools")])
        assert screen.end() == 0, screen.text
        text = screen.text.replace("\r\n", "\n")
        assert [char for char in text if char not in "\n\t" and is_unsafe(ord(char))] == [], (words, text)


def test_progress_is_shown_while_a_call_runs_and_is_gone_after_it(app):
    app.done("call", "fake/echo", "text=1")
    screen = Screen(app, "call", "fake/slow", "n=1", "progress=true")
    screen.until("\r\x1b[Kfake: ")
    assert screen.end() == 0
    assert screen.text.endswith("\r\x1b[Kdone\r\n")


def test_standard_error_of_a_server_is_shown_on_a_terminal_only(app):
    assert app("call", "fake/tell", "text=psst").err == ""
    assert "psst" in app("call", "fake/tell", "text=psst", "--verbose").err
    screen = Screen(app, "call", "fake/tell", "text=psst")
    assert screen.end() == 0
    assert "fake: psst\r\n" in screen.text
    quiet = Screen(app, "call", "fake/tell", "text=psst", "--quiet")
    assert quiet.end() == 0
    assert quiet.text == "told\r\n"


FORM = {
    "method": "elicitation/create",
    "params": {
        "message": "Agreed?",
        "requestedSchema": {
            "type": "object",
            "properties": {"ok": {"type": "boolean"}, "who": {"type": "string", "default": "me"}},
            "required": ["ok"],
        },
    },
}


@pytest.mark.slow
def test_a_form_is_filled_in_field_by_field_and_yes_is_true(app):
    screen = Screen(app, "call", "fake/ask", json.dumps({"message": FORM}))
    screen.until("fake asks: Agreed?").until("ok (boolean, required): ").type("perhaps\n")
    screen.until("must be true or false, not 'perhaps'").type("y\n")
    screen.until('who (string, else "me"): ').type("\n")
    assert screen.end() == 0
    answer = json.loads(screen.text.rpartition('"me"): ')[2])
    assert answer == {"action": "accept", "content": {"ok": True, "who": "me"}}


def test_the_end_of_input_cancels_a_question_and_ends_its_line(app):
    screen = Screen(app, "call", "fake/ask", json.dumps({"message": FORM}))
    screen.until("ok (boolean, required): ").type("\x04")
    assert screen.end() == 0
    assert screen.text.endswith('required): \r\n{\r\n  "action": "cancel"\r\n}\r\n')


def test_what_is_odd_about_a_server_stays_on_the_screen(app):
    """Unlike what was done for the call, which its result writes over."""
    screen = Screen(app, "call", "fake/garbage", "n=1")
    assert screen.end() == 0
    assert (
        "fake wrote a line on stdout that is not a message: 'not a message 0'\r\nafter the garbage\r\n"
        in screen.text
    )


def test_a_list_fills_a_table_as_servers_answer(app):
    app.servers(quick=[], slow=["--start-s", "1.5"], broken=["--exit-at-once", "1"])
    app("daemon", "start")
    screen = Screen(app, "list")
    screen.until("slow    starting").until(f"quick   {app.tools} tools").until("broken  failed")
    assert screen.end() == 0
    assert f"slow    {app.tools} tools" in screen.text
    last = screen.text.rpartition("\x1b[J")[2]
    assert last.startswith(f"quick  {app.tools} tools\r\n  echo\r\n")


def test_records_are_a_table_on_a_terminal_and_json_in_a_pipe(app):
    records = json.dumps([{"name": "a", "size": 1}, {"name": "bb", "size": None}])
    given = json.dumps({"text": records})
    screen = Screen(app, "call", "fake/echo", given)
    assert screen.end() == 0
    assert screen.text.endswith("name  size\r\na     1\r\nbb    -\r\n")
    assert app("call", "fake/echo", given).out == records + "\n"
