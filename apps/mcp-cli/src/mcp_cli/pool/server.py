"""One server: its calls, and its messages meanwhile.

Owns the calls that are under way.  Those calls get the events of the connection; a question goes to
the latest that answers such.  Its process is `lifecycle`'s, its lists are `lists`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mcp_cli.pool import sdk
from mcp_cli.pool.call import PendingCall
from mcp_cli.pool.launcher import Launcher
from mcp_cli.pool.lifecycle import Lifecycle
from mcp_cli.pool.lists import Lists
from mcp_cli.pool.live.watches import TOOLS_CHANGED, Live
from mcp_cli.pool.questions.answering import Questions, Way, way
from mcp_cli.pool.results import sendable
from mcp_cli.pool.server_state import State
from mcp_cli.pool.stdio import END_S
from mcp_cli.protocol.interfaces import (
    Event,
    MaybeRan,
    NeedsAuthorization,
    Server,
    ServerFailed,
    ServerRefused,
    ServerState,
    TimedOut,
)

if TYPE_CHECKING:
    from mcp_cli.pool.access.loopback import Loopback
    from mcp_cli.pool.connection import RequestRefused, ServerConnection

logger = logging.getLogger("mcp_cli.server")

# A server that says nothing for so long, and is asked nothing, is pinged.
QUIET_S: Final = 30.0
PING_S: Final = 10.0
# For the last lines of standard error of a server that has crashed.
LAST_LINES_S: Final = 1.0


class ManagedServer:
    """One server.

    Args:
        server: its definition.
        patience_s: how long its process may take to end by itself, in seconds.

    Attributes:
        calls: under way, the oldest first.
        lists: its tools and all else that it lists.
        live: those who watch it.
        questions: of its own that are open.
        server: its definition.
        unused: set while no call is under way.
        used_at: when the last call ended, or it was defined; on the monotonic clock.
    """

    def __init__(self, server: Server, patience_s: float = END_S) -> None:
        self.server = server
        self.calls: list[PendingCall] = []
        self.lists = Lists(self, lambda: self.live.changed(TOOLS_CHANGED))
        self.live = Live(self)
        self.questions = Questions(server)
        self.used_at = time.monotonic()
        self.unused = asyncio.Event()
        self.unused.set()
        self._launcher = Launcher(server, self, self._stderr_line, patience_s)
        self._life = Lifecycle(server.name, self._launcher)
        self._ping_ms = -1.0
        self._room = asyncio.Semaphore(server.concurrency) if server.concurrency > 0 else None

    def __repr__(self) -> str:
        return f"<ManagedServer {self.server.name} {self._life.state.value}, {len(self.calls)} calls>"

    # --- its life ------------------------------------------------------------------------------

    def state(self) -> ServerState:
        """Return its state, for people and programs."""
        server, connection, life = self.server, self._life.connection, self._life
        state = State.ENDING if life.state is State.CLOSING else life.state
        return ServerState(
            server=server.name,
            fingerprint=server.fingerprint,
            state="retired" if life.retired else state.value,
            kind=server.kind,
            source=server.source,
            description=server.description,
            pid=self._launcher.process.pid if self._launcher.process is not None else 0,
            calls=len(self.calls),
            starts=life.starts,
            error=self._launcher.error,
            stderr=self._launcher.stderr(),
            protocol=connection.protocol if connection is not None else "",
            info=connection.info if connection is not None else "",
            capabilities=connection.capabilities if connection is not None else "",
            instructions=sendable(connection.instructions) if connection is not None else "",
            start_ms=life.start_ms,
            ping_ms=self._ping_ms,
        )

    @property
    def is_ready(self) -> bool:
        """Whether it is connected, and nobody starts it."""
        return self._life.connection is not None and not self._life.begun

    @property
    def starts(self) -> int:
        """How often it was started."""
        return self._life.starts

    @property
    def running(self) -> bool:
        """Whether it is connected, or about to be."""
        return self._life.connection is not None or self._life.begun

    async def ready(self, note: Callable[[str], None] = lambda _: None) -> ServerConnection:
        """Return a connection, starting the server if need be.

        Raises:
            ServerFailed, NeedsAuthorization: it cannot be started.
        """
        self.used_at = time.monotonic()
        try:
            return await self._life.ready(note)
        finally:
            self.used_at = time.monotonic()

    async def connected(self) -> ServerConnection:
        """Wait until somebody else has it started, and return the connection."""
        return await self._life.connected()

    async def close(self) -> None:
        """End it.  Calls that are under way end with `MaybeRan`."""
        await self._life.close()

    def retire(self) -> None:
        """Say that it ends with its calls, because another takes its place."""
        self._life.retired = True
        self.live.end()

    async def authorize(self, call: PendingCall, loopback: Loopback) -> None:
        """Connect with a user who may grant access.

        Raises:
            ServerFailed, NeedsAuthorization: that did not come about.
        """
        await self._launcher.authorize(call, loopback)

    def failed(self, stage: str, reason: str) -> Exception:
        """Return the error to raise where a stage failed; it is logged and remembered."""
        return self._launcher.failed(stage, reason)

    # --- asking --------------------------------------------------------------------------------

    async def ask(self, call: PendingCall, method: str, params: dict[str, Any]) -> bytes:
        """Ask the server for one call, and return the result's JSON.

        Raises:
            ServerFailed, NeedsAuthorization: it cannot be started.
            ServerRefused: it answered with an error.
            TimedOut: it was silent for too long.
            MaybeRan: it went away.
        """
        with self.held(call):
            if self._room is None:
                return await self._ask(call, method, params)
            async with self._room:
                return await self._ask(call, method, params)

    @contextlib.contextmanager
    def held(self, call: PendingCall) -> Iterator[None]:
        """Count a call as under way, also where it asks several times; within itself it does nothing."""
        if call in self.calls:
            yield
            return
        self.calls.append(call)
        self.unused.clear()
        try:
            yield
        finally:
            self.calls.remove(call)
            call.over.set()
            self.used_at = time.monotonic()
            if not self.calls:
                self.unused.set()

    async def _ask(self, call: PendingCall, method: str, params: dict[str, Any]) -> bytes:
        for attempt in range(2):
            connection = await self.ready(call.note)
            module = sdk.connection()
            try:
                return await self._ask_in_time(connection, call, method, params)
            except module.RequestRefused as error:
                raise self._refused(error) from None
            except module.RequestLost as error:
                if not error.ran and attempt == 0:
                    continue  # it was not asked: a new connection is
                if error.refused is not None:  # and of the new one it says the same
                    raise self._refused(error.refused) from None
                reason = self._launcher.redacted(str(error))
                if not error.ran:
                    raise self.failed("connect", reason) from None
                if self._launcher.process is not None:  # no other has last words
                    await self._life.ended(LAST_LINES_S)
                raise MaybeRan(
                    server=self.server.name, tool=call.label, reason=reason, stderr=self._launcher.stderr()
                ) from None
        raise AssertionError

    def _refused(self, error: RequestRefused) -> ServerRefused:
        return ServerRefused(
            server=self.server.name, code=error.code, message=sendable(error.message), data=error.data
        )

    async def _ask_in_time(
        self, connection: ServerConnection, call: PendingCall, method: str, params: dict[str, Any]
    ) -> bytes:
        async def hears(progress: float, total: float | None, message: str | None) -> None:
            call.renew()
            call.tell(Event(kind="progress", progress=progress, total=total, text=sendable(message or "")))

        try:
            async with asyncio.timeout(call.idle_s) as call.budget:
                return await connection.ask(method, params, hears if method == "tools/call" else None)
        except TimeoutError:
            raise TimedOut(server=self.server.name, tool=call.label, seconds=call.idle_s) from None
        finally:
            call.budget = None

    async def check_health(self) -> None:
        """Ping it, if it is quiet and asked nothing; one that does not answer is ended, and starts again."""
        connection = self._life.connection
        if connection is None or self.calls or connection.modern:
            return
        if asyncio.get_running_loop().time() - connection.heard_at < QUIET_S:
            return
        call = PendingCall("ping", PING_S)
        try:
            await self.ping(call)
        except (TimedOut, MaybeRan):
            if connection is self._life.connection and not [one for one in self.calls if one is not call]:
                logger.warning("%s does not answer a ping: it is ended", self.server.name)
                await connection.close()
        except (ServerRefused, ServerFailed, NeedsAuthorization):
            pass

    async def ping(self, call: PendingCall) -> float:
        """Ask whether it answers, and return how long that took, in milliseconds."""
        connection = await self.ready(call.note)
        began = time.monotonic()
        # Revisions since 2026 have no ping: what a server says of itself is the smallest question.
        await self.ask(call, "server/discover" if connection.modern else "ping", {})
        self._ping_ms = round((time.monotonic() - began) * 1000, 3)
        return self._ping_ms

    # --- what the connection tells (callbacks.Hooks) --------------------------------------------

    def note(self, text: str) -> None:
        """Tell all calls of something odd."""
        text = self._launcher.redacted(text)
        logger.warning("%s %s", self.server.name, text)
        for call in self.calls:
            call.tell(Event(kind="note", level="warning", text=f"{self.server.name} {text}"))

    def log(self, level: str, logger: str, data: str) -> None:  # the notification's word
        """Tell all calls that want it of a log notification: it does not say to which it belongs."""
        for call in self.calls:
            if call.logs:
                call.tell(Event(kind="log", level=level, logger=sendable(logger), result=data))

    def changed(self, method: str, uri: str = "") -> None:
        """Forget the tools when they have changed, and tell those who watch."""
        if method == TOOLS_CHANGED:
            self.lists.forget_tools()
        self.live.changed(method, uri)

    async def question(self, method: str, params: str) -> str | None:
        """Ask a caller; None for a refusal."""
        if method == "roots/list" and self.server.roots:
            return _roots(self.server.roots)
        # Over pipes a question does not say to which call it belongs: the latest that answers such takes it,
        # of those that wait for no answer, if there are any: a server asks one thing after another.
        waits_for_none = [one for one in self.calls if not one.questions] or list(self.calls)
        wanted = (Way.CALLER, Way.HOOK, Way.OPEN)
        call = next(
            (one for one in reversed(waits_for_none) if way(method, self.server, one.answers) in wanted), None
        )
        if call is None:
            if method != "roots/list":
                self.note(f"asked for {method}, which was refused: no caller can answer")
            return None
        return await self.question_of(call, method, params)

    async def question_of(self, call: PendingCall, method: str, params: str) -> str | None:
        """Ask the caller of one call; None for a refusal."""
        if method == "roots/list" and self.server.roots:
            return _roots(self.server.roots)
        return await self.questions.ask(call, method, params)

    def _stderr_line(self, line: str) -> None:
        for call in self.calls:
            if call.logs:
                call.tell(Event(kind="stderr", text=line))


def _roots(paths: list[str]) -> str:
    from urllib.parse import quote

    uris = [path if "://" in path else "file://" + quote(path) for path in paths]
    return msgspec.json.encode({"roots": [{"uri": uri} for uri in uris]}).decode()
