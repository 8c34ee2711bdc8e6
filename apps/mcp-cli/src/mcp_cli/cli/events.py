"""A call's events as they come, and its result when it does.

Owns the order of the two; the result is printed by the command's printer, events by `progress`.  On the
path of every warm call.
"""

from __future__ import annotations

import sys

from daemonry.cli.kit import DONE, FAILED, UNKNOWN_OUTCOME
from daemonry.cli.terminal import for_stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from mcp_cli.client.options import Options


def result(events: Generator[dict[str, Any], None, None], options: Options, server: str, tool: str) -> int:
    """Show a call's events, print its result, and return the exit code.

    Raises:
        As the stream of events.
    """
    final, text = last(events, options, server)
    if final is None:
        sys.stderr.write(f"{server}/{tool}: the daemon ended the call without a result; it may have run\n")
        return UNKNOWN_OUTCOME
    is_error = bool(final.get("is_error"))
    options.printer.tool_result(final, text, server, tool)
    broken = final.get("schema_error")
    if broken and not is_error:
        sys.stdout.flush()
        said = f"{server}/{tool}: the result breaks the tool's own output schema: {broken}\n"
        sys.stderr.write(for_stream(said, sys.stderr))
        return FAILED
    return FAILED if is_error else DONE


def last(
    events: Generator[dict[str, Any], None, None], options: Options, server: str
) -> tuple[dict[str, Any] | None, str]:
    """Show events until the last, and return it with the whole text of the result; None if none came."""
    pieces: list[str] = []
    shown = None
    try:
        for event in events:
            kind = event["kind"]
            if kind == "done":
                pieces.append(event.get("result", ""))
                return event, "".join(pieces) if len(pieces) > 1 else pieces[0]
            if kind == "part":
                pieces.append(event.get("result", ""))
                continue
            if shown is None:
                from mcp_cli.cli.progress import ProgressDisplay

                shown = ProgressDisplay(options, server)
            shown.event(event)
    finally:
        if shown is not None:
            shown.clear()
        events.close()
    return None, ""
