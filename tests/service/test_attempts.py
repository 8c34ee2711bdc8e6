"""When a call is made again, as a table."""

import pytest

from daemonry import errors
from daemonry.service.attempts import WAITS_S, Attempts

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
    attempts = Attempts(idempotent)
    assert (attempts.wait_s(failure) is not None) is again


def test_there_are_a_few_attempts_and_not_more():
    attempts = Attempts(idempotent=True)
    assert [attempts.wait_s(NOT_SENT) for _ in range(len(WAITS_S) + 1)] == [*WAITS_S, None]


@pytest.mark.parametrize("last", [NOT_SENT, NOBODY, TOO_LATE])
def test_what_is_raised_tells_of_all_attempts(last):
    """Once it may have run, an attempt that was not sent does not undo that."""
    attempts = Attempts(idempotent=True)
    assert attempts.outcome(last) is last
    attempts.wait_s(MAYBE_RAN)
    outcome = attempts.outcome(last)
    assert outcome.ran == "maybe"
    assert outcome.__cause__ is last
    assert isinstance(outcome, errors.DeadlineExceeded) is (last is TOO_LATE)
