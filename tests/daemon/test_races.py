"""Many at once, and ends at any moment: there is always exactly one daemon, and a start always works."""

import random
import re
import socket
import subprocess
import sys
import time

import pytest

from daemonry.testing import wait_until

# What a test waits at most for a process that ends by itself.
END_S = 30.0

# A command with all that it will need imported, waiting until its standard input ends: six of them
# then really begin together.
AT_THE_BARRIER = """\
import sys
import daemonry.cli.full, daemonry.runtime.runner, daemonry.launch.start
from daemonry.cli.main import main
sys.stdin.read()
main()
"""


def slowly(fast, slow):
    """Both variants of a number of rounds."""
    return pytest.mark.parametrize(
        "rounds",
        [
            pytest.param(fast, id=f"{fast} rounds"),
            pytest.param(slow, id=f"{slow} rounds", marks=[pytest.mark.slow, pytest.mark.timeout(1200)]),
        ],
    )


def make_stale(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)


class Race:
    """Six commands at a barrier: a pipe whose end they all wait for."""

    def __init__(self, probe):
        self._read_end, self._write_end = socket.socketpair()
        self.racers = [
            (
                verb,
                probe.sandbox.popen(
                    sys.executable, "-c", AT_THE_BARRIER, verb, probe.program, stdin=self._read_end
                ),
            )
            for verb in ("start", "run") * 3
        ]
        self._read_end.close()

    def begin(self):
        self._write_end.close()

    def ended(self):
        return [racer for racer in self.racers if racer[1].poll() is not None]


@slowly(3, 150)
def test_of_six_that_start_at_once_on_a_stale_socket_one_is_the_daemon(probe, rounds):
    """Hard cases 1 and 4; fault 15: half in the background, half in the foreground.

    In the first round there is no socket, and no directory either.
    """
    probe.write()
    seen = 0
    for number in range(rounds):
        if number:
            make_stale(probe.place.socket_path)
        race = Race(probe)
        race.begin()
        wait_until(lambda race=race: len(race.ended()) >= 5, END_S, "five of six have ended")
        pid = probe.instance.status()["pid"]
        if pid not in [process.pid for _, process in race.racers]:
            wait_until(lambda race=race: len(race.ended()) == 6, END_S, "all six have ended")
        ready = [verb for verb, process in race.racers if _is_the_one(verb, process, pid, probe.place)]
        assert len(ready) == 1, ready
        assert probe.cli("stop").code == 0
        if ready == ["run"]:
            (winner,) = [process for _, process in race.racers if process.pid == pid]
            assert winner.wait(END_S) == 0
            _close(winner)
        new = probe.messages()[seen:]
        seen += len(new)
        removing = f"removing the stale socket {probe.place.socket_path}"
        assert [message for message in new if "stale" in message] == [removing] * bool(number)
        assert len([message for message in new if message.startswith("ready at")]) == 1
        assert probe.left() == []


def _is_the_one(verb, process, pid, place):
    """Whether this racer became, or started, the daemon; if not, it has said that it runs, and no more."""
    already = f"probe: already running (pid {pid})\n"
    if process.poll() is None:
        assert (verb, process.pid) == ("run", pid)
        return True
    out, err = process.communicate()
    assert process.returncode == 0, (out, err)
    if verb == "run":
        assert (out, err) == ("", already)
        return False
    assert err == ""
    assert out in (already, f"probe: ready at unix:{place.socket_path} (pid {pid})\n")
    return out != already


def _close(process):
    process.stdout.close()
    process.stderr.close()


# --- killed at any moment -------------------------------------------------------------------------

# Ending takes it long enough to be killed in the middle.
SLOW_TO_END = """
@daemon.work
async def work(run):
    try:
        await asyncio.sleep(600)
    finally:
        await asyncio.sleep(0.05)
"""
LONGEST_START_S = 0.3


