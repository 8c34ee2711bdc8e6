"""The table of all commands, and what a shell offers for the configuration's tables.

Owns the verbs, their words and options.  Their work is `commands`'s.
"""

from __future__ import annotations

from typing import Final

from daemonry.cli import completion
from daemonry.cli.completion import Cursor
from daemonry.cli.grammar import (
    COMPLETION,
    FILE,
    HOST_OPTION,
    JSON_OPTION,
    LINES,
    SECONDS,
    Command,
    Option,
    Program,
    ValueKind,
    Word,
)
from palingenesis import NAME, __version__

SESSION: Final = ValueKind("session", files=True)
SECTION: Final = ValueKind("section")
AGENT: Final = ValueKind("agent")
MCP_AGENT: Final = ValueKind("mcp-agent")
TERMINAL: Final = ValueKind("terminal")
PROGRAM: Final = ValueKind("program", files=True, dashes=True)
SPAN: Final = ValueKind("span")

# The agents that can tell of a stop.
HOOKED: Final = ("claude", "codex", "gemini")

_TALKING: Final = (JSON_OPTION, Option("--timeout", "how long it may take", "SECONDS", SECONDS))
_SESSION: Final = Word("session", "SESSION", "its id, the beginning of it, or its file", kind=SESSION)

# What a user has to say about one session; the daemon does it.
ABOUT_A_SESSION: Final = (
    Command("now", "resume a stopped session at once", (_SESSION,), _TALKING),
    Command("skip", "leave this stop to yourself; a later one counts again", (_SESSION,), _TALKING),
    Command("abort", "end the run that resumes a session", (_SESSION,), _TALKING),
    Command("hold", "do nothing about a session until it is released", (_SESSION,), _TALKING),
    Command("release", "hold it no longer", (_SESSION,), _TALKING),
    Command(
        "new-session",
        "begin a new session that takes over from one whose context is full",
        (_SESSION._replace(help="the session; the newest of this directory, if not given", many="?"),),
        _TALKING,
    ),
)

_NAMED: Final = Word("terminal", "NAME", "which, if there are several", "?", TERMINAL)
_DETACH_KEY: Final = Option("--detach-key", "a key that detaches, such as ^]; none, if not given", "KEY")

TERMINALS: Final = (
    Command(
        "run",
        "run an agent in a terminal that outlives this window, and go on with it after a limit",
        (Word("program", "PROGRAM", "the program and its arguments, behind --", "+", PROGRAM),),
        (
            Option("--name", "the terminal's name", "NAME"),
            Option(
                "--budget", "begin no try later than this after the start: 90s, 30m, 5h, 2d", "SPAN", SPAN
            ),
            _DETACH_KEY,
        ),
        epilog="Ends as the program does, and with 75 when it gives up on a limit.",
    ),
    Command("attach", "show a terminal in this window", (_NAMED,), (_DETACH_KEY,)),
    Command("detach", "take the window from a terminal, whose program goes on", (_NAMED,)),
    Command("terminals", "list the terminals that are held", options=(JSON_OPTION,)),
)

_DAEMON: Final = (
    Command(
        "start",
        "start the daemon in the background, and return when it is ready",
        options=(Option("-f --foreground", "stay in the foreground"), *_TALKING),
    ),
    Command(
        "stop",
        "stop the daemon, and return when it has ended",
        options=(Option("--force", "kill it if it does not end in time"), *_TALKING),
    ),
    Command("restart", "stop the daemon, if it runs, and start it", options=_TALKING),
    Command("reload", "read the configuration again", options=_TALKING),
    Command("status", "show the daemon's status", options=_TALKING),
)

_CONFIG: Final = (
    Command(
        "init",
        "write a configuration file with the defaults",
        options=(
            Option("--force", "overwrite an existing file"),
            Option("--path", "where, if not at the usual place", "FILE", FILE),
        ),
    ),
    Command(
        "show",
        "print the configuration in force",
        options=(JSON_OPTION, Option("--section", "one table only", "NAME", SECTION)),
    ),
    Command("edit", "edit the configuration file, and check it before it is used"),
    Command(
        "validate",
        "check the configuration file",
        options=(Option("--path", "which, if not the usual one", "FILE", FILE),),
    ),
)

