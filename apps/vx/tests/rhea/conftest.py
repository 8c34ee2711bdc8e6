"""rhea and its store as real daemons, in a home of their own."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from daemonry import AsyncClient, Endpoint
from daemonry.testing import Sandbox
from vx.cass_client import CassClient
from vx.home import endpoint
from vx.interfaces import Done, Input, Job, JobEvent, Rhea

BIN = Path(sys.executable).parent


class RheaHome:
    """A home with a cass and a rhea, and a client of each."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._cass: CassClient | None = None
        self.use(sandbox.path / "vx")

    def use(self, path: Path) -> None:
        """Have the home there."""
        self.path = path
        self.scratch_path = path / "rhea"
        self.sandbox.env["VX_HOME"] = str(path)

    def over_tcp(self, *services: str) -> None:
        """Have the next start listen over TCP, at ports that were free just now."""
        for service in services:
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                self.sandbox.env[f"VX_{service.upper()}"] = f"127.0.0.1:{taken.getsockname()[1]}"

    def endpoint(self, service: str) -> Endpoint:
        return endpoint(service, self.sandbox.env)

    def vx(self, service: str, *words: str) -> Any:
        return self.sandbox.run(BIN / f"vx-{service}", *words)

    def start(self, *services: str) -> None:
        starting = [
            (service, self.sandbox.popen(BIN / f"vx-{service}", "start"))
            for service in services or ("cass", "rhea")
        ]
        for service, command in starting:
            _, said = command.communicate(timeout=60)
            assert command.returncode == 0, (service, said)

    def pid(self, service: str) -> int:
        return int(self.vx(service, "status", "--json").json()["pid"])

    @property
    def cass(self) -> CassClient:
        if self._cass is None:
            self._cass = CassClient(self.endpoint("cass"))
        return self._cass

    def close_clients(self) -> None:
        if self._cass is not None:
            self._cass.close()
            self._cass = None

    @asynccontextmanager
    async def rhea(self) -> AsyncIterator[Any]:
        async with await AsyncClient.connect(self.endpoint("rhea")) as client:
            yield client.proxy(Rhea)

    async def job(self, *command: str, files: dict[str, str | bytes] | None = None, **fields: Any) -> Job:
        """Return a job whose input files are in the store, and whose processes the sandbox knows."""
        inputs = []
        for path, content in (files or {}).items():
            data = content.encode() if isinstance(content, str) else content
            inputs.append(Input(path, await self.cass.put_bytes(data), data.startswith(b"#!")))
        env = {"DAEMONRY_SANDBOX": str(self.sandbox.path), **fields.pop("env", {})}
        return Job(list(command), inputs, env=env, **fields)

    async def shell(self, script: str, **fields: Any) -> Job:
        return await self.job("/bin/sh", "-c", script, **fields)

    async def events(self, job: Job) -> AsyncIterator[JobEvent]:
        async with self.rhea() as rhea, aclosing(rhea.run(job)) as events:
            async for event in events:
                yield event

    async def run(self, job: Job) -> tuple[Done, str]:
        """Run a job to its end; return how it ended and all that it wrote."""
        written = ""
        async with aclosing(self.events(job)) as events:
            async for event in events:
                if event.output is not None:
                    written += event.output.text
                if event.done is not None:
                    return event.done, written
        raise AssertionError("the stream ended without `done`")

    async def done(self, job: Job) -> Done:
        """Run a job that must succeed."""
        done, written = await self.run(job)
        assert done.exit_code == 0, written
        return done


@pytest.fixture
def home(sandbox: Sandbox) -> Iterator[RheaHome]:
    home = RheaHome(sandbox)
    yield home
    for service in ("rhea", "cass"):
        stopped = home.vx(service, "stop")
        assert stopped.code == 0, stopped


@pytest.fixture
def running(home: RheaHome) -> RheaHome:
    """A home whose cass and rhea run, with four places for jobs."""
    home.sandbox.env["VX_RHEA_JOBS"] = "4"
    home.start()
    return home


@pytest.fixture(scope="session")
def cc() -> str:
    found = shutil.which("cc", path="/usr/local/bin:/usr/bin:/bin")
    if found is None:
        pytest.skip("needs a C compiler (cc)")
    return found


@pytest.fixture(scope="session")
def rustc() -> str:
    """The compiler itself: what is on PATH may be rustup's choice of one, which needs its own files."""
    import subprocess

    found = shutil.which("rustc")
    if found is None:
        pytest.skip("needs rustc")
    asked = subprocess.run([found, "--print", "sysroot"], capture_output=True, text=True, check=False)
    if asked.returncode:
        pytest.skip(f"rustc cannot be used: {asked.stderr.strip()}")
    path = f"{asked.stdout.strip()}/bin/rustc"
    return path if os.access(path, os.X_OK) else found
