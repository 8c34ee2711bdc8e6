"""A service that a variable names and that another home runs is used at once."""

import asyncio

import pytest

from daemonry import Instance
from vx.aether.services import OwnedService


@pytest.fixture(autouse=True)
def no_daemon_of_the_users(tmp_path, monkeypatch):
    """Another cass of whoever runs the tests is none of theirs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_one_that_no_aether_of_ours_keeps_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """To wait for its end, as for an earlier aether's, took five seconds of each start."""

    async def no_sleep(_delay_s: float) -> None:
        raise AssertionError("it waits")

    monkeypatch.setenv("VX_HOME", "/nowhere")
    service = OwnedService("cass")
    monkeypatch.setattr(service, "_somebody_is", lambda _instance: True)
    monkeypatch.setattr(asyncio, "sleep", no_sleep)
    monkeypatch.setattr(Instance, "lock_held", lambda _self: False)
    assert asyncio.run(service._is_elsewhere(Instance.named("cass")))


def test_an_earlier_aethers_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([True, True, False])
    monkeypatch.setenv("VX_HOME", "/nowhere")
    service = OwnedService("cass")
    monkeypatch.setattr(service, "_somebody_is", lambda _instance: next(looks))
    monkeypatch.setattr(Instance, "lock_held", lambda _self: True)
    assert not asyncio.run(service._is_elsewhere(Instance.named("cass")))
