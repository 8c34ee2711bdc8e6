"""What several directories of tests need: another user, a disk that fills up, both event loops.

As root on Linux everything here works; where it cannot, the test is skipped and says why.
"""

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import settings
from tests.other_machine import far, sshd  # noqa: F401  # fixtures of several directories

from daemonry.limits import OWNED_GRACE_S
from daemonry.service.server.server import Server
from daemonry.transport.endpoint import Endpoint

NOBODY = 65534

# No deadline for one example: on a busy machine it measures the machine.
# How many examples each property is tried with: the same ones each time, but for `scripts/test --all`, which
# asks for more (docs/decisions.md, 703).
EXAMPLES = int(os.environ.get("DAEMONRY_EXAMPLES", "50"))
settings.register_profile("daemonry", deadline=None, max_examples=EXAMPLES, derandomize=EXAMPLES <= 50)
settings.load_profile("daemonry")

# Modules are imported before the user is changed: the interpreter may live where only root can read.
_AS_NOBODY = f"""
import encodings.ascii, errno, os, select, signal, socket, stat, sys, time
{{imports}}
os.setgroups([])
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
{{script}}
"""


@pytest.fixture
def as_nobody():
    """A function that returns the command which runs a script as another user."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")

    def command(script, *arguments, imports=""):
        words = [sys.executable, "-c", _AS_NOBODY.format(imports=imports, script=script)]
        return [*words, *map(str, arguments)]

    return command


@pytest.fixture
def root():
    """Skips unless the test runs as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture
def netcat():
    """Skips unless there is a netcat that speaks over Unix sockets and can end its half: OpenBSD's."""
    try:
        said = subprocess.run(["nc", "-h"], capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        pytest.skip("nc is not installed: package netcat-openbsd")
    options = (said.stdout + said.stderr).replace("[", " ").split()
    if not any(word.startswith("-") and "U" in word for word in options):
        pytest.skip("this nc has no option -U: package netcat-openbsd has one that does")


@pytest.fixture
def on_tiny_disk(tmp_path):
    """A function that runs a script with `disk`, a directory on a file system of its own.

    It has room for a few pages and a few files and is seen by nobody else; the script may call
    `make_read_only()`.  What the script prints is returned.
    """
    probe = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("needs the right to mount: unshare -m")

    def run(script, size="64k", files=32):
        mount = (
            f'mount -t tmpfs -o size={size},nr_inodes={files},mode=700 tmpfs "$1" && exec "$2" -c "$3" "$1"'
        )
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", mount, "sh", tmp_path, sys.executable, _ON_TINY_DISK + script],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


_ON_TINY_DISK = """
import os, subprocess, sys
disk = sys.argv[1]

def make_read_only():
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)

def fill():
    with open(disk + "/filler", "wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            return

"""


# --- a server of the text dialect, in the test's own process ------------------------------------

LOOPS = ("asyncio", "uvloop")


def loop_factory(name):
    """What makes a loop of that kind; None for asyncio's own."""
    return pytest.importorskip("uvloop").new_event_loop if name == "uvloop" else None


class MockState:
    """The state behind a server, as S001's tests have it: injected, and counting what is asked of it."""

    def __init__(self):
        self.paused = False
        self.reloads = 0

    def get_status(self):
        return {
            "state": "paused" if self.paused else "monitoring",
            "uptime_secs": 3600,
            "current_session": "/path/to/session.md",
            "saves_count": 42,
            "total_resumes": 10,
        }

    def pause(self):
        self.paused = True

    def resume(self):
        self.paused = False

    def reload_config(self):
        self.reloads += 1


class TextServer:
    """A server on a loop in a thread of its own, and a client that speaks in bytes.

    Attributes:
        endpoint: where it listens, as text.
        loop: its loop.
        server: the server itself; what is not safe from another thread goes through `on_loop`.
        state: what answers.
    """

    def __init__(self, endpoint, state, factory, **options):
        self.state = state
        self.server = Server(endpoint, **options)
        self.server.bind()
        self.endpoint = str(self.server.endpoint)
        self._factory = factory
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(10)

    def _run(self):
        with asyncio.Runner(loop_factory=self._factory) as runner:
            runner.run(self._serve())

    async def _serve(self):
        self.loop = asyncio.get_running_loop()
        self._cancel = asyncio.Event()
        self._ready.set()
        await self.server.run(self.state, self._cancel)

    def on_loop(self, function, *arguments):
        """Run a function on the server's loop and return its result."""

        async def run():
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    def connect(self):
        """Return a socket that is connected."""
        endpoint = Endpoint.parse(self.endpoint)
        if endpoint.kind == "tcp":
            return socket.create_connection((endpoint.address, endpoint.number), 10)
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        sock.connect(endpoint.address.replace("@", "\0"))
        return sock

    def ask(self, data):
        """Send bytes on a connection of their own and return all that comes back until its end."""
        with self.connect() as sock:
            sock.sendall(data)
            return self.read_all(sock)

    @staticmethod
    def read_all(sock):
        """Return all that a peer sends until it ends the connection."""
        pieces = []
        while piece := sock.recv(65536):
            pieces.append(piece)
        return b"".join(pieces)

    def stop(self):
        """Cancel the server, wait for its end and clean up."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._cancel.set)
        self._thread.join(10)
        assert not self._thread.is_alive()
        self.server.cleanup()


@pytest.fixture(params=LOOPS)
def serve_text(request, socket_path):
    """A function that serves a state: `serve_text(state, first_byte_timeout_s=...)`; on each loop."""
    started = []

    def serve(state=None, endpoint=f"unix:{socket_path}", **options):
        state = MockState() if state is None else state
        started.append(TextServer(endpoint, state, loop_factory(request.param), **options))
        return started[-1]

    yield serve
    for one in started:
        one.stop()


@pytest.fixture
def text_server(serve_text):
    """A server of the text dialect with a mock state behind it; on each loop."""
    return serve_text()


# What a watcher cannot do without, see `daemonry.process.lifeline`: an interpreter's start, and the grace.
_WATCHERS_LEAST = f"import time; time.sleep({OWNED_GRACE_S})"


@pytest.fixture
def late_s():
    """A function that kills an owner, and returns by how many seconds some processes outlived it too long.

    0 and less is in time, which is a second from the moment before the kill.  A machine that is too
    busy to do the least that a watcher has to do, which is tried at the same moment, cannot show
    that; it is given five.  Of a few rounds the best one counts.
    """
    if not hasattr(os, "pidfd_open"):
        pytest.skip("there are no pidfds here")

    def measure(owner_pid, pids):
        words = ["sh", "-c", 'read _; "$@"; :', "sh", sys.executable, "-I", "-S", "-c", _WATCHERS_LEAST]
        with subprocess.Popen(words, stdin=subprocess.PIPE) as least:
            fds = {os.pidfd_open(pid): pid for pid in (owner_pid, least.pid, *pids)}
            began_s = time.monotonic()
            os.kill(owner_pid, signal.SIGKILL)
            least.stdin.close()
            took_s = _ends_s(fds, began_s)
        least_s = took_s.pop(least.pid)
        return max(took_s.values()) - (1.0 if least_s < OWNED_GRACE_S + 0.1 else 5.0)

    return measure


def _ends_s(pids, began_s):
    """Return when each of these ended, by their pidfds, which are closed."""
    poll = select.poll()
    for fd in pids:
        poll.register(fd, select.POLLIN)
    ends_s = {}
    while pids:
        ended = poll.poll(10_000)
        assert ended, f"still there after 10 s: {sorted(pids.values())}"
        for fd, _ in ended:
            poll.unregister(fd)
            os.close(fd)
            ends_s[pids.pop(fd)] = time.monotonic() - began_s
    return ends_s
