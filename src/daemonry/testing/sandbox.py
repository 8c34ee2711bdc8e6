"""A sandbox: a home and a runtime directory that no other test and no user shares.

Owns making it short (a socket's path has little room), running commands in it, and ending it
clean: daemons are stopped by name, whatever is then left is killed by identity and told.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple, Self

from daemonry import strict_json
from daemonry.daemon.instance import Instance
from daemonry.errors import DaemonryError
from daemonry.launch.stop import stop
from daemonry.process import platform
from daemonry.process.identity import Identity
from daemonry.process.place import Place, host_id
from daemonry.testing.leftovers import MARK, Leftovers, leftovers_in, processes_marked

# What a command may see of the environment of the tests; all else could name a user's own files.
_INHERITED = ("PATH", "LANG", "LC_ALL", "TERM", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "TZ")


class Completed(NamedTuple):
    """How a command ended.

    Attributes:
        code: its exit code; negative for a signal.
        out: its standard output.
        err: its standard error.
    """

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return its standard output as JSON."""
        return strict_json.decode(self.out)


class Sandbox:
    """A private home and runtime directory.

    Args:
        above: where its directory is made; the temporary directory by default.

    Attributes:
        path: its directory.
        env: the environment of what runs in it.
    """

    def __init__(self, above: str | None = None) -> None:
        self.path: Path = Path(tempfile.mkdtemp(prefix="dmn-", dir=above))
        for name in ("home", "run"):
            (self.path / name).mkdir(mode=0o700)
        self.env: dict[str, str] = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        # By these coverage.py follows child processes (its `patch = subprocess`, or a .pth file).
        self.env |= {
            name: value for name, value in os.environ.items() if name.startswith("COVERAGE_PROCESS_")
        }
        self.env |= {
            "HOME": str(self.path / "home"),
            "XDG_RUNTIME_DIR": str(self.path / "run"),
            MARK: str(self.path),
        }

    def write(self, name: str, text: str) -> Path:
        """Write a file of the sandbox, such as a daemon's program, and return its path."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, *words: str | os.PathLike[str], stdin: str = "", timeout_s: float = 60.0) -> Completed:
        """Run a command to its end."""
        done = subprocess.run(
            [os.fspath(word) for word in words],
            input=stdin,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            env=self.env,
            cwd=self.path,
            timeout=timeout_s,
            check=False,
        )
        return Completed(done.returncode, done.stdout, done.stderr)

    def daemonry(self, *words: str | os.PathLike[str], timeout_s: float = 60.0) -> Completed:
        """Run the command `daemonry` with this interpreter."""
        return self.run(sys.executable, "-m", "daemonry", *words, timeout_s=timeout_s)

    def popen(self, *words: str | os.PathLike[str], **options: Any) -> subprocess.Popen[str]:
        """Begin a command; its output is piped unless `options` say otherwise."""
        piped: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(
            [os.fspath(word) for word in words], env=self.env, cwd=self.path, **{**piped, **options}
        )

    def start(self, target: str | os.PathLike[str], *options: str) -> Instance:
        """Start a daemon in the background and return it, seen from outside.

        Raises:
            AssertionError: it did not start; the message has its output.
        """
        started = self.daemonry("start", target, "--json", *options)
        assert started.code == 0, f"start failed ({started.code}): {started.err or started.out}"
        return self.instance(started.json()["name"])

    def place(self, name: str) -> Place:
        """Return where the files of the daemon called `name` are in this sandbox."""
        host_dir = self.path / "home/.local/state" / name / host_id()
        return Place(str(host_dir), name, str(self.path / "run" / name))

    def instance(self, name: str) -> Instance:
        """Return the daemon called `name` of this sandbox, seen from outside."""
        return Instance(self.place(name))

    def stop_all(self) -> None:
        """Stop every daemon that left its record here."""
        for record in self.path.glob(f"home/.local/state/*/{host_id()}/*.json"):
            name = record.name.removesuffix(".json")
            if record.parent.parent.name == name:
                try:
                    stop(self.instance(name), timeout_s=10.0, force=True)
                except DaemonryError:
                    pass  # not running, or told as a leftover

    def leftovers(self) -> Leftovers:
        """Return the leftovers of all that ran here."""
        return leftovers_in(self.path)

    def close(self) -> Leftovers:
        """Stop the daemons, end the rest, remove everything, and return the leftovers."""
        self.stop_all()
        left = self.leftovers()
        for process in processes_marked(str(self.path)):
            _kill(int(process.split()[0]))
        shutil.rmtree(self.path, ignore_errors=True)
        return left

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        left = self.close()
        assert not left or exc[0] is not None, f"left behind: {left}"


def _kill(pid: int) -> None:
    started = platform.start_time(pid)
    if started is not None:
        Identity(platform.boot_id(), pid, platform.pid_namespace(), started).send_signal(9)
