"""The services of a home together, without processes."""

import asyncio
import itertools
from types import SimpleNamespace

from daemonry.home.child import ServiceState
from daemonry.home.fleet import Fleet


def keeper(name):
    one = SimpleNamespace(service=SimpleNamespace(name=name, needs=()), stop_wanted=False)
    one.state = ServiceState.WAITING
    one.start = lambda: setattr(one, "state", ServiceState.STARTING)
    return one


def test_all_that_may_start_have_begun_before_more_is_loaded():
    async def begun_when_told():
        fleet = Fleet(lambda event: None, lambda: None)
        fleet.keepers = {f"s{number}": keeper(f"s{number}") for number in range(50)}
        fleet.advance_later()
        await fleet.until_begun(60.0)
        return {one.state for one in fleet.keepers.values()}

    assert asyncio.run(begun_when_told()) == {ServiceState.STARTING}


def test_those_that_take_long_to_begin_are_not_waited_for():
    async def told():
        fleet = Fleet(lambda event: None, lambda: None)
        fleet.keepers = {"a": keeper("a")}
        await fleet.until_begun(0.01)  # nobody advances it
        return fleet.keepers["a"].state

    assert asyncio.run(told()) is ServiceState.WAITING


def test_many_starts_leave_turns_in_which_requests_are_answered():
    async def begun_in_each_turn():
        fleet = Fleet(lambda event: None, lambda: None)
        fleet.keepers = {f"s{number}": keeper(f"s{number}") for number in range(100)}
        fleet.advance_later()
        counts = [0]
        while counts[-1] < 100:
            await asyncio.sleep(0)
            counts.append(sum(one.state is ServiceState.STARTING for one in fleet.keepers.values()))
        return [after - before for before, after in itertools.pairwise(counts)]

    assert max(asyncio.run(begun_in_each_turn())) <= 20
