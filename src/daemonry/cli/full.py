"""What all commands do: `daemonry VERB DAEMON` and a program's own `PROGRAM VERB`.

Owns the way from a parsed command line to what does it, and what run, start, restart, check and logs do.  The
commands themselves are the table in `commands`; the quick ones are `kit`'s, whichever way they come in.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from daemonry.cli import commands, exit_codes, kit, output
from daemonry.cli.commands import means_a_home
from daemonry.cli.kit import Options
from daemonry.cli.parser import parser_of
from daemonry.cli.target import (
    check,
    instance_of,
    instance_of_daemon,
    is_endpoint,
    is_program,
    load,
    there,
)
from daemonry.clock import Deadline
from daemonry.daemon.instance import Instance
from daemonry.errors import (
    AlreadyRunning,
    ArgumentInvalid,
    DaemonryError,
    NotRunning,
    StartFailed,
    TargetInvalid,
)
from daemonry.limits import LOG_TAIL_LINES, REQUEST_TIMEOUT_S, START_TIMEOUT_S
from daemonry.process.program.launching import executable, is_frozen
from daemonry.terminal_text import json_for_stream, printable

if TYPE_CHECKING:
    from daemonry.cli.grammar import Command, Program
    from daemonry.daemon.definition import Daemon
    from daemonry.daemon.recipe import Recipe
    from daemonry.process.record import DaemonRecord


def daemonry(arguments: list[str]) -> int:
    """Do what the command `daemonry` is asked for and return its exit code."""
    if means_a_home(arguments):
        from daemonry.cli.homes.perform import parsed

        return parsed(arguments)
    return _perform(commands.DAEMONRY, arguments, None)


def program(daemon: Daemon, arguments: list[str], name: str = "", more: tuple[Command, ...] = ()) -> int:
    """Do what a program's own command is asked for and return its exit code."""
    shown = name or os.path.basename(sys.argv[0]) or daemon.name
    table = commands.own(shown, daemon.name, daemon.version, completes=not name, more=more)
    return _perform(table, arguments, daemon)


def _perform(table: Program, arguments: list[str], daemon: Daemon | None) -> int:
    options = parser_of(table).parse_args(arguments)
    if options.verb == "completion":
        from daemonry.cli.completion import print_script

        return print_script(options.shell, table.name)
    if options.verb == "ps":
        return _ps(options)
    if options.verb == "dial":
        from daemonry.cli.dial import dial

        return dial(options.target, options.start)
    try:
        if options.verb == "dev":
            from daemonry.cli.dev import dev

            return dev(options.target, _run_arguments(options))
        if options.verb == "new":
            from daemonry.cli.new.command import new

            return new(options.name, options.directory)
        return _command(options, daemon)
    except BrokenPipeError:
        raise  # nobody reads our output any more: no error of the command's
    except (DaemonryError, OSError) as error:
        return kit.fail(error, getattr(options, "json", False))


def _ps(options: argparse.Namespace) -> int:
    from daemonry.cli.ps import ps

    try:
        return ps(as_json=options.json, names_only=options.names, all_hosts=options.all_hosts)
    except DaemonryError as error:
        return kit.fail(error, options.json)


_BY_CALLS = ("attach", "call", "jobs", "tap", "ui", "describe")


def _command(options: argparse.Namespace, daemon: Daemon | None) -> int:
    if options.verb in ("stubs", "compat"):
        from daemonry.cli import stubs

        return stubs.stubs(options) if options.verb == "stubs" else stubs.compat(options)
    if options.verb == "run":
        return _run(options, daemon)
    if options.verb == "start":
        return _start(options, daemon)
    if options.verb == "restart":
        return _restart(options, daemon)
    if options.verb == "check":
        return _check(options, daemon)
    if options.verb == "upgrade":
        from daemonry.cli.upgrade import upgrade

        return upgrade(options, *_plan(options, daemon))
    if options.verb == "top":
        from daemonry.cli.top.command import top

        return top(options.home)
    instance = instance_of_daemon(daemon) if daemon is not None else instance_of(options.target)
    if options.verb == "logs":
        return _logs(options, instance)
    if options.verb in _BY_CALLS:
        return _by_call(options, instance)
    return kit.perform(
        options.verb,
        instance,
        Options(json=options.json, force=getattr(options, "force", False), timeout_s=options.timeout),
    )


def _by_call(options: argparse.Namespace, instance: Instance) -> int:
    """Do what asks the daemon by typed calls."""
    limit_s = options.timeout or REQUEST_TIMEOUT_S
    if options.verb == "call":
        return _call(options, instance)
    if options.verb == "jobs":
        from daemonry.cli.jobs import jobs

        return jobs(options, instance)
    if options.verb == "attach":
        return _attach(options, instance, limit_s)
    if options.verb == "tap":
        from daemonry.cli.tap import tap

        return tap(instance, payloads=options.payloads, as_json=options.json, timeout_s=limit_s)
    if options.verb == "ui":
        from daemonry.cli.ui import ui

        return ui(instance, opens=options.open, as_json=options.json, timeout_s=limit_s)
    from daemonry.cli.call import describe

    return describe(instance, options.interface, as_json=options.json, timeout_s=limit_s)


