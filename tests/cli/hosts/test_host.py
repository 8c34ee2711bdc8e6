"""`--host`: a command runs on the other machine as if it ran here, and each failure means one thing."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from daemonry.testing import wait_until

SAY = "org.example.far.Say"


def test_every_kind_of_command_runs_there(far):
    assert far.near("--host", "box", "status", "far").returncode == 3
    assert far.near("start", str(far.program), "--host", "box").returncode == 0
    for words, told in (
        (("status", "far", "--host", "box"), "far: running"),
        (("--host=box", "ps"), "far "),
        (("--host", "box", "logs", "far", "-n", "1"), "ready"),
        (("--host", "box", "call", "far", SAY, "text=hello there"), '{"result":"hello there"}'),
        (("--host", "box", "describe", "far"), "org.example.far"),
        (("--host", "box", "restart", "far"), "far: ready"),
    ):
        done = far.near(*words)
        assert (done.returncode, done.stderr) == (0, ""), done
        assert told in done.stdout, done
    by_variable = far.near("pause", "far", DAEMONRY_HOST="box")
    assert by_variable.stdout == "far: paused\n"
    assert '"state":"paused"' in far.sandbox.daemonry("status", "far", "--json").out
    assert far.near("--host", "box", "stop", "far").stdout == "far: stopped\n"
    assert far.near("ps").stdout == "no daemons\n"


def test_it_is_there_what_it_is_here_to_the_byte(far):
    far.start()
    for words in (
        ("status", "nobody"),
        ("call", "far", SAY),
        ("logs", "nobody"),
        ("status",),
        ("--version",),
    ):
        here = far.sandbox.daemonry(*words)
        there = far.near("--host", "box", *words)
        assert (there.returncode, there.stdout, there.stderr) == (here.code, here.out, here.err)


def test_programs_of_ours_take_it_too(far, tmp_path):
    for program in ("palingenesis", "vx", "mcp-cli"):
        script = tmp_path / program
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -m {program.replace("-", "_")} "$@"\n')
        script.chmod(0o755)
    done = far.near("--host", "box", "status", program="palingenesis")
    assert (done.returncode, done.stdout) == (3, "palingenesis: not running\n")
    assert "1" in far.near("--host", "box", "--version", program="mcp-cli").stdout
    assert (
        far.near("--host", "box", "status", program="vx").returncode
        == far.near("status", program="vx").returncode
    )


@pytest.mark.parametrize(
    ("script", "code", "told"),
    [
        (
            "echo 'ssh: connect to host box port 22: No route to host' >&2; exit 255",
            5,
            "box is unreachable: ssh: connect",
        ),
        ("kill -9 $$", 5, "box is unreachable"),
        ("exit 127", 1, "box has no daemonry on its PATH: install it there"),
        ("echo 'daemonry: invalid choice' >&2; exit 2", 1, "the daemonry of box is too old"),
        ("exec yes welcome", 1, "prints too much"),
        ("echo Not for commands; exit 1", 1, "box did not run daemonry, and says: Not for commands ("),
        (
            "echo daemonry-dial 1 runs 1.0; exit 255",
            6,
            "connection to box lost: the call may have been executed",
        ),
        ("echo daemonry-dial 1 runs 1.0; kill -9 $$", 6, "connection to box lost"),
        ("echo hello; echo daemonry-dial 1 runs 1.0; exit 3", 3, ""),
        # A key there may run `daemonry dial far` alone: nothing was stopped.
        (
            "echo daemonry-dial 1 serving 1.0 1 - unix:/x",
            1,
            "did not run daemonry, and says: daemonry-dial 1 serv",
        ),
    ],
)
def test_each_failure_means_one_thing(far, script, code, told):
    far.is_ssh(script)
    done = far.near("--host", "box", "stop", "far")
    assert done.returncode == code, done
    assert told in done.stderr
    assert done.stderr.count("\n") == (1 if told else 0)
    assert done.stdout == ""


def test_a_machine_out_of_reach_is_json_for_who_asked_for_that(far):
    far.is_ssh("echo 'no route' >&2; exit 255")
    done = far.near("--host", "box", "status", "far", "--json")
    assert json.loads(done.stdout) == {
        "ok": False,
        "error": "box is unreachable: no route",
        "kind": "Unreachable",
        "exit_code": 5,
    }
    assert (done.returncode, done.stderr) == (5, "box is unreachable: no route\n")
    assert far.near("--host", "box", "call", "far", SAY, "--", "--json").stdout == ""


def test_wrong_hosts_are_wrong_usage(far):
    for words in (("--host",), ("--host", "-x", "ps"), ("--host", "a b", "ps")):
        done = far.near(*words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done


def test_standard_input_is_the_commands_only_where_it_reads_it(far):
    far.start()
    line = [sys.executable, "-m", "daemonry", "--host", "box"]
    loop = subprocess.run(
        ["/bin/sh", "-c", 'while read one; do "$@" >/dev/null; echo $one; done', "-", *line, "ps"],
        input="a\nb\n",
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert loop.stdout == "a\nb\n"
    done = subprocess.run(
        [*line, "call", "far", SAY, "-"],
        input='{"text": "from here"}',
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, '{"result":"from here"}\n'), done


def test_a_log_that_is_followed_ends_there_when_the_command_here_ends(far):
    if sys.platform != "linux":
        pytest.skip("needs procfs")
    far.start()
    words = [sys.executable, "-m", "daemonry", "--host", "box", "logs", "far", "-f"]
    following = subprocess.Popen(words, env=os.environ, stdout=subprocess.PIPE, start_new_session=True)
    assert following.stdout.readline()
    wait_until(lambda: _pids(far))
    following.send_signal(signal.SIGINT)
    assert following.wait(20) == 130
    following.stdout.close()
    wait_until(lambda: not _pids(far))


def _pids(far):
    """Return the words of the processes that follow the log on the other machine."""
    following = re.compile(r"python\S* -m daemonry _far \d+ logs far -f")
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            found.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
    return [words for words in found if following.search(words)]


def test_what_comes_never_reaches_a_terminal_raw(far):
    far.is_ssh("echo daemonry-dial 1 runs; printf 'name \\033[31mred\\033]0;x\\007 \\303\\251\\n'")
    leader, terminal = pty.openpty()
    words = [sys.executable, "-m", "daemonry", "--host", "box", "ps"]
    done = subprocess.run(
        words, env=os.environ, stdin=subprocess.DEVNULL, stdout=terminal, timeout=60, check=False
    )
    os.close(terminal)
    seen = os.read(leader, 4096)
    os.close(leader)
    assert done.returncode == 0
    assert b"\x1b" not in seen
    assert "é" in seen.decode()
    assert b"\\x1b[31mred" in seen


def test_the_real_ssh_runs_commands_too(far, sshd):
    assert far.near("--host", "box", "start", str(far.program)).returncode == 0
    assert far.near("--host", "box", "call", "far", SAY, "text=x").stdout == '{"result":"x"}\n'
    os.kill(sshd.pid, signal.SIGSTOP)
    try:
        assert far.near("--host", "box", "ps", "--names").stdout == "far\n"  # by the kept connection
    finally:
        os.kill(sshd.pid, signal.SIGCONT)
    assert far.near("--host", "box", "stop", "far").returncode == 0
