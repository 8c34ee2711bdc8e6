"""Every way to call a daemon, with the type that the caller gets: a file for type checkers, never run.

`test_ways.py` gives it to mypy, and to pyright where that is installed: each `assert_type` must hold, and
each line with a `# wrong:` comment must be an error.
"""

# pyright: strict

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator
from dataclasses import dataclass
from typing import Any, assert_type

import daemonry
from daemonry import (
    AsyncClient,
    AsyncPendingCall,
    AsyncPipeline,
    CallError,
    Client,
    Context,
    Daemon,
    Fd,
    Interface,
    PendingCall,
    Pipeline,
    Pool,
    Stream,
    Upgrade,
    method,
)


@dataclass
class Job:
    """A job."""

    name: str
    at: float = 0.0


class Full(CallError):
    """No room."""

    limit: int


class Jobs(Interface, name="org.example.jobs", errors=(Full,)):
    """Runs jobs."""

    def add(self, steps: int = 1) -> int:
        """Add."""
        return steps

    async def find(self, name: str, *, deep: bool = False) -> Job:
        """Find."""
        return Job(name)

    async def watch(self, job: str) -> AsyncIterator[Job]:
        """Watch."""
        yield Job(job)

    @method(reads=True)
    def names(self) -> list[str]:
        """List them."""
        return []

    @method(blocking=True)
    def wait(self, context: Context, name: str) -> bool:
        """Wait for one."""
        return True

    async def follow(self, context: Context, name: str) -> AsyncIterator[str]:
        """Follow one."""
        yield name

    def echo(self, value: Any) -> Any:
        """Return it."""
        return value

    def talk(self, name: str) -> Upgrade[None]:
        """Talk."""
        raise NotImplementedError

    def open(self, path: str) -> Fd:
        """Open."""
        raise NotImplementedError

    def forget(self) -> None:
        """Forget all."""


daemon = Daemon("jobs")
daemon.serve(Jobs())


def blocking(client: Client) -> None:
    """Call from blocking code."""
    jobs = client.proxy(Jobs, timeout_s=1)
    assert_type(jobs, Jobs)
    assert_type(jobs.add(), int)
    assert_type(jobs.add(steps=2), int)
    assert_type(jobs.names(), list[str])
    jobs.add("x")  # wrong: str for int
    jobs.add(stpes=1)  # wrong: no such parameter
    jobs.ad()  # wrong: no such method
    for _ in jobs.watch("x"):  # wrong: declared for asyncio; `remote` has the blocking type
        pass

    assert_type(client.remote(Jobs.add)(), int)
    assert_type(client.remote(Jobs.add)(steps=2), int)
    assert_type(client.remote(Jobs.add, timeout_s=3)(2), int)
    assert_type(client.remote(Jobs.find)("x", deep=True), Job)
    assert_type(client.remote(Jobs.watch)("x"), Generator[Job, None, None])
    for job in client.remote(Jobs.watch)(job="x"):
        assert_type(job, Job)
    assert_type(client.remote(Jobs.wait)("x"), bool)
    for line in client.remote(Jobs.follow)(name="x"):
        assert_type(line, str)
    assert_type(client.remote(Jobs.talk)("x"), tuple[None, Stream])
    assert_type(client.remote(Jobs.open)("x"), Fd)
    assert_type(client.remote(Jobs.names)(), list[str])
    client.remote(Jobs.echo)({"any": ["thing"]})
    client.remote(Jobs.forget)()
    client.remote(Jobs.add)("x")  # wrong: str for int
    client.remote(Jobs.add)(stpes=1)  # wrong: no such parameter
    client.remote(Jobs.find)()  # wrong: a parameter is missing
    client.remote(Jobs.watch)(1)  # wrong: int for str
    client.remote(Jobs.wait)(1)  # wrong: int for str
    client.remote(Jobs.wait)(client, "x")  # wrong: the context is not the caller's
    client.remote(Jobs.ad)  # wrong: no such method
    client.remote("add")  # wrong: a name is for `call`
    client.remote(Jobs.add)().upper()  # wrong: int has no such method

    assert_type(client.call("org.example.jobs.Add", {"steps": 1}), dict[str, Any])
    assert_type(client.call("org.example.jobs.Add", timeout_s=2.0, idempotent=True), dict[str, Any])
    assert_type(client.stream("org.example.jobs.Watch", {"job": "x"}), Generator[dict[str, Any], None, None])
    client.call("org.example.jobs.Add", steps=1)  # wrong: parameters are one mapping
    client.call(Jobs.add)  # wrong: a method is for `remote`


