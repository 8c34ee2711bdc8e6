"""Reaping: what is waited for is left to the one who waits, and all else is collected (hard case 15)."""

import os
import subprocess
import sys

# Children of the test's own process would be collected too, so each script runs alone.
HEAD = """
import os, subprocess, sys
from daemonry.process.children.reaping import Reaper
reaper = Reaper()

def ended(code=0):
    pid = os.fork()
    if not pid:
        os._exit(code)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid

def zombies():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return len(file.read().split())
"""


def run(script):
    done = subprocess.run(
        [sys.executable, "-c", HEAD + script], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_strangers_are_collected_and_counted():
    assert run("[ended() for _ in range(3)]; reaper.reap(); print(zombies(), reaper.strangers)") == ["0", "3"]


def test_one_that_is_waited_for_is_left_to_who_waits():
    script = """
process = subprocess.Popen(["sh", "-c", "exit 7"])
os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
ended()
reaper.watch(process.pid, lambda: print(process.poll()))
reaper.reap()
print(zombies(), reaper.strangers)
"""
    assert run(script) == ["7", "0", "1"]


def test_one_that_nobody_collected_all_the_same_does_not_stop_the_rest():
    """The system would name the same zombie for ever."""
    script = "reaper.watch(ended(), lambda: print('told')); ended(); reaper.reap(); print(zombies())"
    assert run(script) == ["told", "0"]


def test_nothing_to_collect_is_no_error():
    script = """
reaper.reap()
process = subprocess.Popen(["sleep", "60"])
reaper.reap()
print(process.poll(), zombies())
process.kill(); process.wait()
"""
    assert run(script) == ["None", "1"]


def test_where_the_system_cannot_tell_who_has_ended_each_looks():
    script = """
del os.waitid
process = subprocess.Popen(["sh", "-c", "exit 7"], stdout=subprocess.PIPE)
process.stdout.read()
found = []
reaper.watch(process.pid, lambda: found.append(process.poll()))
while not found or found[-1] is None:
    reaper.reap()
print(found[-1])
"""
    assert run(script) == ["7"]


def test_orphans_come_to_a_subreaper():
    script = """
from daemonry.process import platform
print(platform.become_subreaper())
subprocess.run(["sh", "-c", "(sleep 0.01 &)"])
os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
reaper.reap()
print(reaper.strangers)
"""
    if os.path.exists("/proc/self/stat"):
        assert run(script) == ["True", "1"]
