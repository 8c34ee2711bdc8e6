"""What all commands do.

Owns the way from a parsed command line to what does it; the commands are the table in `grammar`.  Starting,
stopping and logs are done by the library; status, pause and resume by `quick`, whichever way they come in;
the configuration by `config_commands`.
"""

from __future__ import annotations

import argparse
from typing import NoReturn

from daemonry.cli import kit
from daemonry.cli.kit import Options
from daemonry.cli.parser import parser_of
from palingenesis import NAME, grammar, spans
from palingenesis.definition import daemon

_OVERVIEWS = ("agents", "sessions", "why")
_ABOUT_TERMINALS = frozenset(command.name for command in grammar.TERMINALS)
_ABOUT_A_SESSION = frozenset(command.name for command in grammar.ABOUT_A_SESSION)


def run(arguments: list[str]) -> int:
    """Do what `palingenesis ARGUMENTS` does and return its exit code.

    Raises:
        DaemonryError, OSError: it failed.
        SystemExit: the library did it, or it was asked in the wrong way.
    """
    if not arguments:
        from palingenesis import overview

        return overview.live()
    given = parser_of(grammar.PALINGENESIS).parse_args(arguments)
    if given.verb == "logs":
        daemon.main(_logs_arguments(given))
    if given.verb in ("daemon start", "daemon restart"):
        _start(given)
    if given.verb.startswith("config "):
        return _config(given)
    if given.verb.startswith("hooks "):
        return _hooks(given)
    if given.verb in _OVERVIEWS:
        return _overview(given)
    if given.verb in _ABOUT_A_SESSION or (given.verb == "resume" and given.session is not None):
        from palingenesis.words import say_to

        verb = "now" if given.verb == "resume" else given.verb
        return say_to(given.session, verb, given.json, given.timeout)
    if given.verb in _ABOUT_TERMINALS:
        return _terminal(given)
    return _other(given)


def _other(given: argparse.Namespace) -> int:
    if given.verb.startswith("mcp "):
        from palingenesis import mcp_server

        return mcp_server.serve() if given.verb == "mcp serve" else mcp_server.config(given.agent)
    if given.verb in ("install", "uninstall"):
        from palingenesis import service_file

        return service_file.install(show=given.show) if given.verb == "install" else service_file.uninstall()
    if given.verb == "completion":
        from daemonry.cli.completion import print_script

        return print_script(given.shell, NAME)
    return _control(given)


def _hooks(given: argparse.Namespace) -> int:
    from palingenesis.hooks import install

    unknown = [agent for agent in given.agent if agent not in grammar.HOOKED]
    if unknown:
        kit.complain(
            f"palingenesis: {kit.printable(unknown[0])} has no hooks: known are {', '.join(grammar.HOOKED)}"
        )
        return kit.USAGE
    return install.run(given.verb.removeprefix("hooks "), given.agent, yes=getattr(given, "yes", False))


def _terminal(given: argparse.Namespace) -> int:
    from palingenesis.terminal import commands

    if given.verb == "attach":
        return commands.attach(given.terminal, given.detach_key)
    if given.verb == "detach":
        return commands.detach(given.terminal)
    if given.verb == "terminals":
        return commands.show(as_json=given.json)
    budget_s = None if given.budget is None else spans.seconds_of(given.budget)
    if budget_s is not None and budget_s <= 0:
        kit.complain(f"palingenesis: --budget: {kit.printable(repr(given.budget))}: try 90s, 30m, 5h, 2d")
        return kit.USAGE
    return commands.run(given.program, given.name, budget_s, given.detach_key)


def _overview(given: argparse.Namespace) -> int:
    from palingenesis import overview

    if given.verb == "agents":
        return overview.agents(as_json=given.json)
    if given.verb == "why":
        return overview.why(given.session, as_json=given.json)
    return overview.sessions(as_json=given.json, everything=given.all)


def _control(given: argparse.Namespace) -> int:
    from palingenesis.quick import perform

    verb = given.verb.removeprefix("daemon ")
    force = getattr(given, "force", False)
    return perform(verb, Options(json=given.json, force=force, timeout_s=given.timeout))


def _start(given: argparse.Namespace) -> NoReturn:
    if given.verb == "daemon start" and given.foreground:
        from palingenesis.served import daemon as served

        served.main(["run"])
    arguments = [given.verb.removeprefix("daemon ")]
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

    if given.verb == "config init":
        return config_commands.init(given.path, force=given.force)
    if given.verb == "config edit":
        from palingenesis.config_editing import edit

        return edit(daemon.config_path())
    if given.verb == "config show":
        return config_commands.show(given.section, as_json=given.json)
    return config_commands.validate(given.path)
