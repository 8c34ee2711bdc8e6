"""HTTP on a daemon's own socket: the same state, the same calls and the same errors as in any dialect."""

import json
import socket

import pytest

from daemonry.testing import wait_until


def test_the_routes_answer_as_the_other_dialects_do(seen):
    """One daemon for all of it: starting one takes longer than asking it."""
    status = seen.get("/v1/status").json
    assert status["state"] == "running"
    assert status["version"] == "1.2"
    told = seen.sandbox.daemonry("status", "seen", "--json").json()
    assert {**told, "uptime_secs": 0} == {**status, "uptime_secs": 0}
    assert seen.get("/health").json == {"live": True, "ready": True, "reasons": []}
    assert seen.call("Add", a=3).json == {"result": 4}
    assert seen.call("Add", a=3.0, b=-1.0).json == {"result": 2}  # JSON has one kind of number
    assert seen.call("Keep", job={"id": 2, "tags": []}, names={"x": {}}).json["id"] == 2
    _errors_are_problems(seen)
    _pause_holds_for_calls(seen)
    _streams_are_events(seen)
    _queries_are_checked(seen)


def _errors_are_problems(seen):
    for answer, status, error in (
        (seen.call("Add", a="3"), 400, "org.varlink.service.InvalidParameter"),
        (seen.call("Add", a=3, c=1), 400, "org.varlink.service.InvalidParameter"),
        (seen.call("Ad"), 404, "org.varlink.service.MethodNotFound"),
        (seen.post("/v1/call/org.example.nix/X"), 404, "org.varlink.service.InterfaceNotFound"),
        (seen.call("Find", name="x"), 409, "org.example.tries.NoSuch"),
        (seen.call("Fail"), 500, "org.daemonry.Control.Failed"),
    ):
        assert answer.status == status, answer
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json["status"] == status
        assert answer.json["error"] == error
    assert seen.call("Fail").json["detail"] == "ValueError: bad thing"
    assert seen.get("/nix").status == 404
    refused = seen.ask("PUT", "/health")
    assert (refused.status, set(refused.headers["Allow"].split(", "))) == (405, {"GET", "HEAD"})
    for body, headers, status in (
        ("a=1", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b"{}", {"Content-Type": ""}, 415),
        (b"\xff", {}, 400),
        ('{"a":1,"a":2}', {}, 400),
        ("[]", {}, 400),
        ("NaN", {}, 400),
        ("[" * 9999, {}, 400),
    ):
        assert seen.post("/v1/call/org.example.tries/Add", body, headers=headers).status == status, body
    for body in ('{"name": "a\\u0000b"}', '{"name\\u0000": "a"}'):  # no message may have one
        answer = seen.post("/v1/call/org.example.tries/Find", body)
        assert (answer.status, answer.json["detail"]) == (400, "The body has a NUL character in a string.")


def _pause_holds_for_calls(seen):
    assert seen.post("/v1/pause").json == {"state": "paused", "changed": True, "note": ""}
    assert seen.post("/v1/pause").json == {"state": "paused", "changed": False, "note": ""}
    assert seen.get("/health").status == 503
    assert seen.get("/health").json["reasons"] == ["paused"]
    refused = seen.call("Add", a=1)
    assert (refused.status, refused.json["error"]) == (503, "org.daemonry.Control.Paused")
    assert refused.headers["Retry-After"]
    assert seen.call("Look").status == 200  # it reads
    assert seen.sandbox.daemonry("resume", "seen").code == 0
    assert seen.post("/v1/resume").json["changed"] is False
    assert seen.post("/v1/reload").json["state"] == "running"


def _streams_are_events(seen):
    answer = seen.call("Count", to=2)
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.body.decode().split("\n\n")[1:-1] == [
        'event: reply\ndata: {"result":0}',
        'event: reply\ndata: {"result":1}',
        "event: end\ndata: {}",
    ]


def _queries_are_checked(seen):
    assert len(seen.get("/v1/logs?lines=1").json["lines"]) == 1
    failed = seen.get("/v1/logs?level=error&grep=FAIL").json["lines"]
    assert failed
    assert all("ValueError" in line["trace"] for line in failed)
    for query in ("line=1", "lines=x", "lines=1&lines=1", "level=loud", "since=now", "follow=perhaps"):
        assert seen.get(f"/v1/logs?{query}").status == 400, query
    assert "did you mean 'lines'" in seen.get("/v1/logs?line=1").json["detail"]


