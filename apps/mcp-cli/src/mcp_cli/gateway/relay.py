"""A client of the gateway while its calls run: messages that are passed on to it, and questions.

Owns the messages to a client that are not answers: errors, progress, log lines, and the questions
of servers with the answers to them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from mcp_cli.client.warm import Warm
from mcp_cli.gateway.faults import Fault, error_line
from mcp_cli.names import NAME

LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

Send = Callable[[str], Awaitable[None]]


class Relay:
    """What goes between one client and the servers during calls.

    Args:
        warm: the servers.
        send: takes a message, JSON on one line, for the client.

    Attributes:
        capabilities: the client's, from its `initialize`.
        initialized: whether the client has begun with a handshake, as those from before 2026 do.
        level: the least that a log line must be, as an index into `LEVELS`.
        send: as given.
    """

    def __init__(self, warm: Warm, send: Send) -> None:
        self.capabilities: dict[str, Any] = {}
        self.level = LEVELS.index("info")
        self.initialized = False
        self.send = send
        self._warm = warm
        self._questions: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._count = 0

    def answered(self, number: Any, message: dict[str, Any]) -> None:
        """Take a client's answer to a question; one that nobody waits for is dropped."""
        waiting = self._questions.get(str(number))
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    async def error(self, number: Any, fault: Fault) -> None:
        """Answer a request with an error."""
        await self.send(error_line(number, fault))

    async def notify(self, method: str, params: str) -> None:
        """Send a notification; `params` is JSON."""
        await self.send(f'{{"jsonrpc":"2.0","method":{json.dumps(method)},"params":{params}}}')

    async def say(self, server: str, text: str) -> None:
        """Send a log line about a server that failed."""
        if self.level <= LEVELS.index("error"):
            params = {"level": "error", "logger": NAME, "data": f"{server}: {text}"}
            await self.notify("notifications/message", json.dumps(params))

    def of_request(self, capabilities: dict[str, Any], level: str) -> None:
        """Take what a request of 2026-07-28 says of its client; without a level it wants no log lines."""
        self.capabilities = capabilities
        self.level = LEVELS.index(level) if level in LEVELS else len(LEVELS)

    def answers(self) -> list[str]:
        """Return the methods of the questions that the client answers."""
        known = {
            "elicitation": "elicitation/create",
            "sampling": "sampling/createMessage",
            "roots": "roots/list",
        }
        return [method for name, method in known.items() if name in self.capabilities]

    async def result(self, method: str, server: str, given: dict[str, Any], token: Any = None) -> str:
        """Ask a server, pass on what happens meanwhile, and return the result's JSON."""
        parts: list[str] = []
        questions: set[asyncio.Task[None]] = set()
        try:
            async with contextlib.aclosing(self._warm.stream(method, server, given)) as events:
                async for event in events:
                    kind = event["kind"]
                    if kind in ("part", "done"):
                        parts.append(event.get("result", ""))
                    elif kind == "question":
                        questions.add(asyncio.create_task(self._question(event)))
                    else:
                        await self.pass_on(event, server, token)
        finally:
            for task in questions:
                task.cancel()
        return "".join(parts)

    async def pass_on(self, event: Mapping[str, Any], server: str, token: Any) -> None:
        """Pass progress and log lines on, where the client wants them."""
        if event["kind"] == "progress" and token is not None:
            params = {"progressToken": token, "progress": event.get("progress", 0)}
            if event.get("total") is not None:
                params["total"] = event["total"]
            if event.get("text"):
                params["message"] = event["text"]
            await self.notify("notifications/progress", json.dumps(params))
        elif event["kind"] == "log" and LEVELS.index(event.get("level", "info")) >= self.level:
            logger = json.dumps(event.get("logger") or server)
            level = json.dumps(event.get("level", "info"))
            data = event.get("result") or "null"
            await self.notify("notifications/message", f'{{"level":{level},"logger":{logger},"data":{data}}}')

    async def _question(self, event: dict[str, Any]) -> None:
        """Put a server's question to the client, and its answer to the server."""
        self._count += 1
        number = f"{NAME}-{self._count}"
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._questions[number] = answer
        try:
            method, params = json.dumps(event["method"]), event.get("result") or "{}"
            await self.send(
                f'{{"jsonrpc":"2.0","id":{json.dumps(number)},"method":{method},"params":{params}}}'
            )
            result = (await answer).get("result")
        finally:
            del self._questions[number]
        await self._warm.answer(event["id"], "" if result is None else dumps(result))


def dumps(value: Any) -> str:
    """Return JSON on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
