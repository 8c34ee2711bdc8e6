"""daemonry: a whole daemon, on uvloop, with every check on; the client of each way to call it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import question

from daemonry import Daemon
from daemonry.service.client.asynchronous import AsyncClient
from daemonry.service.client.blocking import Client as BlockingClient
from daemonry.service.interface.declare import Interface


class Report(msgspec.Struct):
    """How the daemon is."""

    state: str
    uptime_secs: int
    current_session: str
    saves_count: int
    total_resumes: int


class Bench(Interface, name="org.example.bench"):
    """What is asked."""

    def status(self) -> Report:
        """Return how the daemon is."""
        return Report(
            state=question.STATE,
            uptime_secs=question.UPTIME_SECS,
            current_session=question.CURRENT_SESSION,
            saves_count=question.SAVES_COUNT,
            total_resumes=question.TOTAL_RESUMES,
        )

    def status_of(self, session: str, saves: int) -> Report:
        """Return how a session is."""
        return Report(question.STATE, question.UPTIME_SECS, session, saves, question.TOTAL_RESUMES)

    async def status_async(self) -> Report:
        """Return how the daemon is, by a handler that could wait, and does not."""
        return self.status()

    async def status_of_async(self, session: str, saves: int) -> Report:
        """Return how a session is, by a handler that could wait, and does not."""
        return self.status_of(session, saves)

    async def status_later(self) -> Report:
        """Return how the daemon is, a turn of the loop later."""
        await asyncio.sleep(0)
        return self.status()

    def rows(self, count: int) -> list[Report]:
        """Return a list of answers."""
        return [self.status() for _ in range(count)]

    def echo(self, text: str) -> str:
        """Return what was given."""
        return text

    def numbers(self, numbers: list[int]) -> list[int]:
        """Return what was given."""
        return numbers

    async def items(self, count: int) -> AsyncIterator[int]:
        """Yield as many numbers."""
        for number in range(count):
            yield number


def serve(path: str, name: str = "bench") -> None:
    """Be the daemon until it is ended."""
    from daemonry.runtime.runner import run

    daemon = Daemon(name, endpoint=f"unix:{path}", target="ours:daemon")
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

    def call(self) -> Report:
        """Ask, and wait for the answer."""
        return self._bench.status()

    def close(self) -> None:
        """End the connection."""
        self._client.close()


class Arguments(Typed):
    """A call with two arguments."""

    def call(self) -> Report:
        """Ask, and wait for the answer."""
        return self._bench.status_of(question.CURRENT_SESSION, question.SAVES_COUNT)


class Awaited(Typed):
    """A call whose handler is `async def`."""

    def call(self) -> Report:
        """Ask, and wait for the answer."""
        return asked(self._bench.status_async())


class AwaitedArguments(Typed):
    """A call with two arguments, whose handler is `async def`."""

    def call(self) -> Report:
        """Ask, and wait for the answer."""
        return asked(self._bench.status_of_async(question.CURRENT_SESSION, question.SAVES_COUNT))


class Later(Typed):
    """A call whose handler waits."""

    def call(self) -> Report:
        """Ask, and wait for the answer."""
        return asked(self._bench.status_later())


class Rows(Typed):
    """A list of answers."""

    def call(self) -> list[Report]:
        """Ask, and wait for the answer."""
        return self._bench.rows(question.ROWS)

    def check(self, reply: list[Report]) -> bool:
        """Whether a reply is the right one."""
        return [msgspec.to_builtins(one) for one in reply] == [question.answer()] * question.ROWS


class Stream(Typed):
    """A stream; what is measured is one item of it."""

    PARTS = question.ITEMS

    def call(self) -> list[int]:
        """Ask, and take all items."""
        return list(asked(self._bench.items(question.ITEMS)))

    def check(self, reply: list[int]) -> bool:
        """Whether a reply is the right one."""
        return reply == list(range(question.ITEMS))


class Kib1(Typed):
    """1 KiB of text, there and back."""

    text = "x" * (1 << 10)

    def call(self) -> str:
        """Ask, and wait for the answer."""
        return self._bench.echo(self.text)

    def check(self, reply: str) -> bool:
        """Whether a reply is the right one."""
        return reply == self.text


class Kib64(Kib1):
    """64 KiB of text, there and back."""

    text = "x" * (64 << 10)


class Mib1(Kib1):
    """1 MiB of text, there and back."""

    text = "x" * (1 << 20)


class Numbers(Typed):
    """10,000 integers, there and back."""

    given = list(range(question.NUMBERS))  # noqa: RUF012  # nobody changes it

    def call(self) -> list[int]:
        """Ask, and wait for the answer."""
        return self._bench.numbers(self.given)

    def check(self, reply: list[int]) -> bool:
        """Whether a reply is the right one."""
        return reply == self.given


class Pipelined(Typed):
    """Many calls ahead of their replies; one is measured."""

    PARTS = question.PIPELINED

    def call(self) -> list[Report]:
        """Ask all, and take all answers."""
        with self._client.pipeline() as pipeline:
            status = pipeline.remote(Bench.status)
            calls = [status() for _ in range(self.PARTS)]
        return [call.result() for call in calls]

    def check(self, reply: list[Report]) -> bool:
        """Whether a reply is the right one."""
        return [msgspec.to_builtins(one) for one in reply] == [question.answer()] * self.PARTS


class Pipelined16(Pipelined):
    """Sixteen calls ahead of their replies."""

    PARTS = 16


class PipelinedArguments(Pipelined):
    """Many calls with two arguments ahead of their replies."""

    def call(self) -> list[Report]:
        """Ask all, and take all answers."""
        session, saves = question.CURRENT_SESSION, question.SAVES_COUNT
        with self._client.pipeline() as pipeline:
            status = pipeline.remote(Bench.status_of)
            calls = [status(session, saves) for _ in range(self.PARTS)]
        return [call.result() for call in calls]


def asked(reply: Any) -> Any:
    """Return a blocking proxy's result, which type checkers take for a coroutine."""
    return reply


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
