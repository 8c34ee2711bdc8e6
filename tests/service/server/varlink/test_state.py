"""An accepted connection as a table: every state by every event, and what holds for all of them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.service.server.varlink.state import (
    TAKES_BYTES,
    TAKES_CALLS,
    TRANSITIONS,
    ConnectionHappened,
    ConnectionState,
    step,
)

# What each state answers; the rest of the events change nothing in it.
TABLE = {
    ("reading", "too much waits"): "held",
    ("reading", "the client sends no more"): "half closed",
    ("reading", "the client is gone"): "gone",
    ("reading", "an upgrade is granted"): "handing over",
    ("reading", "no call follows"): "ending",
    ("reading", "its calls are answered at once"): "closed",
    ("held", "there is room"): "reading",
    ("held", "the client sends no more"): "half closed",
    ("held", "the client is gone"): "gone",
    ("held", "an upgrade is granted"): "handing over",
    ("held", "no call follows"): "ending",
    ("half closed", "the client is gone"): "gone",
    ("half closed", "an upgrade is granted"): "handing over",
    ("half closed", "no call follows"): "ending",
    ("handing over", "all is sent"): "upgraded",
    ("handing over", "the client is gone"): "gone",
    ("upgraded", "the other protocol is done"): "closed",
    ("ending", "all is sent"): "closed",
    ("ending", "the client is gone"): "closed",
    ("gone", "no call follows"): "closed",
}
for shut, state in itertools.product(("the client does not read", "close asked"), ConnectionState):
    if state not in (ConnectionState.UPGRADED, ConnectionState.CLOSED):
        TABLE[state.value, shut] = "closed"


@pytest.mark.parametrize(("state", "happened"), list(itertools.product(ConnectionState, ConnectionHappened)))
def test_each_event_in_each_state(state, happened):
    following = step(state, happened)
    assert (following and following.value) == TABLE.get((state.value, happened.value))


def test_each_state_is_reached_and_all_but_closed_are_left():
    assert set(TRANSITIONS) == set(ConnectionState)
    reached = {following for answers in TRANSITIONS.values() for following in answers.values()}
    assert reached == set(ConnectionState)
    assert [state for state, answers in TRANSITIONS.items() if not answers] == [ConnectionState.CLOSED]


@given(st.lists(st.sampled_from(ConnectionHappened)))
def test_no_call_is_taken_again_from_a_client_that_is_gone_or_finished(happened):
    """A state that takes no more from its client is followed by none that does."""
    state = ConnectionState.READING
    for event in happened:
        following = step(state, event) or state
        assert following not in TAKES_BYTES or state in TAKES_BYTES
        assert following not in TAKES_CALLS or state in TAKES_CALLS or following is ConnectionState.GONE
        state = following


@given(st.lists(st.sampled_from(ConnectionHappened)))
def test_every_connection_can_be_closed(happened):
    state = ConnectionState.READING
    for event in happened:
        state = step(state, event) or state
    state = step(state, ConnectionHappened.CLOSE_ASKED) or step(state, ConnectionHappened.SPOKEN) or state
    assert state is ConnectionState.CLOSED
