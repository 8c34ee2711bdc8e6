"""The servers, from Python: `mcp_cli.connect()`.

    import mcp_cli

    with mcp_cli.connect() as servers:
        result = servers.weather.get_forecast(city="Rome", days=3)
        print(result.text)
        for image in result.images:
            ...

Owns the objects: servers by name, tools as functions with the signature of their schema, results with what
one wants of them.  The calls are those of the commands, through the daemon that they use.
"""

from __future__ import annotations

import base64
import inspect
import json
import keyword
import threading
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self

from daemonry import Client, errors
from mcp_cli.client import connect as reach
from mcp_cli.client.options import AUTO, DIRECT, REQUIRE, Options
from mcp_cli.client.retry import CallAttempts
from mcp_cli.client.session import START_TIMEOUT_S, NoSuchServer, Session
from mcp_cli.names import GRACE_S, INTERFACE, NAME
from mcp_cli.pool import arguments

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    # With a default, so that a plain `Result` is one of anything; Python itself has that from 3.13.
    Structured_co = TypeVar("Structured_co", default=Any, covariant=True)
else:
    from typing import TypeVar

    Structured_co = TypeVar("Structured_co", covariant=True)

OnEvent = Callable[[Mapping[str, Any]], None]
Answer = Callable[[str, Mapping[str, Any]], Mapping[str, Any] | None]

_SCHEMA_TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": None,
}


class ToolFailed(errors.DaemonryError):
    """A tool ran and says that it failed.

    Attributes:
        result: its answer.
    """

    def __init__(self, name: str, result: Result) -> None:
        super().__init__(f"{name}: {result.text}")
        self.result = result


class Blob(NamedTuple):
    """An image, a sound, or another file of a result.

    Attributes:
        data: its bytes.
        mime_type: such as `image/png`.
        uri: of a resource; "" for others.
    """

    data: bytes
    mime_type: str
    uri: str = ""


class Result(Generic[Structured_co]):
    """What a server answered; `Result[T]` where its structured content is a T.

    Attributes:
        raw: the result's JSON, as the server sent it.
        ms: how long the server took, in milliseconds.
        schema_error: how it breaks the tool's output schema; "" if it does not.
    """

    def __init__(self, raw: str, ms: float = 0.0, schema_error: str = "") -> None:
        self.raw = raw
        self.ms = ms
        self.schema_error = schema_error
        self._value: dict[str, Any] | None = None

    @property
    def value(self) -> dict[str, Any]:
        """The whole result."""
        if self._value is None:
            self._value = json.loads(self.raw)
        return self._value

    @property
    def content(self) -> list[dict[str, Any]]:
        """Its blocks; those of a resource that was read are its contents."""
        found: list[dict[str, Any]] = self.value.get("content") or self.value.get("contents") or []
        return found

    @property
    def text(self) -> str:
        """All its texts, joined by line feeds."""
        return "\n".join(one["text"] for one in map(_inner, self.content) if isinstance(one.get("text"), str))

    @property
    def images(self) -> list[Blob]:
        """Its images."""
        return [blob for blob in self.blobs if blob.mime_type.startswith("image/")]

    @property
    def blobs(self) -> list[Blob]:
        """All that it has as bytes: images, sounds, resources."""
        blobs = []
        for one in map(_inner, self.content):
            data = one.get("data", one.get("blob"))
            if isinstance(data, str):
                mime_type = one.get("mimeType") or "application/octet-stream"
                blobs.append(Blob(base64.b64decode(data), mime_type, one.get("uri", "")))
        return blobs

    @property
    def links(self) -> list[str]:
        """The resources that it links to."""
        return [one["uri"] for one in self.content if one.get("type") == "resource_link"]

    @property
    def structured(self) -> Structured_co:
        """Its structured content; None if it has none."""
        return self.value.get("structuredContent")  # type: ignore[return-value]

    @property
    def is_error(self) -> bool:
        """Whether the tool says that it failed."""
        return bool(self.value.get("isError"))

    def json(self) -> Any:
        """Return the structured content, or else its text read as JSON.

        Raises:
            ValueError: it has neither.
        """
        structured = self.structured
        return json.loads(self.text) if structured is None else structured

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Result {self.raw[:100]}{'...' if len(self.raw) > 100 else ''}>"