# --- run ----------------------------------------------------------------------------------------


def _run(options: argparse.Namespace, daemon: Daemon | None) -> int:
    from daemonry.cli.boot import be

    return be(
        daemon,
        lambda import_path: load(_program_of(options.target), import_path),
        options.config,
        options.log_level,
    )


def _program_of(target: str) -> str:
    """Return what can be imported for a target: itself, or what a name was started from last."""
    if is_program(check(target)) and not is_endpoint(target):
        return target
    return _remembered(target).target


def _remembered(target: str) -> Recipe:
    from daemonry.daemon.recipe import needed

    if is_endpoint(target):
        why = "an endpoint does not tell how to start what listens there"
        raise TargetInvalid(target, there(instance_of(target).endpoint()) or why)
    place = Instance.named(target).place
    assert place is not None
    return needed(place)


# --- start, restart -----------------------------------------------------------------------------


def _start(options: argparse.Namespace, daemon: Daemon | None) -> int:
    instance, recipe = _plan(options, daemon)
    return _start_planned(options, instance, recipe)


def _restart(options: argparse.Namespace, daemon: Daemon | None) -> int:
    from daemonry.launch.stop import stop

    instance, recipe = _plan(options, daemon)
    if _is_of_home(instance):
        return _restart_in_home(options, instance)
    _check_before(recipe, daemon)
    try:
        stop(instance, timeout_s=options.timeout)
    except NotRunning:
        pass
    return _start_planned(options, instance, recipe)


def _is_of_home(instance: Instance) -> bool:
    from daemonry.process import homes

    owner = homes.owner_of(instance.place) if instance.place is not None else None
    return owner is not None and homes.is_up(owner.home)


def _restart_in_home(options: argparse.Namespace, instance: Instance) -> int:
    """Restart a service of a home, with what the home gives it."""
    from daemonry.launch import of_home
    from daemonry.process import homes

    assert instance.place is not None
    owner = homes.owner_of(instance.place)
    if owner is None:
        raise NotRunning(instance.name, "its home has just gone down")
    of_home.restart(owner, Deadline(options.timeout or START_TIMEOUT_S))
    _say_ready(options, instance, of_home.ready_record(owner, instance.name))
    return exit_codes.DONE


def _plan(options: argparse.Namespace, daemon: Daemon | None) -> tuple[Instance, Recipe]:
    from daemonry.daemon.recipe import recipe_of, remembered

    if daemon is None and not (is_program(check(options.target)) and not is_endpoint(options.target)):
        recipe = _remembered(options.target)
        return Instance.named(options.target), _with_options(recipe, options)
    daemon = daemon or load(options.target)
    instance = instance_of_daemon(daemon)
    recipe = recipe_of(daemon, import_path=_import_path())
    last = remembered(instance.place) if options.verb != "start" and instance.place is not None else None
    if last is not None and last.target == recipe.target:  # started again as it was, as by its name
        recipe = recipe.with_arguments(last.arguments)
    return instance, _with_options(recipe, options)


def _with_options(recipe: Recipe, options: argparse.Namespace) -> Recipe:
    """Return the recipe with the options given now in the place of those that it remembers."""
    words = (*recipe.arguments, *_run_arguments(options))
    latest = dict(zip(words[::2], words[1::2], strict=True))
    arguments = tuple(word for option in latest.items() for word in option)
    return recipe.with_arguments(arguments)


# --- check --------------------------------------------------------------------------------------


def _check(options: argparse.Namespace, daemon: Daemon | None) -> int:
    if daemon is None:
        target = options.target
        if is_program(check(target)) and not is_endpoint(target):
            daemon = load(target)
        else:
            recipe = _with_options(_remembered(target), options)
            daemon = load(recipe.target, recipe.import_path)
            options.config = _option(recipe, "--config")
    path = _read_config(daemon, options.config)
    if options.json:
        output.say_json({"ok": True, "name": daemon.name, "config": path})
    elif path is None:
        output.say(f"{daemon.name}: needs no configuration")
    else:
        output.say(f"{daemon.name}: the configuration {output.value(path)} can be used")
    return exit_codes.DONE


def _check_before(recipe: Recipe, daemon: Daemon | None) -> None:
    """Raise what a start by this recipe would, as far as the program and its configuration go.

    A daemon that runs must not be stopped for one that cannot.
    """
    if recipe.python != executable():
        return  # what another interpreter can import cannot be tried in this one
    _read_config(daemon or load(recipe.target, recipe.import_path), _option(recipe, "--config"))


