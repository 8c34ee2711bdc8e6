"""A start without descriptors or threads says so in one line, and floods and leftovers stay small."""

import os
import socket
import subprocess
import sys

import pytest

from daemonry.testing import wait_until

SETS_LIMIT = "import resource, os, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16)); "
NO_THREADS = """
import runpy, sys, threading

def none_left(self):
    raise RuntimeError("can't start new thread")

threading.Thread.start = none_left
sys.argv = ["daemonry", "run", sys.argv[1]]
runpy.run_module("daemonry", run_name="__main__")
"""


@pytest.mark.slow
def test_a_start_without_descriptors_says_that_and_no_more(probe, loop_kind):
    """A loop that runs out of them while it is made cannot be closed, and said only that."""
    program = probe.write()
    code = SETS_LIMIT + "os.execv(sys.executable, [sys.executable, '-m', 'daemonry', *sys.argv[1:]])"
    ended = probe.sandbox.run(sys.executable, "-c", code, "start", str(program))
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        "probe: start failed (bind): no descriptors left: this process may have 16 (`ulimit -n`)\n"
    )
    assert probe.left() == []


@pytest.mark.slow
def test_a_start_without_threads_says_that_and_no_more(probe):
    program = probe.write()
    ended = probe.sandbox.run(sys.executable, "-c", NO_THREADS, str(program))
    assert ended.code == 1
    last = ended.err.splitlines()[-1]
    assert last.startswith("probe: start failed (bind): no further thread can be started: ")
    assert "Traceback" not in ended.err
    assert probe.left() == []


@pytest.mark.slow
def test_what_writers_left_that_were_killed_goes_with_the_next_start(probe):
    """In the list of daemons too; a writer that lives keeps its file."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    state, host = os.path.split(probe.place.host_dir)
    directory = f"{os.path.dirname(state)}/daemonry/{host}"
    os.makedirs(directory, mode=0o700)
    dead = f"{directory}/probe-0123abcd.json.{ended.pid}.1.tmp"
    living = f"{directory}/probe-0123abcd.json.{os.getpid()}.1.tmp"
    for path in (dead, living):
        with open(path, "w"):
            pass
    probe.start()
    assert any(name.endswith(".json") for name in os.listdir(directory)), "this is where the list is"
    assert not os.path.exists(dead)
    assert os.path.exists(living)
    os.unlink(living)


@pytest.mark.slow
def test_a_client_that_sends_bad_frames_without_end_does_not_fill_the_log(probe):
    program = """
from daemonry import Interface

class Nothing(Interface, name="org.example.Nothing"):
    def do(self) -> None: ...

daemon.serve(Nothing())
"""
    probe.start(program)
    for _ in range(300):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(probe.place.socket_path)
            sock.sendall(b"[]\0")
            assert sock.recv(1000)
    wait_until(lambda: probe.logged(" more in "), what="the count")
    told = [entry for entry in probe.log() if entry["level"] == "warning"]
    assert len(told) < 20
    wait_until(
        lambda: sum(entry.get("repeated", 1) for entry in probe.log() if entry["level"] == "warning") == 300
    )
