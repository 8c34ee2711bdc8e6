"""`ps`: every daemon of this user, in whatever state it is."""

import re
import signal
import time

import pytest

from daemonry.process import registry
from daemonry.process.place import Place
from daemonry.testing import cleanup_socket_file, wait_until


@pytest.fixture
def three(sandbox):
    """Three daemons, by name."""
    names = ("alpha", "beta", "gamma")
    for name in names:
        sandbox.write(f"{name}.py", f"from daemonry import Daemon\ndaemon = Daemon('{name}', version='3')\n")
    return {name: sandbox.start(sandbox.path / f"{name}.py") for name in names}


def states(sandbox):
    return {row["name"]: row["state"] for row in sandbox.daemonry("ps", "--json").json()}


def test_nobody_is_told_too(sandbox):
    assert sandbox.daemonry("ps") == (0, "no daemons\n", "")
    assert sandbox.daemonry("ps", "--json") == (0, "[]\n", "")
    assert sandbox.daemonry("ps", "--names") == (0, "", "")


def test_the_table_has_one_line_for_each(sandbox, three):
    three["beta"].command("PAUSE")
    head, *rows = sandbox.daemonry("ps").out.splitlines()
    assert head.split() == ["NAME", "PID", "STATE", "UPTIME", "VERSION", "ENDPOINT"]
    for name, row, state in zip(
        ("alpha", "beta", "gamma"), rows, ("running", "paused", "running"), strict=True
    ):
        endpoint = re.escape(f"unix:{three[name].place.socket_path}")
        assert re.fullmatch(rf"{name} +{three[name].pid()} +{state} +\d+s +3 +{endpoint}", row), row
    assert len({row.index("unix:") for row in rows}) == 1
    assert sandbox.daemonry("ps", "--names").out == "alpha\nbeta\ngamma\n"
    assert sandbox.daemonry("stop", "beta").code == 0
    assert states(sandbox) == {"alpha": "running", "gamma": "running"}


def test_one_that_crashed_is_listed_until_somebody_was_told(sandbox, three):
    three["alpha"].record().identity.send_signal(9)
    wait_until(lambda: three["alpha"].lock_held() is False)
    for _ in range(2):  # looking at the list is not being told
        assert states(sandbox) == {"alpha": "crashed", "beta": "running", "gamma": "running"}
    assert "ended without cleaning up" in sandbox.daemonry("status", "alpha").err
    assert states(sandbox) == {"beta": "running", "gamma": "running"}
    cleanup_socket_file(three["alpha"].place.socket_path)


def test_one_that_does_not_answer_is_busy_and_delays_nobody_else(sandbox, three):
    """Each is asked at the same time: the list takes as long as its slowest, and not as their sum."""
    stopped = [three[name].record().identity for name in ("alpha", "beta")]
    try:
        for process in stopped:
            process.send_signal(signal.SIGSTOP)
        took_s = []
        while len(took_s) < 3 and min(took_s, default=9.0) >= 2.4:  # a busy machine has its moments
            before_s = time.monotonic()
            assert states(sandbox) == {"alpha": "busy", "beta": "busy", "gamma": "running"}
            took_s.append(time.monotonic() - before_s)
        assert min(took_s) < 2.4, "one after the other, they take twice 1.2 s"
    finally:
        for process in stopped:
            process.send_signal(signal.SIGCONT)


def test_one_with_directories_of_its_own_is_listed(sandbox):
    """Wherever its files are: the list is the user's, and not one directory's, and its names lead there."""
    sandbox.env["DELTA_STATE"] = str(sandbox.path / "elsewhere")
    program = sandbox.write("delta.py", "from daemonry import Daemon\ndaemon = Daemon('delta')\n")
    assert sandbox.daemonry("start", program).code == 0
    del sandbox.env["DELTA_STATE"]
    assert states(sandbox) == {"delta": "running"}
    assert sandbox.daemonry("status", "delta").code == 0
    assert sandbox.daemonry("stop", "delta").code == 0


def test_a_damaged_entry_hides_only_itself(sandbox, program):
    sandbox.start(program)
    entries = next((sandbox.path / "home/.local/state/daemonry").iterdir())
    (entries / "broken-00000000.json").write_text('{"name": "bro')
    (entries / "odd-00000000.json").write_text("[]")
    assert states(sandbox) == {"probe": "running"}


def test_one_whose_files_are_gone_is_forgotten(sandbox):
    registry.add(Place(str(sandbox.path / "nowhere"), "gone", str(sandbox.path / "nowhere")))
    assert "gone" in sandbox.daemonry("ps", "--names").out
    assert "gone" not in states(sandbox)
    assert "gone" not in sandbox.daemonry("ps", "--names").out
