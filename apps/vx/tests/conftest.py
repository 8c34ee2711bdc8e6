"""What all tests of vx need: `async def` tests run on a loop; the user's own variables do not count."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# No deadline for one example: on a busy machine it measures the machine.
settings.register_profile("vx", deadline=None, max_examples=int(os.environ.get("DAEMONRY_EXAMPLES", "50")))
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


@pytest.fixture
def remote_server() -> Iterator[Any]:
    """A server of the Remote Execution API in this process; its class is in remote/fake_server.py."""
    pytest.importorskip("grpc", reason="gRPC is not installed: the extra vx[remote]")
    path = Path(__file__).parent / "remote" / "fake_server.py"
    found = importlib.util.spec_from_file_location("vx_fake_server", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    server = module.FakeServer()
    yield server
    server.stop()
