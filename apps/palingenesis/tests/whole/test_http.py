"""The original's HTTP API, on palingenesis's port; and its part of the page."""

from __future__ import annotations

import json
import socket
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

pytest.importorskip("starlette", reason="the extra `http` is not installed")
pytest.importorskip("prometheus_client", reason="the extra `http` is not installed")


class Api:
    """The port of a running palingenesis."""

    def __init__(self, app: Any) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        app.config(f"[daemon]\nhttp_enabled = true\nhttp_port = {port}\n")
        app.done("daemon", "start")
        self._url = f"http://127.0.0.1:{port}"
        self._token = next(Path(app.state_dir).rglob("palingenesis.http.token")).read_text().strip()

    def __call__(self, verb: str, path: str) -> tuple[int, Any]:
        request = urllib.request.Request(  # its own port
            self._url + path, method=verb, headers={"Authorization": f"Bearer {self._token}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, self._body(answer)
        except HTTPError as error:
            with error:
                return error.code, self._body(error)

    @staticmethod
    def _body(answer: Any) -> Any:
        if answer.headers["Content-Type"] == "text/event-stream":
            return [answer.readline().decode().strip() for _ in range(5)]
        text = answer.read().decode()
        return json.loads(text) if "json" in answer.headers["Content-Type"] else text


def test_the_original_s_routes_answer_as_it_did(app: Any) -> None:
    """One daemon for all of them: SEEDS, the table of the original's HTTP API."""
    api = Api(app)
    code, status = api("GET", "/api/v1/status")
    assert (code, status["success"]) == (200, True)
    assert {"state", "pid", "current_session", "stats", "config_summary"} == set(status["data"])
    assert set(status["data"]["stats"]) == {"uptime_secs", "saves_count", "total_resumes"}
    assert status["data"]["config_summary"]["http_enabled"] is True
    assert api("GET", "/api/v1/health")[1]["data"]["status"] == "ok"
    assert api("POST", "/api/v1/pause") == (200, {"success": True})
    code, again = api("POST", "/api/v1/pause")
    assert (code, again["error"]["code"]) == (400, "ALREADY_PAUSED")
    assert app.status()["state"] == "paused"
    assert api("GET", "/api/v1/health")[1]["data"]["issues"] == ["paused"]
    assert api("POST", "/api/v1/resume") == (200, {"success": True})
    assert api("POST", "/api/v1/resume")[1]["error"]["code"] == "NOT_PAUSED"
    assert api("POST", "/api/v1/new-session")[1]["error"]["code"] == "SESSION_ERROR"
    code, nothing = api("GET", "/api/v1/nix")
    assert (code, nothing["success"], nothing["error"]["code"]) == (404, False, "NOT_FOUND")
    assert "event: connected" in api("GET", "/api/v1/events")[1]
    assert "palingenesis_total_resumes_total 0.0" in api("GET", "/api/v1/metrics")[1]
    assert api("GET", "/v1/parts/sessions")[1] == {"sessions": []}
    assert "mount" in api("GET", "/parts/sessions.js")[1]
    app.done("daemon", "stop")


def test_without_the_setting_there_is_no_http(app: Any) -> None:
    app.done("daemon", "start")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(app.socket_path))
        sock.sendall(b"GET /api/v1/status HTTP/1.1\r\n\r\n")
        assert sock.recv(100).startswith(b"ERR: Unknown command")
    app.done("daemon", "stop")
