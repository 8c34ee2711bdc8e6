"""Putting the launcher in the place of `daemonry` and of its programs' commands, and taking it away again.

Owns two files of each in a directory of commands: COMMAND, which is the launcher afterwards, and
`COMMAND-python`, the command that pip installed.  Each step is one rename, so that the command can be run at
any moment.  Beside them `.PACKAGE-launcher` leads to the file of a package that says which launcher it knows:
the launcher reads it, and after an upgrade leaves everything to Python.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import sysconfig
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launcher")
USAGE = """\
usage: daemonry-native install|remove|status

install  put the launcher in the place of the command daemonry of this environment, and of those of its
         programs that it knows: mcp-cli, palingenesis, vx, vx-aether, vx-cass, vx-rhea
remove   put the Python commands back
status   say which of the two each one is
"""
# The programs that the launcher knows besides daemonry, and a module that each one's command imports:
# another program of that name is left alone.
PROGRAMS = {
    "mcp-cli": b"mcp_cli.cli.entry",
    "palingenesis": b"palingenesis.cli",
    "vx": b"vx.cli",
    "vx-aether": b"vx.aether",
    "vx-cass": b"vx.cass",
    "vx-rhea": b"vx.rhea",
}
# The file of each package that says which launcher it knows.
AGREED = {
    "daemonry": "cli/native/__init__.py",
    "mcp_cli": "names.py",
    "palingenesis": "__init__.py",
    "vx": "__init__.py",
}


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
    """Put the launcher in the place of the Python commands."""
    if not (directory / "daemonry").exists():
        print(
            f"daemonry-native: there is no {directory / 'daemonry'}: install daemonry first", file=sys.stderr
        )
        return 1
    link(directory)
    for command in _present(directory):
        if not is_launcher(command):
            _replace(command, _python(command))
        _replace(LAUNCHER, command)
        print(f"{command}: native")
    return 0


def remove(directory: Path) -> int:
    """Put the Python commands back."""
    for name in ("daemonry", *PROGRAMS):
        command = directory / name
        python = _python(command)
        if python.exists():
            if is_launcher(command):
                _replace(python, command)
            python.unlink()
    for package in AGREED:
        _link(directory, package).unlink(missing_ok=True)
    return status(directory)


def link(directory: Path) -> None:
    """Make the links to the files of this environment's packages; one that is not there has none."""
    for package, file in AGREED.items():
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None:
            continue
        aside = directory / f".{package}-launcher.{os.getpid()}"
        aside.symlink_to(Path(found.origin).parent / file)
        aside.rename(_link(directory, package))


def status(directory: Path) -> int:
    """Say which of the two each command is."""
    for command in _present(directory):
        print(f"{command}: {'native' if is_launcher(command) else 'Python'}")
    return 0


def _present(directory: Path) -> list[Path]:
    """Return the commands that the launcher is for."""
    found = [directory / "daemonry"]
    for name, module in PROGRAMS.items():
        command = directory / name
        if is_launcher(command):
            ours = _python(command).exists()
        else:
            ours = command.is_file() and module in command.read_bytes()
        if ours:
            found.append(command)
    return found


def _link(directory: Path, package: str) -> Path:
    return directory / f".{package}-launcher"


def _python(command: Path) -> Path:
    return command.with_name(f"{command.name}-python")


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
