"""Tasks as the gateway offers them, each a call that the daemon holds.

In 2025-11-25 the client asks for one, and any tool of any server can be called so.  By the extension
`io.modelcontextprotocol/tasks` of 2026-07-28 the server decides: a client that has the extension gets one for
each tool that its own server runs as a task.  Owns the shapes of both; the calls are the daemon's.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from daemonry import errors
from mcp_cli.client.warm import Warm
from mcp_cli.gateway import modern
from mcp_cli.gateway.faults import INVALID_PARAMS, Fault, fault_of

CAPABILITY: Final[dict[str, Any]] = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
EXTENSION: Final = "io.modelcontextprotocol/tasks"
POLL_MS: Final = 1000
KEPT_MS: Final = 7 * 24 * 3600 * 1000
RELATED: Final = "io.modelcontextprotocol/related-task"


def offered(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool's definition, which says that it can be called as a task."""
    execution = tool.get("execution")
    execution = execution if isinstance(execution, dict) else {}
    return {**tool, "execution": {**execution, "taskSupport": execution.get("taskSupport") or "optional"}}


def has_extension(capabilities: Mapping[str, Any]) -> bool:
    """Whether capabilities, a client's or a server's, name the extension."""
    extensions = capabilities.get("extensions")
    return isinstance(extensions, dict) and EXTENSION in extensions


