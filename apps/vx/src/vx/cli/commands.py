"""What all commands of `vx` do.

Owns the way from a parsed command line to what does it, and status and kill.  The commands are the table in
`grammar`; what the others do is in the file of their name.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

import daemonry
from daemonry import Client, Instance, stop
from daemonry.cli import kit
from daemonry.cli.completion import print_script
from daemonry.cli.parser import parser_of
from vx import home
from vx.cli import build, explaining, remote_options, store
from vx.cli.failures import home_trouble, told
from vx.cli.grammar import VX

_NOT_RUNNING: Final = 3
_USAGE: Final = 2
_STOP_TIMEOUT_S: Final = 20.0


def run(arguments: list[str]) -> int:
    """Do what `vx ARGUMENTS` does and return its exit code."""
    options = parser_of(VX).parse_args(arguments)
    try:
        return _DOES[options.verb](options)
    except BrokenPipeError:  # the reader of our output is gone: `kit.guarded` knows that
        raise
    except daemonry.Refused as error:  # settings of ours
        kit.complain(f"vx: {kit.printable(str(error))}")
        return _USAGE
    except (home.HomeInvalid, daemonry.errors.DaemonryError, OSError) as error:
        return told(error)


def _build(options: argparse.Namespace) -> int:
    remote_options.apply(options)
    asked = _asked(options)
    asked.die_with_parent = options.die_with_parent
    names = [name for given in options.features for name in given.replace(",", " ").split()]
    asked.parameters = {
        "release": options.release,
        "packages": options.package,
        "workspace": options.workspace,
        "features": names,
        "default_features": not options.no_default_features,
        "all_features": options.all_features,
        "profile": options.profile,
        "platform": options.target,
        "targets": _targets(options),
        "locked": options.locked,
        "offline": options.offline,
        "why_not": options.why_not,
    }
    return build.perform(asked)


def _test(options: argparse.Namespace) -> int:
    asked = _asked(options)
    asked.parameters = {"release": options.release, "test": True, "tests": options.tests}
    return build.perform(asked)


def _install(options: argparse.Namespace) -> int:
    from vx.cli.installing import install

    asked = _asked(options)
    asked.parameters = {"profile": options.profile or "release"}
    return install(asked, options.prefix)


def _import(options: argparse.Namespace) -> int:
    from vx.cli.importing import import_commands

    return import_commands(options)


def _asked(options: argparse.Namespace) -> build.BuildArguments:
    asked = build.BuildArguments()
    asked.json, asked.quiet, asked.spawn = options.json, options.quiet, not options.no_spawn
    asked.directory = options.directory
    return asked


def _targets(options: argparse.Namespace) -> list[str]:
    """Return which targets are built, in cargo's words."""
    found = [
        f"--{name}"
        for name in ("lib", "bins", "examples", "tests", "benches", "all-targets")
        if getattr(options, name.replace("-", "_"))
    ]
    for name in ("bin", "example", "test"):
        found += [f"--{name}={one}" for one in getattr(options, name)]
    return found


def _status(options: argparse.Namespace) -> int:
    _check_home()
    try:
        client = Client.connect(home.endpoint(home.AETHER))
    except (
        daemonry.errors.NotListening,
        daemonry.errors.ConnectionRefused,
        FileNotFoundError,
        NotADirectoryError,
    ):
        if options.json:
            kit.say_json({"state": "absent", "home": home.home_dir()})
        else:
            kit.say(f"vx: not running (home {home.home_dir()})")
        return _NOT_RUNNING
    with client:
        state = client.call("org.daemonry.vx.Aether.State")
    if options.json:
        kit.say_json({"state": "running", **state})
        return 0
    kit.say(f"aether: running, vx {state['version']}, home {kit.printable(state['home'])}")
    for one in state["services"]:
        again = f", started again {one['restarts']} times, last: {one['last_end']}" if one["restarts"] else ""
        where = kit.printable(one["endpoint"], 10_000)
        process = f" (pid {one['pid']})" if one["pid"] else ""  # it is not known of another's
        kit.say(f"{one['name']}: {one['state']}{process} at {where}{kit.printable(again)}")
    for directory in state["building"]:
        kit.say(f"  building: {kit.printable(directory)}")
    kit.say(f"  builds: {state['builds']}, compilations: {state['compilations']}")
    return 0


def _kill(options: argparse.Namespace) -> int:
    _check_home()
    instance = Instance(home.place(home.AETHER))
    try:
        stop(instance, timeout_s=_STOP_TIMEOUT_S, force=True)
    except daemonry.errors.NotRunning:
        kit.say("vx: not running")
    else:
        kit.say("vx: stopped")
    return 0


def _check_home() -> None:
    trouble = home_trouble()
    if trouble is not None:
        raise home.HomeInvalid(trouble)


def _completion(options: argparse.Namespace) -> int:
    return print_script(options.shell, VX.name)


_DOES: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "build": _build,
    "test": _test,
    "install": _install,
    "import": _import,
    "explain": explaining.explain,
    "status": _status,
    "kill": _kill,
    "clean": store.clean,
    "verify": store.verify,
    "gc": store.collect,
    "completion": _completion,
}
