"""A tool call that a server carries out as a task: asked for, followed to its end, and its result fetched.

Owns both kinds that the protocol has: that of the revision 2025-11-25, where the client asks for a task and
fetches `tasks/result`, and the extension `io.modelcontextprotocol/tasks` of 2026-07-28, where the server
decides and the result comes with `tasks/get`.  A server's task may outlive a connection: what only asks for
its state is asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from mcp_cli.pool.call import PendingCall
from mcp_cli.pool.results import brief
from mcp_cli.pool.server import ManagedServer
from mcp_cli.pool.tasks import pages
from mcp_cli.pool.tools import ListedTool
from mcp_cli.protocol.interfaces import Event, MaybeRan, ServerFailed, ServerRefused, TimedOut

EXTENSION: Final = "io.modelcontextprotocol/tasks"
# For how long a server is asked to keep what a task came to.
TTL_MS: Final = 24 * 3600 * 1000
# Between two questions for a task's state: the usual time, and the bounds of one that the server names.
POLL_S: Final = 0.5
MIN_POLL_S: Final = 0.1
MAX_POLL_S: Final = 30.0
# How often a question for the state is asked again after the connection was lost.
ATTEMPTS: Final = 3
CANCEL_S: Final = 2.0
TERMINAL: Final = frozenset(("completed", "failed", "cancelled"))


class RemoteTask(msgspec.Struct, omit_defaults=True):
    """A server's task.

    Attributes:
        id: the server's.
        extension: whether it is one of the extension.
    """

    id: str
    extension: bool = False


class _Task(msgspec.Struct):
    id: str = msgspec.field(name="taskId")
    status: str = "working"
    message: str | None = msgspec.field(name="statusMessage", default=None)
    updated_at: str = msgspec.field(name="lastUpdatedAt", default="")
    poll_ms: float | None = msgspec.field(name="pollInterval", default=None)
    poll_interval_ms: float | None = msgspec.field(name="pollIntervalMs", default=None)
    questions: dict[str, msgspec.Raw] = msgspec.field(name="inputRequests", default_factory=dict)
    result: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")


class _Created(msgspec.Struct):
    task: _Task | None = None
    result_type: str = msgspec.field(name="resultType", default="")


class _Error(msgspec.Struct):
    code: int = 0
    message: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")


class _InputRequest(msgspec.Struct):
    method: str = ""
    params: msgspec.Raw = msgspec.Raw(b"{}")


class _TaskSupport(msgspec.Struct):
    support: str | None = msgspec.field(name="taskSupport", default=None)


class _TaskTool(msgspec.Struct):
    execution: _TaskSupport | None = None


def support_of(tool: ListedTool) -> str:
    """Return whether a tool of 2025-11-25 runs as a task: `required`, `optional`, or ""."""
    with contextlib.suppress(msgspec.MsgspecError):
        execution = msgspec.json.decode(tool.raw, type=_TaskTool).execution
        if execution is not None and execution.support in ("required", "optional"):
            return execution.support
    return ""


async def called(
    kept: ManagedServer,
    call: PendingCall,
    tool: ListedTool,
    params: dict[str, Any],
    on_task: Callable[[RemoteTask], None] = lambda _: None,
) -> bytes:
    """Call a tool, as a task where it runs as one, and return the result's JSON.

    Args:
        kept: the server.
        call: gets the progress.
        tool: as the server lists it.
        params: of `tools/call`.
        on_task: is given the server's task, once there is one.

    Raises:
        As `ManagedServer.ask`.
    """
    connection = await kept.ready(call.note)
    if not connection.modern and connection.has_tasks and support_of(tool):
        params = {**params, "task": {"ttl": TTL_MS}}
    with kept.held(call):
        answer = await pages.asked(kept, call, params)
        handle = _handle_in(answer, asked="task" in params)
        if handle is None:
            return answer
        on_task(handle)
        return await followed(kept, call, handle)


def _handle_in(answer: bytes, *, asked: bool) -> RemoteTask | None:
    """Return the task that an answer holds in place of a result; None for a result."""
    if not asked and b'"task"' not in answer[: 1 << 16]:
        return None
    with contextlib.suppress(msgspec.MsgspecError):
        created = msgspec.json.decode(answer, type=_Created)
        if created.result_type == "task":
            return RemoteTask(msgspec.json.decode(answer, type=_Task).id, extension=True)
        if asked and created.task is not None:
            return RemoteTask(created.task.id)
    return None


async def followed(kept: ManagedServer, call: PendingCall, handle: RemoteTask) -> bytes:
    """Follow a server's task to its end, and return its result's JSON.

    To be cancelled is to have the server told.

    Raises:
        ServerRefused: it failed with an error, or was cancelled.
        TimedOut: nothing about it changed for as long as the call may be silent.
        MaybeRan, ServerFailed: the server cannot be asked any more.
    """
    with kept.held(call):
        try:
            return await _Followed(kept, call, handle).to_the_end()
        except (asyncio.CancelledError, TimedOut):
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CANCEL_S):
                    await kept.ask(
                        PendingCall("tasks/cancel", CANCEL_S), "tasks/cancel", {"taskId": handle.id}
                    )
            raise


class _Followed:
    """The following of one task."""

    def __init__(self, kept: ManagedServer, call: PendingCall, handle: RemoteTask) -> None:
        self._kept = kept
        self._call = call
        self._handle = handle
        self._answered: set[str] = set()
        self._changes = 0

    async def to_the_end(self) -> bytes:
        last: tuple[str, str | None, str] | None = None
        changed_at = time.monotonic()
        while True:
            task = msgspec.json.decode(await self._asked("tasks/get"), type=_Task)
            told = (task.status, task.message, task.updated_at)
            if told != last:
                self._tell(task)
                last, changed_at = told, time.monotonic()
            if self._handle.extension and task.status == "input_required":
                await self._answer(task)
                changed_at = time.monotonic()
            elif task.status in TERMINAL or (task.status == "input_required" and not self._handle.extension):
                return await self._outcome(task)
            if time.monotonic() - changed_at > self._call.idle_s:
                raise TimedOut(
                    server=self._kept.server.name, tool=self._call.label, seconds=self._call.idle_s
                )
            await asyncio.sleep(_pause_s(task))

    def _tell(self, task: _Task) -> None:
        self._changes += 1
        text = brief(task.message or f"task {task.status}")
        self._call.tell(Event(kind="progress", progress=float(self._changes), text=text))

    async def _asked(self, method: str) -> bytes:
        for attempt in range(ATTEMPTS):
            try:
                return await self._kept.ask(self._call, method, {"taskId": self._handle.id})
            except (MaybeRan, ServerFailed):
                if attempt + 1 == ATTEMPTS:
                    raise
                await asyncio.sleep(POLL_S * 2**attempt)
            except ServerRefused as error:
                if method == "tasks/result":
                    raise
                raise MaybeRan(
                    server=self._kept.server.name,
                    tool=self._call.label,
                    reason=f"its task is not known any more: {brief(error.message)} ({error.code})",
                    stderr=[],
                ) from None
        raise AssertionError

    async def _outcome(self, task: _Task) -> bytes:
        if not self._handle.extension and task.status != "cancelled":
            # Of a task that wants input the questions come while this is waited for.
            return await self._asked("tasks/result")
        if task.status == "completed":
            return bytes(task.result)
        error = msgspec.json.decode(task.error, type=_Error) if task.error else _Error()
        raise ServerRefused(
            server=self._kept.server.name,
            code=error.code,
            message=error.message or f"the task was {task.status}: {brief(task.message or '')}",
            data=bytes(error.data).decode("utf-8", "replace"),
        )

    async def _answer(self, task: _Task) -> None:
        """Answer what a task of the extension asks; each question once."""
        responses: dict[str, Any] = {}
        for key, raw in task.questions.items():
            if key in self._answered:
                continue
            self._answered.add(key)
            asked = msgspec.json.decode(raw, type=_InputRequest)
            text = await self._kept.question_of(self._call, asked.method, bytes(asked.params).decode())
            responses[key] = msgspec.Raw(text.encode()) if text else _REFUSALS.get(asked.method, {})
        if responses:
            params = {"taskId": self._handle.id, "inputResponses": responses}
            await self._kept.ask(self._call, "tasks/update", msgspec.json.decode(msgspec.json.encode(params)))


_REFUSALS: Final[dict[str, dict[str, Any]]] = {
    "elicitation/create": {"action": "decline"},
    "roots/list": {"roots": []},
}


def _pause_s(task: _Task) -> float:
    said_ms = task.poll_interval_ms if task.poll_interval_ms is not None else task.poll_ms
    return POLL_S if said_ms is None else min(max(said_ms / 1000, MIN_POLL_S), MAX_POLL_S)
