"""How long a list, and a start that failed, are believed."""

from __future__ import annotations

import math

import pytest

from mcp_cli.pool.freshness import MAX_TTL_S, REMEMBERED_S, SLOW_START_S, Failure, good_until


@pytest.mark.parametrize(
    ("ttl_ms", "told", "until"),
    [
        (None, True, math.inf),
        (5000, True, math.inf),
        (None, False, 100.0),
        (0, False, 100.0),
        (-1, False, 100.0),
        (5000, False, 105.0),
        (1e12, False, 100.0 + MAX_TTL_S),
    ],
)
def test_a_list_is_shown_for_as_long_as_its_server_says(
    ttl_ms: float | None, told: bool, until: float
) -> None:
    assert good_until(100.0, ttl_ms, told=told) == until


def test_a_start_that_took_long_to_fail_is_remembered_for_a_moment() -> None:
    failure, error = Failure(), ValueError()
    failure.keep(error, SLOW_START_S, 50.0)
    assert failure.still(51.0) == (error, 1.0)
    assert failure.still(50.0 + REMEMBERED_S) is None
    failure.keep(error, SLOW_START_S / 2, 50.0)
    assert failure.still(50.0) is None
    failure.keep(error, SLOW_START_S, 50.0)
    failure.forget()
    assert failure.still(50.0) is None