_AGENTS: Final = Word(
    "agent", "AGENT", f"{', '.join(HOOKED)}; all that are here, if none is given", "*", AGENT
)
_YES: Final = Option("--yes", "write the difference without asking")

_HOOKS: Final = (
    Command(
        "install",
        "show the hooks as they will stand in the agents' settings, and write them",
        (_AGENTS,),
        (_YES,),
    ),
    Command("remove", "take it out again, which gives the same bytes as before", (_AGENTS,), (_YES,)),
    Command("status", "list the agents that have hooks", (_AGENTS,)),
)

_MCP: Final = (
    Command("serve", "serve agents by the Model Context Protocol, on standard input and output"),
    Command(
        "config",
        "print the entry of an agent's configuration that starts that server",
        (Word("agent", "AGENT", "claude, codex, gemini or opencode", "?", MCP_AGENT),),
    ),
)

PALINGENESIS: Final = Program(
    NAME,
    "palingenesis keeps AI coding sessions alive.",
    __version__,
    (
        Command("daemon", "start, stop and command the daemon", commands=_DAEMON),
        Command(
            "sessions",
            "list the sessions of the last days, with their state and the reason for a stop",
            options=(JSON_OPTION, Option("--all", "older sessions too")),
        ),
        Command("why", "explain one session's state, with the evidence", (_SESSION,), (JSON_OPTION,)),
        Command(
            "agents",
            "list the agents that are known and installed, and their sessions",
            options=(JSON_OPTION,),
        ),
        Command("status", "show the daemon's status", options=_TALKING),
        Command("pause", "stop monitoring, until resumed", options=_TALKING),
        Command(
            "resume",
            "monitor again; with a session, the same as now",
            (_SESSION._replace(help="the session to resume now", many="?"),),
            _TALKING,
        ),
        *ABOUT_A_SESSION,
        *TERMINALS,
        Command(
            "logs",
            "print the daemon's log",
            options=(
                Option("-f --follow", "keep printing new lines"),
                Option("-t --tail", "the last N lines (20); 0 for all", "N", LINES),
                Option("-s --since", "the lines of the last 90s, 30m, 1h, 2d", "SPAN"),
                Option("--json", "print the lines as they are stored"),
            ),
        ),
        Command("config", "write, show and check the configuration", commands=_CONFIG),
        Command("hooks", "let agents report at once that a session stops", commands=_HOOKS),
        Command("mcp", "palingenesis as a server for agents", commands=_MCP),
        Command(
            "install",
            "write the file with which systemd or launchd runs the daemon",
            options=(Option("--show", "print it, and write nothing"),),
        ),
        Command("uninstall", "remove that file"),
        COMPLETION,
    ),
    common=(HOST_OPTION,),
)


def complete(words: list[str]) -> int:
    """Print what a shell may offer for the last of some words, and return the exit code."""
    offers = {
        SECTION: _sections,
        AGENT: lambda cursor: HOOKED,
        MCP_AGENT: lambda cursor: ("claude", "codex", "gemini", "opencode"),
        TERMINAL: _terminals,
        SESSION: _sessions,
    }
    return completion.answer(PALINGENESIS, words, offers)


def _sections(cursor: Cursor) -> tuple[str, ...]:
    from palingenesis.settings import Settings

    del cursor
    return Settings.__struct_fields__


def _terminals(cursor: Cursor) -> tuple[str, ...]:
    from palingenesis.definition import daemon
    from palingenesis.evidence import terminals

    del cursor
    return tuple(one.name for one in terminals.all_of(daemon.place().state_path))


def _sessions(cursor: Cursor) -> tuple[str, ...]:
    """Return the ids of the sessions that the daemon knows, the latest change first."""
    from palingenesis.definition import daemon
    from palingenesis.resume import ledger

    del cursor
    try:
        entries = ledger.read(ledger.path_in(str(daemon.place().state_path))).entries
    except (OSError, ValueError):
        return ()  # a shell has no place for errors
    return tuple(one.id for one in sorted(entries, key=lambda entry: -entry.since_s))
