"""A client where blocking functions were replaced: by gevent, which also forks for itself, or eventlet."""

import sys

import pytest

PROGRAM = """
from daemonry import Daemon, Interface

class Echo(Interface, name="org.example.echo"):
    async def echo(self, number: int) -> int:
        return number

daemon = Daemon("probe")
daemon.serve(Echo())
"""

CALLS = """
import daemonry
from probe import Echo, daemon

def calls(first):
    wrong = 0
    for number in range(first, first + 50):
        wrong += proxy.echo(number) != number
        pause(0)
    return wrong

def in_pipeline(first):
    wrong = 0
    for number in range(first, first + 50):
        wrong += pipelined.echo(number).result() != number
        pause(0)
    return wrong

with daemonry.ensure(daemon) as client:
    proxy = client.proxy(Echo)
    tasks = [spawn(calls, 1000 * one) for one in range(10)]
    print("wrong", sum(result(task) for task in tasks))
    with client.pipeline() as pipeline:
        pipelined = pipeline.proxy(Echo)
        tasks = [spawn(in_pipeline, 1000 * one) for one in range(5)]
        print("wrong", sum(result(task) for task in tasks))
daemonry.stop(daemon)
print("stopped")
"""

GEVENT = """
from gevent import monkey
monkey.patch_all()
from gevent import sleep as pause, spawn
result = lambda task: task.get()
"""

EVENTLET = """
import eventlet
eventlet.monkey_patch()
from eventlet import sleep as pause, spawn
result = lambda task: task.wait()
"""


@pytest.mark.parametrize(("module", "begin"), [("gevent", GEVENT), ("eventlet", EVENTLET)])
@pytest.mark.parametrize("order", ["replaced first", "daemonry first"])
def test_greenlets_share_a_client_and_start_the_daemon(sandbox, module, begin, order):
    """Each gets its own answers, whichever was imported first; nothing waits for ever."""
    pytest.importorskip(module)
    sandbox.write("probe.py", PROGRAM)
    first, then = (begin, "") if order == "replaced first" else ("import daemonry", begin)
    done = sandbox.run(sys.executable, "-W", "ignore", sandbox.write("calls.py", first + then + CALLS))
    assert (done.code, done.out, done.err) == (0, "wrong 0\nwrong 0\nstopped\n", "")