def _inner(block: dict[str, Any]) -> dict[str, Any]:
    resource = block.get("resource")
    return resource if isinstance(resource, dict) else block


class Tool:
    """A tool of a server, to be called as a function.

    Attributes:
        server: its server's name.
        name: its own.
        description: its own description.
        schema: of its arguments.
        output_schema: of its structured result; None if it promises none.
    """

    def __init__(self, servers: Servers, server: str, listed: dict[str, Any]) -> None:
        self._servers = servers
        self.server = server
        self.name: str = listed["name"]
        self.description: str = listed.get("description") or ""
        self.schema: dict[str, Any] = listed.get("inputSchema") or {}
        self.output_schema: dict[str, Any] | None = listed.get("outputSchema")
        self.__name__ = python_name(self.name)
        self.__doc__ = self.description
        self.__signature__ = signature(self.schema)

    def __call__(self, **arguments: Any) -> Result:
        """Call it.

        Raises:
            ToolFailed: it ran and failed.
            CallFailed: it was not called, or did not answer; `error.error` says which.
        """
        names = {python_name(name): name for name in self.schema.get("properties") or {}}
        given = {names.get(name, name): value for name, value in arguments.items()}
        return self._servers.call(self.server, self.name, given)

    def __repr__(self) -> str:
        return f"<Tool {self.server}/{self.name}{self.__signature__}>"


class Handle:
    """One server.  Its tools are its attributes, with `_` for what Python's names cannot have."""

    def __init__(self, servers: Servers, name: str) -> None:
        self._servers = servers
        self.name = name
        self._tools: dict[str, Tool] | None = None

    def tools(self) -> dict[str, Tool]:
        """Return its tools, by name."""
        listed = self._servers.listed("Tools", self.name)
        self._tools = {one["name"]: Tool(self._servers, self.name, one) for one in listed}
        return self._tools

    def call(self, tool: str, arguments: Mapping[str, Any] | None = None, **options: Any) -> Result:
        """Call a tool by its name; as `Servers.call`."""
        return self._servers.call(self.name, tool, arguments, **options)

    def resources(self) -> list[dict[str, Any]]:
        """Return its resources, as it lists them."""
        return self._servers.listed("Resources", self.name)

    def read(self, uri: str) -> Result:
        """Read a resource."""
        return self._servers.result("Read", self.name, {"uri": uri})

    def prompts(self) -> list[dict[str, Any]]:
        """Return its prompts, as it lists them."""
        return self._servers.listed("Prompts", self.name)

    def prompt(self, name: str, **arguments: str) -> Result:
        """Get a prompt."""
        return self._servers.result("Prompt", self.name, {"prompt": name, "arguments": arguments})

    def info(self) -> dict[str, Any]:
        """Start it, if need be, and return its own description."""
        return self._servers.ask("Info", self.name, {})

    def __getattr__(self, name: str) -> Tool:
        if name.startswith("__"):
            raise AttributeError(name)
        for tool in (self._tools or self.tools()).values():
            if name in (tool.name, tool.__name__):
                return tool
        raise AttributeError(f"server {self.name} has no tool {name}")

    def __dir__(self) -> list[str]:
        tools = self._tools or self.tools()
        return sorted({*super().__dir__(), *(tool.__name__ for tool in tools.values())})

    def __repr__(self) -> str:
        return f"<Server {self.name}>"


