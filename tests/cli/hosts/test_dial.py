"""What `daemonry dial` finds, in one process: the daemon's lock and socket are in between two states."""

from itertools import chain, repeat

import pytest

from daemonry.cli import dial
from daemonry.daemon.instance import Instance


@pytest.fixture
def held(sandbox, monkeypatch):
    """Return a function that says what each look at the life lock finds; no socket is there."""
    instance = Instance(sandbox.place("far"))
    monkeypatch.setattr(Instance, "named", lambda name: instance)

    def looks(*found):
        answers = chain(found, repeat(found[-1]))
        monkeypatch.setattr(Instance, "lock_held", lambda self: next(answers))

    return looks


def test_a_daemon_that_ends_just_now_is_absent_and_not_busy(held, capfd):
    held(True, True, False)
    assert dial.dial("far", None) == 3
    assert capfd.readouterr().out == "daemonry-dial 1 absent far: not running\n"


def test_one_that_has_no_socket_for_longer_is_busy(held, capfd, monkeypatch):
    monkeypatch.setattr(dial, "_ACCEPT_S", 0.01)
    held(True)
    assert dial.dial("far", None) == 5
    assert capfd.readouterr().out == "daemonry-dial 1 busy far\n"
