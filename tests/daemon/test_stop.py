"""Stopping: work is told, waited for, and at last left behind; and gone means gone (hard case 24)."""

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from daemonry import DaemonryError, Instance, stop
from daemonry.errors import NotRunning, StopFailed
from daemonry.launch.stop import _patience_s as patience_of
from daemonry.limits import LOCK_PROBE_PATIENCE_S
from daemonry.process import lock
from daemonry.testing import wait_until

TIDY = """
@daemon.work
async def tidy(run):
    note("at work")
    try:
        await asyncio.sleep(600)
    finally:
        note("tidied")
"""
# Does not let itself be cancelled until it is told, or for good.
STUBBORN = """
@daemon.work
async def stubborn(run):
    note("at work")
    while not told("give in"):
        try:
            await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            note("cancelled")
"""


def at_work(probe):
    wait_until(lambda: probe.noted("at work") is not None, what="at work")


def traces(probe):
    return [entry for entry in probe.log() if "trace" in entry]


@pytest.mark.parametrize(
    "daemon", ["daemonry.Daemon('probe')", "'probe'", "daemonry.Instance.named('probe')"]
)
def test_a_program_names_the_daemon_as_it_likes(probe, daemon):
    instance = probe.start()
    assert probe.sandbox.run(sys.executable, "-c", f"import daemonry; daemonry.stop({daemon})") == (0, "", "")
    assert not instance.lock_held()


def test_a_program_that_stops_the_loop_fails_and_is_drained(probe):
    body = (
        TIDY
        + """
from daemonry import Interface

class Halting(Interface, name="org.example.halting"):
    async def halt(self) -> int:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.05)  # the drain waits for it
        asyncio.get_running_loop().stop()
        return 7

daemon.serve(Halting())
"""
    )
    with probe.foreground(body) as process:
        at_work(probe)
        assert probe.cli("call", "org.example.halting.Halt").out == '{"result":7}\n'
        assert process.wait(10) == 1
    told = "the program stopped the event loop; `run.stop()` ends a daemon"
    assert probe.stderr().count(told) == 1
    assert "start failed" not in probe.stderr()
    assert probe.noted("tidied") == ""
    assert told in probe.cli("start").err  # which the next starter is told
    assert probe.cli("stop").code == 0
    assert probe.left() == []


# --- a clean end ----------------------------------------------------------------------------------


def test_async_work_is_cancelled_and_its_finally_runs(probe):
    with probe.foreground(TIDY) as process:
        at_work(probe)
        assert probe.cli("stop") == (0, "probe: stopped\n", "")
        assert probe.noted("tidied") == ""
        assert process.wait(10) == 0
    assert probe.left() == []
    assert not probe.logged("left behind")
    assert traces(probe) == []


def test_plain_work_sees_that_it_is_to_stop(probe):
    """A thread cannot be cancelled: each of the three ways to wait tells it."""
    body = """
@daemon.work
def looping(run):
    while not run.stopping:
        time.sleep(0.01)
    note("looping ended")

@daemon.work
def sleeping(run):
    assert run.sleep_in_thread(600) is False
    note("sleeping ended")

@daemon.work
def waiting(run):
    while run.wait_running_in_thread():
        run.sleep_in_thread(600)
    note("waiting ended")
"""
    with probe.foreground(body) as process:
        assert probe.cli("stop").code == 0
        assert process.wait(10) == 0
    assert [probe.noted(f"{name} ended") for name in ("looping", "sleeping", "waiting")] == ["", "", ""]


def test_paused_plain_work_is_woken_to_end(probe):
    body = """
@daemon.work
def work(run):
    note("at work")
    while run.wait_running_in_thread():
        time.sleep(0.01)
    note("ended")
"""
    instance = probe.start(body)
    instance.command("PAUSE")
    assert probe.cli("stop").code == 0
    assert probe.noted("ended") == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_stops_it_as_stop_does(probe, number):
    with probe.foreground(TIDY) as process:
        at_work(probe)
        process.send_signal(number)
        assert process.wait(10) == 0
        assert "Traceback" not in probe.stderr()
    assert probe.noted("tidied") == ""
    assert probe.left() == []
    assert probe.messages()[-3:] == [
        signal.Signals(number).name,
        "draining (stop asked)",
        "stopped (drained)",
    ]


