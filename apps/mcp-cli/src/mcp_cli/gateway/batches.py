"""JSON-RPC batches: several messages of a client in one array, and their answers in another.

Owns their rules.  Of the revisions, 2025-03-26 alone has them: a server of it must take them, and 2025-06-18
removed them again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from mcp_cli.gateway import modern
from mcp_cli.gateway.faults import INVALID_REQUEST, Fault, error_line, fault_in
from mcp_cli.gateway.relay import Send

REVISION: Final = "2025-03-26"
MAX_MEMBERS: Final = 1000

Take = Callable[[Any, Send], Awaitable[asyncio.Task[None] | None]]


class Batches:
    """The batches of one client that are under way.

    Args:
        take: takes a member, sends its answer by the given function, and returns a request's task.
        send: takes the answers to a batch, a JSON array on one line, for the client.
    """

    def __init__(self, take: Take, send: Send) -> None:
        self._take = take
        self._send = send
        self._under_way: set[asyncio.Task[None]] = set()

    async def handle(self, members: list[Any]) -> None:
        """Take a batch, or refuse it with one error."""
        fault = fault_in_batch(members)
        if fault is None:
            await self.begin(members)
        else:
            await self._send(error_line(None, fault))

    async def begin(self, members: list[Any]) -> asyncio.Task[None]:
        """Begin all members of a batch, and return the task that ends when its answers are sent.

        Args:
            members: at least one, and no more than `MAX_MEMBERS`: see `fault_in_batch`.
        """
        answers: list[str] = []

        async def keep(answer: str) -> None:
            answers.append(answer)

        begun = [await self._take(one, keep) for one in members]
        requests = [one for one in begun if one is not None]
        task = asyncio.create_task(self._answer(requests, answers), name="batch")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _answer(self, requests: list[asyncio.Task[None]], answers: list[str]) -> None:
        try:
            if requests:
                await asyncio.wait(requests)
        except asyncio.CancelledError:
            for one in requests:
                one.cancel()
            await asyncio.wait(requests)
            raise
        if answers:  # a request that the client cancelled has none
            await self._send(f"[{','.join(answers)}]")

    async def drain(self) -> None:
        """Wait until all batches are answered."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def close(self) -> None:
        """Cancel the batches, and their requests."""
        for one in self._under_way:
            one.cancel()
        await self.drain()


def fault_in_batch(members: list[Any]) -> Fault | None:
    """Return the fault for which a batch is refused as a whole; None where it has none."""
    if not members:
        return Fault(INVALID_REQUEST, "a batch has at least one message")
    if len(members) > MAX_MEMBERS:
        return Fault(INVALID_REQUEST, f"a batch has at most {MAX_MEMBERS} messages")
    return None


def fault_in_member(method: Any, number: Any, params: Any) -> Fault | None:
    """Return the fault in a request or notification of a batch; None where it has none."""
    fault = fault_in(method, number, params)
    if fault is not None:
        return fault
    if method == "initialize":
        return Fault(INVALID_REQUEST, "initialize must be sent alone, and not in a batch")
    try:
        said = modern.envelope(params)
    except Fault as fault:
        return fault
    if said is not None:
        return Fault(INVALID_REQUEST, f"a batch has no requests of {modern.VERSION}")
    return None


def has_answer(member: Any) -> bool:
    """Whether a member of a batch is answered: a request, or no message at all."""
    return not isinstance(member, dict) or (member.get("method") is not None and member.get("id") is not None)
