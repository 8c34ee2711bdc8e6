"""When a loop last ran: known for one that is stuck, and without waking one that has nothing to do."""

import asyncio
import time

import pytest

from daemonry.runtime import turns
from daemonry.runtime.turns import turns_of


def uvloop_made():
    return pytest.importorskip("uvloop").new_event_loop()


LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop_made], ids=["asyncio", "uvloop"])


@LOOPS
def test_a_turn_that_lasts_began_before_it(new_loop):
    loop = new_loop()
    noted = turns_of(loop)

    def hold():
        began_s = time.monotonic()
        time.sleep(0.05)
        return began_s, noted.ran_at_s, time.monotonic()

    async def turn():
        await asyncio.sleep(0.01)
        return hold()

    try:
        began_s, ran_at_s, ended_s = loop.run_until_complete(turn())
    finally:
        loop.close()
    assert began_s - turns.BEAT_S < ran_at_s < ended_s - 0.04


def test_on_uvloop_a_call_counts_as_a_timer_does_and_the_beat_ends_with_them(monkeypatch):
    monkeypatch.setattr(turns, "BEAT_S", 0.02)
    loop = uvloop_made()
    noted = turns_of(loop)
    waiting = []
    noted.follow(waiting.append)

    async def quiet():
        ended = asyncio.Event()
        beat = noted._call_later

        def watched(delay_s, callback, *args):
            if not noted._worked:
                ended.set()
            return beat(delay_s, callback, *args)

        noted._call_later = watched
        loop.call_soon(waiting.pop())
        await ended.wait()
        noted._call_later = beat
        while noted.ran_at_s is not None:  # nobody tells
            await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.01)

    try:
        loop.run_until_complete(quiet())
        assert not noted._beats
        assert waiting == [noted._called]  # the next one counts again
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def test_a_loop_of_another_kind_is_not_known():
    class Other(asyncio.SelectorEventLoop):
        def time(self):
            return 7.0

    loop = Other()
    try:
        assert turns_of(loop).ran_at_s is None
        assert loop.time() == 7.0
    finally:
        loop.close()
