"""What a person at a terminal sees: a pseudo-terminal stands for it."""

from __future__ import annotations

import json
import os
import pty
import select
import time

import pytest

from mcp_cli.cli import tables, terminal


class Screen:
    """A command on a pseudo-terminal, and what it wrote there."""

    def __init__(self, app, *words):
        self._master, slave = pty.openpty()
        app.sandbox.env["TERM"] = "xterm"
        self.process = app.popen(*words, stdin=slave, stdout=slave, stderr=slave)
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
        "fake wrote what is no message on stdout: 'not a message 0'\r\nafter the garbage\r\n" in screen.text
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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("over\rwritten", "over\\rwritten"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("\u202ax\u202e", "\\u202ax\\u202e"),
        ("é 漢字 🧭", "é 漢字 🧭"),
        ("\udcff", "\\udcff"),
        ("\x85\u2028", "\\x85\\u2028"),
    ],
)
def test_what_would_command_a_terminal_is_shown(text, shown):
    assert terminal.disarmed(text) == shown


def test_columns_line_up_also_where_characters_are_wide():
    rows = [["漢字", "x"], ["ab", "yyyyyyyy"], ["e\u0301", "z"]]
    assert tables.aligned(rows) == ["漢字  x", "ab    yyyyyyyy", "e\u0301     z"]
    assert tables.aligned(rows, 9)[1] == "ab    yy…"


@pytest.mark.parametrize("value", [[], {}, [1], [{}], [{"a": {}}], [{"a": "x" * 61}], "text"])
def test_what_is_no_list_of_records_is_no_table(value):
    assert tables.of_records(value) is None
