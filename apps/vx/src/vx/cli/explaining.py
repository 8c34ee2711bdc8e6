"""`vx explain`: what a build did and why, from its report.

Owns the output; its meaning is `vx.reports.report`'s.  Asks no service: the reports are the
project's own files.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

import msgspec

from daemonry.cli import kit
from vx.reports import run_files
from vx.reports.report import (
    NOT_KEPT,
    ActionReport,
    Difference,
    RunReport,
    before_of,
    changes,
    last_miss,
    summary,
)

_FAILED = 1
_SHOWN = 20


def explain(options: argparse.Namespace) -> int:
    """Do `vx explain`."""
    asked = os.path.abspath(options.directory) if options.directory else os.getcwd()
    if not os.path.isdir(asked):
        kit.complain(f"vx: {kit.printable(asked)}: is not a directory")
        return _FAILED
    directory = project_of(asked)
    runs = run_files.read_all(directory)
    if not runs:
        if options.json:
            kit.say_json({"runs": []})
        else:
            kit.say(f"vx: no builds are known in {kit.printable(directory)}: run `vx build` first")
        return 0
    if options.all:
        return _list(runs, as_json=options.json)
    at = _index(runs, options.run)
    if at is None:
        kit.complain(f"vx: no run {kit.printable(str(options.run))}: `vx explain --all` lists them")
        return _FAILED
    if options.last_miss:
        return _last_miss(runs, options)
    return _one(runs[at], runs[at + 1 :], options)


def project_of(directory: str) -> str:
    """Return the nearest directory above, or `directory`, that has reports; itself where none has."""
    above = directory
    while not os.path.isdir(run_files.runs_dir(above)):
        parent = os.path.dirname(above)
        if parent == above:
            return directory
        above = parent
    return above


def _index(runs: list[RunReport], run_id: str | None) -> int | None:
    if run_id is None:
        return 0
    return next((number for number, one in enumerate(runs) if one.id == run_id.upper()), None)


def _list(runs: list[RunReport], *, as_json: bool) -> int:
    if as_json:
        kit.say_json({"runs": [_without_actions(one) for one in runs]})
        return 0
    for one in runs:
        kit.say(f"{one.id} {summary(one)[0]}")
    return 0


def _one(run: RunReport, earlier: list[RunReport], options: argparse.Namespace) -> int:
    if options.json:
        kit.say_json({**_plain(run), "changes": _all_changes(run, earlier)})
        return 0
    for line in summary(run):
        kit.say(kit.printable(line, 10_000))
    for action in run.actions:
        kit.say(f"{kit.printable(action.title)}: {action.outcome}")
        if action.outcome != "cancelled" and (options.diff or action.outcome != "cached"):
            _say_changes(action, run, earlier, diff=options.diff)
        if options.verbose:
            _say_inputs(action)
    return 0


def _last_miss(runs: list[RunReport], options: argparse.Namespace) -> int:
    found = last_miss(runs)
    if found is None and options.json:
        kit.say_json({"run": None, "changes": []})
        return 0
    if found is None:
        kit.say("vx: nothing had to be compiled in any run that is known")
        return 0
    number, action = found
    run, earlier = runs[number], runs[number + 1 :]
    if options.json:
        told = [_of_change(one) for one in _changes(action, run, earlier)]
        kit.say_json({"run": run.id, **_plain(action), "changes": told})
        return 0
    kit.say(f"{kit.printable(action.title)}: {action.outcome} in run {run.id}")
    _say_changes(action, run, earlier, diff=True)
    _say_inputs(action)
    return 0


def _changes(action: ActionReport, run: RunReport, earlier: list[RunReport]) -> list[Difference]:
    return changes(before_of(action, earlier, run.profile), action)


def _say_changes(action: ActionReport, run: RunReport, earlier: list[RunReport], *, diff: bool) -> None:
    found = _changes(action, run, earlier)
    told = [str(one) for one in found]
    if not found or found[0].kind == "new" or action.outcome == "failed":
        told += action.why
    if not told and action.outcome in ("executed", "shared"):
        told = ["the store did not have it"]
    for one in told[:_SHOWN]:
        kit.say(f"  because: {kit.printable(one, 1000)}")
    if len(told) > _SHOWN:
        kit.say(f"  because: ... and {len(told) - _SHOWN} more changes")
    if action.result == NOT_KEPT:
        kit.say(f"  {NOT_KEPT}")
    if diff and not told and action.outcome == "cached":
        kit.say("  the same as before")


def _say_inputs(action: ActionReport) -> None:
    for name, text in action.parts.items():
        kit.say(f"  {kit.printable(name)}: {kit.printable(text, 2000) or '-'}")
    for path, digest in action.files.items():
        kit.say(f"  input: {kit.printable(path)} {digest[:16]}")
    for name, given in action.env.items():
        kit.say(f"  variable: {name}={'(not set)' if given is None else kit.printable(given)}")


def _all_changes(run: RunReport, earlier: list[RunReport]) -> dict[str, Any]:
    return {
        action.id: [_of_change(one) for one in _changes(action, run, earlier)]
        for action in run.actions
        if action.outcome != "cancelled"
    }


def _of_change(one: Difference) -> dict[str, Any]:
    return {**_plain(one), "text": str(one)}


def _without_actions(run: RunReport) -> dict[str, Any]:
    return {name: value for name, value in _plain(run).items() if name != "actions"}


def _plain(of: msgspec.Struct) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(of)
    return fields
