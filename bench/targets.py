"""The line about a target: what was found, whether it is met, and what the bare way gives in the same run.

A bare way is the least that a program without daemonry does for the same, and mostly does less: it bounds
what this machine and this Python allow.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bare:
    """What a target's number is for the bare way.

    Attributes:
        title: its row.
        found: its number; None where it was not measured.
    """

    title: str
    found: float | None


def verdict(
    what: str, found: float | None, target: float, *, least: bool = False, bare: Bare | None = None
) -> str:
    """Return the line.

    Args:
        what: is asked of.
        found: the number; None where it was not measured.
        target: what it is to be at most.
        least: it is to be at least that.
        bare: stands beside it.
    """
    if found is None:
        return f"{what}: not measured"
    met = found >= target if least else found <= target
    told = (
        f"{what}: {_shown(found)}, target {'>=' if least else '<='} {target:,}: {'met' if met else 'not met'}"
    )
    if bare is None or bare.found is None:
        return told
    return f"{told}; {bare.title}: {_shown(bare.found)}"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"
