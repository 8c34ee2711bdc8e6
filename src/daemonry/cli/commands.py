"""The table of `daemonry`'s commands, and of a program's own command line.

Owns the verbs, their words and options, and which command lines mean a home and not a daemon.
"""

from __future__ import annotations

from typing import Final

from daemonry.cli.boot import LEVELS
from daemonry.cli.grammar import (
    COMPLETION,
    DIRECTORY,
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
from daemonry.limits import LOG_TAIL_LINES, REQUEST_TIMEOUT_S, START_TIMEOUT_S, STOP_TIMEOUT_S
from daemonry.version import __version__
from daemonry.wire import text

JOB_ACTIONS: Final = ("submit", "list", "show", "wait", "cancel", "retry", "log")
JOB_STATES: Final = ("queued", "waiting", "running", "canceling", "succeeded", "failed", "canceled", "lost")

DAEMON: Final = ValueKind("daemon", files=True)
INTERFACE: Final = ValueKind("interface")
METHOD: Final = ValueKind("method")
PARAMETER: Final = ValueKind("parameter")
SERVICE: Final = ValueKind("service")

_TARGET: Final = Word(
    "target", "DAEMON", "a daemon's name, its endpoint, module:attribute, or a file.py", kind=DAEMON
)
_CONFIG: Final = Option("--config", "its configuration file", "FILE", FILE)
_LOG_LEVEL: Final = Option("--log-level", "the least level that is logged", choices=LEVELS)
_FOLLOW: Final = Option("-f --follow", "keep printing new lines")
_TAIL: Final = Option("-n -t --tail", f"the last N lines ({LOG_TAIL_LINES}); 0 for all", "N", LINES)
_SINCE: Final = Option("-s --since", "the lines of the last 90s, 30m, 1h, 2d", "SPAN")
_GREP: Final = Option("-g --grep", "the lines in which this regular expression is found", "REGEX")
_LEVEL: Final = Option("-l --level", "the lines of this level, and of those above", choices=LEVELS)
_ALL_LOGS: Final = Option("--all", "of all daemons and homes of this user")


def _timeout(default_s: float | None = None) -> Option:
    default = "" if default_s is None else f" ({default_s:g})"
    return Option("--timeout", f"how long it may take{default}", "SECONDS", SECONDS)


_OPEN: Final = Option("--open", "open it in a browser")
_START_OPTIONS: Final = (_CONFIG, _LOG_LEVEL, JSON_OPTION, _timeout(START_TIMEOUT_S))
_QUICK_OPTIONS: Final = (JSON_OPTION, _timeout(REQUEST_TIMEOUT_S))


def _quick(spec: text.CommandSpec) -> Command:
    """Return the verb that sends one word of the text dialect."""
    if spec.word == text.STOP:
        force = Option("--force", "kill it if it does not end in time")
        text_of_stop = f"{spec.help}, and return when it has ended"
        return Command(spec.verb, text_of_stop, options=(JSON_OPTION, _timeout(STOP_TIMEOUT_S), force))
    return Command(spec.verb, spec.help, options=_QUICK_OPTIONS)


# What a program's own command line has: all that is done to one daemon.
_OF_A_DAEMON: Final = (
    Command("run", "run the daemon in the foreground", options=(_CONFIG, _LOG_LEVEL)),
    Command(
        "start", "start the daemon in the background, and return when it is ready", options=_START_OPTIONS
    ),
    Command("restart", "stop the daemon, if it runs, and start it", options=_START_OPTIONS),
    Command(
        "upgrade",
        "exchange the daemon for a new process of its program; no client notices",
        options=_START_OPTIONS,
    ),
    Command("check", "check the daemon's configuration", options=(_CONFIG, JSON_OPTION)),
    *(_quick(spec) for spec in text.COMMANDS.values() if spec.verb),
    Command(
        "logs",
        "print the daemon's log",
        options=(
            _FOLLOW,
            _TAIL,
            _SINCE,
            Option("--json", "print the lines as they are stored"),
        ),
    ),
    Command(
        "call",
        "call a method, and print its reply, or each of its replies, as JSON",
        (
            Word("method", "INTERFACE.METHOD", "the method's full name", kind=METHOD),
            Word("words", "KEY=VALUE", "its parameters; KEY:=JSON, one JSON object, or -", "*", PARAMETER),
        ),
        (
            Option("--more", "ask for several replies"),
            Option("--oneway", "ask for no reply"),
            Option("--timeout", "for each reply (by default 30 for the first)", "SECONDS", SECONDS),
        ),
    ),
    Command(
        "describe",
        "list the daemon's methods",
        (Word("interface", "INTERFACE", "one interface, in full", "?", INTERFACE),),
        _QUICK_OPTIONS,
    ),
    Command(
        "jobs",
        "submit, list, show, wait for, cancel, retry or log its jobs, where it has some",
        (
            Word("action", help="what is done with them", choices=JOB_ACTIONS),
            Word("words", "WORD", "JOB; or, to submit, TASK and its parameters: KEY=VALUE, KEY:=JSON", "*"),
        ),
        (
            Option("--key", "submit: an idempotency key; a job that has it is the answer", "KEY"),
            Option("--state", "list: those of this state", choices=JOB_STATES),
            Option("-n -t --tail", "list: the last N (100)", "N", LINES),
            Option("-f --follow", "log: keep printing new lines until the job has ended"),
            *_QUICK_OPTIONS,
        ),
    ),
    Command(
        "tap",
        "print calls as they happen: method, caller, duration",
        options=(Option("--payloads", "print their parameters too"), *_QUICK_OPTIONS),
    ),
    Command(
        "attach",
        "print the stacks of the daemon's threads and tasks, or open a console or a debugger in it",
        options=(
            Option("--console", "a Python console in the daemon; `await` runs on its loop"),
            Option("--debugger", "a waiting breakpoint(), or else pdb on its loop"),
            *_QUICK_OPTIONS,
        ),
    ),
    Command(
        "ui",
        "print the address of its page, with a one-time code for a browser",
        options=(_OPEN, *_QUICK_OPTIONS),
    ),
)

# --- homes --------------------------------------------------------------------------------------

_HOME: Final = Option("--home", "the home's directory (DAEMONRY_HOME, or the present one)", "DIR", DIRECTORY)
_A_HOME: Final = Option("--home", "of a home in DIR, instead of a daemon", "DIR", DIRECTORY)
_HOME_OPTIONS: Final = (_HOME, _timeout(), JSON_OPTION)
_SERVICES: Final = Word(
    "services", "SERVICE", "which services, or groups of them; all by default", "*", SERVICE
)

# `ps`, `logs`, `restart`, `ui` and `reload` mean a home where `--home` is given.
HOME: Final = (
    Command(
        "up",
        "start a home's services, or some of them and those they need; return when they are ready",
        (_SERVICES,),
        (
            _HOME,
            Option("-f --foreground", "stay, and print what the services write"),
            _timeout(),
            JSON_OPTION,
        ),
    ),
    Command("down", "stop a home's services, or some of them, in reverse order", (_SERVICES,), _HOME_OPTIONS),
    Command("ps", "list a home's services", options=_HOME_OPTIONS),
    Command(
        "logs",
        "print the output of a home's services",
        (_SERVICES,),
        (_HOME, _ALL_LOGS, _FOLLOW, _TAIL, _SINCE, _GREP, _LEVEL, JSON_OPTION),
    ),
    Command(
        "restart",
        "stop services of a home and start them",
        (Word("services", "SERVICE", "which services, or groups of them", "+", SERVICE),),
        _HOME_OPTIONS,
    ),
    Command(
        "ui",
        "print the address of a home's page, with a one-time code for a browser",
        options=(*_HOME_OPTIONS, _OPEN),
    ),
    Command(
        "reload",
        "have a home read its home.toml again, and apply what differs",
        options=_HOME_OPTIONS,
    ),
)
_MANAGER: Final = Option("--manager", "for which service manager", choices=("systemd", "launchd"))
_PRINT: Final = Option("--print", "print what would be written, and write nothing")
_OF_WHAT: Final = (_TARGET._replace(many="?"),)

# Commands that a user runs once for a home or a daemon.
SETUP: Final = (
    Command(
        "import",
        "write a home.toml from a Procfile, supervisord.conf, process-compose.yaml or ecosystem.config.json",
        (Word("file", "FILE", "the file", kind=FILE),),
        (
            _HOME._replace(help="where to write it (beside the file)"),
            _PRINT,
            Option("--force", "replace a home.toml"),
        ),
    ),
    Command("schema", "print the JSON schema of home.toml, for editors"),
    Command(
        "install",
        "have systemd or launchd start a daemon, or a home, at login",
        _OF_WHAT,
        (_A_HOME, _MANAGER, _PRINT),
    ),
    Command("uninstall", "undo install", _OF_WHAT, (_A_HOME, _MANAGER)),
)
_TOP: Final = Command(
    "top",
    "a live screen of your daemons and homes: CPU, memory, calls, logs, and keys to act",
    options=(Option("--home", "only the home in DIR", "DIR", DIRECTORY),),
)
SETUP_NAMES: Final = frozenset(command.name for command in SETUP)
_HOME_NAMES: Final = frozenset(command.name for command in HOME)


def means_a_home(arguments: list[str]) -> bool:
    """Whether a command line is for a home and not for a daemon."""
    verb = arguments[0] if arguments else ""
    if verb in _HOME_ONLY or verb in SETUP_NAMES:
        return True
    if verb == "logs" and "--all" in arguments[1:]:
        return True
    return verb in _HOME_NAMES and any(one == "--home" or one.startswith("--home=") for one in arguments[1:])


def home_command(verb: str) -> Command:
    """Return a command of a home."""
    return next(command for command in (*HOME, *SETUP) if command.name == verb)


# --- the two command lines ----------------------------------------------------------------------

_PS: Final = Command(
    "ps",
    "list your daemons",
    options=(
        JSON_OPTION,
        Option("--names", "print their names only"),
        Option("--all-hosts", "those of the machines in ~/.config/daemonry/daemonry.toml, too"),
    ),
)


def _of_any_daemon(command: Command) -> Command:
    """Return a command of one daemon as `daemonry` has it: it names the daemon, and may mean a home."""
    return _also_of_a_home(command._replace(words=(_TARGET, *command.words)))


def _also_of_a_home(command: Command) -> Command:
    if command.name not in _HOME_NAMES:
        return command
    more = (_A_HOME, _ALL_LOGS._replace(help="of all daemons and homes, instead of one daemon"))
    return command._replace(options=(*command.options, *(more if command.name == "logs" else more[:1])))


_DEV: Final = Command(
    "dev",
    "run a daemon for its developer: restarted on save, with its calls and its log in the terminal",
    (Word("target", "PROGRAM", "module:attribute, or a file.py", kind=DAEMON),),
    (_CONFIG, _LOG_LEVEL),
)

_NEW: Final = Command(
    "new",
    "write a new program with a daemon: package, command, tests, completion, units, CI",
    (Word("name", "NAME", "the project's, the command's and the daemon's name"),),
    (Option("--directory", "where to write it (NAME)", "DIR", DIRECTORY),),
)

_HERE: Final = (*map(_of_any_daemon, _OF_A_DAEMON), _also_of_a_home(_PS))
_HOME_ONLY: Final = _HOME_NAMES - {command.name for command in _HERE}

_DIAL: Final = Command(
    "dial",
    "join standard input and output to a daemon, for an ssh endpoint of another machine",
    (Word("target", "DAEMON", "its name, or its socket's absolute path"),),
    (Option("--start", "what starts the daemon, if it does not run", "PROGRAM"),),
)

LANGUAGES: Final = ("python", "ts", "rust", "go")
_SOURCE: Final = "a program (module:attribute, file.py), a running daemon's name, or a file.varlink"
_INTERFACE: Final = Option("--interface", "this interface only", "NAME")

# Commands that work with descriptions of interfaces.
DESCRIPTIONS: Final = (
    Command(
        "stubs",
        "write typed client modules for a daemon's interfaces, which are light to import",
        (Word("source", "SOURCE", _SOURCE, kind=DAEMON),),
        (
            Option(
                "-o --output", "the directory to write to (the present one)", "DIR", DIRECTORY, default="."
            ),
            _INTERFACE,
            Option("--lang", "the language", choices=LANGUAGES, default="python"),
            Option("--check", "write nothing; fail where a module is not what would be written"),
            _timeout(REQUEST_TIMEOUT_S),
        ),
    ),
    Command(
        "compat",
        "print what breaks for clients of OLD when NEW is served; fail where anything does",
        (Word("old", "OLD", _SOURCE, kind=DAEMON), Word("new", "NEW", _SOURCE, kind=DAEMON)),
        (_INTERFACE, JSON_OPTION, _timeout(REQUEST_TIMEOUT_S)),
    ),
)

DAEMONRY: Final = Program(
    "daemonry",
    "Run and command local daemons.",
    __version__,
    (
        *_HERE,
        *(command for command in HOME if command.name in _HOME_ONLY),
        _TOP,
        _DEV,
        _NEW,
        _DIAL,
        *DESCRIPTIONS,
        *SETUP,
        COMPLETION,
    ),
    common=(HOST_OPTION,),
)


def own(
    name: str, daemon: str, version: str, *, completes: bool = True, more: tuple[Command, ...] = ()
) -> Program:
    """Return the command line of a program with one daemon.

    Args:
        name: the program's.
        daemon: the daemon's name.
        version: the daemon's version.
        completes: whether it prints a completion script; not as a command of another program.
        more: the program's own commands, which stand before the daemon's.

    Raises:
        ValueError: one of them has the name of one of the daemon's.
    """
    daemons = (*_OF_A_DAEMON, *((COMPLETION,) if completes else ()))
    twice = {one.name for one in more} & {one.name for one in daemons}
    if twice:
        raise ValueError(f"{', '.join(sorted(twice))}: is a command of every daemon; give yours another name")
    about = f"Run and command the daemon {daemon}."
    return Program(name, about, version, (*more, *daemons), common=(HOST_OPTION,) if completes else ())
