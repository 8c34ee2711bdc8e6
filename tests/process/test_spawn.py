"""Starting in the background: what the process is given, what it is spared (hard case 3, fault 23)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from daemonry import __version__ as version
from daemonry.errors import BadFrame
from daemonry.process.spawn import BOOT_VARIABLE, spawn, take_boot
from daemonry.testing import wait_until

# Stands in for the interpreter: tells what it was given, over the descriptor that the boot names.
SHOW = """#!{python}
import json, os, sys
boot = json.loads(os.environ["DAEMONRY_BOOT"])
table = "/proc/self/fd/"
fds = sorted(int(fd) for fd in os.listdir(table) if os.path.exists(table + fd))
seen = dict(
    argv=sys.argv[1:], boot=boot, fds=fds, stdin=os.readlink(table + "0"), cwd=os.getcwd(),
    env=dict(os.environ),
    session=os.getsid(0) == os.getpid(), group=os.getpgrp() == os.getpid(), pid=os.getpid(),
)
print("to stdout", flush=True)
print("to stderr", file=sys.stderr, flush=True)
os.write(boot["fd"], json.dumps(seen).encode())
"""


@pytest.fixture
def show(tmp_path):
    program = tmp_path / "show"
    program.write_text(SHOW.format(python=sys.executable))
    program.chmod(0o755)
    return str(program)


@pytest.fixture
def started(show, tmp_path):
    """A function that spawns SHOW and returns what it saw."""

    def start(**boot):
        read_end, write_end = os.pipe()
        child = spawn(["up", "x"], {"fd": write_end, **boot}, (write_end,), str(tmp_path / "x.crash"), show)
        os.close(write_end)
        with open(read_end, "rb") as reading:
            seen = json.loads(reading.read())
        assert child.wait(10) == 0
        assert seen["pid"] == child.pid
        return seen

    return start


def test_only_what_is_passed_on_purpose_is_inherited(started, tmp_path):
    """And what is passed keeps its number, so that the boot can name it."""
    with open(tmp_path / "open", "w") as other:
        os.set_inheritable(other.fileno(), True)
        seen = started()
    # Listing the directory takes a descriptor itself, gone by the time that it is looked at.
    assert seen["fds"] == [0, 1, 2, seen["boot"]["fd"]]
    assert seen["stdin"] == os.devnull


def test_a_terminals_signals_and_end_do_not_reach_it(started):
    seen = started()
    assert seen["session"]
    assert seen["group"]


def test_it_keeps_no_directory_busy(started):
    """Hard case 19."""
    assert started()["cwd"] == "/"


def test_a_supervisors_messages_are_not_for_it(started, monkeypatch):
    """Nor is the mark of one who owns its starter: it would end with the starter's owner."""
    for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "DAEMONRY_OWNED"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("KEPT", "1")
    seen = started()
    assert "KEPT" in seen["env"]
    assert [name for name in seen["env"] if name.startswith(("LISTEN_", "NOTIFY_", "DAEMONRY_OWNED"))] == []


def test_it_is_told_what_its_starter_knows(started, monkeypatch):
    monkeypatch.setenv(BOOT_VARIABLE, '{"of":"the starter itself"}')
    seen = started(text="ü\n", list=[1, None])
    assert seen["boot"] == {"fd": seen["boot"]["fd"], "text": "ü\n", "list": [1, None]}
    assert seen["argv"] == ["-m", "daemonry", "up", "x"]


def test_what_it_writes_is_kept_for_its_owner_alone(started, tmp_path):
    output = tmp_path / "x.crash"
    started()
    assert output.read_text() == "to stdout\nto stderr\n"
    assert output.stat().st_mode & 0o777 == 0o600
    started()
    assert output.read_text() == "to stdout\nto stderr\n"
    assert (tmp_path / "x.crash.prev").read_text() == "to stdout\nto stderr\n"


def test_captured_output_of_the_starter_ends_with_the_starter(tmp_path):
    """`out=$(program start)` returns although the daemon goes on (hard case 3).

    And it does not read what was meant for its starter.
    """
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o755)
    script = """
import sys
from daemonry.process.spawn import spawn
child = spawn([], {}, (), sys.argv[1] + "/x.crash", sys.argv[1] + "/sleeper")
print(child.pid, flush=True)
child.let_go()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path],
        input="",
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    pid = int(done.stdout)
    assert wait_until(lambda: "sleep" in Path(f"/proc/{pid}/cmdline").read_text())
    assert os.readlink(f"/proc/{pid}/fd/0") == os.devnull
    os.kill(pid, 9)


def test_what_cannot_be_started_is_told_and_nothing_stays_open(tmp_path):
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="No such file"):
        spawn([], {}, (), str(tmp_path / "x.crash"), str(tmp_path / "none"))
    with pytest.raises(OSError, match="No such file"):
        spawn([], {}, (), str(tmp_path / "none/x.crash"))
    assert os.listdir("/proc/self/fd") == before


def test_this_interpreter_is_the_usual_one(tmp_path):
    crash = tmp_path / "x.crash"
    assert spawn(["--version"], {}, (), str(crash)).wait(60) == 0
    assert crash.read_text() == f"daemonry {version}\n"


def test_a_boot_is_taken_once(monkeypatch):
    """A child of the daemon must not take itself for the daemon."""
    monkeypatch.setenv(BOOT_VARIABLE, '{"ready_fd":3}')
    assert take_boot() == {"ready_fd": 3}
    assert BOOT_VARIABLE not in os.environ
    assert take_boot() == {}


def test_a_boot_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv(BOOT_VARIABLE, "yes")
    with pytest.raises(BadFrame):
        take_boot()
