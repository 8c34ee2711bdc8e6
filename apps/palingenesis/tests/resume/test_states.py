"""The states of a session: what leads from one to the next, and what never does."""

import pytest

from palingenesis.resume.states import TRANSITIONS, Happened, State, after


def test_every_state_has_its_row_and_a_held_session_knows_its_release_only():
    assert set(TRANSITIONS) == set(State)
    assert TRANSITIONS[State.HELD] == {Happened.RELEASE: State.STOPPED}
    tries = [state for state, row in TRANSITIONS.items() if Happened.TRY_BEGAN in row]
    assert tries == [State.SCHEDULED]


def test_a_user_s_exit_and_completion_never_lead_to_a_try_by_themselves():
    for row in TRANSITIONS.values():
        assert row.get(Happened.SEEN_DONE) in (None, State.DONE)
        assert row.get(Happened.SEEN_LEFT) in (None, State.LEFT_TO_USER)
        assert row.get(Happened.SEEN_STOPPED) in (None, State.STOPPED)
    assert Happened.NOW not in TRANSITIONS[State.DONE]


@pytest.mark.parametrize("state", State)
def test_what_the_table_does_not_have_cannot_happen(state):
    for happened in Happened:
        assert after(state, happened) is TRANSITIONS[state].get(happened)
    assert after(State.HELD, Happened.SEEN_RESUMABLE) is None


def test_every_state_can_be_left_and_reached():
    assert all(set(row.values()) - {state} for state, row in TRANSITIONS.items())
    reached = {
        following for state, row in TRANSITIONS.items() for following in row.values() if following != state
    }
    assert reached == set(State)
