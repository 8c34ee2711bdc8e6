"""`vx import`: writes a vx.toml from a compile_commands.json.

Owns finding and writing the files; what becomes of each word is `vx.project.c_import`'s.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import threading
from collections.abc import Sequence

import msgspec

from daemonry import write_atomically
from daemonry.cli import kit
from vx import digests
from vx.project.c_files import MANIFEST
from vx.project.c_import import Entry, Imported, imported

_FAILED = 1
NAME = "compile_commands.json"
# Where other build systems put it.
_PLACES = (".", "build", "builddir", "_build", "out")
# A hundred thousand compilations of a kilobyte each.
_MAX_BYTES = 100 << 20
_NINJA_TIMEOUT_S = 60.0
# At the beginning of a line, or behind words such as `int`, `extern "C"` or a macro for a calling convention.
_MAIN = re.compile(
    rb"^(?:[ \t]*(?:(?!return\b|else\b|do\b)(?:[A-Za-z_]\w*|\"C\")[ \t\r\n]+){1,4})?main[ \t\r\n]*\(",
    re.MULTILINE,
)


class _Edge(msgspec.Struct):
    """One command of a build.ninja."""

    command: str


def import_commands(options: argparse.Namespace) -> int:
    """Do `vx import`; return the exit code."""
    directory = os.path.abspath(options.directory or ".")
    path = _find(directory, options.file)
    target = f"{directory}/{MANIFEST}"
    if path is None:
        kit.complain(f"vx: no {NAME} in {kit.printable(options.file or directory)}")
        return _FAILED
    if os.path.lexists(target) and not options.force:
        kit.complain(f"vx: {kit.printable(target)} is there already: --force replaces it")
        return _FAILED
    try:
        with open(digests.open_file(path), "rb") as file:
            entries = msgspec.json.decode(file.read(_MAX_BYTES), type=list[Entry])
        found = _imported(entries, directory, options.name or os.path.basename(directory) or "project")
    except (msgspec.DecodeError, ValueError) as error:
        kit.complain(f"vx: {kit.printable(path)} is not a list of compilations: {kit.printable(str(error))}")
        return _FAILED
    if not found.targets:
        kit.complain(f"vx: {kit.printable(path)} has no compilation that vx can do")
    for note in found.notes:
        kit.complain(f"vx: {kit.printable(note)}")
    if not found.targets:
        return _FAILED
    write_atomically(target, found.text.encode())
    kit.say(f"vx: wrote {kit.printable(target)}: {', '.join(map(kit.printable, found.targets))}")
    return 0


def _find(directory: str, given: str | None) -> str | None:
    if given is not None:
        path = os.path.join(os.getcwd(), given)
        path = f"{path}/{NAME}" if os.path.isdir(path) else path
        return path if os.path.isfile(path) else None
    places = [os.path.normpath(f"{directory}/{one}/{NAME}") for one in _PLACES]
    return next(filter(os.path.isfile, places), None)


def _imported(entries: list[Entry], directory: str, name: str) -> Imported:
    def has_main(source: str) -> bool:
        try:
            with open(digests.open_file(f"{directory}/{source}"), "rb") as file:
                return _MAIN.search(file.read()) is not None
        except OSError:
            return False

    return imported(entries, directory, name, has_main, _commands)


def _commands(build: str, targets: Sequence[str]) -> list[str]:
    """Return the commands that link, of a build directory of ninja's, or of CMake's for make."""
    if os.path.isfile(f"{build}/build.ninja"):
        return _commands_of_ninja(build)
    return [_link_of_cmake(build, target) for target in targets]


def _commands_of_ninja(build: str) -> list[str]:
    try:
        edges = msgspec.json.decode(_told_by_ninja(build), type=list[_Edge])
    except FileNotFoundError:
        kit.complain(f"vx: {kit.printable(build)}/build.ninja tells what links with what: install ninja")
        return []
    except (OSError, ValueError) as error:
        kit.complain(f"vx: ninja does not tell what links with what: {kit.printable(str(error))}")
        return []
    return [edge.command for edge in edges]


def _told_by_ninja(build: str) -> bytes:
    """Return the commands of a build.ninja as JSON; ninja reads it, and runs nothing of it.

    Raises:
        OSError: ninja cannot be run.
        ValueError: it fails, takes too long, or prints too much.
    """
    with subprocess.Popen(
        ["ninja", "-C", build, "-t", "compdb", "-x"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        limit = threading.Timer(_NINJA_TIMEOUT_S, process.kill)
        limit.start()
        try:
            told = process.stdout.read(_MAX_BYTES + 1)
            if len(told) > _MAX_BYTES:
                raise ValueError(f"it prints more than {_MAX_BYTES >> 20} MiB")
            if process.wait() != 0:
                raise ValueError(f"it ended with {process.returncode}")
            return told
        finally:
            process.kill()
            limit.cancel()


def _link_of_cmake(build: str, target: str) -> str:
    try:
        with open(digests.open_file(f"{build}/CMakeFiles/{target}.dir/link.txt"), encoding="utf-8") as file:
            return file.readline()
    except (OSError, UnicodeDecodeError):
        return ""
