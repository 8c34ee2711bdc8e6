"""The order in which actions begin: after what they need, and never more at once than the window."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from daemonry import errors
from vx.aether.actions import Actions
from vx.aether.schedule import WINDOW, Schedule
from vx.aether.services import Services
from vx.file_digests import FileDigests
from vx.interfaces import Done, Job
from vx.project.action import Action, Need, Tool

if TYPE_CHECKING:
    import pytest


def action(name: str, *needs: str) -> Action:
    needed = tuple(Need(one, "out", f"deps/{one}") for one in needs)
    return Action(name, name, Tool("/bin/true", "t", "t"), "step", (), {}, ("out",), needs=needed)


def names(actions: list[Action]) -> list[str]:
    return [one.id for one in actions]


def test_an_action_begins_when_all_that_it_needs_is_done() -> None:
    schedule = Schedule([action("a"), action("b"), action("c", "a", "b"), action("d", "known before")])
    assert names(schedule.begin()) == ["a", "b", "d"]
    schedule.end(action("a"))
    assert schedule.begin() == []
    schedule.end(action("b"))
    assert names(schedule.begin()) == ["c"]


def test_ten_thousand_actions_are_never_more_than_the_window_at_once() -> None:
    objects = [action(f"o{number}") for number in range(10_000)]
    schedule = Schedule([*objects, action("program", *(one.id for one in objects))])
    under_way, done = schedule.begin(), 0
    while under_way:
        assert len(under_way) <= WINDOW
        schedule.end(under_way.pop())
        done += 1
        under_way += schedule.begin()
    assert done == 10_001


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
        actions = Actions(Services(), FileDigests())
        monkeypatch.setattr("vx.aether.actions._ask_rhea", ask)
        return await actions._perform(action("a"), Job(["/bin/true"]), lambda: None)

    monkeypatch.setattr(asyncio, "sleep", slept)
    assert asyncio.run(perform()) == (done, "", "")
    assert len(asked) == 3
