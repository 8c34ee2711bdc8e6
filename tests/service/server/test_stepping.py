"""A coroutine whose first step is taken by hand sees what it would see in a task of its own."""

import asyncio
import gc
from contextvars import ContextVar

import pytest

from daemonry.service.server.stepping import Stepper, Suspended

VALUE = ContextVar("VALUE", default="outer")


async def ready(stepper):
    """Wait until the stepper has a task in reserve."""
    while not stepper.is_ready():  # noqa: ASYNC110  # a turn of the loop is what it needs
        await asyncio.sleep(0)


def stepped(begin):
    """Run `begin(stepper)` as a callback of the loop, as a connection does; return what came of it."""

    async def run():
        stepper = Stepper()
        await ready(stepper)
        done = asyncio.get_running_loop().create_future()

        def call():
            try:
                done.set_result(begin(stepper))
            except BaseException as error:  # noqa: BLE001  # a cancellation, too
                done.set_exception(error)

        asyncio.get_running_loop().call_soon(call)
        try:
            result = await done
            if isinstance(result, Suspended):
                result = await outcome(result)
            return result
        finally:
            stepper.close()
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    return asyncio.run(run())


async def outcome(suspended, act=lambda task: None):
    """Let a suspended coroutine go on; return its result."""
    results = []

    async def work(rest):
        results.append(await rest)

    task = suspended.go_on(work)
    act(task)
    await task
    return results[0]


def test_a_coroutine_that_does_not_wait_is_done_at_once():
    async def handler():
        return 5

    assert stepped(lambda stepper: stepper.begin(handler())) == 5


def test_a_coroutine_that_waits_goes_on():
    async def handler():
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        return 5

    assert stepped(lambda stepper: stepper.begin(handler())) == 5


def test_what_it_raises_is_raised():
    async def handler():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        stepped(lambda stepper: stepper.begin(handler()))


def test_the_current_task_is_the_same_one_before_and_behind_a_wait():
    async def handler():
        before = asyncio.current_task()
        await asyncio.sleep(0)
        return before is not None and before is asyncio.current_task()

    assert stepped(lambda stepper: stepper.begin(handler()))


def test_one_that_waits_or_raises_leaves_the_stepper_good_for_the_next():
    async def go():
        stepper, ended = Stepper(), []

        async def fails():
            raise ValueError("no")

        async def waits():
            try:
                await asyncio.sleep(0)
                return 1
            finally:
                ended.append("waits")

        async def returns():
            return 2

        await ready(stepper)
        with pytest.raises(ValueError, match="no"):
            stepper.begin(fails())
        assert stepper.begin(returns()) == 2
        first = stepper.begin(waits())
        await ready(stepper)
        assert stepper.begin(returns()) == 2
        gc.collect()
        assert not ended
        assert await outcome(first) == 1
        assert ended == ["waits"]
        stepper.close()

    asyncio.run(go())


def test_two_coroutines_that_wait_have_tasks_of_their_own():
    async def both():
        stepper, tasks = Stepper(), []

        async def handler():
            tasks.append(asyncio.current_task())
            await asyncio.sleep(0)
            return tasks.index(asyncio.current_task())

        begun = []
        for _ in range(2):
            await ready(stepper)
            begun.append(stepper.begin(handler()))
        found = await asyncio.gather(*(outcome(one) for one in begun))
        stepper.close()
        return found

    assert asyncio.run(both()) == [0, 1]


def test_a_timeout_that_was_opened_before_the_first_wait_ends_it():
    async def handler():
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            return "timed out"

    assert stepped(lambda stepper: stepper.begin(handler())) == "timed out"


def test_a_task_group_waits_for_its_tasks():
    async def handler():
        async with asyncio.TaskGroup() as group:
            one = group.create_task(asyncio.sleep(0, 1))
            two = group.create_task(asyncio.sleep(0, 2))
        return one.result() + two.result()

    assert stepped(lambda stepper: stepper.begin(handler())) == 3


