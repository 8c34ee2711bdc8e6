"""A tool call that is refused until the user has opened a page (-32042): opened, and called again.

The server refuses before it does anything, so to call again does not call twice.  Owns the rounds.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from mcp_cli.names import ELICITATION
from mcp_cli.pool.call import PendingCall
from mcp_cli.pool.server import ManagedServer
from mcp_cli.protocol.interfaces import ServerRefused

URL_ELICITATION_REQUIRED: Final = -32042
# A server that wants pages for ever is refused in the end.
MOST_ROUNDS: Final = 3
MOST_PAGES: Final = 10


class _Data(msgspec.Struct):
    elicitations: list[dict[str, Any]] = []


async def asked(kept: ManagedServer, call: PendingCall, params: dict[str, Any]) -> bytes:
    """Ask for `tools/call`, with the pages opened that the server wants.

    Raises:
        As `ManagedServer.ask`; `ServerRefused` also where the user opens none.
    """
    for _ in range(MOST_ROUNDS):
        try:
            return await kept.ask(call, "tools/call", params)
        except ServerRefused as error:
            pages = _pages(error)
            if not pages or not await _opened(kept, call, pages):
                raise
    return await kept.ask(call, "tools/call", params)


def _pages(error: ServerRefused) -> list[dict[str, Any]]:
    if error.code != URL_ELICITATION_REQUIRED:
        return []
    try:
        return msgspec.json.decode(error.data, type=_Data).elicitations[:MOST_PAGES]
    except msgspec.MsgspecError:
        return []


async def _opened(kept: ManagedServer, call: PendingCall, pages: list[dict[str, Any]]) -> bool:
    for page in pages:
        answer = await kept.question_of(call, ELICITATION, json.dumps({**page, "mode": "url"}))
        if not answer or json.loads(answer).get("action") != "accept":
            return False
    return True
