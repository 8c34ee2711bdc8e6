"""A call's events as they come, and its result when it does.

Owns what is shown while a call runs (on standard error), and the plain result; what has images,
links or structure in it is `render`'s.  On the path of every warm call.
"""

from __future__ import annotations

import sys

from daemonry.cli.kit import DONE, FAILED, UNKNOWN_OUTCOME
from mcp_cli.cli.terminal import end_of_line, json_safe, safe, write

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
    if options.raw:
        write(json_safe(text, sys.stdout) + "\n", sys.stdout)
    elif options.json:
        _say_json(final, text, is_error)
    else:
        _say(final, text, options, f"{server}-{tool}")
    if is_error and (options.raw or options.json):
        sys.stdout.flush()
        write(end_of_line(safe(final.get("text") or f"{server}/{tool}: failed", sys.stderr)), sys.stderr)
    broken = final.get("schema_error")
    if broken and not is_error:
        sys.stdout.flush()
        sys.stderr.write(
            safe(f"{server}/{tool}: the result breaks the tool's own output schema: {broken}\n", sys.stderr)
        )
        return FAILED
    return FAILED if is_error else DONE


def _say(final: dict[str, Any], text: str, options: Options, stem: str) -> None:
    is_error = bool(final.get("is_error"))
    stream = sys.stderr if is_error else sys.stdout
    words = final.get("text", "")
    # JSON is laid out for people, which is not for the quick way.
    if final.get("plain") and not (words[:1] in ("[", "{") and stream.isatty()):
        write(end_of_line(safe(words, stream)), stream)
        return
    from mcp_cli.cli import render

    render.show(text, options, stem, is_error=is_error)


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
                from mcp_cli.cli.progress import Shown

                shown = Shown(options, server)
            shown.event(event)
    finally:
        if shown is not None:
            shown.clear()
        events.close()
    return None, ""


def _say_json(final: dict[str, Any], text: str, is_error: bool) -> None:
    broken = final.get("schema_error")
    extra = _schema_error(broken) if broken else ""
    failed = "true" if is_error else "false"
    whole = f'{{"outcome":"done","is_error":{failed}{extra},"result":{text}}}\n'
    write(json_safe(whole, sys.stdout), sys.stdout)


def _schema_error(broken: str) -> str:
    import json

    return f',"schema_error":{json.dumps(broken)}'
