"""cass as a real daemon, in a home of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemonry import Endpoint
from daemonry.testing import Completed, Sandbox

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