def killed_while_it_starts(probe, dice):
    """A foreground daemon is its own process from the first instruction on."""
    with probe.sandbox.popen(sys.executable, "-m", "daemonry", "run", probe.program) as process:
        wait_or_end(process, dice.uniform(0, LONGEST_START_S))
        process.kill()


def killed_while_it_runs(probe, dice):
    assert probe.cli("start").code == 0
    pause(dice.uniform(0, 0.05))
    probe.kill()


def killed_while_it_drains(probe, dice):
    assert probe.cli("start").code == 0
    identity = probe.instance.record().identity
    probe.instance.command("STOP")
    pause(dice.uniform(0, 0.08))
    identity.send_signal(9)  # or it has ended just before
    probe.wait_gone()


def killed_with_its_starter(probe, dice):
    """Ctrl-C, or a closed terminal, while `start` waits: the daemon goes on, or was never made."""
    with probe.sandbox.popen(sys.executable, "-m", "daemonry", "start", probe.program) as process:
        wait_or_end(process, dice.uniform(0, LONGEST_START_S))
        process.kill()


MOMENTS = (killed_while_it_starts, killed_while_it_runs, killed_while_it_drains, killed_with_its_starter)
TOLD = re.compile(r"(probe: the run of [-0-9]+ [:0-9]+ \(pid \d+\) ended without cleaning up\n)?")


@slowly(4, 200)
def test_after_kill_9_at_any_moment_a_start_works(probe, rounds):
    """Every time, in a row, with no word about a stale file beyond one line of the log."""
    probe.write(SLOW_TO_END)
    dice = random.Random(9)
    assert probe.sandbox.daemonry("start", probe.program).code == 0
    probe.kill()
    for number in range(rounds):
        moment = MOMENTS[number % len(MOMENTS)]
        moment(probe, dice)
        before = len(probe.messages())
        started = probe.cli("start")
        assert started.code == 0, (moment.__name__, started)
        assert TOLD.fullmatch(started.err), (moment.__name__, started.err)
        pid = probe.instance.status()["pid"]
        assert f"(pid {pid})" in started.out
        stale = [message for message in probe.messages()[before:] if "stale" in message]
        assert len(stale) <= 1, (moment.__name__, stale)
        assert probe.cli("stop").code == 0
        assert probe.left() == []
    assert [path.name for path in probe.sandbox.path.glob("home/.local/state/*/*/*.tmp")] == []


@slowly(6, 60)
def test_sigterm_at_any_moment_of_the_start_ends_it_in_peace(probe, rounds):
    """Fault 30: before the handlers are there, while it starts, as soon as it is ready."""
    probe.write(SLOW_TO_END)
    dice = random.Random(30)
    for _ in range(rounds):
        offset_s = dice.uniform(0, LONGEST_START_S)
        with probe.sandbox.popen(sys.executable, "-m", "daemonry", "run", probe.program) as process:
            wait_or_end(process, offset_s)
            process.terminate()
            _, err = process.communicate(timeout=END_S)
        # Ended by the signal itself, stopped while it started, or stopped.
        assert process.returncode in (-15, 1, 0), (offset_s, process.returncode, err)
        assert "Traceback" not in err, offset_s
        assert probe.left() == [], offset_s
        assert not probe.instance.lock_held()
    started = probe.sandbox.daemonry("start", probe.program)
    assert (started.code, started.err) == (0, "")


def test_two_that_stop_it_at_once_both_see_it_gone(probe):
    probe.start(SLOW_TO_END)
    stops = [probe.sandbox.popen(sys.executable, "-m", "daemonry", "stop", "probe") for _ in range(2)]
    for process in stops:
        out, err = process.communicate(timeout=END_S)
        assert (process.returncode, err) == (0, "")
        assert out in ("probe: stopped\n", "probe: not running\n")
    assert probe.left() == []


def wait_or_end(process, seconds):
    """Let a process run for a while; the moment is the point of the test, not a condition."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass


def pause(seconds):
    """Let a daemon run for a while, as `wait_or_end`."""
    time.sleep(seconds)
