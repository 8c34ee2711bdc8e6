"""A daemon that ended on its own: the next client is told why, once; after a clean end nobody is."""

import os
import re
import sys

import pytest

from daemonry.testing import wait_until

FAILS = """
@daemon.work
async def work(run):
    await wait_told("fail")
    raise ValueError("out of\\nluck")
"""
FAILS_IN_A_THREAD = """
@daemon.work
def work(run):
    while not told("fail"):
        time.sleep(0.01)
    raise ValueError("x")
"""
TOLD_KILLED = r"probe: the run of [-0-9]+ [:0-9]+ \(pid {pid}\) ended without cleaning up\n"


def told(probe, verb="status"):
    return probe.cli(verb).err


@pytest.fixture
def killed(probe):
    """The pid of a daemon that was killed; its socket and record lie there."""
    probe.start()
    return probe.kill()


# --- work that fails ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["async", "plain", "plain, of an iterator that has ended"])
def test_work_that_raises_ends_the_daemon_with_exit_code_1(probe, kind):
    body = FAILS if kind == "async" else FAILS_IN_A_THREAD
    if "iterator" in kind:
        body = body.replace('raise ValueError("x")', "next(iter(()))")
    with probe.foreground(body) as process:
        probe.tell("fail")
        assert process.wait(10) == 1
    assert probe.left() == []
    failed = next(entry for entry in probe.log() if entry["message"].startswith("work failed"))
    assert failed["level"] == "error"
    assert 'probe.py", line ' in failed["trace"]
    assert probe.messages()[-2:] == ["draining (failed)", "stopped (drained)"]


def test_other_work_is_drained_when_one_fails(probe):
    body = (
        FAILS
        + """
@daemon.work
async def other(run):
    try:
        await asyncio.sleep(600)
    finally:
        note("tidied")
"""
    )
    probe.start(body)
    probe.tell("fail")
    probe.wait_gone()
    assert probe.noted("tidied") == ""


def test_the_next_client_is_told_that_work_failed_and_where_to_look(probe):
    probe.start(FAILS)
    probe.tell("fail")
    probe.wait_gone()
    note = f"probe: ended because work failed: ValueError: out of luck (see {probe.place.log_path})\n"
    assert probe.cli("status") == (3, "probe: not running\n", note)
    assert probe.cli("status") == (3, "probe: not running\n", "")


# --- killed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["status", "ping", "stop", "start", "pause", "restart"])
def test_whoever_comes_first_is_told_that_it_was_killed(probe, killed, verb):
    first = probe.cli(verb)
    assert re.search(TOLD_KILLED.format(pid=killed), first.err), first
    assert "ended without" not in probe.cli("status").err
    probe.bury()


def test_a_client_that_asks_for_json_is_told_beside_it(probe, killed):
    """The note goes to standard error: a program that reads our output is not disturbed."""
    first = probe.cli("status", "--json")
    assert first.json() == {"state": "absent", "name": "probe"}
    assert re.fullmatch(TOLD_KILLED.format(pid=killed), first.err)
    probe.bury()


def test_of_two_clients_at_once_one_tells(probe, killed):
    clients = [probe.sandbox.popen(sys.executable, "-m", "daemonry", "status", "probe") for _ in range(6)]
    notes = [process.communicate(timeout=20)[1] for process in clients]
    assert sorted(filter(None, notes)) == [note for note in notes if note]
    assert len([note for note in notes if note]) == 1
    assert re.fullmatch(TOLD_KILLED.format(pid=killed), "".join(notes))
    probe.bury()


def test_when_the_next_daemon_runs_its_first_client_is_told(probe, killed):
    """Started by hand in the foreground, nobody saw the note: it waits for a client."""
    with probe.foreground() as process:
        assert f"the run of pid {killed} ended without cleaning up" in probe.stderr()
        assert re.fullmatch(TOLD_KILLED.format(pid=killed), told(probe))
        assert told(probe) == ""
        process.terminate()
        assert process.wait(10) == 0


def test_a_start_that_fails_does_not_have_it_told_twice(probe, killed):
    """It fails before it has a record of its own, so the old one would lie there still."""
    probe.write("daemon.endpoint = 'nowhere'\n")
    first = probe.sandbox.daemonry("start", probe.program)
    assert first.err.startswith("probe: start failed (bind): 'nowhere' is not an endpoint: ")
    assert re.search(TOLD_KILLED.format(pid=killed), first.err)
    second = probe.sandbox.daemonry("start", probe.program)
    assert second.err.startswith("probe: start failed (bind): 'nowhere' is not an endpoint: ")
    assert "ended without" not in second.err
    probe.bury()


def test_a_clean_stop_tells_nothing(probe):
    probe.start()
    assert probe.cli("stop") == (0, "probe: stopped\n", "")
    assert told(probe) == ""
    assert probe.cli("start").err == ""
    assert told(probe) == ""


@pytest.mark.parametrize("verb", ["status", "stop"])
def test_looking_does_not_disturb_a_start(probe, killed, verb):
    """The client that tells holds the life lock for a moment; the start that comes just then waits."""
    clients = [probe.sandbox.popen(sys.executable, "-m", "daemonry", verb, "probe") for _ in range(3)]
    started = probe.cli("start")
    for process in clients:
        process.communicate(timeout=20)
    assert started.code == 0
    probe.cli("start")
    assert probe.instance.status()["state"] == "running"


# --- what it said last ----------------------------------------------------------------------------

CRASHES_IN_C = """
import ctypes

@daemon.work
async def work(run):
    await wait_told("crash")
    ctypes.string_at(0)
"""


def test_a_crash_in_c_is_shown_with_where_it_was(probe):
    """Hard case 22: the raw file catches what no handler can, and the next client sees its end."""
    pid = probe.start(CRASHES_IN_C).pid()
    probe.tell("crash")
    probe.wait_gone()
    first, second, *rest = told(probe).splitlines()
    assert re.fullmatch(TOLD_KILLED.format(pid=pid), first + "\n")
    assert second == f"its last output ({probe.place.crash_path}):"
    assert rest[0] == "    Fatal Python error: Segmentation fault"
    assert any(re.search(r'File ".*probe\.py", line \d+ in work', line) for line in rest)
    assert told(probe) == ""
    probe.bury()


def test_what_it_printed_is_shown_with_controls_escaped(probe):
    body = """
@daemon.work
async def work(run):
    print("\\x1b[31mred")  # not flushed: a crash would take it along
    await asyncio.sleep(600)
"""
    probe.start(body)
    wait_until(lambda: os.path.getsize(probe.place.crash_path))
    probe.kill()
    assert told(probe).splitlines()[1:] == [
        f"its last output ({probe.place.crash_path}):",
        "    \\x1b[31mred",
    ]
    probe.bury()


def test_an_older_crash_is_not_shown_as_the_last_one(probe):
    """The second run said nothing; what lies in the older file is the first one's."""
    probe.start(CRASHES_IN_C)
    probe.tell("crash")
    probe.wait_gone()
    (probe.sandbox.path / "crash").unlink()
    assert "Segmentation fault" in probe.cli("start").err
    pid = probe.kill()
    assert re.fullmatch(TOLD_KILLED.format(pid=pid), probe.cli("start").err)


def test_the_note_is_for_people_of_any_terminal(probe, killed):
    """A note that somebody else wrote into, or half of one, is shown without its controls, or not at all."""
    assert told(probe) != ""
    with open(probe.place.crash_note_path, "wb") as file:
        file.write(b"\xff\xfe broken\n")
    assert told(probe) == "\\xff\\xfe broken\n"
    probe.bury()
