"""An MCP server that offers the tools of others: the protocol's messages in, and out.

Owns the meaning of each message of a client, and which server gets it.  Knows no transport: its caller
gives it `handle` and takes what `send` is given.  A server's result is passed on as the text that it is.

Tools and prompts are named `SERVER__NAME` where there are several servers, and as they are where one alone
is offered.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from typing import Any, Final

from daemonry import errors
from mcp_cli.client.warm import Warm
from mcp_cli.gateway import lazy
from mcp_cli.gateway.faults import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    NOT_FOUND,
    NOT_JSON,
    PARSE_ERROR,
    Fault,
    fault_in,
    fault_of,
    for_model,
    is_id,
)
from mcp_cli.gateway.relay import LEVELS, Relay, Send, dumps
from mcp_cli.names import NAME, __version__

LATEST: Final = "2025-11-25"
VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", LATEST)
# How old a reading of the configuration may be.
READ_AGAIN_S: Final = 2.0
SEPARATOR: Final = "__"
# What names of tools are made of, and how long they may be, for those models that are particular.
_ODD = re.compile(r"[^A-Za-z0-9_-]")


class GatewaySession:
    """One client's view of the servers.

    Args:
        warm: the servers.
        send: takes a message, JSON on one line, for the client.
        only: the servers that are offered; all of the configuration's if empty.
        is_lazy: whether three tools stand for all: to search, to describe, to call.
    """

    def __init__(self, warm: Warm, send: Send, only: list[str], *, is_lazy: bool = False) -> None:
        self._is_lazy = is_lazy
        self._warm = warm
        self._relay = Relay(warm, send)
        self._only = only
        self._tasks: dict[Any, asyncio.Task[None]] = {}
        self._resources: dict[str, str] = {}
        self._known: list[str] = []
        self._read_at = float("-inf")

    async def handle(self, line: str | bytes) -> None:
        """Take a client's message.  Requests are answered later, in the order in which they are done."""
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):  # the second: nested deeper than this interpreter goes
            await self._relay.error(None, Fault(PARSE_ERROR, NOT_JSON))
            return
        if not isinstance(message, dict):
            await self._relay.error(None, Fault(INVALID_REQUEST, "a message is a JSON object"))
            return
        method, number, params = message.get("method"), message.get("id"), message.get("params") or {}
        fault = fault_in(method, number, params)
        if method is None:
            self._relay.answered(number, message)
        elif number is None:
            if fault is None:
                self._notified(method, params)
        elif fault is not None:
            await self._relay.error(number if is_id(number) else None, fault)
        else:
            task = asyncio.create_task(self._answer(number, method, params))
            self._tasks[number] = task
            task.add_done_callback(lambda _: self._tasks.pop(number, None))

    async def close(self) -> None:
        """Cancel the requests under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def drain(self) -> None:
        """Wait until everything that was asked is answered."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    def _notified(self, method: str, params: dict[str, Any]) -> None:
        if method == "notifications/cancelled":
            number = params.get("requestId")
            task = self._tasks.get(number) if is_id(number) else None
            if task is not None:
                task.cancel()

    async def _answer(self, number: Any, method: str, params: dict[str, Any]) -> None:
        handler = self._METHODS.get(method)
        try:
            if handler is None:
                raise Fault(METHOD_NOT_FOUND, f"there is no method {method}")
            result = await handler(self, params)
        except Fault as fault:
            await self._relay.error(number, fault)
        except errors.CallFailed as error:
            await self._relay.error(number, fault_of(error))
        except errors.DaemonryError as error:
            await self._relay.error(number, Fault(INTERNAL_ERROR, str(error)))
        except (KeyError, TypeError, AttributeError) as error:
            await self._relay.error(
                number, Fault(INVALID_PARAMS, f"the parameters do not fit {method}: {error!r}")
            )
        else:
            if "\n" in result:
                result = json.dumps(json.loads(result))
            await self._relay.send(f'{{"jsonrpc":"2.0","id":{json.dumps(number)},"result":{result}}}')

    # --- the protocol's methods ------------------------------------------------------------------

    async def _initialize(self, params: dict[str, Any]) -> str:
        asked = params.get("protocolVersion")
        self._relay.capabilities = params.get("capabilities") or {}
        return json.dumps(
            {
                **(await self._instructions() if self._is_lazy else {}),
                "protocolVersion": asked if asked in VERSIONS else LATEST,
                "capabilities": {
                    "tools": {},
                    "resources": {},
                    "prompts": {},
                    "completions": {},
                    "logging": {},
                },
                "serverInfo": {"name": NAME, "version": __version__},
            }
        )

    async def _instructions(self) -> dict[str, str]:
        with contextlib.suppress(Fault, errors.DaemonryError):  # which the first call tells
            return {"instructions": lazy.instructions(await self._names())}
        return {}

    async def _ping(self, _params: dict[str, Any]) -> str:
        return "{}"

    async def _set_level(self, params: dict[str, Any]) -> str:
        if params.get("level") not in LEVELS:
            raise Fault(INVALID_PARAMS, f"level is one of {', '.join(LEVELS)}")
        self._relay.level = LEVELS.index(params["level"])
        return "{}"

    async def _names(self, *, anew: bool = False) -> list[str]:
        now = time.monotonic()
        if anew or now - self._read_at > READ_AGAIN_S:
            # A file that changed is seen soon, and not read for each call.
            self._known = [one.name for one in await self._warm.servers()]
            self._read_at = now
        every = self._known
        if self._only:
            for name in self._only:
                if name not in every:
                    raise Fault(INTERNAL_ERROR, f"there is no server {name} in the configuration")
            return self._only
        return every

    async def _listed(self, method: str) -> list[tuple[str, dict[str, Any]]]:
        """Return the entries of all servers, each with its server; of one that fails, none and a log line."""
        names = await self._names(anew=True)

        async def one(name: str) -> list[tuple[str, dict[str, Any]]]:
            found: list[tuple[str, dict[str, Any]]] = []
            try:
                stream = self._warm.stream(method, name, {"detail": True}, listing=True)
                async with contextlib.aclosing(stream) as listings:
                    async for listing in listings:
                        if listing["state"].get("error") and not listing.get("items"):
                            await self._relay.say(name, listing["state"]["error"])
                        found += [(name, json.loads(item["json"])) for item in listing.get("items", ())]
            except errors.DaemonryError as error:
                await self._relay.say(name, str(error))
            return found

        return [pair for part in await asyncio.gather(*map(one, names)) for pair in part]

    @property
    def _single(self) -> bool:
        return len(self._only) == 1

    def _named(self, pairs: list[tuple[str, dict[str, Any]]]) -> list[Any]:
        """Give each entry the name that the client is to use."""
        if self._single:
            return [entry for _, entry in pairs]
        return [{**entry, "name": _prefix(server) + str(entry.get("name", ""))} for server, entry in pairs]

    async def _meant(self, name: str, sort: str) -> tuple[str, str]:
        """Return the server that a client's name means, and its own name for the thing."""
        names = await self._names()
        if self._single:
            return names[0], name
        fitting = [one for one in names if name.startswith(_prefix(one))]
        if not fitting:
            raise Fault(INVALID_PARAMS, f"there is no {sort} {name}")
        server = max(fitting, key=len)  # `a` and `a__b` may both be servers
        return server, name.removeprefix(_prefix(server))

    async def _tools_list(self, _params: dict[str, Any]) -> str:
        if self._is_lazy:
            return dumps({"tools": lazy.TOOLS})
        return dumps({"tools": self._named(await self._listed("Tools"))})

    async def _prompts_list(self, _params: dict[str, Any]) -> str:
        return dumps({"prompts": self._named(await self._listed("Prompts"))})

    async def _resources_list(self, _params: dict[str, Any]) -> str:
        pairs = await self._listed("Resources")
        self._resources = {str(entry.get("uri")): server for server, entry in pairs}
        return dumps({"resources": [entry for _, entry in pairs]})

    async def _templates_list(self, _params: dict[str, Any]) -> str:
        return dumps({"resourceTemplates": [entry for _, entry in await self._listed("Templates")]})

    async def _tools_call(self, params: dict[str, Any]) -> str:
        if not self._is_lazy:
            return await self._called(params)
        given = params.get("arguments") or {}
        try:
            if params["name"] == lazy.CALL:
                name, arguments = lazy.meant(given)
                return await self._called({**params, "name": name, "arguments": arguments})
            pairs = await self._listed("Tools")
            named = [(server, tool) for (server, _), tool in zip(pairs, self._named(pairs), strict=True)]
            if params["name"] == lazy.SEARCH:
                return _said(lazy.found(named, given))
            if params["name"] == lazy.DESCRIBE:
                return _said(lazy.described(named, given))
        except lazy.Unfit as error:
            return _said(str(error), is_error=True)
        raise Fault(INVALID_PARAMS, f"there is no tool {params['name']}")

    async def _called(self, params: dict[str, Any]) -> str:
        server, own = await self._meant(params["name"], "tool")
        given = {
            "tool": own,
            "arguments": dumps(params.get("arguments") or {}),
            "answers": self._relay.answers(),
            "logs": True,
        }
        token = (params.get("_meta") or {}).get("progressToken")
        try:
            return await self._relay.result("Call", server, given, token)
        except errors.CallFailed as error:
            # A model gets the errors that it can act upon as results, as the protocol has it.
            text = for_model(error)
            if text:
                return _said(text, is_error=True)
            raise

    async def _resources_read(self, params: dict[str, Any]) -> str:
        uri = params["uri"]
        if uri not in self._resources:
            await self._resources_list({})
        known = self._resources.get(uri)
        refusal: Exception = Fault(NOT_FOUND, f"there is no resource {uri}")
        # A resource made from a template is in no list: the server that answers has it.
        for server in [known] if known is not None else await self._names():
            try:
                return await self._relay.result("Read", server, {"uri": uri})
            except errors.CallFailed as error:
                if known is not None:
                    raise
                refusal = fault_of(error)
        raise refusal

    async def _prompts_get(self, params: dict[str, Any]) -> str:
        server, own = await self._meant(params["name"], "prompt")
        return await self._relay.result(
            "Prompt", server, {"prompt": own, "arguments": params.get("arguments") or {}}
        )

    async def _complete(self, params: dict[str, Any]) -> str:
        ref, argument = params["ref"], params["argument"]
        given = {
            "argument": argument["name"],
            "value": argument["value"],
            "context": (params.get("context") or {}).get("arguments") or {},
        }
        if ref.get("type") == "ref/prompt":
            server, given["prompt"] = await self._meant(ref["name"], "prompt")
            return await self._completed(server, given)
        given["uri"] = ref["uri"]
        for server, entry in await self._listed("Templates"):
            if entry.get("uriTemplate") == ref["uri"]:
                return await self._completed(server, given)
        raise Fault(INVALID_PARAMS, f"there is no resource template {ref['uri']}")

    async def _completed(self, server: str, given: dict[str, Any]) -> str:
        async with contextlib.aclosing(self._warm.stream("Complete", server, given)) as replies:
            async for reply in replies:
                return str(reply["result"])
        raise Fault(INTERNAL_ERROR, "no answer")

    _METHODS: Final = {
        "initialize": _initialize,
        "ping": _ping,
        "logging/setLevel": _set_level,
        "tools/list": _tools_list,
        "tools/call": _tools_call,
        "resources/list": _resources_list,
        "resources/templates/list": _templates_list,
        "resources/read": _resources_read,
        "prompts/list": _prompts_list,
        "prompts/get": _prompts_get,
        "completion/complete": _complete,
    }


def _said(text: str, *, is_error: bool = False) -> str:
    return dumps({"content": [{"type": "text", "text": text}], "isError": is_error})


def _prefix(server: str) -> str:
    return _ODD.sub("_", server) + SEPARATOR
