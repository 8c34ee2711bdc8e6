"""The session of this machine with a farm: opened, renewed, lost, opened again; and its leases.

Owns the loop and its times.  An update waits at the farm for work as long as there is room here, and is cut
short when an Action has ended.  No keep-alive pings: a farm may answer those by GOAWAY (decision 352); every
call has a deadline in their place.  A farm that is silent for as long as it keeps a session has given our
leases to others: their processes end then, and not before.  What happens to a lease is decided by `leases`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from vx.remote.failures import RemoteFailed
from vx.remote.protos import bots_pb2
from vx.remote.rpc import Method
from vx.remote.server import SHORT_TIMEOUT_S, Server
from vx.rhea.worker.action import UNAVAILABLE, ActionRunner, LeaseEnd
from vx.rhea.worker.leases import COMPLETED, Leases

logger = logging.getLogger("vx.rhea")

_BOTS: Final = "/google.devtools.remoteworkers.v1test2.Bots"
# Here and not in `rpc`, so that other users of `rpc` do not load their messages.
CREATE_SESSION: Final = Method(
    f"{_BOTS}/CreateBotSession", bots_pb2.CreateBotSessionRequest, bots_pb2.BotSession
)
UPDATE_SESSION: Final = Method(
    f"{_BOTS}/UpdateBotSession", bots_pb2.UpdateBotSessionRequest, bots_pb2.BotSession
)

# BuildGrid holds a new session's call for work unless it has less than 3.75 s, and we want to know.
OPEN_TIMEOUT_S: Final = 3.5
# How long an update may wait for work; BuildGrid answers after 0.8 of it, or of its own keep-alive time.
POLL_S: Final = 10.0
# Between updates that wait for nothing: of a worker that is full, and at a farm that holds no calls.
FULL_S: Final = 3.0
IDLE_S: Final = 1.0
# How long a farm keeps a session, where it does not tell: BuildGrid's own default is 600.
KEPT_S: Final = 60.0
_KEPT_BOUNDS_S: Final = (1.0, 3600.0)
_AT_ONCE_S: Final = 0.5
_AGAIN_S: Final = (0.2, 5.0)
_INTERNAL: Final = 13

_DENIED: Final = ("UNAUTHENTICATED", "PERMISSION_DENIED")
# By which farms tell that a session is not one of theirs (any more).
_GONE: Final = (
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "ABORTED",
    "DATA_LOSS",
    "OUT_OF_RANGE",
)


class FarmRefuses(Exception):
    """The farm does not take this worker; args: gRPC's code and the reason."""


class FarmSilent(Exception):
    """The farm did not answer for the time that was given."""


