"""A run's report: which actions were done, which not, and why; and the sentences that `explain` makes of it.

Owns the form of `.vx/runs/ID.json`.  Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

FORMAT: Final = 1
# The error of a run that somebody ended, with Ctrl-C most often.
CANCELLED: Final = "cancelled"
# The result of an action that was used and not kept, for what it read is not known for sure.
NOT_KEPT: Final = "not kept: a file that it read changed just before it ran, or meanwhile"

Outcome = Literal["cached", "shared", "executed", "failed", "cancelled"]


class ActionReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """One action of a run.

    Attributes:
        id: the action's; the same from run to run.
        title: for people.
        outcome: `cached`: found; `shared`: another build ran it meanwhile; `executed`: it ran;
            `failed`, `cancelled`.
        recipe: the key of the request.
        parts: what that consists of.
        files: digests of the files that it read, by path.
        env: variables that were read.
        why: for an action that was not cached: the conditions of the newest entry that did not hold.
        result: the key of its outputs; "" for none, `NOT_KEPT` for those that the next build makes again.
        duration_ms: how long it ran.
    """

    id: str
    title: str
    outcome: Outcome
    recipe: str = ""
    parts: dict[str, str] = {}
    files: dict[str, str] = {}
    env: dict[str, str | None] = {}
    why: list[str] = []
    result: str = ""
    duration_ms: int = 0


class RunReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """One run.

    Attributes:
        format: of this file.
        id: a ULID: sorts by time.
        success: whether all was built.
        error: why not, in one line.
        project: its name.
        directory: where it is.
        profile: dev or release.
        platform: the target triple.
        started_s: since 1970.
        duration_ms: of the whole.
        vx_version: who wrote this.
        actions: one report for each action.
        outputs: the files that were put for the user.
        remote: what went wrong with a remote, a line for each reason.
        same_as: the run in whose report the actions are, if nothing at all has changed since; "" for none.
    """

    format: int
    id: str
    success: bool
    error: str
    project: str
    directory: str
    profile: str
    platform: str
    started_s: float
    duration_ms: int
    vx_version: str
    actions: list[ActionReport] = []
    outputs: list[str] = []
    same_as: str = ""
    remote: list[str] = []

    def count(self, *outcomes: str) -> int:
        """Return how many actions ended so."""
        return sum(1 for one in self.actions if one.outcome in outcomes)


class Difference(msgspec.Struct, frozen=True):
    """One thing that is otherwise than in an earlier run.

    Attributes:
        kind: `file`, `part`, `variable`, or `new` for an action that was not there.
        name: which.
        before: its digest or text then; None where there was none.
        after: and now.
    """

    kind: Literal["file", "part", "variable", "new"]
    name: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.kind == "new":
            return "built for the first time here"
        if self.kind == "file":
            how = (
                "is new"
                if self.before is None
                else "is not read any more"
                if self.after is None
                else "changed"
            )
            return f"file {self.name} {how}"
        if self.kind == "variable":
            return f"variable {self.name}: {_quoted(self.before)} -> {_quoted(self.after)}"
        if self.name.startswith("needs "):
            return f"{self.name.removeprefix('needs ')}, which it is built with, changed"
        return f"{self.name}: {_quoted(self.before)} -> {_quoted(self.after)}"


def changes(before: ActionReport | None, now: ActionReport) -> list[Difference]:
    """Return the differences, the parts of the recipe first.

    The inputs of a compiler that failed are not known, nor those of one while a file changed; its command is.
    """
    if before is None:
        return [Difference("new", now.id, None, None)]
    found = [
        Difference("part", name, before.parts.get(name), now.parts.get(name))
        for name in _names(before.parts, now.parts)
        if before.parts.get(name) != now.parts.get(name)
    ]
    # The command line repeats what other parts say; alone, it is a change of vx itself.
    if len(found) > 1:
        found = [one for one in found if one.name != "command"]
    if now.outcome == "failed" or NOT_KEPT in (before.result, now.result):
        return found
    found += [
        Difference("file", name, before.files.get(name), now.files.get(name))
        for name in _names(before.files, now.files)
        if before.files.get(name) != now.files.get(name)
    ]
    if before.env or now.env:
        found += [
            Difference("variable", name, before.env.get(name), now.env.get(name))
            for name in _names(before.env, now.env)
            if before.env.get(name) != now.env.get(name)
        ]
    return found


def before_of(action: ActionReport, runs: Sequence[RunReport], profile: str) -> ActionReport | None:
    """Return the same action in the newest of `runs` in which it was built, of this profile if there is one.

    One whose inputs are known goes before one whose inputs are not.

    A user who switches between dev and release asks for the changes since the last build of the same kind.

    Args:
        action: the action.
        runs: earlier runs, the newest first.
        profile: of the run that it belongs to.
    """
    found = [
        one
        for run in sorted(runs, key=lambda one: one.profile != profile)
        for one in run.actions
        if one.id == action.id and one.result
    ]
    return next((one for one in found if one.result != NOT_KEPT), next(iter(found), None))


def last_miss(runs: Sequence[RunReport]) -> tuple[int, ActionReport] | None:
    """Return the newest run that had to run an action, by its number in `runs`, and the first such action."""
    for number, run in enumerate(runs):
        for one in run.actions:
            if one.outcome in ("executed", "failed"):
                return number, one
    return None


def summary(run: RunReport) -> list[str]:
    """Return what a run did, a fact a line."""
    status = _status(run)
    lines = [
        f"{run.project} ({run.profile}): {status} in {run.duration_ms / 1000:.2f} s",
        f"  run: {run.id}",
        f"  actions: {len(run.actions)}, {run.count('cached')} cached, {run.count('executed')} executed"
        + (f", {run.count('shared')} shared with another build" if run.count("shared") else "")
        + (f", {run.count('failed')} failed" if run.count("failed") else ""),
    ]
    if run.error and run.error != CANCELLED:
        lines.append(f"  error: {run.error}")
    lines += [f"  {one}" for one in run.remote]
    return lines + [f"  output: {one}" for one in run.outputs]


def _status(run: RunReport) -> str:
    if not run.success:
        return "cancelled" if run.error == CANCELLED else "failed"
    return "cached (nothing to build)" if _all_cached(run) else "built"


def _all_cached(run: RunReport) -> bool:
    return all(one.outcome == "cached" for one in run.actions)


def _names(*tables: dict[str, str] | dict[str, str | None]) -> list[str]:
    return list(dict.fromkeys(name for table in tables for name in table))


def _quoted(value: str | None) -> str:
    return "nothing" if value is None else repr(value) if len(value) <= 100 else f"{value[:97]!r}..."
