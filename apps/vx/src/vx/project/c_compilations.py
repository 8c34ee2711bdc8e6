"""The compilations of the plan before this one, for those sources whose settings are what they were.

Owns when an earlier action may be taken again: all that it is made of, besides its source's name, is equal.
A plan of a thousand sources makes a thousand equal values otherwise, each time, and compares them.  Pure.
"""

from __future__ import annotations

from collections.abc import Callable

from vx.project.action import Action, Need

Made = tuple[Action, Need]


class Compilations:
    """What a project's plans of one profile have in common."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, ...], tuple[object, dict[str, Made]]] = {}

    def group(self, name: tuple[str, ...], basis: object, make: Callable[[str], Made]) -> Group:
        """Return the compilations of one group of sources.

        Args:
            name: tells it from others of the project.
            basis: what all of its compilations are made of; where it is another, none is taken again.
            make: makes one, for a source.
        """
        before = self._groups.get(name)
        known = before[1] if before is not None and before[0] == basis else {}
        now: dict[str, Made] = {}
        self._groups[name] = basis, now
        return Group(known, now, make)


class Group:
    """Sources with the same settings."""

    def __init__(self, known: dict[str, Made], now: dict[str, Made], make: Callable[[str], Made]) -> None:
        self._known = known
        self._now = now
        self._make = make

    def of(self, source: str) -> Made:
        """Return a source's compilation."""
        made = self._now[source] = self._known.get(source) or self._make(source)
        return made
