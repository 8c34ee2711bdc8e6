"""`vx verify --rebuild N`: builds the project here, and makes N of its results again, without the store.

Owns the output: one line for each result that differs, and how many were the same.
"""

from __future__ import annotations

import argparse

import daemonry
from daemonry.cli import kit
from vx.cli.bring_up import reach
from vx.cli.build import BuildArguments, call_of, parameters_of

_DIFFERENT = 1
_USAGE = 2
_MOST = 1_000_000
_FIRST_EVENT_S = 600.0


def rebuild(options: argparse.Namespace) -> int:
    """Do it."""
    if not (options.rebuild.isascii() and options.rebuild.isdigit() and 1 <= int(options.rebuild) <= _MOST):
        kit.complain(f"vx: --rebuild is {options.rebuild!r}, and not a number from 1 to {_MOST}")
        return _USAGE
    asked = BuildArguments()
    asked.parameters = {"release": options.release, "rebuild": int(options.rebuild)}
    same, different = 0, 0
    with reach(spawn=not options.no_spawn) as client:
        for event in client.stream(call_of("build"), parameters_of(asked), first_s=_FIRST_EVENT_S):
            if event["kind"] == "compared":
                same += event["outcome"] == "same"
                different += event["outcome"] != "same"
                _say(options, event)
            last = event
    if last["kind"] != "finished":
        raise daemonry.errors.ConnectionLost("aether", "maybe")
    if not last.get("success", False):
        kit.complain(f"vx: {kit.printable(last.get('text', ''))}")
        return int(last.get("code", 0)) or 1
    if options.json:
        kit.say_json({"ok": not different, "same": same, "different": different})
    else:
        kit.say(
            f"vx: {same + different} results made again: "
            + (f"{different} differ" if different else "all the same")
        )
    return _DIFFERENT if different else 0


def _say(options: argparse.Namespace, event: dict[str, str]) -> None:
    if options.json:
        kit.say_json({key: event.get(key, "") for key in ("title", "outcome", "text")})
    elif event["outcome"] != "same":
        kit.say(f"not reproducible: {kit.printable(event['title'])}: {kit.printable(event.get('text', ''))}")
