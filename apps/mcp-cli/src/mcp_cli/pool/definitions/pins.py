"""How a tool's schemas differ from those that a caller has pinned.

Owns the comparison: two schemas are the same where their JSON values are, whatever the order of keys.  Words
for people (`description`, `title`, `examples`) do not count here.  Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

SCHEMAS: Final = ("inputSchema", "outputSchema")
_WORDS: Final = frozenset(("$comment", "$schema", "description", "examples", "title"))
# Under these, keys are names of a schema's author, and `title` is a field.
_NAMES: Final = frozenset(("$defs", "definitions", "dependentSchemas", "patternProperties", "properties"))
MOST_TOLD: Final = 3
MAX_VALUE_CHARS: Final = 60


def difference(pinned: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Return how a definition's schemas differ from the pinned ones; "" where they do not.

    Args:
        pinned: the definition as it was; a schema that it lacks pins nothing.
        found: the definition as it is.
    """
    told = []
    for key in SCHEMAS:
        if key in pinned:
            told += list(_differences(pinned[key], found.get(key), key, names=False))
    more = f", and {len(told) - MOST_TOLD} more" if len(told) > MOST_TOLD else ""
    return "; ".join(told[:MOST_TOLD]) + more


def _differences(was: Any, now: Any, where: str, *, names: bool) -> Iterator[str]:
    if isinstance(was, dict) and isinstance(now, dict):
        for key in [*was, *(key for key in now if key not in was)]:
            path = f"{where}.{key}"
            if key in _WORDS and not names:
                continue
            if key not in now:
                yield f"{path} is gone"
            elif key not in was:
                yield f"{path} is new"
            else:
                yield from _differences(was[key], now[key], path, names=key in _NAMES and not names)
    elif where.endswith(".required") and _as_set(was) is not None and _as_set(was) == _as_set(now):
        return
    elif was != now or isinstance(was, bool) is not isinstance(now, bool):
        yield f"{where} was {_short(was)} and is {_short(now)}"


def _as_set(value: Any) -> frozenset[str] | None:
    texts = isinstance(value, list) and all(isinstance(one, str) for one in value)
    return frozenset(value) if texts else None


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[: MAX_VALUE_CHARS - 3]}..."
