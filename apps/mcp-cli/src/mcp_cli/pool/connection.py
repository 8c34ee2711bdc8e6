"""One connection to a server: the SDK's client in a task of its own, and the requests through it.

Owns the handshake and its deadline, the choice of the protocol's era, and what an end of the connection
means for a request that is under way.  The SDK's objects are entered and left in one task, which is why
there is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import mcp_types as types
import msgspec
from mcp import Client
from mcp.client.extension import advertise
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, ConfigDict, ValidationError

from mcp_cli.names import PROTOCOLS, __version__
from mcp_cli.pool import processes
from mcp_cli.pool.callbacks import Callbacks, Hooks, first_problem, json_of
from mcp_cli.pool.http import answers
from mcp_cli.pool.http.transport import Transport, shown
from mcp_cli.pool.results import brief, cut
from mcp_cli.pool.stdio import SpawnFailed, StdioProcess
from mcp_cli.pool.tap import Answer, HttpStreams, MessageTap, StdioStreams, asking
from mcp_cli.protocol.interfaces import Server

logger = logging.getLogger("mcp_cli.connection")

LogLevel = types.LoggingLevel
Progress = ProgressFnT

# The extension by which a server of 2026 may answer a call with a task.
TASKS = "io.modelcontextprotocol/tasks"
# How many variables are named that a server was not given.
MOST_MISSED = 12
# Between the end of a connection and knowing why.
END_KNOWN_S = 1.0
# What the SDK does more for than ask, with servers of 2026 and later: it answers their questions in several
# rounds, and keeps of the tools what goes into headers.
MODERN_CALLS = frozenset(("tools/call", "prompts/get", "resources/read", "tools/list"))


class OpenFailed(Exception):
    """The connection could not be made.

    Attributes:
        stage: `spawn`, `connect`, `initialize`, `authorize`, or `access` where that went wrong.
        reason: for people, in one line.
    """

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(f"{stage}: {reason}")
        self.stage = stage
        self.reason = reason


class RequestLost(Exception):
    """The connection ended before the answer; its text says how.

    Attributes:
        ran: whether the request may have been carried out.
        refused: the error that a new connection is the remedy for; None for none.
    """

    def __init__(self, reason: str, *, ran: bool, refused: RequestRefused | None = None) -> None:
        super().__init__(reason)
        self.ran = ran
        self.refused = refused


class RequestRefused(Exception):
    """The server answered with a JSON-RPC error."""

    def __init__(self, code: int, message: str, data: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class _AnyRequest(types.Request[dict[str, Any], str]):
    pass


class _TaskRequest(_AnyRequest):
    # Over HTTP the id stands in a header as well.
    name_param = "taskId"


class _AnyResult(BaseModel):
    model_config = ConfigDict(extra="allow")


class ServerConnection:
    """A connection that is made by `open` and ended by `close`.

    Args:
        server: its definition.
        hooks: gets notifications and questions.
        process: of a stdio server, started; None for the others.
        transport: of an HTTP server; None for the others.
        legacy: whether the server is known not to speak a revision of 2026 or later.

    Attributes:
        protocol: the negotiated revision.
        info: the server's `serverInfo`, JSON; "" if it gave none.
        capabilities: JSON.
        instructions: its own description.
        ended: set when the connection has ended, for whatever reason.
        end_reason: how, for people.
        subscribers: how many are subscribed to a resource, by its URI; of servers from before 2026.
    """

    def __init__(
        self,
        server: Server,
        hooks: Hooks,
        process: StdioProcess | None = None,
        transport: Transport | None = None,
        *,
        legacy: bool = False,
    ) -> None:
        self.server = server
        self.hooks = hooks
        self.protocol = ""
        self.info = ""
        self.capabilities = ""
        self.instructions = ""
        self.ended = asyncio.Event()
        self.end_reason = ""
        self.legacy = legacy
        self.subscribers: dict[str, int] = {}
        self._end_error: BaseException | None = None
        self._process = process
        self._tap = MessageTap(hooks.note, offer=server.protocol if server.protocol in PROTOCOLS[:-1] else "")
        self._http = transport
        self._stop = asyncio.Event()
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._client: Client | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def client(self) -> Client:
        """The SDK's client.

        Raises:
            RequestLost: the connection has ended.
        """
        if self._client is None or self.over:
            raise RequestLost(self.end_reason or "the connection has ended", ran=False)
        return self._client

    @property
    def heard_at(self) -> float:
        """When the server was last heard of, on the loop's clock."""
        return self._tap.heard_at

    @property
    def over(self) -> bool:
        """Whether it has ended, or is about to."""
        return self._tap.closed.is_set() or self.ended.is_set()

    @property
    def only_discovered(self) -> bool:
        """Whether the only request so far was `server/discover`, which older servers may not survive."""
        return self._tap.discovering

    @property
    def modern(self) -> bool:
        """Whether the revision is one of those without a handshake."""
        return self.protocol in MODERN_PROTOCOL_VERSIONS

    @property
    def has_tasks(self) -> bool:
        """Whether a server of 2025-11-25 runs tools as tasks."""
        return '"tasks":{' in self.capabilities

    @property
    def tells_of_tools(self) -> bool:
        """Whether the server is sure to tell when its tools change."""
        # A server over HTTP may have no stream to tell it on, and one of 2026 tells who listens.
        return self._process is not None and not self.modern

    async def open(self) -> None:
        """Make the connection.

        Raises:
            OpenFailed: that did not work, or not within the server's `start_timeout_s`.
        """
        self._task = asyncio.create_task(self._run(), name=f"connection to {self.server.name}")
        try:
            await asyncio.shield(self._opened)
        except asyncio.CancelledError:
            await self.close()
            raise

    async def close(self) -> None:
        """End the connection; a stdio server's process is ended by who started it."""
        self._stop.set()
        if self._task is not None:
            if not self._opened.done():
                self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        try:
            async with asyncio.timeout(self.server.start_timeout_s) as deadline:
                async with self._make() as client:
                    self._client = client
                    await self._introduce(client)
                    deadline.reschedule(None)
                    self._opened.set_result(None)
                    await _first_of(self._stop, self._tap.closed)
                    self.end_reason = await self._reason()
                    self.ended.set()
        except BaseException as error:  # `open` raises it, if it still waits
            await self._failed(error)
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            self._tap.closed.set()
            self.ended.set()

    def _make(self) -> Client:
        if self._process is not None:
            transport: Any = StdioStreams(self._process, self._tap)
        else:
            transport = HttpStreams(self._http, self._tap)
        callbacks = Callbacks(self.hooks)
        return Client(
            transport,
            mode="legacy" if self.legacy else "auto",
            client_info=types.Implementation(name="mcp-cli", version=__version__),
            cache=None,
            log_level=self._log_level(),
            logging_callback=callbacks.log,
            message_handler=callbacks.message,
            sampling_callback=callbacks.sampling,
            elicitation_callback=callbacks.elicitation,
            list_roots_callback=callbacks.roots,
            sampling_capabilities=types.SamplingCapability(tools=types.SamplingToolsCapability()),
            extensions=[advertise(TASKS)],
        )

    def _log_level(self) -> LogLevel:
        level: LogLevel = msgspec.convert(self.server.log_level or "info", LogLevel)
        return level

    async def _introduce(self, client: Client) -> None:
        session = client.session
        self.protocol = client.protocol_version
        if self.server.protocol not in ("", self.protocol):
            raise RuntimeError(f"speaks {self.protocol}, and is held to {self.server.protocol}")
        if client.server_info is not None:
            self.info = json_of(client.server_info)
        self.capabilities = json_of(client.server_capabilities)
        self.instructions = session.instructions or ""
        if self.server.log_level and not self.modern and client.server_capabilities.logging is not None:
            with contextlib.suppress(MCPError):
                await self.ask("logging/setLevel", {"level": self._log_level()}, None)

    async def _failed(self, error: BaseException) -> None:
        """Tell how the connection ended, or why it was not made."""
        self._end_error = _first(error)
        self.end_reason = self.end_reason or await self._reason(error)
        if self._opened.done():
            return
        stage = "initialize"
        reason = self.end_reason
        if isinstance(error, TimeoutError):
            still = _still(self._process, self.server)
            reason = f"no answer to initialize within {self.server.start_timeout_s:g} s{still}"
            if self._http is not None and self._http.awaited:
                stage, reason = "authorize", f"no browser came back within {self.server.start_timeout_s:g} s"
        elif self._http is not None and any(self._http.refusal()):
            stage, reason = self._http.refusal()
        elif self._http is not None and not self._http.reached:
            stage = "connect"
        self._opened.set_exception(OpenFailed(stage, reason))
        self._opened.exception()  # who waited may be gone

    async def _reason(self, error: BaseException | None = None) -> str:
        if self._stop.is_set():
            return "was asked to end"
        if self._process is not None and (self._process.ended.is_set() or self._tap.closed.is_set()):
            if self._tap.gave_up:
                return self._tap.gave_up
            return await self._process.exit_text()
        first = self._tap.broke or _first(error)
        if isinstance(first, MCPError):
            return f"answered with an error: {brief(first.error.message)} ({first.error.code})"
        if isinstance(first, ValidationError):
            return f"its answer to initialize breaks the protocol: {first_problem(first)}"
        if type(first) is RuntimeError and str(first):  # how the SDK refuses a message
            return brief(first)
        if self._http is not None and (reason := self._http.reason(first)):
            return reason
        return brief(f"{type(first).__name__}: {first}") if first is not None else "ended the connection"

    async def ask(self, method: str, params: dict[str, Any], progress: Progress | None) -> bytes:
        """Ask the server, and return the result's JSON.

        To be cancelled is to have the server told that nobody waits any more.

        Raises:
            RequestLost: the connection ended first.
            RequestRefused: the server answered with an error.
        """
        client = self.client
        answer = Answer(method)
        token = asking.set(answer)
        work = asyncio.create_task(self._ask(client, method, params, progress))
        asking.reset(token)
        ended = asyncio.create_task(self._tap.closed.wait())
        try:
            await asyncio.wait((work, ended), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():  # the SDK tells its callers of the end, but not of a stray answer
                await asyncio.wait((work,), timeout=0.1)
            if not work.done():
                raise await self._lost(answer)
            return await self._outcome(work, answer)
        finally:
            ended.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait((work,))
            elif not work.cancelled():
                work.exception()

    async def _ask(
        self, client: Client, method: str, params: dict[str, Any], progress: Progress | None
    ) -> None:
        if self.modern and method in MODERN_CALLS:
            if method == "tools/call":
                await client.call_tool(
                    params["name"],
                    params.get("arguments"),
                    progress_callback=progress,
                    meta=params.get("_meta"),
                )
            elif method == "prompts/get":
                await client.get_prompt(params["name"], params.get("arguments"))
            elif method == "tools/list":
                cursor = params.get("cursor")
                await client.session.list_tools(
                    params=types.PaginatedRequestParams(cursor=cursor) if cursor else None
                )
            else:
                await client.read_resource(params["uri"])
            return
        kind = _TaskRequest if method.startswith("tasks/") else _AnyRequest
        await client.session.send_request(
            kind(method=method, params=params), _AnyResult, progress_callback=progress
        )

    async def _outcome(self, work: asyncio.Task[None], answer: Answer) -> bytes:
        error = _first(work.exception())
        # What the server sent counts, also where the SDK does not like it.
        if answer.raw is not None and (error is None or isinstance(error, ValidationError | RuntimeError)):
            return answer.raw
        if isinstance(error, MCPError):
            data = error.error
            if answer.broken:
                raise RequestLost(answer.broken, ran=True) from None
            if not answer.refused:
                raise await self._lost(answer) from None
            text = "" if data.data is None else msgspec.json.encode(data.data).decode()
            refused = RequestRefused(data.code, cut(data.message), cut(text))
            if self._http is not None:
                found = _judged(refused, self._http.status_of(answer.key), self.server.url)
                if isinstance(found, RequestLost) and not found.ran:
                    if self._tap.outstanding:  # others go on in the session
                        found = found.refused or found
                    else:
                        self._tap.closed.set()
                raise found from None
            raise refused from None
        if error is None:
            raise RequestLost("the server's answer came to nothing", ran=True)
        reached = self._http is None or not self._http.never_sent(error)
        raise RequestLost(await self._reason(error), ran=answer.written and reached) from None

    async def _lost(self, answer: Answer) -> RequestLost:
        """Return what the end of the connection means for a request."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_KNOWN_S):
                await self.ended.wait()
        ran = answer.written and not (self._http and self._http.keeps_back(answer, self._tap.outstanding))
        others = [one for one in self._tap.outstanding.values() if one is not answer]
        if self._http is not None and self._end_error is not None and not others:
            ran = ran and not self._http.never_sent(self._end_error)
        return RequestLost(self.end_reason or await self._reason(), ran=ran)


def _judged(told: RequestRefused, status: int, url: str) -> RequestRefused | RequestLost:
    """Return what an error means that came over HTTP: the server's own, or the SDK's for no answer of its.

    One that did not run is lost where a new session may be the remedy.
    """
    code, message = told.code, str(told)
    fate = answers.unanswered(code, message, status)
    if fate is not None and fate.ran:
        return RequestLost(fate.reason, ran=True)
    refused = told if fate is None else RequestRefused(types.INVALID_REQUEST, fate.reason, "")
    if answers.tells_of_a_lost_session(code, message, status):
        reason = f"{shown(url)} answered {answers.named(status)}"
        return RequestLost(reason, ran=False, refused=refused)
    return refused


@contextlib.asynccontextmanager
async def listening(
    connection: ServerConnection, uris: Sequence[str], *, lists: bool
) -> AsyncIterator[asyncio.Event]:
    """Hold a `subscriptions/listen` open, and yield an event that is set when the server ends it.

    The changes themselves come by the hooks, as those of older servers do.

    Raises:
        RequestRefused, RequestLost: it does not come about.
    """
    lost = asyncio.Event()
    listen = connection.client.listen(
        tools_list_changed=lists,
        prompts_list_changed=lists,
        resources_list_changed=lists,
        resource_subscriptions=list(uris),
    )
    async with contextlib.AsyncExitStack() as stack:
        try:
            subscription = await stack.enter_async_context(listen)
        except MCPError as error:
            said = cut(error.error.message)
            if error.error.code == types.METHOD_NOT_FOUND:
                said = f"{said}: it tells of no changes in {PROTOCOLS[-1]}; try --protocol {PROTOCOLS[-2]}"
            raise RequestRefused(error.error.code, said, "") from None
        except SubscriptionLost as error:
            raise RequestLost(str(error), ran=False) from None
        refused = set(uris).difference(subscription.honored.resource_subscriptions or ())
        if refused:
            reason = f"nobody can subscribe to {brief(min(refused))}"
            raise RequestRefused(types.METHOD_NOT_FOUND, reason, "")

        async def follow() -> None:
            with contextlib.suppress(SubscriptionLost):
                async for _ in subscription:
                    pass
            lost.set()

        following = asyncio.create_task(follow())
        try:
            yield lost
        finally:
            following.cancel()


def _first(error: BaseException | None) -> BaseException | None:
    """Return the first exception of a group, since the SDK's task groups wrap whatever happens."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _still(process: StdioProcess | None, server: Server) -> str:
    """Say what a server that does not answer may be waiting for, and what it may lack."""
    if process is None:
        return ""
    running, missed = processes.names(process.pid), server.missed[:MOST_MISSED]
    still = f"; {running} still runs" if running else ""
    return still + (f"; not passed to it: {', '.join(missed)} (pass_env)" if missed else "")


async def _first_of(*events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


__all__ = ["Hooks", "OpenFailed", "RequestLost", "RequestRefused", "ServerConnection", "SpawnFailed"]