class Servers:
    """The configured servers.  Several threads may call at the same time.

    Args:
        options: which configuration, which mode.
        on_event: is given each event of a call: progress, logs, notes.
        answer: answers a server's questions: given the method and the params, it returns the result, or None
            to refuse.
    """

    def __init__(
        self, options: Options, on_event: OnEvent | None = None, answer: Answer | None = None
    ) -> None:
        self._options = options
        self._session = Session(options)
        self._on_event = on_event
        self._answer = answer
        self._refs: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()
        self._pool: Any = None

    @property
    def names(self) -> list[str]:
        """The servers' names.

        Raises:
            ConfigError: the configuration cannot be used.
        """
        return [one.name for one in self._session.config.enabled()]

    def __getitem__(self, name: str) -> Handle:
        if name not in self.names:
            raise KeyError(name)
        return Handle(self, name)

    def __getattr__(self, name: str) -> Handle:
        if name.startswith("_"):
            raise AttributeError(name)
        for one in self.names:
            if name in (one, python_name(one)):
                return Handle(self, one)
        raise AttributeError(f"there is no server {name} in the configuration")

    def __iter__(self) -> Iterator[Handle]:
        return iter([Handle(self, name) for name in self.names])

    def call(
        self,
        server: str,
        tool: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        raises: bool = True,
    ) -> Result:
        """Call a tool.

        Args:
            server: the server's name.
            tool: the tool's.
            arguments: by name.
            timeout_s: how long the server may be silent, in seconds.
            raises: whether a tool that says that it failed raises; else see `Result.is_error`.

        Raises:
            ToolFailed: it ran and failed.
            CallFailed: it was not called, or did not answer; `error.error` says which.
            NoSuchServer, ConfigError: before anything is sent.
        """
        given: dict[str, Any] = {
            "tool": tool,
            "arguments": json.dumps(dict(arguments or {})),
            "logs": self._on_event is not None,
            "answers": ["elicitation/create", "sampling/createMessage"] if self._answer is not None else [],
        }
        if timeout_s is not None:
            given["timeout_s"] = timeout_s
        result = self.result("Call", server, given)
        if raises and result.is_error:
            raise ToolFailed(f"{server}/{tool}", result)
        return result

    def result(self, method: str, server: str, given: dict[str, Any]) -> Result:
        """Ask a server for what comes as events, and return the result."""
        parts: list[str] = []
        last: Mapping[str, Any] = {}
        for last in self._events(method, server, given):
            if last["kind"] in ("part", "done"):
                parts.append(last.get("result", ""))
            elif last["kind"] == "question":
                self._put(last)
            elif self._on_event is not None:
                self._on_event(last)
        return Result("".join(parts), last.get("ms", 0.0), last.get("schema_error", ""))

    def _put(self, event: Mapping[str, Any]) -> None:
        answer = None
        if self._answer is not None:
            answer = self._answer(event["method"], json.loads(event.get("result") or "{}"))
        text = "" if answer is None else json.dumps(dict(answer))
        with self._client() as client:
            client.call(f"{INTERFACE}.Answer", {"id": event["id"], "result": text})

    def listed(self, method: str, server: str) -> list[dict[str, Any]]:
        """Return what a server lists.

        Raises:
            CallFailed: it cannot be asked.
        """
        found: list[dict[str, Any]] = []
        for listing in self._events(method, server, {}, listing=True):
            if listing["state"].get("error") and not listing.get("items"):
                state = listing["state"]
                fields = {"server": server, "stage": "list", "reason": state["error"]}
                fields["stderr"] = state.get("stderr", [])
                raise errors.CallFailed(f"{INTERFACE}.ServerFailed", fields)
            found += [json.loads(item["json"]) for item in listing.get("items", ())]
        return found

    def ask(self, method: str, server: str, given: dict[str, Any]) -> dict[str, Any]:
        """Ask for what comes in one reply."""
        ref = self._ref(server)
        with self._client() as client:
            reply: dict[str, Any] = client.call(
                f"{INTERFACE}.{method}", {**ref, **given}, timeout_s=START_TIMEOUT_S + GRACE_S
            )
        return reply

    def _events(
        self, method: str, server: str, given: dict[str, Any], *, listing: bool = False
    ) -> Iterator[Mapping[str, Any]]:
        attempts = CallAttempts()
        while True:
            ref = self._ref(server)
            whole = {"servers": [ref], **given} if listing else {**ref, **given}
            try:
                with self._client() as client:
                    idle_s = self._session.patience_s(whole)
                    for event in client.stream(f"{INTERFACE}.{method}", whole, idle_s=idle_s):
                        attempts.begun = True
                        yield event
            except errors.DaemonryError as error:
                if not attempts.again(error):
                    raise
                if isinstance(error, errors.Draining):
                    self._await_next()
            else:
                return
            self._refs.pop(server, None)  # the daemon is another one by now

    def _await_next(self) -> None:
        """Wait for the daemon that comes after one that is ending."""
        if self._options.mode != AUTO:
            raise errors.NotRunning(NAME)
        self._session.start_daemon().close()

    def _ref(self, server: str) -> dict[str, str]:
        with self._lock:
            if server not in self._refs:
                definition = self._session.definition(self._session.server(server))
                with self._client() as client:
                    client.call(f"{INTERFACE}.Configure", {"servers": [definition]})
                self._refs[server] = {"server": server, "fingerprint": definition["fingerprint"]}
            return self._refs[server]

    def _client(self) -> Any:
        """Return a connection of one's own; in direct mode, the pool, which is not closed with it."""
        if self._options.mode == DIRECT:
            if self._pool is None:
                from mcp_cli import pool

                self._pool = pool.in_this_process()
            return _SharedPool(self._pool)
        client: Client | None = reach.try_connect()
        if client is None:
            if self._options.mode == REQUIRE:
                raise errors.NotRunning(NAME)
            client = self._session.start_daemon()
        return client

    def close(self) -> None:
        """End the servers that this process started; the daemon and its servers go on."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _SharedPool:
    """A pool that outlives the `with` that it is used in."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def __enter__(self) -> Any:
        return self._pool

    def __exit__(self, *exc: object) -> None:
        pass


