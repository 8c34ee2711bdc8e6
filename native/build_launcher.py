"""The build's step that compiles the launcher: `$CC`, or `cc`, and nothing but the C library."""

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
HARDENED = ("-fstack-protector-strong", "-D_FORTIFY_SOURCE=2", "-fPIE", "-pie", "-Wl,-z,relro,-z,now")


def compile_to(path: Path, *more: str) -> None:
    """Compile the launcher.

    Raises:
        SystemExit: this is not Linux.
        OSError, subprocess.CalledProcessError: there is no compiler, or it failed.
    """
    if not sys.platform.startswith("linux"):
        raise SystemExit("daemonry-native is for Linux: it reads /proc/self/exe and SO_PEERCRED")
    compiler = os.environ.get("CC", "cc").split()
    subprocess.run([*compiler, *FLAGS, *HARDENED, *more, "-o", path, HERE / "launcher.c"], check=True)


class LauncherHook(BuildHookInterface):  # type: ignore[misc,type-arg]  # hatchling is not typed
    """Puts the compiled launcher into the wheel, which then is for this platform only."""

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
        build_data["tag"] = f"py3-none-{platform}"
