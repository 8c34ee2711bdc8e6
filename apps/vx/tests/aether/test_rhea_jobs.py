"""Asking rhea to run an action's job."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from daemonry import errors
from vx.aether import rhea_jobs
from vx.aether.services import OwnedServices
from vx.interfaces import Done, Job
from vx.project.action import Action, Tool

if TYPE_CHECKING:
    import pytest


def test_an_overloaded_rhea_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other builds may have given it all that it takes; the build goes on when they are done."""
    asked = []
    done = Done(0, False, [], None, None, 0, [], [], {}, 1, 1, 1)

    async def ask(*_: object) -> tuple[Done, str, str]:
        asked.append(1)
        if len(asked) < 3:
            raise errors.Overloaded("org.daemonry.Control.Overloaded", {"limit": 1})
        return done, "", ""

    async def slept(_: float) -> None:
        return None

    async def perform() -> tuple[Done, str, str]:
        monkeypatch.setattr("vx.aether.rhea_jobs._ask", ask)
        action = Action("a", "a", Tool("/bin/true", "t", "t"), "step", (), {}, ("out",))
        return await rhea_jobs.perform(OwnedServices().rhea, action, Job(["/bin/true"]), lambda: None)

    monkeypatch.setattr(asyncio, "sleep", slept)
    assert asyncio.run(perform()) == (done, "", "")
    assert len(asked) == 3
