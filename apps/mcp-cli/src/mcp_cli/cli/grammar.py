"""The table of all commands.

Owns the verbs, their words and options.  Options that every command knows are read by `options`, which takes
them out before; `dispatch` imports the module that does a command.
"""

from __future__ import annotations

from typing import Final

from daemonry.cli.grammar import (
    COMPLETION,
    DIRECTORY,
    FILE,
    HOST_OPTION,
    SECONDS,
    SHELLS,
    Command,
    Option,
    Program,
    ValueKind,
    Word,
)
from mcp_cli.names import NAME, __version__

__all__ = ["ARGUMENT", "EDITOR", "IMPORT_SOURCE", "MCP_CLI", "OF_A_SERVER", "PROTOCOL", "SHELLS"]


# What a server, the daemon and the configuration know; `completion` asks them.
OF_A_SERVER: Final = ValueKind("of a server")
PROTOCOL: Final = ValueKind("protocol")
EDITOR: Final = ValueKind("editor")
IMPORT_SOURCE: Final = ValueKind("import source", files=True)
ARGUMENT: Final = ValueKind("argument", dashes=True)

_ABOUT: Final = "MCP servers kept warm behind a daemon, and their tools from a shell"
_CALL: Final = """\
arguments:
  key=value  --key value  --key=value  --flag  --no-flag  key:=JSON     read as the tool's schema wants them
  '{"key": "value"}'    one JSON object
  @FILE, -              the object from a file, from standard input; a pipe needs no -
Behind -- every word is the tool's.
"""

COMMON: Final = (
    Option(
        "-c --config",
        "the configuration; else $MCP_CONFIG_PATH, ./mcp_servers.toml, ./.mcp.json, ~/mcp_servers.toml, "
        "~/.config/mcp/mcp_servers.toml (mcp-cli config path)",
        "FILE",
        FILE,
    ),
    Option("--json", "the answer as JSON, with its outcome"),
    Option("--raw", "the server's own JSON, to the byte"),
    Option("--timeout", "how long a server may be silent", "SECONDS", SECONDS),
    Option(
        "--protocol", "hold the server to a revision of the protocol, such as 2025-11-25", "VERSION", PROTOCOL
    ),
    Option("--auto-daemon", "use the daemon, started if need be (the default)"),
    Option("--require-daemon", "use the daemon, or fail"),
    Option("--no-daemon", "do without the daemon; MCP_NO_DAEMON=1 is the same"),
    Option("--stdio", "a server that is in no configuration, by its command", "COMMAND"),
    Option("--url", "a server that is in no configuration, by its address", "URL"),
    Option("--save-dir", "where images and other files are saved", "DIR", DIRECTORY),
    Option("--quiet", "no progress and no logs"),
    Option("--verbose", "both, also where no terminal is"),
    Option("--answer", "of call: answers to a server's questions, as JSON or in a file", "FILE|JSON"),
    Option("--fields", "of call: print these fields of the result, such as a,b.c,items[].d", "PATHS"),
    Option("--max-chars", "of call: print no more of a text than so much", "N"),
    Option("--detach", "of call: leave it to the daemon, and print the id of its task"),
    Option(
        "--schema",
        "of call: a tool's definition, by tool --json; the call is made if it is the same",
        "FILE",
        FILE,
    ),
    Option("--no-check", "send arguments without checking them against the tool's schema"),
)


_SERVER: Final = Word("server", "SERVER", kind=OF_A_SERVER)
_SERVERS: Final = Word("servers", "SERVER", "these only", "*", OF_A_SERVER)
_DESCRIPTIONS: Final = Option("-d --descriptions", "with descriptions")
_STRICT: Final = Option("--strict", "exit with 1 if a server failed")
_FORCE: Final = Option("--force", "replace one of that name")
_TTL: Final = Option("--ttl", "how long it stays without work", "SECONDS")

