"""Who answers a server's question: nobody, a command of the configuration, the caller, or whoever comes.

Owns the decision and the questions that are open.  A question belongs to one call.  An answer is the JSON of
the result that the protocol wants, "" for a refusal.
"""

from __future__ import annotations

import asyncio
import enum
import secrets
import time
from collections.abc import Iterator
from typing import Final

from mcp_cli.names import ELICITATION, SAMPLING
from mcp_cli.pool.call import PendingCall
from mcp_cli.pool.questions import hooks
from mcp_cli.protocol.interfaces import Event, Question, Server

ASK, DECLINE = "ask", "decline"
# Of the questions of one daemon that are open; one more is refused.
MOST_OPEN: Final = 1000


class Way(enum.Enum):
    """How a question is answered."""

    REFUSE = "refuse"
    HOOK = "hook"
    CALLER = "caller"
    OPEN = "open"


def way(method: str, server: Server, answers: tuple[str, ...]) -> Way:
    """Return how a question is answered: the configuration before the caller.

    Args:
        method: of the question.
        server: the definition of the server that asks.
        answers: the methods that the caller answers itself.
    """
    policy = {ELICITATION: server.elicitation, SAMPLING: server.sampling}.get(method, "")
    if policy == DECLINE:
        return Way.REFUSE
    if _hook_of(method, server):
        return Way.HOOK
    if method in answers:
        return Way.CALLER
    return Way.OPEN if policy == ASK else Way.REFUSE


def _hook_of(method: str, server: Server) -> list[str]:
    return {ELICITATION: server.elicitation_command, SAMPLING: server.sampling_command}.get(method, [])


class OpenQuestion:
    """A question that waits for its answer."""

    def __init__(self, shown: Question) -> None:
        self.shown = shown
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()


class Questions:
    """The open questions of one server.

    Args:
        server: its definition.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._open: dict[str, OpenQuestion] = {}

    def every(self) -> Iterator[Question]:
        """Yield those that are open, the oldest first."""
        for one in self._open.values():
            yield one.shown

    def answer(self, number: str, result: str) -> bool:
        """Answer a question; False where it is not open any more."""
        waiting = self._open.get(number)
        if waiting is None or waiting.answer.done():
            return False
        waiting.answer.set_result(result)
        return True

    async def ask(self, call: PendingCall, method: str, params: str) -> str | None:
        """Have a question answered, and return the result's JSON; None for a refusal.

        A call that ends takes its questions with it, though a server may go on waiting.
        """
        asked = asyncio.ensure_future(self._ask(call, method, params))
        over = asyncio.create_task(call.over.wait())
        try:
            await asyncio.wait((asked, over), return_when=asyncio.FIRST_COMPLETED)
            return await asked if asked.done() else None
        finally:
            over.cancel()
            if not asked.done():
                asked.cancel()
                await asyncio.wait((asked,))

    async def _ask(self, call: PendingCall, method: str, params: str) -> str | None:
        chosen = way(method, self._server, call.answers)
        if chosen is Way.HOOK:
            return await self._by_hook(call, method, params)
        if chosen is Way.REFUSE or len(self._open) >= MOST_OPEN:
            return None
        return await self._by_somebody(call, method, params, limited=chosen is Way.OPEN)

    async def _by_hook(self, call: PendingCall, method: str, params: str) -> str | None:
        server = self._server
        given = hooks.question(server.name, call.label, method, params)
        call.pause()
        try:
            said = await hooks.run(_hook_of(method, server), given, server.hook_timeout_s)
            return hooks.elicited(said, params) if method == ELICITATION else hooks.sampled(said)
        except hooks.HookFailed as error:
            call.tell(Event(kind="note", level="warning", text=f"{server.name}: {error}: it was refused"))
            return None
        finally:
            call.unpause()

    async def _by_somebody(self, call: PendingCall, method: str, params: str, *, limited: bool) -> str | None:
        number = secrets.token_hex(4)
        shown = Question(
            id=number,
            server=self._server.name,
            tool=call.label,
            method=method,
            params=params,
            asked_at=time.time(),
            task=call.task,
        )
        self._open[number] = waiting = OpenQuestion(shown)
        call.questions.add(number)
        call.renew()
        level = "open" if limited else ""
        call.tell(Event(kind="question", id=number, method=method, result=params, level=level))
        limit_s = self._server.timeout_s if limited else None
        try:
            async with asyncio.timeout(limit_s):
                return await waiting.answer or None
        except TimeoutError:
            text = f"{self._server.name}: nobody answered its question within {limit_s:g} s: it was refused"
            call.tell(Event(kind="note", level="warning", text=text))
            return None
        finally:
            del self._open[number]
            call.questions.discard(number)
            call.renew()
