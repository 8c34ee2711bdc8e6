"""vx as its user has it: the command, in a home of its own, on projects of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daemonry import Instance, Place
from daemonry.testing import Completed, Sandbox, wait_until

BIN = Path(sys.executable).parent
MAIN = 'fn main() { println!("hello"); }\n'


class Project:
    """A directory that `vx` builds."""

    def __init__(self, app: App, path: Path) -> None:
        self.app = app
        self.path = path

    def write(self, name: str, text: str) -> Path:
        """Write one of its files."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def vx(self, *words: str, **env: str) -> Completed:
        """Run `vx WORDS` in it."""
        return self.app.vx(*words, cwd=self.path, **env)

    def build(self, *words: str, **env: str) -> dict[str, Any]:
        """Build it, which must succeed, and return what `--json` tells."""
        done = self.vx("build", "--json", *words, **env)
        assert done.code == 0, done
        told = json.loads(done.out)
        told["err"] = done.err
        return told

    def fails(self, *words: str, **env: str) -> str:
        """Build it, which must fail with one line of our own, and return that line."""
        done = self.vx("build", *words, **env)
        assert done.code == 1, done
        lines = [line for line in done.err.splitlines() if line.startswith("vx: ")]
        told = [
            line
            for line in lines
            if not line.startswith(("vx: compiling ", "vx: running ")) and not line.endswith(" failed")
        ]
        assert len(told) == 1, done
        return told[0]

    def executed(self, *words: str, **env: str) -> int:
        """Build it and return how many actions ran."""
        return self.build(*words, **env)["executed"]

    def output(self, name: str, profile: str = "dev") -> Path:
        """Return the path of something that was built."""
        (found,) = self.path.glob(f".vx/build/*/{profile}/{name}")
        return found

    def run(self, name: str, profile: str = "dev") -> str:
        """Run a program that was built and return what it printed."""
        return subprocess.run([self.output(name, profile)], capture_output=True, text=True, check=True).stdout

    def report(self) -> dict[str, Any]:
        """Return the latest report."""
        run_id = (self.path / ".vx/runs/latest").read_text().strip()
        told = json.loads((self.path / f".vx/runs/{run_id}.json").read_text())
        if "same_as" in told:
            first = json.loads((self.path / f".vx/runs/{told['same_as']}.json").read_text())
            told["actions"] = first["actions"]
        return told


class App:
    """The command `vx`, with a home of its own."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.home = sandbox.path / "vx"
        self.env = {**sandbox.env, "VX_HOME": str(self.home), "PATH": f"{BIN}:{os.environ['PATH']}"}
        # rustup finds its toolchains by the home directory, which is the sandbox's here.
        rustup = Path(
            os.environ.get("RUSTUP_HOME", Path(os.environ.get("REAL_HOME", "~")).expanduser() / ".rustup")
        )
        if rustup.is_dir():
            self.env["RUSTUP_HOME"] = str(rustup)

    def vx(self, *words: str, cwd: Path | None = None, **env: str) -> Completed:
        """Run `vx WORDS` to its end."""
        done = subprocess.run(
            [BIN / "vx", *words],
            env={**self.env, **env},
            cwd=cwd or self.sandbox.path,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        return Completed(done.returncode, done.stdout, done.stderr)

    def begin(self, *words: str, cwd: Path, **options: Any) -> subprocess.Popen[str]:
        """Begin `vx WORDS`."""
        piped: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        # Tests that run in a shell's background have Ctrl-C ignored, and so would what they start.
        piped["preexec_fn"] = _heed_interrupts
        return subprocess.Popen([BIN / "vx", *words], cwd=cwd, **{"env": self.env, **piped, **options})

    def project(self, name: str = "hello") -> Project:
        """Make an empty project."""
        path = self.sandbox.path / "work" / name
        path.mkdir(parents=True)
        return Project(self, path)

    def crate(self, name: str = "hello", main: str = MAIN, manifest: str = "") -> Project:
        """Make a crate of one program, in a directory of its name."""
        project = self.project(name)
        project.write(
            "Cargo.toml", f'[package]\nname = "hello"\nversion = "0.1.0"\nedition = "2021"\n{manifest}'
        )
        project.write("src/main.rs", main)
        return project

    def instance(self, service: str) -> Instance:
        """Return a service, seen from outside."""
        return Instance(Place(str(self.home), service, str(self.home)))

    def pid(self, service: str) -> int:
        """Return the process of a service that runs."""
        pid = self.instance(service).pid()
        assert pid is not None, f"{service} does not run"
        return pid

    def log(self, service: str) -> str:
        """Return a service's log."""
        return (self.home / f"{service}.log").read_text()

    def kill(self) -> None:
        """End what runs."""
        assert self.vx("kill").code == 0

    def state(self) -> dict[str, Any]:
        """Return what `vx status --json` tells."""
        return json.loads(self.vx("status", "--json").out)


@pytest.fixture
def app(sandbox: Sandbox) -> Iterator[App]:
    """The command, in a home of its own; its services are ended."""
    one = App(sandbox)
    yield one
    one.vx("kill")
    wait_until(lambda: not sandbox.leftovers().processes, 5, "the services ended")


@pytest.fixture
def rust(app: App) -> App:
    """The command, where there is a Rust compiler."""
    if shutil.which("rustc") is None:
        pytest.skip("no rustc on the PATH: install Rust to run this")
    if shutil.which("cc") is None:
        pytest.skip("no cc on the PATH, with which rustc links: install gcc or clang to run this")
    return app


@pytest.fixture
def c(app: App) -> App:
    """The command, where there is a C compiler."""
    if shutil.which("cc") is None:
        pytest.skip("no cc on the PATH: install gcc or clang to run this")
    return app


@pytest.fixture(scope="session", autouse=True)
def _real_home() -> None:
    os.environ.setdefault("REAL_HOME", os.environ.get("HOME", "/"))


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def is_gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


@pytest.fixture
def gone() -> Callable[[int], bool]:
    """Whether a process has ended."""
    return is_gone