_ASKING: Final = (
    Command(
        "list",
        "list servers and their tools",
        (_SERVERS,),
        (_DESCRIPTIONS, Option("-v --schemas", "with descriptions and schemas"), _STRICT),
        does="cli.listing:tools",
    ),
    Command(
        "info",
        "show a server, or a tool's parameters",
        (_SERVER, Word("tool", "TOOL", "", "?", OF_A_SERVER)),
        does="cli.describe:info",
    ),
    Command(
        "tool",
        "show a tool's parameters and result",
        (Word("target", "SERVER/TOOL", "", "+", OF_A_SERVER),),
        (Option("-d", ""), Option("-v --schemas", "with the schemas themselves")),  # -d: the original's
        does="cli.describe:tool",
    ),
    Command(
        "call",
        "call a tool",
        (
            Word("target", "SERVER/TOOL", "or: SERVER TOOL", kind=OF_A_SERVER),
            Word("arguments", "ARGUMENT", "", "*", ARGUMENT),
        ),
        epilog=_CALL,
    ),
    Command(
        "search",
        "search tools by a glob, or by words",
        (Word("pattern", "PATTERN", "", "+"),),
        (Option("-d --descriptions", ""),),
        aliases=("grep",),
        does="cli.listing:search",
    ),
    Command(
        "resources",
        "list resources and resource templates",
        (_SERVERS,),
        (_DESCRIPTIONS, _STRICT),
        does="cli.listing:resources",
    ),
    Command("prompts", "list prompts", (_SERVERS,), (_DESCRIPTIONS, _STRICT), does="cli.listing:prompts"),
    Command(
        "read",
        "read a resource",
        (Word("target", "[SERVER] URI", "", "+", OF_A_SERVER),),
        does="cli.requests:read",
    ),
    Command(
        "prompt",
        "get a prompt",
        (Word("target", "SERVER/PROMPT", kind=OF_A_SERVER), Word("arguments", "key=value", "", "*")),
        does="cli.requests:prompt",
    ),
    Command(
        "complete",
        "complete the value of a prompt's argument, or of a template's",
        (
            Word("target", "SERVER/PROMPT", "or SERVER/URI-TEMPLATE", kind=OF_A_SERVER),
            Word("argument", "ARGUMENT"),
            Word("value", "VALUE", "its beginning, so far", "?", default=""),
            Word("given", "key=value", "other arguments that are known", "*"),
        ),
        does="cli.requests:complete",
    ),
    Command(
        "watch",
        "print a server's changes as they come, a JSON object a line",
        (_SERVER, Word("uris", "URI", "a resource to watch; without one, the server's lists", "*")),
        (
            Option("--lists", "the lists, too, where a URI is given"),
            Option("--count", "end after N changes", "N"),
        ),
        does="cli.watch:watch",
    ),
    Command(
        "check",
        "check a server for its authors: protocol, tools and schemas; only a load calls a tool",
        (_SERVER,),
        (
            Option(
                "--load", "ping it and call a read-only tool N times each, and say how long that took", "N"
            ),
            Option("--strict", "exit with 1 for advice, too"),
        ),
        does="cli.check:check",
    ),
    Command("ping", "check that a server answers", (_SERVER,), does="cli.requests:ping"),
)

_QUESTIONS: Final = (
    Command(
        "questions",
        "list the questions of servers that wait for an answer",
        does="cli.question_commands:listed",
    ),
    Command(
        "answer",
        "answer a question",
        (
            Word("id", "ID"),
            Word("words", "key=value", "the fields of a form, a JSON object, or a model's text", "*"),
        ),
        (
            Option("--accept", "go on: a page was opened, or a form has no fields"),
            Option("--decline", "answer no"),
            Option("--cancel", "give no answer"),
        ),
        does="cli.question_commands:answer",
    ),
)

_TASK: Final = Word("id", "ID")
_TASKS: Final = (
    Command("list", "list the tasks that the daemon holds", does="cli.tasks:listed"),
    Command("get", "say how a task is", (_TASK,), does="cli.tasks:get"),
    Command(
        "wait",
        "wait for a task, --timeout SECONDS at most (5 if it goes on), and end as its call would have",
        (_TASK,),
        does="cli.tasks:wait",
    ),
    Command("result", "the same without waiting", (_TASK,), does="cli.tasks:result"),
    Command("cancel", "cancel a task, at its server too", (_TASK,), does="cli.tasks:cancel"),
)

_DAEMON: Final = (
    Command(
        "start",
        "start the daemon, and return when it is ready",
        options=(_TTL, Option("-f --foreground", "stay in the foreground")),
        does="cli.daemon_commands:start",
    ),
    Command(
        "stop",
        "stop the daemon, and return when it has ended",
        options=(Option("--force", "kill it if it does not end in time"),),
        does="cli.daemon_commands:stop",
    ),
    Command(
        "restart",
        "stop the daemon, if it runs, and start it",
        options=(_TTL,),
        does="cli.daemon_commands:restart",
    ),
    Command("status", "show the status of the daemon and its servers", does="cli.daemon_commands:status"),
    Command(
        "logs",
        "print the daemon's log",
        options=(
            Option("-f --follow", "keep printing new lines"),
            Option("-t --tail", "the last N lines; 0 for all", "N"),
            Option("-s --since", "the lines of the last 90s, 30m, 1h, 2d", "SPAN"),
        ),
        does="cli.daemon_commands:logs",
    ),
)

