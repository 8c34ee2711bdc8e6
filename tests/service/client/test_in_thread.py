"""A connection that is made in a thread for a caller on a loop."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import threading

import pytest

from daemonry.service.client.in_thread import made_in_thread
from daemonry.testing import wait_until


def test_a_caller_that_leaves_meanwhile_has_the_connection_closed() -> None:
    begun, goes_on = threading.Event(), threading.Event()
    made = socket.socket()

    def make() -> tuple[socket.socket, str]:
        begun.set()
        assert goes_on.wait(10)
        return made, "x"

    async def work() -> None:
        task = asyncio.create_task(made_in_thread(make, lambda found: found[0]))
        assert await asyncio.to_thread(begun.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        goes_on.set()
        await asyncio.to_thread(wait_until, lambda: made.fileno() < 0, what="the connection to be closed")

    asyncio.run(work())


def test_the_outcome_is_the_callers_and_so_is_the_context() -> None:
    who = contextvars.ContextVar("who", default="nobody")

    def fail() -> socket.socket:
        raise ConnectionRefusedError(who.get())

    async def work() -> None:
        who.set("caller")
        with pytest.raises(ConnectionRefusedError, match="caller"):
            await made_in_thread(fail, lambda found: found)
        with socket.socket() as made:
            assert await made_in_thread(lambda: made, lambda found: found) is made

    asyncio.run(work())