def test_the_stop_hook_runs_before_work_is_cancelled(probe):
    """So that it can still use what the work has open."""
    instance = probe.start(
        TIDY + "@daemon.on_stop\nasync def hook():\n    note('hook', str(told('tidied')))\n"
    )
    at_work(probe)
    stop(instance)
    assert probe.noted("hook") == "False"
    assert probe.noted("tidied") == ""


def test_a_stop_hook_that_raises_does_not_prevent_the_end(probe):
    instance = probe.start(TIDY + "@daemon.on_stop\ndef hook():\n    raise RuntimeError('oh')\n")
    at_work(probe)
    stop(instance)
    assert probe.noted("tidied") == ""
    assert probe.logged("the stop hook failed")


def test_work_that_raises_as_it_ends_is_logged(probe):
    body = """
@daemon.work
async def work(run):
    try:
        await asyncio.sleep(600)
    finally:
        raise RuntimeError("while it ended")
"""
    stop(probe.start(body))
    assert probe.logged("work failed while it ended: RuntimeError: while it ended")
    assert probe.left() == []


def test_the_program_can_end_itself(probe):
    with probe.foreground(
        "@daemon.work\nasync def work(run):\n    run.stop()\n    await asyncio.sleep(600)\n", ready=False
    ) as process:
        assert process.wait(10) == 0
    assert probe.left() == []


def test_work_that_is_done_ends_the_daemon(probe):
    with probe.foreground("@daemon.work\nasync def work(run):\n    pass\n", ready=False) as process:
        assert process.wait(10) == 0
    assert probe.logged("work is done")
    assert probe.left() == []
    assert probe.cli("status") == (3, "probe: not running\n", "")


def test_when_stop_returns_the_process_is_gone(probe):
    """The lock is what it waits for: the socket vanishes earlier, and a new start could meet the old one."""
    probe.start("@daemon.setup\ndef setup(run):\n    import atexit\n    atexit.register(time.sleep, 0.5)\n")
    process = probe.instance.record().identity
    assert probe.cli("stop").code == 0
    assert not process.alive()


def test_stopping_what_does_not_run_is_done_already(probe):
    assert probe.cli("stop") == (0, "probe: not running\n", "")
    assert probe.cli("stop", "--json").json() == {"ok": True, "name": "probe", "result": "not running"}
    with pytest.raises(NotRunning):
        stop(probe.instance)


def test_a_stop_is_not_taken_by_another_who_listens_at_its_path(probe):
    """Who answers nothing there and goes away is not the daemon: its process is asked by a signal."""
    probe.start()
    path = probe.place.socket_path
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()

        def turn_away():
            connection, _ = other.accept()
            connection.recv(100)
            connection.close()

        turning = threading.Thread(target=turn_away)
        turning.start()
        assert probe.cli("stop") == (0, "probe: stopped\n", "")
        turning.join()
        assert os.path.exists(path)
    assert probe.logged("SIGTERM")
    os.unlink(path)


def test_restart_stops_it_and_starts_it(probe):
    old = probe.start(TIDY).pid()
    at_work(probe)
    restarted = probe.cli("restart")
    new = probe.instance.pid()
    assert restarted == (0, f"probe: ready at unix:{probe.place.socket_path} (pid {new})\n", "")
    assert old != new
    assert probe.noted("tidied") == ""


def test_restart_starts_what_does_not_run(probe):
    probe.write()
    assert probe.sandbox.daemonry("restart", probe.program).code == 0
    assert probe.instance.status()["state"] == "running"


def test_restart_with_a_program_that_cannot_be_imported_leaves_the_old_one(probe):
    old = probe.start().pid()
    probe.write("1 / 0\n")
    assert probe.sandbox.daemonry("restart", probe.program).code == 2
    assert probe.instance.status()["pid"] == old


SETTINGS = """
import dataclasses

@dataclasses.dataclass
class Settings:
    word: str = "default"

daemon.config_type = Settings
"""


