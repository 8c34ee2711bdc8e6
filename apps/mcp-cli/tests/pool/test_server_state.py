"""An MCP server's life as a table: every state by every event, and promises that hold for all of them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_cli.pool.server_state import BEGUN, TRANSITIONS, Happened, State, step

TABLE = {
    ("idle", "start asked"): "waiting",
    ("idle", "close asked"): "closing",
    ("waiting", "start asked"): "waiting",
    ("waiting", "delay over"): "starting",
    ("waiting", "close asked"): "closing",
    ("starting", "start asked"): "starting",
    ("starting", "connected"): "ready",
    ("starting", "start failed"): "failed",
    ("starting", "close asked"): "closing",
    ("ready", "start asked"): "ready",
    ("ready", "connection lost"): "ending",
    ("ready", "close asked"): "closing",
    ("ending", "ended, to be restarted"): "waiting",
    ("ending", "ended, until a call"): "idle",
    ("ending", "ended, and given up"): "failed",
    ("ending", "close asked"): "closing",
    ("closing", "close asked"): "closing",
    ("closing", "closed"): "idle",
    ("failed", "start asked"): "waiting",
    ("failed", "close asked"): "closing",
}


@pytest.mark.parametrize(("state", "happened"), list(itertools.product(State, Happened)))
def test_each_event_in_each_state(state, happened):
    following = step(state, happened)
    assert (following and following.value) == TABLE.get((state.value, happened.value))


def test_each_state_has_its_answers_and_none_is_a_dead_end():
    assert set(TRANSITIONS) == set(State)
    assert all(set(answers.values()) - {state} for state, answers in TRANSITIONS.items())


@given(st.lists(st.sampled_from(Happened)))
def test_it_can_always_be_closed_and_is_not_started_meanwhile(happened):
    """A start that is asked for while it is being ended is refused, or its process would outlive the end."""
    state = State.IDLE
    for event in happened:
        state = step(state, event) or state
    state = step(state, Happened.CLOSE_ASKED)
    assert state is State.CLOSING
    assert step(state, Happened.START_ASKED) is None
    assert step(state, Happened.CLOSED) is State.IDLE


@given(st.lists(st.sampled_from(Happened)))
def test_only_what_was_begun_becomes_ready(happened):
    before, state = None, State.IDLE
    for event in happened:
        before, state = state, step(state, event) or state
        assert state is not State.READY or before in {State.READY, *BEGUN}
