"""palingenesis as its user has it: the command, in a sandbox, with a directory of sessions."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from daemonry.testing import Completed, Sandbox, wait_until
from palingenesis.evidence import processes, terminals

# No deadline for one example: on a busy machine it measures the machine.  The same examples each time, but
# for those who ask for more.
EXAMPLES = int(os.environ.get("DAEMONRY_EXAMPLES", "50"))
settings.register_profile("palingenesis", deadline=None, max_examples=EXAMPLES, derandomize=EXAMPLES <= 50)
settings.load_profile("palingenesis")

COMMAND = Path(sys.executable).parent / "palingenesis"
STAND_IN = Path(__file__).parent / "stand_in.py"


class App:
    """The command `palingenesis` in a sandbox of its own."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.command = COMMAND
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


# --- `palingenesis run` ----------------------------------------------------------------------------

# The command, with limits that end at once and a window that may lag for a moment only.
QUICK = """
import sys
from palingenesis.resume import schedule
schedule.MARGIN_S = schedule.JITTER_S = 0.0
from palingenesis.terminal import course, next_step, windows
windows.LAG_S = 0.3
course.LOOK_EVERY_S = 0.3
next_step.ALONE_S = 0.5
sys.argv[0] = "palingenesis"
from palingenesis.cli import main
main()
"""
QUICK_COMMAND = [sys.executable, "-c", QUICK]


class Window:
    """A pseudo-terminal with a command in it, which is a job of its own, as in a shell."""

    def __init__(self, environment, *words, cwd=None, rows=24, columns=80, command=QUICK_COMMAND):
        self.seen = b""
        self.status = None
        self._reading = threading.Event()
        self._reading.set()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(cwd or environment["HOME"])
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
                os.execvpe(command[0], [*command, *words], environment)
            finally:
                os._exit(99)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        while True:
            self._reading.wait()
            try:
                if select.select([self.fd], [], [], 0.05)[0]:
                    self.seen += os.read(self.fd, 65536)
            except (OSError, ValueError):
                return

    def stop_reading(self):
        self._reading.clear()

    def read_again(self):
        self._reading.set()

    def type(self, data):
        while data:
            data = data[os.write(self.fd, data) :]

    def until(self, text):
        """Wait until `text` was shown."""
        try:
            wait_until(lambda: text in self.seen, 30)
        except AssertionError:
            raise AssertionError(f"{text!r} was not shown: {self.seen[-500:]!r}") from None

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def is_raw(self):
        return not termios.tcgetattr(self.fd)[3] & termios.ICANON

    def wait(self, options=0):
        """Return how the command ended or stopped: a status of the system."""

        def there():
            pid, status = os.waitpid(self.pid, os.WNOHANG | options)
            if pid:
                self.status = status
            return bool(pid)

        wait_until(there, what=f"the end; shown was {self.seen[-500:]!r}")
        return self.status

    def code(self):
        return os.waitstatus_to_exitcode(self.wait())

    def close(self):
        """Close the window, as its user does."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            self._reader.join()  # who reads keeps it open
            os.close(fd)

    def end(self):
        self.close()
        if self.status is None or os.WIFSTOPPED(self.status):
            try:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass


class Home:
    """A home with a stand-in agent, and windows in it."""

    command = QUICK_COMMAND

    def __init__(self, path):
        self.path = path
        self.state = path / "state"
        self.project = path / "project"
        self.project.mkdir()
        (path / "bin").mkdir()
        program = path / "bin/claude"
        program.write_text(f"#!{sys.executable}\n" + STAND_IN.read_text().partition("\n")[2])
        program.chmod(0o700)
        self.environment = {
            "HOME": str(path), "PATH": f"{path}/bin:{os.environ['PATH']}", "TERM": "xterm", "LANG": "C.UTF-8",
            "PALINGENESIS_STATE": str(self.state), "PALINGENESIS_RUNTIME": str(path / "run"),
            "PALINGENESIS_CONFIG": str(path / "config.toml"),
        }  # fmt: skip
        self.windows = []

    def window(self, *words, **how):
        window = Window(self.environment, *words, cwd=self.project, **how)
        self.windows.append(window)
        return window

    def run(self, *words, **how):
        """Run a command without a terminal."""
        return subprocess.run(
            [*self.command, *words], cwd=self.project, env=self.environment, timeout=60, check=False,
            capture_output=True, **{"text": True, **how},
        )  # fmt: skip

    def program(self, text):
        """Return the words of a Python program."""
        path = self.path / f"program-{uuid.uuid4().hex[:8]}.py"
        path.write_text(text)
        return (sys.executable, str(path))

    def terminals(self):
        return {one.name: one for one in terminals.all_of(str(self.state))}

    def steps(self, *steps):
        (self.path / "steps").write_text("".join(f"{step}\n" for step in steps))

    def requests(self):
        try:
            return [json.loads(line) for line in (self.path / "requests").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def end(self):
        held = list(self.terminals().values())
        for window in self.windows:
            window.end()
        for one in held:
            if one.lives and one.pid != os.getpid():
                os.kill(one.pid, signal.SIGKILL)
                wait_until(lambda one=one: not one.lives)
        for request in self.requests():
            wait_until(lambda pid=request["pid"]: not processes.start_of(pid))


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path)
    yield home
    home.end()