def test_restart_with_a_broken_configuration_leaves_the_old_one(probe):
    usual = probe.sandbox.path / "home/.config/probe/config.toml"
    usual.parent.mkdir(parents=True)
    old = probe.start(SETTINGS).pid()
    usual.write_text("word = 7\n")
    for verb in ("restart", "check"):
        assert probe.cli(verb) == (1, "", f"{usual}:1:1: word: expected `str`, got `int`\n"), verb
    assert probe.instance.status()["pid"] == old
    usual.write_text("word = 'good'\n")
    assert probe.cli("check").out == f"probe: the configuration {usual} can be used\n"
    assert probe.cli("restart").code == 0
    assert probe.instance.status()["pid"] != old


def test_a_restart_keeps_the_options_that_it_is_not_given(probe):
    config = probe.sandbox.write("mine.toml", "word = 'mine'\n")
    status = """
@daemon.setup
def tell(run):
    run.log.debug("set up")
    daemon.status(lambda: {"word": run.config.word})
"""
    probe.start(SETTINGS + status, "", "--config", str(config))
    for words in (["probe", "--log-level", "debug"], [str(probe.program)]):
        assert probe.sandbox.daemonry("restart", *words).code == 0, words
        assert probe.instance.status()["word"] == "mine", words
    assert any(entry["level"] == "debug" for entry in probe.log())


def test_a_daemon_known_by_its_endpoint_is_stopped_too(probe):
    probe.start(TIDY)
    endpoint = f"unix:{probe.place.socket_path}"
    assert probe.sandbox.daemonry("stop", endpoint).out == f"{endpoint}: stopped\n"
    probe.wait_gone()


# --- an end that takes its time -------------------------------------------------------------------


def test_status_names_what_it_waits_for(probe):
    instance = probe.start(STUBBORN)
    at_work(probe)
    instance.command("STOP")
    wait_until(lambda: probe.noted("cancelled") is not None)
    status = instance.status()
    assert status["state"] == "draining"
    assert re.fullmatch(r"stubborn at probe\.py:\d+ in stubborn", status["waiting_for"][0])
    assert instance.request("PAUSE").message == "Daemon is draining"
    assert instance.request("RESUME").message == "Daemon is not paused"
    assert instance.command("STOP").kind == "ok", "asking twice is not an error"
    probe.tell("give in")
    probe.wait_gone()
    assert probe.left() == []


def test_a_stop_that_is_held_up_says_by_what(probe):
    instance = probe.start(STUBBORN)
    at_work(probe)
    done = probe.cli("stop", "--timeout", "0.5")
    by = r"held up by stubborn at probe\.py:\d+ in stubborn\n"
    told = rf"(probe: stopping, {by})?probe: still stopping after 0\.5 s, {by}"
    assert (done.code, done.out) == (5, "")
    assert re.fullmatch(told, done.err)
    with pytest.raises(StopFailed, match="held up by stubborn"):
        stop(instance, timeout_s=0.2)
    probe.tell("give in")
    probe.wait_gone()


@pytest.mark.slow
def test_a_stop_that_waits_says_for_what_once(probe):
    probe.start(STUBBORN)
    at_work(probe)
    stopping = probe.sandbox.popen(
        *(sys.executable, "-m", "daemonry", "stop", "probe"), stdout=subprocess.DEVNULL
    )
    shown = stopping.stderr.readline()
    assert re.fullmatch(r"probe: stopping, held up by stubborn at probe\.py:\d+ in stubborn\n", shown)
    probe.tell("give in")
    assert stopping.communicate(timeout=10) == (None, "")
    assert stopping.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["async", "plain"])