class GatewayTasks:
    """The tasks of one client.

    Args:
        warm: the servers.
        is_offered: whether a server, by its name, is one of the client's.
    """

    def __init__(self, warm: Warm, is_offered: Callable[[str], bool]) -> None:
        self._warm = warm
        self._is_offered = is_offered

    async def begin(self, server: str, tool: str, arguments: str) -> str:
        """Begin a call as a task, and return the result's JSON.

        Raises:
            CallFailed: nothing ran.
        """
        task = await self._one("Detach", server, {"tool": tool, "arguments": arguments})
        return json.dumps({"task": _shown(task)})

    async def runs_as_one(self, server: str, tool: str) -> bool:
        """Whether a tool's own server may run it as a task.

        Raises:
            CallFailed: the server has no such tool, or cannot be asked.
        """
        definition = json.loads((await self._one("Tool", server, {"tool": tool}))["json"])
        execution = definition.get("execution")
        if isinstance(execution, dict) and execution.get("taskSupport") in ("required", "optional"):
            return True
        state = await self._one("Info", server, {})
        return has_extension(json.loads(state.get("capabilities") or "{}"))

    async def begin_by_extension(self, server: str, tool: str, arguments: str) -> str:
        """Begin a call as a task of the extension, and return the result's JSON.

        Raises:
            CallFailed: nothing ran.
        """
        task = await self._one("Detach", server, {"tool": tool, "arguments": arguments})
        return json.dumps({"resultType": "task", **_by_extension(task)})

    async def _one(self, method: str, server: str, given: dict[str, Any]) -> dict[str, Any]:
        async with contextlib.aclosing(self._warm.stream(method, server, given)) as replies:
            async for reply in replies:
                return reply
        raise Fault(INVALID_PARAMS, "no answer")

    async def _task(self, params: Mapping[str, Any]) -> dict[str, Any]:
        try:
            (task,) = await self._warm.plain("Task", {"id": str(params["taskId"])})
        except errors.CallFailed:
            raise Fault(INVALID_PARAMS, f"there is no task {params['taskId']}") from None
        if not self._is_offered(task["server"]):
            raise Fault(INVALID_PARAMS, f"there is no task {params['taskId']}")
        return dict(task)

    async def get(self, params: Mapping[str, Any]) -> str:
        """Answer `tasks/get`: by the extension with the result, the error or the questions in it."""
        task = await self._task(params)
        if modern.envelope(params) is None:
            return json.dumps(_shown(task))
        shown = _by_extension(task)
        if shown["status"] == "completed":
            shown["result"] = msgspec.Raw(modern.completed(await self._result(task), "tools/call").encode())
        elif shown["status"] == "failed":
            shown["error"] = await self._error(task)
        elif shown["status"] == "input_required":
            shown["inputRequests"] = await self._questions(task)
        return msgspec.json.encode(shown).decode()

    async def update(self, params: Mapping[str, Any]) -> str:
        """Answer `tasks/update`: take the answers to a task's questions."""
        task = await self._task(params)
        open_questions = await self._questions(task)
        for number, response in dict(params.get("inputResponses") or {}).items():
            if number in open_questions:
                await self._warm.answer(number, json.dumps(response))
        return "{}"

    async def _questions(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Return the open questions of a task, by their ids."""
        return {
            one["id"]: {"method": one["method"], "params": msgspec.Raw(one["params"].encode())}
            for one in await self._warm.plain("Questions", {})
            if one.get("task") == task["id"]
        }

    async def _error(self, task: Mapping[str, Any]) -> dict[str, Any]:
        try:
            await self._result(task)
        except errors.CallFailed as error:
            fault = fault_of(error)
            data = {"data": msgspec.Raw(fault.data.encode())} if fault.data else {}
            return {"code": fault.code, "message": fault.message, **data}
        raise Fault(INVALID_PARAMS, "the task has not failed")

    async def list(self, _params: Mapping[str, Any]) -> str:
        """Answer `tasks/list`: in one page."""
        every = await self._warm.plain("Tasks", {})
        return json.dumps({"tasks": [_shown(one) for one in every if self._is_offered(one["server"])]})

    async def cancel(self, params: Mapping[str, Any]) -> str:
        """Answer `tasks/cancel`."""
        task = await self._task(params)
        if task.get("ended_at"):
            raise Fault(INVALID_PARAMS, f"the task has ended: {task.get('status')}")
        ref = await self._warm.ref(task["server"])
        (task,) = await self._warm.plain("Cancel", {"id": task["id"], "fingerprint": ref["fingerprint"]})
        return "{}" if modern.envelope(params) is not None else json.dumps(_shown(task))

    async def result(self, params: Mapping[str, Any]) -> str:
        """Answer `tasks/result`, when the task has ended.

        Raises:
            CallFailed: as the call.
        """
        task = await self._task(params)
        return _related(await self._result(task), task["id"])

    async def _result(self, task: Mapping[str, Any]) -> str:
        ref = await self._warm.ref(task["server"])
        given = {"id": task["id"], "fingerprint": ref["fingerprint"]}
        parts = [
            event.get("result", "")
            for event in await self._warm.plain("Follow", given)
            if event["kind"] in ("part", "done")
        ]
        return "".join(parts)


def _related(result: str, task_id: str) -> str:
    """Return a result with the task in its `_meta`, all else as it is."""
    fields = msgspec.json.decode(result, type=dict[str, msgspec.Raw])
    meta = msgspec.json.decode(fields["_meta"], type=dict[str, Any]) if "_meta" in fields else {}
    fields["_meta"] = msgspec.Raw(msgspec.json.encode({**meta, RELATED: {"taskId": task_id}}))
    return msgspec.json.encode(fields).decode()


def _shown(task: Mapping[str, Any]) -> dict[str, Any]:
    status = task.get("status", "working")
    said = task.get("error") or task.get("message")
    return {
        "taskId": task["id"],
        "status": "failed" if status == "unknown" else status,
        **({"statusMessage": said} if said else {}),
        "createdAt": _time(task.get("created_at", 0.0)),
        "lastUpdatedAt": _time(task.get("ended_at") or task.get("created_at", 0.0)),
        "ttl": KEPT_MS,
        "pollInterval": POLL_MS,
    }


def _by_extension(task: Mapping[str, Any]) -> dict[str, Any]:
    shown = _shown(task)
    shown["ttlMs"], shown["pollIntervalMs"] = shown.pop("ttl"), shown.pop("pollInterval")
    return shown


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
