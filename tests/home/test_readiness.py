"""The six ways to show to be ready, each with its end in time, and each reason when it is not."""

import asyncio
import os
import sys
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from daemonry.home.run import process_run
from daemonry.home.run.commands import Commands
from daemonry.testing import wait_until

NOTIFY = """
import os, socket, sys, time
name = os.environ["NOTIFY_SOCKET"]
told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
told.connect("\\0" + name[1:] if name[0] == "@" else name)
for message in sys.argv[1:]:
    told.send(message.encode())
time.sleep(600)
"""
LISTEN = """
import os, socket, time
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(os.environ["DAEMONRY_SOCKET"])
    listener.listen()
    time.sleep(600)
"""
HTTP = """
import http.server, os, socketserver, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(sys.argv[1]))
        self.end_headers()
    def address_string(self):
        return "local"
with socketserver.UnixStreamServer(os.environ["DAEMONRY_SOCKET"], Handler) as server:
    server.serve_forever()
"""
MESSAGE = 'import os, time; os.write(int(os.environ["DAEMONRY_READY_FD"]), {}); time.sleep(600)'
FAILS = MESSAGE.format(b'{"failed": {"stage": "bind", "error": "no port"}}\n')
FAILS_AND_ENDS = FAILS.replace("time.sleep(600)", "os._exit(5)")
CLOSES = "import os, time; os.close(int(os.environ['DAEMONRY_READY_FD'])); time.sleep(600)"


def py(script, *words):
    return [sys.executable, "-c", script, *words]


def sh(text):
    return ["sh", "-c", text]


@pytest.mark.parametrize(
    ("command", "ready"),
    [
        (py(MESSAGE.format(b'{"stage": "warm"}\n{"ready": {}}\n')), "{ message = true }"),
        (sh("echo '{\"ready\": {}}' >/dev/fd/$DAEMONRY_READY_FD; exec sleep 600"), "{ message = true }"),
        (py(NOTIFY, "STATUS=warm\nREADY=1"), "{ notify = true }"),
        (py(LISTEN), "{ socket = true }"),
        (py(HTTP, "204"), '{ http = "/x?y" }'),
        (py(HTTP, "503"), '{ http = "/", status = 503 }'),
        (sh("touch here; exec sleep 600"), '{ command = ["test", "-e", "here"] }'),
        (sh("echo one; echo two >&2; exec sleep 600"), '{ output = "tw.$" }'),
    ],
    ids=["message", "message of a shell", "notify", "socket", "http", "status", "command", "output"],
)
def test_each_way_to_be_ready(shop, service, command, ready):
    shop.write(service("a", command, ready=ready))
    shop.up()
    assert shop.ps()["a"]["state"] == "ready"


def test_a_stage_of_the_start_is_not_shown_any_more_when_it_is_ready(shop, service):
    told = py(MESSAGE.format(b'{"stage": "warm"}\n{"ready": {}}\n'))
    shop.write(service("a", told, ready="{ message = true }"))
    shop.up()
    assert shop.ps()["a"]["note"] is None


def test_a_daemon_of_ours_is_ready_by_its_own_message(shop, service):
    """The same message that `daemonry start` waits for."""
    (shop.path / "probe.py").write_text("from daemonry import Daemon\ndaemon = Daemon('probe')\n")
    command = [sys.executable, "-m", "daemonry", "run", "probe.py"]
    keys = {"inherit": '["DAEMONRY_SANDBOX", "XDG_RUNTIME_DIR"]'}
    shop.write(service("a", command, ready="{ message = true }", **keys))
    shop.up()
    assert shop.sandbox.daemonry("ping", "probe").out == "probe: answers\n"
    shop.down()
    assert shop.sandbox.daemonry("status", "probe").code == 3


