"""A home's supervisor answers the same routes, and its services are called as any typed method."""

import http.client
import json
import os
import socket

import pytest
from tests.http.conftest import OverUnix

HOME = """
http = {http}
[services.db]
command = ["sleep", "1000"]
[services.web]
command = ["sleep", "1000"]
needs = ["db"]
"""


@pytest.fixture
def home(sandbox):
    directory = sandbox.path / "h"
    directory.mkdir()
    (directory / "home.toml").write_text(HOME.format(http="0"))
    up = sandbox.daemonry("up", "--home", directory)
    assert up.code == 0, up
    yield directory
    assert sandbox.daemonry("down", "--home", directory).code == 0
    assert not (directory / "home.http.token").exists()


def ask(path, verb, where, body=None):
    connection = OverUnix(path)
    connection.request(
        verb, where, None if body is None else json.dumps(body), {"Content-Type": "application/json"}
    )
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, json.loads(text) if text.startswith("{") else text


def test_a_home_is_seen_and_steered_by_http(sandbox, home):
    path = str(home / "home.sock")
    status = ask(path, "GET", "/v1/status")[1]
    assert (status["state"], status["ready"]) == ("running", 2)
    assert ask(path, "GET", "/health") == (200, {"live": True, "ready": True, "reasons": []})
    stopped = ask(path, "POST", "/v1/call/org.daemonry.Home/Stop", {"service": "web"})
    assert (stopped[0], stopped[1]["state"]) == (200, "stopped")
    assert ask(path, "GET", "/health") == (503, {"live": True, "ready": False, "reasons": ["web: stopped"]})
    code, problem = ask(path, "POST", "/v1/call/org.daemonry.Home/Stop", {"service": "wep"})
    assert (code, problem["error"]) == (409, "org.daemonry.Home.NoSuchService")
    assert ask(path, "POST", "/v1/pause", {})[0] == 404
    assert 'daemonry_service_ready{service="db"} 1.0' in ask(path, "GET", "/metrics")[1]
    assert ask(path, "GET", "/v1/logs?grep=web")[1]["lines"]
    url = sandbox.daemonry("ui", f"unix:{path}").out.strip()
    host, port = url.removeprefix("http://").split("/")[0].split(":")
    page = http.client.HTTPConnection(host, int(port))
    page.request("GET", "/")
    assert b"/ui/main.js" in page.getresponse().read()
    page.close()


def test_the_resources_of_services_and_their_logs_are_there_by_name_and_together(home):
    path = str(home / "home.sock")
    uses = ask(path, "POST", "/v1/call/org.daemonry.Home/Uses", {})[1]["result"]
    assert [one["name"] for one in uses] == ["db", "web"]
    if os.path.exists("/proc/self/stat"):
        assert all(one["memory_bytes"] > 0 for one in uses)
    of_web = ask(path, "GET", "/v1/logs?service=web")[1]["lines"]
    assert any("ready" in line["message"] for line in of_web)
    assert all("service" not in line for line in of_web)
    of_all = ask(path, "GET", "/v1/logs?service=*&lines=3")[1]["lines"]
    assert len(of_all) == 3
    assert {line["service"] for line in of_all} <= {"db", "web"}
    assert [line["time"] for line in of_all] == sorted(line["time"] for line in of_all)
    code, problem = ask(path, "GET", "/v1/logs?service=wep")
    assert (code, "service" in problem["detail"]) == (400, True)
    assert ask(path, "GET", "/v1/parts")[1]["services"] == ["db", "web"]


def test_the_page_of_a_home_is_found_by_its_directory(sandbox, home):
    told = sandbox.daemonry("ui", "--home", home)
    assert (told.code, told.out.startswith("http://127.0.0.1:")) == (0, True)
    assert sandbox.daemonry("ui", "--home", home, "--json").json()["url"].startswith("http://")


def test_a_home_without_http_or_that_is_down_says_so(sandbox):
    directory = sandbox.path / "h"
    directory.mkdir()
    (directory / "home.toml").write_text(HOME.format(http="false"))
    assert sandbox.daemonry("ui", "--home", directory).code == 3
    assert sandbox.daemonry("up", "--home", directory).code == 0
    told = sandbox.daemonry("ui", "--home", directory)
    assert (told.code, "http = true" in told.err) == (1, True)
    assert sandbox.daemonry("down", "--home", directory).code == 0


def test_a_bad_address_in_a_home_s_file_is_refused_with_its_place(sandbox):
    directory = sandbox.path / "h"
    directory.mkdir()
    (directory / "home.toml").write_text(HOME.format(http='"0.0.0.0:80"'))
    up = sandbox.daemonry("up", "--home", directory)
    assert up.code == 1
    assert "home.toml:2:1: http: " in up.err
    assert "beyond loopback" in up.err


def test_up_and_ui_say_that_the_port_is_taken(sandbox):
    directory = sandbox.path / "h"
    directory.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        (directory / "home.toml").write_text(HOME.format(http=port))
        up = sandbox.daemonry("up", "--home", directory)
        ui = sandbox.daemonry("ui", "--home", directory)
        assert sandbox.daemonry("down", "--home", directory).code == 0
    reason = f"HTTP cannot listen at 127.0.0.1:{port}: Address already in use"
    told = f"h: {reason}; it runs without, and tries again\n"
    assert (up.code, up.err) == (0, told), "its services run all the same"
    assert ui.code == 1
    assert ui.err.endswith(f": {reason}\n")
