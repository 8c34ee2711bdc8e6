"""A compilation is taken from the plan before while all that it is made of is equal."""

from __future__ import annotations

from vx.project.action import Action, Need, Tool
from vx.project.c_compilations import Compilations


def made(source: str) -> tuple[Action, Need]:
    action = Action(source, source, Tool("/cc", "id", "cc"), "cc", (), {}, ("out",))
    return action, Need(source, "out", source)


def test_what_is_equal_is_taken_again() -> None:
    earlier = Compilations()
    first = earlier.group(("p", "c"), ("-O2",), made).of("a.c")
    assert earlier.group(("p", "c"), ("-O2",), made).of("a.c") is first


def test_other_settings_groups_and_sources_are_not() -> None:
    earlier = Compilations()
    first = earlier.group(("p", "c"), ("-O2",), made).of("a.c")
    assert earlier.group(("q", "c"), ("-O2",), made).of("a.c") is not first
    assert earlier.group(("p", "c"), ("-O0",), made).of("a.c") is not first
    back = earlier.group(("p", "c"), ("-O2",), made)
    assert back.of("a.c") is not first  # of the plan before alone
    assert back.of("b.c")[0].id == "b.c"


def test_a_source_that_is_gone_is_forgotten() -> None:
    earlier = Compilations()
    first = earlier.group(("p", "c"), (), made).of("a.c")
    earlier.group(("p", "c"), (), made).of("b.c")
    assert earlier.group(("p", "c"), (), made).of("a.c") is not first
