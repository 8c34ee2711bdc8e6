"""One server's life: started when it is needed, started again when it crashes, ended.

Owns the server's state, its one connection, and the tasks that start it and wait for its end.  Which state
follows which event is `server_state`'s; after which end it is started again, and when, is
`daemonry.home.policy`'s; how it is started is `launcher`'s.

A server of ours (a child process) that crashes is started again by itself, after a wait that grows with each
time; one that crashes again and again is given up.  One that cannot be started, that was given up, or that is
reached over HTTP is started by the next call only.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from daemonry.home.policy import Policy, Restart, When, after_end
from mcp_cli.names import NAME
from mcp_cli.pool import freshness
from mcp_cli.pool.launcher import Launcher
from mcp_cli.pool.server_state import BEGUN, Happened, State, step
from mcp_cli.protocol.interfaces import ServerFailed

if TYPE_CHECKING:
    from mcp_cli.pool.connection import ServerConnection

logger = logging.getLogger("mcp_cli.server")

# A person waits for the first restart.  A server that ran for a minute without one had recovered.  Ten within
# a minute, which with these waits takes half of it, bring nothing that an eleventh would not.
POLICY: Final = Policy(When.ALWAYS, delay_s=0.1, delay_most_s=5.0, most=10, within_s=60.0)
# How often those that wait for a start hear that it goes on.
STILL_STARTING_S: Final = 5.0
# Shorter waits are not worth a word.
NOTED_S: Final = 0.5


class Lifecycle:
    """The life of one server.

    Args:
        name: the server's.
        launcher: makes its connections.

    Attributes:
        state: where it is in its life.
        connection: while there is one.
        starts: how often it was started.
        start_ms: how long the last start took, in milliseconds.
        retired: whether another has taken its place, so that it is not started again by itself.
    """

    def __init__(self, name: str, launcher: Launcher) -> None:
        self.state = State.IDLE
        self.connection: ServerConnection | None = None
        self.starts = 0
        self.start_ms = 0
        self.retired = False
        self._name = name
        self._launcher = launcher
        self._starting: asyncio.Task[ServerConnection] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._restarts_s: list[float] = []
        self._not_before_s = 0.0
        self._failure = freshness.Failure()
        self._connected = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Lifecycle {self._name} {self.state.value}, {self.starts} starts>"

    @property
    def begun(self) -> bool:
        """Whether it is being started, or waits for that."""
        return self.state in BEGUN

    def _step(self, happened: Happened) -> bool:
        """Take note of an event; False where it has no place in the present state."""
        following = step(self.state, happened)
        if following is None:
            return False
        logger.debug("%s: %s: %s", self._name, happened.value, following.value)
        self.state = following
        return True

    # --- starting -------------------------------------------------------------------------------

    async def ready(self, note: Callable[[str], None]) -> ServerConnection:
        """Return a connection, starting the server if need be.

        Args:
            note: called with what the caller waits for.

        Raises:
            ServerFailed, NeedsAuthorization: it cannot be started, or is being ended.
        """
        if self._watching is not None and self._usable() is None:
            # It has just ended: the rest of it is ended first.
            await asyncio.wait((self._watching,))
        if (connection := self._usable()) is not None:
            return connection
        if self._starting is None:
            self._refuse_again()
            wait_s = self._not_before_s - time.monotonic()
            if wait_s > NOTED_S:
                note(f"{self._name} crashed; it is started again in {wait_s:.1f} s")
            elif self.starts:
                note(f"starting {self._name} again ({self._launcher.error or 'it had ended'})")
            if not self._step(Happened.START_ASKED):
                raise self._launcher.failed("spawn", "it is being ended")
            self._begin()
        starting = self._starting
        assert starting is not None
        while not (await asyncio.wait((starting,), timeout=STILL_STARTING_S))[0]:
            running = self._launcher.running()
            note(f"{self._name} has not answered yet{f': {running} still runs' if running else ''}")
        try:
            return await starting
        except asyncio.CancelledError:
            raise self._launcher.failed("spawn", "it was ended before it had started") from None

    async def connected(self) -> ServerConnection:
        """Wait for a connection that somebody else asks for."""
        while (connection := self._usable()) is None:
            await self._connected.wait()
            if self._usable() is None:
                self._connected.clear()  # it ends just now
        return connection

    def _refuse_again(self) -> None:
        """Raise the error of a start that took long to fail, for a moment after it."""
        remembered = self._failure.still(time.monotonic())
        if remembered is None:
            return
        error, ago_s = remembered
        if isinstance(error, ServerFailed):
            again = f"that was {ago_s:.0f} s ago: {NAME} restart {error.server} tries now"
            raise ServerFailed(
                server=error.server, stage=error.stage, reason=f"{error.reason}; {again}", stderr=error.stderr
            )

    def _usable(self) -> ServerConnection | None:
        return self.connection if self.connection is not None and not self.connection.over else None

    def _begin(self) -> None:
        self._starting = asyncio.create_task(self._start(), name=f"start of {self._name}")
        self._starting.add_done_callback(self._begun)

    def _begun(self, task: asyncio.Task[Any]) -> None:
        if self._starting is task:
            self._starting = None
        if not task.cancelled():
            task.exception()  # one that nobody waited for is not reported as lost

    async def _start(self) -> ServerConnection:
        await asyncio.sleep(self._not_before_s - time.monotonic())
        self._step(Happened.DELAY_OVER)
        self.starts += 1
        began_s = time.monotonic()
        try:
            connection = await self._launcher.connect()
        except BaseException as error:
            self._step(Happened.START_FAILED)
            if isinstance(error, ServerFailed):
                now_s = time.monotonic()
                self._failure.keep(error, now_s - began_s, now_s)
            raise
        self.start_ms = round((time.monotonic() - began_s) * 1000)
        self._launcher.error = ""
        self.connection = connection
        self._watching = asyncio.create_task(self._watch(connection), name=f"end of {self._name}")
        self._step(Happened.CONNECTED)
        self._connected.set()
        return connection

    # --- ending ---------------------------------------------------------------------------------

    async def _watch(self, connection: ServerConnection) -> None:
        """Wait for a connection's end, and for the rest of it; then start again, if it crashed."""
        process = self._launcher.process
        await connection.ended.wait()
        self._step(Happened.CONNECTION_LOST)
        # An end that was asked for is not an error.
        self._launcher.error = connection.end_reason if self.state is State.ENDING else ""
        await connection.close()
        await self._launcher.drop(process)
        self.connection = None
        self._watching = None
        if self.state is State.ENDING:
            logger.warning("%s %s", self._name, connection.end_reason)
            self._after_end(restartable=process is not None and not self.retired)

    def _after_end(self, *, restartable: bool) -> None:
        now_s = time.monotonic()
        decided = after_end(POLICY, True, self._restarts_s, now_s, random.random())  # noqa: S311  # a wait
        again = isinstance(decided, Restart)
        delay_s = decided.delay_s if isinstance(decided, Restart) else POLICY.delay_most_s
        self._not_before_s = now_s + delay_s
        self._restarts_s = [*self._restarts_s, now_s][-POLICY.most :]
        if not restartable:
            self._step(Happened.ENDED_LEFT)
        elif again:
            self._step(Happened.ENDED_AGAIN)
            self._begin()
        else:
            error = f"{self._launcher.error}; it ended {POLICY.most} times in {POLICY.within_s:g} s"
            self._launcher.error = f"{error}, and is started again by the next call"
            logger.warning("%s %s", self._name, self._launcher.error)
            self._step(Happened.ENDED_FAILED)

    async def ended(self, timeout_s: float) -> None:
        """Wait, if it has just ended, for the rest of it: its last words are known then."""
        if self._watching is not None:
            await asyncio.wait((self._watching,), timeout=timeout_s)

    async def close(self) -> None:
        """End it; the next call may start it again, at once."""
        self._step(Happened.CLOSE_ASKED)
        self._failure.forget()
        try:
            if self._starting is not None:
                self._starting.cancel()
                await asyncio.wait((self._starting,))
            if self.connection is not None:
                await self.connection.close()
            if self._watching is not None:
                await asyncio.wait((self._watching,))
        finally:
            self._step(Happened.CLOSED)
            self._restarts_s.clear()
            self._not_before_s = 0.0