def ahead(client: Client) -> None:
    """Call ahead of the replies."""
    with client.pipeline(timeout_s=2.0) as pipeline:
        assert_type(pipeline, Pipeline)
        found = pipeline.remote(Jobs.find)("x", deep=True)
        assert_type(found, PendingCall[Job])
        assert_type(found.result(), Job)
        assert_type(pipeline.remote(Jobs.add)(steps=2).result(), int)
        assert_type(pipeline.remote(Jobs.wait)("x").result(), bool)
        assert_type(pipeline.call("org.example.jobs.Add", {"steps": 1}).result(), dict[str, Any])
        pipeline.oneway("org.example.jobs.Forget").cancel()
        pipeline.remote(Jobs.find)(1)  # wrong: int for str
        pipeline.remote(Jobs.add)() + 1  # wrong: a call, and not its result
        pipeline.call(Jobs.add)  # wrong: a method is for `remote`


async def ahead_async(client: AsyncClient) -> None:
    """Call ahead of the replies, from asyncio."""
    async with client.pipeline() as pipeline:
        assert_type(pipeline, AsyncPipeline)
        found = pipeline.remote(Jobs.find)("x")
        assert_type(found, AsyncPendingCall[Job])
        assert_type(await found, Job)
        assert_type(await pipeline.remote(Jobs.add)(), int)
        await pipeline.drain()
        pipeline.remote(Jobs.add)("x")  # wrong: str for int
        pipeline.remote(Jobs.find)("x").name  # wrong: not awaited  # noqa: B018


async def asynchronous(client: AsyncClient, pool: Pool) -> None:
    """Call from asyncio."""
    jobs = pool.proxy(Jobs)
    assert_type(await jobs.find("x"), Job)
    async for job in jobs.watch("x"):
        assert_type(job, Job)
    await jobs.add()  # wrong: declared as a plain `def`; `remote` has the type for asyncio
    await jobs.find(1)  # wrong: int for str

    for one in (client, pool):
        assert_type(await one.remote(Jobs.add)(steps=2), int)
        assert_type(await one.remote(Jobs.find)("x", deep=True), Job)
        assert_type(one.remote(Jobs.watch)("x"), AsyncGenerator[Job, None])
        async for job in one.remote(Jobs.watch)("x"):
            assert_type(job, Job)
        assert_type(await one.remote(Jobs.wait)("x"), bool)
        async for line in one.remote(Jobs.follow)("x"):
            assert_type(line, str)
        await one.remote(Jobs.echo)({"any": ["thing"]})
        await one.remote(Jobs.forget)()
        assert_type(await one.call("org.example.jobs.Add", {"steps": 1}), dict[str, Any])
        async for fields in one.stream("org.example.jobs.Watch"):
            assert_type(fields, dict[str, Any])
    await client.remote(Jobs.add)("x")  # wrong: str for int
    (await pool.remote(Jobs.find)("x")).nmae  # wrong: no such field  # noqa: B018
    pool.remote(Jobs.add)() + 1  # wrong: not awaited
    for _ in pool.remote(Jobs.watch)("x"):  # wrong: it is an async generator
        pass


def started() -> None:
    """Start it if need be."""
    assert_type(daemonry.ensure(daemon), Client)
    with daemonry.ensure(daemon) as client:
        assert_type(client, Client)
    try:
        daemonry.ensure("jobs").remote(Jobs.add)()
    except Full as error:
        assert_type(error.limit, int)
        error.limits  # wrong: no such field  # noqa: B018
    with Client.connect("unix:/run/x.sock", timeout_s=1) as client:
        assert_type(client, Client)


async def started_async() -> None:
    """Start it from asyncio."""
    async with await daemonry.ensure_async(daemon) as client:
        assert_type(client, AsyncClient)
