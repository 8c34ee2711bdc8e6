"""The table of leases, row by row."""

from __future__ import annotations

import pytest

pytest.importorskip("google.protobuf", reason="gRPC is not installed: the extra vx[remote]")

from vx.remote.protos import bots_pb2
from vx.rhea.worker.leases import Leases

PENDING, ACTIVE = bots_pb2.PENDING, bots_pb2.ACTIVE
COMPLETED, CANCELLED = bots_pb2.COMPLETED, bots_pb2.CANCELLED


def lease(name: str, state: bots_pb2.LeaseState = PENDING) -> bots_pb2.Lease:
    return bots_pb2.Lease(id=name, state=state)


def having(*names: str) -> Leases:
    leases = Leases()
    leases.take([lease(name) for name in names])
    return leases


@pytest.mark.parametrize("state", [PENDING, ACTIVE])
def test_a_new_lease_begins_and_is_active_from_then_on(state) -> None:
    leases = Leases()
    changes = leases.take([lease("a", state)])
    assert [one.id for one in changes.begin] == ["a"]
    assert [(one.id, one.state) for one in leases.report()] == [("a", ACTIVE)]
    assert leases.running == 1


@pytest.mark.parametrize("state", [COMPLETED, CANCELLED])
def test_a_lease_that_is_over_does_not_begin(state) -> None:
    assert Leases().take([lease("a", state)]) == ([], [], 0)


@pytest.mark.parametrize("listed", [[], [lease("a", CANCELLED)], [lease("b")]])
def test_a_running_lease_that_is_not_wanted_any_more_ends(listed) -> None:
    leases = having("a")
    assert leases.take(listed).end == ["a"]
    assert "a" not in leases.names


def test_a_running_lease_goes_on() -> None:
    assert having("a").take([lease("a", ACTIVE)]) == ([], [], 0)


def test_a_finished_lease_is_reported_until_the_farm_has_it() -> None:
    leases = having("a")
    leases.report()
    assert leases.finish("a", lease("a", COMPLETED))
    # The farm's answer is to what was reported before it finished.
    assert leases.take([lease("a", ACTIVE)]) == ([], [], 0)
    assert [one.state for one in leases.report()] == [COMPLETED]
    # That answer was lost: the next update reports it again.
    assert [one.state for one in leases.report()] == [COMPLETED]
    assert leases.take([]).forgotten == 1
    assert leases.names == []


def test_the_end_of_a_lease_that_was_dropped_is_nobodys() -> None:
    leases = having("a")
    leases.take([])
    assert not leases.finish("a", lease("a", COMPLETED))
    assert leases.report() == []


def test_a_finished_lease_that_was_never_reported_is_not_counted_as_taken() -> None:
    leases = having("a")
    leases.report()
    leases.finish("a", lease("a", COMPLETED))
    assert leases.take([]).forgotten == 0


def test_losing_the_session_forgets_all_and_names_what_ran() -> None:
    leases = having("a", "b")
    leases.finish("b", lease("b", COMPLETED))
    assert leases.lose() == ["a"]
    assert (leases.names, leases.running) == ([], 0)
