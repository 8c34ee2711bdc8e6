"""One directory under watch: which session files were saved, until the watch is ended.

Owns what the files held when they were last looked at.  The system's notices say only where to
look; a save is a file whose signature is no longer the known one.  So nothing counts twice,
however many notices one save makes, and nothing that happens between two looks is lost: each time
that notices may have been missed, everything is looked at.  The notices are watchfiles', which gives
up at the first file name that is not UTF-8: then everything is looked at by the clock, and the notices
are asked for again after a while.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import OrderedDict
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import watchfiles

from palingenesis import session_files
from palingenesis.path_text import shown
from palingenesis.sessions import is_searched, is_session_name

if TYPE_CHECKING:
    from palingenesis.session_files import Signature, Signatures

logger = logging.getLogger("palingenesis.watch")

# How often a missing directory is looked for, and a present one for having been replaced.
DIRECTORY_CHECK_S: Final = 1.0
# How often everything is looked at where the system gives no notices, and nobody said otherwise.
FALLBACK_POLL_S: Final = 2.0
# Notices that failed are asked for again after this time; it doubles up to the second with each failure,
# and is reset when notices have come for that long.  Making a watch costs a walk of the directory.
RETRY_NOTICES_S: Final = 1.0
MAX_RETRY_NOTICES_S: Final = 60.0
# A file that never stops changing counts this often, in debounce times.
LONGEST_DEBOUNCE: Final = 16
# Troubles that are remembered, so as to be logged once.
MAX_TROUBLES: Final = 1_000

EVERYTHING: Final = None


class Watch:
    """A watch over `directory`, from its making until `end`.

    Args:
        directory: an absolute path; it need not exist yet.
        debounce_ms: how long a file must be left alone before its change counts.
        poll_interval_s: how often to look at all files as well; 0 for never.
        known: what the files hold now: changes from there on count.

    Attributes:
        directory: as given.
        ended: whether `end` was called.
        trouble: why files are looked at by the clock and not when the system says so; "" while it does.
    """

    def __init__(self, directory: str, debounce_ms: int, poll_interval_s: float, known: Signatures) -> None:
        self.directory = directory
        self.ended = False
        self._debounce_ms = debounce_ms
        self._poll_interval_s = poll_interval_s
        self._known = known
        self._interrupted = asyncio.Event()
        self._troubles: OrderedDict[str, str] = OrderedDict()
        self._missing_told = False
        self.trouble = ""
        self._trouble_told = ""
        self._failures = 0

    def end(self) -> None:
        """End `saves` soon; the saves that it has yielded by then may be stale."""
        self.ended = True
        self._interrupted.set()

    def tune(self, debounce_ms: int, poll_interval_s: float) -> None:
        """Go on with other times; no change is lost on the way."""
        self._debounce_ms = debounce_ms
        self._poll_interval_s = poll_interval_s
        self._interrupted.set()

    async def saves(self) -> AsyncGenerator[list[str]]:
        """Yield the session files that were saved, each time that some were, the last one at the end."""
        async with aclosing(self._notices()) as notices:
            async for places in notices:
                saved = await asyncio.to_thread(self._look, places)
                if saved and not self.ended:
                    yield saved

    # --- notices: where to look -----------------------------------------------------------------

    async def _notices(self) -> AsyncGenerator[Collection[str] | None]:
        """Yield paths to look at, or `EVERYTHING`, as the system or the clock says so."""
        while not self.ended:
            self._interrupted.clear()
            identity = _identity(self.directory)
            if identity is None:
                await self._wait_for_directory()
                continue
            self._missing_told = False
            began_s = _now_s()
            failure: Exception | None = None
            try:
                async with aclosing(self._from_system(identity)) as notices:
                    async for places in notices:
                        yield places
            except Exception as error:  # noqa: BLE001  # no failure of the notices hides the files
                failure = error
            if failure is not None and _identity(self.directory) == identity:
                delay_s = self._notices_failed(failure, _now_s() - began_s)
                async with aclosing(self._from_clock(identity, delay_s)) as notices:
                    async for places in notices:
                        yield places

    def _notices_failed(self, failure: Exception, lasted_s: float) -> float:
        """Say that there are no notices, once for each reason, and return when to ask for them again."""
        if lasted_s >= MAX_RETRY_NOTICES_S:
            self._failures, self._trouble_told = 0, ""
        self._failures += 1
        self.trouble = f"no notices about {shown(self.directory)} ({_reason(failure)})"
        if self.trouble != self._trouble_told:
            logger.warning(
                "%s: looking every %g s instead, and asking for notices again from time to time",
                self.trouble,
                self._poll_interval_s or FALLBACK_POLL_S,
            )
            self._trouble_told = self.trouble
        return min(RETRY_NOTICES_S * 2.0 ** min(self._failures - 1, 10), MAX_RETRY_NOTICES_S)

    async def _wait_for_directory(self) -> None:
        if not self._missing_told:
            logger.warning("the session directory %s is not there: waiting for it", shown(self.directory))
            self._missing_told = True
        await self.pause(DIRECTORY_CHECK_S)

    async def _from_system(self, identity: tuple[int, int]) -> AsyncGenerator[Collection[str] | None]:
        noticed = watchfiles.awatch(
            self.directory,
            watch_filter=None,
            step=self._debounce_ms,
            debounce=self._debounce_ms * LONGEST_DEBOUNCE,
            stop_event=self._interrupted,
            rust_timeout=int(DIRECTORY_CHECK_S * 1000),
            yield_on_timeout=True,
            ignore_permission_denied=True,
        )
        # The first turn shows that notices are collected now: what changed before is looked for.
        look_at_all_s = 0.0
        async with aclosing(noticed):
            async for changes in noticed:
                now_s = asyncio.get_running_loop().time()
                if self.trouble or not look_at_all_s:
                    if not self._trouble_told:
                        logger.info("watching %s", shown(self.directory))
                    self.trouble = ""
                if now_s >= look_at_all_s:
                    look_at_all_s = now_s + (self._poll_interval_s or float("inf"))
                    yield EVERYTHING
                elif changes:
                    yield {path for _, path in changes}
                if _identity(self.directory) != identity:
                    return

    async def _from_clock(self, identity: tuple[int, int], for_s: float) -> AsyncGenerator[None]:
        until_s = _now_s() + for_s
        while not self._interrupted.is_set() and _identity(self.directory) == identity:
            yield EVERYTHING
            left_s = until_s - _now_s()
            if left_s <= 0:
                return
            await self.pause(min(left_s, self._poll_interval_s or FALLBACK_POLL_S))

    async def pause(self, delay_s: float) -> None:
        """Return after `delay_s`, or at once when the watch is ended or tuned."""
        # Not `wait_for`: before Python 3.12 it forgets a cancellation that comes together with the event.
        try:
            async with asyncio.timeout(delay_s):
                await self._interrupted.wait()
        except TimeoutError:
            pass

    # --- looks, in a thread -----------------------------------------------------------------------

    def _look(self, places: Collection[str] | None) -> list[str]:
        before = self._known
        if places is EVERYTHING:
            now = session_files.scan(self.directory)
            self._known = now.copy()
        else:
            now = self._at(places)
            self._known = before | now
        return [
            path for path in session_files.changed(before, now) if self._is_saved(path, before, now[path])
        ]

    def _is_saved(self, path: str, before: Signatures, looked_at: Signature) -> bool:
        is_session = self._is_session(path)
        if session_files.signature(path) == looked_at:
            return is_session
        # It changes while it is read, as a file does that is made empty and then filled.  To count it now
        # and again for what it becomes would be one save too many: the next look counts it.
        if path in before:
            self._known[path] = before[path]
        else:
            self._known.pop(path, None)
        return False

    def _at(self, places: Collection[str]) -> Signatures:
        found: Signatures = {}
        for path in places:
            name = os.path.basename(path)
            if not session_files.is_within(path, self.directory):
                continue
            if is_session_name(name) and (known := session_files.signature(path)) is not None:
                found[path] = known
            elif is_searched(name) and os.path.isdir(path):
                # Files made in a new directory before its notices were asked for have none.
                found.update(session_files.scan(path))
            else:
                self._known.pop(path, None)
        return found

    def _is_session(self, path: str) -> bool:
        verdict = session_files.judge(path)
        if verdict.trouble:
            self._tell_trouble(path, verdict.trouble)
        else:
            self._troubles.pop(path, None)
        return verdict.is_session

    def _tell_trouble(self, path: str, trouble: str) -> None:
        if self._troubles.get(path) == trouble:
            return
        logger.warning("%s: %s", shown(path), trouble)
        self._troubles[path] = trouble
        if len(self._troubles) > MAX_TROUBLES:
            self._troubles.popitem(last=False)


def _identity(directory: str) -> tuple[int, int] | None:
    """Return what tells a directory from one that took its name; None where there is none."""
    try:
        found = os.stat(directory)
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino) if os.path.isdir(directory) else None


def _reason(failure: BaseException) -> str:
    """Return the one line of a failure that says most: a group of failures says nothing itself."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    lines = str(failure).splitlines() or [type(failure).__name__]
    return shown(lines[0])


def _now_s() -> float:
    return asyncio.get_running_loop().time()
