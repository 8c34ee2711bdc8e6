"""What all tests of vx need: `async def` tests run on a loop; the user's own variables do not count."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# No deadline for one example: on a busy machine it measures the machine.  The same examples each time, but
# for those who ask for more.
EXAMPLES = int(os.environ.get("DAEMONRY_EXAMPLES", "50"))
settings.register_profile("vx", deadline=None, max_examples=EXAMPLES, derandomize=EXAMPLES <= 50)
settings.load_profile("vx")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `async def` test; fixtures with `close_clients` are asked for that while its loop lives."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    given = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    async def run() -> None:
        try:
            await pyfuncitem.obj(**given)
        finally:
            for one in given.values():
                if hasattr(one, "close_clients"):
                    one.close_clients()

    asyncio.run(run())
    return True


@pytest.fixture(autouse=True)
def _no_home_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ("VX_HOME", "VX_AETHER", "VX_CASS", "VX_RHEA", "VX_CASS_MAX_SIZE")
    for name in (*own, *(one for one in os.environ if one.startswith("VX_REMOTE_"))):
        monkeypatch.delenv(name, raising=False)


def _of_remote(name: str) -> Any:
    """Return a module of the folder `remote`."""
    path = Path(__file__).parent / "remote" / f"{name}.py"
    found = importlib.util.spec_from_file_location(f"vx_{name}", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture
def remote_server() -> Iterator[Any]:
    """A server of the Remote Execution API in this process; its class is in remote/fake_server.py."""
    pytest.importorskip("grpc", reason="gRPC is not installed: the extra vx[remote]")
    server = _of_remote("fake_server").FakeServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """An authority that the tests trust, and a stranger."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on the PATH: install it to run this")
    folder = tmp_path_factory.mktemp("certificates")
    made = _of_remote("certificates")
    return made.Authority(folder, "ours"), made.Authority(folder, "stranger")


@pytest.fixture
def tls_server() -> Iterator[Callable[..., Any]]:
    """Starts servers with a certificate; and, if told, one that wants an authority's clients only."""
    grpc = pytest.importorskip("grpc", reason="gRPC is not installed: the extra vx[remote]")
    started: list[Any] = []

    def start(certificate: tuple[Path, Path], clients: Any = None) -> Any:
        path, key = certificate
        wanted = None if clients is None else clients.path.read_bytes()
        pairs = [(key.read_bytes(), path.read_bytes())]
        credentials = grpc.ssl_server_credentials(pairs, wanted, clients is not None)
        started.append(_of_remote("fake_server").FakeServer(tls=credentials))
        return started[-1]

    yield start
    for one in started:
        one.stop()
