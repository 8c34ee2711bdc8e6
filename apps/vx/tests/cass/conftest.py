"""cass as a real daemon, in a home of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemonry import Endpoint
from daemonry.testing import Completed, Sandbox
from vx.cass import layout
from vx.cass.store import Store

COMMAND = Path(sys.executable).parent / "vx-cass"


class CassHome:
    """A home with a cass."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.path = sandbox.path / "vx"
        sandbox.env["VX_HOME"] = str(self.path)
        self.endpoint = Endpoint.unix(str(self.path / "cass.sock"))
        self.store_path = self.path / "cass"

    def __call__(self, *words: str) -> Completed:
        return self.sandbox.run(COMMAND, *words)

    def start(self) -> None:
        started = self("start")
        assert started.code == 0, started

    def status(self) -> dict[str, object]:
        return self("status", "--json").json()

    def pid(self) -> int:
        return int(str(self.status()["pid"]))

    def over_tcp(self, port: int) -> Endpoint:
        """Have the next start listen over TCP."""
        self.sandbox.env["VX_CASS"] = f"127.0.0.1:{port}"
        self.endpoint = Endpoint.parse(self.sandbox.env["VX_CASS"])
        return self.endpoint


@pytest.fixture
def cass_home(sandbox: Sandbox) -> Iterator[CassHome]:
    home = CassHome(sandbox)
    yield home
    stopped = home("stop")
    assert stopped.code == 0, stopped


@pytest.fixture
def cass(cass_home: CassHome) -> CassHome:
    """A home whose cass runs."""
    cass_home.start()
    return cass_home


class Disk:
    """A store's files, looked at and changed behind its back."""

    def __init__(self, store: str) -> None:
        self.store = store

    def blob(self, digest: str) -> Path:
        return Path(layout.path_of(self.store, "blob", digest))

    def manifest(self, key: str) -> Path:
        return Path(layout.path_of(self.store, "manifest", key))

    def names(self, folder: str) -> list[str]:
        return sorted(os.listdir(f"{self.store}/{folder}"))

    def flip(self, path: Path, at: int = 0) -> None:
        """Change a bit."""
        path.chmod(0o600)
        data = bytearray(path.read_bytes())
        data[at] ^= 0x10
        path.write_bytes(bytes(data))

    def age(self, path: Path, by_s: int) -> None:
        """Set a file's last use back."""
        found = path.stat()
        os.utime(path, ns=(found.st_atime_ns - by_s * 10**9, found.st_mtime_ns))


@pytest.fixture
def kept(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "cass"))


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """The files of the store in `tmp_path`, which is `kept`'s."""
    return Disk(str(tmp_path / "cass"))
