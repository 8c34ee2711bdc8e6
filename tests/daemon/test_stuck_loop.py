"""User code that blocks the loop: the control plane answers all the same, and a stop ends it.

`time.sleep` in async work stands for every call that should not have been there.
"""

import contextlib
import re
import signal
import threading
import time

import pytest

import daemonry
from daemonry.testing import wait_until

# The loop is asked for a sign of life when clients were seen waiting twice, 0.2 s apart; on a busy
# machine the threads take their time.
ANSWERS_WITHIN_S = 3.0
# limits.DRAIN_GRACE_S, two ticks, and the end of the process; without an end it would be 30.
ENDS_WITHIN_S = 2.0 + 4.0

BLOCKED = """
loop_kind = None

@daemon.setup
async def look(run):
    global loop_kind
    loop_kind = type(asyncio.get_running_loop()).__module__

@daemon.work
async def work(run):
    try:
        while True:
            await wait_told("block")
            os.unlink(f"{BOX}/block")
            note("blocked")
            time.sleep(float(os.environ.get("PROBE_BLOCK_S", "30")))
    finally:
        note("finished")

@daemon.status
def fields():
    return {"loop": loop_kind}

@daemon.on_pause
def paused():
    note("pause hook")

@daemon.on_resume
async def resumed():
    note("resume hook")
"""


def block(probe):
    probe.tell("block")
    wait_until(lambda: probe.noted("blocked") is not None, what="the loop is blocked")


def line_of(probe, text):
    lines = probe.program.read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


@pytest.mark.slow
def test_every_command_is_answered_and_stop_ends_it(probe, loop_kind):
    """Decision 9.  No command waits for the handler, and the process is gone within drain and grace."""
    with probe.foreground(BLOCKED, "drain_timeout_s=0.3") as process:
        instance = probe.instance
        assert instance.status()["loop"].partition(".")[0] == loop_kind
        block(probe)

        before_s = time.monotonic()
        status = instance.status()
        assert time.monotonic() - before_s < ANSWERS_WITHIN_S
        assert status["state"] == "running"
        assert 0 < status["stuck_secs"] < ANSWERS_WITHIN_S + 1.5
        assert status["stuck_at"] == f"probe.py:{line_of(probe, 'time.sleep(float')} in work"

        assert instance.request("PING").message == "PONG"
        assert instance.request("VERSION").message == "1.0"
        assert instance.request("NONSENSE").message == "Unknown command: NONSENSE"
        assert instance.command("PAUSE").kind == "ok"
        assert instance.status()["state"] == "paused"
        assert instance.request("PAUSE").message == "Daemon already paused"
        assert instance.command("RESUME").kind == "ok"
        assert instance.status()["state"] == "running"

        before_s = time.monotonic()
        assert instance.command("STOP").kind == "ok"
        assert instance.status()["state"] == "draining"
        wait_until(lambda: instance.record() is None or instance.record().draining, 2.0)
        assert process.wait(10) == 70
        assert time.monotonic() - before_s < 0.3 + ENDS_WITHIN_S
        assert probe.left() == []
    assert probe.noted("finished") is None, "the work was not really blocked"
    assert probe.noted("pause hook") is None, "a hook ran although the loop was stuck"
    assert probe.logged("the loop is stuck at probe.py:")
    held = probe.logged("the end hangs")
    assert re.fullmatch(r"the end hangs, held up by work at probe\.py:\d+ in work; ending at once", held)


@pytest.mark.slow
def test_a_loop_that_comes_back_answers_again_and_runs_the_hooks(probe, loop_kind):
    probe.sandbox.env["PROBE_BLOCK_S"] = "3"
    instance = probe.start(BLOCKED)
    block(probe)
    assert instance.command("PAUSE").kind == "ok"
    assert "stuck_at" in instance.status()
    wait_until(lambda: probe.logged("the loop answers again after "), 10)
    wait_until(lambda: probe.noted("pause hook") is not None)
    status = instance.status()
    assert (status["state"], "stuck_at" in status) == ("paused", False)
    assert instance.command("RESUME").kind == "ok"
    assert probe.noted("resume hook") is not None
    assert not [entry for entry in probe.log() if entry["level"] == "error"]


@pytest.mark.slow
def test_who_comes_late_is_told_since_when_it_is_stuck(probe, loop_kind):
    """Nobody asked for a while; the loop has been stuck all the same, and not only since the question."""
    instance = probe.start(BLOCKED, "drain_timeout_s=0.3")
    block(probe)
    blocked_s = time.monotonic()
    with pytest.raises(AssertionError):  # nobody asks for two seconds
        wait_until(lambda: probe.logged("stuck"), 2.0)
    status = instance.status()
    # The loop was heard of at most a second before it got stuck.
    assert 2.0 <= status["stuck_secs"] <= time.monotonic() - blocked_s + 1.5
    assert instance.command("STOP").kind == "ok"
    probe.wait_gone()


