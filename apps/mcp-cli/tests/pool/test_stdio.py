"""A server that writes faster than it is understood is the one who waits."""

from __future__ import annotations

import asyncio
from typing import Any

from mcp_cli.pool.stdio import MOST_WAITING_LINES, StdioProcess
from mcp_cli.protocol.interfaces import Server


class Pipe:
    """The reading end of a pipe."""

    reads = True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


def test_a_flood_of_small_lines_is_read_no_faster_than_it_is_understood() -> None:
    """An answer stood behind 120,000 notifications, and its call was given up."""

    async def work() -> None:
        pipe: Any = Pipe()
        process = StdioProcess(Server(name="s", fingerprint="1", command="s"), lambda _: None)
        process._reading = pipe
        for _ in range(MOST_WAITING_LINES):
            process._line(b"{}")
        assert pipe.reads
        process._line(b"{}")
        assert not pipe.reads
        assert await process.receive() == b"{}"
        assert pipe.reads

    asyncio.run(work())
