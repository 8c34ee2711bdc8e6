"""Tasks as the gateway offers them: those of 2025-11-25, each a call that the daemon holds.

Any tool of any server can be called as one, whether its server has tasks or not.  Owns the shapes of the
protocol; the calls are the daemon's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from daemonry import errors
from mcp_cli.client.warm import Warm
from mcp_cli.gateway.faults import INVALID_PARAMS, Fault

CAPABILITY: Final[dict[str, Any]] = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
POLL_MS: Final = 1000
KEPT_MS: Final = 7 * 24 * 3600 * 1000
RELATED: Final = "io.modelcontextprotocol/related-task"


def offered(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool's definition, which says that it can be called as a task."""
    execution = tool.get("execution")
    execution = execution if isinstance(execution, dict) else {}
    return {**tool, "execution": {**execution, "taskSupport": execution.get("taskSupport") or "optional"}}


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
        async for task in self._warm.stream("Detach", server, {"tool": tool, "arguments": arguments}):
            return json.dumps({"task": _shown(task)})
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
        """Answer `tasks/get`."""
        return json.dumps(_shown(await self._task(params)))

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
        return json.dumps(_shown(task))

    async def result(self, params: Mapping[str, Any]) -> str:
        """Answer `tasks/result`, when the task has ended.

        Raises:
            CallFailed: as the call.
        """
        task = await self._task(params)
        ref = await self._warm.ref(task["server"])
        given = {"id": task["id"], "fingerprint": ref["fingerprint"]}
        parts = [
            event.get("result", "")
            for event in await self._warm.plain("Follow", given)
            if event["kind"] in ("part", "done")
        ]
        return _related("".join(parts), task["id"])


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


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
