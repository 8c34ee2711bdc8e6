"""The leases of one session: which begin, which end, which are reported.

    farm lists     we have it    then
    PENDING        no            it begins
    ACTIVE         no            it begins: an earlier answer was lost
    COMPLETED      no            nothing: it was reported, and dropped here
    CANCELLED      any           it ends here
    any            running       it goes on
    ACTIVE         finished      it is reported (again) with the next update
    COMPLETED      reported      it is dropped: the farm knows
    not listed     any           it ends here: the farm has given it to another, or nobody waits for it

Owns that table.  Pure: what a lease's Action is, and how it runs, is `action`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from vx.remote.protos import bots_pb2

PENDING, ACTIVE, COMPLETED = bots_pb2.PENDING, bots_pb2.ACTIVE, bots_pb2.COMPLETED


class Changes(NamedTuple):
    """What the farm's list changes here.

    Attributes:
        begin: leases to begin; they are ACTIVE from now on.
        end: the names of leases whose processes are to end.
        forgotten: how many finished leases the farm has taken.
    """

    begin: list[bots_pb2.Lease]
    end: list[str]
    forgotten: int


class Leases:
    """The leases that this worker has."""

    def __init__(self) -> None:
        self._have: dict[str, bots_pb2.Lease] = {}
        self._reported: set[str] = set()

    @property
    def running(self) -> int:
        """How many run."""
        return sum(one.state == ACTIVE for one in self._have.values())

    @property
    def names(self) -> list[str]:
        """The names of all."""
        return list(self._have)

    def report(self) -> list[bots_pb2.Lease]:
        """Return all as the next update tells them; `take` is given its answer."""
        self._reported = {name for name, one in self._have.items() if one.state == COMPLETED}
        return list(self._have.values())

    def take(self, listed: Iterable[bots_pb2.Lease]) -> Changes:
        """Return what the farm's list changes.

        Args:
            listed: the leases of its answer to `report`.
        """
        told = {one.id: one for one in listed}
        begin: list[bots_pb2.Lease] = []
        end: list[str] = []
        forgotten = 0
        for name, one in list(self._have.items()):
            there = told.get(name)
            if there is None or there.state not in (PENDING, ACTIVE):
                del self._have[name]
                if one.state == ACTIVE:
                    end.append(name)
                elif name in self._reported:
                    forgotten += 1
        for name, there in told.items():
            if name not in self._have and there.state in (PENDING, ACTIVE) and name not in end:
                there.state = ACTIVE
                self._have[name] = there
                begin.append(there)
        self._reported.clear()
        return Changes(begin, end, forgotten)

    def finish(self, name: str, finished: bots_pb2.Lease) -> bool:
        """Note how a lease ended; False where it is not one of ours any more.

        Args:
            name: its name.
            finished: with its status, and its result if it has one.
        """
        if name not in self._have:
            return False
        self._have[name] = finished
        return True

    def lose(self) -> list[str]:
        """Forget all, since the session is gone; return the names of those that ran."""
        ran = [name for name, one in self._have.items() if one.state == ACTIVE]
        self._have.clear()
        self._reported.clear()
        return ran
