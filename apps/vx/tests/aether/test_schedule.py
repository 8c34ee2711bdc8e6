"""The order in which actions begin: after what they need, and never more at once than the window."""

from __future__ import annotations

from vx.aether.schedule import WINDOW, ActionSchedule
from vx.project.action import Action, Need, Tool


def action(name: str, *needs: str) -> Action:
    needed = tuple(Need(one, "out", f"deps/{one}") for one in needs)
    return Action(name, name, Tool("/bin/true", "t", "t"), "step", (), {}, ("out",), needs=needed)


def names(actions: list[Action]) -> list[str]:
    return [one.id for one in actions]


def test_an_action_begins_when_all_that_it_needs_is_done() -> None:
    schedule = ActionSchedule([action("a"), action("b"), action("c", "a", "b"), action("d", "known before")])
    assert names(schedule.begin()) == ["a", "b", "d"]
    schedule.end(action("a"))
    assert schedule.begin() == []
    schedule.end(action("b"))
    assert names(schedule.begin()) == ["c"]


def test_ten_thousand_actions_are_never_more_than_the_window_at_once() -> None:
    objects = [action(f"o{number}") for number in range(10_000)]
    schedule = ActionSchedule([*objects, action("program", *(one.id for one in objects))])
    under_way, done = schedule.begin(), 0
    while under_way:
        assert len(under_way) <= WINDOW
        schedule.end(under_way.pop())
        done += 1
        under_way += schedule.begin()
    assert done == 10_001
