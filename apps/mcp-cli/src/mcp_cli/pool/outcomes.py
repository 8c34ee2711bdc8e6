"""What a call came to: the events that end it, of a call that is waited for and of one that was kept."""

from __future__ import annotations

import time

from mcp_cli.pool import memory, results
from mcp_cli.pool.definitions import schemas
from mcp_cli.pool.tools import ListedTool
from mcp_cli.protocol.interfaces import Event


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
    return [*(Event(kind="part", result=part) for part in parts), last]
