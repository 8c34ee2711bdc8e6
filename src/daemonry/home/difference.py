"""What a reload changes: the difference of two readings of a home's file.

Owns the comparison.  A service is restarted only if something that its process was given has changed; the
rest (policy, hooks, readiness, timeouts) takes effect where it is used next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from daemonry.home.service import Service


class Difference(NamedTuple):
    """Names of services.

    Attributes:
        added: new in the file.
        removed: not in it any more.
        restarted: their process was given something that has changed.
        adjusted: only keys that are used later have changed.
    """

    added: list[str]
    removed: list[str]
    restarted: list[str]
    adjusted: list[str]

    def __str__(self) -> str:
        named = [(kind, names) for kind, names in zip(self._fields, self, strict=True) if names]
        return "; ".join(f"{kind} {', '.join(names)}" for kind, names in named) or "nothing changed"


def compare(old: Mapping[str, Service], new: Mapping[str, Service]) -> Difference:
    """Return what differs, each list in the order of its file."""
    both = [name for name in new if name in old]
    restarted = [name for name in both if _given(old[name]) != _given(new[name])]
    return Difference(
        added=[name for name in new if name not in old],
        removed=[name for name in old if name not in new],
        restarted=restarted,
        adjusted=[name for name in both if name not in restarted and old[name] != new[name]],
    )


def _given(service: Service) -> tuple[object, ...]:
    """Return what a service's process is given, and what starts it."""
    return service.process, service.listens_at, service.schedule
