"""An MCP server that offers the tools of others: the protocol's messages in, and out.

Owns the meaning of each message of a client, and which server gets it.  Knows no transport: its caller
gives it `handle` and takes what `send` is given.  A server's result is passed on as the text that it is.

Tools and prompts are named `SERVER__NAME` where there are several servers, and as they are where one alone
is offered.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from daemonry import errors
from mcp_cli.client.warm import Warm
from mcp_cli.gateway import batches, completions, modern, tasks
from mcp_cli.gateway.catalog import Catalog
from mcp_cli.gateway.faults import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    NOT_FOUND,
    NOT_JSON,
    PARSE_ERROR,
    Fault,
    error_line,
    fault_for,
    fault_in,
    fault_of,
    for_model,
    is_id,
)
from mcp_cli.gateway.relay import LEVELS, Relay, Send, dumps
from mcp_cli.gateway.rounds import Rounds
from mcp_cli.gateway.stand_in import Calls, StandIn, Unfit, said
from mcp_cli.gateway.subscriptions import LISTEN, Subscriptions
from mcp_cli.names import NAME, __version__

LATEST: Final = "2025-11-25"
VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", LATEST)

Handler = Callable[[Any, dict[str, Any]], Awaitable[str]]


class GatewaySession:
    """One client's view of the servers.

    Args:
        warm: the servers.
        send: takes a message, JSON on one line, for the client.
        only: the servers that are offered; all of the configuration's if empty.
        stand_in: the few tools that stand for all; None where all are listed.
        rounds: the calls that wait for answers, where several sessions share them.
        pushes: whether `send` reaches the client at any time, and not only while a request runs.

    Attributes:
        batches: those under way.
    """

    def __init__(  # as a transport has them
        self,
        warm: Warm,
        send: Send,
        only: list[str],
        *,
        stand_in: StandIn | None = None,
        rounds: Rounds | None = None,
        pushes: bool = True,
    ) -> None:
        self._stand_in = stand_in
        self._warm = warm
        self._relay = Relay(warm, send)
        self._catalog = Catalog(warm, only, self._relay.say)
        self._own_rounds = rounds is None
        self._rounds = Rounds() if rounds is None else rounds
        self._pushes = pushes
        self._subscriptions = Subscriptions(
            warm, self._catalog, self._relay, lists=pushes and stand_in is None
        )
        self._gateway_tasks = tasks.GatewayTasks(warm, lambda name: not only or name in only)
        self._tasks: dict[Any, asyncio.Task[None]] = {}
        self._version = ""  # that of the handshake
        self.batches = batches.Batches(functools.partial(self._take, batched=True), send)

    async def handle(self, line: str | bytes) -> None:
        """Take a client's message.  Requests are answered later, in the order in which they are done."""
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):  # the second: nested deeper than this interpreter goes
            await self._relay.error(None, Fault(PARSE_ERROR, NOT_JSON))
            return
        if isinstance(message, list) and self._version == batches.REVISION:
            await self.batches.handle(message)
        else:
            await self._take(message, self._relay.send)

    async def _take(self, message: Any, send: Send, *, batched: bool = False) -> asyncio.Task[None] | None:
        """Take one message; its answer goes to `send`.  Return the task of a request."""
        if not isinstance(message, dict):
            await send(error_line(None, Fault(INVALID_REQUEST, "a message is a JSON object")))
            return None
        method, number, params = message.get("method"), message.get("id"), message.get("params") or {}
        fault = (batches.fault_in_member if batched else fault_in)(method, number, params)
        if method is None:
            self._relay.answered(number, message)
        elif number is None:
            if fault is None:
                self._notified(method, params)
        elif fault is not None:
            await send(error_line(number if is_id(number) else None, fault))
        else:
            task = asyncio.create_task(self._answer(number, method, params, send), name=method)
            self._tasks[number] = task
            task.add_done_callback(lambda _: self._tasks.pop(number, None))
            return task
        return None

    async def close(self) -> None:
        """Cancel the requests under way."""
        await self.batches.close()
        under_way = list(self._tasks.values())
        for task in under_way:
            task.cancel()
        if under_way:
            await asyncio.wait(under_way)
        await self._subscriptions.close()
        if self._own_rounds:
            await self._rounds.close()

    async def drain(self) -> None:
        """Wait until everything that was asked is answered."""
        while waited := [task for task in self._tasks.values() if task.get_name() != LISTEN]:
            await asyncio.wait(waited)
        await self.batches.drain()

    def _notified(self, method: str, params: dict[str, Any]) -> None:
        number = params.get("requestId")
        if method == "notifications/cancelled" and is_id(number) and number in self._tasks:
            self._tasks[number].cancel()

    async def _answer(self, number: Any, method: str, params: dict[str, Any], send: Send) -> None:
        try:
            result = await self._result(number, method, params)
        except (Fault, errors.DaemonryError, KeyError, TypeError, AttributeError) as error:
            await send(error_line(number, fault_for(error, method)))
        else:
            if "\n" in result:
                result = json.dumps(json.loads(result))
            await send(f'{{"jsonrpc":"2.0","id":{json.dumps(number)},"result":{result}}}')

    async def _result(self, number: Any, method: str, params: dict[str, Any]) -> str:
        said = modern.envelope(params)
        if said is None:
            return await self._handler(method)(self, params)
        self._relay.of_request(said.capabilities, said.level)
        if method == LISTEN:
            result = await self._subscriptions.listen(number, params)
        else:
            result = await self._handler(method)(self, params)
        return modern.completed(result, method)

    def _handler(self, method: str) -> Handler:
        handler: Handler | None = self._METHODS.get(method)
        if handler is None:
            raise Fault(METHOD_NOT_FOUND, f"there is no method {method}")
        return handler

    # --- the protocol's methods ------------------------------------------------------------------

    async def _initialize(self, params: dict[str, Any]) -> str:
        asked = params.get("protocolVersion")
        self._relay.capabilities = params.get("capabilities") or {}
        self._relay.initialized = True
        self._version = version = asked if asked in VERSIONS else LATEST
        return json.dumps(
            {
                **await self._instructions(),
                "protocolVersion": version,
                "capabilities": _capabilities(
                    told=self._pushes,
                    whole=self._stand_in is None,
                    era={"tasks": tasks.CAPABILITY} if self._pushes and version == LATEST else {},
                ),
                "serverInfo": {"name": NAME, "version": __version__},
            }
        )

    async def _discover(self, _params: dict[str, Any]) -> str:
        own = {modern.SERVER_INFO: {"name": NAME, "version": __version__}}
        return json.dumps(
            {
                **await self._instructions(),
                "supportedVersions": [modern.VERSION],
                "capabilities": _capabilities(
                    told=True,
                    whole=self._stand_in is None,
                    era={"extensions": {tasks.EXTENSION: {}}},
                ),
                "_meta": own,
            }
        )

    async def _instructions(self) -> dict[str, str]:
        with contextlib.suppress(Fault, errors.DaemonryError):  # which the first call tells
            if self._stand_in is not None:
                return {"instructions": self._stand_in.instructions(await self._catalog.servers())}
            text = await self._catalog.instructions()
            return {"instructions": text} if text else {}
        return {}

    async def _ping(self, _params: dict[str, Any]) -> str:
        return "{}"

    async def _set_level(self, params: dict[str, Any]) -> str:
        if params.get("level") not in LEVELS:
            raise Fault(INVALID_PARAMS, f"level is one of {', '.join(LEVELS)}")
        self._relay.level = LEVELS.index(params["level"])
        return "{}"

    async def _tools_list(self, _params: dict[str, Any]) -> str:
        if self._stand_in is not None:
            return dumps({"tools": await self._stand_in.tools()})
        pairs = await self._catalog.listed("Tools")
        await self._subscriptions.follow_lists()
        named = self._catalog.named(pairs)
        return dumps({"tools": list(map(tasks.offered, named)) if self._relay.initialized else named})

    async def _prompts_list(self, _params: dict[str, Any]) -> str:
        return dumps({"prompts": self._catalog.named(await self._catalog.listed("Prompts"))})

    async def _resources_list(self, _params: dict[str, Any]) -> str:
        pairs = await self._catalog.resources()
        await self._subscriptions.follow_lists()
        return dumps({"resources": [entry for _, entry in pairs]})

    async def _templates_list(self, _params: dict[str, Any]) -> str:
        return dumps({"resourceTemplates": [entry for _, entry in await self._catalog.listed("Templates")]})

    async def _tools_call(self, params: dict[str, Any]) -> str:
        if self._stand_in is None:
            return await self._called(params)
        calls = Calls(
            lambda name, arguments: self._called({**params, "name": name, "arguments": arguments}),
            self._called_by_program,
        )
        try:
            given = params.get("arguments") or {}
            result = await self._stand_in.answer(params["name"], given, self._catalog, calls)
        except Unfit as error:
            return said(str(error), is_error=True)
        if result is None:
            raise Fault(INVALID_PARAMS, f"there is no tool {params['name']}")
        return result

    async def _called_by_program(self, server: str, tool: str, arguments: str) -> str:
        """Call a tool for a program that the client has sent; in 2026-07-28 nobody can be asked meanwhile."""
        answers = self._relay.answers() if self._relay.initialized else []
        given = {"tool": tool, "arguments": arguments, "answers": answers, "logs": True}
        return await self._relay.result("Call", server, given)

    async def _called(self, params: dict[str, Any]) -> str:
        server, own = await self._catalog.meant(params["name"], "tool")
        given = {
            "tool": own,
            "arguments": dumps(params.get("arguments") or {}),
            "answers": self._relay.answers(),
            "logs": True,
        }
        if meta := modern.passed_on(params):
            given["meta"] = dumps(meta)
        token = (params.get("_meta") or {}).get("progressToken")
        try:
            if isinstance(params.get("task"), dict) and self._relay.initialized:
                return await self._gateway_tasks.begin(server, own, str(given["arguments"]))
            if await self._becomes_task(server, own):
                return await self._gateway_tasks.begin_by_extension(server, own, str(given["arguments"]))
            if not self._relay.initialized:
                return await self._rounds.call(
                    params,
                    lambda: self._warm.stream("Call", server, given),
                    lambda event: self._relay.pass_on(event, server, token),
                    self._warm.answer,
                )
            return await self._relay.result("Call", server, given, token)
        except errors.CallFailed as error:
            # A model gets the errors that it can act upon as results, as the protocol has it.
            text = for_model(error)
            if text:
                return said(text, is_error=True)
            raise

    async def _becomes_task(self, server: str, tool: str) -> bool:
        """Whether a call is answered with a task of the extension."""
        if self._relay.initialized or self._stand_in is not None:
            return False
        if not tasks.has_extension(self._relay.capabilities):
            return False
        return await self._gateway_tasks.runs_as_one(server, tool)

    async def _resources_read(self, params: dict[str, Any]) -> str:
        uri = params["uri"]
        known = await self._catalog.holder(uri)
        refusal: Exception = Fault(NOT_FOUND, f"there is no resource {uri}")
        # A resource made from a template is in no list: the server that answers has it.
        for server in [known] if known is not None else await self._catalog.servers():
            try:
                return await self._relay.result("Read", server, {"uri": uri})
            except errors.CallFailed as error:
                if known is not None:
                    raise
                refusal = fault_of(error)
        raise refusal

    async def _prompts_get(self, params: dict[str, Any]) -> str:
        server, own = await self._catalog.meant(params["name"], "prompt")
        return await self._relay.result(
            "Prompt", server, {"prompt": own, "arguments": params.get("arguments") or {}}
        )

    async def _complete(self, params: dict[str, Any]) -> str:
        return await completions.complete(self._catalog, self._warm, params)

    _METHODS: Final = {
        "initialize": _initialize,
        "server/discover": _discover,
        "ping": _ping,
        "logging/setLevel": _set_level,
        "tools/list": _tools_list,
        "tools/call": _tools_call,
        "resources/list": _resources_list,
        "resources/templates/list": _templates_list,
        "resources/read": _resources_read,
        "resources/subscribe": lambda self, params: self._subscriptions.subscribe(params),
        "resources/unsubscribe": lambda self, params: self._subscriptions.unsubscribe(params),
        "tasks/update": lambda self, params: self._gateway_tasks.update(params),
        "tasks/get": lambda self, params: self._gateway_tasks.get(params),
        "tasks/list": lambda self, params: self._gateway_tasks.list(params),
        "tasks/cancel": lambda self, params: self._gateway_tasks.cancel(params),
        "tasks/result": lambda self, params: self._gateway_tasks.result(params),
        "prompts/list": _prompts_list,
        "prompts/get": _prompts_get,
        "completion/complete": _complete,
    }


def _capabilities(*, told: bool, whole: bool, era: dict[str, Any]) -> dict[str, Any]:
    """Return the capabilities of the gateway.

    Args:
        told: whether the client can hear of changes.
        whole: whether all tools are listed, and not few that never change.
        era: those that the revision has of its own.
    """
    lists = {"listChanged": True} if told and whole else {}
    return {
        "tools": lists,
        "resources": {**lists, "subscribe": True} if told else {},
        "prompts": lists,
        "completions": {},
        "logging": {},
        **(era if whole else {}),
    }
