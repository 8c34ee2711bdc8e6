"""A job's states: the table, and the decisions about the next try and the next job."""

import itertools

import pytest

from daemonry.cli.commands import JOB_STATES
from daemonry.jobs.retry import RetryPolicy
from daemonry.jobs.states import (
    BEGUN,
    ENDED,
    TRANSITIONS,
    JobState,
    JobStep,
    after_loss,
    after_raise,
    next_to_start,
    step,
)


def test_each_state_is_in_the_table_and_reached():
    assert set(TRANSITIONS) == set(JobState)
    reached = {state for row in TRANSITIONS.values() for state in row.values()}
    assert reached == set(JobState)
    assert tuple(state.value for state in JobState) == JOB_STATES


def test_what_has_ended_begins_again_only_if_somebody_asks():
    for state, happened in itertools.product(ENDED, JobStep):
        following = step(state, happened)
        assert following in (None, state) or happened is JobStep.RETRY_ASKED
    assert step(JobState.SUCCEEDED, JobStep.RETRY_ASKED) is None


def test_only_what_is_queued_starts():
    assert [state for state in JobState if step(state, JobStep.STARTED)] == [JobState.QUEUED]


def test_every_state_that_has_not_ended_can_be_canceled():
    for state in set(JobState) - ENDED:
        assert step(state, JobStep.CANCEL_ASKED) in (JobState.CANCELED, JobState.CANCELING)


@pytest.mark.parametrize("state", sorted(BEGUN, key=lambda one: one.value))
def test_what_was_begun_is_judged_when_its_runner_is_gone(state):
    assert step(state, JobStep.RUNNER_GONE) in ENDED


def test_waits_double_up_to_the_longest():
    policy = RetryPolicy(times=4, delay_s=1, most_delay_s=3)
    assert [after_raise(policy, attempts)[1] for attempts in (1, 2, 3, 4)] == [1, 2, 3, 3]
    assert after_raise(policy, 5) == (JobStep.RAISED, 0.0)
    assert after_raise(RetryPolicy(times=10**9), 10**6)[1] == 300


def test_a_lost_job_runs_again_only_where_its_task_says_so():
    gone, again = JobStep.RUNNER_GONE, JobStep.RUNNER_GONE_TO_RETRY
    assert after_loss(RetryPolicy(times=5), 1) is gone
    assert after_loss(RetryPolicy(times=2, when_lost=True), 2) is again
    assert after_loss(RetryPolicy(times=2, when_lost=True), 3) is gone
    assert after_loss(None, 1) is gone


def test_jobs_start_in_order_within_the_bounds_of_their_tasks():
    queued = [(1, "a"), (2, "a"), (3, "b"), (4, "gone"), (5, "b"), (6, "a")]
    limits = {"a": 1, "b": 2}
    assert next_to_start(queued, {}, limits, 10) == [1, 3, 5]
    assert next_to_start(queued, {"a": 1, "b": 1}, limits, 10) == [3]
    assert next_to_start(queued, {}, limits, 2) == [1, 3]
    assert next_to_start(queued, {}, limits, 0) == []
