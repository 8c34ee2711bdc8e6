"""The build's step that compiles the launcher and the extension module, by `$CC` or `cc`."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).resolve().parent
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
HARDENED = ("-fstack-protector-strong", "-D_FORTIFY_SOURCE=2", "-Wl,-z,relro,-z,now")
PROGRAM = ("-fPIE", "-pie")
# -O3 for the loops over texts; one module for each Python from 3.11 on.
MODULE = ("-O3", "-fPIC", "-shared", "-fvisibility=hidden", "-D_GNU_SOURCE", "-DPy_LIMITED_API=0x030B0000")


def compile_to(path: Path, *more: str) -> None:
    """Compile the launcher.

    Raises:
        SystemExit: this is not Linux.
        OSError, subprocess.CalledProcessError: there is no compiler, or it failed.
    """
    if not sys.platform.startswith("linux"):
        raise SystemExit("daemonry-native is for Linux: it reads /proc/self/exe and SO_PEERCRED")
    _compile(path, HERE / "launcher/launcher.c", *PROGRAM, *more)


def compile_module_to(path: Path, *more: str) -> None:
    """Compile the extension module; raises as `compile_to`."""
    headers = sysconfig.get_path("include")
    _compile(path, HERE / "calls/calls.c", *MODULE, "-isystem", headers, *more)


def _compile(path: Path, source: Path, *words: str) -> None:
    compiler = os.environ.get("CC", "cc").split()
    subprocess.run([*compiler, *FLAGS, *HARDENED, *words, "-o", path, source], check=True)


class NativeHook(BuildHookInterface):  # type: ignore[misc,type-arg]  # hatchling is not typed
    """Puts the compiled files into the wheel, which then is for this platform only.

    Without Python's headers the wheel has the launcher alone, and calls are pure Python.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, before the wheel's files are collected."""
        del version
        if self.target_name != "wheel":
            return
        made = HERE / "build/launcher"
        made.parent.mkdir(parents=True, exist_ok=True)
        compile_to(made)
        build_data["force_include"][str(made)] = "daemonry_native/launcher"
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        if not Path(sysconfig.get_path("include"), "Python.h").exists():
            self.app.display_warning("no Python.h: the launcher alone is built, and no extension module")
            build_data["tag"] = f"py3-none-{platform}"
            return
        module = HERE / "build/calls.abi3.so"
        compile_module_to(module)
        build_data["force_include"][str(module)] = "daemonry_native/calls.abi3.so"
        build_data["tag"] = f"cp311-abi3-{platform}"