_CONFIG: Final = (
    Command(
        "path",
        "show which configuration is used, and where it is searched for",
        does="cli.config_commands:path",
    ),
    Command(
        "list",
        "list the servers of the configuration, without starting any",
        does="cli.config_commands:listed",
    ),
    Command("validate", "check the configuration", does="cli.config_commands:validate"),
    Command(
        "add",
        "add a server: config add NAME COMMAND ARG ..., or config add NAME URL",
        (
            Word("name", "NAME"),
            Word("target", "COMMAND", "a command and its arguments, or a URL", "*", FILE),
        ),
        (
            Option("--env", "a variable for it", "KEY=VALUE", repeated=True),
            Option("--pass-env", "a variable of the caller's", "KEY", repeated=True),
            Option("--header", "an HTTP header", "KEY=VALUE", repeated=True),
            Option("--cwd", "its directory", "DIR", DIRECTORY, default=""),
            Option("--description", "for people", "TEXT", default=""),
            Option("--allow", "an allowed tool", "GLOB", repeated=True),
            Option("--disable", "a disabled tool", "GLOB", repeated=True),
            Option("--sse", "speak legacy SSE to the URL"),
            _FORCE,
        ),
        does="cli.config_commands:add",
    ),
    Command(
        "remove",
        "remove a server",
        (Word("name", "NAME", kind=OF_A_SERVER),),
        does="cli.config_commands:remove",
    ),
    Command(
        "import",
        "copy servers from other programs' files",
        (
            Word(
                "sources",
                "FROM",
                "claude-desktop, claude-code, cursor, vscode, windsurf, mcporter, project, or a file",
                "*",
                IMPORT_SOURCE,
            ),
        ),
        (
            Option("--dry-run", "show the servers that would be copied, and copy none"),
            Option("--force", "replace servers of the same name"),
        ),
        does="cli.config_commands:import_",
    ),
)

_FOR_OTHERS: Final = (
    Command(
        "serve",
        "serve the tools of all servers as one MCP server, on stdio or HTTP",
        (_SERVERS,),
        (
            Option("--http", "HTTP on loopback instead of stdio; 0 for any port", "PORT"),
            Option("--lazy", "three tools in place of all: to search, to describe, to call"),
            Option("--code", "three tools in place of all: to search, to describe, to run a program"),
            Option("--host", "the address to listen at (127.0.0.1)", "HOST", default="127.0.0.1"),
            Option("--token-file", "the token that HTTP requests carry; made if missing", "FILE", FILE),
            Option("--open", "ask HTTP requests for no token"),
            Option(
                "--print-config",
                "print the entry of an editor's file for --http PORT, and end",
                "EDITOR",
                EDITOR,
            ),
        ),
        does="cli.further_commands:serve",
    ),
    Command(
        "record",
        "serve one server, and record its messages",
        (Word("file", "FILE", "the recording: JSON lines, mode 0600", kind=FILE), _SERVER),
        does="cli.further_commands:record",
    ),
    Command(
        "replay",
        "be the MCP server of a recording",
        (Word("file", "FILE", "a recording", kind=FILE),),
        does="cli.further_commands:replay",
    ),
    Command(
        "generate",
        "write a typed Python module, or a command, for a server's tools",
        (_SERVER,),
        (
            Option("-o --output", "where it is written, if not to standard output", "FILE", FILE),
            Option("--command", "make it a command, too", stored_as="standalone"),
            Option("--skill", "write a SKILL.md for agents with a shell instead"),
        ),
        does="cli.further_commands:generate",
    ),
)

MCP_CLI: Final = Program(
    NAME,
    f"{NAME}: {_ABOUT}.",
    __version__,
    (
        *_ASKING,
        Command(
            "auth",
            "grant access to an HTTP server that wants OAuth; auth status [SERVER ...] shows it",
            (Word("target", "SERVER", "or: status [SERVER ...]", "+", OF_A_SERVER),),
            (
                Option("--no-browser", "print the page's address, and read the one that it ends at"),
                Option(
                    "--import",
                    "take tokens from another program's JSON; - reads them",
                    "FILE",
                    FILE,
                    stored_as="tokens",
                ),
                Option("--forget", "delete its tokens"),
            ),
            does="cli.auth:auth",
        ),
        Command("restart", "end a server and start it again", (_SERVER,), does="cli.requests:restart"),
        *_QUESTIONS,
        Command("task", "list, wait for and cancel calls that the daemon holds", commands=_TASKS),
        Command("daemon", "start, stop and ask the daemon", commands=_DAEMON),
        Command("shutdown", "stop the daemon, and return when it is gone", does="cli.daemon_commands:stop"),
        Command("config", "write, read and check the configuration", commands=_CONFIG),
        COMPLETION._replace(does="cli.completion:script"),
        *_FOR_OTHERS,
    ),
    common=COMMON,
    leading=(HOST_OPTION,),
    version_names="-V --version",
    needs_command=False,
)
