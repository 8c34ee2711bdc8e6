"""The events that a client receives during its build.

Owns when an event is sent: while nothing has to be run, nothing but diagnostics, so that a build that
changes nothing is one answer.
"""

from __future__ import annotations

from collections.abc import Callable

from vx.aether.interface import BuildEvent
from vx.reports.report import RunReport


class BuildEvents:
    """Sends the events of one build to its client.

    Args:
        tell: is given each.
    """

    def __init__(self, tell: Callable[[BuildEvent], None]) -> None:
        self._tell = tell
        self._total = 0
        self._done = 0
        self._loud = False

    def planned(self, total: int, done: int) -> None:
        """Something has to be looked up or run."""
        self._loud = True
        self._total, self._done = total, done
        self._tell(BuildEvent("planned", total=total, done=done))

    def started(self, title: str) -> None:
        """An action runs."""
        self._tell(BuildEvent("started", title=title, total=self._total, done=self._done))

    def ended(self, title: str, outcome: str, duration_ms: int, diagnostics: str) -> None:
        """An action is over."""
        if diagnostics:
            self._tell(BuildEvent("said", title=title, text=diagnostics))
        if self._loud:
            self._done += 1
            self._tell(
                BuildEvent(
                    "ended",
                    title=title,
                    outcome=outcome,
                    duration_ms=duration_ms,
                    total=self._total,
                    done=self._done,
                )
            )

    def compared(self, title: str, other: list[str]) -> None:
        """An action was run again: these outputs are otherwise than in the store."""
        outcome = "different" if other else "same"
        self._tell(BuildEvent("compared", title=title, outcome=outcome, text=", ".join(other)))

    def note(self, text: str) -> None:
        """There is something else to say."""
        self._tell(BuildEvent("note", text=text))

    def finished(self, report: RunReport, error: str, run_id: str, passed: int = 0) -> None:
        """All is over."""
        self._tell(
            BuildEvent(
                "finished",
                title=report.project,
                total=len(report.actions),
                done=len(report.actions),
                cached=report.count("cached"),
                executed=report.count("executed", "shared"),
                text=error,
                success=not error,
                duration_ms=report.duration_ms,
                run=run_id,
                outputs=report.outputs if not error else [],
                passed=passed,
                code=1 if error else 0,
            )
        )
