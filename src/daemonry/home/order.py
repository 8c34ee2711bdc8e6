"""The order of services: who needs whom, and what that allows now.

Owns the graph.  Services start when all that they need is ready, at the same time where that holds
for several; they are stopped when all that need them are gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

Needs = Mapping[str, Collection[str]]


def cycle(needs: Needs) -> list[str]:
    """Return services that need each other in a ring, its first again at the end; [] for none.

    Args:
        needs: for each service those that it needs; all of them are keys.
    """
    done: set[str] = set()
    for name in needs:
        found = _cycle_from(name, needs, [], done)
        if found:
            return found
    return []


def _cycle_from(name: str, needs: Needs, path: list[str], done: set[str]) -> list[str]:
    if name in path:
        return [*path[path.index(name) :], name]
    if name in done:
        return []
    for needed in needs[name]:
        found = _cycle_from(needed, needs, [*path, name], done)
        if found:
            return found
    done.add(name)
    return []


def startable(waiting: Iterable[str], needs: Needs, ready: Collection[str]) -> list[str]:
    """Return those of `waiting` that need nothing that is not ready."""
    return [name for name in waiting if all(needed in ready for needed in needs[name])]


def with_needed(names: Iterable[str], needs: Needs) -> list[str]:
    """Return services and all that they need, directly or through others, in the order of `needs`."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += needs[name]
    return [name for name in needs if name in found]


def stoppable(asked: Iterable[str], needs: Needs, alive: Collection[str]) -> list[str]:
    """Return those of `asked` that nobody who is alive needs, directly or through others.

    A service that is done may stand between two that live: those that need it also need those that it needed.
    """
    used: set[str] = set()
    left = [needed for name in alive for needed in needs.get(name, ())]
    while left:
        name = left.pop()
        if name not in used:
            used.add(name)
            left += needs.get(name, ())
    return [name for name in asked if name not in used]


def in_order(needs: Needs) -> list[str]:
    """Return all services, each after those that it needs, else as they stand in the file."""
    found: list[str] = []
    left = list(needs)
    while left:
        able = startable(left, needs, found)
        found += able
        left = [name for name in left if name not in able]
    return found
