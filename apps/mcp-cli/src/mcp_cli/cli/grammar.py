"""All commands, with their help.

Owns the words of the command line.  Options that every command knows are `options`'s and are taken out
before; what a command does is in the module that is imported for it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from daemonry import errors
from daemonry.cli.parser import Parser
from mcp_cli import NAME, __version__
from mcp_cli.cli import further_commands
from mcp_cli.client.options import Options

_ABOUT = "MCP servers kept warm behind a daemon, and their tools from a shell"
_OPTIONS = """\
options of every command, wherever they stand:
  -c, --config FILE     the configuration; else $MCP_CONFIG_PATH, ./mcp_servers.toml, ./.mcp.json,
                        ~/mcp_servers.toml, ~/.config/mcp/mcp_servers.toml (mcp-cli config path)
  --json                the answer as JSON, with its outcome; --raw  the server's own JSON, to the byte
  --timeout SECONDS     how long a server may be silent
  --auto-daemon         use the daemon, started if need be (the default)
  --require-daemon      use the daemon, or fail; --no-daemon (or MCP_NO_DAEMON=1)  do without
  --stdio COMMAND, --url URL
                        a server that is in no configuration
  --save-dir DIR        where images and other files are saved
  --quiet, --verbose    no progress and no logs; both, also where no terminal is

exit codes: 0 done or already so, 1 failed (also: the tool says so), 2 usage or bad arguments, 3 not
running, 4 access denied, 5 no answer in time, 6 outcome unknown: the call may have run
"""
_CALL = """\
arguments:
  key=value  --key value  --key=value  --flag  --no-flag  key:=JSON     read as the tool's schema wants them
  '{"key": "value"}'    one JSON object
  @FILE, -              the object from a file, from standard input; a pipe needs no -
