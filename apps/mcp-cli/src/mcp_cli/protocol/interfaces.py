"""What the daemon can be asked: the typed calls between the commands and the pool.

Owns the shapes and the errors, and nothing that acts.  The quick commands do not import this file (it
needs msgspec): they make the same calls by name, as `org.daemonry.mcp.Call`, with plain dicts.

How a call finds its server.  The caller reads the configuration, expands it with its own environment, and
names a server by its name and its fingerprint.  A daemon that has no such server answers `NotConfigured`;
the caller then sends the definition by `Configure`, and calls again.  So a warm call carries two short
strings and no configuration, and a changed configuration is a fingerprint that the daemon does not know.

What a server says is passed on as the text that it sent: `result` is JSON, to the byte for servers that are
spoken to over pipes; over HTTP, as parsed once and written again (order and values kept).
A result that is long comes in pieces: `part` events, whose texts stand before the `done` event's `result`.

To leave a stream early, or to close the connection, is to cancel: the server is notified.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

import msgspec

from daemonry import Interface, method
from mcp_cli.names import INTERFACE
from mcp_cli.protocol.access import Access
from mcp_cli.protocol.errors import (
    BadArguments,
    Filtered,
    MaybeRan,
    NeedsAuthorization,
    NoSuchQuestion,
    NoSuchTask,
    NoSuchTool,
    NotConfigured,
    NotFinished,
    ServerFailed,
    ServerRefused,
    TaskEnded,
    TimedOut,
    TooManyTasks,
)

__all__ = [
    "BadArguments",
    "Changed",
    "Event",
    "Filtered",
    "Item",
    "Kind",
    "Listing",
    "MaybeRan",
    "Mcp",
    "NeedsAuthorization",
    "NoSuchQuestion",
    "NoSuchTask",
    "NoSuchTool",
    "NotConfigured",
    "NotFinished",
    "Pong",
    "Question",
    "Ref",
    "Server",
    "ServerFailed",
    "ServerRefused",
    "ServerState",
    "State",
    "TaskEnded",
    "TaskState",
    "TaskStatus",
    "TimedOut",
    "TooManyTasks",
]

Kind = Literal["stdio", "http", "sse"]
State = Literal["idle", "waiting", "starting", "ready", "ending", "failed", "retired"]


class Server(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A server's definition, expanded: no `${VAR}` is left in it.

    Attributes:
        name: as in the configuration.
        fingerprint: of this whole definition, whatever the order of its keys; the caller works it out.
        template: the same of the definition before its variables were expanded.  Two definitions of one
            name and source that differ in their template are an old and a new one: the old one ends when its
            calls have.  Where only the fingerprint differs, the callers' environments do: both are kept.
        source: the configuration file, or "" for a one-off server.
        description: for people.
        kind: how it is spoken to.  `http` is streamable HTTP, and falls back to `sse`, which is that of 2024.
        command, args, env, cwd: of a stdio server.  `env` is added to the few variables that any server gets
            (HOME, LANG, LC_*, LOGNAME, PATH, SHELL, TERM, TMPDIR, TZ, USER, XDG_*), as the daemon has them.
        url, headers: of an HTTP server.
        oauth: whether an HTTP server that asks for it is given OAuth tokens.
        oauth_client_id, oauth_client_secret, oauth_scopes: where the server registers no clients.
        oauth_grant, oauth_issuer, oauth_client_metadata_url, oauth_key_file, oauth_assertion_command,
            oauth_store: as in the configuration.
        allowed_tools, disabled_tools: globs; no `allowed_tools` allows all, and disabled wins.
        roots: file URIs, or absolute paths, that it gets as its roots.
        timeout_s: how long a call may be silent; a progress notification renews it.
        start_timeout_s: from starting it to the end of `initialize`.
        idle_s: how long it runs without a call; 0 for as long as the daemon.
        concurrency: calls at the same time; 0 for no bound.
        log_level: the lowest level that it is asked to log, if it can be asked; "" leaves it alone.
        protocol: the revision that it is held to; "" for the newest in common.
        elicitation, sampling: who answers its questions of that kind: "" the caller where it can, "ask"
            whoever answers in time, "decline" nobody.
        elicitation_command, sampling_command: of the configuration, which answers instead; may be empty.
        hook_timeout_s: how long such a command may take.
        missed: names of the caller's variables that it was not given and might have wanted, for messages.
    """

    name: str
    fingerprint: str
    template: str = ""
    source: str = ""
    description: str = ""
    kind: Kind = "stdio"
    command: str = ""
    args: list[str] = []
    env: dict[str, str] = {}
    cwd: str = ""
    url: str = ""
    headers: dict[str, str] = {}
    oauth: bool = True
    oauth_client_id: str = ""
    oauth_client_secret: str = ""
    oauth_scopes: list[str] = []
    oauth_grant: str = ""
    oauth_issuer: str = ""
    oauth_client_metadata_url: str = ""
    oauth_key_file: str = ""
    oauth_assertion_command: list[str] = []
    oauth_store: str = ""
    allowed_tools: list[str] = []
    disabled_tools: list[str] = []
    roots: list[str] = []
    timeout_s: float = 1800.0
    start_timeout_s: float = 60.0
    idle_s: float = 0.0
    concurrency: int = 0
    log_level: str = ""
    protocol: str = ""
    elicitation: str = ""
    elicitation_command: list[str] = []
    sampling: str = ""
    sampling_command: list[str] = []
    hook_timeout_s: float = 60.0
    missed: list[str] = []


