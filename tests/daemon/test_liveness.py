"""Four answers from two pieces of evidence: every combination."""

import pickle

import pytest

from daemonry.daemon import liveness
from daemonry.daemon.liveness import Liveness, judge

CONNECTIONS = (
    liveness.ANSWERED,
    liveness.SILENT,
    liveness.FULL,
    liveness.LOST,
    liveness.REFUSED,
    liveness.MISSING,
    liveness.FORBIDDEN,
)

# connection: (lock held, lock free, lock unknown)
ANSWERS = {
    liveness.ANSWERED: ("serving", "serving", "serving"),
    liveness.SILENT: ("busy", "busy", "busy"),
    liveness.FULL: ("busy", "busy", "busy"),
    liveness.LOST: ("busy", "busy", "busy"),
    liveness.REFUSED: ("busy", "absent", "denied"),
    liveness.MISSING: ("busy", "absent", "denied"),
    liveness.FORBIDDEN: ("busy", "denied", "denied"),
}


@pytest.mark.parametrize("connection", CONNECTIONS)
@pytest.mark.parametrize(
    ("at", "lock_held"), [(0, True), (1, False), (2, None)], ids=["held", "free", "unknown"]
)
def test_each_combination_has_its_answer(connection, at, lock_held):
    assert judge(connection, lock_held).answer == ANSWERS[connection][at]


@pytest.mark.parametrize("connection", CONNECTIONS)
def test_a_held_lock_is_never_absent(connection):
    """The lock is the truth: a daemon that is slow, stopped or without its socket is not replaced."""
    assert judge(connection, True).answer in ("serving", "busy")


def test_absent_needs_both_a_free_lock_and_nobody_at_the_socket():
    """It is the only answer that allows a start."""
    absent = [
        (connection, held)
        for connection in CONNECTIONS
        for held in (True, False, None)
        if judge(connection, held).answer == "absent"
    ]
    assert absent == [(liveness.REFUSED, False), (liveness.MISSING, False)]


def test_a_denial_proves_nothing():
    """EPERM from a sandbox says nothing about the daemon (hard case 5)."""
    assert judge(liveness.FORBIDDEN, False).answer == "denied"


@pytest.mark.parametrize(("held", "word"), [(True, "held"), (False, "free"), (None, "unknown")])
def test_the_evidence_is_told(held, word):
    assert judge(liveness.REFUSED, held).evidence() == f"the connection was refused; life lock {word}"


def test_it_is_a_value():
    one = judge(liveness.ANSWERED, True)
    assert one == Liveness("serving", liveness.ANSWERED, True)
    assert pickle.loads(pickle.dumps(one)) == one
    assert one != judge(liveness.ANSWERED, None)