class FarmSession:
    """A worker at a farm.

    Args:
        farm: its Bots service.
        storage: its CAS.
        runner: runs the Actions.
        bot: this worker: its name, its machine, its places, as the first request tells them.
        places: how many Actions run at the same time.
        say: gets each change of state, in one line.

    Attributes:
        done: how many Actions the farm has taken the end of.
        dropped: how many were ended because the farm did not want them any more.
    """

    def __init__(
        self,
        farm: Server,
        storage: Server,
        runner: ActionRunner,
        bot: bots_pb2.BotSession,
        places: int,
        say: Callable[[str], None],
    ) -> None:
        self.done = 0
        self.dropped = 0
        self._farm = farm
        self._storage = storage
        self._runner = runner
        self._bot = bot
        self._places = places
        self._say = say
        self._leases = Leases()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="session")
        self._joined = False
        self._lost = False
        self._denials = 0
        self._pause_s = _AGAIN_S[0]
        self._kept_s = KEPT_S
        self._heard_s = time.monotonic()
        self._leave_by_s: float | None = None

    @property
    def is_leaving(self) -> bool:
        """Whether `leave` was called."""
        return self._leave_by_s is not None

    def leave(self, drain_s: float) -> None:
        """Take no more Actions, and have `run` return when those under way have ended, or after `drain_s`."""
        by_s = time.monotonic() + drain_s
        self._leave_by_s = by_s if self._leave_by_s is None else min(by_s, self._leave_by_s)
        self._bot.status = bots_pb2.BOT_TERMINATING
        self._say(f"leaving: {_count(len(self._tasks), 'job')} left" if self._tasks else "leaving")
        self._changed.set()

    async def run(self, patience_s: float | None = None) -> None:
        """Be a worker until `leave`.

        Args:
            patience_s: how long the farm may be silent; None for any time.

        Raises:
            FarmRefuses: it takes no such worker; it was never joined.
            FarmSilent.
        """
        try:
            while not self._is_over():
                self._changed.clear()
                try:
                    if not self._bot.name:
                        await self._open()
                    else:
                        await self._update()
                except RemoteFailed as error:
                    await self._failed(error, patience_s)
            await self._end_what_runs()
        finally:
            under_way = [*self._tasks.values(), *self._ending]
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
            self._threads.shutdown(wait=False, cancel_futures=True)

    # --- calls ------------------------------------------------------------------------------------

    async def _open(self) -> None:
        self._storage.failures.resume()
        await self._in_thread(self._storage.capabilities)
        request = bots_pb2.CreateBotSessionRequest(parent=self._farm.instance, bot_session=self._bot)
        answer = await self._call(CREATE_SESSION, request, OPEN_TIMEOUT_S if not self._lost else POLL_S)
        if not answer.name:
            raise RemoteFailed("it opened a session without a name", "INVALID_ARGUMENT")
        self._bot.name = answer.name
        self._say(f"joined {self._farm.url} as {self._bot.bot_id}, with {_count(self._places, 'place')}")
        self._joined, self._lost = True, False
        self._take(answer)

    async def _update(self) -> None:
        has_room = self._leases.running < self._places and not self.is_leaving
        del self._bot.leases[:]
        self._bot.leases.extend(self._leases.report())
        request = bots_pb2.UpdateBotSessionRequest(name=self._bot.name, bot_session=self._bot)
        began_s = time.monotonic()
        timeout_s = POLL_S if has_room else SHORT_TIMEOUT_S
        answer = await self._call(UPDATE_SESSION, request, timeout_s, until_changed=has_room)
        if answer is None:
            return
        if self._lost:
            self._say(f"{self._farm.url} answers again")
            self._lost = False
        news = self._take(answer)
        if not news and time.monotonic() - began_s < _AT_ONCE_S:
            await self._wait(IDLE_S if has_room else min(FULL_S, self._kept_s / 3))

    async def _call(
        self,
        method: Method[Any, bots_pb2.BotSession],
        request: Any,
        timeout_s: float,
        *,
        until_changed: bool = False,
    ) -> Any:
        """Return the answer; None where something changed here before it came."""
        rpc = self._farm.rpc
        call = await self._in_thread(partial(rpc.begun, method, request, timeout_s))
        answer = asyncio.ensure_future(self._in_thread(partial(rpc.answer, call)))
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait(
                (answer, changed) if until_changed else (answer,), return_when=asyncio.FIRST_COMPLETED
            )
            if not answer.done():
                call.cancel()
            return await answer
        except RemoteFailed as error:
            if error.code == "CANCELLED" and changed.done():
                return None
            raise
        finally:
            call.cancel()
            changed.cancel()

    def _take(self, answer: bots_pb2.BotSession) -> bool:
        """Have the farm's list hold; whether it changed anything."""
        self._heard_s = time.monotonic()
        self._pause_s = _AGAIN_S[0]
        left_s = answer.expire_time.seconds - time.time() if answer.HasField("expire_time") else 0.0
        if _KEPT_BOUNDS_S[0] < left_s < _KEPT_BOUNDS_S[1]:
            self._kept_s = left_s
        self._bot.version = answer.version
        changes = self._leases.take(answer.leases)
        self.done += changes.forgotten
        for lease in changes.begin:
            self._tasks[lease.id] = asyncio.create_task(self._perform(lease))
        if changes.end:
            self._end(changes.end, "the farm does not want them any more")
        return bool(changes.begin or changes.end or changes.forgotten)

    # --- failures ---------------------------------------------------------------------------------

    async def _failed(self, error: RemoteFailed, patience_s: float | None) -> None:
        """Decide what a failed call means.

        Raises:
            FarmRefuses, FarmSilent.
        """
        if not self._joined and error.code in (*_DENIED, *_GONE, "UNIMPLEMENTED", ""):
            self._denials += 1
            # A credential helper's answer may have been old: it is asked again, once.
            if self._denials > 1 or error.code not in _DENIED:
                raise FarmRefuses(error.code, error.reason)
        elif self._bot.name and error.code in _GONE:
            self._lose("the farm does not know this session any more")
        else:
            silent_s = time.monotonic() - self._heard_s
            if not self._lost:
                self._say(f"{self._farm.url} does not answer: {error.reason}")
                self._lost = True
            if silent_s >= self._kept_s and self._bot.name:
                self._lose(f"no answer for {silent_s:.0f} s")
            if patience_s is not None and silent_s >= patience_s:
                raise FarmSilent
        await self._wait(self._pause_s)
        self._pause_s = min(2 * self._pause_s, _AGAIN_S[1])

    def _lose(self, why: str) -> None:
        self._bot.name = self._bot.version = ""
        del self._bot.leases[:]
        self._say(f"the session is gone: {why}")
        ran = self._leases.lose()
        if ran:
            self._end(ran, "others have them now")

    # --- Actions ----------------------------------------------------------------------------------

    async def _perform(self, lease: bots_pb2.Lease) -> None:
        try:
            finished = await self._runner.run(lease.payload)
        except Exception as error:
            logger.exception("lease %s", lease.id)
            finished = LeaseEnd(None, _INTERNAL, f"{type(error).__name__} in the worker")
        # A lease that was dropped may be here again, under its old name.
        if self._tasks.get(lease.id) is asyncio.current_task():
            del self._tasks[lease.id]
            self._leases.finish(lease.id, _ended(lease, finished))
            self._changed.set()

    def _end(self, names: list[str], why: str) -> None:
        ended = [self._tasks.pop(name) for name in names if name in self._tasks]
        for task in ended:
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            task.cancel()
        self.dropped += len(ended)
        if ended:
            self._say(f"{_count(len(ended), 'job')} ended: {why}")

    def _is_over(self) -> bool:
        if self._leave_by_s is None:
            return False
        return not self._leases.names or not self._bot.name or time.monotonic() >= self._leave_by_s

    async def _end_what_runs(self) -> None:
        """Give back what did not end in time: the farm gives it to others at once."""
        if not self._tasks:
            return
        back = LeaseEnd(None, UNAVAILABLE, "the worker leaves")
        for lease in self._leases.report():
            if lease.id in self._tasks:
                self._leases.finish(lease.id, _ended(lease, back))
        self._end(list(self._tasks), "the worker leaves")
        await asyncio.gather(*self._ending, return_exceptions=True)
        try:
            await self._update()
        except RemoteFailed as error:
            self._say(f"{self._farm.url} was not told: {error.reason}")

    async def _wait(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _in_thread(self, function: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)


def _ended(lease: bots_pb2.Lease, finished: LeaseEnd) -> bots_pb2.Lease:
    """Return the report of a lease that ended."""
    ended = bots_pb2.Lease()
    ended.CopyFrom(lease)
    ended.state = COMPLETED
    ended.status.code, ended.status.message = finished.code, finished.reason
    if finished.result is not None:
        ended.result.Pack(finished.result)
    return ended


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