@pytest.mark.parametrize("turns", [0, 1])
def test_a_cancellation_reaches_it_where_it_waits(turns):
    """Also one that comes before its task was woken: what it holds must be let go."""

    async def run():
        stepper, seen = Stepper(), []

        async def handler():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        await ready(stepper)
        suspended = stepper.begin(handler())

        async def work(rest):
            await rest

        task = suspended.go_on(work)
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ready(stepper)
        stepper.close()
        return seen

    assert asyncio.run(run()) == ["cancelled"]


@pytest.mark.parametrize("waits", [True, False])
def test_a_coroutine_that_cancels_its_own_task_is_cancelled(waits):
    async def handler():
        asyncio.current_task().cancel()
        if waits:
            await asyncio.sleep(0)
        return "not cancelled"

    with pytest.raises(asyncio.CancelledError):
        stepped(lambda stepper: stepper.begin(handler()))


def test_a_spent_reserve_is_replaced():
    async def run():
        stepper = Stepper()

        async def cancels():
            asyncio.current_task().cancel()

        async def answers():
            return 5

        await ready(stepper)
        with pytest.raises(asyncio.CancelledError):
            stepper.begin(cancels())
        assert not stepper.is_ready()
        await ready(stepper)
        found = stepper.begin(answers())
        stepper.close()
        return found

    assert asyncio.run(run()) == 5


def test_a_reserve_that_somebody_cancelled_is_replaced():
    async def run():
        stepper = Stepper()
        await ready(stepper)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)
        assert not stepper.is_ready()
        await ready(stepper)
        stepper.close()

    asyncio.run(run())


def test_context_variables_are_its_own_before_and_behind_a_wait():
    async def handler():
        VALUE.set("inner")
        await asyncio.sleep(0)
        return VALUE.get()

    async def at_once():
        VALUE.set("inner")

    def begin(stepper):
        stepper.begin(at_once())
        assert VALUE.get() == "outer"
        return stepper.begin(handler())

    assert stepped(begin) == "inner"


def test_within_a_task_the_outer_one_is_current_again_behind_the_step():
    async def run():
        stepper = Stepper()

        async def handler():
            return asyncio.current_task()

        await ready(stepper)
        mine = asyncio.current_task()
        inner = stepper.begin(handler())
        assert asyncio.current_task() is mine
        assert inner is not mine
        stepper.close()

    asyncio.run(run())


def test_it_moves_to_the_loop_that_runs():
    async def handler():
        return 5

    async def run():
        await ready(stepper)
        return stepper.begin(handler())

    stepper = Stepper()
    assert [asyncio.run(run()), asyncio.run(run())] == [5, 5]
    stepper.close()  # its loop is closed: there is nothing to end


def test_what_waits_in_another_loop_is_forgotten_as_it_moves():
    """Nobody has ended that loop's tasks: what is in reserve there could never go on."""

    async def handler():
        return asyncio.current_task()

    async def moved():
        stepper.move_to(asyncio.get_running_loop())
        assert stepper.waiting is None
        await ready(stepper)
        task = stepper.begin(handler())
        stepper.close()
        return task.get_loop() is asyncio.get_running_loop()

    stepper, left = Stepper(), asyncio.new_event_loop()
    left.run_until_complete(ready(stepper))
    assert stepper.waiting is not None
    old = stepper.reserve.task
    assert asyncio.run(moved())
    old.cancel()
    left.run_until_complete(asyncio.wait([old]))
    left.close()


def test_a_reserve_that_begins_to_wait_too_late_is_not_taken():
    async def moved():
        stepper.move_to(asyncio.get_running_loop())

    stepper, left = Stepper(), asyncio.new_event_loop()

    async def asked():
        assert not stepper.is_ready()

    left.run_until_complete(asked())  # its task has not begun
    old = stepper.reserve.task
    asyncio.run(moved())
    left.run_until_complete(asyncio.sleep(0))
    assert stepper.waiting is None
    old.cancel()
    left.run_until_complete(asyncio.wait([old]))
    left.close()
