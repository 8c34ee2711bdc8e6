"""The end of a run, judged: which reason counts first."""

import pytest

from daemonry.home.policy import GiveUp, Leave, Policy, Restart, When
from daemonry.home.run.end import (
    EndedIdle,
    Expectation,
    RunEnd,
    Stopped,
    StoppedByCommand,
    given_up,
    judge,
)
from daemonry.process import homes

NEVER = Policy(When.NEVER, 0.1, 1.0, 5, 60.0)
ALWAYS = Policy(When.ALWAYS, 0.1, 1.0, 5, 60.0)


def judged(end, *, is_stopping=False, has_trigger=False, policy=NEVER):
    return judge(end, Expectation(is_stopping, (15, 2), has_trigger, policy), (), 0.0, 0.0)


@pytest.mark.parametrize(
    ("code", "as_expected"), [(0, True), (None, True), (-15, True), (-9, False), (1, False)]
)
def test_a_stop_that_was_asked_for_counts_before_all_else(code, as_expected):
    end = RunEnd(code, "not alive: no answer", homes.BY_COMMAND, is_idle=True)
    assert judged(end, is_stopping=True, has_trigger=True, policy=ALWAYS) == Stopped(as_expected)


@pytest.mark.parametrize("code", [0, 1, None])
def test_a_daemon_that_was_stopped_by_its_own_command_is_not_restarted(code):
    assert judged(RunEnd(code, word=homes.BY_COMMAND), policy=ALWAYS) == StoppedByCommand()


@pytest.mark.parametrize("code", [0, None])
def test_a_daemon_that_ended_idle_starts_itself_again(code):
    assert judged(RunEnd(code, word=homes.IDLE), policy=ALWAYS) == EndedIdle(starts_itself=True)


@pytest.mark.parametrize("end", [RunEnd(0), RunEnd(-15, is_idle=True)])
def test_a_trigger_starts_it_again_whatever_the_policy(end):
    assert judged(end, has_trigger=True, policy=ALWAYS) == EndedIdle(starts_itself=False)


@pytest.mark.parametrize("end", [RunEnd(1), RunEnd(None), RunEnd(0, "not ready"), RunEnd(1, word=homes.IDLE)])
def test_a_failure_is_the_policys_with_and_without_a_trigger(end):
    assert judged(end, has_trigger=True) == GiveUp(0)
    assert judged(end) == GiveUp(0)
    assert judged(end, policy=ALWAYS) == Restart(0.1)


def test_a_good_end_is_the_policys_where_nothing_starts_it_later():
    assert judged(RunEnd(0)) == Leave()
    assert judged(RunEnd(0), policy=ALWAYS) == Restart(0.1)


@pytest.mark.parametrize(
    ("restarts", "sentence"),
    [
        (0, "given up"),
        (1, "given up after 1 restart within 60 s"),
        (5, "given up after 5 restarts within 60 s"),
    ],
)
def test_giving_up_names_the_restarts(restarts, sentence):
    assert given_up(GiveUp(restarts), 60.0) == sentence
