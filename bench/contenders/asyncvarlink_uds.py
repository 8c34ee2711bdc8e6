"""asyncvarlink: typed Varlink on asyncio; its server and its client, both on uvloop."""

# Without `from __future__ import annotations`: asyncvarlink reads a method's types as they stand.
import asyncio
import socket
from typing import Any, Self, TypedDict

import question
import uvloop
from asyncvarlink import (
    VarlinkClientProtocol,
    VarlinkInterface,
    VarlinkInterfaceRegistry,
    connect_unix_varlink,
    create_unix_server,
    varlinkmethod,
)


class _Status(TypedDict):
    state: str
    uptime_secs: int
    current_session: str
    saves_count: int
    total_resumes: int


class _Bench(VarlinkInterface, name="org.example.bench"):
    @varlinkmethod
    def Status(self) -> _Status:  # noqa: N802  # the interface's name for it
        """Return how the daemon is."""
        return _Status(**question.answer())


def serve(path: str) -> None:
    """Answer, for ever."""

    async def run() -> None:
        registry = VarlinkInterfaceRegistry()
        registry.register_interface(_Bench())
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        server = await create_unix_server(registry.protocol_factory, sock=listener)
        listener.listen(4096)  # it has asked for a backlog of 1, and is beaten by 64 clients at once
        await asyncio.Event().wait()
        server.close()

    uvloop.run(run())


class Async:
    """One connection."""

    @classmethod
    async def connect(cls, path: str) -> Self:
        """Connect."""
        made = cls()
        made._transport, protocol = await connect_unix_varlink(VarlinkClientProtocol, path)
        made._bench = protocol.make_proxy(_Bench)
        return made

    _transport: Any
    _bench: Any

    async def call(self) -> object:
        """Ask, and wait for the answer."""
        return await self._bench.Status()

    def close(self) -> None:
        """End the connection."""
        self._transport.close()
