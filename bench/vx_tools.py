"""What measurements of vx run in: an environment and a home of their own, and cargo's own program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class Failed(Exception):
    """Something that was to be measured could not be run; the message says what."""


class Surroundings:
    """A virtual environment and a home that nothing else uses.

    Args:
        venv_dir: the virtual environment; made if it is not there.
        private: for everything else.
    """

    def __init__(self, venv_dir: Path, private: Path) -> None:
        self.bin = venv_dir / "bin"
        self.private = private
        kept = {
            name: os.environ[name]
            for name in ("HOME", "LANG", "RUSTUP_HOME", "CARGO_HOME")
            if name in os.environ
        }
        sysroot = self._toolchain()
        self.environment = {
            **kept,
            "PATH": f"{sysroot}/bin{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "VX_HOME": str(private / "vx"),
        }
        self.cargo = (
            f"{sysroot}/bin/cargo" if Path(f"{sysroot}/bin/cargo").exists() else shutil.which("cargo")
        )
        if self.cargo is None:
            raise Failed("no cargo on the PATH: install Rust to measure beside it")
        if not (self.bin / "vx").exists():
            self._make(venv_dir)
        self.vx = str(self.bin / "vx")

    def _toolchain(self) -> str:
        if shutil.which("rustc") is None:
            raise Failed("no rustc on the PATH: install Rust to measure")
        return self._out(["rustc", "--print", "sysroot"], dict(os.environ))

    def _make(self, venv_dir: Path) -> None:
        print("making a clean virtual environment (a minute or so) ...", file=sys.stderr)
        venv.create(venv_dir, symlinks=True, with_pip=True)
        environment = {**os.environ, "PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
        install = [str(self.bin / "python3"), "-m", "pip", "install", "--quiet"]
        self._out([*install, "--upgrade", "pip"], environment)
        self._out([*install, str(ROOT), str(ROOT / "apps/vx")], environment)

    def _out(self, words: list[str], environment: dict[str, str]) -> str:
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"{words[0]} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        return done.stdout.strip()

    def build_ms(self, program: str, directory: Path) -> float:
        """Return how long a build of a directory takes, from exec to exit, in milliseconds."""
        started_s = time.perf_counter()
        done = subprocess.run(
            [program, "build", "-q"],
            cwd=directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        elapsed_ms = (time.perf_counter() - started_s) * 1000
        if done.returncode:
            raise Failed(f"{Path(program).name} build ended with {done.returncode}: {done.stderr[-300:]}")
        return elapsed_ms
