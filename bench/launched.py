"""The native launcher for what is measured: compiled from here, beside an environment's Python commands.

Owns a directory of commands; the environment's own stay as they are.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NATIVE = ROOT / "native"
# As native/build_native.py has them, which imports the build system.
FLAGS = (
    "-std=c11",
    "-O2",
    "-fstack-protector-strong",
    "-D_FORTIFY_SOURCE=2",
    "-Wl,-z,relro,-z,now",
    "-fPIE",
    "-pie",
)
_LINK = """
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("daemonry_native", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.link(pathlib.Path(sys.argv[2]))
"""


def launchers(commands: Path, directory: Path, *names: str) -> str:
    """Make a directory with the launcher under commands' names, and return why that is not possible.

    Args:
        commands: the directory of the Python commands, with their `python3`.
        directory: the new one.
        names: the commands'.
    """
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        return "needs Linux and a C compiler"
    directory.mkdir()
    launcher = directory / ".launcher"
    words: list[list[str]] = [
        [compiler, *FLAGS, "-o", str(launcher), str(NATIVE / "launcher/launcher.c")],
        [
            str(commands / "python3"),
            "-c",
            _LINK,
            str(NATIVE / "src/daemonry_native/__init__.py"),
            str(directory),
        ],
    ]
    for one in words:
        done = subprocess.run(one, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{Path(one[0]).name} ended with {done.returncode}: {done.stderr.strip()[-200:]}"
    for name in names:
        shutil.copy(commands / name, directory / f"{name}-python")
        (directory / name).hardlink_to(launcher)
    return ""
