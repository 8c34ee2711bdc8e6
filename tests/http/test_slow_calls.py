"""Slow calls are logged with where the time went, over Varlink and over HTTP."""

import pytest

from daemonry.testing import wait_until

SLOW = """
import asyncio, time
from daemonry import Daemon, Http, Interface, method

class Slow(Interface, name="org.example.slow"):
    async def wait(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "waited"
    async def hold(self, seconds: float) -> None:
        await asyncio.sleep(0)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pass
    @method(blocking=True)
    def block(self, seconds: float) -> None:
        time.sleep(seconds)

daemon = Daemon("slow", slow_call_s=0.2, http=True)
daemon.serve(Slow())
"""


@pytest.fixture
def slow(sandbox):
    sandbox.start(sandbox.write("slow.py", SLOW))

    def logged(method, seconds):
        sandbox.daemonry("call", "slow", f"org.example.slow.{method}", f"seconds={seconds}")
        return sandbox.daemonry("logs", "slow").out

    return logged


def test_a_slow_call_is_logged_with_where_the_time_went(slow):
    assert "slow call" not in slow("Wait", 0.01)
    waited = slow("Wait", 0.25)
    assert "slow call: org.example.slow.Wait took 0.2" in waited
    assert "s waiting in its handler" in waited
    held = slow("Hold", 0.25).splitlines()[-1]
    on_loop_s = float(held.split("took ")[1].split(": ")[1].split()[0])
    assert on_loop_s >= 0.25
    assert "s waiting for a thread" in slow("Block", 0.25)


def test_a_slow_call_that_fails_or_is_cancelled_goes_on_as_it_would(slow, sandbox):
    """The measured awaitable passes results, errors and cancellations on."""
    answer = sandbox.daemonry("call", "slow", "org.example.slow.Wait", "seconds=0.3")
    assert "waited" in answer.out
    cut = sandbox.daemonry("call", "slow", "org.example.slow.Wait", "seconds=30", "--timeout", "0.3")
    assert cut.code != 0
    wait_until(
        lambda: sandbox.daemonry("call", "slow", "org.example.slow.Wait", "seconds=0").code == 0,
        what="the next",
    )
