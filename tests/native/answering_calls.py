"""A stand-in for a daemon of typed calls: it takes calls at a socket, and answers each with given bytes."""

import json
import os
import socket
import subprocess
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

ENDED_S = 30.0


class Stand:
    """What came to it.

    Attributes:
        calls: the calls that came whole, as JSON.
    """

    def __init__(self, pieces):
        self.calls = []
        self.pieces = pieces
        self.came = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def serve(self, stream):
        """Answer calls until the client leaves, or the pieces end in None: then it is left."""
        with stream, suppress(OSError):
            data = b""
            while b"\0" not in data:
                piece = stream.recv(65536)
                if not piece:
                    return
                data += piece
            first, _, data = data.partition(b"\0")
            self.calls.append(json.loads(first))
            self.came.set()
            for piece in self.pieces:
                if piece is None:
                    return
                self.go_on.wait(ENDED_S)
                stream.sendall(piece)
            while piece := stream.recv(65536):  # one that is sent again is seen
                data += piece
            self.calls += map(json.loads, data.split(b"\0")[:-1])


@contextmanager
def standing(path, pieces):
    """Have one stand at a socket's path, and yield it."""
    stand = Stand(pieces)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    threads = []

    def accept():
        with suppress(OSError):
            while True:
                thread = threading.Thread(target=stand.serve, args=(listener.accept()[0],))
                thread.start()
                threads.append(thread)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(path))
        listener.listen()
        threads.append(threading.Thread(target=accept))
        threads[0].start()
        try:
            yield stand
        finally:
            stand.go_on.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(ENDED_S)
            Path(path).unlink()


def run(command, sandbox, *words, pass_stdin=subprocess.DEVNULL, **more):
    """Run a command where the sandbox is, and return its exit code, output and errors."""
    env = {name: value for name, value in {**sandbox.env, **more}.items() if value is not None}
    done = subprocess.run(
        [command, *words],
        env=env,
        cwd=sandbox.path,
        stdin=pass_stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def frame(parameters, *, more=True):
    """Return a reply as a daemon sends it."""
    message = {"parameters": parameters, **({"continues": True} if more else {})}
    return (
        json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
        + b"\0"
    )
