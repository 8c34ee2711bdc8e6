"""A daemon that has nothing to do is not woken by any clock, and sees all the same what happens to it."""

import ctypes
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

import daemonry
from daemonry.testing import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux", reason="elsewhere there are no notices yet, and a clock instead"
    ),
]

ECHO = """
from daemonry import Interface
class Echo(Interface, name="org.example.echo"):
    def say(self, text: str) -> str:
        return text
    async def later(self, text: str) -> str:
        await asyncio.sleep(0.01)
        return text
daemon.serve(Echo())
@daemon.setup
async def look(run):
    note("loop", type(asyncio.get_running_loop()).__module__)
"""
# A thread that the system wakes for its own reasons; by the clock there were five in a second.
FEW = 2
WATCHED_S = 5.0


def switches(pid):
    """How often the threads of a process went to sleep so far."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        lines = status.read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
    return total


def wait_quiet(pid):
    """Wait until the daemon watches its files, and no thread of it wakes for a second."""
    seen = [(-1, 0.0)]

    def is_quiet():
        links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if os.path.islink(link)]
        now = switches(pid)
        if now != seen[-1][0]:
            seen.append((now, time.monotonic()))
        return "anon_inode:inotify" in links and time.monotonic() - seen[-1][1] > 1.0

    wait_until(is_quiet, 30, "nothing wakes it")


def woken(pid):
    """How often it is woken while nobody does anything."""
    wait_quiet(pid)
    before = switches(pid)
    with pytest.raises(AssertionError):
        wait_until(lambda: False, WATCHED_S)
    return switches(pid) - before


def test_nothing_wakes_a_daemon_that_has_nothing_to_do(probe, loop_kind):
    """Also with a client that keeps its connection, and once calls of each kind were made."""
    instance = probe.start(ECHO)
    assert probe.noted("loop").partition(".")[0] == loop_kind
    assert instance.status()["state"] == "running"
    with daemonry.Client.connect(instance.endpoint()) as client:
        for method in ("Say", "Later"):
            assert client.call(f"org.example.echo.{method}", {"text": "x"})["result"] == "x"
        assert woken(instance.pid()) <= FEW
        assert client.call("org.example.echo.Say", {"text": "y"})["result"] == "y"


def test_nothing_wakes_one_that_waits_for_its_idle_end(probe):
    instance = probe.start(ECHO, "idle_timeout_s=600.0")
    with daemonry.Client.connect(instance.endpoint()) as client:
        client.call("org.example.echo.Say", {"text": "x"})
        assert woken(instance.pid()) <= FEW


def test_what_happens_to_its_files_is_seen_though_nobody_looks(probe, tmp_path_factory):
    """Each of them once it has gone quiet: what was true at the last look is true no more."""
    pid = probe.start().pid()
    place = probe.place

    def back(path, told):
        wait_until(lambda: os.path.lexists(path) and probe.logged(told), 30, told)
        wait_quiet(pid)

    wait_quiet(pid)
    os.unlink(place.life_lock_path)
    back(place.life_lock_path, "the life lock's file ")
    assert probe.instance.lock_held()
    os.unlink(place.record_path)
    back(place.record_path, f"the record {place.record_path} was gone")
    os.unlink(place.socket_path)
    back(place.socket_path, "the socket file ")
    before = len([told for told in probe.messages() if "listening there again" in told])
    Path(place.socket_path + ".other").touch()
    os.replace(place.socket_path + ".other", place.socket_path)
    wait_until(lambda: len([t for t in probe.messages() if "listening there again" in t]) > before, 30)
    wait_quiet(pid)
    with open(place.crash_path, "a") as crash:
        crash.write("x" * (2 << 20))
    wait_until(lambda: os.stat(place.crash_path).st_size < 1 << 20, 30, "the crash file is cut")
    wait_quiet(pid)
    assert probe.instance.status()["pid"] == pid
    assert probe.cli("stop").out == "probe: stopped\n"
    assert probe.left() == []


def test_a_directory_far_above_that_is_renamed_is_seen(probe):
    """No entry of the daemon's own directory changes by that."""
    pid = probe.start().pid()
    wait_quiet(pid)
    above = os.path.dirname(os.path.dirname(probe.place.host_dir))
    os.rename(above, above + ".away")
    wait_until(lambda: probe.instance.record() is not None, 30, "the record is back")
    assert probe.instance.record().pid == pid
    shutil.rmtree(above + ".away")
    assert probe.cli("stop").code == 0


