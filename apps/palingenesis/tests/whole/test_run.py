"""`palingenesis run`, as a user has it: in a window, with programs that tell what they were given."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from daemonry.testing import wait_until
from palingenesis.agents.known import profiles
from palingenesis.evidence.survey import Survey
from palingenesis.terminal import frames
from palingenesis.terminal.store import TerminalStore

COUNTING = """
import os, sys
print("\\x1b[1;31mred\\x1b[0m and plain", flush=True)
while True: print("got", input(), flush=True)
"""

IMPATIENT = """
import sys
from palingenesis.terminal import commands
commands.TALK_S = 0.5
sys.argv[0] = "palingenesis"
from palingenesis.cli import main
main()
"""

RAW = """
import os, sys, termios, tty
tty.setraw(0)
os.write(1, b"<ready>")
"""


def test_every_byte_passes_in_both_directions(home):
    """With it a paste in brackets and the mouse, which are bytes as any other."""
    every = bytes(range(256)) * 3 + b"\x1b[200~pasted\r\n\x1b[201~\x1b[<0;12;5M\x1b[<0;12;5m\xff\xfe\xc3"
    program = RAW + (
        f"data = b''\nwhile len(data) < {len(every)}: data += os.read(0, 65536)\n"
        "open('typed', 'wb').write(data)\nos.write(1, b'<' + data + b'>')\n"
    )
    window = home.window("run", "--", *home.program(program))
    window.until(b"<ready>")
    window.type(every)
    assert window.code() == 0
    window.until(b"<" + every + b">")
    assert (home.project / "typed").read_bytes() == every


def test_the_size_of_the_window_and_its_changes_reach_the_program(home):
    program = (
        "import os, signal\n"
        "def say(*_): print(*os.get_terminal_size(), flush=True)\n"
        "signal.signal(signal.SIGWINCH, say)\nsay()\n"
        "while True: signal.pause()\n"
    )
    window = home.window("run", "--", *home.program(program), rows=31, columns=97)
    window.until(b"97 31")
    window.resize(20, 60)
    window.until(b"60 20")
    window.type(b"\x03")
    assert window.code() == -signal.SIGINT


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("sys.exit(0)", 0),
        ("sys.exit(75)", 75),
        ("os.kill(os.getpid(), 9)", -9),
        ("os.kill(os.getpid(), 15)", -15),
    ],
)
def test_the_program_s_end_is_the_command_s(home, ending, code):
    window = home.window(
        "run", "--", *home.program(f"import os, sys\nprint('last words', flush=True)\n{ending}")
    )
    assert window.code() == code
    window.until(b"last words")
    assert home.terminals() == {}
    # The holder's own process removes them: the command does not wait for its end.
    wait_until(lambda: os.listdir(home.state / "terminals") == [])


def test_ctrl_z_stops_the_job_and_fg_goes_on_with_it(home):
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    program = home.program("while True: print('got', input(), flush=True)\n")
    home.environment["PS1"] = "ready> "
    shell = home.window("--norc", "--noprofile", "-i", command=["bash"])
    shell.until(b"ready> ")
    shell.type(f"{shlex.join([*home.command, 'run', '--', *program])}\n".encode())
    shell.type(b"one\r")
    shell.until(b"got one")
    shell.type(b"\x1a")
    wait_until(lambda: b"Stopped" in shell.seen and shell.seen.endswith(b"ready> "))
    shell.type(b"echo in the $((40 + 2)); fg\n")
    shell.until(b"in the 42")
    shell.type(b"two\r")
    shell.until(b"got two")
    shell.type(b"\x04")
    wait_until(lambda: b"EOFError" in shell.seen and shell.seen.endswith(b"ready> "))
    shell.type(b"exit 3\n")
    assert shell.code() == 3


def test_where_no_shell_can_continue_it_ctrl_z_stops_nothing(home):
    """As without the command: the kernel does not stop a group that nobody could continue."""
    window = home.window("run", "--", *home.program(COUNTING))
    window.until(b"plain")
    window.type(b"\x1aone\r")
    window.until(b"got one")
    window.type(b"\x04")
    assert window.code() == 1


def test_a_signal_that_the_command_gets_is_the_program_s(home):
    program = (
        "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "print('up', flush=True)\nwhile True: signal.pause()\n"
    )
    window = home.window("run", "--", *home.program(program))
    window.until(b"up")
    os.kill(window.pid, signal.SIGTERM)
    assert window.code() == 5


@pytest.mark.slow
def test_a_closed_window_ends_nothing_and_another_one_shows_the_screen(home):
    pytest.importorskip("pyte")
    window = home.window("run", "--name", "w", "--", *home.program(COUNTING))
    window.until(b"plain")
    window.type(b"one\r")
    window.until(b"got one")
    window.close()
    wait_until(lambda: not home.terminals()["w"].attached)
    again = home.window("attach", "w")
    again.until(b"\x1b[0;1;31mred")
    again.until(b"got one")
    again.type(b"two\r")
    again.until(b"got two")
    assert home.run("detach").stdout == "w: detached\n"
    assert again.code() == 0
    assert home.run("detach", "w").stdout == "w: already detached\n"
    assert "detached, running" in home.run("terminals").stdout


@pytest.mark.slow
def test_a_holder_that_is_stopped_does_not_answer_and_is_there_again_when_it_goes_on(home):
    window = home.window("run", "--name", "w", "--", *home.program(COUNTING))
    window.until(b"plain")
    window.close()
    wait_until(lambda: not home.terminals()["w"].attached)
    os.kill(home.terminals()["w"].pid, signal.SIGSTOP)
    try:
        for word in ("attach", "detach"):
            waiting = home.window(word, "w", command=[sys.executable, "-c", IMPATIENT])
            waiting.until(b"palingenesis: w does not answer within 0.5 s")
            assert waiting.code() == 5
    finally:
        os.kill(home.terminals()["w"].pid, signal.SIGCONT)
    again = home.window("attach", "w")
    again.until(b"plain")
    again.type(b"two\r")
    again.until(b"got two")


def test_one_window_at_a_time(home):
    first = home.window("run", "--name", "w", "--", *home.program(COUNTING))
    first.until(b"plain")
    second = home.window("attach")
    assert first.code() == 0
    first.until(b"another window has attached")
    second.type(b"me\r")
    second.until(b"got me")
    second.type(b"\x04")
    assert second.code() == 1


def test_what_ended_unseen_is_told_once(home):
    pytest.importorskip("pyte")
    window = home.window(
        "run", "--name", "w", "--detach-key", "^]", "--", *home.program("print(input())\nexit(9)")
    )
    wait_until(window.is_raw)
    wait_until(lambda: home.terminals().get("w") is not None)
    window.type(b"the last words\r\x1d")
    assert window.code() == 0
    wait_until(lambda: home.terminals()["w"].state == "ended")
    told = home.run("attach", "w")
    assert (told.returncode, told.stderr) == (9, "")
    assert "the last words" in told.stdout
    assert home.run("attach", "w").returncode == 1
    wait_until(lambda: os.listdir(home.state / "terminals") == [])


@pytest.mark.slow
def test_a_window_that_reads_nothing_holds_the_program_up_for_a_while_only(home):
    """And is drawn anew when it reads again: a terminal emulator that hangs must not cost the night."""
    pytest.importorskip("pyte")
    program = (
        "import os, signal\nfor _ in range(40): os.write(1, b'x' * 65536)\n"
        "signal.signal(signal.SIGWINCH, lambda *_: os.write(1, b'DRAWN'))\n"
        "open('done', 'w')\nprint('\\nEND', flush=True)\ninput()\n"
    )
    window = home.window("run", "--name", "w", "--", *home.program(program))
    window.stop_reading()
    wait_until((home.project / "done").exists)
    window.read_again()
    window.until(b"END")
    window.until(b"DRAWN")  # of over 2 MiB the screen forgets the beginning
    window.type(b"\r")
    assert window.code() == 0


def test_a_name_is_one_terminal_s(home):
    window = home.window("run", "--name", "w", "--", *home.program(COUNTING))
    window.until(b"plain")
    refused = home.window("run", "--name", "w", "--", "true")
    assert refused.code() == 1
    refused.until(b"a terminal w is there: palingenesis attach w shows it")


def test_bad_input_gets_one_line(home):
    for words, code, said in (
        (("run", "--", "no-such-program"), 127, "no-such-program: not found"),
        (("run", "--", str(home.project)), 126, "cannot be run"),
        (("run", "--name", "../x", "--", "true"), 2, "is not a name of a terminal"),
        (("run", "--budget", "long", "--", "true"), 2, "try 90s, 30m, 5h, 2d"),
        (("run", "--detach-key", "x", "--", "true"), 2, "is not a key"),
        (("attach",), 1, "no terminal is held"),
        (("attach", "x\x1b]0;title"), 1, "no terminal"),
        (("detach", "nobody"), 1, "no terminal 'nobody'"),
    ):
        done = home.run(*words)
        assert done.returncode == code, done
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
        assert "\x1b" not in done.stderr


def test_a_directory_that_is_gone_is_told(home):
    words = [
        sys.executable,
        "-c",
        "import os, sys; os.rmdir(os.getcwd()); os.execv(sys.argv[1], sys.argv[1:])",
    ]
    gone = home.project / "gone"
    # Modules are not looked for here, as by the installed command: Python 3.13.0 fails at that.
    command_elsewhere = [home.command[0], "-P", *home.command[1:]]
    for command, told in (
        (("run", "--", "true"), "palingenesis: this directory is gone: change to another one\n"),
        (("new-session",), "palingenesis: this directory is gone: change to another one\n"),
        (("why", "x"), "palingenesis: no session 'x': `palingenesis sessions --all` lists them\n"),
    ):
        gone.mkdir()
        done = subprocess.run(
            [*words, *command_elsewhere, *command], cwd=gone, env=home.environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (1, told)


def test_what_is_no_window_cannot_harm_the_terminal(home):
    window = home.window("run", "--name", "w", "--", *home.program(COUNTING))
    window.until(b"plain")
    store = TerminalStore(str(home.state))
    for data in (
        b"GET / HTTP/1.1\r\n\r\n", b"H\xff\xff\xff\xff", frames.frame(frames.HELLO, b"{"),
        frames.frame(frames.HELLO, b'{"verb": "attach", "size": ["x"]}'),
        frames.frame(frames.HELLO, b'{"verb": "attach", "size": 7}'),
        frames.frame(frames.INPUT, b"exit\r"), frames.frame(frames.SIGNAL, b"\x09"),
    ):  # fmt: skip
        with store.connect("w", 10.0) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(100) == b""
    window.type(b"still\r")
    window.until(b"got still")


# --- agents ---------------------------------------------------------------------------------------


def seen_by_others(home):
    survey = Survey(profiles({}, "c"), home.environment, None, str(home.state))
    (session,) = survey.look()
    return session


def test_after_a_limit_the_agent_goes_on_in_the_same_terminal_and_nowhere_else(home):
    session = str(uuid.uuid4())
    home.steps(f"limit {time.time() + 3}", "ok")
    words = ["claude", "--session-id", session, "-p", "work", "--allowedTools", "Bash", "Edit"]
    window = home.window("run", "--", *words, "--model", "m", "--dangerously-skip-permissions")
    window.until(b"rate limit: it goes on at")
    assert seen_by_others(home).verdict.alive_pid == home.terminals()["claude"].pid
    assert home.terminals()["claude"].session == session
    assert window.code() == 0
    first, second = home.requests()
    assert second["argv"][2:] == ["--resume", session, "--allowedTools", "Bash", "Edit", "--model", "m"]
    assert "was interrupted" in second["argv"][1]
    assert second["at"] >= json.loads(f"{first['step'].split()[1]}")
    assert seen_by_others(home).verdict.alive_pid is None


@pytest.mark.slow
def test_a_session_that_a_server_of_the_agent_writes_goes_on_in_its_window(home):
    """Codex's window has no record open: its server has, which outlives it and serves other windows too."""
    stand_in = Path(__file__).parents[1] / "codex_stand_in.py"
    program = home.path / "bin/codex"
    program.write_text(f"#!{sys.executable}\n" + stand_in.read_text().partition("\n")[2])
    program.chmod(0o700)
    home.steps(f"limit {time.time() + 2}", "ok")

    def asked():
        return [json.loads(line) for line in (home.path / "asked").read_text().splitlines()]

    try:
        window = home.window("run", "--", "codex")
        window.until(b"window")
        window.type(b"work\r")
        window.until(b"limit")
        window.until(b"Done.")
        first, second = asked()
        assert second["pid"] != first["pid"]
        assert second["argv"][:2] == ["resume", home.terminals()["codex"].session]
        assert len(second["argv"]) == 3
        assert "was interrupted" in second["prompt"]
        window.type(b"\x03")
        assert window.code() == -signal.SIGINT
        assert len(asked()) == 2
    finally:
        (home.path / "end").touch()


