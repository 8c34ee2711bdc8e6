"""A running daemon's life: its phase, and how each command changes it.

Owns the state that commands read and change, from the loop's thread and, while the loop is
stuck, from the guardian's.  The table of phases is `lifecycle`'s, the configuration `live_config`'s;
`runner` decides when stages start and end.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from daemonry import clock, strict_json
from daemonry.daemon.lifecycle import Happened, Phase, step
from daemonry.errors import CallFailed, Draining, Paused, Refused
from daemonry.limits import HOOK_TIMEOUT_S
from daemonry.process import homes
from daemonry.runtime.busy import Jobs
from daemonry.runtime.live_config import LiveConfig
from daemonry.wire import text

if TYPE_CHECKING:
    from daemonry.daemon.definition import Daemon
    from daemonry.runtime.fingerprint import Settings

logger: logging.Logger = logging.getLogger("daemonry.daemon")

# Asked for each call: to look a member up in its enum takes longer than all else there.
_RUNNING = Phase.RUNNING


class Life:
    """The state behind the control plane, for one run of a daemon.

    Args:
        daemon: its definition, with its hooks.
        config: its configuration, or None.
        config_path: where that is read from, fixed for the whole run.
        settings: that file as it was before it was read.

    Attributes:
        configuration: the configuration in force, and reading it again.
        daemon: the definition, with its hooks.
        snapshot: the last STATUS.
        running: set while work may go on; for threads.
        stopping: set once a stop was asked; for threads.
        loop: the loop that it lives on, once attached.
        failed: what made the daemon end, if that was not asked for.
        jobs: the jobs in hand other than calls.
        changed: called, in whatever thread, after each change of phase.
        when_asked: called once, on the loop, as the next call comes.
        more_fields: functions that give further fields of STATUS.
        handed_over: whether another process is the daemon now, and this one serves what it accepted.
        ended_by: what a home should know of the end: `homes.IDLE`, `homes.BY_COMMAND`, or "".
    """

    def __init__(
        self, daemon: Daemon, config: Any, config_path: str, settings: Settings | None = None
    ) -> None:
        self.configuration: LiveConfig = LiveConfig(daemon, config, config_path, settings)
        self.running: threading.Event = threading.Event()
        self.stopping: threading.Event = threading.Event()
        self.failed: BaseException | None = None
        self.handed_over = False
        self.ended_by: str = ""
        self.jobs: Jobs = Jobs()
        self.changed: list[Callable[[], None]] = []
        self.when_asked: list[Callable[[], None]] = []
        self.more_fields: list[Callable[[], Mapping[str, Any]]] = []
        self.held_up_by: Callable[[], list[str]] = list
        self.daemon = daemon
        self._phase = Phase.STARTING
        self._mutex = threading.RLock()
        self._started_s = clock.monotonic()
        self.loop: asyncio.AbstractEventLoop | None = None
        self._changes: list[asyncio.Future[None]] = []
        self._running = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self.snapshot: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<Life of {self.daemon.name}: {self._phase.value}>"

    @property
    def config(self) -> Any:
        """The configuration in force, or None."""
        return self.configuration.value

    # --- phases ---------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """Where the daemon is in its life."""
        return self._phase

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell waiters on `loop` about changes of phase from now on."""
        self.loop = loop
        self._tell()

    def happened(self, event: Happened) -> bool:
        """Enter the phase that follows `event`; False where the table has none."""
        with self._mutex:
            following = step(self._phase, event)
            if following is None:
                return False
            changed, self._phase = following is not self._phase, following
        if changed:
            logger.info("%s (%s)", following.value, event.value)
            self._tell()
        return True

    def _tell(self) -> None:
        if self._phase is Phase.RUNNING:
            self.running.set()
        else:
            self.running.clear()
        if self._phase in (Phase.DRAINING, Phase.STOPPED):
            self.stopping.set()
            self.running.set()  # waiting threads wake up and see `stopping`
        if self.loop is not None:
            try:
                self.loop.call_soon_threadsafe(self._tell_loop)
            except RuntimeError:
                pass  # the loop is closed: nobody waits on it any more
        for tell in self.changed:
            tell()

    def _tell_loop(self) -> None:
        changes, self._changes = self._changes, []
        for changed in changes:
            if not changed.done():
                changed.set_result(None)
        if self._phase is Phase.RUNNING:
            self._running.set()
        else:
            self._running.clear()
        if self._phase in (Phase.DRAINING, Phase.STOPPED):
            self._stop_asked.set()

    async def wait_running(self) -> None:
        """Return when the daemon is neither starting nor paused."""
        await self._running.wait()

    async def wait_changed(self) -> None:
        """Return when the phase is another one than now."""
        changed = asyncio.get_running_loop().create_future()
        self._changes.append(changed)
        await changed

    def closed_to_work(self) -> CallFailed | None:
        """Return why calls are not taken now; None while they are.  Asked before each of the program's."""
        if self.when_asked:
            tell, self.when_asked = self.when_asked, []
            for one in tell:
                one()
        if self._phase is _RUNNING or self.handed_over:
            return None
        if self._phase is Phase.PAUSED:
            return Paused("org.daemonry.Control.Paused")
        if self._phase in (Phase.DRAINING, Phase.STOPPED):
            return Draining("org.daemonry.Control.Draining")
        return None

    async def wait_stop_asked(self) -> None:
        """Return when the daemon is to end."""
        await self._stop_asked.wait()

    # --- commands, on the loop ------------------------------------------------------------------

    def get_status(self) -> Mapping[str, Any]:
        """Return the fields of STATUS and keep them for when the loop is stuck."""
        self.snapshot = self._whole(self.own_fields())
        return self.snapshot

    def pause(self) -> None | Awaitable[None]:
        """Run the hook, then pause.

        Raises:
            Refused: it is paused, or not in a state to be.
        """
        self.check_pausable()
        return self._after_hook(self.daemon.pause_hook, Happened.PAUSE_ASKED)

    def resume(self) -> None | Awaitable[None]:
        """Run the hook, then resume.

        Raises:
            Refused: it is not paused.
        """
        self.check_resumable()
        return self._after_hook(self.daemon.resume_hook, Happened.RESUME_ASKED)

    def reload_config(self) -> str | None | Awaitable[str | None]:
        """Read the configuration aside, ask the hook, and only then let it count.

        Returns:
            Which changed fields need a restart, if any.

        Raises:
            ConfigError: the file is not good; the configuration in force stays.
            Whatever the hook raises: the same.
        """
        try:
            new, restart_needed = self.configuration.read()
            hook = self.daemon.reload_hook
            result = hook(new) if hook is not None else None
        except Exception as error:
            self.configuration.refuse(error)
            raise
        if inspect.isawaitable(result):
            return self._reload_after(result, new, restart_needed)
        return self.configuration.put_in_force(new, restart_needed)

    async def _reload_after(self, hook: Awaitable[None], new: Any, restart_needed: list[str]) -> str | None:
        try:
            await _in_time(hook)
        except Exception as error:
            self.configuration.refuse(error)
            raise
        return self.configuration.put_in_force(new, restart_needed)

    def stop(self) -> None:
        """Ask the daemon to end, by command; returns at once."""
        with self._mutex:
            if not self.stopping.is_set():
                self.ended_by = homes.BY_COMMAND
            self.happened(Happened.STOP_ASKED)

    def end_idle(self) -> bool:
        """End because nobody needs the daemon; whether that is possible now."""
        with self._mutex:
            self.ended_by = homes.IDLE
            if self.happened(Happened.IDLE):
                return True
            self.ended_by = ""
            return False

    def version(self) -> str:
        """Return the program's version."""
        return self.daemon.version

    def get_stacks(self) -> Mapping[str, Any]:
        """Return the stacks of this process's threads and of the loop's tasks; from any thread."""
        from daemonry.runtime.debugging import stacks

        return stacks.of_process(self.loop)

    def check_pausable(self) -> None:
        """Raise Refused unless the daemon can pause now."""
        if self._phase is Phase.PAUSED:
            raise Refused(text.ALREADY_PAUSED)
        if step(self._phase, Happened.PAUSE_ASKED) is None or self._phase is Phase.STARTING:
            raise Refused(f"Daemon is {self._phase.value}")

    def check_resumable(self) -> None:
        """Raise Refused unless the daemon is paused."""
        if self._phase is not Phase.PAUSED:
            raise Refused(text.NOT_PAUSED)

    def _after_hook(
        self, hook: Callable[[], Awaitable[None] | None] | None, event: Happened
    ) -> None | Awaitable[None]:
        result = hook() if hook is not None else None
        if inspect.isawaitable(result):
            return self._after_awaited(result, event)
        self.enter(event)
        return None

    async def _after_awaited(self, awaited: Awaitable[None], event: Happened) -> None:
        await _in_time(awaited)
        self.enter(event)

    def enter(self, event: Happened) -> None:
        """Enter the phase that follows `event`, or raise Refused."""
        if self.happened(event):
            return
        if event is Happened.PAUSE_ASKED and self._phase is Phase.PAUSED:
            raise Refused(text.ALREADY_PAUSED)  # another client was faster while the hook ran
        if event is Happened.RESUME_ASKED and self._phase is Phase.RUNNING:
            raise Refused(text.NOT_PAUSED)
        raise Refused(f"Daemon is {self._phase.value}")

    # --- status ---------------------------------------------------------------------------------

    def own_fields(self) -> dict[str, Any]:
        """Return the fields that every daemon's STATUS has."""
        fields: dict[str, Any] = {
            "state": self._phase.value,
            "uptime_secs": int(clock.monotonic() - self._started_s),
            "pid": os.getpid(),
            "version": self.daemon.version,
        }
        fields.update(self.configuration.fields())
        for more in self.more_fields:
            fields.update(more())
        if self._phase is Phase.DRAINING:
            fields["waiting_for"] = self.held_up_by()
        return fields

    def _whole(self, fields: dict[str, Any]) -> dict[str, Any]:
        daemon = self.daemon
        try:
            if daemon.whole_status_hook is not None:
                return _sendable(daemon.whole_status_hook(fields))
            if daemon.status_hook is not None:
                fields.update(_sendable(daemon.status_hook()))
        except Exception as error:
            logger.exception("the status hook failed")
            fields["status_error"] = str(error) or type(error).__name__
        return fields


def _sendable(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a status hook's fields if a reply can carry them.

    Checked here, where the sender and STATUS can name the reason; a reply that turns out to be unsendable
    while it is sent would leave its client waiting.
    """
    strict_json.encode(fields)
    return dict(fields)


async def _in_time(awaited: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(HOOK_TIMEOUT_S):
            await awaited
    except TimeoutError:
        raise Refused(f"the daemon's hook took longer than {HOOK_TIMEOUT_S:g} s") from None
