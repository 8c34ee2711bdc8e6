"""A server of typed calls in the test's own process, on either event loop."""

import asyncio
import threading

import pytest
import uvloop

# Loaded here, since pytest rewrites what it loads, and Python 3.11 fails now and then where two threads
# make syntax trees at the same time (python/cpython#106905).
import daemonry.service.client.proxy
import daemonry.service.server.varlink.connection  # noqa: F401
from daemonry import Client
from daemonry.service.server.bounds import DEFAULT
from daemonry.service.server.builtin import VarlinkService
from daemonry.service.server.dispatch import Calls
from daemonry.service.server.server import Server

LOOPS = {"asyncio": None, "uvloop": uvloop.new_event_loop}


class State:
    """A daemon that is always the same."""

    def get_status(self):
        return {"state": "running"}


class Serving:
    """A server on a thread of its own.

    Attributes:
        endpoint: where it listens.
        calls: what it serves.
        loop: its loop.
    """

    def __init__(self, endpoint, loop_factory, implementations, limits, **options):
        self.calls = Calls(**options)
        self.calls.serve(VarlinkService(self.calls, ("daemonry", "test", "1", "")))
        for implementation in implementations:
            self.calls.serve(implementation)
        self.server = Server(endpoint, calls=self.calls, limits=limits)
        self.server.bind()
        self.endpoint = str(self.server.endpoint)
        self._loop_factory = loop_factory
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._started.wait(10)

    def client(self):
        return Client.connect(self.endpoint)

    def on_loop(self, function, *arguments):
        """Run a function on the server's loop and return its result."""

        async def run():
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    def end(self):
        """Ask it to end; twice is no error."""
        try:
            self.loop.call_soon_threadsafe(self._cancel.set)
        except RuntimeError:
            pass  # it has ended

    def stop(self):
        self.end()
        self._thread.join(10)
        assert not self._thread.is_alive()
        self.server.cleanup()

    def _run(self):
        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            runner.run(self._serve())

    async def _serve(self):
        self.loop = asyncio.get_running_loop()
        self._cancel = asyncio.Event()
        self._started.set()
        await self.server.run(State(), self._cancel)


@pytest.fixture(params=LOOPS)
def serving(request, socket_path):
    """A function that serves implementations: `serving(Store(), limits=Bounds(...))`; on each loop."""
    yield from _serving(LOOPS[request.param], socket_path)


@pytest.fixture
def serving_once(socket_path):
    """As `serving`, on asyncio's own loop only: for what does not depend on the loop."""
    yield from _serving(None, socket_path)


def _serving(loop_factory, socket_path):
    started = []

    def serve(*implementations, limits=DEFAULT, endpoint=f"unix:{socket_path}", **options):
        started.append(Serving(endpoint, loop_factory, implementations, limits, **options))
        return started[-1]

    yield serve
    for one in started:
        one.stop()
