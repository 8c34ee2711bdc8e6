"""`ensure(mode="direct")`: a daemon's interfaces in the caller's own process, by the same stages."""

import logging
import sys
import threading

import pytest

import daemonry
from daemonry import errors
from daemonry.testing import wait_until

THREAD = "daemonry-direct-probe"


@pytest.fixture(autouse=True)
def as_in_the_sandbox(probe, monkeypatch):
    """The test's own process is the daemon."""
    monkeypatch.setenv("DAEMONRY_SANDBOX", str(probe.sandbox.path))
    monkeypatch.delitem(sys.modules, "probe", raising=False)
    yield
    assert not serving(), "the thread has ended with the connection"


def serving():
    return [thread for thread in threading.enumerate() if thread.name == THREAD]


def ensure(probe, body, **options):
    return daemonry.ensure(str(probe.write(body)), mode="direct", **options)


def test_a_setup_that_asks_for_a_stop_is_a_start_that_failed(probe):
    """As in the background: the daemon never was ready, and the caller has no client of one that ends."""
    body = """
@daemon.setup
async def setup(run):
    run.stop()
    note("stopped")
    await asyncio.sleep(60)
    note("went on")
"""
    with pytest.raises(errors.StartFailed, match="stopped before it was ready") as failed:
        ensure(probe, body)
    assert failed.value.stage == "setup"
    assert probe.noted("stopped") is not None
    assert probe.noted("went on") is None


def test_a_setup_that_takes_longer_than_the_deadline_is_cancelled(probe):
    body = """
@daemon.setup
async def setup(run):
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        note("cancelled")
        raise
"""
    with pytest.raises(errors.NotReadyInTime) as late:
        ensure(probe, body, timeout=1)
    assert late.value.stage == "setup"
    wait_until(lambda: probe.noted("cancelled") is not None)


def test_a_setup_that_fails_tells_its_stage_and_reason(probe):
    body = """
@daemon.setup
def setup(run):
    raise KeyError("no such luck")
"""
    with pytest.raises(errors.StartFailed, match="no such luck") as failed:
        ensure(probe, body)
    assert failed.value.stage == "setup"


def test_a_timeout_of_the_setup_itself_is_its_failure_and_not_the_callers_deadline(probe):
    body = """
@daemon.setup
def setup(run):
    raise TimeoutError("the disk does not answer")
"""
    with pytest.raises(errors.StartFailed, match="the disk does not answer"):
        ensure(probe, body)


def test_work_that_fails_as_it_ends_is_logged(probe, caplog):
    body = """
@daemon.work
async def work(run):
    try:
        await run.wait_running()
        await asyncio.sleep(60)
    finally:
        raise ValueError("the ledger does not add up")

@daemon.on_stop
def stop():
    note("stop hook")
"""
    with caplog.at_level(logging.ERROR, "daemonry.daemon"), ensure(probe, body) as client:
        client.call("org.varlink.service.GetInfo")
    assert "work failed while it ended: ValueError: the ledger does not add up" in caplog.messages
    assert probe.noted("stop hook") is not None


def test_a_stop_by_the_program_ends_the_connection(probe):
    body = """
@daemon.work
async def work(run):
    await wait_told("end")
    run.stop()
"""
    with ensure(probe, body) as client:
        assert serving()
        probe.tell("end")
        wait_until(lambda: not serving())
        with pytest.raises(errors.DaemonryError):
            client.call("org.varlink.service.GetInfo")


SERVED = """
from daemonry import Interface

class Counter(Interface, name="org.example.counter"):
    '''Counts.'''
    def __init__(self):
        self.count = 0
    def next(self) -> int:
        self.count += 1
        return self.count

{serving}

@daemon.work
async def work(run):
    while run.service(Counter).count < 2:
        await asyncio.sleep(0.01)
    note("worker", "2")
    await asyncio.sleep(60)
"""


@pytest.mark.parametrize(
    "serving", ["daemon.serve(Counter)", "@daemon.setup\nasync def setup(run):\n    daemon.serve(Counter())"]
)
def test_two_served_in_one_process_share_no_state(probe, serving):
    """What one test did to the daemon's state is not seen by the next."""
    target = str(probe.write(SERVED.format(serving=serving)))
    for seen in ("2", "22"):
        with daemonry.ensure(target, mode="direct") as client:
            assert [client.call("org.example.counter.Next")["result"] for _ in range(2)] == [1, 2]
            wait_until(lambda seen=seen: probe.noted("worker") == seen, what="work sees the state")
