"""The calls of `interfaces.Mcp`, answered.

Owns the servers of the daemon, by name and fingerprint, and the steps of one call of a tool: found,
checked, asked, and told as events.  Starting, restarting and ending a server is `server`'s and `lifecycle`'s.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any, Final

from mcp_cli.names import NAME
from mcp_cli.pool import checking, granting, processes, results
from mcp_cli.pool.call import PendingCall
from mcp_cli.pool.outcomes import ended, outcome
from mcp_cli.pool.server import ManagedServer
from mcp_cli.pool.stdio import END_S
from mcp_cli.pool.tasks import remote
from mcp_cli.pool.tasks.calls import TaskCalls
from mcp_cli.pool.tasks.jobs import Jobs
from mcp_cli.pool.tools import ListedTool, item_of
from mcp_cli.pool.watching import WatchCalls
from mcp_cli.protocol.access import Access
from mcp_cli.protocol.interfaces import (
    Changed,
    Event,
    Item,
    Listing,
    NeedsAuthorization,
    NoSuchQuestion,
    NotConfigured,
    Pong,
    Question,
    Ref,
    Server,
    ServerFailed,
    ServerState,
)

logger = logging.getLogger("mcp_cli.pool")

# How often servers are looked after: pinged, and ended where another has taken their place.
ROUND_S: Final = 10.0
# A definition that has a newer one of its name beside it, and that nobody uses, ends after so long.
SPARE_S: Final = 60.0
# Of a listing: what comes in one message, in characters of JSON.
LISTING_CHARS: Final = 1 << 20

Key = tuple[str, str]
Reader = Callable[[ManagedServer], Coroutine[Any, Any, tuple[list[Item], int]]]


class ServerPool(TaskCalls, WatchCalls):
    """The servers of one daemon, or of one process.

    Args:
        patience_s: as `ManagedServer`.
        jobs: the tasks that it holds; in memory where none are given.
    """

    def __init__(self, patience_s: float = END_S, jobs: Jobs | None = None) -> None:
        self._patience_s = patience_s
        self.jobs = Jobs() if jobs is None else jobs
        self._kept: dict[Key, ManagedServer] = {}
        # Those that end with their calls, by the task that sees to it.
        self._leaving: dict[asyncio.Task[None], ManagedServer] = {}

    # --- the servers -----------------------------------------------------------------------------

    async def configure(self, servers: list[Server]) -> Changed:
        """As `Mcp.configure`."""
        changed = Changed([], [], [])
        for server in servers:
            key = (server.name, server.fingerprint)
            if key in self._kept:
                changed.kept.append(server.name)
                continue
            older = [one for one in self._kept.values() if _replaces(server, one.server)]
            for one in older:
                del self._kept[one.server.name, one.server.fingerprint]
                one.retire()
                self._leave(one)
            self._kept[key] = ManagedServer(server, self._patience_s)
            (changed.replaced if older else changed.added).append(server.name)
        return changed

    def _leave(self, kept: ManagedServer) -> None:
        async def leave() -> None:
            await kept.unused.wait()
            await kept.close()

        task = asyncio.create_task(leave(), name=f"end of {kept.server.name}")
        self._leaving[task] = kept
        task.add_done_callback(lambda _: self._leaving.pop(task, None))

    def known(self, server: str, fingerprint: str) -> ManagedServer | None:
        """Return a server that was given; None where it was not."""
        return self._kept.get((server, fingerprint))

    def find(self, server: str, fingerprint: str) -> ManagedServer:
        """Return a server that was given.

        Raises:
            NotConfigured: it was not.
        """
        kept = self.known(server, fingerprint)
        if kept is None:
            raise NotConfigured(server=server, fingerprint=fingerprint)
        return kept

    async def servers(self, usage: bool = False) -> list[ServerState]:
        """As `Mcp.servers`."""
        states = [kept.state() for kept in self._every()]
        if usage:
            await _add_usage(states)
        return states

    def _every(self) -> list[ManagedServer]:
        """Return all servers, also those that end with their calls."""
        return [*self._kept.values(), *self._leaving.values()]

    async def info(self, server: str, fingerprint: str) -> ServerState:
        """As `Mcp.info`."""
        kept = self.find(server, fingerprint)
        await kept.ready()
        return kept.state()

    async def restart(self, server: str, fingerprint: str) -> ServerState:
        """As `Mcp.restart`."""
        kept = self.find(server, fingerprint)
        await kept.close()
        await kept.ready()
        return kept.state()

    async def ping(self, server: str, fingerprint: str, timeout_s: float = 5.0) -> Pong:
        """As `Mcp.ping`."""
        return Pong(await self.find(server, fingerprint).ping(PendingCall("ping", timeout_s)))

    async def look_after(self) -> None:
        """Keep the servers in order, until cancelled."""
        while True:
            await asyncio.sleep(ROUND_S)
            self.jobs.prune()
            for kept in list(self._kept.values()):
                try:
                    await kept.check_health()
                except Exception:  # one server's oddity must not end the daemon
                    logger.exception("the health of %s could not be checked", kept.server.name)
                await _end_idle(kept)
                if self._is_spare(kept):
                    del self._kept[kept.server.name, kept.server.fingerprint]
                    self._leave(kept)

    def _is_spare(self, kept: ManagedServer) -> bool:
        if kept.calls or kept.live.active or time.monotonic() - kept.used_at < SPARE_S:
            return False
        mine = kept.server
        return any(
            other.server.name == mine.name
            and other.server.source == mine.source
            and other.used_at > kept.used_at
            for other in self._kept.values()
        )

    async def close(self) -> None:
        """End all servers."""
        await self.jobs.close()
        every = list(self._kept.values())
        self._kept.clear()
        for kept in every:
            kept.live.end()
        await asyncio.gather(*(kept.close() for kept in every), *self._leaving, return_exceptions=True)

    @property
    def running(self) -> int:
        """How many servers are connected, or about to be."""
        return sum(kept.running for kept in self._every())

    @property
    def calls(self) -> int:
        """How many calls are under way."""
        return sum(len(kept.calls) for kept in self._every())

    # --- lists -----------------------------------------------------------------------------------

    def tools(self, servers: list[Ref], detail: bool = True) -> AsyncGenerator[Listing, None]:
        """As `Mcp.tools`."""

        async def read(kept: ManagedServer) -> tuple[list[Item], int]:
            tools = (await kept.lists.tools(shown=True)).values()
            shown = [_item(tool, detail=detail) for tool in tools if not tool.hidden]
            return shown, len(tools) - len(shown)

        return self._listings(servers, read)

    def resources(self, servers: list[Ref], detail: bool = True) -> AsyncGenerator[Listing, None]:
        """As `Mcp.resources`."""
        return self._listings(servers, _reader("resources/list", detail=detail))

    def templates(self, servers: list[Ref], detail: bool = True) -> AsyncGenerator[Listing, None]:
        """As `Mcp.templates`."""
        return self._listings(servers, _reader("resources/templates/list", detail=detail))

    def prompts(self, servers: list[Ref], detail: bool = True) -> AsyncGenerator[Listing, None]:
        """As `Mcp.prompts`."""
        return self._listings(servers, _reader("prompts/list", detail=detail))

    async def _listings(self, refs: list[Ref], read: Reader) -> AsyncGenerator[Listing, None]:
        every = [self.find(ref.server, ref.fingerprint) for ref in refs]
        tasks = {asyncio.create_task(read(kept)): kept for kept in every}
        waiting = set(tasks)
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    for listing in _listings_of(tasks[task], task):
                        yield listing
        finally:
            for task in waiting:
                task.cancel()

    async def tool(self, server: str, fingerprint: str, tool: str) -> Item:
        """As `Mcp.tool`."""
        kept = self.find(server, fingerprint)
        await kept.lists.tools(shown=True)
        return _item(await checking.tool_of(kept, tool), detail=True)

    # --- calls -----------------------------------------------------------------------------------

    def call(  # noqa: PLR0913, PLR0917  # as in the interface
        self,
        server: str,
        fingerprint: str,
        tool: str,
        arguments: str = "{}",
        words: list[str] | None = None,
        timeout_s: float | None = None,
        answers: list[str] = [],  # noqa: B006  # read only
        logs: bool = True,
        check: bool = True,
        meta: str = "",
        pin: str = "",
    ) -> AsyncGenerator[Event, None]:
        """As `Mcp.call`."""
        kept = self.find(server, fingerprint)
        call = PendingCall(tool, timeout_s or kept.server.timeout_s, tuple(answers), logs=logs)

        async def work() -> list[Event]:
            await kept.ready(call.note)
            found, given = await checking.checked(kept, tool, arguments, words, check=check, pin=pin)
            began = time.monotonic()
            params = {"name": tool, "arguments": given, **checking.meta_of(meta)}
            result = await remote.called(kept, call, found, params)
            return ended(result, outcome(found, result, began))

        return _events(call, work)

    # --- questions -------------------------------------------------------------------------------

    async def answer(self, id: str, result: str) -> None:  # noqa: A002
        """As `Mcp.answer`."""
        if not any(kept.questions.answer(id, result) for kept in self._every()):
            raise NoSuchQuestion(id=id)

    async def questions(self) -> list[Question]:
        """As `Mcp.questions`."""
        return sorted(
            (one for kept in self._every() for one in kept.questions.every()), key=lambda one: one.asked_at
        )

    def read(
        self, server: str, fingerprint: str, uri: str, timeout_s: float | None = None
    ) -> AsyncGenerator[Event, None]:
        """As `Mcp.read`."""
        kept = self.find(server, fingerprint)
        call = PendingCall(uri, timeout_s or kept.server.timeout_s)
        return _events(call, _asker(kept, call, "resources/read", {"uri": uri}))

    def prompt(
        self,
        server: str,
        fingerprint: str,
        prompt: str,
        arguments: dict[str, str] = {},  # noqa: B006  # read only
        timeout_s: float | None = None,
    ) -> AsyncGenerator[Event, None]:
        """As `Mcp.prompt`."""
        kept = self.find(server, fingerprint)
        call = PendingCall(prompt, timeout_s or kept.server.timeout_s)
        params: dict[str, Any] = {"name": prompt}
        if arguments:
            params["arguments"] = arguments
        return _events(call, _asker(kept, call, "prompts/get", params))

    async def complete(  # as in the interface
        self,
        server: str,
        fingerprint: str,
        argument: str,
        value: str,
        prompt: str = "",
        uri: str = "",
        context: dict[str, str] = {},  # noqa: B006  # read only
    ) -> str:
        """As `Mcp.complete`."""
        kept = self.find(server, fingerprint)
        call = PendingCall(prompt or uri, kept.server.timeout_s)
        params: dict[str, Any] = {
            "ref": {"type": "ref/prompt", "name": prompt} if prompt else {"type": "ref/resource", "uri": uri},
            "argument": {"name": argument, "value": value},
        }
        if context:
            params["context"] = {"arguments": context}
        return results.text_of(await kept.ask(call, "completion/complete", params))

    # --- access ----------------------------------------------------------------------------------

    def authorize(
        self, server: str, fingerprint: str, timeout_s: float = 300.0
    ) -> AsyncGenerator[Event, None]:
        """As `Mcp.authorize`."""
        kept = self.find(server, fingerprint)
        call = PendingCall(server, timeout_s)
        return _events(call, granting.by_browser(kept, call))

    async def accesses(self, servers: list[Ref]) -> list[Access]:
        """As `Mcp.accesses`."""
        return await granting.accesses([self.find(one.server, one.fingerprint) for one in servers])

    async def import_tokens(self, server: str, fingerprint: str, text: str) -> Access:
        """As `Mcp.import_tokens`."""
        return await granting.take(self.find(server, fingerprint), text)

    async def forget(self, server: str, fingerprint: str) -> bool:
        """As `Mcp.forget`."""
        return await granting.forget(self.find(server, fingerprint))


async def _end_idle(kept: ManagedServer) -> None:
    """End a server that nobody has called or watched for as long as its definition says."""
    idle_s = kept.server.idle_s
    if not idle_s or not kept.is_ready or kept.calls or kept.live.active:
        return
    if time.monotonic() - kept.used_at >= idle_s:
        logger.info("%s: nobody called it for %g s: it is ended", kept.server.name, idle_s)
        await kept.close()


async def _add_usage(states: list[ServerState]) -> None:
    """Add the processes of servers and their memory."""
    trees = await asyncio.to_thread(processes.trees, [one.pid for one in states if one.pid])
    for one in states:
        own = trees.get(one.pid, [])
        one.processes, one.rss_bytes = len(own), sum(program.rss_bytes for program in own)


def _replaces(new: Server, old: Server) -> bool:
    """Whether a definition is the newer form of another, rather than the same one for another environment."""
    return (
        new.name == old.name
        and new.source == old.source
        and (new.template or new.fingerprint) != (old.template or old.fingerprint)
    )


def _item(tool: ListedTool, *, detail: bool) -> Item:
    return Item(
        results.sendable(tool.name), tool.title, tool.description, results.text_of(tool.raw) if detail else ""
    )


def _reader(method: str, *, detail: bool) -> Reader:
    async def read(kept: ManagedServer) -> tuple[list[Item], int]:
        return [item_of(raw, detail=detail) for raw in await kept.lists.entries(method)], 0

    return read


def _listings_of(kept: ManagedServer, task: asyncio.Task[tuple[list[Item], int]]) -> list[Listing]:
    """Return a server's listing, in messages that fit into a frame."""
    name, fingerprint = kept.server.name, kept.server.fingerprint
    error = task.exception()
    state = kept.state()
    if error is not None:
        state.error = _told(error)
        if state.state == "ready":
            state.state = "failed"
        return [Listing(server=name, fingerprint=fingerprint, state=state)]
    items, filtered = task.result()
    groups: list[list[Item]] = [[]]
    size = 0
    for item in items:
        size += len(item.json) + len(item.description)
        if size > LISTING_CHARS and groups[-1]:
            groups.append([])
            size = len(item.json) + len(item.description)
        groups[-1].append(item)
    last = len(groups) - 1
    return [
        Listing(
            server=name,
            fingerprint=fingerprint,
            items=group,
            filtered=filtered if at == last else 0,
            more=at < last,
            state=state,
        )
        for at, group in enumerate(groups)
    ]


