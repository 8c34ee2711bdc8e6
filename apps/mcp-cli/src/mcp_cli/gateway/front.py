"""An MCP server that offers the tools of others: the protocol's messages in, and out.

Owns what each message of a client means and which server it is for.  Knows no transport: whoever has one
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
from collections.abc import Awaitable, Callable
from typing import Any, Final

from daemonry import errors
from mcp_cli.client.warm import Warm
from mcp_cli.names import INTERFACE, NAME, __version__

LATEST: Final = "2025-11-25"
VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", LATEST)
NOT_JSON = "this is not JSON"
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = (
    -32700,
    -32600,
    -32601,
    -32602,
    -32603,
)
NOT_FOUND: Final = -32002
LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
# How old what was read of the configuration may be.
READ_AGAIN_S: Final = 2.0
SEPARATOR: Final = "__"
UNKNOWN: Final = "Whether the call was carried out is not known."
# What names of tools are made of, and how long they may be, for those models that are particular.
_ODD = re.compile(r"[^A-Za-z0-9_-]")

Send = Callable[[str], Awaitable[None]]


class _Fault(Exception):
    def __init__(self, code: int, message: str, data: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Front:
    """One client's view of the servers.

    Args:
        warm: the servers.
        send: takes a message, JSON on one line, for the client.
        only: the servers that are offered; all of the configuration's if empty.
    """

    def __init__(self, warm: Warm, send: Send, only: list[str]) -> None:
        self._warm = warm
        self._send = send
        self._only = only
        self._tasks: dict[Any, asyncio.Task[None]] = {}
        self._capabilities: dict[str, Any] = {}
        self._level = LEVELS.index("info")
        self._asked: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._count = 0
        self._resources: dict[str, str] = {}
        self._known: list[str] = []
        self._read_at = float("-inf")

    async def handle(self, line: str | bytes) -> None:
        """Take a client's message.  Requests are answered later, in the order in which they are done."""
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):  # the second: nested deeper than this interpreter goes
            await self._error(None, _Fault(PARSE_ERROR, NOT_JSON))
            return
        if not isinstance(message, dict):
            await self._error(None, _Fault(INVALID_REQUEST, "a message is a JSON object"))
            return
        method, number, params = message.get("method"), message.get("id"), message.get("params") or {}
        fault = _fault_in(method, number, params)
        if method is None:
            waiting = self._asked.get(str(number))
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
        elif number is None:
            if fault is None:
                self._notified(method, params)
        elif fault is not None:
            await self._error(number if _is_id(number) else None, fault)
        else:
            task = asyncio.create_task(self._answer(number, method, params))
            self._tasks[number] = task
            task.add_done_callback(lambda _: self._tasks.pop(number, None))

    async def close(self) -> None:
        """Cancel what is under way."""
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
            task = self._tasks.get(number) if _is_id(number) else None
            if task is not None:
                task.cancel()

    async def _answer(self, number: Any, method: str, params: dict[str, Any]) -> None:
        handler = self._METHODS.get(method)
        try:
            if handler is None:
                raise _Fault(METHOD_NOT_FOUND, f"there is no method {method}")
            result = await handler(self, params)
        except _Fault as fault:
            await self._error(number, fault)
        except errors.CallFailed as error:
            await self._error(number, _fault_of(error))
        except errors.DaemonryError as error:
            await self._error(number, _Fault(INTERNAL_ERROR, str(error)))
        except (KeyError, TypeError, AttributeError) as error:
            await self._error(
                number, _Fault(INVALID_PARAMS, f"the parameters do not fit {method}: {error!r}")
            )
        else:
            if "\n" in result:
                result = json.dumps(json.loads(result))
            await self._send(f'{{"jsonrpc":"2.0","id":{json.dumps(number)},"result":{result}}}')

    async def _error(self, number: Any, fault: _Fault) -> None:
        data = f',"data":{fault.data}' if fault.data else ""
        await self._send(
            f'{{"jsonrpc":"2.0","id":{json.dumps(number)},"error":'
            f'{{"code":{fault.code},"message":{json.dumps(fault.message)}{data}}}}}'
        )

    async def _notify(self, method: str, params: str) -> None:
        await self._send(f'{{"jsonrpc":"2.0","method":{json.dumps(method)},"params":{params}}}')

    # --- the protocol's methods ------------------------------------------------------------------

    async def _initialize(self, params: dict[str, Any]) -> str:
        asked = params.get("protocolVersion")
        self._capabilities = params.get("capabilities") or {}
        return json.dumps(
            {
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

    async def _ping(self, _params: dict[str, Any]) -> str:
        return "{}"

    async def _set_level(self, params: dict[str, Any]) -> str:
        if params.get("level") not in LEVELS:
            raise _Fault(INVALID_PARAMS, f"level is one of {', '.join(LEVELS)}")
        self._level = LEVELS.index(params["level"])
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
                    raise _Fault(INTERNAL_ERROR, f"there is no server {name} in the configuration")
            return self._only
        return every

    async def _listed(self, method: str) -> list[tuple[str, dict[str, Any]]]:
        """Return what all servers have, each with its server; one that fails has nothing, and is told."""
        names = await self._names(anew=True)

        async def one(name: str) -> list[tuple[str, dict[str, Any]]]:
            found: list[tuple[str, dict[str, Any]]] = []
            try:
                stream = self._warm.stream(method, name, {"detail": True}, listing=True)
                async with contextlib.aclosing(stream) as listings:
                    async for listing in listings:
                        if listing["state"].get("error") and not listing.get("items"):
                            await self._say(name, listing["state"]["error"])
                        found += [(name, json.loads(item["json"])) for item in listing.get("items", ())]
            except errors.DaemonryError as error:
                await self._say(name, str(error))
            return found

        return [pair for part in await asyncio.gather(*map(one, names)) for pair in part]

    async def _say(self, server: str, text: str) -> None:
        if self._level <= LEVELS.index("error"):
            params = {"level": "error", "logger": NAME, "data": f"{server}: {text}"}
            await self._notify("notifications/message", json.dumps(params))

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
            raise _Fault(INVALID_PARAMS, f"there is no {sort} {name}")
        server = max(fitting, key=len)  # `a` and `a__b` may both be servers
        return server, name.removeprefix(_prefix(server))

    async def _tools_list(self, _params: dict[str, Any]) -> str:
        return _dumps({"tools": self._named(await self._listed("Tools"))})

    async def _prompts_list(self, _params: dict[str, Any]) -> str:
        return _dumps({"prompts": self._named(await self._listed("Prompts"))})

    async def _resources_list(self, _params: dict[str, Any]) -> str:
        pairs = await self._listed("Resources")
        self._resources = {str(entry.get("uri")): server for server, entry in pairs}
        return _dumps({"resources": [entry for _, entry in pairs]})

    async def _templates_list(self, _params: dict[str, Any]) -> str:
        return _dumps({"resourceTemplates": [entry for _, entry in await self._listed("Templates")]})

    async def _tools_call(self, params: dict[str, Any]) -> str:
        server, own = await self._meant(params["name"], "tool")
        given = {
            "tool": own,
            "arguments": _dumps(params.get("arguments") or {}),
            "answers": self._answers(),
            "logs": True,
        }
        token = (params.get("_meta") or {}).get("progressToken")
        try:
            return await self._result("Call", server, given, token)
        except errors.CallFailed as error:
            # What a model can do something about is told to it, as the protocol has it.
            text = _for_model(error)
            if text:
                return _dumps({"content": [{"type": "text", "text": text}], "isError": True})
            raise

    def _answers(self) -> list[str]:
        known = {
            "elicitation": "elicitation/create",
            "sampling": "sampling/createMessage",
            "roots": "roots/list",
        }
        return [method for name, method in known.items() if name in self._capabilities]

    async def _result(self, method: str, server: str, given: dict[str, Any], token: Any = None) -> str:
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
                        await self._pass_on(event, server, token)
        finally:
            for task in questions:
                task.cancel()
        return "".join(parts)

    async def _pass_on(self, event: dict[str, Any], server: str, token: Any) -> None:
        if event["kind"] == "progress" and token is not None:
            params = {"progressToken": token, "progress": event.get("progress", 0)}
            if event.get("total") is not None:
                params["total"] = event["total"]
            if event.get("text"):
                params["message"] = event["text"]
            await self._notify("notifications/progress", json.dumps(params))
        elif event["kind"] == "log" and LEVELS.index(event.get("level", "info")) >= self._level:
            logger = json.dumps(event.get("logger") or server)
            level = json.dumps(event.get("level", "info"))
            data = event.get("result") or "null"
            await self._notify(
                "notifications/message", f'{{"level":{level},"logger":{logger},"data":{data}}}'
            )

    async def _question(self, event: dict[str, Any]) -> None:
        """Put a server's question to the client, and its answer to the server."""
        self._count += 1
        number = f"{NAME}-{self._count}"
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            method, params = json.dumps(event["method"]), event.get("result") or "{}"
            await self._send(
                f'{{"jsonrpc":"2.0","id":{json.dumps(number)},"method":{method},"params":{params}}}'
            )
            result = (await answer).get("result")
        finally:
            del self._asked[number]
        await self._warm.answer(event["id"], "" if result is None else _dumps(result))

    async def _resources_read(self, params: dict[str, Any]) -> str:
        uri = params["uri"]
        if uri not in self._resources:
            await self._resources_list({})
        known = self._resources.get(uri)
        refusal: Exception = _Fault(NOT_FOUND, f"there is no resource {uri}")
        # One that is made from a template is in no list: whoever has it answers.
        for server in [known] if known is not None else await self._names():
            try:
                return await self._result("Read", server, {"uri": uri})
            except errors.CallFailed as error:
                if known is not None:
                    raise
                refusal = _fault_of(error)
        raise refusal

    async def _prompts_get(self, params: dict[str, Any]) -> str:
        server, own = await self._meant(params["name"], "prompt")
        return await self._result(
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
        raise _Fault(INVALID_PARAMS, f"there is no resource template {ref['uri']}")

    async def _completed(self, server: str, given: dict[str, Any]) -> str:
        async with contextlib.aclosing(self._warm.stream("Complete", server, given)) as replies:
            async for reply in replies:
                return str(reply["result"])
        raise _Fault(INTERNAL_ERROR, "no answer")

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


def _fault_in(method: Any, number: Any, params: Any) -> _Fault | None:
    """Return what no message may have, where it is one that somebody is to act on; None for nothing."""
    if number is not None and not _is_id(number):
        return _Fault(INVALID_REQUEST, "an id is a text or a number")
    if not isinstance(method, str):
        return _Fault(INVALID_REQUEST, "a method is a text")
    if not isinstance(params, dict):
        return _Fault(INVALID_PARAMS, f"the parameters of {method} are an object")
    return None


def _is_id(number: Any) -> bool:
    return isinstance(number, str | int | float)


def _prefix(server: str) -> str:
    return _ODD.sub("_", server) + SEPARATOR


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _fault_of(error: errors.CallFailed) -> _Fault:
    fields = error.parameters
    if error.error == f"{INTERFACE}.ServerRefused":
        return _Fault(
            int(fields.get("code", INTERNAL_ERROR)), str(fields.get("message", "")), fields.get("data") or ""
        )
    return _Fault(INTERNAL_ERROR, _for_model(error) or str(error))


def _for_model(error: errors.CallFailed) -> str:
    """Return what a failed call comes to, in words; "" for an error of the server's own."""
    fields = error.parameters
    server = f"The server {fields.get('server')}"
    kind = error.error.removeprefix(f"{INTERFACE}.")
    if kind == "BadArguments":
        where = f"{fields.get('parameter')}: " if fields.get("parameter") else ""
        return (
            f"The arguments do not fit the tool's schema, and nothing was done: {where}{fields.get('reason')}"
        )
    if kind == "NoSuchTool":
        return f"There is no tool {fields.get('tool')} any more."
    if kind == "Filtered":
        return f"The tool {fields.get('tool')} is not allowed here ({fields.get('rule')})."
    if kind in ("ServerFailed", "NeedsAuthorization"):
        return f"{server} cannot be reached, and nothing was done: {fields.get('reason')}"
    if kind == "MaybeRan":
        return f"{server} {fields.get('reason')}. {UNKNOWN}"
    if kind == "TimedOut":
        return f"{server} was silent for {fields.get('seconds'):g} s. {UNKNOWN}"
    return ""
