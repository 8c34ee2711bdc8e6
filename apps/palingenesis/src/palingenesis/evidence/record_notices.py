"""The system's notices of changes in the directories of records: they tell `attention` where to look.

Owns the watch and its failures, which are no more than a slower look: names that are not UTF-8, file systems
without notices, more directories than the system watches.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import watchfiles

from palingenesis.evidence.attention import Attention

logger = logging.getLogger("palingenesis.evidence")

# A watch that failed is made again after this time, doubled up to the second with each failure.
RETRY_S: Final = 5.0
MAX_RETRY_S: Final = 300.0
# Directories that are watched at most; beyond that all are looked at by the clock.
MAX_DIRECTORIES: Final = 4_000
# How long notices are collected, and how often it is looked whether the directories are still the same.
STEP_MS: Final = 200
CHECK_MS: Final = 2_000


async def notice_records(attention: Callable[[], Attention | None]) -> None:
    """Give `attention()` the system's notices, without end."""
    delay_s = RETRY_S
    while True:
        one = attention()
        directories = [] if one is None else one.directories()
        if one is None or not 0 < len(directories) <= MAX_DIRECTORIES:
            await asyncio.sleep(RETRY_S)
            continue
        try:
            if await _watch(one, directories, attention):
                delay_s = RETRY_S
        except Exception as error:  # noqa: BLE001  # watchfiles raises groups of anything; looks go on
            logger.debug("records are looked at by the clock, for %g s: %s", delay_s, error)
            one.has_notices = False
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, MAX_RETRY_S)
        finally:
            one.has_notices = False


async def _watch(one: Attention, directories: list[str], attention: Callable[[], Attention | None]) -> bool:
    """Take notices until the directories are others; whether any time was watched."""
    watching = watchfiles.awatch(
        *directories, watch_filter=None, step=STEP_MS, debounce=2 * STEP_MS, rust_timeout=CHECK_MS,
        yield_on_timeout=True, recursive=False,
    )  # fmt: skip
    async for changes in watching:
        for _, path in changes:
            one.notice(path)
        if attention() is not one or one.directories() != directories:
            break
        if (
            not one.has_notices
        ):  # the watch is there since before this; what changed before that is looked for
            one.look_at_everything()
            one.has_notices = True
    return True
