"""Calls that wait for a client's answers between two of its requests.

The revision 2026-07-28 has no questions from server to client: a call that needs an answer ends with
`input_required`, and the client makes it again with the answer.  Here the call goes on meanwhile, and
`requestState` is how it is found again.  Owns the calls that wait, how many and for how long.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Final

from mcp_cli.gateway.faults import INVALID_PARAMS, Fault

MOST_WAITING: Final = 200
# For as long a client may take over its answers.
KEEP_S: Final = 1800.0

Events = AsyncGenerator[dict[str, Any], None]
OnEvent = Callable[[Mapping[str, Any]], Awaitable[None]]
Answer = Callable[[str, str], Awaitable[None]]


class RoundCall:
    """One call that is made in rounds.

    Args:
        tool: the tool, as the client named it.
        events: the call's.
    """

    def __init__(self, tool: str, events: Events) -> None:
        self.tool = tool
        self._events = events
        self._parts: list[str] = []
        self._question: dict[str, Any] = {}

    async def advance(self, on_event: OnEvent) -> str | None:
        """Follow the call, and return its result's JSON; None where it wants an answer.

        Raises:
            As the call.
        """
        self._question = {}
        async for event in self._events:
            if event["kind"] in ("part", "done"):
                self._parts.append(event.get("result", ""))
            elif event["kind"] == "question":
                self._question = event
                return None
            else:
                await on_event(event)
        return "".join(self._parts)

    def wanted(self, state: str) -> str:
        """Return the result that asks the client."""
        number, method = json.dumps(self._question["id"]), json.dumps(self._question["method"])
        params = self._question.get("result") or "{}"
        return (
            f'{{"resultType":"input_required","inputRequests":{{{number}:{{"method":{method},"params":{params}'
            f'}}}},"requestState":{json.dumps(state)}}}'
        )

    async def answer(self, responses: Mapping[str, Any], answer: Answer) -> None:
        """Answer the open question; without a response it is refused."""
        response = responses.get(str(self._question["id"]))
        said = json.dumps(response) if isinstance(response, dict) else ""
        await answer(str(self._question["id"]), said)

    async def close(self) -> None:
        """Cancel the call, if it goes on."""
        await self._events.aclose()


class Rounds:
    """The calls of one gateway that wait."""

    def __init__(self) -> None:
        self._waiting: dict[str, RoundCall] = {}
        self._ends: dict[str, asyncio.Task[None]] = {}

    async def call(
        self, params: Mapping[str, Any], begin: Callable[[], Events], on_event: OnEvent, answer: Answer
    ) -> str:
        """Make a call, or go on with one, and return the result's JSON; a question ends this round of it.

        Args:
            params: of the client's `tools/call`.
            begin: makes the call.
            on_event: is given what happens meanwhile.
            answer: answers a question, by its id.

        Raises:
            Fault: it goes on with a call that does not wait any more.
            CallFailed: as the call.
        """
        name, state = params["name"], params.get("requestState")
        one = RoundCall(name, begin()) if state is None else self.take(state, name)
        waits = False
        try:
            if state is not None:
                await one.answer(params.get("inputResponses") or {}, answer)
            result = await one.advance(on_event)
            if result is not None:
                return result
            waits = True
        finally:
            if not waits:
                await one.close()
        return one.wanted(await self.keep(one))

    async def keep(self, call: RoundCall) -> str:
        """Keep a call, and return how it is found again; of too many the oldest ends."""
        while len(self._waiting) >= MOST_WAITING:
            await self._end(next(iter(self._waiting)))
        state = secrets.token_urlsafe(18)
        self._waiting[state] = call
        self._ends[state] = asyncio.create_task(self._end_late(state))
        return state

    def take(self, state: object, tool: str) -> RoundCall:
        """Return a call that was kept, once.

        Raises:
            Fault: it does not wait any more.
        """
        call = self._waiting.get(state) if isinstance(state, str) else None
        if call is None or call.tool != tool or not isinstance(state, str):
            raise Fault(INVALID_PARAMS, "the call that this answers does not wait any more")
        del self._waiting[state]
        self._ends.pop(state).cancel()
        return call

    async def _end_late(self, state: str) -> None:
        await asyncio.sleep(KEEP_S)
        del self._ends[state]  # which is this task
        await self._waiting.pop(state).close()

    async def _end(self, state: str) -> None:
        self._ends.pop(state).cancel()
        with contextlib.suppress(Exception):
            await self._waiting.pop(state).close()

    async def close(self) -> None:
        """End all."""
        for state in list(self._waiting):
            await self._end(state)
