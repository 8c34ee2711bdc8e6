"""A keeper whose own work fails goes on to a settled state: nobody waits for a step that never comes."""

import asyncio
import signal
import sys
from types import SimpleNamespace

import pytest

from daemonry.home import service_record
from daemonry.home.child import ServiceState
from daemonry.home.home_toml import home_file
from daemonry.home.keeper import Keeper
from daemonry.home.own_files import OwnFiles
from daemonry.home.run import service_run
from daemonry.home.run.process_run import Minders, ProcessRun
from daemonry.home.service_files import ServiceFiles

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="homes need Linux")
# Nothing here takes as long: it would wait for ever.
HANGS_S = 60.0


class Broken(RuntimeError):
    """A mistake in the supervisor."""


def breaks(*args, **kwargs):
    raise Broken("by the test")


async def life(shop, service, during):
    shop.write(service("a", restart='"never"'))
    minders = Minders.make()
    world = SimpleNamespace(home=shop.home, minders=minders, files=OwnFiles(), changed=lambda *args: None)
    asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, minders.reaper.reap)
    kept = Keeper(home_file.load(shop.home.directory).services["a"], world, 1 << 20)
    try:
        async with asyncio.timeout(HANGS_S):
            kept.ask_start()
            kept.start()
            await during(kept)
    finally:
        kept.kill()
        await kept.close()
    minders.guard.close()
    shop.wait_nothing()
    return kept


async def settled(kept):
    await kept.life.until_settled()


def test_before_its_process_is_there(shop, service, monkeypatch):
    monkeypatch.setattr(service_record, "fingerprint", breaks)
    kept = asyncio.run(life(shop, service, settled))
    assert kept.state is ServiceState.FAILED
    assert "the supervisor cannot go on with it" in kept.reason
    assert "by the test" in kept.reason


def test_while_it_looks_whether_it_is_ready(shop, service, monkeypatch):
    monkeypatch.setattr(service_run, "wait_ready", breaks)
    kept = asyncio.run(life(shop, service, settled))
    assert kept.state is ServiceState.FAILED
    assert "cannot see whether it is ready" in kept.reason


def test_after_its_process_has_ended(shop, service, monkeypatch):
    monkeypatch.setattr(ServiceFiles, "said_end", breaks)

    async def ends(kept):
        await kept.life.until(lambda state: state is ServiceState.READY)
        kept.kill()
        await kept.life.until_settled()

    kept = asyncio.run(life(shop, service, ends))
    assert kept.state is ServiceState.FAILED


def test_while_it_is_asked_to_end(shop, service, monkeypatch):
    monkeypatch.setattr(ProcessRun, "terminate", breaks)

    async def ends(kept):
        await kept.life.until(lambda state: state is ServiceState.READY)
        kept.stop()
        await kept.life.until_settled()

    kept = asyncio.run(life(shop, service, ends))
    assert kept.state is ServiceState.STOPPED
