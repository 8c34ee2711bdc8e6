"""Odd surroundings: other numberings of processes, other homes, zombies, few descriptors."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daemonry import Endpoint, Instance
from daemonry.testing import wait_until


@pytest.fixture
def in_a_container(root, probe):
    """A daemon that is process 1 of a pid namespace of its own, seen from outside through shared files."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    probe.write()
    words = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-m", "daemonry")
    if subprocess.run([*words[:5], "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("unshare is not allowed here")
    with (probe.sandbox.path / "stderr").open("w") as stderr:
        process = probe.sandbox.popen(*words, "run", probe.program, stdout=subprocess.DEVNULL, stderr=stderr)
    wait_until(lambda: "ready at" in probe.stderr(), what="ready")
    yield process
    process.kill()
    process.wait()
    wait_until(lambda: probe.instance.lock_held() is False)
    probe.bury()


def test_a_daemon_of_another_pid_namespace_is_found_and_never_signalled(in_a_container, probe):
    """Hard case 16: its number means nothing here, or somebody else; the lock and the socket tell."""
    assert probe.instance.record().identity.foreign()
    assert probe.cli("status", "--json").json()["pid"] == 1
    second = probe.sandbox.daemonry("start", probe.program)
    assert second == (0, "probe: already running (pid 1)\n", "")
    assert probe.instance.record().identity.send_signal(signal.SIGTERM) is False
    assert probe.cli("stop") == (0, "probe: stopped\n", "")
    assert in_a_container.wait(10) == 0
    assert probe.left() == []


def test_process_1_of_a_container_ends_on_sigterm(in_a_container, probe):
    """Signals whose action is the default one are ignored by process 1 (F19): ours have handlers."""
    with open(f"/proc/{in_a_container.pid}/task/{in_a_container.pid}/children") as children:
        os.kill(int(children.read()), signal.SIGTERM)
    assert in_a_container.wait(10) == 0
    assert probe.left() == []


def test_directories_whose_names_are_not_utf8(probe):
    """The starter's message, the record, the recipe and the registry hold them to the byte."""
    for variable, name in (("HOME", "home/caf\udce9"), ("XDG_RUNTIME_DIR", "run/\udcff")):
        path = probe.sandbox.path / name
        path.mkdir(mode=0o700)
        probe.sandbox.env[variable] = str(path)
    probe.write()
    try:
        started = probe.sandbox.daemonry("start", probe.program)
        assert (started.code, started.err) == (0, "")
        assert probe.cli("status", "--json").json()["state"] == "running"
        assert probe.cli("restart").code == 0
        (listed,) = probe.sandbox.daemonry("ps", "--json").json()
        assert listed["endpoint"].endswith("/run/\\udcff/probe/probe.sock")
    finally:
        assert probe.cli("stop") == (0, "probe: stopped\n", "")
    assert probe.cli("start").code == 0, "by its name"
    assert probe.cli("stop").code == 0


def test_liveness_has_the_evidence_for_each_answer(probe):
    """What a program that uses the library asks before it starts, or gives up."""
    assert probe.instance.liveness().answer == "absent"
    probe.start()
    assert probe.instance.liveness().evidence() == "answered; life lock held"
    by_endpoint = Instance(None, Endpoint.parse(probe.place.socket_path))
    assert by_endpoint.liveness().answer == "serving"
    probe.kill()
    assert probe.instance.liveness().evidence() == "the connection was refused; life lock free"
    assert by_endpoint.liveness().answer == "absent"
    probe.bury()
    assert probe.instance.liveness().evidence() == "there is no socket; life lock free"


def test_a_daemon_that_is_a_zombie_is_not_running(probe):
    """Hard case 15: killed, and its parent has not looked yet; the process is there, and holds nothing."""
    with probe.foreground() as process:
        process.kill()
        probe.wait_gone()
        status = probe.cli("status")
        assert (status.code, status.out) == (3, "probe: not running\n")
        assert probe.cli("start").code == 0
        process.wait()
    assert probe.instance.status()["state"] == "running"


def test_another_home_with_the_same_runtime_directory_takes_nothing_away(probe):
    """Two homes have two locks, and are two daemons of one name; the live socket tells all the same."""
    instance = probe.start()
    before = os.lstat(probe.place.socket_path)
    (probe.sandbox.path / "other").mkdir(mode=0o700)
    probe.sandbox.env["HOME"] = str(probe.sandbox.path / "other")
    second = probe.sandbox.daemonry("start", probe.program)
    assert second.code == 1
    assert second.err.endswith(f"cannot listen at {probe.place.socket_path}: another process listens there\n")
    assert probe.cli("status").out == "probe: not running\n", "this home's own daemon is meant"
    assert probe.cli("stop").out == "probe: not running\n"
    assert instance.status()["state"] == "running"
    assert os.lstat(probe.place.socket_path).st_ino == before.st_ino


@pytest.mark.parametrize("most", [6, 9, 12, 13])
def test_too_few_descriptors_leave_nothing_that_is_in_the_way(probe, most):
    """Fault 38: whatever could not be opened, and however that ended, the next start works."""
    program = probe.write()
    words = ("sh", "-c", f'ulimit -n {most}; exec "$@"', "sh", sys.executable, "-m", "daemonry")
    for verb in ("run", "start"):
        done = probe.sandbox.run(*words, verb, program, timeout_s=20)
        assert done.code != 0
        assert not probe.instance.lock_held()
        if most >= 12 and verb == "start":
            told = "probe: start failed (bind): no descriptors left: this process may have"
            assert done.err == f"{told} {most} (`ulimit -n`)\n"
    assert probe.sandbox.daemonry("start", program).code == 0


def test_a_variable_moves_its_files_and_only_its(probe):
    """`$NAME_STATE` and `$NAME_RUNTIME` count for the daemon, for its clients, and for no other daemon."""
    state, runtime = probe.sandbox.path / "s", probe.sandbox.path / "r"
    probe.sandbox.env |= {"PROBE_STATE": str(state), "PROBE_RUNTIME": str(runtime)}
    started = probe.sandbox.daemonry("start", probe.write())
    assert started.out.startswith(f"probe: ready at unix:{runtime}/probe.sock ")
    assert [path.name for path in state.glob("*/probe.json")] == ["probe.json"]
    assert runtime.stat().st_mode & 0o777 == 0o700
    assert probe.cli("status").code == 0
    other = probe.sandbox.write("other.py", "from daemonry import Daemon\ndaemon = Daemon('other')\n")
    assert probe.sandbox.daemonry("start", other).out.startswith(
        f"other: ready at unix:{probe.sandbox.path}/run/other/other.sock "
    )
    assert probe.cli("stop").code == 0


@pytest.mark.parametrize("rest", [False, True])
def test_the_directory_in_tmp_goes_with_the_daemon(probe, rest):
    """For a user without a runtime directory; what somebody has put in there stays."""
    if os.path.isdir(f"/run/user/{os.geteuid()}"):
        pytest.skip("this user has a runtime directory, which is used")
    name = f"probe-{secrets.token_hex(4)}"
    directory = Path(f"/tmp/{name}-{os.geteuid()}")
    del probe.sandbox.env["XDG_RUNTIME_DIR"]
    program = probe.sandbox.write("t.py", f"from daemonry import Daemon\ndaemon = Daemon({name!r})\n")
    started = probe.sandbox.daemonry("start", program)
    assert started.out.startswith(f"{name}: ready at unix:{directory}/{name}.sock ")
    assert directory.stat().st_mode & 0o777 == 0o700
    if rest:
        (directory / "rest").touch()
    assert probe.sandbox.daemonry("stop", name).code == 0
    assert [path.name for path in directory.glob("*")] == ["rest"] * rest
    assert directory.exists() is rest
    if rest:
        (directory / "rest").unlink()
        directory.rmdir()


@pytest.mark.parametrize("jump_s", [3600, -3600])
@pytest.mark.slow
def test_a_clock_that_jumps_moves_no_deadline(probe, jump_s):
    """Fault 21: set by an administrator or by NTP; shown times jump with it, waits do not."""
    body = f"""
@daemon.work
async def work(run):
    await wait_told("jump")
    time.time = lambda now=time.time: now() + {jump_s}
    time.time_ns = lambda now=time.time_ns: now() + {jump_s} * 10**9  # the log's, since Python 3.13
    note("jumped")
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            note("cancelled")  # and stays: the drain has to expire
"""
    probe.start(body, "drain_timeout_s=0.5")
    probe.tell("jump")
    wait_until(lambda: probe.noted("jumped") is not None)
    assert 0 <= probe.instance.status()["uptime_secs"] < 60
    begun_s = time.monotonic()
    assert probe.cli("stop").code == 0
    assert 0.5 <= time.monotonic() - begun_s < 15, "the drain has its half second, whatever the clock says"
    assert probe.logged("still at work after 0.5 s")
    moments = [entry["time"][:13] for entry in probe.log()]
    assert len(set(moments)) > 1, "the log shows the clock as it is"
    assert probe.left() == []
