"""Whatever a handler raises, its caller gets an error and the server goes on: also what is no `Exception`."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from daemonry import Interface, errors, method

NAME = "org.example.raising"


class Outcome(BaseException):
    """As pytest's own, and trio's cancellation: no `Exception`."""


RAISED = {
    "outcome": Outcome,
    "ctrl_c": KeyboardInterrupt,
    "exit": SystemExit,
    "closed": GeneratorExit,
    "cancelled": asyncio.CancelledError,
    "done": StopIteration,
}


class Raising(Interface, name=NAME):
    """One method of each kind, which raises what it is given the name of."""

    def plain(self, what: str) -> int:
        raise RAISED[what]

    async def at_once(self, what: str) -> int:
        raise RAISED[what]

    async def later(self, what: str) -> int:
        await asyncio.sleep(0)
        raise RAISED[what]

    @method(blocking=True)
    def in_thread(self, what: str) -> int:
        raise RAISED[what]

    async def stream(self, what: str) -> AsyncIterator[int]:
        yield 1
        raise RAISED[what]

    async def slow_stream(self, what: str) -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(0)
        raise RAISED[what]

    def fine(self) -> int:
        return 7


@pytest.fixture
def client(serving):
    with serving(Raising()).client() as client:
        yield client


def outcome(client, name, what):
    call = client.stream if name.endswith("Stream") else client.call
    with pytest.raises(errors.Failed) as caught:
        list(call(f"{NAME}.{name}", {"what": what}))
    return str(caught.value)


@pytest.mark.parametrize("what", RAISED)
@pytest.mark.parametrize("name", ["Plain", "AtOnce", "Later", "InThread", "Stream", "SlowStream"])
def test_the_caller_gets_an_error_and_the_connection_goes_on(client, name, what):
    told = outcome(client, name, what)
    assert "raised" in told or "cancelled" in told
    assert client.call(f"{NAME}.Fine")["result"] == 7