@pytest.mark.slow
def test_the_same_of_a_call_on_a_connection_that_was_open_before(probe, loop_kind):
    """No timer and no new client tells the loop's thread of it: only the call itself."""
    body = """
from daemonry import Interface
class Work(Interface, name="org.example.work"):
    def block(self) -> None:
        note("blocked")
        time.sleep(30)
daemon.serve(Work())
"""
    instance = probe.start(body, "drain_timeout_s=0.3")
    with daemonry.Client.connect(instance.endpoint()) as client:
        with pytest.raises(AssertionError):  # until nothing else is noted any more
            wait_until(lambda: probe.noted("blocked"), 3.0)
        caller = threading.Thread(target=_call, args=(client,))
        caller.start()
        wait_until(lambda: probe.noted("blocked") is not None)
        blocked_s = time.monotonic()
        with pytest.raises(AssertionError):  # nobody asks for two seconds
            wait_until(lambda: probe.logged("stuck"), 2.0)
        status = instance.status()
        assert 2.0 <= status["stuck_secs"] <= time.monotonic() - blocked_s + 1.5
        assert instance.command("STOP").kind == "ok"
        probe.wait_gone()
        caller.join(10)


def _call(client):
    with contextlib.suppress(daemonry.DaemonryError):
        client.call("org.example.work.Block")


@pytest.mark.slow
@pytest.mark.parametrize("block_s", ["1.8", "2.0"])  # in either half of the other's turn
def test_a_stop_while_it_is_stuck_ends_cleanly_when_the_loop_comes_back_in_time(probe, block_s):
    """The loop closes the listener while the other thread still waits on it."""
    probe.sandbox.env["PROBE_BLOCK_S"] = block_s
    instance = probe.start(BLOCKED)
    block(probe)
    assert instance.command("STOP").kind == "ok"
    probe.wait_gone()
    assert probe.noted("finished") == ""
    assert probe.left() == []
    assert not [entry for entry in probe.log() if entry["level"] == "error"]


@pytest.mark.slow
def test_a_status_hook_that_blocks_is_not_waited_for(probe, loop_kind):
    """Whoever asked first is left waiting by the hook itself; everybody after that is answered."""
    body = """
@daemon.status
def fields():
    if told("block"):
        time.sleep(30)
    return {"known": 1}
"""
    with probe.foreground(body, "drain_timeout_s=0.3") as process:
        instance = probe.instance
        assert instance.status()["known"] == 1
        probe.tell("block")
        assert probe.cli("status", "--timeout", "0.3").code == 5
        before_s = time.monotonic()
        status = instance.status()
        assert time.monotonic() - before_s < ANSWERS_WITHIN_S
        assert (status["known"], status["state"]) == (1, "running")
        assert status["stuck_at"] == f"probe.py:{line_of(probe, 'time.sleep(30)')} in fields"
        assert instance.command("PAUSE").kind == "ok"
        assert instance.status()["state"] == "paused", "what the hook said is old; the state is not"
        assert probe.cli("stop").out == "probe: stopped\n"
        assert process.wait(10) == 70
        assert probe.left() == []


@pytest.mark.slow
def test_sigterm_ends_a_stuck_daemon(probe):
    """A handler on the loop would wait for what blocks it; the guardian does not."""
    with probe.foreground(BLOCKED, "drain_timeout_s=0.3") as process:
        block(probe)
        process.terminate()
        assert process.wait(10) == 70
        assert probe.left() == []


@pytest.mark.slow
def test_sigterm_twice_ends_a_stuck_daemon_at_once(probe):
    with probe.foreground(BLOCKED, "drain_timeout_s=60") as process:
        block(probe)
        process.terminate()
        wait_until(lambda: probe.logged("draining"), what="the first signal was seen")
        process.terminate()
        assert process.wait(5) == 143
        assert probe.left() == []


@pytest.mark.slow
def test_a_start_waits_for_a_stuck_daemon_that_was_told_to_stop(probe):
    """It will be gone in seconds: `already running` would be true and useless."""
    instance = probe.start(BLOCKED, "drain_timeout_s=0.3")
    old = instance.pid()
    block(probe)
    assert instance.command("STOP").kind == "ok"
    wait_until(lambda: instance.record().draining, 2.0, "the record says so")
    started = probe.cli("start")
    assert (started.code, started.err) == (0, "")
    assert started.out != f"probe: already running (pid {old})\n"
    assert instance.status()["pid"] != old


WITH_CONFIG = """
import dataclasses

@dataclasses.dataclass
class Settings:
    x: int = 0

daemon.config_type = Settings

@daemon.on_reload
def reloaded(new):
    note("reload hook", str(new.x))
"""


@pytest.mark.slow
def test_reload_is_checked_at_once_and_counts_when_the_loop_is_back(probe):
    probe.sandbox.env["PROBE_BLOCK_S"] = "4"
    config = probe.sandbox.write("probe.toml", "x = 1\n")
    instance = probe.start(BLOCKED + WITH_CONFIG, "", "--config", str(config))
    block(probe)
    config.write_text("y = 1\n")
    assert instance.request("RELOAD").message == f"{config}:1:1: y: is not known: known are x"
    config.write_text("x = 2\n")
    reply = instance.command("RELOAD")
    assert reply.message == "checked; it counts once the daemon's loop is no longer stuck"
    assert probe.noted("reload hook") is None
    wait_until(lambda: probe.noted("reload hook") == "2", 10)


@pytest.mark.slow
def test_a_thread_that_blocks_is_nobodys_trouble(probe):
    """Plain work has a thread of its own: the loop goes on, and nothing is called stuck."""
    instance = probe.start("@daemon.work\ndef work(run):\n    time.sleep(2)\n    run.sleep_in_thread(60)\n")
    for _ in range(5):
        assert "stuck_at" not in instance.status()
    probe.signal(signal.SIGTERM)
    probe.wait_gone()
    assert probe.left() == []
