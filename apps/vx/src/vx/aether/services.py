"""cass and rhea: started by aether, watched, started again when they end, and ended with it.

Owns the two processes.  They end with aether by daemonry's lifeline, however aether ends.  One that a
variable names, and that answers already, is used as it is and not owned.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Final

from daemonry import Endpoint, Instance, Owned, errors, open_regular, spawn_owned
from vx import home
from vx.aether.interface import ServiceDied, ServiceState

logger = logging.getLogger("aether")

# Python and its imports, with a machine's all cores busy compiling, or in an emulator that is twenty times
# slower: one that is given up is killed, so that on such a machine no later try would get further.
READY_TIMEOUT_S: Final = 100.0
# One of an aether that was killed ends within a second; until then its life lock is held.
VACANCY_TIMEOUT_S: Final = 5.0
# Between a service's end and its next start; doubled with each end that follows within a minute.
RESTART_FIRST_S: Final = 0.05
RESTART_MAX_S: Final = 5.0
RESTART_CALM_S: Final = 60.0
# Somebody else's process cannot be waited for.
_ELSEWHERE_LOOK_S: Final = 1.0
_LOOK_FIRST_S: Final = 0.005
_LOOK_MAX_S: Final = 0.1
# One that ends by itself so often before it is ready has a reason that waiting does not change; its
# starts go on meanwhile, for somebody may change it.
REFUSALS_MOST: Final = 3
# The last line of its output is the reason.
_OUTPUT_TAIL_BYTES: Final = 4096
# A lost connection is seen before the process has been waited for.
_END_SEEN_WITHIN_S: Final = 2.0


class OwnedService:
    """One service.

    Args:
        name: `cass` or `rhea`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.endpoint: Endpoint = home.endpoint(name)
        self.log_path = home.log_path(name)
        self.restarts = 0
        self.last_end = ""
        self._state = "starting"
        self._owned: Owned | None = None
        self._known = asyncio.Event()  # that it is ready, or refuses to be
        self._refusals = 0
        self._waiting = asyncio.Event()
        self._ends = 0
        self._failed = ""

    def state(self) -> ServiceState:
        """Return how it is."""
        pid = self._owned.pid if self._owned is not None else 0
        return ServiceState(
            self.name, self._state, pid, str(self.endpoint), self.log_path, self.restarts, self.last_end
        )

    async def ready_or_waiting(self) -> None:
        """Return when it answers, or waits for another's end: one that takes over must not wait for that.

        The aether that is replaced ends, and its services with it, only when this one is ready.

        Raises:
            ServiceDied: as `ready`.
        """
        ready = asyncio.ensure_future(self.ready())
        waiting = asyncio.ensure_future(self._waiting.wait())
        try:
            await asyncio.wait((ready, waiting), return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                ready.result()
        finally:
            ready.cancel()
            waiting.cancel()

    async def ready(self) -> None:
        """Return when it answers.

        Raises:
            ServiceDied: it does not within `READY_TIMEOUT_S`, or ended by itself again and again.
        """
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await self._known.wait()
        except TimeoutError:
            reason = self._failed or self.last_end or f"it is not ready after {READY_TIMEOUT_S:g} s"
            raise self.died(reason) from None
        if self._refusals >= REFUSALS_MOST:
            raise self.died(self.last_end)

    @property
    def ends(self) -> int:
        """How often it has ended so far; a caller compares it with a later one."""
        return self._ends

    async def lost(self, ends_before: int, reason: str) -> ServiceDied:
        """Return the error for a call that was lost, with how the service ended.

        Args:
            ends_before: what `ends` was when the call began.
            reason: what the call says, where nothing better is known.
        """
        try:
            async with asyncio.timeout(_END_SEEN_WITHIN_S):
                while self._ends == ends_before and self._owned is not None:  # noqa: ASYNC110  # 2 s, and rare
                    await asyncio.sleep(_LOOK_FIRST_S)
        except TimeoutError:
            return self.died(reason)
        return self.died(self.last_end or reason)

    def died(self, reason: str) -> ServiceDied:
        """Return the error that names it and its log."""
        return ServiceDied(service=self.name, reason=reason, log=self.log_path)

    # --- its life ---------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Start it, and again whenever it ends, until cancelled; then end it."""
        delay_s = RESTART_FIRST_S
        try:
            while True:
                started_s = time.monotonic()
                try:
                    await self._live()
                except (OSError, errors.DaemonryError) as error:
                    self._failed = str(error)
                    logger.error("%s: %s", self.name, error)
                if self._refusals < REFUSALS_MOST:
                    self._known.clear()
                self._state = "ended"
                if time.monotonic() - started_s > RESTART_CALM_S:
                    delay_s = RESTART_FIRST_S
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, RESTART_MAX_S)
                self.restarts += 1
        finally:
            await asyncio.to_thread(self._end)

    async def _live(self) -> None:
        self._state = "starting"
        instance = Instance(home.place(self.name))
        if await self._is_elsewhere(instance):
            await self._watch_elsewhere(instance)
            return
        owned = self._owned = await asyncio.to_thread(self._spawn)
        ended = asyncio.ensure_future(owned.wait_ended())
        was_ready = False
        try:
            if await self._await_answer(instance, ended):
                was_ready = True
                self._state = "running"
                self._failed = ""
                self._refusals = 0
                self._known.set()
                logger.info("%s: ready at %s (pid %d)", self.name, self.endpoint, owned.pid)
            code = await ended
        finally:
            ended.cancel()
        self.last_end = f"pid {owned.pid} {_how_it_ended(code)}"
        if code > 0 and not was_ready:
            reason = await asyncio.to_thread(_last_line, home.place(self.name).crash_path)
            self.last_end += f": {reason}" if reason else ""
            self._refuse()
        self._ends += 1
        self._owned = None
        logger.error("%s: %s; its log is %s", self.name, self.last_end, self.log_path)

    def _refuse(self) -> None:
        self._refusals += 1
        if self._refusals >= REFUSALS_MOST:
            self._known.set()

    def _spawn(self) -> Owned:
        place = home.place(self.name)
        output = open_regular(place.crash_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            # Each finds the others by these, whatever directory or user it thinks that it has.
            told = {f"VX_{name.upper()}": str(home.endpoint(name)) for name in home.SERVICES}
            given = {name: value for name, value in told.items() if os.environ.get(name)}
            env = {**os.environ, "VX_HOME": home.home_dir(), **given}
            return spawn_owned(
                [sys.executable, "-m", "daemonry", "run", f"vx.{self.name}.daemon:daemon"],
                env=env,
                cwd="/",
                stdout=output,
                stderr=output,
            )
        finally:
            os.close(output)

    async def _await_answer(self, instance: Instance, ended: asyncio.Future[int]) -> bool:
        """Return True once it answers that it runs, False if it ended before."""
        delay_s, until_s = _LOOK_FIRST_S, time.monotonic() + READY_TIMEOUT_S
        while not ended.done():
            if await asyncio.to_thread(_is_running, instance):
                return True
            if time.monotonic() > until_s:
                logger.error("%s: not ready after %g s", self.name, READY_TIMEOUT_S)
                self._failed = f"it is not ready after {READY_TIMEOUT_S:g} s"
                until_s = float("inf")
            await asyncio.wait((ended,), timeout=delay_s)
            delay_s = min(delay_s * 1.5, _LOOK_MAX_S)
        return False

    # --- one that somebody else started -----------------------------------------------------------

    async def _is_elsewhere(self, instance: Instance) -> bool:
        """Whether somebody else is this service, and stays so: an earlier aether's is about to end."""
        until_s = time.monotonic() + VACANCY_TIMEOUT_S
        while await asyncio.to_thread(self._somebody_is, instance):
            if not await asyncio.to_thread(instance.lock_held):
                return True  # another home's: it was there before, and does not end with an aether of ours
            if time.monotonic() > until_s:
                return True
            self._waiting.set()
            await asyncio.sleep(_LOOK_MAX_S)
        return False

    def _somebody_is(self, instance: Instance) -> bool:
        if instance.lock_held():
            return True
        # Another home's, at an endpoint that a variable names.
        return bool(os.environ.get(f"VX_{self.name.upper()}")) and _is_running(Instance(None, self.endpoint))

    async def _watch_elsewhere(self, instance: Instance) -> None:
        logger.warning(
            "%s: another process serves it already, at %s; using that one", self.name, self.endpoint
        )
        self._state = "elsewhere"
        self._refusals = 0
        self._known.set()
        while await asyncio.to_thread(self._somebody_is, instance):  # noqa: ASYNC110  # not our child
            await asyncio.sleep(_ELSEWHERE_LOOK_S)
        self._ends += 1
        self.last_end = "the one that another process had started ended"

    def _end(self) -> None:
        if self._owned is not None:
            self._owned.terminate()


def _is_running(instance: Instance) -> bool:
    try:
        return instance.status(1.0).get("state") in ("running", "paused")
    except (errors.DaemonryError, OSError):
        return False


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _last_line(path: str) -> str:
    try:
        with open(open_regular(path), "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _OUTPUT_TAIL_BYTES))
            lines = file.read().decode("utf-8", "backslashreplace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


class OwnedServices:
    """Both of them.

    Attributes:
        cass: the store.
        rhea: what runs compilers.
    """

    def __init__(self) -> None:
        self.cass = OwnedService(home.CASS)
        self.rhea = OwnedService(home.RHEA)

    def __iter__(self) -> Iterator[OwnedService]:
        return iter((self.cass, self.rhea))
