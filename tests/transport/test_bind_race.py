"""Several processes that find the same stale socket: one listens, the others are told so.

Fault 15 and fact F9: connect, unlink and bind without a lock gave two owners in 26 of 150 rounds.
"""

import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest

from daemonry.process import platform

PROCESSES = 6
ROUNDS = 150
WORKER = """
import sys
from daemonry.errors import SocketBindError
from daemonry.transport.connect import listen

endpoint = sys.argv[1]
listener = None
print("ready", flush=True)
for line in sys.stdin:
    if line == "end\\n":
        if listener is not None:
            listener.abandon()  # as after kill -9: the file stays, nobody answers
            listener = None
        print("ended", flush=True)
        continue
    try:
        listener = listen(endpoint)
        print("won", flush=True)
    except SocketBindError as error:
        print(error.cause, flush=True)
"""


def start(stack, endpoint):
    worker = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-c", WORKER, endpoint], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    )
    stack.callback(worker.stdout.close)
    stack.callback(worker.stdin.close)
    return worker


def ask(workers, line):
    for worker in workers:
        worker.stdin.write(line + "\n")
        worker.stdin.flush()
    return [worker.stdout.readline().strip() for worker in workers]


def listening_pid(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        return platform.peer_of(client)[0]


@pytest.mark.slow
def test_of_several_that_bind_at_once_always_exactly_one_listens(tmp_path):
    tmp_path.chmod(0o700)
    path = tmp_path / "x.sock"
    with ExitStack() as stack:
        workers = [start(stack, f"unix:{path}") for _ in range(PROCESSES)]
        assert [worker.stdout.readline() for worker in workers] == ["ready\n"] * PROCESSES
        for _ in range(ROUNDS):
            told = ask(workers, "go")
            assert sorted(told) == ["another process listens there"] * (PROCESSES - 1) + ["won"]
            assert listening_pid(path) == workers[told.index("won")].pid
            assert ask(workers, "end") == ["ended"] * PROCESSES
