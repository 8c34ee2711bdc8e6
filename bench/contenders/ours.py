"""daemonry: a whole daemon, on uvloop, with every check on; the client of each way to call it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import question

from daemonry import Daemon
from daemonry.service.client.asynchronous import AsyncClient
from daemonry.service.client.blocking import Client as BlockingClient
from daemonry.service.interface.declare import Interface


class Status(msgspec.Struct):
    """How the daemon is."""

    state: str
    uptime_secs: int
    current_session: str
    saves_count: int
    total_resumes: int


class Bench(Interface, name="org.example.bench"):
    """What is asked."""

    def status(self) -> Status:
        """Return how the daemon is."""
        return Status(
            state=question.STATE,
            uptime_secs=question.UPTIME_SECS,
            current_session=question.CURRENT_SESSION,
            saves_count=question.SAVES_COUNT,
            total_resumes=question.TOTAL_RESUMES,
        )


def serve(path: str) -> None:
    """Be the daemon until it is ended."""
    from daemonry.runtime.runner import run

    daemon = Daemon("bench", endpoint=f"unix:{path}", target="ours:daemon")
    daemon.serve(Bench())

    @daemon.work
    async def idle(_run: Any) -> None:
        await asyncio.Event().wait()

    run(daemon, log_level="error")


class Untyped:
    """The blocking client, called by a method's name."""

    def __init__(self, path: str) -> None:
        self._client = BlockingClient.connect(f"unix:{path}")

    def call(self) -> object:
        """Ask, and wait for the answer."""
        return self._client.call(question.METHOD)

    def close(self) -> None:
        """End the connection."""
        self._client.close()


class Typed:
    """The blocking client, called through a proxy of the interface."""

    def __init__(self, path: str) -> None:
        self._client = BlockingClient.connect(f"unix:{path}")
        self._bench = self._client.proxy(Bench)

    def call(self) -> Status:
        """Ask, and wait for the answer."""
        return self._bench.status()

    def close(self) -> None:
        """End the connection."""
        self._client.close()


class Async:
    """The asyncio client, called through a proxy of the interface."""

    @classmethod
    async def connect(cls, path: str) -> Async:
        """Connect."""
        made = cls()
        made._client = await AsyncClient.connect(f"unix:{path}")
        made._bench = made._client.proxy(Bench)
        return made

    _client: AsyncClient
    _bench: Any

    async def call(self) -> object:
        """Ask, and wait for the answer."""
        return await self._bench.status()

    def close(self) -> None:
        """End the connection."""
        self._client.close()
