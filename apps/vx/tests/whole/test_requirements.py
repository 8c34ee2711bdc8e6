"""V1 to V19, what the documents require of vx, one by one."""

from __future__ import annotations

import ast
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from daemonry import Endpoint, connect, listen, try_connect
from daemonry.testing import wait_until
from vx import home

SOURCE = Path(importlib.util.find_spec("vx").origin).parent
BIN = Path(sys.executable).parent


MAIN_2 = 'fn main() { println!("two"); }\n'


@pytest.fixture(params=["unix", "tcp"])
def listener(request, socket_path):
    text = f"unix:{socket_path}" if request.param == "unix" else "tcp:127.0.0.1:0"
    with listen(text) as one:
        yield one


def test_v1_an_endpoint_is_tcp_or_unix() -> None:
    assert home.endpoint("cass", {"VX_CASS": "tcp:127.0.0.1:9002"}).kind == "tcp"
    assert home.endpoint("cass", {"VX_CASS": "unix:/x/cass.sock"}).kind == "unix"
    assert home.endpoint("cass", {"VX_CASS": "/x/cass.sock"}) == Endpoint.unix("/x/cass.sock")


def test_v2_v3_a_stream_reads_and_writes_over_either(listener) -> None:
    def echo() -> None:
        accepted, _ = listener.accept(10)
        with accepted:
            accepted.write(accepted.read(timeout_s=10)[::-1], 10)

    thread = threading.Thread(target=echo)
    thread.start()
    with connect(listener.endpoint) as stream:
        stream.write(b"abc", 10)
        assert stream.read(timeout_s=10) == b"cba"
    thread.join()


def test_v4_try_connect_tells_absence_from_trouble(socket_path) -> None:
    assert try_connect(f"unix:{socket_path}") is None
    with listen(f"unix:{socket_path}"):
        stream = try_connect(f"unix:{socket_path}")
        assert stream is not None
        stream.close()


def test_v5_nobody_goes_round_the_one_layer() -> None:
    """No module of vx binds, connects or listens by itself."""
    forbidden = {
        "bind",
        "listen",
        "create_connection",
        "open_unix_connection",
        "start_unix_server",
        "start_server",
    }
    found = [
        f"{path.name}:{node.lineno} {node.func.attr}"
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in forbidden
    ]
    assert found == []


def test_v6_the_default_sockets_are_in_the_home() -> None:
    for service in ("aether", "cass", "rhea"):
        assert str(home.endpoint(service, {"VX_HOME": "/h"})) == f"unix:/h/{service}.sock"


@pytest.mark.slow
def test_v7_homes_are_isolated_and_need_no_port(rust, tmp_path) -> None:
    first, second = rust.crate("one"), rust.crate("two")
    other = {"VX_HOME": str(rust.sandbox.path / "other")}
    assert first.executed() == 1
    assert second.executed(**other) == 1  # the other home's store has it not
    pids = {rust.pid(service) for service in ("aether", "cass", "rhea")}
    assert len(pids) == 3
    assert _tcp_listeners(pids) == []
    assert second.vx("kill", **other).code == 0
    assert first.executed() == 0


def _tcp_listeners(pids: set[int]) -> list[str]:
    listening = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                listening.add(f"socket:[{fields[9]}]")
    return [
        f"{pid} {link}"
        for pid in pids
        for fd in Path(f"/proc/{pid}/fd").iterdir()
        if (link := os.readlink(fd)) in listening
    ]


def test_v8_a_socket_file_that_is_left_is_replaced(rust) -> None:
    rust.home.mkdir(mode=0o700)
    for service in ("aether", "cass", "rhea"):
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(str(rust.home / f"{service}.sock"))
        stale.close()
    assert rust.crate().executed() == 1


def test_v9_the_home_is_made(rust) -> None:
    project = rust.crate()
    deep = rust.sandbox.path / "not/there/yet"
    assert project.executed(VX_HOME=str(deep)) == 1
    assert (deep / "aether.sock").is_socket()
    assert deep.stat().st_mode & 0o077 == 0
    assert project.vx("kill", VX_HOME=str(deep)).code == 0


def test_v10_get_or_spawn(rust) -> None:
    project = rust.crate()
    refused = project.vx("build", "--no-spawn")
    assert refused.code == 3
    assert len(refused.err.splitlines()) == 1
    assert project.executed() == 1
    pid = rust.pid("aether")
    assert project.executed("--no-spawn") == 0
    assert rust.pid("aether") == pid


