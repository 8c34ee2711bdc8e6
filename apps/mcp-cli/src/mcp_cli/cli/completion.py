"""Shell completion: commands, servers, tools, and a tool's parameters with their choices.

Owns what may stand at the cursor, and the scripts by which bash, zsh and fish ask.  The scripts know
nothing: they hand the words over to the hidden command `__complete`.  Servers come from the configuration,
tools and parameters from the daemon that runs; none is started for it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any, Final

from daemonry import errors
from daemonry.cli import kit
from mcp_cli.cli import call, grammar
from mcp_cli.client import connect
from mcp_cli.client.options import Options, environment, take
from mcp_cli.client.session import Session
from mcp_cli.config import files
from mcp_cli.pool import arguments

# How long a shell waits for a server to say what it has.
PATIENCE_S: Final = 1.0

_COMMON: Final = (
    "--config",
    "--json",
    "--raw",
    "--timeout",
    "--no-daemon",
    "--require-daemon",
    "--quiet",
    "--verbose",
    "--help",
)
_SERVERS: Final = frozenset(
    ("list", "info", "ping", "restart", "auth", "resources", "prompts", "serve", "generate")
)
_TOOLS: Final = frozenset(("call", "tool"))

_BASH = """\
_mcp_cli() {
    local IFS=$'\\n' word="${COMP_WORDS[COMP_CWORD]}" line="${COMP_LINE:0:COMP_POINT}"
    local words=() found
    read -r -a words -d '' <<< "${line// /$'\\n'}" 2>/dev/null || true
    [ "${line: -1}" = " " ] && words+=("")
    found="$(mcp-cli __complete -- "${words[@]:1}" 2>/dev/null)"
    local whole="${words[${#words[@]}-1]}" cut=""
    # readline breaks words at = and :, and expects only what is behind them
    case "$whole" in *[=:]*) cut="${whole%"$word"}"; [ "$word" = "=" ] && cut="$whole" ;; esac
    COMPREPLY=($(compgen -W "$found" -- "$whole"))
    [ -n "$cut" ] && COMPREPLY=("${COMPREPLY[@]#"$cut"}")
    case "${COMPREPLY[0]: -1}" in [=/]) compopt -o nospace ;; esac
}
complete -o default -F _mcp_cli mcp-cli"""

_ZSH = """\
#compdef mcp-cli
_mcp_cli() {
    local -a found
    found=("${(@f)$(mcp-cli __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    compadd -Q -S '' -- "${(@M)found:#*[=/]}"
    compadd -Q -- "${(@)found:#*[=/]}"
}
compdef _mcp_cli mcp-cli"""

_FISH = """\
complete -c mcp-cli -f -a '(mcp-cli __complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'"""

_SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def script(options: Options, given: argparse.Namespace) -> int:
    """Print the completion script of a shell."""
    del options
    kit.say(_SCRIPTS[given.shell])
    return kit.DONE


def answer(options: Options, words: list[str]) -> int:
    """Print what may stand in place of the last of `words`, one a line; never an error."""
    try:
        given, before, _ = take(words[:-1], environment())
        given.config = given.config or options.config
        last = words[-1] if words else ""
        for one in candidates(given, before, last):
            if one.startswith(last):
                kit.say(one)
    except (errors.DaemonryError, OSError, ValueError, KeyError):
        pass
    return kit.DONE


def candidates(options: Options, before: list[str], last: str) -> Iterator[str]:
    """Yield what may stand at the cursor.

    Args:
        options: those of the words before it.
        before: the plain words before it.
        last: what of it is typed.
    """
    parser = grammar.parser()
    if not before:
        yield from _subcommands(parser)
        yield from _COMMON
        return
    if last.startswith("--") and before[0] not in _TOOLS:
        yield from _options(parser, before)
        yield from _COMMON
        return
    inner = _inner(parser, before[0])
    if inner is not None and len(before) == 1:
        yield from _subcommands(inner)
    else:
        yield from _words(options, before, last)


def _words(options: Options, before: list[str], last: str) -> Iterator[str]:
    command = before[0]
    if before[:2] == ["config", "remove"] or (command in _SERVERS and len(before) == 1):
        yield from _server_names(options)
    elif command == "info" and len(before) == 2:
        yield from (item["name"] for item in _items(options, "Tools", before[1]))
    elif command in _TOOLS:
        yield from _call(options, before, last)
    elif command in ("prompt", "complete"):
        yield from _of_server(options, before, last, "Prompts")
    elif command == "read":
        yield from _server_names(options) if len(before) == 1 else ()
        for server in [before[1]] if len(before) == 2 else _server_names(options):
            yield from (item["name"] for item in _items(options, "Resources", server))
    elif command == "completion":
        yield from grammar.SHELLS


def _subcommands(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._subparsers._group_actions if parser._subparsers else ():  # noqa: SLF001  # argparse tells no other way
        yield from action.choices or ()


def _inner(parser: argparse.ArgumentParser, name: str) -> argparse.ArgumentParser | None:
    for action in parser._subparsers._group_actions if parser._subparsers else ():  # noqa: SLF001
        choices: Any = action.choices or {}
        if name in choices and choices[name]._subparsers is not None:  # noqa: SLF001
            found: argparse.ArgumentParser = choices[name]
            return found
    return None


def _options(parser: argparse.ArgumentParser, before: list[str]) -> Iterator[str]:
    for name in before:
        for action in parser._subparsers._group_actions if parser._subparsers else ():  # noqa: SLF001
            choices: Any = action.choices or {}
            parser = choices.get(name, parser)
    for one in parser._actions:  # noqa: SLF001
        yield from (text for text in one.option_strings if text.startswith("--"))


def _server_names(options: Options) -> Iterator[str]:
    for one in files.load(options.config, environment()).enabled():
        yield one.name


def _of_server(options: Options, before: list[str], last: str, method: str) -> Iterator[str]:
    if len(before) > 1:
        return
    server, slash, _ = last.partition("/")
    if not slash:
        yield from (f"{name}/" for name in _server_names(options))
        return
    yield from (f"{server}/{item['name']}" for item in _items(options, method, server))


def _call(options: Options, before: list[str], last: str) -> Iterator[str]:
    if len(before) == 1:
        yield from _of_server(options, before, last, "Tools")
        return
    if "/" not in before[1] and len(before) == 2:
        yield from (item["name"] for item in _items(options, "Tools", before[1]))
        return
    if before[0] != "call":
        return
    server, tool, _ = call.target_of(options, before[1:])
    for item in _items(options, "Tools", server):
        if item["name"] == tool:
            yield from _parameters(json.loads(item["json"]).get("inputSchema") or {}, last)
    if last.startswith("-"):
        yield from _COMMON


def _parameters(schema: dict[str, Any], last: str) -> Iterator[str]:
    known = arguments.properties(schema)
    dashes = "--" if last.startswith("--") else ""
    key, equals, _ = last.removeprefix("--").partition("=")
    if not equals:
        yield from (f"{dashes}{name}=" for name in known)
        return
    kind = known.get(key)
    if isinstance(kind, dict):
        choices = kind.get("enum") or (["true", "false"] if kind.get("type") == "boolean" else [])
        choices = choices if isinstance(choices, list) else []
        yield from (f"{dashes}{key}={choice}" for choice in choices)


def _items(options: Options, method: str, server: str) -> list[dict[str, Any]]:
    """Return what a server has, from the daemon that runs, without waiting long; nothing where none does."""
    if connect.try_connect() is None:
        return []
    options.mode = "require"
    session = Session(options)
    with session:
        refs = session.configure([session.server(server)])
        items: list[dict[str, Any]] = []
        listings = session.client.stream(
            f"{call.INTERFACE}.{method}", {"servers": refs, "detail": True}, idle_s=PATIENCE_S
        )
        for listing in listings:
            items += listing.get("items", [])
        return items
