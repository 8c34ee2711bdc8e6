"""What all tests of vx need: `async def` tests run on a loop; the user's own variables do not count."""

from __future__ import annotations

import asyncio
import inspect
import os

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
    for name in ("VX_HOME", "VX_AETHER", "VX_CASS", "VX_RHEA", "VX_CASS_MAX_SIZE"):
        monkeypatch.delenv(name, raising=False)