def test_v11_aether_spawns_cass_and_rhea(rust) -> None:
    rust.crate().build()
    aether = rust.pid("aether")
    for service in ("cass", "rhea"):
        parent = Path(f"/proc/{rust.pid(service)}/stat").read_text().rpartition(")")[2].split()[1]
        assert int(parent) == aether


@pytest.mark.slow
def test_v12_the_services_die_with_their_parent(rust, gone) -> None:
    """Also after kill -9, and within a second."""
    rust.crate().build()
    owned = [rust.pid(service) for service in ("cass", "rhea")]
    os.kill(rust.pid("aether"), signal.SIGKILL)
    wait_until(lambda: all(gone(pid) for pid in owned), 2.0, "cass and rhea ended with aether")
    assert rust.crate("next").executed() == 0


def test_v13_a_slow_start_is_waited_for(rust) -> None:
    """Each service takes longer to make its socket than the original waited in all."""
    rust.sandbox.write("slow/sitecustomize.py", SLOW)
    project = rust.crate()
    assert project.executed(PYTHONPATH=str(rust.sandbox.path / "slow")) == 1


SLOW = """\
import os, sys, time
if "cass.daemon" in " ".join(sys.orig_argv) or "rhea.daemon" in " ".join(sys.orig_argv):
    time.sleep(2.5)
"""


def test_v14_the_logs_tell_of_a_service_that_died(rust, gone) -> None:
    rust.crate().build()
    for service in ("aether", "cass", "rhea"):
        assert f"ready at unix:{rust.home}/{service}.sock" in rust.log(service)
    pid = rust.pid("cass")
    os.kill(pid, signal.SIGKILL)
    told = f"cass: pid {pid} was killed by SIGKILL; its log is {rust.home}/cass.log"
    wait_until(lambda: told in rust.log("aether"), 5.0, "aether's log tells how cass ended")
    assert rust.crate("next", MAIN_2).executed() == 1


def test_v15_the_services_are_told_where_the_others_are(rust) -> None:
    project = rust.crate()
    elsewhere = f"unix:{rust.sandbox.path}/store.sock"
    assert project.executed(VX_CASS=elsewhere) == 1
    assert (rust.sandbox.path / "store.sock").is_socket()
    told = Path(f"/proc/{rust.pid('rhea')}/environ").read_bytes().split(b"\0")
    assert f"VX_CASS={elsewhere}".encode() in told
    assert f"VX_HOME={rust.home}".encode() in told


def test_v16_a_build_by_hand_writes_its_report(rust) -> None:
    project = rust.crate()
    done = subprocess.run(
        ["sh", "-c", f"VX_HOME={rust.home} vx build"],
        cwd=project.path,
        env={name: value for name, value in rust.env.items() if name != "VX_HOME"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done
    assert (project.path / ".vx/runs/latest").exists()


def test_v17_the_lower_layers_need_no_service() -> None:
    """Manifests, keys and plans are imported and used without a socket, a loop or a daemon."""
    code = (
        "import sys\n"
        "from daemonry.typed_toml import parse\n"
        "from vx.keys import recipe\n"
        "from vx.project import cargo_manifest, c_manifest, rust_plan, c_plan\n"
        "from vx.cargo import graph, plan, script\n"
        "from vx.reports import report\n"
        "cargo_manifest.read(parse('package.name = \"a\"', 'Cargo.toml'))\n"
        "assert recipe.recipe_key({'a': 'b'}) != recipe.recipe_key({'a': 'c'})\n"
        "heavy = ('asyncio', 'daemonry.service.server.server', 'vx.aether.service')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_v18_nothing_touches_the_users_own_home(rust) -> None:
    user = rust.sandbox.path / "home"
    project = rust.crate()
    (user / ".vx").mkdir()
    (user / ".vx/kept").write_text("mine")
    project.build()
    for words in (["explain"], ["status"], ["verify"], ["gc"], ["clean", "--store"], ["kill"]):
        assert project.vx(*words).code == 0, words
    assert [path.name for path in (user / ".vx").iterdir()] == ["kept"]


def test_v19_one_installation_brings_all_four_programs(app) -> None:
    for name in ("vx", "vx-aether", "vx-cass", "vx-rhea"):
        done = app.sandbox.run(BIN / name, "--version")
        assert done.code == 0, done
        assert done.out.split()[-1] == __import__("vx").__version__