@pytest.mark.parametrize(
    ("command", "ready", "reason"),
    [
        (["sleep", "600"], "message = true", "no message"),
        (py(MESSAGE.format(b'{"stage": "migrate"}\n')), "message = true", "it says: migrate"),
        (["sleep", "600"], "notify = true", "no READY=1"),
        (py(NOTIFY, "STATUS=indexing"), "notify = true", "it says: indexing"),
        (["sleep", "600"], "socket = true", "a.sock"),
        (["sleep", "600"], 'socket = "tcp:127.0.0.1:1"', "127.0.0.1:1"),
        (py(HTTP, "500"), 'http = "/"', "/ answers with 500"),
        (
            py(
                LISTEN.replace(
                    "time.sleep(600)", "c, _ = listener.accept(); c.sendall(b'hello\\n'); time.sleep(600)"
                )
            ),
            'http = "/"',
            "does not answer in HTTP",
        ),
        (["sleep", "600"], 'http = "http://127.0.0.1:1/"', "Connect call failed"),
        (["sleep", "600"], 'command = ["sh", "-c", "exit 3"]', "sh exited with 3"),
        (sh("echo warming; exec sleep 600"), 'output = "^ready"', "no line with '^ready'"),
    ],
)
def test_not_in_time_is_told_with_what_was_seen_last_and_ended(shop, service, command, ready, reason):
    shop.write(service("a", command, ready=f'{{ {ready}, timeout = "700ms" }}', restart='"never"'))
    assert shop.cli("up").code == 1
    found = shop.ps()["a"]
    assert found["state"] == "failed"
    assert found["note"].startswith("given up: not ready within 0.7 s: ")
    assert reason in found["note"]
    assert found["pid"] is None


@pytest.mark.parametrize(
    ("command", "ready", "reason"),
    [
        (
            py(FAILS),
            "message = true",
            "no port (bind)",
        ),
        (py(CLOSES), "message = true", "it closed its ready pipe without a word"),
        (py(NOTIFY, "ERRNO=13"), "notify = true", "it says 'Permission denied'"),
        (
            py(FAILS_AND_ENDS),
            "message = true",
            "no port (bind)",
        ),
        (sh("exit 5"), "message = true", "exited with 5"),
    ],
    ids=["failed", "closed", "errno", "failed and ended", "ended"],
)
def test_what_says_that_it_will_not_be_ready_is_believed_at_once(shop, service, command, ready, reason):
    shop.write(service("a", command, ready=f'{{ {ready}, timeout = "10m" }}', restart='"never"'))
    assert shop.cli("up").code == 1
    assert shop.ps()["a"]["note"] == f"given up: {reason}"


def test_a_socket_of_another_process_does_not_make_it_ready(shop, service):
    """A leftover of an earlier run, or a mistake in a path."""
    listen = LISTEN.replace('os.environ["DAEMONRY_SOCKET"]', '"a.sock"')
    stranger = shop.sandbox.popen(sys.executable, "-c", f"import os\nos.chdir({str(shop.path)!r})\n{listen}")
    wait_until((shop.path / "a.sock").exists)
    try:
        shop.write(
            service("a", ["sleep", "600"], ready='{ socket = true, timeout = "1s" }', restart='"never"')
        )
        shop.cli("up")
        assert f"is answered by another process (pid {stranger.pid})" in shop.ps()["a"]["note"]
    finally:
        stranger.kill()
        stranger.communicate()
        os.unlink(shop.path / "a.sock")


def test_a_stale_socket_is_out_of_the_way_before_a_service_starts(shop, service):
    """Most programs cannot bind where one is."""
    import socket

    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(shop.path / "a.sock"))
    shop.write(service("a", py(LISTEN), ready='{ socket = true, timeout = "20s" }'))
    shop.up()
    shop.kill_supervisor()
    shop.wait_nothing()
    shop.up()


def test_what_a_service_says_of_itself_is_shown(shop, service):
    shop.write(service("a", py(NOTIFY, "READY=1", "STATUS=3 books"), ready="{ notify = true }"))
    shop.up()
    assert wait_until(lambda: shop.ps()["a"]["note"]) == "3 books"


@pytest.mark.parametrize("turns", range(6))
def test_a_command_that_ends_as_it_is_given_up_is_given_up(turns):
    """`down` ends the attempts to see readiness.  One that took the end for itself would go on for ever."""

    async def work():
        ended = asyncio.get_running_loop().create_future()

        async def sweep():
            await asyncio.sleep(0)

        started = Mock(ended=ended, sweep=sweep)
        process = SimpleNamespace(directory="/", environment={})
        commands = Commands(lambda: process, Mock(), Mock())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(process_run, "start", lambda *arguments: started)
            running = asyncio.create_task(commands.run(("false",), 60.0))
            await asyncio.sleep(0)
            ended.set_result(1)
            for _ in range(turns):
                await asyncio.sleep(0)
            was_running = running.cancel()
            await asyncio.wait([running])
        assert running.cancelled() if was_running else running.result() == 1

    asyncio.run(work())


def test_a_service_that_is_not_ready_yet_can_be_stopped(shop, service):
    shop.write(service("a", ready='{ command = ["false"], timeout = "1h" }'))
    with shop.foreground() as process:
        shop.wait_event("a", "started")
        assert shop.cli("down").code == 0
        process.communicate()
    shop.wait_nothing()