def connect(
    config: str | None = None,
    *,
    mode: str = AUTO,
    stdio: str | None = None,
    url: str | None = None,
    on_event: OnEvent | None = None,
    answer: Answer | None = None,
) -> Servers:
    """Return the configured servers; nothing is started before it is needed.

    Args:
        config: the configuration file; found as the commands find it if not given.
        mode: `auto`, `require` (a daemon that runs) or `direct` (no daemon; servers end with this object).
        stdio: the command of one server, instead of a configuration.
        url: where one server is, instead of a configuration.
        on_event: as `Servers`.
        answer: as `Servers`.
    """
    if mode not in (AUTO, REQUIRE, DIRECT):
        raise ValueError(f"mode is {mode!r} and not auto, require or direct")
    options = Options()
    options.config, options.mode, options.stdio, options.url = config, mode, stdio, url
    return Servers(options, on_event, answer)


def python_name(name: str) -> str:
    """Return a name that Python can have for one that it cannot: `get-sum` is `get_sum`."""
    if not name.isascii():  # Python takes names that are the same in NFKC for one
        name = unicodedata.normalize("NFKC", name)
    made = "".join(char if f"_{char}".isidentifier() else "_" for char in name)
    if not made or not made[0].isidentifier():
        made = f"_{made}"
    return f"{made}_" if keyword.iskeyword(made) else made


def signature(schema: Mapping[str, Any]) -> inspect.Signature:
    """Return the signature that a tool's schema stands for: keywords, the required first."""
    required = arguments.required(schema)
    properties = arguments.properties(schema)
    parameters = [
        inspect.Parameter(
            python_name(name),
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if name in required else None,
            annotation=_annotation(kind),
        )
        for name, kind in sorted(properties.items(), key=lambda pair: pair[0] not in required)
    ]
    return inspect.Signature(parameters, return_annotation=Result)


def _annotation(kind: Any) -> Any:
    found = kind.get("type") if isinstance(kind, dict) else None
    return _SCHEMA_TYPES.get(found, Any) if isinstance(found, str) else Any


__all__ = ["Blob", "Handle", "NoSuchServer", "Result", "Servers", "Tool", "ToolFailed", "connect"]