Behind -- every word is the tool's.
"""
SHELLS = ("bash", "zsh", "fish")


_Add = Callable[..., argparse.ArgumentParser]
Does = Callable[[Options, argparse.Namespace], int]


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    whole = Parser(
        prog=NAME,
        description=f"{NAME}: {_ABOUT}.",
        epilog=_OPTIONS,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("-V", "--version", action="version", version=f"{NAME} {__version__}")
    add = _commands_of(whole, "command", required=False)
    _add_asking(add)
    _add_managing(add)
    return whole


def _commands_of(of: argparse.ArgumentParser, kept_as: str, *, required: bool = True) -> _Add:
    commands = of.add_subparsers(dest=kept_as, metavar="COMMAND", required=required, parser_class=Parser)

    def add(
        name: str, text: str, does: str = "", epilog: str | None = None, aliases: tuple[str, ...] = ()
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            allow_abbrev=False,
            epilog=epilog,
            aliases=aliases,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(does=does)
        return made

    return add


def _add_asking(add: _Add) -> None:
    listing = add("list", "list servers and their tools", "cli.listing:tools")
    listing.add_argument("servers", nargs="*", metavar="SERVER", help="these only")
    listing.add_argument("-d", "--descriptions", action="store_true", help="with descriptions")
    listing.add_argument("-v", "--schemas", action="store_true", help="with descriptions and schemas")
    listing.add_argument("--strict", action="store_true", help="exit with 1 if a server failed")
    info = add("info", "say what a server is, or what a tool takes", "cli.describe:info")
    info.add_argument("server", metavar="SERVER")
    info.add_argument("tool", nargs="?", metavar="TOOL")
    tool = add("tool", "say what a tool takes and gives", "cli.describe:tool")
    tool.add_argument("target", nargs="+", metavar="SERVER/TOOL")
    tool.add_argument("-d", action="store_true", help=argparse.SUPPRESS)  # the original's
    tool.add_argument("-v", "--schemas", action="store_true", help="with the schemas themselves")
    call = add("call", "call a tool", "", _CALL)
    call.add_argument("target", metavar="SERVER/TOOL", help="or: SERVER TOOL")
    call.add_argument("arguments", nargs="*", metavar="ARGUMENT")
    search = add("search", "search tools by a glob, or by words", "cli.listing:search", aliases=("grep",))
    search.add_argument("pattern", nargs="+", metavar="PATTERN")
    search.add_argument("-d", "--descriptions", action="store_true", help=argparse.SUPPRESS)
    for name, text, does in (
        ("resources", "list resources and resource templates", "cli.listing:resources"),
        ("prompts", "list prompts", "cli.listing:prompts"),
    ):
        one = add(name, text, does)
        one.add_argument("servers", nargs="*", metavar="SERVER", help="these only")
        one.add_argument("-d", "--descriptions", action="store_true", help="with descriptions")
        one.add_argument("--strict", action="store_true", help="exit with 1 if a server failed")
    read = add("read", "read a resource", "cli.requests:read")
    read.add_argument("target", nargs="+", metavar="[SERVER] URI")
    prompt = add("prompt", "get a prompt", "cli.requests:prompt")
    prompt.add_argument("target", metavar="SERVER/PROMPT")
    prompt.add_argument("arguments", nargs="*", metavar="key=value")
    complete = add(
        "complete", "complete the value of a prompt's argument, or of a template's", "cli.requests:complete"
    )
    complete.add_argument("target", metavar="SERVER/PROMPT", help="or SERVER/URI-TEMPLATE")
    complete.add_argument("argument", metavar="ARGUMENT")
    complete.add_argument("value", nargs="?", default="", metavar="VALUE", help="what of it is there")
    complete.add_argument("given", nargs="*", metavar="key=value", help="other arguments that are known")
    ping = add("ping", "ask whether a server answers", "cli.requests:ping")
    ping.add_argument("server", metavar="SERVER")


def _add_managing(add: _Add) -> None:
    auth = add("auth", "grant access to an HTTP server that wants OAuth", "cli.requests:auth")
    auth.add_argument("server", metavar="SERVER")
    auth.add_argument("--forget", action="store_true", help="delete its tokens")
    restart = add("restart", "end a server and start it again", "cli.requests:restart")
    restart.add_argument("server", metavar="SERVER")
    _add_daemon(_commands_of(add("daemon", "start, stop and ask the daemon"), "subcommand"))
    add("shutdown", "stop the daemon, and return when it is gone", "cli.daemon_commands:stop")
    _add_config(_commands_of(add("config", "write, read and check the configuration"), "subcommand"))
    completion = add("completion", "print a shell's completion script", "cli.completion:script")
    completion.add_argument("shell", choices=SHELLS)
    for name, text, add_words, does in further_commands.ALL:
        add_words(add(name, text, f"cli.further_commands:{does}"))


def _add_daemon(add: _Add) -> None:
    start = add("start", "start the daemon, and return when it is ready", "cli.daemon_commands:start")
    start.add_argument("--ttl", metavar="SECONDS", help="how long it stays without work")
    start.add_argument("-f", "--foreground", action="store_true", help="be the daemon, here")
    stop = add("stop", "end the daemon, and return when it is gone", "cli.daemon_commands:stop")
    stop.add_argument("--force", action="store_true", help="kill it if it does not end in time")
    restart = add("restart", "stop the daemon, if it runs, and start it", "cli.daemon_commands:restart")
    restart.add_argument("--ttl", metavar="SECONDS", help="how long it stays without work")
    add("status", "say how the daemon and its servers are", "cli.daemon_commands:status")
    logs = add("logs", "print the daemon's log", "cli.daemon_commands:logs")
    logs.add_argument("-f", "--follow", action="store_true", help="go on printing what is written")
    logs.add_argument("-t", "--tail", metavar="N", help="the last N lines; 0 for all")
    logs.add_argument("-s", "--since", metavar="SPAN", help="the lines of the last 90s, 30m, 1h, 2d")


def _add_config(add: _Add) -> None:
    add("path", "say which configuration counts, and where it is looked for", "cli.config_commands:path")
    add("list", "list the servers of the configuration, without starting any", "cli.config_commands:listed")
    add("validate", "say whether the configuration can be used", "cli.config_commands:validate")
    new = add(
        "add",
        "add a server: config add NAME COMMAND ARG ..., or config add NAME URL",
        "cli.config_commands:add",
    )
    new.add_argument("name", metavar="NAME")
    new.add_argument("target", nargs="*", metavar="COMMAND", help="a command and its arguments, or a URL")
    new.add_argument("--env", action="append", default=[], metavar="KEY=VALUE", help="a variable for it")
    new.add_argument(
        "--pass-env", action="append", default=[], metavar="KEY", help="a variable of the caller's"
    )
    new.add_argument("--header", action="append", default=[], metavar="KEY=VALUE", help="an HTTP header")
    new.add_argument("--cwd", default="", metavar="DIR", help="its directory")
    new.add_argument("--description", default="", metavar="TEXT", help="for people")
    new.add_argument("--allow", action="append", default=[], metavar="GLOB", help="an allowed tool")
    new.add_argument("--disable", action="append", default=[], metavar="GLOB", help="a disabled tool")
    new.add_argument("--sse", action="store_true", help="speak legacy SSE to the URL")
    new.add_argument("--force", action="store_true", help="replace one of that name")
    remove = add("remove", "remove a server", "cli.config_commands:remove")
    remove.add_argument("name", metavar="NAME")
    taken = add("import", "copy servers from other programs' files", "cli.config_commands:import_")
    taken.add_argument(
        "sources",
        nargs="*",
        metavar="FROM",
        help="claude-desktop, claude-code, cursor, vscode, windsurf, mcporter, project, or a file",
    )
    taken.add_argument("--dry-run", action="store_true", help="say what would be copied, and copy nothing")
    taken.add_argument("--force", action="store_true", help="replace servers of the same name")


def run(options: Options, words: list[str], behind: list[str]) -> int:
    """Do what a command line asks and return its exit code.

    Raises:
        DaemonryError, OSError: it failed.
        SystemExit: the library did it, or it was asked in the wrong way.
    """
    if words[:1] == ["__complete"]:
        from mcp_cli.cli import completion

        return completion.answer(options, behind)
    if not words:
        words = ["list"]
    given = parser().parse_args([*words, *(["--", *behind] if behind else [])])
    module, _, function = given.does.partition(":")
    if not module:
        raise errors.ArgumentInvalid(
            " ".join(words), f"is not a whole command (try {NAME} {words[0]} --help)"
        )
    import importlib

    does: Does = getattr(importlib.import_module(f"mcp_cli.{module}"), function)
    try:
        return does(options, given)
    except (errors.DaemonryError, KeyboardInterrupt) as error:
        if isinstance(error, errors.ConfigError | errors.TargetInvalid) and not options.json:
            raise
        from mcp_cli.client import failures

        return failures.tell(error, options, _server_of(given))


def _server_of(given: argparse.Namespace) -> str:
    """Return the server that a command is about, for messages; the program's name for none."""
    target = getattr(given, "server", None) or getattr(given, "target", None) or NAME
    first = str(target[0] if isinstance(target, list) else target)
    return NAME if "://" in first else first.partition("/")[0]