def test_keys_while_it_waits(home):
    home.steps(f"limit {time.time() + 3600}", f"limit {time.time() + 3600}")
    window = home.window("run", "--", "claude", "--session-id", str(uuid.uuid4()), "-p", "work")
    window.until(b"it goes on at")
    window.type(b"\r")
    wait_until(lambda: len(home.requests()) == 2)
    wait_until(lambda: window.seen.count(b"it goes on at") == 2)
    window.type(b"\x03")
    assert window.code() == 1
    assert len(home.requests()) == 2


def test_a_killed_agent_goes_on_and_one_that_was_asked_to_end_does_not(home):
    session = str(uuid.uuid4())
    home.steps("working", "working")
    window = home.window("run", "--", "claude", "--session-id", session, "-p", "work")
    wait_until(lambda: len(home.requests()) == 1)
    wait_until(lambda: home.terminals()["claude"].session == session)
    os.kill(home.requests()[0]["pid"], signal.SIGKILL)
    wait_until(lambda: len(home.requests()) == 2)
    time_of_second = home.requests()[1]["at"]
    wait_until(lambda: seen_by_others(home).transcript.progress_at_s > time_of_second)
    os.kill(home.requests()[1]["pid"], signal.SIGTERM)
    assert window.code() == -signal.SIGTERM
    assert len(home.requests()) == 2


