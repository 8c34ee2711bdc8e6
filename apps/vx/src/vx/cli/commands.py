"""All commands of `vx`, with their help.

Owns the command line.  What each does is in the file of its name.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

import daemonry
from daemonry import Client, Instance, stop
from daemonry.cli import kit
from daemonry.cli.parser import Parser
from vx import __version__, home
from vx.cli import build, explaining, store
from vx.cli.failures import home_trouble, told

_NOT_RUNNING: Final = 3
_STOP_TIMEOUT_S: Final = 20.0
_EPILOG: Final = """\
VX_HOME (default ~/.vx) is where the services' sockets, logs and the store are.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not running, 4 access denied,
5 no answer in time, 6 outcome unknown.
"""


def run(arguments: list[str]) -> int:
    """Do what `vx ARGUMENTS` does and return its exit code."""
    options = _parser().parse_args(arguments)
    perform: Callable[[argparse.Namespace], int] = options.perform
    try:
        return perform(options)
    except BrokenPipeError:  # who reads our output is gone: `kit.guarded` knows that
        raise
    except (home.HomeInvalid, daemonry.errors.DaemonryError, OSError) as error:
        return told(error)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="vx",
        description="A build engine that never compiles the same thing twice.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-V", "--version", action="version", version=f"vx {__version__}")
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=Parser)
    _add_build(verbs)
    _add_explain(verbs)
    one = _verb(verbs, "status", "how aether and its services are", _status)
    one.add_argument("--json", action="store_true", help="print JSON")
    _verb(verbs, "kill", "end aether and its services", _kill)
    one = _verb(verbs, "clean", "remove what was built here, and its reports", store.clean)
    one.add_argument(
        "--store", action="store_true", help="remove the store of VX_HOME, too: everything is compiled anew"
    )
    one = _verb(verbs, "verify", "read the whole store again and name what is damaged", store.verify)
    one.add_argument("--no-spawn", action="store_true", help="fail if aether does not run")
    one.add_argument("--json", action="store_true", help="print JSON")
    one = _verb(verbs, "gc", "remove from the store what was not used for longest", store.collect)
    one.add_argument(
        "--max-size", metavar="SIZE", help="until it is this small: 500M, 2G (default: its usual bound)"
    )
    one.add_argument("--dry-run", action="store_true", help="only tell what would go")
    one.add_argument("--no-spawn", action="store_true", help="fail if aether does not run")
    one.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _verb(
    verbs: argparse._SubParsersAction[Parser],
    name: str,
    what: str,
    perform: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    one = verbs.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    one.set_defaults(perform=perform)
    return one


def _add_build(verbs: argparse._SubParsersAction[Parser]) -> None:
    one = _verb(verbs, "build", "build the project of this directory", _build)
    one.add_argument("-r", "--release", action="store_true", help="with the release profile")
    one.add_argument("-C", "--directory", metavar="DIR", default="", help="the project's directory")
    one.add_argument(
        "-p", "--package", action="append", default=[], metavar="NAME", help="of a workspace; repeatable"
    )
    one.add_argument("--workspace", action="store_true", help="all packages of the workspace")
    one.add_argument(
        "-F", "--features", action="append", default=[], metavar="NAMES", help="features to turn on"
    )
    one.add_argument("--no-default-features", action="store_true", help="without the default features")
    one.add_argument("--all-features", action="store_true", help="with all features")
    one.add_argument(
        "--no-spawn", action="store_true", help="fail if aether does not run, instead of starting it"
    )
    one.add_argument(
        "--die-with-parent", action="store_true", help="an aether that is started ends with this command"
    )
    one.add_argument("-q", "--quiet", action="store_true", help="show only what compilers say")
    one.add_argument("--json", action="store_true", help="print the result as JSON")


def _add_explain(verbs: argparse._SubParsersAction[Parser]) -> None:
    one = _verb(verbs, "explain", "tell what the last build did, and why", explaining.explain)
    one.add_argument("run", nargs="?", metavar="RUN", help="the id of an earlier run")
    one.add_argument(
        "--last-miss",
        action="store_true",
        help="the last time that something had to be compiled, and its inputs",
    )
    one.add_argument("--diff", action="store_true", help="what is otherwise than in the run before")
    one.add_argument("--all", action="store_true", help="list the runs")
    one.add_argument("-v", "--verbose", action="store_true", help="with all inputs")
    one.add_argument("-C", "--directory", metavar="DIR", default="", help="the project's directory")
    one.add_argument("--json", action="store_true", help="print JSON")


def _build(options: argparse.Namespace) -> int:
    asked = build.Asked()
    asked.json, asked.quiet, asked.spawn = options.json, options.quiet, not options.no_spawn
    asked.directory, asked.die_with_parent = options.directory, options.die_with_parent
    names = [name for given in options.features for name in given.replace(",", " ").split()]
    asked.parameters = {
        "release": options.release,
        "packages": options.package,
        "workspace": options.workspace,
        "features": names,
        "default_features": not options.no_default_features,
        "all_features": options.all_features,
    }
    return build.perform(asked)


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
