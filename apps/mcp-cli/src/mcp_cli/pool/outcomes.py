"""What a call came to: the events that end it, of a call that is waited for and of one that was kept."""

from __future__ import annotations

import time

from mcp_cli.names import PROTOCOLS
from mcp_cli.pool import memory, results
from mcp_cli.pool.definitions import schemas
from mcp_cli.pool.tools import ListedTool
from mcp_cli.protocol.interfaces import Event

# What the SDK for Python has a tool say that asks its client in the middle of a call of the newest revision.
OLDER_ONLY = "server-initiated requests is unavailable"


def outcome(tool: ListedTool | None, result: bytes, began: float) -> Event:
    """Return the last event of a tool call, without its result.

    Args:
        tool: as its server lists it; None where that is not known any more.
        result: its JSON.
        began: when the server was asked, on the monotonic clock.
    """
    gist = results.gist_of(result)
    fault = gist.odd
    if not fault and not gist.is_error and tool is not None:
        fault = schemas.output_fault(tool, gist.structured)
    return Event(
        kind="done",
        text=gist.text,
        plain=gist.plain and not fault,
        is_error=gist.is_error,
        ms=round((time.monotonic() - began) * 1000, 3),
        schema_error=fault,
    )


def ended(result: bytes, last: Event) -> list[Event]:
    """Return the events that end a call, with its result in pieces that fit into a frame."""
    memory.used(len(result))
    *parts, tail = results.pieces(results.text_of(result))
    last.result = tail
    return [*_advice(last), *(Event(kind="part", result=part) for part in parts), last]


def _advice(last: Event) -> list[Event]:
    """Return the note on a failure that an older revision of the protocol would not have; mostly none."""
    if not last.is_error or OLDER_ONLY not in last.text:
        return []
    newest, older = PROTOCOLS[-1], PROTOCOLS[-2]
    text = f'the server asks as before {newest}: try --protocol {older}, or set protocol = "{older}"'
    return [Event(kind="note", level="warning", text=text)]