def test_without_a_terminal_each_byte_is_passed_on_and_a_limit_is_waited_for(home):
    session = str(uuid.uuid4())
    home.steps(f"limit {time.time() + 2}", "ok")
    done = home.run("run", "--", "claude", "--session-id", session, "-p", "work")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("palingenesis: rate limit: it goes on at")
    assert len(home.requests()) == 2
    assert os.listdir(home.state / "terminals") == []
    every = home.program("import sys\nsys.stdout.buffer.write(bytes(range(256)) * 1000)\nsys.exit(3)")
    passed = subprocess.run(
        [*home.command, "run", "--", *every],
        env=home.environment,
        capture_output=True,
        check=False,
        cwd=home.project,
    )
    assert (passed.returncode, passed.stdout) == (3, bytes(range(256)) * 1000)


GEMINI = """
import json, os, pathlib, sys, time
from datetime import datetime, UTC
home = pathlib.Path(os.environ["HOME"])
record = home / ".gemini/tmp/p/chats/session-1.jsonl"
record.parent.mkdir(parents=True, exist_ok=True)
(record.parent.parent / ".project_root").write_text(os.getcwd())
first = not record.exists()
with open(record, "a") as file:
    if first: print('{"sessionId":"0b0b0b0b-0000-4000-8000-000000000009","kind":"main"}', file=file)
    at = datetime.now(UTC).isoformat()
    print(json.dumps({"type": "user" if first else "gemini", "timestamp": at, "content": []}), file=file)
with open(home / "calls", "a") as file: print(time.time(), *sys.argv[1:], file=file)
if first:
    os.write(2, b"QuotaError: You exceeded your current quota. Please retry in 2s. \\xff\\n  code: 429,\\n")
    sys.exit(1)
os.write(1, b"Done.")
"""


