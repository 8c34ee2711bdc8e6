"""Servers of several makes, each as a process of its own."""

import socket
import sys
from pathlib import Path

import pytest

from daemonry.testing import wait_until

HERE = Path(__file__).parent
OURS = HERE.parents[1] / "examples/certification.py"
PEERS = {
    "daemonry": lambda path: [OURS, f"--varlink=unix:{path}"],
    "python-varlink": lambda path: ["-m", "varlink.tests.test_certification", f"--varlink=unix:{path}"],
    "asyncvarlink": lambda path: [HERE / "asyncvarlink_peer.py", path],
}
CLIENTS = {
    "daemonry": lambda path: [OURS, "--client", f"--varlink=unix:{path}"],
    "python-varlink": lambda path: [
        "-m",
        "varlink.tests.test_certification",
        "--client",
        f"--varlink=unix:{path}",
    ],
    "asyncvarlink": lambda path: [HERE / "asyncvarlink_peer.py", "--client", path],
}


class Peer:
    """A certification server: its `path` and its `pid`."""

    def __init__(self, process, path):
        self.path = path
        self.pid = process.pid
        self.endpoint = f"unix:{path}"

    def connect(self):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        try:
            sock.connect(self.path)
        except OSError:
            sock.close()
            raise
        return sock


@pytest.fixture
def serve(sandbox):
    """A function that starts the certification server of one make and returns a `Peer`."""
    processes = []

    def start(make):
        path = str(sandbox.path / f"{make}.sock")
        process = sandbox.popen(sys.executable, *PEERS[make](path), stdout=None, stderr=None)
        processes.append(process)
        peer = Peer(process, path)

        def is_up():
            try:
                peer.connect().close()
            except OSError:
                return False
            return True

        wait_until(is_up)
        return peer

    yield start
    for process in processes:
        process.terminate()
        process.wait(10)
    for path in sandbox.path.glob("*.sock"):
        path.unlink()


@pytest.fixture
def run_client(sandbox):
    """A function that runs the certification client of one make to its end."""

    def run(make, path):
        return sandbox.run(sys.executable, *CLIENTS[make](path), timeout_s=30)

    return run
