"""When a call is made again, as a table."""

import pytest

from daemonry import errors
from daemonry.service.client.retry import WAITS_S, Attempts

NOT_SENT = errors.ConnectionLost("there", "no")
MAYBE_RAN = errors.ConnectionLost("there", "maybe")
NOBODY = errors.NotListening("there")
TOO_LATE = errors.DeadlineExceeded("connect", 1.0, "no", "there")
BROKEN = errors.BadFrame("not JSON")


@pytest.mark.parametrize(
    ("failure", "idempotent", "again"),
    [
        (NOT_SENT, False, True),
        (NOT_SENT, True, True),
        (MAYBE_RAN, False, False),
        (MAYBE_RAN, True, True),
        (NOBODY, True, False),
        (TOO_LATE, True, False),
        (BROKEN, True, False),
    ],
)
def test_which_failure_is_followed_by_another_attempt(failure, idempotent, again):
    attempts = Attempts(idempotent=idempotent)
    if again:
        assert attempts.wait_s(failure, 10.0) == WAITS_S[0]
    else:
        with pytest.raises(type(failure)) as raised:
            attempts.wait_s(failure, 10.0)
        assert raised.value is failure or raised.value.ran == "maybe"


@pytest.mark.parametrize("failure", [NOT_SENT, MAYBE_RAN])
def test_there_is_none_without_a_new_connection_or_without_time(failure):
    for attempts, left_s in (
        (Attempts(idempotent=True, reconnects=False), 10.0),
        (Attempts(idempotent=True), 0.0),
    ):
        with pytest.raises(errors.ConnectionLost) as raised:
            attempts.wait_s(failure, left_s)
        assert raised.value.ran == failure.ran


def test_there_are_a_few_attempts_and_not_more():
    attempts = Attempts(idempotent=True)
    assert [attempts.wait_s(NOT_SENT, None) for _ in WAITS_S] == [*WAITS_S]
    with pytest.raises(errors.ConnectionLost):
        attempts.wait_s(NOT_SENT, None)


@pytest.mark.parametrize("last", [NOT_SENT, NOBODY, TOO_LATE])
def test_what_is_raised_tells_of_all_attempts(last):
    """Once it may have run, an attempt that was not sent does not undo that."""
    attempts = Attempts(idempotent=True)
    attempts.wait_s(MAYBE_RAN, 10.0)
    with pytest.raises(errors.IpcError) as outcome:
        attempts.wait_s(last, 0.0)
    assert outcome.value.ran == "maybe"
    assert outcome.value.__cause__ is last
    assert isinstance(outcome.value, errors.DeadlineExceeded) is (last is TOO_LATE)
