"""A service's life as a table: every state by every event, and what holds for all of them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.home.child import ALIVE, SETTLED, TRANSITIONS, ServiceHappened, ServiceState, step

TABLE = {
    ("waiting", "start asked"): "waiting",
    ("waiting", "needs ready"): "starting",
    ("waiting", "left for later"): "idle",
    ("waiting", "ended, and given up"): "failed",
    ("waiting", "stop asked"): "stopped",
    ("starting", "ready"): "ready",
    ("starting", "ended, to be restarted"): "restarting",
    ("starting", "ended, and done"): "done",
    ("starting", "ended, and given up"): "failed",
    ("starting", "ended, idle"): "idle",
    ("starting", "ended, by command"): "stopped",
    ("starting", "stop asked"): "stopping",
    ("ready", "ended, to be restarted"): "restarting",
    ("ready", "ended, and done"): "done",
    ("ready", "ended, and given up"): "failed",
    ("ready", "ended, idle"): "idle",
    ("ready", "ended, by command"): "stopped",
    ("ready", "stop asked"): "stopping",
    ("ready", "not alive"): "unhealthy",
    ("unhealthy", "not alive"): "unhealthy",
    ("unhealthy", "alive again"): "ready",
    ("unhealthy", "ended, to be restarted"): "restarting",
    ("unhealthy", "ended, and done"): "done",
    ("unhealthy", "ended, and given up"): "failed",
    ("unhealthy", "ended, idle"): "idle",
    ("unhealthy", "ended, by command"): "stopped",
    ("unhealthy", "stop asked"): "stopping",
    ("restarting", "start asked"): "waiting",
    ("restarting", "delay over"): "waiting",
    ("restarting", "stop asked"): "stopped",
    ("stopping", "stop asked"): "stopping",
    ("stopping", "ended"): "stopped",
    ("stopped", "start asked"): "waiting",
    ("stopped", "stop asked"): "stopped",
    ("done", "start asked"): "waiting",
    ("done", "stop asked"): "stopped",
    ("idle", "start asked"): "waiting",
    ("idle", "stop asked"): "stopped",
    ("failed", "start asked"): "waiting",
    ("failed", "stop asked"): "stopped",
}


@pytest.mark.parametrize(("state", "happened"), list(itertools.product(ServiceState, ServiceHappened)))
def test_each_event_in_each_state(state, happened):
    following = step(state, happened)
    assert (following and following.value) == TABLE.get((state.value, happened.value))


def test_each_state_has_its_answers_and_none_is_a_dead_end():
    assert set(TRANSITIONS) == set(ServiceState)
    assert all(set(answers.values()) - {state} for state, answers in TRANSITIONS.items())


@given(st.lists(st.sampled_from(ServiceHappened)))
def test_a_stop_always_leads_to_stopped(happened):
    """Whatever came before: asked to stop, and its process ended, it is stopped."""
    state = ServiceState.WAITING
    for event in happened:
        state = step(state, event) or state
    state = step(state, ServiceHappened.STOP_ASKED)
    assert state in {ServiceState.STOPPING, ServiceState.STOPPED}
    assert (step(state, ServiceHappened.ENDED) or state) is ServiceState.STOPPED


def test_a_process_ends_by_an_event_of_its_own_only():
    """No state in which a process lives is left for one in which none does, but by its end."""
    ends = {
        ServiceHappened.ENDED,
        ServiceHappened.ENDED_AGAIN,
        ServiceHappened.ENDED_DONE,
        ServiceHappened.ENDED_FAILED,
        ServiceHappened.ENDED_IDLE,
        ServiceHappened.ENDED_BY_COMMAND,
    }
    for state, happened in itertools.product(ALIVE, ServiceHappened):
        following = step(state, happened)
        if following is not None and following not in ALIVE:
            assert happened in ends


def test_what_is_settled_waits_for_somebody():
    assert {state.value for state in SETTLED} == {"ready", "unhealthy", "idle", "stopped", "done", "failed"}
