"""The TCP port: whoever has no token gets nothing, and nobody can take much."""

import os
import socket
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from daemonry.limits import HTTP_PORT_MOST, HTTP_REQUEST_S, WRONG_TOKEN_DELAY_S
from daemonry.testing import wait_until


def test_only_who_has_the_token_and_comes_from_nowhere_else_is_answered(seen):
    assert stat.S_IMODE(os.stat(seen.place.http_token_path).st_mode) == 0o600
    bearer = seen.bearer
    assert seen.get("/v1/status", port=True, headers=bearer).json["state"] == "running"
    for path in ("/v1/status", "/health", "/metrics", "/openapi.json", "/v1/events", "/nix"):
        answer = seen.get(path, port=True)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer"), path
        assert b"running" not in answer.body
    for headers, status in (
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ):
        assert seen.post("/v1/pause", {}, port=True, headers={**bearer, **headers}).status == status
    form = {**bearer, "Content-Type": "application/x-www-form-urlencoded"}
    assert seen.post("/v1/pause", "a=1", port=True, headers=form).status == 415
    assert seen.get("/v1/status").json["state"] == "running"


def test_a_token_that_others_could_read_is_replaced_and_named_in_the_log(seen):
    path, old = Path(seen.place.http_token_path), seen.bearer
    path.chmod(0o644)
    assert seen.sandbox.daemonry("restart", seen.program).code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f"{path} was open to others (mode 0644): a new token" in Path(seen.place.log_path).read_text()
    assert seen.get("/v1/status", port=True, headers=old).status == 401
    assert seen.get("/v1/status", port=True, headers=seen.bearer).status == 200


def test_a_wrong_token_is_answered_late_and_counted(seen):
    began_s = time.monotonic()
    answer = seen.get("/v1/status", port=True, headers={"Authorization": "Bearer nix"})
    assert answer.status == 401
    assert time.monotonic() - began_s >= WRONG_TOKEN_DELAY_S
    assert seen.get("/v1/status").json["http_wrong_tokens"] == 1


def memory_of(seen):
    """The daemon's resident memory, in bytes."""
    text = seen.get("/metrics").body.decode()
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("process_resident"))


@pytest.mark.slow
def test_a_thousand_wrong_tokens_leave_the_daemon_as_it_was(seen):
    """They wait for their answers side by side, and others are served meanwhile."""
    address, size = seen.address, memory_of(seen)
    request = f"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1:{address[1]}\r\nAuthorization: Bearer x\r\n\r\n"

    def wrong(_number):
        with socket.create_connection(address, timeout=30) as sock:
            try:
                sock.sendall(request.encode())
                return sock.recv(100)[:12]
            except OSError:
                return b""

    with ThreadPoolExecutor(300) as threads:
        answers = threads.map(wrong, range(1000))
        slowest_s = 0.0
        for _ in range(50):
            began_s = time.monotonic()
            assert seen.get("/health").status == 200
            slowest_s = max(slowest_s, time.monotonic() - began_s)
            time.sleep(0.02)
        assert set(answers) <= {b"HTTP/1.1 401", b""}
    assert seen.get("/v1/status", port=True, headers=seen.bearer).status == 200
    assert memory_of(seen) < 1.5 * size


def test_a_one_time_code_is_worth_a_token_once(seen):
    page = seen.post("/v1/call/org.daemonry.Control.Http/OpenPage").json
    address, _, code = page["url"].partition("/#code=")
    assert address == seen.url
    got = seen.post("/v1/session", {"code": code}, port=True)
    session = {"Authorization": f"Bearer {got.json['token']}"}
    assert seen.get("/v1/status", port=True, headers=session).status == 200
    assert seen.post("/v1/session", {"code": code}, port=True).status == 401
    assert seen.post("/v1/session", {"code": 3}, port=True).status == 401


