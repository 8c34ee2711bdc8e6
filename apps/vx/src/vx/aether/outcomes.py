"""The outcome of one action: a result, or why there is none."""

from __future__ import annotations

import msgspec

from vx.aether.memory import ActionResult
from vx.keys.recipe import InputRecord
from vx.project.action import Action
from vx.reports.report import Outcome


class Obtained(msgspec.Struct, frozen=True):
    """An action that is done.

    Attributes:
        action: which.
        outcome: how.
        result: its outputs and diagnostics.
        recipe: its recipe's key.
        parts: its recipe's parts.
        entry: the inputs that it read; None where those could not be known for sure.
        why: for an action that had to run: which conditions did not hold.
        duration_ms: how long it ran, now.
    """

    action: Action
    outcome: Outcome
    result: ActionResult
    recipe: str
    parts: dict[str, str]
    entry: InputRecord | None
    why: list[str] = []
    duration_ms: int = 0


class ActionFailed(Exception):
    """A tool failed, or could not run.

    Attributes:
        said: its diagnostics, with colours.
        reason: in one line.
        recipe, parts, why: as `Obtained`.
    """

    def __init__(self, reason: str, said: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.said = said
        self.recipe = ""
        self.parts: dict[str, str] = {}
        self.why: list[str] = []


class StoreForgot(Exception):
    """The store has lost blobs that this process remembered: the build looks everything up again."""


class Finished(msgspec.Struct, frozen=True):
    """A run that succeeded.

    Attributes:
        result: its outputs and diagnostics.
        entry: the inputs that it read; None where those could not be known for sure.
    """

    result: ActionResult
    entry: InputRecord | None
