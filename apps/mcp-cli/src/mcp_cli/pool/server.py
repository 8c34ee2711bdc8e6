"""One server: started when it is needed, kept, restarted when it crashes, and ended.

Owns the server's state and the calls that are under way on it.  What happens on the connection is told to
those calls; what they cannot be told, because there is none, is kept for whoever asks for the state.

A server that crashes is started again by itself, after a wait that grows with each time; one that cannot be
started is tried again by the next call only.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mcp_cli.names import NAME, PROTOCOLS
from mcp_cli.pool import freshness, processes, redact, sdk
from mcp_cli.pool.results import brief, sendable, text_of
from mcp_cli.pool.stdio import END_S, Process, SpawnFailed
from mcp_cli.protocol.interfaces import (
    Event,
    Item,
    MaybeRan,
    NeedsAuthorization,
    Server,
    ServerFailed,
    ServerRefused,
    ServerState,
    State,
    TimedOut,
)

if TYPE_CHECKING:
    from mcp_cli.pool.connection import Connection
    from mcp_cli.pool.http import Transport
    from mcp_cli.pool.loopback import Loopback

logger = logging.getLogger("mcp_cli.server")

# Before a start that follows a crash: the first wait, and the longest.  A person waits for it.
BACKOFF_S: Final = 0.1
BACKOFF_MAX_S: Final = 5.0
# A server that ran for so long had recovered.
STEADY_S: Final = 30.0
# A server that says nothing for so long, and is asked nothing, is pinged.
QUIET_S: Final = 30.0
PING_S: Final = 10.0
# How often whoever waits for a start is told that it goes on.
STILL_STARTING_S: Final = 5.0
# How many events may wait for a client that does not read them; the oldest that can be spared go.
MAX_EVENTS: Final = 1000
# What ends a list that goes on for ever.
MAX_PAGES: Final = 1000
_questions = itertools.count(1)


class Call:
    """One call that is under way: where what happens is told.

    Args:
        label: the tool, or what else was asked for.
        answers: the methods of the questions that its caller answers.
        logs: whether it is told of log notifications and stderr.
        idle_s: how long the server may be silent.
    """

    def __init__(
        self, label: str, idle_s: float, answers: tuple[str, ...] = (), *, logs: bool = False
    ) -> None:
        self.label = label
        self.idle_s = idle_s
        self.answers = answers
        self.logs = logs
        self.budget: asyncio.Timeout | None = None
        self.questions: dict[str, asyncio.Future[str]] = {}
        self._events: collections.deque[Event] = collections.deque()
        self._told = asyncio.Event()

    def tell(self, event: Event) -> None:
        """Tell the caller."""
        if len(self._events) >= MAX_EVENTS:
            self._events.popleft()
        self._events.append(event)
        self._told.set()

    def note(self, text: str) -> None:
        """Tell the caller what was done for it."""
        self.tell(Event(kind="note", text=text))

    async def told(self) -> Event:
        """Return the next event."""
        while not self._events:
            self._told.clear()
            await self._told.wait()
        return self._events.popleft()

    def untold(self) -> list[Event]:
        """Return the events that have come and were not taken."""
        events = list(self._events)
        self._events.clear()
        return events

    def renew(self) -> None:
        """Let the silence begin anew; while a question is open, nobody counts."""
        if self.budget is not None:
            when = asyncio.get_running_loop().time() + self.idle_s
            self.budget.reschedule(None if self.questions else when)


class Tool(msgspec.Struct):
    """A tool, as the server lists it; `checks` and `validator` are its compiled schemas, once needed."""

    name: str
    title: str = ""
    description: str = ""
    input_schema: msgspec.Raw = msgspec.field(name="inputSchema", default=msgspec.Raw(b""))
    output_schema: msgspec.Raw = msgspec.field(name="outputSchema", default=msgspec.Raw(b""))
    raw: bytes = b""
    hidden: str = ""
    schema: Any = None
    checks: Any = None
    validator: Any = None


class _Named(msgspec.Struct):
    name: str = ""
    title: str | None = None
    description: str | None = None
    uri: str = ""
    uri_template: str = msgspec.field(name="uriTemplate", default="")


class _RawTool(msgspec.Struct):
    name: str
    title: str | None = None
    description: str | None = None
    input_schema: msgspec.Raw = msgspec.field(name="inputSchema", default=msgspec.Raw(b""))
    output_schema: msgspec.Raw = msgspec.field(name="outputSchema", default=msgspec.Raw(b""))


# By the method that lists it: the key of the list, and the capability without which there is none.
LISTS: Final = {
    "tools/list": ("tools", "tools"),
    "resources/list": ("resources", "resources"),
    "resources/templates/list": ("resourceTemplates", "resources"),
    "prompts/list": ("prompts", "prompts"),
}


class Kept:
    """One server.

    Args:
        server: its definition.
        patience_s: how long its process may take to end by itself, in seconds.

    Attributes:
        calls: under way, the oldest first.
        tools: by name, once listed; None for not known.
        tools_until: until when they are shown without asking again, on the monotonic clock.
        tools_at: when they were listed.
        unused: set while no call is under way.
        used_at: when the last call ended, or it was defined; on the monotonic clock.
    """

    def __init__(self, server: Server, patience_s: float = END_S) -> None:
        self.server = server
        self._patience_s = patience_s
        self.calls: list[Call] = []
        self.tools: dict[str, Tool] | None = None
        self.tools_until = 0.0
        self.tools_at = 0.0
        self.used_at = time.monotonic()
        self.unused = asyncio.Event()
        self.unused.set()
        self._state: State = "idle"
        self._error = ""
        self._starts = 0
        self._failures = 0
        self._start_ms = 0
        self._ping_ms = -1.0
        self._stderr: list[str] = []
        self._legacy = server.protocol in PROTOCOLS[:-1]
        self._sse = server.kind == "sse"
        self._closing = False
        self._retired = False
        self._process: Process | None = None
        self._connection: Connection | None = None
        self._starting: asyncio.Task[Connection] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._room = asyncio.Semaphore(server.concurrency) if server.concurrency > 0 else None
        self._listing = asyncio.Lock()
        self._ttl_ms: float | None = None
        self._told_of_change = False
        self._failure = freshness.Failure()
        self._secrets = redact.secrets_of(
            server.env, server.headers, (server.oauth_client_secret,), (server.url, *server.args)
        )

    # --- state ---------------------------------------------------------------------------------

    def state(self) -> ServerState:
        """Return its state, for people and programs."""
        server, connection = self.server, self._connection
        return ServerState(
            server=server.name,
            fingerprint=server.fingerprint,
            state="retired" if self._retired else self._state,
            kind=server.kind,
            source=server.source,
            description=server.description,
            pid=self._process.pid if self._process is not None else 0,
            calls=len(self.calls),
            starts=self._starts,
            error=self._error,
            stderr=self.stderr(),
            protocol=connection.protocol if connection is not None else "",
            info=connection.info if connection is not None else "",
            capabilities=connection.capabilities if connection is not None else "",
            instructions=sendable(connection.instructions) if connection is not None else "",
            start_ms=self._start_ms,
            ping_ms=self._ping_ms,
        )

    def stderr(self) -> list[str]:
        """Return the last lines that it wrote there."""
        lines = list(self._process.stderr) if self._process is not None else self._stderr
        return [redact.redacted(line, self._secrets) for line in lines]

    @property
    def starting(self) -> bool:
        """Whether it is being started, or waits for that."""
        return self._starting is not None

    @property
    def running(self) -> bool:
        """Whether it is connected, or about to be."""
        return self._connection is not None or self._starting is not None

    # --- starting and ending -------------------------------------------------------------------

    async def ready(self, note: Callable[[str], None] = lambda _: None) -> Connection:
        """Return a connection, starting the server if need be.

        Raises:
            ServerFailed, NeedsAuthorization: it cannot be started.
        """
        connection = self._connection
        if connection is not None and not connection.over:
            return connection
        if self._watching is not None:
            # It has just ended: what is left of it is ended first.
            await asyncio.wait((self._watching,))
        if self._starting is None:
            self._refuse_again()
            wait_s = self._not_before - time.monotonic()
            if wait_s > 0.5:
                note(f"{self.server.name} crashed; it is started again in {wait_s:.1f} s")
            elif self._starts:
                note(f"starting {self.server.name} again ({self._error or 'it had ended'})")
            self._starting = asyncio.create_task(self._start(), name=f"start of {self.server.name}")
            self._starting.add_done_callback(_retrieve)
        starting = self._starting
        while not (await asyncio.wait((starting,), timeout=STILL_STARTING_S))[0]:
            note(f"{self.server.name} has not answered yet{self._still()}")
        return await starting

    def _refuse_again(self) -> None:
        """Raise the error of a start that took long to fail, for a moment after it."""
        kept = self._failure.still(time.monotonic())
        if kept is None:
            return
        error, ago_s = kept
        if isinstance(error, ServerFailed):
            again = f"that was {ago_s:.0f} s ago: {NAME} restart {error.server} tries now"
            raise ServerFailed(
                server=error.server, stage=error.stage, reason=f"{error.reason}; {again}", stderr=error.stderr
            )

    def _still(self) -> str:
        running = processes.names(self._process.pid) if self._process is not None else ""
        return f": {running} still runs" if running else ""

    async def _start(self) -> Connection:
        try:
            began = time.monotonic()
            await asyncio.sleep(self._not_before - began)
            if self._closing:
                raise self._failed("spawn", "it is being ended")
            self._state = "starting"
            self._starts += 1
            began = time.monotonic()
            connection = await self._connect()
        except BaseException as error:
            self._state = "idle" if self._closing else "failed"
            if isinstance(error, ServerFailed):
                now = time.monotonic()
                self._failure.keep(error, now - began, now)
            raise
        else:
            self._start_ms = round((time.monotonic() - began) * 1000)
            self._state = "ready"
            self._error = ""
            self._connection = connection
            self.tools = None
            self._watching = asyncio.create_task(self._watch(connection, time.monotonic()))
            return connection
        finally:
            self._starting = None

    async def _connect(self) -> Connection:
        """Make a connection; twice, where the first answer says that the server is of an older kind."""
        for attempt in range(3):
            process = await self._spawn() if self.server.kind == "stdio" else None
            # The SDK takes most of a second to import: meanwhile the process starts.
            connection_module = await asyncio.to_thread(sdk.connection)
            transport = None
            if process is None:
                transport = connection_module.http.Transport(self.server, sse=self._sse)
            connection: Connection = connection_module.Connection(
                self.server, self, process, transport, legacy=self._legacy
            )
            try:
                await connection.open()
            except connection_module.StartFailed as error:
                await self._drop(process)
                if attempt < 2 and self._try_older(connection, transport):
                    continue
                raise self._failed(error.stage, error.reason) from None
            except BaseException:
                await self._drop(process)
                raise
            self._legacy = self._legacy or not connection.modern
            return connection
        raise AssertionError

    def _try_older(self, connection: Connection, transport: Transport | None) -> bool:
        if transport is not None and transport.maybe_older:
            self._sse = True
            return True
        if not self._legacy and connection.only_discovered:
            # It did not survive a question that servers of before 2026 do not know.
            self._legacy = True
            return True
        return False

    async def _spawn(self) -> Process:
        process = Process(self.server, self._stderr_line)
        try:
            await process.start()
        except SpawnFailed as error:
            raise self._failed("spawn", str(error)) from None
        self._process = process
        return process

    async def _drop(self, process: Process | None) -> None:
        if process is not None:
            await process.end(self._patience_s)
            self._stderr = list(process.stderr)
            if self._process is process:
                self._process = None

    def _failed(self, stage: str, reason: str) -> Exception:
        reason = redact.redacted(reason, self._secrets)
        self._error = f"{stage}: {reason}"
        logger.warning("%s could not be started: %s: %s", self.server.name, stage, reason)
        if stage == "authorize":
            return NeedsAuthorization(server=self.server.name, reason=reason)
        return ServerFailed(server=self.server.name, stage=stage, reason=reason, stderr=self.stderr())

    async def _watch(self, connection: Connection, since: float) -> None:
        """Wait for a connection's end, and for what is left of it; then start again, if it crashed."""
        process = self._process
        await connection.ended.wait()
        self._error = connection.end_reason
        await connection.close()
        await self._drop(process)
        self._connection = None
        self._watching = None
        self._state = "idle"
        if self._closing:
            return
        logger.warning("%s %s", self.server.name, self._error)
        if time.monotonic() - since > STEADY_S:
            self._failures = 0
        wait_s = min(BACKOFF_S * 2**self._failures, BACKOFF_MAX_S)
        self._failures += 1
        self._not_before = time.monotonic() + wait_s
        if process is not None and not self._retired and self._starting is None:
            self._state = "waiting"
            self._starting = asyncio.create_task(self._start(), name=f"restart of {self.server.name}")
            self._starting.add_done_callback(_retrieve)

    async def close(self) -> None:
        """End it.  Calls that are under way end with `MaybeRan`."""
        self._closing = True
        self._failure.forget()
        try:
            starting = self._starting
            if starting is not None:
                starting.cancel()
                await asyncio.wait((starting,))
            connection = self._connection
            if connection is not None:
                await connection.close()
            if self._watching is not None:
                await asyncio.wait((self._watching,))
        finally:
            self._closing = False
            self._state = "idle"
            self._failures = 0
            self._not_before = 0.0

    def retire(self) -> None:
        """Say that it ends with its calls, because another takes its place."""
        self._retired = True

    async def authorize(self, call: Call, loopback: Loopback) -> None:
        """Connect with a user who may grant access.

        Raises:
            ServerFailed, NeedsAuthorization: that did not come about.
        """
        module = await asyncio.to_thread(sdk.connection)

        async def visit(url: str) -> None:
            call.tell(Event(kind="visit", text=url))

        transport = module.http.Transport(self.server, sse=self._sse, visit=visit, loopback=loopback)
        server = msgspec.structs.replace(self.server, start_timeout_s=call.idle_s)
        connection = module.Connection(server, self, None, transport, legacy=self._legacy)
        try:
            await connection.open()
        except module.StartFailed as error:
            raise self._failed(error.stage, error.reason) from None
        await connection.close()

    # --- asking --------------------------------------------------------------------------------

    async def ask(self, call: Call, method: str, params: dict[str, Any]) -> bytes:
        """Ask the server for one call, and return the result's JSON.

        Raises:
            ServerFailed, NeedsAuthorization: it cannot be started.
            ServerRefused: it answered with an error.
            TimedOut: it was silent for too long.
            MaybeRan: it went away.
        """
        self.calls.append(call)
        self.unused.clear()
        try:
            if self._room is None:
                return await self._ask(call, method, params)
            async with self._room:
                return await self._ask(call, method, params)
        finally:
            self.calls.remove(call)
            self.used_at = time.monotonic()
            if not self.calls:
                self.unused.set()

    async def _ask(self, call: Call, method: str, params: dict[str, Any]) -> bytes:
        for attempt in range(2):
            connection = await self.ready(call.note)
            module = sdk.connection()
            try:
                return await self._ask_in_time(connection, call, method, params)
            except module.Refused as error:
                raise ServerRefused(
                    server=self.server.name,
                    code=error.code,
                    message=sendable(error.message),
                    data=error.data,
                ) from None
            except module.Lost as error:
                if not error.ran and attempt == 0:
                    continue  # it was not asked: a new connection is
                reason = redact.redacted(str(error), self._secrets)
                if not error.ran:
                    raise self._failed("connect", reason) from None
                if self._watching is not None:
                    await asyncio.wait((self._watching,), timeout=1.0)  # for the last lines of stderr
                raise MaybeRan(
                    server=self.server.name, tool=call.label, reason=reason, stderr=self.stderr()
                ) from None
        raise AssertionError

    async def _ask_in_time(
        self, connection: Connection, call: Call, method: str, params: dict[str, Any]
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

    async def list(self, method: str) -> list[bytes]:
        """Return what the server lists, each as its JSON.

        Raises:
            ServerFailed, NeedsAuthorization: it cannot be started, or cannot say what it has.  No call
                ran: who wanted one had not been asked for it yet.
        """
        key, capability = LISTS[method]
        connection = await self.ready()
        if f'"{capability}"' not in connection.capabilities:
            return []
        found: list[bytes] = []
        params: dict[str, Any] = {}
        for _ in range(MAX_PAGES):
            page = await self._page(method, params)
            self._ttl_ms = _ttl_ms(page.get("ttlMs"))
            try:
                found += map(bytes, msgspec.json.decode(page.get(key, b"[]"), type=list[msgspec.Raw]))
            except msgspec.ValidationError as error:
                raise self._failed("list", f"its answer to {method} has no list: {error}") from None
            cursor = msgspec.json.decode(page.get("nextCursor", b"null"))
            if not cursor:
                break
            params = {"cursor": cursor}
        return found

    async def _page(self, method: str, params: dict[str, Any]) -> dict[str, msgspec.Raw]:
        call = Call(method, min(self.server.timeout_s, self.server.start_timeout_s))
        try:
            answer = await self.ask(call, method, params)
        except TimedOut as error:
            raise self._failed("list", f"no answer to {method} within {error.seconds:g} s") from None
        except MaybeRan as error:
            raise self._failed("list", f"{error.reason} when asked for {method}") from None
        except ServerRefused as error:
            reason = f"answered {method} with an error: {brief(error.message)} ({error.code})"
            raise self._failed("list", reason) from None
        return msgspec.json.decode(answer, type=dict[str, msgspec.Raw])

    async def list_tools(self, *, anew: bool = False, shown: bool = False) -> dict[str, Tool]:
        """Return the server's tools, by name; those that it listed before unless `anew`.

        Args:
            anew: whether it is asked in any case.
            shown: whether they are for somebody to see: then what is out of date is asked for.

        Raises:
            As `ask`.
        """
        from mcp_cli.pool.filters import hidden_by

        async with self._listing:
            old = shown and time.monotonic() >= self.tools_until
            if self.tools is not None and not anew and not old:
                return self.tools
            connection = await self.ready()
            began = time.monotonic()
            self._told_of_change = False
            server = self.server
            tools: dict[str, Tool] = {}
            for raw in await self.list("tools/list"):
                try:
                    read = msgspec.json.decode(raw, type=_RawTool)
                except msgspec.ValidationError as error:
                    raise self._failed("list", f"one of its tools is none: {error}") from None
                tools[read.name] = Tool(
                    read.name,
                    sendable(read.title or ""),
                    sendable(read.description or ""),
                    read.input_schema,
                    read.output_schema,
                    raw,
                    hidden_by(read.name, server.allowed_tools, server.disabled_tools),
                )
            if not self._told_of_change:
                self.tools = tools
            self.tools_at = began
            self.tools_until = freshness.good_until(began, self._ttl_ms, told=connection.tells_of_tools)
            return tools

    async def check_health(self) -> None:
        """Ping it, if it is quiet and asked nothing; one that does not answer is ended, and starts again."""
        connection = self._connection
        if connection is None or self.calls or connection.modern:
            return
        if asyncio.get_running_loop().time() - connection.heard_at < QUIET_S:
            return
        call = Call("ping", PING_S)
        try:
            await self.ping(call)
        except (TimedOut, MaybeRan):
            if connection is self._connection and not [one for one in self.calls if one is not call]:
                logger.warning("%s does not answer a ping: it is ended", self.server.name)
                await connection.close()
        except (ServerRefused, ServerFailed, NeedsAuthorization):
            pass

    async def ping(self, call: Call) -> float:
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
        text = redact.redacted(text, self._secrets)
        logger.warning("%s %s", self.server.name, text)
        for call in self.calls:
            call.tell(Event(kind="note", level="warning", text=f"{self.server.name} {text}"))

    def log(self, level: str, logger: str, data: str) -> None:  # the notification's word
        """Tell all calls that want it of a log notification: it does not say to which it belongs."""
        for call in self.calls:
            if call.logs:
                call.tell(Event(kind="log", level=level, logger=sendable(logger), result=data))

    def changed(self, method: str) -> None:
        """Forget the tools when they have changed."""
        if method == "notifications/tools/list_changed":
            self.tools = None
            self._told_of_change = True

    async def question(self, method: str, params: str) -> str | None:
        """Ask a caller; None for a refusal."""
        if method == "roots/list" and self.server.roots:
            return _roots(self.server.roots)
        # Over pipes a question does not say to which call it belongs: the latest that answers such takes it.
        call = next((one for one in reversed(self.calls) if method in one.answers), None)
        if call is None:
            if method != "roots/list":
                self.note(f"asked for {method}, which was refused: nobody is there to answer")
            return None
        number = str(next(_questions))
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        call.questions[number] = answer
        call.renew()
        call.tell(Event(kind="question", id=number, method=method, result=params))
        try:
            return await answer or None
        finally:
            call.questions.pop(number, None)
            call.renew()

    def _stderr_line(self, line: str) -> None:
        line = redact.redacted(line, self._secrets)
        for call in self.calls:
            if call.logs:
                call.tell(Event(kind="stderr", text=line))


def item_of(raw: bytes, *, detail: bool) -> Item:
    """Return one entry of a list; its name is what it is asked for by."""
    with contextlib.suppress(msgspec.ValidationError):
        read = msgspec.json.decode(raw, type=_Named)
        title = read.title or (read.name if read.uri or read.uri_template else "")
        return Item(
            sendable(read.uri or read.uri_template or read.name),
            sendable(title),
            sendable(read.description or ""),
            text_of(raw) if detail else "",
        )
    return Item("", "", "", text_of(raw) if detail else "")


def _ttl_ms(raw: bytes | None) -> float | None:
    """Return what a list says of its time to live; None for nothing that is a number."""
    try:
        return msgspec.json.decode(raw, type=float) if raw else None
    except msgspec.MsgspecError:
        return None


def _roots(paths: list[str]) -> str:
    from urllib.parse import quote

    uris = [path if "://" in path else "file://" + quote(path) for path in paths]
    return msgspec.json.encode({"roots": [{"uri": uri} for uri in uris]}).decode()


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Look at a task's exception, so that one that nobody waited for is not told as lost."""
    if not task.cancelled():
        task.exception()
