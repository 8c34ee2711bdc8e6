"""The directory of events under watch: an event ends the pause between two looks.

Owns the watch and its failures.  Without it events are seen at the next look, a second later at most.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Final

import watchfiles

logger = logging.getLogger("palingenesis.hooks")

# A directory that is not there, or cannot be watched, is tried again after this time.
RETRY_S: Final = 10.0
# How long a notice is held back for others that come with it.  The watch wakes up once in each step, also
# while nothing comes: at 20 ms that alone is a third of a percent of a core, at 100 ms a tenth.
STEP_MS: Final = 100


async def notice_events(directory: str, noticed: asyncio.Event) -> None:
    """Set `noticed` whenever something changes in `directory`, without end."""
    told = ""
    while True:
        try:
            if await asyncio.to_thread(os.path.isdir, directory):
                await _watch(directory, noticed)
        # OSError and RuntimeError were seen; whatever a watch raises, the looks go on without it.
        except Exception as error:  # noqa: BLE001
            if str(error) != told:
                logger.warning("%s is not watched, and looked at each second: %s", directory, error)
            told = str(error)
        await asyncio.sleep(RETRY_S)


async def _watch(directory: str, noticed: asyncio.Event) -> None:
    noticed.set()
    watching = watchfiles.awatch(
        directory, watch_filter=None, step=STEP_MS, debounce=2 * STEP_MS, recursive=False
    )
    async for _ in watching:
        noticed.set()
        if not await asyncio.to_thread(os.path.isdir, directory):
            return
