"""Which tools a few words mean: BM25 over names, titles, descriptions and parameters.

Owns the words of a text, the weights of a tool's parts, and the order.  Not all words have to be found: a
question as a person or a model writes it (`list the files in a folder`) has many that no tool has.  Pure.

The formula and its two constants are those of Robertson and Zaragoza, "The Probabilistic Relevance
Framework: BM25 and Beyond" (2009), with fields weighed as in its BM25F.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

K1: Final = 1.2
B: Final = 0.5
# What a word counts by where it stands.
NAME: Final = 4.0
TITLE: Final = 2.0
SERVER: Final = 2.0
PARAMETER: Final = 1.0
DESCRIPTION: Final = 1.0
# A word that is only like one of a name counts for less.
ALIKE: Final = 0.5
# Below this share of the best a tool has little to do with the query.
LEAST_SHARE: Final = 0.25
MAX_WORDS: Final = 64
MAX_TEXT_CHARS: Final = 4000

# What people say, and what tools are called: each word of a line may stand for the others.
_ALIKE: Final = (
    "page web site website url link browser navigate",
    "folder directory dir path",
    "file document",
    "delete remove erase drop",
    "create add new make insert",
    "change update edit modify",
    "picture image photo screenshot",
    "find search query lookup",
    "fetch download get read",
    "send post message mail",
    "sum add plus total",
    "run execute start launch",
    "ticket issue bug",
    "open navigate show",
)

_WORD: Final = re.compile(r"[a-z]+|[0-9]+|[^\W\d_]+")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_COMMON: Final = (
    "a an and any are as at be by can do does for from get give has have how i if in into is it its let "
    "me my of on one or our out please show so some tell that the their them then there these this to up "
    "use want we what when where which who will with you your"
)


class Ranked:
    """Tools, to be asked for the best.

    Args:
        tools: of each the server's name and the item: `name`, `title`, `description` and `json`.
    """

    def __init__(self, tools: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        self._tools = [_weights(server, item) for server, item in tools]
        self._names = [set(_stems(str(item.get("name", "")))) for _, item in tools]
        self._length = sum(sum(one.values()) for one in self._tools) / max(len(self._tools), 1) or 1.0
        self._found: dict[str, int] = {}
        for one in self._tools:
            for word in one:
                self._found[word] = self._found.get(word, 0) + 1

    def best(self, text: str) -> list[tuple[int, float]]:
        """Return the positions of the tools that a text may mean, each with its score, the best first."""
        words = list(dict.fromkeys(_stems(text)))[:MAX_WORDS]
        told = [word for word in words if word not in _STEMMED_COMMON] or words
        scores = [(at, self._score(at, told)) for at in range(len(self._tools))]
        top = max((score for _, score in scores), default=0.0)
        kept = [(at, score) for at, score in scores if score > 0 and score >= top * LEAST_SHARE]
        return sorted(kept, key=lambda pair: (-pair[1], pair[0]))

    def _score(self, at: int, words: Iterable[str]) -> float:
        weights = self._tools[at]
        length = sum(weights.values()) / self._length
        total = 0.0
        for word in words:
            weight = weights.get(word, 0.0)
            known = word
            if not weight:
                known = max(_MEANT.get(word, (word,)), key=lambda one: weights.get(one, 0.0))
                weight = weights.get(known, 0.0) * ALIKE
            if not weight:
                near = difflib.get_close_matches(word, self._names[at], 1, 0.8) if len(word) > 3 else []
                if not near:
                    continue
                known, weight = near[0], ALIKE
            count = self._found.get(known, 1)
            rarity = math.log(1 + (len(self._tools) - count + 0.5) / (count + 0.5))
            total += rarity * weight * (K1 + 1) / (weight + K1 * (1 - B + B * length))
        return total


def _weights(server: str, item: Mapping[str, Any]) -> dict[str, float]:
    made: dict[str, float] = {}

    def add(text: str, weight: float) -> None:
        for word in _stems(text[:MAX_TEXT_CHARS]):
            made[word] = made.get(word, 0.0) + weight

    add(str(item.get("name", "")), NAME)
    add(str(item.get("title") or ""), TITLE)
    add(server, SERVER)
    add(str(item.get("description") or ""), DESCRIPTION)
    for name, about in _parameters(item):
        add(name, PARAMETER)
        add(about, PARAMETER / 2)
    return made


def _parameters(item: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    try:
        schema = json.loads(item.get("json") or "{}").get("inputSchema")
        found = schema.get("properties") if isinstance(schema, dict) else None
    except (ValueError, AttributeError, RecursionError):
        return ()
    return [
        (name, str(about.get("description") or "") if isinstance(about, dict) else "")
        for name, about in (found.items() if isinstance(found, dict) else ())
    ]


def _stems(text: str) -> list[str]:
    """Return a text's words in lower case, without the endings that English has for several and for acts."""
    return [_stem(word) for word in _WORD.findall(_HUMP.sub(" ", text).lower())]


def _stem(word: str) -> str:
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("ing", ""), ("es", "e"), ("s", "")):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            return word[: -len(ending)] + instead
    return word


_STEMMED_COMMON: Final = frozenset(map(_stem, _COMMON.split()))
_MEANT: Final[dict[str, list[str]]] = {}
for _line in _ALIKE:
    for _one in _stems(_line):
        _MEANT.setdefault(_one, []).extend(other for other in _stems(_line) if other != _one)