def test_events_begin_with_the_state_and_tell_each_change_and_call(seen):
    stream = seen.events("/v1/events?parameters=true")
    events = iter(stream)
    first = next(events)
    assert (first[0], first[1]["state"]) == ("state", "running")
    seen.sandbox.daemonry("pause", "seen")
    assert next(one for one in events if one[0] == "state")[1]["state"] == "paused"
    seen.call("Look")
    begun = next(one for one in events if one[0] == "call")
    assert (begun[1]["event"], begun[1]["parameters"]) == ("begin", {})
    ended = next(one for one in events if one[0] == "call")
    stream.close()
    seen.post("/v1/resume")
    seen.call("Fail")
    again = seen.events("/v1/events?parameters=true", {"Last-Event-ID": ended[2]})
    events = iter(again)
    assert next(events)[0] == "state"
    missed = [next(events) for _ in range(3)]
    assert [one[0] for one in missed] == ["state", "call", "call"]
    assert missed[2][1]["error"] == "org.daemonry.Control.Failed"
    again.close()
    plain = seen.events("/v1/events?topics=call")
    events = iter(plain)
    next(events)
    seen.call("Add", a=1)
    assert "parameters" not in next(events)[1]
    plain.close()


def test_a_caller_who_goes_away_has_the_call_cancelled(seen):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(seen.path)
        body = json.dumps({"seconds": 30})
        head = "POST /v1/call/org.example.tries/Nap HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n"
        sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        running = lambda: "daemonry_calls_running 1.0" in seen.get("/metrics").body.decode()  # noqa: E731
        wait_until(running, what="the call to run")
    wait_until((seen.sandbox.path / "cancelled").exists, what="the cancellation")


def test_the_end_is_told_to_streams_and_to_whoever_asked_for_it(seen):
    stream = seen.events()
    counting = seen.events("/v1/logs?follow=true")
    assert seen.post("/v1/stop").status == 202
    assert stream.until(lambda one: one[0] == "end")[1]["error"] == "org.daemonry.Control.Draining"
    counting.close()
    stream.close()
    wait_until(lambda: seen.instance.lock_held() is False, what="the end")


def test_metrics_count_calls_by_method_and_outcome(seen):
    seen.get("/metrics")
    seen.call("Add", a=1)
    seen.call("Fail")
    text = seen.get(
        "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    ).body.decode()
    assert text.endswith("# EOF\n")
    assert 'daemonry_calls_total{method="org.example.tries.Add",outcome="ok"} 1.0' in text
    assert 'daemonry_calls_total{method="org.example.tries.Fail",outcome="failed"} 1.0' in text
    assert 'daemonry_call_duration_seconds_count{method="org.example.tries.Add"} 1' in text
    assert 'daemonry_state{state="running"} 1.0' in text
    assert "process_resident_memory_bytes" in text


def test_every_method_is_described(seen):
    document = seen.get("/openapi.json").json
    add = document["paths"]["/v1/call/org.example.tries/Add"]["post"]
    schema = add["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["a"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["a"]["type"] == "integer"
    count = document["paths"]["/v1/call/org.example.tries/Count"]["post"]
    assert list(count["responses"]["200"]["content"]) == ["text/event-stream"]
    assert "/v1/call/org.daemonry.Control/GetStatus" in document["paths"]


def test_without_http_a_request_is_a_line_as_any_other(sandbox):
    sandbox.start(sandbox.write("plain.py", 'from daemonry import Daemon\ndaemon = Daemon("plain")\n'))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(sandbox.place("plain").socket_path)
        sock.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert sock.recv(200).startswith(b"ERR: Unknown command")


def test_nothing_third_party_is_loaded_before_the_first_request(sandbox):
    program = """
import os, sys
from daemonry import Daemon, Http
daemon = Daemon("lazy", http=Http(port=0))
@daemon.status
def fields():
    return {"loaded": sorted({"h11", "prometheus_client", "starlette", "uvicorn"} & set(sys.modules))}
"""
    sandbox.start(sandbox.write("lazy.py", program))
    assert sandbox.daemonry("status", "lazy", "--json").json()["loaded"] == []


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"DAEMONRY_HTTP": "0.0.0.0:0"}, "beyond loopback"),
        ({"DAEMONRY_HTTP": "onn"}, "did you mean 'on'"),
    ],
)
def test_bad_settings_of_an_operator_are_refused_in_one_line(sandbox, variables, reason):
    sandbox.env.update(variables)
    target = sandbox.write("plain.py", 'from daemonry import Daemon\ndaemon = Daemon("plain")\n')
    started = sandbox.daemonry("start", target)
    assert started.code == 1
    assert reason in started.err
    assert "Traceback" not in started.err


@pytest.mark.parametrize("given", ["'tcp:127.0.0.1:8000'", "8000"])
def test_http_that_is_no_settings_is_refused_in_one_line(sandbox, given):
    program = f'from daemonry import Daemon\ndaemon = Daemon("plain", http={given})\n'
    started = sandbox.daemonry("start", sandbox.write("plain.py", program))
    assert started.code == 1
    assert started.err == (
        f"plain: start failed (bind): Daemon(http=...): {given} is neither True nor an Http(port=...)\n"
    )