def test_a_program_that_goes_is_seen(probe):
    gone_at_once = (
        "import daemonry.runtime.program_gone\ndaemonry.runtime.program_gone.PROGRAM_GONE_S = 0.1\n"
    )
    pid = probe.start(gone_at_once).pid()
    wait_quiet(pid)
    probe.program.unlink()
    probe.wait_gone(30)
    assert probe.logged("the program is gone (")


def threads(pid):
    return [int(one.name) for one in Path(f"/proc/{pid}/task").iterdir()]


def test_a_signal_that_another_thread_gets_is_seen_at_once(probe, loop_kind):
    """The kernel chooses the thread; the interpreter runs the handler in the main one, which sleeps."""
    pid = probe.start(ECHO).pid()
    wait_quiet(pid)
    other = next(one for one in threads(pid) if one != pid)
    assert ctypes.CDLL(None).tgkill(pid, other, signal.SIGTERM) == 0
    probe.wait_gone(30)
    assert probe.left() == []


def test_a_call_on_an_open_connection_ends_the_wait_for_the_idle_end(probe):
    """Nothing else tells the daemon of it, and an hour later it could not know when the call was."""
    looks_noted = (
        "import daemonry.runtime.idle_shutdown as idle\n"
        "idle.suspended_s = lambda: note('looks', '.') or 0.0\n"
    )
    instance = probe.start(ECHO + looks_noted, "idle_timeout_s=3600.0")
    with daemonry.Client.connect(instance.endpoint()) as client:
        wait_quiet(instance.pid())
        looks = len(probe.noted("looks"))
        client.call("org.example.echo.Say", {"text": "x"})
        wait_until(lambda: len(probe.noted("looks")) > looks, 30, "a look")


def test_who_calls_on_an_open_connection_puts_the_idle_end_off(probe):
    body = ECHO + "@daemon.on_stop\ndef stopped():\n    note('ended', str(time.monotonic()))\n"
    instance = probe.start(body, "idle_timeout_s=4.0")
    with daemonry.Client.connect(instance.endpoint()) as client:
        wait_quiet(instance.pid())
        client.call("org.example.echo.Say", {"text": "x"})
        called_s = time.monotonic()
        probe.wait_gone(30)
    assert float(probe.noted("ended")) - called_s >= 4.0 - 0.5


def test_one_that_stood_still_has_its_whole_time_again(probe):
    body = ECHO + "@daemon.on_stop\ndef stopped():\n    note('ended', str(time.monotonic()))\n"
    pid = probe.start(body, "idle_timeout_s=4.0").pid()
    wait_quiet(pid)
    probe.signal(signal.SIGSTOP)
    wait_until(lambda: "T (stopped)" in Path(f"/proc/{pid}/status").read_text())
    probe.signal(signal.SIGCONT)
    went_on_s = time.monotonic()
    probe.wait_gone(30)
    assert float(probe.noted("ended")) - went_on_s >= 4.0 - 0.5


def test_an_end_without_a_command_that_hangs_is_seen(probe):
    """No client and no signal wakes the guardian then: the change of phase does."""
    body = """
@daemon.work
def work(run):
    while not told("end"):
        time.sleep(0.01)
@daemon.on_stop
def stopped():
    time.sleep(600)
"""
    with probe.foreground(body, "drain_timeout_s=0.3") as process:
        probe.tell("end")
        assert process.wait(30) == 70
    assert probe.logged("the end hangs")
    assert probe.left() == []
