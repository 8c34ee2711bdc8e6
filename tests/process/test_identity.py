"""Which process is meant: a number alone may be another's by now (hard cases 7, 15 and 16)."""

import os
import signal
import subprocess
import sys

import pytest

from daemonry.process import identity, platform
from daemonry.process.identity import Identity
from daemonry.testing import wait_until


@pytest.fixture
def child():
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


@pytest.fixture(params=["pidfd", "number"])
def _way(request, monkeypatch):
    """Signals go through a pidfd where there are some, else by number after a last look."""
    if request.param == "number":
        monkeypatch.delattr(os, "pidfd_open")


both_ways = pytest.mark.usefixtures("_way")


def identity_of(pid, **changes):
    fields = {
        "boot_id": platform.boot_id(),
        "pid": pid,
        "pid_namespace": platform.pid_namespace(),
        "start_time": platform.start_time(pid),
    }
    return Identity(**fields | changes)


def test_we_are_who_we_are():
    me = Identity.of_this_process()
    assert me.pid == os.getpid()
    assert me.alive()
    assert not me.foreign()
    assert me == identity_of(os.getpid())


@both_ways
def test_the_process_that_is_meant_gets_the_signal(child):
    meant = identity_of(child.pid)
    assert meant.alive()
    assert meant.send_signal(signal.SIGTERM)
    assert child.wait(10) == -signal.SIGTERM
    assert not meant.alive()
    assert not meant.send_signal(signal.SIGTERM)


@both_ways
def test_a_later_process_with_the_same_number_is_left_alone(child):
    """Fault 19: seven tools of the list have killed an innocent."""
    earlier = identity_of(child.pid, start_time=platform.start_time(child.pid) - 1)
    assert not earlier.alive()
    assert not earlier.send_signal(signal.SIGKILL)
    assert child.poll() is None


@both_ways
@pytest.mark.parametrize("changed", [{"boot_id": "another-boot"}, {"pid_namespace": "pid:[1]"}])
def test_a_process_of_another_boot_machine_or_container_is_foreign(child, changed):
    """Its number means nothing here; it is neither called alive nor signalled."""
    foreign = identity_of(child.pid, **changed)
    assert foreign.foreign()
    assert not foreign.alive()
    assert not foreign.send_signal(signal.SIGKILL)
    assert child.poll() is None


@both_ways
def test_a_zombie_is_gone(child):
    """It holds nothing and answers nobody; only its parent has not looked yet."""
    meant = identity_of(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert os.path.exists(f"/proc/{child.pid}")
    assert not meant.alive()
    assert not meant.send_signal(signal.SIGTERM)


@both_ways
def test_one_that_ends_between_look_and_signal_is_gone(child, monkeypatch):
    meant = identity_of(child.pid)
    child.kill()
    child.wait(10)
    monkeypatch.setattr(Identity, "alive", lambda self: True)
    assert not meant.send_signal(signal.SIGTERM)


def test_one_that_ends_after_it_was_pinned_is_gone(child, monkeypatch):
    meant = identity_of(child.pid)

    def end(self):
        child.kill()
        child.wait(10)
        return True

    monkeypatch.setattr(Identity, "alive", end)
    before = os.listdir("/proc/self/fd")
    assert not meant.send_signal(signal.SIGTERM)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("way", ["pidfd", "number"])
def test_another_users_process_is_denied_and_not_gone(as_nobody, child, way):
    """Hard case 5: EPERM proves that it lives."""
    script = """
if sys.argv[3] == "number":
    del os.pidfd_open
meant = Identity(platform.boot_id(), int(sys.argv[1]), platform.pid_namespace(), int(sys.argv[2]))
print(meant.alive())
try:
    meant.send_signal(15)
except PermissionError:
    print("denied")
"""
    imports = (
        "import signal\nfrom daemonry.process import platform\nfrom daemonry.process.identity import Identity"
    )
    words = as_nobody(script, child.pid, platform.start_time(child.pid), way, imports=imports)
    assert subprocess.check_output(words, text=True).split() == ["True", "denied"]
    assert child.poll() is None


def test_who_has_no_start_time_is_nobody(monkeypatch):
    """Without procfs nothing can be told of us either; that must not be taken for everybody."""
    monkeypatch.setattr(platform, "start_time", lambda pid: None)
    me = Identity.of_this_process()
    assert me.start_time == 0
    assert not me.alive()
    assert not me.send_signal(0)


@pytest.mark.slow
@pytest.mark.usefixtures("root")
def test_a_number_that_the_kernel_gave_out_again_is_told_apart():
    """Fact F20: the same pid, in a numbering of our own, for two processes one after the other."""
    script = """
import signal, subprocess, time
from daemonry import clock
from daemonry.process import platform
from daemonry.process.identity import Identity

def start(pid):
    with open("/proc/sys/kernel/ns_last_pid", "w") as last:
        last.write(str(pid - 1))
    return subprocess.Popen(["sleep", "60"])

first = start(300)
meant = Identity(platform.boot_id(), 300, platform.pid_namespace(), platform.start_time(300))
print(first.pid, meant.alive())
first.kill()
first.wait()
while True:  # start times are told in ticks of 10 ms
    second = start(300)
    if platform.start_time(300) != meant.start_time:
        break
    second.kill()
    second.wait()
print(second.pid, meant.alive(), meant.send_signal(signal.SIGKILL), second.poll())
second.kill()
second.wait()
"""
    words = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    if "unshare failed" in done.stderr:
        pytest.skip(f"needs a pid namespace: {done.stderr.strip()}")
    assert done.stdout.splitlines() == ["300 True", "300 False False None"], done.stderr


def test_the_start_time_differs_between_processes():
    assert identity.Identity.of_this_process().start_time <= platform.start_time(os.getpid())
    with subprocess.Popen(["sleep", "60"]) as later:
        assert wait_until(lambda: platform.start_time(later.pid)) >= platform.start_time(os.getpid())
        later.kill()
