"""asyncio's protocols on uvloop, and what msgspec alone takes: the bare way of `async def`, and no product.

A handler that is `def` is called as its bytes come; one that is `async def` is a task, as asyncio's own
streams and every framework on it have it, and its reply is sent as it ends.  Nothing else is looked at.
"""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop
from sockets_msgspec import NUL, BareFlat, StatusAwaited, answer_to, encode, read_call


class _Answering(asyncio.Protocol):
    """One connection, whose calls come whole and alone."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._create_task = asyncio.get_running_loop().create_task

    def data_received(self, data: bytes) -> None:
        call = read_call(data[:-1])
        if type(call) is StatusAwaited:
            self._create_task(_handle(call)).add_done_callback(self._reply)
        else:
            self._transport.write(encode(answer_to(call)) + NUL)

    def _reply(self, task: asyncio.Task[Any]) -> None:
        self._transport.write(encode(task.result()) + NUL)


async def _handle(call: Any) -> Any:
    return answer_to(call)


def serve(path: str) -> None:
    """Answer, for ever."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        await loop.create_unix_server(_Answering, path, backlog=4096)
        await asyncio.Event().wait()

    uvloop.run(run())


class Client(BareFlat):
    """Asks for what a `def` answers."""


class Awaited(BareFlat):
    """Asks for what an `async def` answers."""

    asked = StatusAwaited()
