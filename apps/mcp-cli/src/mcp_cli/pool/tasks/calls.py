"""The calls of `interfaces.Mcp` about tasks, answered.

Owns nothing: the jobs are `jobs`'s, and the servers those of the pool that this is a part of.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from mcp_cli.pool import checking
from mcp_cli.pool.server import ManagedServer
from mcp_cli.pool.tasks.jobs import Jobs
from mcp_cli.protocol.interfaces import Event, Mcp, TaskState


class TaskCalls(Mcp):
    """A part of the pool.

    Attributes:
        jobs: the tasks that it holds.
    """

    jobs: Jobs

    def find(self, server: str, fingerprint: str) -> ManagedServer:
        """Return a server that was given."""
        raise NotImplementedError

    def known(self, server: str, fingerprint: str) -> ManagedServer | None:
        """Return a server that was given; None where it was not."""
        raise NotImplementedError

    async def detach(  # noqa: PLR0913, PLR0917  # as `Mcp.detach`
        self,
        server: str,
        fingerprint: str,
        tool: str,
        arguments: str = "{}",
        words: list[str] | None = None,
        timeout_s: float | None = None,
        check: bool = True,
        pin: str = "",
    ) -> TaskState:
        """As `Mcp.detach`."""
        kept = self.find(server, fingerprint)
        found, given = await checking.checked(kept, tool, arguments, words, check=check, pin=pin)
        return await self.jobs.start(kept, found, given, timeout_s or kept.server.timeout_s)

    async def tasks(self) -> list[TaskState]:
        """As `Mcp.tasks`."""
        return self.jobs.every()

    async def task(self, id: str) -> TaskState:  # noqa: A002
        """As `Mcp.task`."""
        return self.jobs.state(id)

    def follow(
        self,
        id: str,  # noqa: A002
        fingerprint: str = "",
        timeout_s: float | None = None,
        wait: bool = True,
    ) -> AsyncGenerator[Event, None]:
        """As `Mcp.follow`."""
        one = self.jobs.state(id)
        kept = self.known(one.server, fingerprint)
        return self.jobs.follow(id, kept, timeout_s if wait else 0.0)

    async def cancel(self, id: str, fingerprint: str = "") -> TaskState:  # noqa: A002
        """As `Mcp.cancel`."""
        one = self.jobs.state(id)
        return await self.jobs.cancel(id, self.known(one.server, fingerprint))
