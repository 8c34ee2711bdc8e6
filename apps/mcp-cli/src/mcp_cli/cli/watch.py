"""`watch SERVER [URI ...]`: a server's changes as they come, a JSON object a line.

Owns the words and the lines.  A change says that something is to be read again, and not what it is now.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Mapping
from typing import Any, Final

from daemonry import errors
from daemonry.cli import kit
from mcp_cli.client.options import Options
from mcp_cli.client.session import Session
from mcp_cli.names import NAME

# Without --timeout: longer than anybody watches, for a stream is to have some end.
FOR_EVER_S: Final = 30 * 24 * 3600.0


def watch(options: Options, given: argparse.Namespace) -> int:
    """Do `watch`: until interrupted, until `--count` changes came, or `--timeout` seconds without one."""
    left = _count(given.count)
    asked: dict[str, Any] = {"uris": given.uris, "lists": not given.uris or given.lists}
    limit_s = options.timeout_s or FOR_EVER_S
    with Session(options) as session:
        (ref,) = session.configure([session.server(given.server)])
        with contextlib.closing(session.watch("Watch", {**ref, **asked}, limit_s)) as events:
            try:
                for event in events:
                    kit.say_json(_line(given.server, event))
                    sys.stdout.flush()
                    left -= event["kind"] == "changed"
                    if left == 0:
                        return kit.DONE
            except errors.DeadlineExceeded:
                kit.complain(f"{given.server}: no change within {limit_s:g} s")
                return kit.NO_ANSWER
    kit.complain(f"{NAME}: the definition of {given.server} has changed: watch it again")
    return kit.FAILED


def _count(text: str | None) -> int:
    """Return how many changes end the watch; -1 for no end."""
    if text is None:
        return -1
    if not text.isascii() or not text.isdecimal() or int(text) == 0:
        raise errors.ArgumentInvalid(text, "is not a number of changes above 0")
    return int(text)


def _line(server: str, event: Mapping[str, Any]) -> dict[str, Any]:
    if event["kind"] == "watching":
        return {"server": server, "event": "watching", "again": bool(event.get("text"))}
    what = event["method"]
    return {
        "server": server,
        "event": "changed",
        "what": what,
        **({"uri": event.get("text", "")} if what == "resource" else {}),
    }
