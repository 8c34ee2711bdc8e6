"""Stages: steps done one after the other, and undone in the reverse order when a later one fails.

Owns the order: which stage is reported, the argument of each, and the undoing.  A stage is a value: a
name, a function that makes something from what the stage before it made, and a function that undoes
that.  A plan is a list of stages that fit each other, which the types prove.  What a stage does is its
file's; nothing here knows of sockets, loops or processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, NamedTuple, TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")
Further = TypeVar("Further")


class Stage(NamedTuple, Generic[Given, Made]):
    """One stage.

    Attributes:
        name: the name that a failure is reported with; neighbours may share it.
        do: makes this stage's result from the result of the stage before it.  If it raises, it has
            undone its own part.
        undo: undoes what `do` made; None where nothing has to be undone.
    """

    name: str
    do: Callable[[Given], Made]
    undo: Callable[[Made], None] | None = None


class Plan(Generic[Given, Made]):
    """Stages, each of which takes what the one before it made.

    Attributes:
        stages: the stages, in their order.
    """

    __slots__ = ("stages",)

    def __init__(self, stages: tuple[Stage[Any, Any], ...]) -> None:
        self.stages: Final = stages

    @classmethod
    def of(cls, first: Stage[Given, Made]) -> Plan[Given, Made]:
        """Return a plan of one stage."""
        return Plan((first,))

    def then(self, following: Stage[Made, Further]) -> Plan[Given, Further]:
        """Return this plan with one stage more."""
        return Plan((*self.stages, following))


class Stages:
    """Performs plans, and keeps their results until they are undone.

    Args:
        enter: called with the name of each stage that begins under another name than the one before.
    """

    def __init__(self, enter: Callable[[str], None]) -> None:
        self._enter = enter
        self._name = ""
        self._done: list[tuple[Stage[Any, Any], Any]] = []

    def __repr__(self) -> str:
        done = ", ".join(stage.do.__name__ for stage, _ in self._done)
        return f"Stages({self._name or 'not begun'}; done: {done or 'none'})"

    def perform(self, plan: Plan[Given, Made], given: Given) -> Made:
        """Do the stages of a plan and return what the last one made.

        Raises:
            Whatever a stage raises.  The stages before it stay done: call `undo`.
        """
        made: Any = given
        for stage in plan.stages:
            if stage.name != self._name:
                self._name = stage.name
                self._enter(stage.name)
            made = stage.do(made)
            self._done.append((stage, made))
        result: Made = made
        return result

    def has_done(self, do: Callable[[Any], Any]) -> bool:
        """Whether a stage's function has returned, and has not been undone."""
        return any(stage.do is do for stage, _ in self._done)

    def undo(self, *, keep: Iterable[str] = ()) -> list[Exception]:
        """Undo the stages, the last first, and return the errors of that.

        An undo that fails does not keep the others from being undone.  Twice is not an error.

        Args:
            keep: the names of stages that stay done.
        """
        kept, failed = frozenset(keep), list[Exception]()
        while self._done:
            stage, made = self._done.pop()
            if stage.undo is None or stage.name in kept:
                continue
            try:
                stage.undo(made)
            except Exception as error:  # noqa: BLE001  # returned
                failed.append(error)
        return failed

    def forget(self) -> None:
        """Leave everything as it is: in a forked child, the results belong to the parent."""
        self._done.clear()


def drawing(plan: Plan[Any, Any]) -> str:
    """Return a plan as a Markdown table, for the documentation."""
    rows = ["| stage | does | undone, if a later stage fails |", "| --- | --- | --- |"]
    name = ""
    for stage in plan.stages:
        shown = stage.name if stage.name != name else ""
        name = stage.name
        rows.append(f"| {shown} | {_summary(stage.do)} | {_summary(stage.undo)} |".replace("|  |", "| |"))
    return "\n".join(rows)


def _summary(function: Callable[..., Any] | None) -> str:
    """Return the first line of a function's docstring as a phrase."""
    first = ((function and function.__doc__) or "").strip().partition("\n")[0].rstrip(".")
    return first[:1].lower() + first[1:]
