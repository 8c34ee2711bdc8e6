"""The table of `vx`'s commands, and what a shell offers for a run and a profile.

Owns the verbs, their words and options.  What each does is `commands`'s.
"""

from __future__ import annotations

import os
from typing import Final

from daemonry.cli import completion
from daemonry.cli.completion import Cursor
from daemonry.cli.grammar import (
    COMPLETION,
    DIRECTORY,
    HOST_OPTION,
    JSON_OPTION,
    Command,
    Option,
    Program,
    ValueKind,
    Word,
)
from vx import __version__
from vx.cli import remote_options

RUN: Final = ValueKind("run")
PROFILE: Final = ValueKind("profile")

_DIRECTORY: Final = Option("-C --directory", "the project's directory", "DIR", DIRECTORY, default="")
_NO_SPAWN: Final = Option("--no-spawn", "fail if aether does not run, instead of starting it")

VX: Final = Program(
    "vx",
    "A build engine that never compiles the same thing twice.",
    __version__,
    (
        Command(
            "build",
            "build the project of this directory",
            options=(
                Option("-r --release", "with the release profile"),
                Option("--profile", "with a profile of the manifest", "NAME", PROFILE, default=""),
                Option("--target", "for another platform", "TRIPLE", default=""),
                _DIRECTORY,
                Option("-p --package", "of a workspace; repeatable", "NAME", repeated=True),
                Option("--workspace", "all packages of the workspace"),
                Option("-F --features", "features to turn on", "NAMES", repeated=True),
                Option("--no-default-features", "without the default features"),
                Option("--all-features", "with all features"),
                Option("--lib", "only the library"),
                Option("--bins", "only all programs"),
                Option("--bin", "only this program; repeatable", "NAME", repeated=True),
                Option("--examples", "only all examples"),
                Option("--example", "only this example; repeatable", "NAME", repeated=True),
                Option("--tests", "only all tests, as programs that run them"),
                Option("--test", "only this test; repeatable", "NAME", repeated=True),
                Option("--benches", "only all benches"),
                Option("--all-targets", "all of these"),
                Option("--locked", "fail if Cargo.lock would change"),
                Option("--offline", "fetch nothing"),
                *remote_options.OPTIONS,
                Option("--why-not", "build nothing; list all that vx would refuse in the project"),
                _NO_SPAWN,
                Option("--die-with-parent", "an aether that is started ends with this command"),
                Option("-q --quiet", "show only the compilers' output"),
                Option("--json", "print the result as JSON"),
            ),
        ),
        Command(
            "test",
            "build the project of this directory and run its tests (vx.toml)",
            (Word("tests", "TEST", "only these", "*"),),
            (
                Option("-r --release", "with the release profile"),
                _DIRECTORY,
                _NO_SPAWN,
                Option("-q --quiet", "show only what compilers and failed tests say"),
                Option("--json", "print the result as JSON"),
            ),
        ),
        Command(
            "install",
            "build this directory's project with the release profile and copy it below a prefix",
            options=(
                Option(
                    "--prefix",
                    "the folder (default: /usr/local; DESTDIR is put before it)",
                    "DIR",
                    DIRECTORY,
                    default="/usr/local",
                ),
                Option("--profile", "with another profile", "NAME", default=""),
                _DIRECTORY,
                _NO_SPAWN,
                Option("-q --quiet", "show only the compilers' output"),
                Option("--json", "print the paths as JSON"),
            ),
        ),
        Command(
            "import",
            "write a vx.toml from the compile_commands.json of another build system",
            (Word("file", "FILE", "compile_commands.json, or the folder that has it", "?"),),
            (
                _DIRECTORY,
                Option("--name", "the project's name (default: the directory's)", "NAME", default=""),
                Option("--force", "replace a vx.toml that is there"),
            ),
        ),
        Command(
            "explain",
            "explain the last build",
            (Word("run", "RUN", "the id of an earlier run", "?", RUN),),
            (
                Option("--last-miss", "the last time that something had to be compiled, and its inputs"),
                Option("--diff", "the differences from the run before"),
                Option("--all", "list the runs"),
                Option("-v --verbose", "with all inputs"),
                _DIRECTORY,
                JSON_OPTION,
            ),
        ),
        Command("status", "show the status of aether and its services", options=(JSON_OPTION,)),
        Command("kill", "end aether and its services"),
        Command(
            "clean",
            "remove the results of this project's builds, and their reports",
            options=(
                Option("--store", "remove the store of VX_HOME, too; the next build compiles everything"),
            ),
        ),
        Command(
            "verify",
            "read the whole store again and list damaged results",
            options=(
                Option("--rebuild", "instead, make N results of the project here again and compare", "N"),
                Option("-r --release", "of the release profile"),
                _NO_SPAWN,
                JSON_OPTION,
            ),
        ),
        Command(
            "gc",
            "remove the results from the store that were not used for longest",
            options=(
                Option("--max-size", "until it is this small: 500M, 2G (default: its usual bound)", "SIZE"),
                Option("--dry-run", "list the results that would be removed, and remove none"),
                _NO_SPAWN,
                JSON_OPTION,
            ),
        ),
        COMPLETION,
    ),
    common=(HOST_OPTION,),
    epilog="VX_HOME (default ~/.vx) is where the services' sockets, logs and the store are.",
    version_names="-V --version",
)


def complete(words: list[str]) -> int:
    """Print what a shell may offer for the last of some words, and return the exit code."""
    return completion.answer(VX, words, {RUN: _runs, PROFILE: _profiles})


def _runs(cursor: Cursor) -> list[str]:
    from vx.cli.explaining import project_of
    from vx.reports import run_files

    return run_files.ids(project_of(os.path.abspath(cursor.value("-C") or ".")))


def _profiles(cursor: Cursor) -> list[str]:
    """Return the profiles of every project, and those that the project's Cargo.toml has."""
    from daemonry.errors import ConfigError
    from daemonry.typed_toml import read
    from vx.cli.explaining import project_of

    directory = project_of(os.path.abspath(cursor.value("-C") or "."))
    try:
        own = read(f"{directory}/Cargo.toml", must_exist=False).values.get("profile", {})
    except ConfigError:
        own = {}  # a shell has no place for errors
    return sorted({"dev", "release", *(own if isinstance(own, dict) else ())})
