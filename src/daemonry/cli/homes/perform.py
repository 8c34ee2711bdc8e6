"""The commands of a home: up, down, ps, logs, restart, reload, ui, each with `--home DIR`.

Owns which file does which of them, and the text of their errors.  Homes themselves are
`daemonry.home`'s.
"""

from __future__ import annotations

from daemonry.cli import exit_codes, kit, output
from daemonry.cli.homes.home_words import HomeWords
from daemonry.cli.homes.names import no_service
from daemonry.errors import CallFailed, DaemonryError, NotRunning
from daemonry.home.home import Home
from daemonry.limits import REQUEST_TIMEOUT_S
from daemonry.terminal_text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Final

# Commands that read home.toml, here or in the supervisor; the others work without it while the home is up.
_READING: Final = ("up", "reload")


def parsed(arguments: list[str]) -> int:
    """Perform a command line that argparse has to read, and return its exit code."""
    from daemonry.cli.commands import SETUP_NAMES, home_command
    from daemonry.cli.parser import parser_of_command

    verb = arguments[0]
    options = parser_of_command("daemonry", home_command(verb)).parse_args(arguments[1:])
    if verb in SETUP_NAMES:
        from daemonry.cli.homes import setup

        return setup.perform(verb, options)
    if verb == "logs":
        return _guarded(lambda: _logs(options), as_json=options.json)
    asked = HomeWords(verb)
    for name in asked.__slots__:
        setattr(asked, name, getattr(options, name, getattr(asked, name)))
    return perform(asked)


def perform(asked: HomeWords) -> int:
    """Perform a command, and return its exit code."""
    needs_file = asked.verb in _READING
    return _guarded(
        lambda: _command(asked)(Home.find(asked.home, needs_file=needs_file), asked), as_json=asked.json
    )


def _command(asked: HomeWords) -> Callable[[Home, HomeWords], int]:
    if asked.verb == "up":
        from daemonry.cli.homes.up import up

        return up
    if asked.verb == "ps":
        from daemonry.cli.homes.listing import ps

        return ps
    if asked.verb == "ui":
        return _ui
    from daemonry.cli.homes import change

    return {"down": change.down, "restart": change.restart, "reload": change.reload}[asked.verb]


def _guarded(command: Callable[[], int], *, as_json: bool) -> int:
    """Run a command of a home and return its exit code, also where it raises an error that we know."""
    try:
        return command()
    except BrokenPipeError:
        raise  # nobody reads our output any more: no error of the command's
    except CallFailed as error:
        return _fail_call(error, as_json=as_json)
    except (DaemonryError, OSError) as error:
        return kit.fail(error, as_json)


def _logs(options: argparse.Namespace) -> int:
    from daemonry.cli.homes import logs

    if options.all:
        return logs.logs_of_all(options)
    return logs.logs_of(Home.find(options.home, needs_file=False), options)


def _fail_call(error: CallFailed, *, as_json: bool) -> int:
    told = error.parameters
    name = error.error.rpartition(".")[2]
    if name == "NoSuchService":
        message = no_service(told["name"], told["known"])
        code = exit_codes.USAGE
    elif name == "GoingDown":
        message = "the home is going down"
        code = exit_codes.FAILED
    elif name in ("NotUp", "HomeFileInvalid"):
        message = f"{told['name']}: {told['reason']}" if "name" in told else told["reason"]
        code = exit_codes.FAILED
    else:
        return kit.fail(error, as_json)
    if as_json:
        output.say_json({"ok": False, "error": message, "kind": name, "exit_code": code})
    output.complain(printable(message))
    return code


def _ui(home: Home, asked: HomeWords) -> int:
    from daemonry.cli.ui import ui
    from daemonry.daemon.instance import Instance

    if not home.is_up():
        raise NotRunning(home.name)
    limit_s = asked.timeout or REQUEST_TIMEOUT_S
    how = "`http = true` at the top of its home.toml, then `daemonry down` and `daemonry up`"
    instance = Instance(None, home.endpoint)
    return ui(instance, opens=asked.open, as_json=asked.json, timeout_s=limit_s, how=how)
