"""Putting the launcher in the place of the command `daemonry`, and taking it away again.

Owns the two files in a directory of commands: `daemonry`, which is the launcher afterwards, and
`daemonry-python`, the command that pip installed.  Each step is one rename, so that `daemonry` can be run at
any moment.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launcher")
USAGE = """\
usage: daemonry-native install|remove|status

install  put the launcher in the place of the command daemonry of this environment
remove   put the Python command back
status   say which of the two it is
"""


def main() -> int:
    """Be the command `daemonry-native`."""
    commands = {"install": install, "remove": remove, "status": status}
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(USAGE, end="")
        return 0
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        print(USAGE, end="", file=sys.stderr)
        return 2
    try:
        return commands[sys.argv[1]](Path(sysconfig.get_path("scripts")))
    except OSError as error:
        print(f"daemonry-native: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1


def install(directory: Path) -> int:
    """Put the launcher in the place of the Python command."""
    command, python = directory / "daemonry", directory / "daemonry-python"
    if not is_launcher(command):
        if not command.exists():
            print(f"daemonry-native: there is no {command}: install daemonry first", file=sys.stderr)
            return 1
        _replace(command, python)
    _replace(LAUNCHER, command)
    print(f"{command}: native")
    return 0


def remove(directory: Path) -> int:
    """Put the Python command back."""
    command, python = directory / "daemonry", directory / "daemonry-python"
    if python.exists():
        if is_launcher(command):
            _replace(python, command)
        python.unlink()
    print(f"{command}: Python")
    return 0


def status(directory: Path) -> int:
    """Say which of the two the command is."""
    command = directory / "daemonry"
    print(f"{command}: {'native' if is_launcher(command) else 'Python'}")
    return 0


def is_launcher(command: Path) -> bool:
    """Whether a command is a program of the system's own, and not a script."""
    try:
        with command.open("rb") as file:
            return file.read(4) == b"\x7fELF"
    except FileNotFoundError:
        return False


def _replace(source: Path, target: Path) -> None:
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        shutil.copyfile(source, aside)
        aside.chmod(0o755)
        aside.rename(target)
    finally:
        aside.unlink(missing_ok=True)
