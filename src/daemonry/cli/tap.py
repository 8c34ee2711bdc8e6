"""`daemonry tap`: the calls of a daemon as they happen, like strace for a daemon.

Owns how an event is shown.  Parameters are asked for, and shown, only with `--payloads`.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from daemonry import errors, strict_json
from daemonry.cli import exit_codes, output
from daemonry.cli.target import connected
from daemonry.daemon.instance import Instance
from daemonry.terminal_text import json_shown, printable

_TAP = "org.daemonry.Control.Tap"
_MARKS = {"running": "...", "begin": "-->", "end": "<--", "cancelled": "<-x"}
# On one line of a terminal; `--json` has all of it.
_MAX_PAYLOAD_CHARS = 500
_ENDS = ("end", "cancelled")


def tap(instance: Instance, *, payloads: bool, as_json: bool, timeout_s: float) -> int:
    """Print a daemon's calls until interrupted, and return the exit code."""
    with connected(instance, timeout_s) as client:
        output.end_with_the_reader()
        try:
            # The first event is this very call; behind it, it may be quiet for long.
            for event in client.stream(_TAP, {"payloads": payloads}, first_s=timeout_s):
                if as_json:
                    output.say_json(event)
                else:
                    output.say(line_of(event))
                sys.stdout.flush()
        except errors.Draining:
            output.complain(printable(f"{instance.name}: the daemon has ended"))
    return exit_codes.DONE


def line_of(event: dict[str, Any]) -> str:
    """Return an event as one line for a terminal."""
    seconds, fraction = divmod(float(event["at"]), 1)
    moment = output.styled(time.strftime("%H:%M:%S", time.localtime(seconds)) + f"{fraction:.3f}"[1:], "dim")
    if event["event"] == "dropped":
        return f"{moment} {output.styled('... ' + str(event['call']) + ' events were lost', 'warn')}"
    parts = [moment, _MARKS.get(event["event"], "?"), f"#{event['call']}", printable(event["method"])]
    if event.get("seconds") is not None:
        parts.append(_duration(event["seconds"]))
    if event["event"] in _ENDS:
        parts.extend(_outcome(event))
    else:
        parts.append(output.styled(f"({printable(event['peer'])})", "dim"))
    if event.get("parameters") is not None:
        parts.append(_payload(event["parameters"]))
    if event.get("reply"):
        parts.append(_payload(event["reply"]))
    return " ".join(parts)


def _payload(fields: dict[str, Any]) -> str:
    return printable(json_shown(strict_json.encode(fields)), _MAX_PAYLOAD_CHARS)


def _outcome(event: dict[str, Any]) -> list[str]:
    """Return how a call ended, where it did not end well."""
    reason = printable(event.get("reason") or "")
    if event["event"] == "cancelled":
        return [output.styled(f"cancelled: {reason}", "warn")]
    if not event.get("error"):
        return []
    name = printable(event["error"])
    return [output.styled(f"{name}: {reason}" if reason else name, "bad")]


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
