"""Whether a deadline passed because a client took its time, or because the loop was stuck.

Owns that question.  A loop that is stuck reads nothing and sends nothing; when it is back, its timers come
before what has arrived, and a client that was quick would be taken for one that was not.  Code that judges a
client by a timer asks here first, and starts the time again where the timer came late.
"""

from __future__ import annotations

import asyncio
from typing import Final

# Timers of a loop at work come within milliseconds.
LATE_S: Final = 0.1


def is_late(loop: asyncio.AbstractEventLoop, timer: asyncio.TimerHandle) -> bool:
    """Say whether `timer`, whose callback runs now, should have come a while ago."""
    return loop.time() - timer.when() > LATE_S