def test_an_agent_that_tells_its_limit_on_its_standard_error_goes_on_after_it(home):
    """Gemini CLI ends with 1 then, and writes nothing into its record."""
    program = home.path / "bin/gemini"
    program.write_text(f"#!{sys.executable}\n{GEMINI}")
    program.chmod(0o700)
    done = home.run("run", "--", "gemini", "-p", "work", text=False)
    assert (done.returncode, done.stdout) == (0, b"Done.")
    told, said = done.stderr.split(b"palingenesis: ")
    assert told == b"QuotaError: You exceeded your current quota. Please retry in 2s. \xff\n  code: 429,\n"
    assert said.startswith(b"rate limit: it goes on at")
    calls = [line.split(" ", 1) for line in (home.path / "calls").read_text().splitlines()]
    assert [words.split(" ")[0] for _, words in calls] == ["-p", "--resume"]
    assert float(calls[1][0]) - float(calls[0][0]) >= 2.0


def test_it_ends_with_75_when_it_gives_up_on_a_limit(home):
    home.steps(f"limit {time.time() + 3600}")
    words = ["claude", "--session-id", str(uuid.uuid4()), "-p", "work"]
    done = home.run("run", "--budget", "30m", "--", *words)
    assert (done.returncode, done.stderr) == (
        75,
        "palingenesis: given up: its budget of time ends before that\n",
    )
    assert len(home.requests()) == 1


def test_a_terminal_whose_holder_was_killed_leaves_its_session_to_the_others(home):
    session = str(uuid.uuid4())
    home.steps("working")
    window = home.window("run", "--", "claude", "--session-id", session, "-p", "work")
    wait_until(lambda: "claude" in home.terminals() and home.terminals()["claude"].session == session)
    os.kill(home.terminals()["claude"].pid, signal.SIGKILL)
    assert window.code() == 1
    window.until(b"the process that held the terminal has ended")
    wait_until(lambda: seen_by_others(home).verdict.alive_pid is None)
    told = home.run("attach")
    assert told.stderr == "palingenesis: claude is gone: the process that held it was killed\n"


def test_nothing_of_the_caller_is_kept_open(home):
    """A pipe of its caller that the holder kept would make the caller wait for the night."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    window = home.window("run", "--name", "w", "--", *home.program(COUNTING))
    os.close(writer)
    window.until(b"plain")
    holder = home.terminals()["w"].pid
    if not os.path.isdir(f"/proc/{holder}/fd"):
        pytest.skip("needs procfs")
    targets = {os.readlink(f"/proc/{holder}/fd/{fd}") for fd in os.listdir(f"/proc/{holder}/fd")}
    assert os.readlink(f"/proc/self/fd/{reader}") not in targets
    os.close(reader)
