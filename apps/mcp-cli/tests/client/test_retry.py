"""Which calls are made again: only those that certainly did nothing."""

from __future__ import annotations

import pytest

from daemonry import errors
from mcp_cli.client.retry import MOST, CallAttempts
from mcp_cli.names import INTERFACE, NOT_CONFIGURED

NOTHING_DONE = [
    errors.Draining("org.daemonry.Draining", {}),
    errors.CallFailed(NOT_CONFIGURED, {}),
    errors.ConnectionLost("the daemon", "no"),
]
PERHAPS_DONE = [
    errors.ConnectionLost("the daemon", "maybe"),
    errors.Draining("org.daemonry.Control.Draining", {"begun": True}),
    errors.CallFailed(f"{INTERFACE}.MaybeRan", {}),
    errors.DeadlineExceeded("reply", 1.0, "maybe", "the daemon"),
]


@pytest.mark.parametrize("error", NOTHING_DONE, ids=lambda error: type(error).__name__)
def test_what_did_nothing_is_tried_three_times(error):
    attempts = CallAttempts()
    assert [attempts.again(error) for _ in range(MOST)] == [True, True, False]


@pytest.mark.parametrize("error", NOTHING_DONE, ids=lambda error: type(error).__name__)
def test_what_was_answered_in_part_is_not_tried_again(error):
    attempts = CallAttempts()
    attempts.begun = True
    assert not attempts.again(error)


@pytest.mark.parametrize("error", PERHAPS_DONE, ids=lambda error: type(error).__name__)
def test_what_may_have_run_is_not_tried_again(error):
    assert not CallAttempts().again(error)
