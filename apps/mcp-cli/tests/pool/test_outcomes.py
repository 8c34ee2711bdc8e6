"""What a caller is told beside a result."""

import asyncio
import json

from mcp_cli.pool.outcomes import ended, outcome

# As a tool of fastmcp 4 says it.
REFUSED = "elicitation via server-initiated requests is unavailable on 2026-07-28 connections."


def _events(text: str, *, is_error: bool) -> list[tuple[str, str]]:
    result = json.dumps({"content": [{"type": "text", "text": text}], "isError": is_error}).encode()

    async def work() -> list[tuple[str, str]]:
        return [(event.kind, event.text) for event in ended(result, outcome(None, result, 0.0))]

    return asyncio.run(work())


def test_a_tool_that_cannot_ask_in_the_newest_revision_is_answered_with_the_option_that_helps() -> None:
    note, last = _events(REFUSED, is_error=True)
    assert note[0] == "note"
    assert "--protocol 2025-11-25" in note[1]
    assert last == ("done", REFUSED)


def test_a_tool_that_succeeds_or_fails_otherwise_gets_no_advice() -> None:
    assert _events(REFUSED, is_error=False) == [("done", REFUSED)]
    assert _events("no money", is_error=True) == [("done", "no money")]
