"""One guard for many children: what it ends when its owner has died, and what it leaves alone."""

import subprocess
import sys

import pytest

from daemonry.process import platform, sweep
from daemonry.process.children.child_guard import ChildGuard
from daemonry.process.children.reaping import Reaper
from daemonry.testing import wait_until
from daemonry.testing.leftovers import processes_marked

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="homes need Linux")

OWNER = """
import os, signal, subprocess, sys
from daemonry.process.children.child_guard import ChildGuard
from daemonry.process import platform
from daemonry.process.children.reaping import Reaper
guard = ChildGuard(Reaper(), {session}, 0.2)
def start(mark, *words, born=True):
    place = guard.enter(mark)
    child = subprocess.Popen(words, env={{**os.environ, "DAEMONRY_OWNED": mark}}, process_group=0)
    if born:
        guard.born(place, child.pid, platform.start_time(child.pid))
    return child
{text}
print("ready", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def dead_owner(sandbox):
    """Run an owner that kills itself, and return what of it is left a moment later."""

    def run(text, session="0"):
        script = OWNER.format(text=text, session=session)
        process = sandbox.popen(sys.executable, "-c", script, start_new_session=True)
        assert process.stdout.read() == "ready\n"
        process.wait()
        process.stdout.close()
        process.stderr.close()

    yield run
    wait_until(lambda: not processes_marked(str(sandbox.path)), what="nothing is left")


def test_all_children_end_with_it_those_in_sessions_of_their_own_too(dead_owner):
    dead_owner("""
for number in range(5):
    start(f"{number:016x}", "sh", "-c", "setsid sleep 600 & sleep 600")
""")


def test_one_that_was_being_started_is_found_by_its_mark(dead_owner):
    dead_owner('start("ab" * 8, "sleep", "600", born=False)')


def test_one_that_does_not_heed_its_signal_is_killed(dead_owner):
    dead_owner("""start("ab" * 8, "sh", "-c", "trap '' TERM; while :; do sleep 1; done")""")


def test_all_of_a_session_of_its_own_ends(dead_owner):
    """Half entered, without mark and environment: nothing else tells whose it is."""
    dead_owner(
        """
sandbox = "DAEMONRY_SANDBOX=" + os.environ["DAEMONRY_SANDBOX"]
start("ab" * 8, "env", "-i", sandbox, "sleep", "600", born=False)
""",
        session="os.getpid()",
    )


def test_without_its_interpreter_the_groups_are_killed_all_the_same(dead_owner):
    """As after an upgrade of the virtual environment."""
    dead_owner("""
sys.executable = "/nonexistent/python"
start("ab" * 8, "sh", "-c", "trap '' TERM; while :; do sleep 1; done")
""")


def test_a_group_whose_leader_is_another_process_by_now_is_left_alone(sandbox):
    stranger = subprocess.Popen(["sleep", "600"], process_group=0)
    try:
        table = sweep.Table(f"{stranger.pid} 1 {'ab' * 8}\n   \n".encode(), 0)
        assert not table.has(stranger.pid)
        started = platform.start_time(stranger.pid)
        table = sweep.Table(f"{stranger.pid} {started} {'ab' * 8}\n".encode(), 0)
        assert table.has(stranger.pid)
    finally:
        stranger.kill()
        stranger.wait()
    assert not table.has(stranger.pid)


def test_places_are_used_again_and_a_guard_without_work_ends_at_once():
    reaper = Reaper()
    guard = ChildGuard(reaper)
    try:
        first, second = guard.enter("ab" * 8), guard.enter("cd" * 8)
        assert (first, second) == (0, 1)
        pid = guard.pid
        guard.close()
        assert guard.pid == pid, "it has two children to end"
        guard.leave(first)
        guard.leave(first)
        assert guard.enter("ef" * 8) == first
    finally:
        guard.leave(first)
        guard.leave(second)
        guard.close()
    assert guard.pid == 0
    assert not reaper.strangers
