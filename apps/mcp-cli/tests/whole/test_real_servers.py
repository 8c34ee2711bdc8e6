"""Servers that nobody here wrote: over pipes and over HTTP, with the daemon, with only it, and without it."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from daemonry.testing import wait_until

SCRIPT = Path(__file__).parents[2] / "scripts/test-servers"
MODES = {"auto": (), "require": ("--require-daemon",), "direct": ("--no-daemon",)}

pytestmark = pytest.mark.slow


@functools.cache
def installed() -> Path | str:
    """Where the servers are, or why they are not there."""
    if shutil.which("node") is None:
        return "node is not installed"
    done = subprocess.run([SCRIPT], capture_output=True, text=True, timeout=600, check=False)
    return Path(done.stdout.strip()) if done.returncode == 0 else f"cannot be installed: {done.stderr[-300:]}"


@pytest.fixture
def servers() -> Path:
    found = installed()
    if isinstance(found, str):
        pytest.skip(found)
    return found


def everything(servers: Path) -> str:
    return str(servers / "node_modules/@modelcontextprotocol/server-everything/dist/index.js")


@contextlib.contextmanager
def listening(servers: Path, kind: str, port: int = 0) -> Iterator[int]:
    """server-everything over HTTP, and its port: any by default."""
    if not port:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    process = subprocess.Popen(
        ["node", everything(servers), kind],
        env={**os.environ, "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(answers, 30)
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def over_http(servers: Path) -> Iterator[str]:
    """The URL of server-everything over streamable HTTP."""
    with listening(servers, "streamableHttp") as port:
        yield f"http://127.0.0.1:{port}/mcp"


@pytest.fixture
def ours(app, servers, over_http):
    """`mcp-cli` with all of them configured, and its daemon running."""
    root = app.sandbox.path / "files"
    root.mkdir()
    (root / "one.txt").write_text("the first\n")
    files = servers / "node_modules/@modelcontextprotocol/server-filesystem/dist/index.js"
    app.config(f"""
        [[servers]]
        name = "every"
        transport = {{ type = "stdio", command = "node", args = {json.dumps([everything(servers)])} }}

        [[servers]]
        name = "web"
        transport = {{ type = "http", url = {json.dumps(over_http)} }}

        [[servers]]
        name = "files"
        transport = {{ type = "stdio", command = "node", args = {json.dumps([str(files), str(root)])} }}

        [[servers]]
        name = "time"
        transport = {{ type = "stdio", command = {json.dumps(str(servers / "python/bin/mcp-server-time"))} }}
    """)
    assert app("daemon", "start").code == 0
    return app


@pytest.mark.parametrize("mode", MODES)
def test_tools_are_listed_and_called_in_each_mode(ours, mode):
    words = MODES[mode]
    listed = ours(*words, "list", "--json")
    assert listed.code == 0, listed
    assert all(
        name in listed.out for name in ("trigger-long-running-operation", "read_text_file", "convert_time")
    )
    for server in ("every", "web"):
        assert ours.done(*words, "call", f"{server}/echo", "message=hé") == "Echo: hé\n"
        assert "5" in ours.done(*words, "call", f"{server}/get-sum", "a=2", "b=3")
        exact = ours(*words, "call", f"{server}/get-structured-content", "location=Chicago", "--json").json()
        assert exact["result"]["structuredContent"]["conditions"] == "Light rain / drizzle"
    path = ours.sandbox.path / "files/one.txt"
    assert ours.done(*words, "call", "files/read_text_file", f"path={path}") == "the first\n"
    outside = ours(*words, "call", "files/read_text_file", "path=/etc/hostname")
    assert outside.code == 1
    assert "denied" in outside.err
    said = ours(
        *words, "call", "time/convert_time", "source_timezone=UTC", "time=12:00", "target_timezone=Asia/Tokyo"
    )
    assert "21:00" in said.out, said


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("server", ["every", "web"])
def test_resources_and_prompts_in_each_mode(ours, mode, server):
    words = MODES[mode]
    resources = ours(*words, "resources", server)
    assert resources.code == 0, resources
    assert "demo://resource/static/document/features.md" in resources.out
    read = ours(*words, "read", "demo://resource/static/document/features.md", "--server", server)
    if read.code == 2:
        read = ours(*words, "read", server, "demo://resource/static/document/features.md")
    assert read.code == 0, read
    assert "Tools" in read.out
    prompts = ours(*words, "prompts", server)
    assert prompts.code == 0
    assert "simple-prompt" in prompts.out


@pytest.mark.parametrize("mode", ["auto", "direct"])
def test_the_transport_of_2024_is_found_by_itself(app, servers, mode):
    with listening(servers, "sse") as port:
        app.config(f"""
            [[servers]]
            name = "old"
            transport = {{ type = "http", url = "http://127.0.0.1:{port}/sse" }}
        """)
        assert app.done(*MODES[mode], "call", "old/echo", "message=hé") == "Echo: hé\n"


def test_a_server_over_http_that_is_started_again_is_found_again(app, servers):
    with listening(servers, "streamableHttp") as port:
        app.config(f"""
            [[servers]]
            name = "web"
            transport = {{ type = "http", url = "http://127.0.0.1:{port}/mcp" }}
        """)
        assert app.done("call", "web/echo", "message=1") == "Echo: 1\n"
    gone = app("call", "web/echo", "message=2")
    assert gone.code == 1, gone  # nothing ran, and that is known
    assert "cannot connect" in gone.err
    with listening(servers, "streamableHttp", port) as _:
        assert app("call", "web/echo", "message=3").out == "Echo: 3\n"
    with listening(servers, "streamableHttp", port) as _:
        # It has forgotten the session that the daemon has with it: the call is made again in a new one.
        assert app("call", "web/echo", "message=4").out == "Echo: 4\n"


def test_each_revision_that_the_sdk_negotiates(ours):
    said = {name: ours("info", name, "--json") for name in ("every", "web", "time")}
    assert all(one.code == 0 for one in said.values()), said
    assert "2025-11-25" in said["every"].out
    assert "2025-11-25" in said["web"].out
    assert "2026-07-28" in said["time"].out


def test_a_hundred_calls_at_once_from_as_many_commands(ours):
    def one(number: int) -> str:
        return ours.done("call", "every/echo", f"message={number}")

    ours.done("call", "every/echo", "message=warm")
    with ThreadPoolExecutor(10) as threads:
        assert list(threads.map(one, range(100))) == [f"Echo: {number}\n" for number in range(100)]


@pytest.mark.parametrize("server", ["every", "web"])
def test_progress_and_cancellation(ours, server):
    import signal

    ended = ours(
        "call", f"{server}/trigger-long-running-operation", "duration=1", "steps=4", "--timeout", "0.6"
    )
    assert ended.code == 0, ended
    silent = ours(
        "call", f"{server}/trigger-long-running-operation", "duration=9", "steps=1", "--timeout", "0.6"
    )
    assert silent.code in (5, 6), silent
    command = ours.popen("call", f"{server}/trigger-long-running-operation", "duration=30", "steps=30")
    wait_until(lambda: ours("daemon", "status", "--json").json().get("calls") == 1)
    command.send_signal(signal.SIGINT)
    command.communicate(timeout=10)
    assert command.returncode != 0
    wait_until(lambda: ours("daemon", "status", "--json").json().get("calls") == 0)
    assert ours.done("call", f"{server}/echo", "message=next") == "Echo: next\n"


def test_nothing_is_left_of_them_when_the_daemon_is_stopped(ours):
    """The servers run in processes of their own, which end with the daemon."""
    ours.done("call", "every/echo", "message=x")
    assert ours("daemon", "stop").code == 0
    assert not ours.sandbox.leftovers()
