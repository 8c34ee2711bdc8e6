"""Whether a URI is one that a template of RFC 6570 makes.

Owns the match, not the expansion: a server reads its own template.  Pure.  All ways through a template are
followed at once, so a hostile one costs its length times that of the URI and no more.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_TEMPLATE_CHARS: Final = 512
MAX_URI_CHARS: Final = 2048
_EXPRESSION: Final = re.compile(r"\{([+#./;?&]?)([^{}]*)\}")
_SEGMENT: Final = frozenset("/?#")
_QUERY: Final = frozenset("#")
_ANY: Final[frozenset[str]] = frozenset()


class _Step(NamedTuple):
    """One step of a match.

    Attributes:
        char: the character that is taken; "" for any that is not in `but`.
        but: see `char`.
        again: whether it may be taken any number of times, or not at all.
        skip: how many steps may be left out from here on.
    """

    char: str = ""
    but: frozenset[str] = _ANY
    again: bool = False
    skip: int = 0


def matches(template: str, uri: str) -> bool:
    """Return whether `template` can make `uri`."""
    if len(template) > MAX_TEMPLATE_CHARS or len(uri) > MAX_URI_CHARS:
        return False
    steps: list[_Step] = []
    at = 0
    for found in _EXPRESSION.finditer(template):
        steps += map(_Step, template[at : found.start()])
        steps += _steps(found[1], found[2])
        at = found.end()
    steps += map(_Step, template[at:])
    reached = _closed({0}, steps)
    for char in uri:
        taken = {
            number if steps[number].again else number + 1
            for number in reached
            if number < len(steps) and _takes(steps[number], char)
        }
        reached = _closed(taken, steps)
        if not reached:
            return False
    return len(steps) in reached


def _takes(step: _Step, char: str) -> bool:
    if step.skip:
        return False
    return char == step.char if step.char else char not in step.but


def _closed(numbers: set[int], steps: list[_Step]) -> set[int]:
    """Return the steps that are reached without taking a character."""
    reached: set[int] = set()
    waiting = list(numbers)
    while waiting:
        number = waiting.pop()
        if number in reached:
            continue
        reached.add(number)
        if number < len(steps):
            step = steps[number]
            if step.skip or step.again:
                waiting.append(number + 1)
            if step.skip:
                waiting.append(number + step.skip)
    return reached


def _steps(operator: str, names: str) -> list[_Step]:
    if operator in ("", "+"):
        but = _SEGMENT if not operator else _ANY
        return [_Step(but=but), _Step(but=but, again=True)]
    if operator in ("?", "&", "#"):
        but = _ANY if operator == "#" else _QUERY
        return [_Step(skip=3), _Step(operator), _Step(but=but, again=True)]
    if "*" in names:
        return [_Step(skip=3), _Step(operator), _Step(but=_SEGMENT - {"/"}, again=True)]
    return [_Step(skip=3), _Step(operator), _Step(but=_SEGMENT, again=True)] * len(names.split(","))