def _option(recipe: Recipe, option: str) -> str | None:
    return dict(zip(recipe.arguments[::2], recipe.arguments[1::2], strict=True)).get(option)


def _read_config(daemon: Daemon, given: str | None) -> str | None:
    """Read a daemon's configuration, and return the file's path; None if it has none.

    Raises:
        ConfigError: it cannot be used.
    """
    from daemonry.daemon import config

    if daemon.config_type is None:
        return None
    path = config.absolute(given) if given else daemon.config_path()
    config.load_config(path, config.resolve(daemon.config_type), must_exist=given is not None)
    return path


def _import_path() -> str:
    if is_frozen():
        return ""
    # What `python -m` and `python file.py` would look in; a console script looks in neither.
    return (sys.path[0] if sys.path else "") or os.getcwd()


def _run_arguments(options: argparse.Namespace) -> tuple[str, ...]:
    from daemonry.daemon.config import absolute

    arguments: list[str] = []
    if options.config:
        arguments += ["--config", absolute(options.config)]
    if getattr(options, "log_level", None):
        arguments += ["--log-level", options.log_level]
    return tuple(arguments)


def _start_planned(options: argparse.Namespace, instance: Instance, recipe: Recipe) -> int:
    from daemonry.launch.start import start

    assert instance.place is not None
    try:
        record = start(instance.place, recipe, timeout_s=options.timeout or START_TIMEOUT_S)
    except AlreadyRunning as error:
        _say_running(options, instance, "already running", error.pid, error.endpoint)
        return exit_codes.DONE
    except StartFailed as error:
        code = kit.fail(error, options.json)
        for line in error.log_tail.splitlines():
            output.complain("    " + printable(line))
        return code
    finally:
        kit.tell_crash(instance, gone=False)
    _say_ready(options, instance, record)
    return exit_codes.DONE


def _say_ready(options: argparse.Namespace, instance: Instance, record: DaemonRecord) -> None:
    if options.json:
        _say_running(options, instance, "ready", record.pid, record.endpoint)
    else:
        output.say(printable(f"{instance.name}: ready at {record.endpoint} (pid {record.pid})"))
    from daemonry.cli.ui import complain_of_http

    complain_of_http(instance.name, record.endpoint)


def _say_running(
    options: argparse.Namespace, instance: Instance, result: str, pid: int | None, endpoint: str | None
) -> None:
    if options.json:
        output.say_json(
            {"ok": True, "name": instance.name, "result": result, "pid": pid, "endpoint": endpoint}
        )
    else:
        output.say(printable(f"{instance.name}: {result}" + (f" (pid {pid})" if pid is not None else "")))


# --- call ---------------------------------------------------------------------------------------


def _call(options: argparse.Namespace, instance: Instance) -> int:
    from daemonry.cli.call import call

    if options.more and options.oneway:
        raise ArgumentInvalid("--more --oneway", "a call has several replies, or none")
    return call(
        instance,
        options.method,
        options.words,
        more=options.more,
        oneway=options.oneway,
        timeout_s=options.timeout,
    )


def _attach(options: argparse.Namespace, instance: Instance, limit_s: float) -> int:
    from daemonry.cli.attach import attach

    if options.console and options.debugger:
        raise ArgumentInvalid("--console --debugger", "one of them at a time")
    way = "console" if options.console else "debugger" if options.debugger else "stacks"
    return attach(instance, way, as_json=options.json, timeout_s=limit_s)


# --- logs ---------------------------------------------------------------------------------------


def _logs(options: argparse.Namespace, instance: Instance) -> int:
    from daemonry.process import log_reader

    if instance.place is None:
        why = "an endpoint does not tell where the log is: give the daemon's name"
        raise TargetInvalid(instance.name, there(instance.endpoint()) or why)
    path = instance.place.log_path
    if not os.path.exists(path) and not options.follow:
        here = f"; of a service in this home: daemonry logs --home . {instance.name}"
        output.complain(f"{instance.name}: no log yet at {path}{here if os.path.isfile('home.toml') else ''}")
        return exit_codes.DONE
    choice = log_reader.last(LOG_TAIL_LINES if options.tail is None else options.tail)
    if options.since is not None:
        recent = log_reader.since(log_reader.parse_span(options.since))
        choice = recent if options.tail is None else log_reader.both(recent, choice)
    if not options.follow:
        if isinstance(choice, log_reader.Last):
            found = log_reader.tail(path, choice.count)
        else:
            found = list(choice(log_reader.lines(path)))
        for line in found:
            _say_log(line, options.json)
        return exit_codes.DONE
    output.end_with_the_reader()
    for line in log_reader.follow(path, choice):
        _say_log(line, options.json)
        sys.stdout.flush()
    return exit_codes.DONE


def _say_log(line: str, as_json: bool) -> None:
    from daemonry.process import log_reader

    output.say(json_for_stream(line, sys.stdout) if as_json else log_reader.as_text(log_reader.parsed(line)))