def test_connections_without_a_token_make_room(seen):
    """Others than the daemon's user can open them, and must not keep its user out."""
    address, bearer = seen.address, seen.bearer
    idle = [socket.create_connection(address) for _ in range(HTTP_PORT_MOST + 20)]
    try:
        assert seen.get("/v1/status", port=True, headers=bearer).status == 200
        idle[0].settimeout(HTTP_REQUEST_S / 2)  # after that one it would have to go anyway
        assert idle[0].recv(1) == b""
    finally:
        for sock in idle:
            sock.close()


def test_a_port_that_is_taken_does_not_end_the_daemon(seen_with):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        seen = seen_with(f'daemon = Daemon("seen", http=Http(port={number}))')
        assert f"127.0.0.1:{number}" in seen.get("/v1/status").json["http_error"]
    wait_until(lambda: "http" in seen.get("/v1/status").json, what="the port")
    assert seen.get("/v1/status", port=True, headers=seen.bearer).status == 200


def test_the_token_goes_with_the_daemon_and_an_upgrade_keeps_the_port(sandbox, seen_with):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    seen = seen_with(f'daemon = Daemon("seen", http=Http(port={number}))')
    pid, token = seen.get("/v1/status").json["pid"], seen.token
    old = seen.instance.record().identity
    assert sandbox.daemonry("upgrade", "seen").code == 0
    wait_until(lambda: "http" in seen.get("/v1/status").json, what="the port of the new process")
    wait_until(lambda: not old.alive(), what="the end of the old process")
    status = seen.get("/v1/status", port=True, headers=seen.bearer).json
    assert status["pid"] != pid
    assert seen.token != token
    sandbox.daemonry("stop", "seen")
    assert not Path(seen.place.http_token_path).exists()


def test_an_upgrade_ends_a_stream_of_events_at_once(seen):
    """Its client is to follow the process that is the daemon now, not the one that ends."""
    stream = seen.events()
    pid = next(iter(stream))[1]["pid"]
    began_s = time.monotonic()
    old = seen.instance.record().identity
    assert seen.sandbox.daemonry("upgrade", "seen").code == 0
    assert stream.until(lambda one: one[0] == "end")[1]["error"] == "org.daemonry.Control.Draining"
    assert time.monotonic() - began_s < 8
    stream.close()
    again = seen.events()
    assert next(iter(again))[1]["pid"] != pid
    again.close()
    wait_until(lambda: not old.alive(), what="the end of the old process")


def test_the_port_passes_on_while_the_old_process_still_serves_a_call(seen_with):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    seen = seen_with(f'daemon = Daemon("seen", http=Http(port={number}))')
    head = "POST /v1/call/org.example.tries/Nap HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(seen.path)
        sock.sendall(f'{head}Content-Length: 15\r\n\r\n{{"seconds": 30}}'.encode())
        running = lambda: "daemonry_calls_running 1.0" in seen.get("/metrics").body.decode()  # noqa: E731
        wait_until(running, what="the call to run")
        old = seen.instance.record().identity
        assert seen.sandbox.daemonry("upgrade", "seen").code == 0
        wait_until(lambda: "http" in seen.get("/v1/status").json, 5, what="the port of the new process")
    wait_until(lambda: not old.alive(), what="the end of the old process")


def test_a_start_says_in_one_line_that_the_port_is_taken(sandbox):
    """The daemon serves all the same; a start that said no more would send people to look for a page."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        program = sandbox.write(
            "late.py", f'from daemonry import Daemon, Http\ndaemon = Daemon("late", http=Http(port={port}))\n'
        )
        started = sandbox.daemonry("start", program)
        again = sandbox.daemonry("restart", "late", "--json")
    reason = f"HTTP cannot listen at 127.0.0.1:{port}: Address already in use"
    told = f"late: {reason}; it runs without, and tries again\n"
    assert (started.code, started.err) == (0, told)
    assert started.out.startswith("late: ready at ")
    assert (again.code, again.err) == (0, told)
    assert sandbox.daemonry("stop", "late").code == 0
    free = sandbox.daemonry("start", program)
    assert (free.code, free.err) == (0, "")
