"""Clients that do not behave: each is refused or bounded, and others are served meanwhile."""

import contextlib
import itertools
import random
import resource
import socket
import time

import pytest

from daemonry.limits import HTTP_HEADER_BYTES
from daemonry.testing import wait_until

LISTENERS = 1000
EVENTS = b"GET /v1/events HTTP/1.1\r\nHost: d\r\n\r\n"


def memory_of(seen):
    """The daemon's resident memory, in bytes."""
    text = seen.get("/metrics").body.decode()
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("process_resident"))


def connected(seen):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(30)
    sock.connect(seen.path)
    return sock


def test_a_header_without_end_is_refused(seen):
    with connected(seen) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(OSError):
            sock.sendall(b"x: " + b"y" * (8 * HTTP_HEADER_BYTES))
        assert sock.recv(200).startswith(b"HTTP/1.1 400")


def test_a_body_that_is_too_long_is_refused_before_it_is_read(seen):
    with connected(seen) as sock:
        head = "POST /v1/call/org.example.tries/Add HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n"
        sock.sendall(f"{head}Content-Length: 99999999999\r\n\r\n{{".encode())
        assert sock.recv(200).startswith(b"HTTP/1.1 413")


@pytest.mark.slow
def test_a_client_that_does_not_finish_its_request_is_disconnected(seen):
    with connected(seen) as sock:
        for piece in (b"GET /health HT", b"TP/1.1\r\n", b"Host: d\r\n"):
            sock.sendall(piece)
        assert sock.recv(1) == b""


@pytest.mark.slow
def test_a_thousand_listeners_of_which_half_never_read_cost_little(seen_with, request):
    """One ring of events for all: memory stays flat, and the control plane answers at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * LISTENERS:
        pytest.skip("a process may not have so many descriptors here")
    if soft < 2 * LISTENERS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (2 * LISTENERS, hard))
        request.addfinalizer(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)))
    seen = seen_with('daemon = Daemon("seen", http=True)')
    listeners = []
    try:
        for _ in range(LISTENERS):
            sock = connected(seen)
            sock.sendall(EVENTS)
            listeners.append(sock)
        for sock in listeners:
            assert sock.recv(100).startswith(b"HTTP/1.1 200")
            sock.setblocking(False)
        listening_bytes = memory_of(seen)
        took_s = []
        readers = itertools.cycle(listeners[::2])
        for number in range(2000):
            if number % 100 == 0:
                seen.call("Add", a=number)
            began_s = time.monotonic()
            assert say(seen, b"PING\n", b"\n") == "PONG\n"
            took_s.append(time.monotonic() - began_s)
            for _ in range(8):
                with contextlib.suppress(BlockingIOError):
                    next(readers).recv(1 << 16)
        assert memory_of(seen) < 1.3 * listening_bytes
        assert sorted(took_s)[len(took_s) // 2] < 0.005
    finally:
        for sock in listeners:
            sock.close()
    wait_until(lambda: seen.get("/v1/rates").json["connections"] < 10, what="the listeners to be gone")


def _agree(seen, steps, seed):
    """Act by one dialect, look by the others."""
    choose = random.Random(seed)
    paused = False
    for step in range(steps):
        word, by = choose.choice(["pause", "resume", "status"]), choose.choice(["http", "text", "varlink"])
        done = act(seen, word, by)
        if word != "status":
            assert done is (paused is (word == "resume")), (step, word, by)
            paused = word == "pause"
        state = "paused" if paused else "running"
        assert [look(seen, one) for one in ("http", "text", "varlink")] == [state] * 3, (step, word, by)


def say(seen, data, end):
    with connected(seen) as sock:
        sock.sendall(data)
        answer = b""
        while not answer.endswith(end) and (piece := sock.recv(1 << 16)):
            answer += piece
        return answer.decode()


def varlink(seen, method):
    return say(seen, b'{"method":"org.daemonry.Control.%s","parameters":{}}\0' % method.encode(), b"\0")


def act(seen, word, by):
    """Do it, and say whether that changed anything."""
    if by == "http":
        return seen.post(f"/v1/{word}").json["changed"] if word != "status" else bool(seen.get("/v1/status"))
    if by == "text":
        return say(seen, f"{word.upper()}\n".encode(), b"\n").startswith("OK")
    method = {"pause": "Pause", "resume": "Resume", "status": "GetStatus"}[word]
    return '"error"' not in varlink(seen, method)


def look(seen, by):
    if by == "http":
        return seen.get("/v1/status").json["state"]
    text = say(seen, b"STATUS\n", b"\n") if by == "text" else varlink(seen, "GetStatus")
    return "paused" if '"paused"' in text else "running"


def test_all_dialects_agree_on_the_state(seen):
    _agree(seen, 100, 1)


@pytest.mark.slow
def test_all_dialects_agree_on_the_state_for_long(seen):
    _agree(seen, 1000, 2)