class Ref(msgspec.Struct):
    """A server that the daemon was given: its name and the fingerprint of its definition."""

    server: str
    fingerprint: str


class ServerState(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A server in the daemon.

    Attributes:
        server, fingerprint, source, kind, description: as it was defined.
        state: `idle` was never asked for, or has ended, and is started by the next call; `waiting` is before
            a start; `ending` is being ended; `failed` could not be started, or crashed too often, and is
            tried again by the next call; `retired` finishes its calls and ends, because its definition
            changed.
        pid: of a stdio server that runs.
        calls: under way.
        starts: how often it was started.
        error: what the last start or the last end came to, in one line.
        stderr: the last lines that it wrote there.
        protocol: the protocol's revision, once negotiated.
        info: the `serverInfo` that it gave, JSON.
        capabilities: JSON.
        instructions: its own description.
        start_ms: how long its last start took.
        processes, rss_bytes: of a stdio server that runs, with all that it started, where that was asked for.
        ping_ms: what the last ping took; -1 for none yet.
    """

    server: str
    fingerprint: str
    state: State
    kind: Kind = "stdio"
    source: str = ""
    description: str = ""
    pid: int = 0
    calls: int = 0
    starts: int = 0
    error: str = ""
    stderr: list[str] = []
    protocol: str = ""
    info: str = ""
    capabilities: str = ""
    instructions: str = ""
    start_ms: int = 0
    ping_ms: float = -1.0
    processes: int = 0
    rss_bytes: int = 0


class Item(msgspec.Struct, omit_defaults=True):
    """A tool, resource, resource template or prompt.

    Attributes:
        name: by which it is asked for: a tool's or prompt's name, a resource's URI, a URI template.
        title: for people; "" if it has none.
        description: for people.
        json: the whole of it, as the server sent it; "" where the caller did not ask for it.
    """

    name: str
    title: str = ""
    description: str = ""
    json: str = ""


class Listing(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One server's entries of one sort.

    A list that is long comes in several, the last of which has `more` false.

    Attributes:
        server: whose.
        fingerprint: whose.
        items: in the server's order, without those that are filtered away.
        filtered: how many of them are.
        more: whether others follow for this server.
        state: the server's, with its error and stderr where it could not be asked.
    """

    server: str
    fingerprint: str
    items: list[Item] = []
    filtered: int = 0
    more: bool = False
    state: ServerState


class Event(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One thing that happened in a call.

    Attributes:
        kind: `progress` has `progress`, `total`, `text`; `log` has `level`, `logger`, and `result` (JSON);
            `stderr` has `text`, a line; `note` has `text`: an action of the pool for it, such as starting
            the server, or, with the `level` warning, an oddity of the server; `question` has `id`,
            `method` and `result` (the params, JSON), and waits for `answer`; with the `level` open anybody
            may give it;
            `visit` has `text`, a URL that the user opens in a browser, and `result`, the URL to which the
            browser is sent back;
            `watching` is the beginning of a watch, with the `text` "again" after the server was another
            process; `changed` has `method`: tools, prompts, resources (their lists), resource (`text` is its
            URI), or missed (more than could be kept); `part` has `result`, a piece; `done` is the last.
        progress, total: as the server counts; total is null where it told none.
        text: for people; of `done`, the text blocks of the result, joined by line feeds, if they are short.
        plain: of `done`: that the result is nothing but `text`, so that printing it loses nothing.
        is_error: of `done`: that the tool itself says that it failed.
        result: of `done`: the JSON text of the result, as the server sent it, or its last piece.
        id, method: of a question: `elicitation/create`, `sampling/createMessage`, `roots/list`.
        level, logger: of a log notification; `level` also of a note.
        ms: of `done`: from asking the server to its result.
        schema_error: of `done`: how `structuredContent` breaks the tool's output schema, or "".
    """

    kind: Literal[
        "progress", "log", "stderr", "note", "question", "visit", "watching", "changed", "part", "done"
    ]
    progress: float = 0.0
    total: float | None = None
    text: str = ""
    plain: bool = False
    is_error: bool = False
    result: str = ""
    id: str = ""
    method: str = ""
    level: str = ""
    logger: str = ""
    ms: float = 0.0
    schema_error: str = ""


TaskStatus = Literal["working", "input_required", "completed", "failed", "cancelled", "unknown"]


class TaskState(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A tool call that the daemon holds, whether or not a client waits for it.

    Attributes:
        id: by which it is asked for.
        server, tool: the tool that was called.
        status: `working`; `input_required` waits for an answer to a question; `completed` has a result, also
            one that says that the tool failed; `failed` has an error, and nothing ran or the server says so;
            `cancelled`; `unknown` may have run: the daemon or the server ended in the call.
        created_at, ended_at: on the wall clock, in seconds; `ended_at` is 0 before its end.
        message: what the tool said last of its progress.
        error: why there is no result, in words.
        remote: the server's own task, where the server runs it as one.
        result_bytes: of its result.
        is_error: whether the tool itself says that it failed.
        questions: the ids of those that wait for an answer.
    """

    id: str
    server: str
    tool: str
    status: TaskStatus = "working"
    created_at: float = 0.0
    ended_at: float = 0.0
    message: str = ""
    error: str = ""
    remote: str = ""
    result_bytes: int = 0
    is_error: bool = False
    questions: list[str] = []


class Question(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A question of a server that waits for its answer.

    Attributes:
        id: by which it is answered.
        server, tool: the call that it belongs to.
        method, params: as the server sent it; `params` is JSON.
        asked_at: on the wall clock, in seconds.
        task: the task that the call is; "" for none.
    """

    id: str
    server: str
    tool: str
    method: str
    params: str
    asked_at: float
    task: str = ""


class Pong(msgspec.Struct):
    """How long a server took to answer a ping."""

    ms: float


class Changed(msgspec.Struct):
    """What `configure` came to: servers that are new, that replace an old one, and that were known."""

    added: list[str]
    replaced: list[str]
    kept: list[str]


class Mcp(
    Interface,
    name=INTERFACE,
    errors=(
        NotConfigured,
        NoSuchTool,
        Filtered,
        BadArguments,
        ServerFailed,
        NeedsAuthorization,
        ServerRefused,
        TimedOut,
        MaybeRan,
        NoSuchQuestion,
        NoSuchTask,
        NotFinished,
        TaskEnded,
        TooManyTasks,
    ),
):
    """MCP servers, kept warm."""

    async def configure(self, servers: list[Server]) -> Changed:
        """Give definitions; a changed one replaces the old, whose calls go on."""
        raise NotImplementedError

    @method(reads=True)
    async def servers(self, usage: bool = False) -> list[ServerState]:
        """Return the servers that were given, without starting any; with `usage` also their memory."""
        raise NotImplementedError

    async def info(self, server: str, fingerprint: str) -> ServerState:
        """Start a server, if need be, and return its own description."""
        raise NotImplementedError

    def tools(self, servers: list[Ref], detail: bool = True) -> AsyncIterator[Listing]:
        """List tools: all servers are started together, and each comes when it has answered.

        A server that fails comes with its error in its state; the others are not held up.
        """
        raise NotImplementedError

    async def tool(self, server: str, fingerprint: str, tool: str) -> Item:
        """Return one tool, whole."""
        raise NotImplementedError

    def call(  # noqa: PLR0913, PLR0917  # called by name
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
    ) -> AsyncIterator[Event]:
        """Call a tool; the last event is `done`.

        Args:
            server: its name.
            fingerprint: of its definition.
            tool: the tool's name.
            arguments: a JSON object, as text; sent to the server as it stands.
            words: instead of `arguments`: `key=value`, `--key`, `value`, `--key=value`, made into an object
                by the tool's schema.
            timeout_s: how long the server may be silent; its own `timeout_s` if null.
            answers: the methods of those questions that the caller answers, such as `elicitation/create`;
                others are refused.
            logs: whether log notifications and stderr lines are wanted.
            check: whether the arguments are checked against the tool's schema.
            meta: a JSON object, the `_meta` that the server is sent; "" for none.
            pin: a JSON object with the `inputSchema` and `outputSchema` that the tool must have; "" for any.
        """
        raise NotImplementedError

    async def detach(  # noqa: PLR0913, PLR0917  # called by name
        self,
        server: str,
        fingerprint: str,
        tool: str,
        arguments: str = "{}",
        words: list[str] | None = None,
        timeout_s: float | None = None,
        check: bool = True,
        pin: str = "",
    ) -> TaskState:
        """Call a tool as `call` does, and return at once: the daemon holds the call and keeps its result."""
        raise NotImplementedError

    @method(reads=True)
    async def tasks(self) -> list[TaskState]:
        """Return the tasks that are held, the oldest first."""
        raise NotImplementedError

    @method(reads=True)
    async def task(self, id: str) -> TaskState:  # noqa: A002
        """Return one task."""
        raise NotImplementedError

    def follow(
        self,
        id: str,  # noqa: A002
        fingerprint: str = "",
        timeout_s: float | None = None,
        wait: bool = True,
    ) -> AsyncIterator[Event]:
        """Tell of a task's progress, and end as its call would have: with `done`, or with the call's error.

        Args:
            id: the task's.
            fingerprint: of its server's definition, by which a server's own task is asked for again after
                the daemon was another one.
            timeout_s: how long it is waited for; `NotFinished` after that.
            wait: whether it is waited for at all.
        """
        raise NotImplementedError

    async def cancel(self, id: str, fingerprint: str = "") -> TaskState:  # noqa: A002
        """Cancel a task that goes on, at its server too.  One that has ended stays as it is."""
        raise NotImplementedError

    async def answer(self, id: str, result: str) -> None:  # noqa: A002
        """Answer a question of a call that is under way: the JSON text of the result, or "" to refuse."""
        raise NotImplementedError

    @method(reads=True)
    async def questions(self) -> list[Question]:
        """Return the questions that wait for an answer, the oldest first."""
        raise NotImplementedError

    def resources(self, servers: list[Ref], detail: bool = True) -> AsyncIterator[Listing]:
        """List resources, as `tools` lists tools; a server without them has none."""
        raise NotImplementedError

    def templates(self, servers: list[Ref], detail: bool = True) -> AsyncIterator[Listing]:
        """List resource templates, as `tools` lists tools."""
        raise NotImplementedError

    def prompts(self, servers: list[Ref], detail: bool = True) -> AsyncIterator[Listing]:
        """List prompts, as `tools` lists tools."""
        raise NotImplementedError

    def read(
        self, server: str, fingerprint: str, uri: str, timeout_s: float | None = None
    ) -> AsyncIterator[Event]:
        """Read a resource: `done` has the result of `resources/read`."""
        raise NotImplementedError

    def prompt(
        self,
        server: str,
        fingerprint: str,
        prompt: str,
        arguments: dict[str, str] = {},  # noqa: B006  # read only
        timeout_s: float | None = None,
    ) -> AsyncIterator[Event]:
        """Get a prompt: `done` has the result of `prompts/get`."""
        raise NotImplementedError

    async def complete(
        self,
        server: str,
        fingerprint: str,
        argument: str,
        value: str,
        prompt: str = "",
        uri: str = "",
        context: dict[str, str] = {},  # noqa: B006  # read only
    ) -> str:
        """Complete the value of a prompt's argument, or of a resource template's: the result's JSON text."""
        raise NotImplementedError

    def watch(
        self,
        server: str,
        fingerprint: str,
        uris: list[str] = [],  # noqa: B006  # read only
        lists: bool = True,
        passive: bool = False,
    ) -> AsyncIterator[Event]:
        """Tell of changes of a server, until its definition is replaced: of its lists, and of resources.

        Args:
            server: its name.
            fingerprint: of its definition.
            uris: the resources that are watched.
            lists: whether changes of its lists are wanted.
            passive: whether the server is left alone: neither started for this, nor kept from its idle end.
        """
        raise NotImplementedError

    async def ping(self, server: str, fingerprint: str, timeout_s: float = 5.0) -> Pong:
        """Ask whether a server answers, starting it if need be."""
        raise NotImplementedError

    async def restart(self, server: str, fingerprint: str) -> ServerState:
        """End a server and start it again; its calls end with `MaybeRan`."""
        raise NotImplementedError

    def authorize(self, server: str, fingerprint: str, timeout_s: float = 300.0) -> AsyncIterator[Event]:
        """Let the user grant access to an HTTP server: a `visit` event, then `done` with the token kept."""
        raise NotImplementedError

    async def accesses(self, servers: list[Ref]) -> list[Access]:
        """Say how the access to some servers is; those that are started are left out, and none is asked."""
        raise NotImplementedError

    async def import_tokens(self, server: str, fingerprint: str, text: str) -> Access:
        """Store the tokens of another program's JSON as the server's."""
        raise NotImplementedError

    async def forget(self, server: str, fingerprint: str) -> bool:
        """Delete a server's tokens; whether there were any."""
        raise NotImplementedError
