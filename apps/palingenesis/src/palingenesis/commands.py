"""All commands, with their help.

Owns the words of the command line.  Starting, stopping and logs are done by the library; status,
pause and resume by `cli`, whichever way they come in; the configuration by `config_commands`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn

from daemonry.cli import kit
from daemonry.cli.kit import Options
from daemonry.cli.parser import Parser
from palingenesis import NAME, __version__
from palingenesis.definition import daemon

_ABOUT = "keeps AI coding sessions alive"
_CODES = (
    "exit codes: 0 done or already so, 1 failed, 2 usage, 3 not running, 4 access denied, "
    "5 no answer in time, 6 outcome unknown"
)
_WORDS = {
    "now": "resume a stopped session at once",
    "skip": "leave this stop to yourself; a later one counts again",
    "abort": "end the run that resumes a session",
    "hold": "do nothing about a session until it is released",
    "release": "hold it no longer",
    "new-session": "begin a new session that takes over from one whose context is full",
}
_HOOKS = {
    "install": "show what is put into the agents' settings, and put it there",
    "remove": "take it out again, which gives the same bytes as before",
    "status": "say which agents have hooks",
}
HOOKED = ("claude", "codex", "gemini")
_OVERVIEWS = ("agents", "sessions", "why")
SHELLS = ("bash", "zsh", "fish")


# Adds a command of this name and help.
_Add = Callable[[str, str], argparse.ArgumentParser]


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    whole = Parser(prog=NAME, description=f"palingenesis {_ABOUT}.", epilog=_CODES, allow_abbrev=False)
    whole.add_argument("--version", action="version", version=f"{NAME} {__version__}")
    add = _commands_of(whole, "command")
    _add_daemon(_commands_of(add("daemon", "start, stop and command the daemon"), "subcommand"))
    _add_sessions(add)
    _talking(add("status", "say how the daemon is"))
    _talking(add("pause", "stop monitoring, until resumed"))
    resume = _talking(add("resume", "monitor again; with a session, the same as now"))
    resume.add_argument("session", metavar="SESSION", nargs="?", help="the session to resume now")
    for name, text in _WORDS.items():
        one = _talking(add(name, text))
        one.add_argument("session", metavar="SESSION", help="its id, the beginning of it, or its file")
    _add_logs(add("logs", "print the daemon's log"))
    _add_config(_commands_of(add("config", "write, show and check the configuration"), "subcommand"))
    _add_hooks(_commands_of(add("hooks", "have agents tell at once when a session stops"), "subcommand"))
    completion = add("completion", "print a shell's completion script")
    completion.add_argument("shell", choices=SHELLS)
    return whole


def _commands_of(of: argparse.ArgumentParser, kept_as: str) -> _Add:
    commands = of.add_subparsers(dest=kept_as, metavar="COMMAND", required=True, parser_class=Parser)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        described = text[0].upper() + text[1:] + "."
        return commands.add_parser(name, help=text, description=described, allow_abbrev=False)

    return add


def _add_sessions(add: _Add) -> None:
    sessions = add("sessions", "list the sessions of the last days: what each does, and why it stopped")
    sessions.add_argument("--json", action="store_true", help="print JSON")
    sessions.add_argument("--all", action="store_true", help="older sessions too")
    why = add("why", "say why one session is as it is, and what that rests on")
    why.add_argument("session", metavar="SESSION", help="its id, the beginning of it, or its file")
    why.add_argument("--json", action="store_true", help="print JSON")
    agents = add("agents", "say which agents are known, installed, and what of them can be seen")
    agents.add_argument("--json", action="store_true", help="print JSON")


def _add_daemon(add: _Add) -> None:
    start = _talking(add("start", "start the daemon in the background, and return when it is ready"))
    start.add_argument("-f", "--foreground", action="store_true", help="be the daemon, here")
    stop = _talking(add("stop", "end the daemon, and return when it is gone"))
    stop.add_argument("--force", action="store_true", help="kill it if it does not end in time")
    _talking(add("restart", "stop the daemon, if it runs, and start it"))
    _talking(add("reload", "have the daemon read its configuration again"))
    _talking(add("status", "say how the daemon is"))


def _add_logs(logs: argparse.ArgumentParser) -> None:
    logs.add_argument("-f", "--follow", action="store_true", help="go on printing what is written")
    logs.add_argument("-t", "--tail", metavar="N", help="the last N lines (20); 0 for all")
    logs.add_argument("-s", "--since", metavar="SPAN", help="the lines of the last 90s, 30m, 1h, 2d")
    logs.add_argument("--json", action="store_true", help="print the lines as they are stored")


def _add_config(add: _Add) -> None:
    init = add("init", "write a configuration file with the defaults")
    init.add_argument("--force", action="store_true", help="overwrite one that is there")
    init.add_argument("--path", metavar="FILE", help="where, if not at the usual place")
    show = add("show", "print the configuration in force")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.add_argument("--section", metavar="NAME", help="one table only")
    validate = add("validate", "say whether the configuration file can be used")
    validate.add_argument("--path", metavar="FILE", help="which, if not the usual one")


def _add_hooks(add: _Add) -> None:
    for verb, text in _HOOKS.items():
        one = add(verb, text)
        one.add_argument("agent", nargs="*", help=f"{', '.join(HOOKED)}; all that are here, if none is given")
        if verb != "status":
            one.add_argument("--yes", action="store_true", help="write the difference without asking")


def _talking(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="how long it may take")
    return command


def _seconds(digits: str) -> float:
    number = kit.seconds(digits)
    if number is None:
        raise argparse.ArgumentTypeError(f"{digits!r} is no number of seconds above 0")
    return number


def run(arguments: list[str]) -> int:
    """Do what `palingenesis ARGUMENTS` does and return its exit code.

    Raises:
        DaemonryError, OSError: it failed.
        SystemExit: the library did it, or it was asked in the wrong way.
    """
    if not arguments:
        from palingenesis import overview

        return overview.live()
    given = parser().parse_args(arguments)
    if given.command == "logs":
        daemon.main(_logs_arguments(given))
    if given.command == "daemon" and given.subcommand in ("start", "restart"):
        _start(given)
    if given.command == "config":
        return _config(given)
    if given.command == "hooks":
        return _hooks(given)
    if given.command in _OVERVIEWS:
        return _overview(given)
    if given.command in _WORDS or (given.command == "resume" and given.session is not None):
        from palingenesis.words import say_to

        verb = "now" if given.command == "resume" else given.command
        return say_to(given.session, verb, given.json, given.timeout)
    if given.command == "completion":
        from palingenesis.completion import script

        kit.say(script(given.shell))
        return kit.DONE
    return _control(given)


def _hooks(given: argparse.Namespace) -> int:
    from palingenesis.hooks import install

    unknown = [agent for agent in given.agent if agent not in HOOKED]
    if unknown:
        kit.complain(f"palingenesis: {kit.printable(unknown[0])} has no hooks: known are {', '.join(HOOKED)}")
        return kit.USAGE
    return install.run(given.subcommand, given.agent, yes=getattr(given, "yes", False))


def _overview(given: argparse.Namespace) -> int:
    from palingenesis import overview

    if given.command == "agents":
        return overview.agents(as_json=given.json)
    if given.command == "why":
        return overview.why(given.session, as_json=given.json)
    return overview.sessions(as_json=given.json, everything=given.all)


def _control(given: argparse.Namespace) -> int:
    from palingenesis.cli import perform

    verb = given.subcommand if given.command == "daemon" else given.command
    force = getattr(given, "force", False)
    return perform(verb, Options(json=given.json, force=force, timeout_s=given.timeout))


def _start(given: argparse.Namespace) -> NoReturn:
    if given.subcommand == "start" and given.foreground:
        from palingenesis.served import daemon as served

        served.main(["run"])
    arguments = [given.subcommand]
    if given.json:
        arguments.append("--json")
    if given.timeout is not None:
        arguments.append(f"--timeout={given.timeout!r}")
    daemon.main(arguments)


def _logs_arguments(given: argparse.Namespace) -> list[str]:
    arguments = ["logs"]
    if given.follow:
        arguments.append("--follow")
    if given.tail is not None:
        arguments.append(f"--tail={given.tail}")
    if given.since is not None:
        arguments.append(f"--since={given.since}")
    if given.json:
        arguments.append("--json")
    return arguments


def _config(given: argparse.Namespace) -> int:
    from palingenesis import config_commands

    if given.subcommand == "init":
        return config_commands.init(given.path, force=given.force)
    if given.subcommand == "show":
        return config_commands.show(given.section, as_json=given.json)
    return config_commands.validate(given.path)
