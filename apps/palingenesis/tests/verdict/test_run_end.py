"""What the end of a run tells, where the agent's record does not."""

from __future__ import annotations

import pytest

from palingenesis.verdict.reasons import Reason
from palingenesis.verdict.run_end import failure_of

EXITS = {"173": Reason.RATE_LIMIT, "41": Reason.LOGIN}
QUOTA = "TerminalQuotaError: You exceeded your current quota, please check your plan. Please retry in 8s."
STACK = (
    "    at main (file:///x.js:1)\n    code: 429,\n    status: 429\n}\nAn unexpected critical error occurred"
)


@pytest.mark.parametrize(
    ("code", "said", "reason", "text"),
    [
        (173, "", Reason.RATE_LIMIT, ""),
        (173, f"{QUOTA}\n{STACK}", Reason.RATE_LIMIT, QUOTA),
        (1, f"{QUOTA}\n{STACK}", None, QUOTA),
        (1, STACK, None, "status: 429"),
        (1, f"{QUOTA}\nError: 503 Service Unavailable\n}}", None, "Error: 503 Service Unavailable"),
        # A retry of its own is no end, and a code that says more than the words wins.
        (41, "Attempt 2 failed: 429. Retrying after 10320ms...", Reason.LOGIN, ""),
        (41, QUOTA, Reason.LOGIN, ""),
    ],
)
def test_the_code_comes_first_and_the_words_say_the_rest(code, said, reason, text):
    found = failure_of(code, said, 100.0, EXITS)
    assert found is not None
    assert (found.reason, found.text, found.at_s) == (reason, text, 100.0)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (0, QUOTA),
        (None, QUOTA),
        (1, ""),
        (1, "Traceback: x"),
        (1, "Attempt 2 failed: 429. Retrying after 9ms..."),
    ],
)
def test_where_nothing_tells_there_is_nothing(code, said):
    assert failure_of(code, said, 100.0, EXITS) is None
