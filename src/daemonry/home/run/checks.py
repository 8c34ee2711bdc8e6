"""The checks of a service that is ready: alive, in use, and within its limits.

Owns when to look, and how many failures are too many.  Each check returns once the run has to end; ending
it is `service_run`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from daemonry.home.run.liveness import Look
from daemonry.home.run.resource_use import Limits
from daemonry.home.service import Alive
from daemonry.limits import LIMITS_LOOK_S


async def until_not_alive(
    alive: Alive, look: Look, well: Callable[[], None], ill: Callable[[str], None]
) -> str:
    """Look until as many looks in a row have failed as the service may miss, and return the reason.

    Args:
        alive: how often to look, and how many looks may fail.
        look: one look.
        well: called after each look that succeeds.
        ill: called with the reason after each one that fails, but for the last.
    """
    failed = 0
    while True:
        reason = await look.after(alive.every_s, alive.way.timeout_s)
        failed = failed + 1 if reason else 0
        if failed >= alive.failures:
            return f"not alive: {reason}"
        if reason:
            ill(f"not alive ({failed} of {alive.failures}): {reason}")
        else:
            well()


async def until_idle(timeout_s: float, connections: Callable[[], int]) -> None:
    """Return once there have been no connections for `timeout_s` seconds."""
    quiet_since_s = time.monotonic()
    while time.monotonic() - quiet_since_s < timeout_s:
        await asyncio.sleep(timeout_s / 4)
        if connections():
            quiet_since_s = time.monotonic()


async def until_over_limits(limits: Limits) -> str:
    """Return once a service takes more memory or processor time than it may, with the reason."""
    reason = ""
    while not reason:
        await asyncio.sleep(LIMITS_LOOK_S)
        reason = limits.exceeded()
    return reason
