"""Takes notices from the outbox to their receivers.

Owns the times: a notice goes at once, or at the end of the quiet hours, or with the digest that it is part
of; one that could not be delivered is tried again 2 s later, then after twice as long, for a day.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import msgspec

from palingenesis.clock_hours import Hours
from palingenesis.notices.outbox import Notice, NoticeOutbox
from palingenesis.notices.words import MAX_CHARS

logger = logging.getLogger("palingenesis.notices")

LOOK_EVERY_S: Final = 1.0
# With the first wait for a new try that is ten seconds.
SEND_TIMEOUT_S: Final = 8.0
RETRY_S: Final = 2.0
LONGEST_RETRY_S: Final = 600.0
GIVE_UP_S: Final = 86400.0
MAX_LINES: Final = 20


class Receivers(msgspec.Struct, frozen=True):
    """The receivers, and when they get notices.

    Attributes:
        urls: addresses as apprise has them.
        quiet: hours without notices.
        digest_s: notices within so long are one message; 0 for one message each.
    """

    urls: tuple[str, ...] = ()
    quiet: Hours = Hours()
    digest_s: float = 0.0


def due(
    notices: Sequence[tuple[str, Notice]], receivers: Receivers, now: datetime
) -> list[tuple[str, Notice]]:
    """Return which of the notices that wait are to be delivered now, in one message."""
    now_s = now.timestamp()
    if not notices or not receivers.urls or receivers.quiet.end_after(now) is not None:
        return []
    # Later than that no try waits: the clock was set back since.
    ready = [one for one in notices if one[1].due_s <= now_s or one[1].due_s > now_s + 2 * LONGEST_RETRY_S]
    oldest_s = min((one.at_s for _, one in ready), default=now_s)
    if not ready or oldest_s <= now_s < oldest_s + receivers.digest_s:
        return []
    return ready[:MAX_LINES] if receivers.digest_s or len(ready) > 3 else ready[:1]


async def deliver(outbox: NoticeOutbox, receivers: Callable[[], Receivers]) -> None:
    """Deliver what waits, without end, whatever goes wrong: a notice that fails ends no daemon."""
    told = ""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            await _deliver_due(outbox, receivers())
        except Exception as error:  # noqa: BLE001
            failure = f"{type(error).__name__}: {error}"
            if failure != told:
                logger.error("notices cannot be delivered now: %s", failure)
            told = failure


async def _deliver_due(outbox: NoticeOutbox, receivers: Receivers) -> None:
    if receivers.urls:
        waiting = await asyncio.to_thread(outbox.waiting)
        if group := due(waiting, receivers, datetime.now().astimezone()):
            await _deliver_group(outbox, receivers.urls, group)
    await asyncio.to_thread(outbox.sweep)


async def _deliver_group(outbox: NoticeOutbox, urls: Sequence[str], group: list[tuple[str, Notice]]) -> None:
    text = "\n".join(one.text[:MAX_CHARS] for _, one in group)
    title = "palingenesis" if len(group) == 1 else f"palingenesis: {len(group)} sessions"
    failure = await send(urls, title, text)
    for path, notice in group:
        if not failure:
            await asyncio.to_thread(outbox.sent, path)
            continue
        tries = notice.tries + 1
        if time.time() - notice.at_s > GIVE_UP_S:
            logger.error("a notice is given up after a day: %s", notice.text)
            await asyncio.to_thread(outbox.sent, path)
            continue
        wait_s = min(RETRY_S * 2 ** min(tries - 1, 20), LONGEST_RETRY_S)
        again = msgspec.structs.replace(notice, tries=tries, due_s=time.time() + wait_s)
        await asyncio.to_thread(outbox.later, path, again)
        if tries == 1:
            logger.warning("a notice cannot be delivered (%s), and is tried again", failure)


async def send(urls: Sequence[str], title: str, text: str) -> str:
    """Send one message; return "" when it was taken, else why not."""
    words = [sys.executable, "-m", "palingenesis.notices.send"]
    pipe = asyncio.subprocess.PIPE
    try:
        child = await asyncio.create_subprocess_exec(
            *words, stdin=pipe, stdout=asyncio.subprocess.DEVNULL, stderr=pipe
        )
    except OSError as error:
        return f"no process for it: {error.strerror}"
    given = json.dumps({"urls": list(urls), "title": title, "text": text}).encode()
    try:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            _, said = await child.communicate(given)
    except TimeoutError:
        return f"no answer within {SEND_TIMEOUT_S:g} s"
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    if child.returncode == 0:
        return ""
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:200] if lines else f"exit code {child.returncode}"