def _told(error: BaseException) -> str:
    if isinstance(error, ServerFailed):
        return f"{error.stage}: {error.reason}"
    if isinstance(error, NeedsAuthorization):
        return f"asks for authorization: {NAME} auth {error.server} ({error.reason})"
    reason = getattr(error, "reason", "") or getattr(error, "message", "")
    return str(reason or f"{type(error).__name__}: {error}")


def _asker(
    kept: ManagedServer, call: PendingCall, method: str, params: dict[str, Any]
) -> Callable[[], Awaitable[list[Event]]]:
    async def work() -> list[Event]:
        await kept.ready(call.note)
        began = time.monotonic()
        result = await kept.ask(call, method, params)
        return ended(result, Event(kind="done", ms=_ms(began)))

    return work


def _ms(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 3)


async def _events(
    call: PendingCall, work: Callable[[], Awaitable[list[Event]]]
) -> AsyncGenerator[Event, None]:
    """Yield what happens in a call while its work is done, then how it ended.

    Whoever stops listening cancels the work.
    """
    task = asyncio.ensure_future(work())
    telling: asyncio.Task[Event] | None = None
    try:
        while not task.done():
            telling = telling or asyncio.create_task(call.told())
            await asyncio.wait((task, telling), return_when=asyncio.FIRST_COMPLETED)
            if telling.done():
                yield telling.result()
                telling = None
        if telling is not None:
            telling.cancel()
        for event in call.untold():
            yield event
        for event in task.result():
            yield event
    finally:
        if telling is not None:
            telling.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))
