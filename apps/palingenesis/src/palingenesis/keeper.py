"""The counters, the current session, paused or not: what changes them, and when.

Owns the state and its order of changes: one at a time, written first, seen afterwards.  So what
STATUS has shown survives a kill -9, and an OK to PAUSE or RESUME holds over a restart; where it
could not be kept, the answer is ERR and nothing has changed.  Counters go on in memory while the
disk is full, and are written when there is room again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import msgspec

from daemonry import Refused
from palingenesis import session_files
from palingenesis.path_text import shown
from palingenesis.settings import session_dir
from palingenesis.state_file import SavedState, StateFile
from palingenesis.watch import Watch

if TYPE_CHECKING:
    from daemonry import Run
    from palingenesis.session_files import Signatures
    from palingenesis.settings import Monitoring

logger = logging.getLogger("palingenesis.keeper")

# How often a state that could not be written is tried again.
RETRY_S: Final = 5.0
# A watch that failed goes on after this time, doubled up to the second with each failure, and reset
# when it has lasted that long.  It fails by a mistake of ours or where the system has no thread for it.
RESTART_WATCH_S: Final = 1.0
MAX_RESTART_WATCH_S: Final = 60.0


class SessionCounter:
    """Keeps count of the sessions in one directory.

    Args:
        file: where the state is kept between runs.
        config_path: the configuration file, named in errors.

    Attributes:
        state: the latest findings, which, but for a full disk, are in the file.
    """

    def __init__(self, file: StateFile, config_path: str) -> None:
        self.state = SavedState()
        self._file = file
        self._config_path = config_path
        self._changing = asyncio.Lock()
        self._unwritten = asyncio.Event()
        self._watch: Watch | None = None
        self._watches: asyncio.Queue[Watch] = asyncio.Queue()
        self._watch_failure = ""
        self._monitoring: Monitoring | None = None

    # --- the beginning --------------------------------------------------------------------------

    def restore(self) -> None:
        """Take up the state of the last run.

        Raises:
            UnsafePath: it is there and cannot be read.
        """
        self.state = self._file.read()

    async def begin(self, monitoring: Monitoring) -> None:
        """Find the current session and begin to watch; while paused, do neither.

        Raises:
            ConfigError: the session directory is under a home that is not known.
        """
        self._directory(monitoring)
        self._monitoring = monitoring
        if self.state.paused:
            return
        async with self._changing:
            await self._watch_elsewhere(monitoring)

    # --- work -----------------------------------------------------------------------------------

    async def watch(self, _: Run) -> None:
        """Count saves, from one watch to the next, without end: a watch that fails goes on later."""
        while True:
            watch = await self._watches.get()
            delay_s = RESTART_WATCH_S
            while not watch.ended:
                began_s = _now_s()
                try:
                    await self._count_saves(watch)
                except Exception as error:
                    if _now_s() - began_s >= MAX_RESTART_WATCH_S:
                        delay_s = RESTART_WATCH_S
                    self._watch_failure = f"the watch failed: {type(error).__name__}: {error}"
                    logger.exception("watching fails, and goes on in %g s", delay_s)
                    await watch.pause(delay_s)
                    delay_s = min(delay_s * 2, MAX_RESTART_WATCH_S)
            self._watch_failure = ""

    async def _count_saves(self, watch: Watch) -> None:
        async with aclosing(watch.saves()) as saves:
            async for saved in saves:
                await self._count(watch, saved)
                self._watch_failure = ""

    async def write_late(self, _: Run) -> None:
        """Write what could not be written, without end."""
        while True:
            await self._unwritten.wait()
            await asyncio.sleep(RETRY_S)
            async with self._changing:
                if self._unwritten.is_set():
                    await self._keep(self.state)

    async def _count(self, watch: Watch, saved: list[str]) -> None:
        async with self._changing:
            if watch.ended:  # paused or moved while the files were looked at
                return
            count = self.state.saves_count + len(saved)
            await self._keep(_with(self.state, saves_count=count, current_session=shown(saved[-1])))

    async def count_agents(self, saved: list[str], resumed: int) -> None:
        """Count changes of agents' own records, and sessions that went on by a run of ours."""
        async with self._changing:
            state = self.state
            changes: dict[str, Any] = {"total_resumes": state.total_resumes + resumed}
            if saved:
                changes |= {
                    "saves_count": state.saves_count + len(saved),
                    "current_session": shown(saved[-1]),
                }
            await self._keep(_with(state, **changes))

    # --- commands -------------------------------------------------------------------------------

    async def pause(self) -> None:
        """Stop watching, and stay so over a restart.

        Raises:
            Refused: that could not be written; monitoring goes on.
        """
        async with self._changing:
            await self._keep_or_refuse(_with(self.state, paused=True))
            self._end_watch()

    async def resume(self) -> None:
        """Watch again, from what the files are now: changes made while paused do not count.

        Raises:
            Refused: that could not be written; monitoring stays paused.
        """
        assert self._monitoring is not None
        directory = self._directory(self._monitoring)
        async with self._changing:
            known = await asyncio.to_thread(session_files.scan, directory)
            await self._keep_or_refuse(_with(self.state, paused=False))
            self._begin_watch(self._monitoring, known)

    async def reload(self, monitoring: Monitoring) -> None:
        """Go on with other settings: a new directory is watched at once.

        Raises:
            ConfigError: the session directory is under a home that is not known.
        """
        directory = self._directory(monitoring)
        async with self._changing:
            if self._watch is None or self._watch.ended or monitoring == self._monitoring:
                pass  # paused, they count from the next resume on
            elif self._watch.directory == directory:
                self._watch.tune(monitoring.debounce_ms, monitoring.poll_interval_secs)
            else:
                await self._watch_elsewhere(monitoring)
            self._monitoring = monitoring

    async def stop(self) -> None:
        """End the watch; write what could not be written before, if that is possible now."""
        async with self._changing:
            self._end_watch()
            if self._unwritten.is_set():
                await self._keep(self.state)

    def status(self, usual: Mapping[str, Any]) -> dict[str, Any]:
        """Return the original's five fields; while it ends, its pending work; the faults of its watch.

        Args:
            usual: the library's own fields.
        """
        state = self.state
        paused = usual.get("state") == "paused" or (usual.get("state") != "running" and state.paused)
        fields: dict[str, Any] = {
            "state": "paused" if paused else "monitoring",
            "uptime_secs": usual.get("uptime_secs", 0),
            "current_session": state.current_session,
            "saves_count": state.saves_count,
            "total_resumes": state.total_resumes,
        }
        if usual.get("waiting_for"):
            fields["waiting_for"] = usual["waiting_for"]
        if trouble := self._trouble():
            fields["watch_trouble"] = shown(trouble)
        return fields

    def _trouble(self) -> str:
        if self._watch is None or self._watch.ended:
            return ""
        return self._watch_failure or self._watch.trouble

    # --- watches --------------------------------------------------------------------------------

    def _directory(self, monitoring: Monitoring) -> str:
        return session_dir(monitoring, self._config_path)

    async def _watch_elsewhere(self, monitoring: Monitoring) -> None:
        directory = self._directory(monitoring)
        known = await asyncio.to_thread(session_files.scan, directory)
        current = await asyncio.to_thread(session_files.newest, known)
        if current is not None:
            current = shown(current)
        elif (before := self.state.current_session) and before.startswith(shown(directory.rstrip("/")) + "/"):
            current = before
        if current != self.state.current_session:
            await self._keep(_with(self.state, current_session=current))
        self._begin_watch(monitoring, known)

    def _begin_watch(self, monitoring: Monitoring, known: Signatures) -> None:
        self._end_watch()
        directory = self._directory(monitoring)
        self._watch = Watch(directory, monitoring.debounce_ms, monitoring.poll_interval_secs, known)
        self._watches.put_nowait(self._watch)

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.end()

    # --- keeping --------------------------------------------------------------------------------

    async def _keep_or_refuse(self, state: SavedState) -> None:
        try:
            await self._write(state)
        except OSError as error:
            reason = error.strerror or str(error)
            raise Refused(f"{self._file.path} cannot be written: {reason}; nothing was changed") from error
        self.state = state

    async def _keep(self, state: SavedState) -> None:
        """Make `state` the state, and write it if that is possible."""
        try:
            await self._write(state)
        except OSError as error:
            if not self._unwritten.is_set():
                reason = error.strerror or str(error)
                logger.error(
                    "%s cannot be written (%s): kept in memory, tried again", self._file.path, reason
                )
            self._unwritten.set()
        self.state = state

    async def _write(self, state: SavedState) -> None:
        try:
            await asyncio.to_thread(self._file.write, state)
        except asyncio.CancelledError:
            self._unwritten.set()  # its thread goes on, and may write what never became the state
            raise
        if self._unwritten.is_set():
            logger.info("%s is written again", self._file.path)
            self._unwritten.clear()


def _with(state: SavedState, **changes: Any) -> SavedState:
    return msgspec.structs.replace(state, **changes)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
