"""The screen of `top`, by textual's pilot, over real daemons, and over lines that a hostile peer wrote."""

import asyncio
import os
import pty
import select
import sys
import time

import pytest

pytest.importorskip("textual", reason="the extra `tui` is not installed")

from textual.events import Key
from textual.widgets import DataTable, RichLog, Static

from daemonry.cli.top import screen
from daemonry.cli.top.lines import COLUMNS, ServiceLine
from daemonry.cli.top.log_view import LogTail
from daemonry.cli.top.watch import Seen

ADDER = "from daemonry import Daemon\ndaemon = Daemon('adder', version='1')\n"
HOME = '[services.store]\ncommand = ["sleep", "100"]\n'


@pytest.fixture
def here(sandbox, monkeypatch):
    """This process looks at what runs in the sandbox."""
    for name, value in sandbox.env.items():
        monkeypatch.setenv(name, value)
    return sandbox


async def until(pilot, condition):
    """Let the screen go on until a condition holds."""
    end_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end_s, "it never came to that"
        await pilot.pause(0.05)


def text_of(app, row, column):
    return str(app.query_one(DataTable).get_cell_at((row, COLUMNS.index(column))))


def told(app):
    return str(app.query_one("#told", Static).content)


@pytest.mark.slow
def test_a_daemon_is_seen_paused_and_stopped_by_keys_and_a_home_below_it(here):
    here.start(here.write("adder.py", ADDER))
    here.write("site/home.toml", HOME)
    assert here.daemonry("up", "--home", "site").code == 0

    async def look():
        app = screen.Top(None)
        async with app.run_test(size=(120, 40)) as pilot:
            table = app.query_one(DataTable)
            await until(pilot, lambda: table.row_count == 3)
            assert [text_of(app, row, "name") for row in range(3)] == ["adder", "site (home)", "└ store"]
            await until(pilot, lambda: text_of(app, 0, "calls/s") == "0.0")
            log = app.query_one(RichLog)
            await until(pilot, lambda: any("listening at" in line.text for line in log.lines))
            await pilot.press("p")
            await until(pilot, lambda: text_of(app, 0, "state") == "paused")
            await until(pilot, lambda: told(app) == "adder: paused")
            await pilot.press("x")
            await pilot.press("n")  # asked, and not confirmed
            await pilot.press("u")
            await until(pilot, lambda: text_of(app, 0, "state") == "running")
            await pilot.press("x", "y")
            await until(pilot, lambda: told(app) == "adder: stopped")
            await until(pilot, lambda: text_of(app, 2, "name") == "adder")
            assert text_of(app, 2, "state") == "stopped"

    asyncio.run(look())
    assert here.daemonry("status", "adder").code == 3
    assert here.daemonry("down", "--home", "site").code == 0


class Hostile:
    """A look at lines that were made to hurt."""

    def __init__(self, home):
        line = ServiceLine("k", "daemon", "n", "", "n", "", "x", None, None, os.environ["HOSTILE_LOG"])
        self.seen = [Seen(line, ("[red]n[/red]", "[", "]", "[/]", "", "", "", ""))]

    def look(self):
        return self.seen

    def close(self):
        pass


class Two:
    """A look at two daemons."""

    def __init__(self, home):
        lines = [
            ServiceLine(n, "daemon", n, "", n, "", "x", None, None, os.devnull) for n in ("busy", "calm")
        ]
        self.seen = [Seen(line, (line.name, *[""] * (len(COLUMNS) - 1))) for line in lines]

    def look(self):
        return self.seen

    def close(self):
        pass


def test_keys_without_a_pause_between_them_act_on_the_line_under_the_cursor(monkeypatch):
    monkeypatch.setattr(screen, "Watch", Two)
    asked, ran = [], []

    async def run(_app, _deed, words):
        ran.append(words)

    confirm = screen.Confirm
    monkeypatch.setattr(screen.Top, "_run", run)
    monkeypatch.setattr(screen, "Confirm", lambda text: asked.append(text) or confirm(text))

    async def look():
        app = screen.Top(None)
        async with app.run_test() as pilot:
            await until(pilot, lambda: app.query_one(DataTable).row_count == 2)
            await pilot.pause()
            for key in ("down", "x", "y"):
                app.post_message(Key(key, None))
            await until(pilot, lambda: ran)

    asyncio.run(look())
    assert (asked, ran) == (["Stop calm? It ends."], [["stop", "calm"]])


def test_names_and_log_lines_are_text_and_never_markup_or_escapes(monkeypatch, tmp_path):
    log_path = tmp_path / "log"
    log_path.write_bytes(b"[bold]\x1b]0;title\x07[/nonsense]\xff" + b"y" * 20000 + b"\n")
    monkeypatch.setenv("HOSTILE_LOG", str(log_path))
    monkeypatch.setattr(screen, "Watch", Hostile)

    async def look():
        app = screen.Top(None)
        async with app.run_test() as pilot:
            await until(pilot, lambda: app.query_one(DataTable).row_count == 1)
            assert text_of(app, 0, "name") == "[red]n[/red]"
            log = app.query_one(RichLog)
            await until(pilot, lambda: log.lines)
            assert log.lines[0].text.startswith("[bold]\\x1b]0;title\\x07[/nonsense]")
            assert len(log.lines[0].text) < 600

    asyncio.run(look())


def test_of_a_long_log_the_end_is_shown(tmp_path):
    path = tmp_path / "log"
    path.write_text("".join(f"line {number}\n" for number in range(5000)))
    tail = LogTail(str(path), "")
    assert tail.lines()[-1] == "line 4999"
    with path.open("a") as file:
        file.writelines(f"more {number}\n" for number in range(5000))
    more = tail.lines()
    assert (len(more), more[-1]) == (200, "more 4999")
    tail.close()


def test_without_a_terminal_it_says_what_prints_the_same(sandbox):
    done = sandbox.daemonry("top")
    assert (done.code, done.out) == (2, "")
    assert done.err == "top: it needs a terminal; `daemonry ps` prints the same once\n"


def test_a_directory_that_is_no_home_is_named(sandbox):
    done = sandbox.daemonry("top", "--home", "nowhere")
    assert done.code == 1
    assert "nowhere/home.toml: there is no such file" in done.err


def test_without_the_extra_one_line_says_how_to_get_it(sandbox):
    program = sandbox.write(
        "no_textual.py",
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'textual' else find(name)\n"
        "from daemonry.cli.main import run\n"
        "sys.exit(run(['top']))\n",
    )
    done = sandbox.run(sys.executable, program)
    assert (done.code, done.out) == (1, "")
    assert done.err == "top needs textual: install the extra, as in pip install 'daemonry[tui]'\n"


def test_on_a_terminal_it_draws_and_q_leaves_it(sandbox):
    master, slave = pty.openpty()
    words = (sys.executable, "-m", "daemonry", "top")
    sandbox.env["TERM"] = "xterm-256color"
    process = sandbox.popen(*words, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    written = b""
    while b"no homes run" not in written:
        assert select.select([master], [], [], 30)[0], written
        written += os.read(master, 65536)
    os.write(master, b"q")
    while True:
        try:
            if not os.read(master, 65536):
                break
        except OSError:  # EIO: it has ended
            break
    os.close(master)
    assert process.wait(30) == 0