def test_work_that_does_not_end_is_left_behind_after_the_named_time(probe, kind):
    """An async one keeps the loop from closing, and the guardian ends it; a thread just dies with us."""
    plain = "@daemon.work\ndef stubborn(run):\n    note('at work')\n    time.sleep(600)\n"
    with probe.foreground(STUBBORN if kind == "async" else plain, "drain_timeout_s=0.5") as process:
        at_work(probe)
        before_s = time.monotonic()
        assert probe.cli("stop").code == 0
        assert 0.5 < time.monotonic() - before_s < 0.5 + 2.0 + 4.0
        assert process.wait(10) == (70 if kind == "async" else 0)
    left = probe.logged("left behind")
    assert re.fullmatch(
        r"still at work after 0\.5 s and left behind: stubborn at probe\.py:\d+ in stubborn", left
    )
    assert probe.left() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "left",
    ["threading.Thread(target=hang, name='mine').start()", "pool.submit(hang)", "atexit.register(hang)"],
    ids=["thread", "executor", "atexit"],
)
def test_what_the_interpreter_waits_for_at_its_end_cannot_keep_the_process(probe, left):
    """Threads that are no daemons, executors, exit functions: all of them outlive the work."""
    body = f"""
import atexit, concurrent.futures
pool = concurrent.futures.ThreadPoolExecutor()

def hang():
    time.sleep(600)

@daemon.setup
def setup(run):
    {left}
"""
    with probe.foreground(body, "drain_timeout_s=0.3") as process:
        before_s = time.monotonic()
        assert probe.cli("stop").out == "probe: stopped\n"
        assert time.monotonic() - before_s < 0.3 + 2.0 + 4.0
        assert process.wait(10) == 70
    assert re.search(
        r"the end hangs, held up by .*probe\.py:\d+ in hang; ending at once", probe.messages()[-1]
    )


@pytest.mark.slow
def test_a_start_while_the_interpreter_ends_waits_and_takes_over(probe):
    """Socket and record are gone by then, and only the lock tells that the old one is still there."""
    probe.start("@daemon.setup\ndef setup(run):\n    import atexit\n    atexit.register(time.sleep, 1.5)\n")
    process = probe.instance.record().identity
    probe.instance.command("STOP")
    wait_until(lambda: probe.left() == [])
    started = probe.cli("start")
    assert (started.code, started.err) == (0, "")
    assert started.out.startswith("probe: ready at ")
    assert not process.alive()


def test_a_start_while_the_old_one_drains_waits_and_takes_over(probe):
    old = probe.start(STUBBORN).pid()
    at_work(probe)
    probe.instance.command("STOP")
    wait_until(lambda: probe.instance.record().draining)
    starting = probe.sandbox.popen(sys.executable, "-m", "daemonry", "start", "probe")
    wait_until(lambda: lock.is_held(probe.place.start_lock_path), what="the start is under way")
    with pytest.raises(subprocess.TimeoutExpired):  # its patience is not only that for whoever asks
        starting.wait(4 * LOCK_PROBE_PATIENCE_S)
    probe.write(TIDY)
    probe.tell("give in")
    out, err = starting.communicate(timeout=20)
    assert (starting.returncode, err) == (0, "")
    new = probe.instance.status()["pid"]
    assert out == f"probe: ready at unix:{probe.place.socket_path} (pid {new})\n"
    assert new != old


def test_a_start_does_not_wait_for_ever(probe):
    probe.start(STUBBORN)
    at_work(probe)
    probe.instance.command("STOP")
    wait_until(lambda: probe.instance.record().draining)
    late = probe.cli("start", "--timeout", "0.4")
    assert late == (5, "", "no answer from probe, which is stopping, within 0.4 s (lock)\n")
    probe.tell("give in")
    probe.wait_gone()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_second_signal_ends_it_at_once_and_leaves_nothing(probe, second):
    with probe.foreground(STUBBORN, "drain_timeout_s=60") as process:
        at_work(probe)
        process.terminate()
        wait_until(lambda: probe.noted("cancelled") is not None, what="draining")
        process.send_signal(second)
        assert process.wait(10) == 128 + second
        assert probe.left() == []
        assert not probe.instance.lock_held()
    assert probe.logged(f"{second.name} again: ending at once")
    assert probe.cli("status") == (3, "probe: not running\n", "")


# --- stopped before it was ready ------------------------------------------------------------------

SLOW_SETUP = """
@daemon.setup
async def setup(run):
    note("in setup")
    try:
        await asyncio.sleep(600)
    finally:
        note("setup cancelled")
"""


def in_setup(probe, process):
    wait_until(lambda: probe.noted("in setup") is not None or process.poll() is not None, what="in setup")
    assert process.poll() is None


