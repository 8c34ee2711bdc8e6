"""palingenesis as its user has it: the command, in a sandbox, with a directory of sessions."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemonry.testing import Completed, Sandbox, wait_until

COMMAND = Path(sys.executable).parent / "palingenesis"


class App:
    """The command `palingenesis` in a sandbox of its own."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.sessions = sandbox.path / "home/.opencode"
        self.sessions.mkdir()
        self.state_dir = sandbox.path / "home/.local/state/palingenesis"
        self.state_path = self.state_dir / "state.json"
        self.config_path = sandbox.path / "home/.config/palingenesis/config.toml"
        self.socket_path = sandbox.path / "run/palingenesis/palingenesis.sock"

    def __call__(self, *words: str, stdin: str = "") -> Completed:
        """Run `palingenesis WORDS` to its end."""
        return self.sandbox.run(COMMAND, *words, stdin=stdin)

    def done(self, *words: str) -> str:
        """Run `palingenesis WORDS`, which must succeed, and return what it printed."""
        ended = self(*words)
        assert (ended.code, ended.err) == (0, ""), ended
        return ended.out

    def status(self) -> dict[str, object]:
        return self("status", "--json").json()

    def pid(self) -> int:
        return int(self.status()["pid"])

    def session(self, name: str, text: str = "words\n") -> Path:
        """Write a session file in one go."""
        path = self.sessions / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"---\ntitle: {name}\n---\n{text}")
        return path

    def config(self, text: str) -> None:
        self.config_path.parent.mkdir(parents=True, exist_ok=True)
        self.config_path.write_text(text)

    def raw(self, data: bytes) -> bytes:
        """Send bytes on a connection of their own and return all that comes back."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(self.socket_path))
            client.sendall(data)
            received = b""
            while piece := client.recv(4096):
                received += piece
        return received

    def wait_status(self, **wanted: object) -> dict[str, object]:
        """Wait until STATUS has these fields, and return all of them."""

        def there() -> dict[str, object] | None:
            fields = self.status()
            return fields if wanted.items() <= fields.items() else None

        return wait_until(there, what=f"status {wanted}, last {self.status()}")

    def log(self) -> str:
        return self.done("logs", "--tail", "0")


@pytest.fixture
def app(sandbox: Sandbox) -> Iterator[App]:
    """`palingenesis` with an empty session directory; stopped by its own command at the end."""
    app = App(sandbox)
    yield app
    stopped = app("daemon", "stop")
    assert stopped.code == 0, stopped
    assert not app.socket_path.exists()


@pytest.fixture
def quick_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Directories checked more often: a change made before the first notices is seen at the next check."""
    from palingenesis import watch

    monkeypatch.setattr(watch, "DIRECTORY_CHECK_S", 0.05)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB, to be filled."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a file system of its own needs root")
    import subprocess

    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k,mode=700", "none", str(tmp_path)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"mount is not allowed here: {mounted.stderr.decode().strip()}")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)
