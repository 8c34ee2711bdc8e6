"""The six named tests of S000 (T7), meaning what their names say.

Each gets its path from the fixture, which cleans it before the test and after, also when the test
fails (T4); `tests/testing/test_kit.py` has the helpers themselves (T1 to T3), and the plugin fails
the whole run when a `mcp-test-*.sock` is left (T6).
"""

import gc
import os
import socket
import threading

import pytest

from daemonry.errors import DeadlineExceeded, SocketBindError, StaleSocket
from daemonry.service.client.text import request
from daemonry.testing import cleanup_socket_file, get_test_socket_path
from daemonry.transport.connect import connect, listen, try_connect

pytest_plugins = ["pytester"]

PATIENT_S = 10.0


def echo(listener, clients=1):
    """Answer each client with what it said until it ended its half."""
    for _ in range(clients):
        stream, _ = listener.accept(PATIENT_S)
        with stream:
            pieces = []
            while piece := stream.read(timeout_s=PATIENT_S):
                pieces.append(piece)
            stream.write(b"".join(pieces), PATIENT_S)


@pytest.fixture
def echoing(socket_path):
    """A function that serves a number of clients in a thread."""
    threads = []

    def serve(clients=1):
        listener = listen(f"unix:{socket_path}")
        thread = threading.Thread(target=lambda: (echo(listener, clients), listener.close()))
        thread.start()
        threads.append(thread)
        return listener

    yield serve
    for thread in threads:
        thread.join(PATIENT_S)
        assert not thread.is_alive()


def ask(path, message):
    with connect(f"unix:{path}", PATIENT_S) as stream:
        stream.write(message, PATIENT_S)
        stream.finish_writing()
        pieces = []
        while piece := stream.read(timeout_s=PATIENT_S):
            pieces.append(piece)
        return b"".join(pieces)


def test_unix_socket_creation(socket_path):
    """The path ends in .sock, nothing is there before, and a socket is there after binding."""
    assert socket_path.name.endswith(".sock")
    assert socket_path.name.startswith(f"mcp-test-{os.getpid()}-")
    assert not socket_path.exists()
    with listen(f"unix:{socket_path}"):
        assert socket_path.is_socket()
        assert socket_path.stat().st_mode & 0o777 == 0o600
    assert not socket_path.exists()


def test_unix_socket_client_server_roundtrip(echoing, socket_path):
    """What a client says, the server hears, and the other way round."""
    echoing()
    assert ask(socket_path, b"ping") == b"ping"


def test_unix_socket_multiple_concurrent_connections(echoing, socket_path):
    """M7: several clients at once, each with its own answer."""
    echoing(clients=8)
    answers = {}
    clients = [
        threading.Thread(
            target=lambda number=number: answers.update({number: ask(socket_path, b"%d" % number)})
        )
        for number in range(8)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join(PATIENT_S)
    assert answers == {number: b"%d" % number for number in range(8)}


@pytest.mark.parametrize("length", [100_000, 1 << 20, 5_000_000])
def test_unix_socket_large_message_transfer(echoing, socket_path, length):
    """The original's 100,000 characters, and what no socket's buffer holds, arrive whole."""
    echoing()
    message = os.urandom(1000) * (length // 1000)
    assert ask(socket_path, message) == message


def test_unix_socket_stale_error_handling(socket_path):
    """A socket file that nobody answers is told as stale to clients, and is in no server's way.

    The original's test of this name only let an accept time out; that is the last part here.
    """
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path))
    with pytest.raises(StaleSocket):
        connect(f"unix:{socket_path}")
    with pytest.raises(StaleSocket):
        request(f"unix:{socket_path}", "STATUS")
    assert try_connect(f"unix:{socket_path}") is None
    warnings = []
    with listen(f"unix:{socket_path}", warn=warnings.append) as listener:
        assert warnings == [f"removing the stale socket {socket_path}"]
        with pytest.raises(DeadlineExceeded):
            listener.accept(0.02)


def test_unix_socket_cleanup_on_removal(echoing, socket_path):
    """The file is deleted under a live server, and a second server takes the same path.

    The first, closing, leaves the second one's file alone.
    """
    first = listen(f"unix:{socket_path}")
    cleanup_socket_file(socket_path)
    assert not socket_path.exists()
    echoing()
    first.close()
    assert ask(socket_path, b"ping") == b"ping"


# --- what the document asks for besides -------------------------------------------------------------


@pytest.mark.slow
def test_a_failing_test_cleans_up_as_well(pytester):
    """T4: also after a failure."""
    pytester.makepyfile(
        """
        import socket

        def test_failing(socket_path):
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(socket_path))
            assert False
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:xdist")
    result.assert_outcomes(failed=1)
    assert "left behind" not in result.stdout.str()


@pytest.mark.parametrize("kind", ["a plain file", "a directory", "another's link"])
def test_what_is_no_socket_is_no_reason_to_fail_silently(socket_path, kind):
    """T5: a clear error, and the file kept, because nobody said that it may be removed."""
    if kind == "a directory":
        socket_path.mkdir()
    elif kind == "a plain file":
        socket_path.touch()
    else:
        socket_path.symlink_to("/nonexistent")
    with pytest.raises(SocketBindError) as refused:
        listen(f"unix:{socket_path}")
    assert str(socket_path) in str(refused.value)
    assert "not ours to remove" in str(refused.value)
    if kind == "a directory":
        socket_path.rmdir()


def test_stale_sockets_do_not_accumulate(socket_path):
    """T6: a hundred servers that come and go leave nothing, and none of them complains."""
    warnings = []
    for _ in range(100):
        listen(f"unix:{socket_path}", warn=warnings.append).close()
    gc.collect()
    assert warnings == []
    assert not socket_path.exists()
    assert get_test_socket_path() != socket_path