@pytest.mark.parametrize("way", ["stop", "signal"])
def test_a_stop_during_a_slow_setup_cancels_it_and_tells_the_starter(probe, way):
    probe.write(SLOW_SETUP)
    with probe.sandbox.popen(sys.executable, "-m", "daemonry", "start", probe.program) as starting:
        in_setup(probe, starting)
        assert probe.instance.status()["state"] == "starting"
        if way == "stop":
            assert probe.cli("stop") == (0, "probe: stopped\n", "")
        else:
            probe.signal(signal.SIGTERM)
        out, err = starting.communicate(timeout=10)
    assert (starting.returncode, out) == (1, "")
    assert err == "probe: start failed (setup): stopped before it was ready\n"
    assert probe.noted("setup cancelled") == ""
    probe.wait_gone()
    assert probe.left() == []


@pytest.mark.slow
def test_a_stop_during_a_setup_that_blocks_ends_it_within_drain_and_grace(probe):
    probe.write(
        "@daemon.setup\ndef setup(run):\n    note('in setup')\n    time.sleep(600)\n", "drain_timeout_s=0.3"
    )
    with probe.sandbox.popen(sys.executable, "-m", "daemonry", "start", probe.program) as starting:
        in_setup(probe, starting)
        assert probe.cli("stop") == (0, "probe: stopped\n", "")
        _, err = starting.communicate(timeout=10)
    assert starting.returncode == 1
    assert err == "probe: start failed (setup): the process ended with status 70 before it was ready\n"
    assert probe.left() == []


# --- signals that do not stop ---------------------------------------------------------------------


def test_sighup_reloads(probe):
    body = "@daemon.on_reload\ndef reload(new):\n    note('reloaded')\n"
    instance = probe.start(body)
    probe.signal(signal.SIGHUP)
    wait_until(lambda: probe.logged("configuration reloaded"))
    assert probe.noted("reloaded") == ""
    assert instance.status()["state"] == "running"


def test_a_closing_terminal_does_not_reach_a_background_daemon(probe):
    """`start` in a terminal that is then closed: no hang-up, no Ctrl-C, no output into nowhere."""
    program = probe.write()
    master, slave = pty.openpty()
    with probe.sandbox.popen(
        *(sys.executable, "-m", "daemonry", "start", program),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    ) as starting:
        os.close(slave)
        reading = threading.Thread(target=_read_all, args=(master,))
        reading.start()
        assert starting.wait(20) == 0
    reading.join()
    os.close(master)
    assert probe.instance.status()["state"] == "running"
    with open(f"/proc/{probe.instance.pid()}/stat") as file:
        _state, _parent, _group, session, terminal, *_ = file.read().rpartition(")")[2].split()
    assert (int(session), terminal) == (probe.instance.pid(), "0")


def _read_all(fd):
    try:
        while os.read(fd, 4096):
            pass
    except OSError:
        pass  # the other end is closed


def test_a_stop_waits_as_long_as_the_daemon_has_to_drain(probe, monkeypatch):
    """A drain may take longer than what a stop waits for otherwise."""
    monkeypatch.setattr("daemonry.launch.stop.STOP_TIMEOUT_S", 1.0)
    monkeypatch.setattr("daemonry.launch.stop.DRAIN_TIMEOUT_S", 0.5)
    instance = probe.start(STUBBORN, "drain_timeout_s=60")
    at_work(probe)
    told = []

    def progress(held_up_by):
        told.append(held_up_by)
        if len(told) == 3:  # a second each, so the usual time is over
            probe.tell("give in")

    stop(instance, progress=progress)
    assert len(told) >= 3
    assert instance.lock_held() is False


@pytest.mark.parametrize(
    ("drain_s", "patience_s"), [("0.2", 20), ("10", 20), ("30", 40), ("float('inf')", 1e9 + 10)]
)
def test_how_long_a_stop_waits_by_itself(probe, drain_s, patience_s):
    assert patience_of(probe.start("", f"drain_timeout_s={drain_s}")) == patience_s


def test_stopping_from_python_reports_what_holds_it_up(probe):
    instance = probe.start(STUBBORN)
    at_work(probe)
    told = []
    stopping = threading.Thread(target=stop, args=(instance,), kwargs={"progress": told.append})
    stopping.start()
    wait_until(lambda: told)
    probe.tell("give in")
    stopping.join()
    assert told[0].startswith("stubborn at probe.py:")
    assert issubclass(StopFailed, DaemonryError)
    assert isinstance(instance, Instance)
