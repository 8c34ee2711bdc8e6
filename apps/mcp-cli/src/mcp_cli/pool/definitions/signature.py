"""A tool's parameters for people and models: each field with its type, nested ones too, and an example.

Owns the reading of a JSON Schema as a signature, and the example, which passes the check that a call makes.
Pure.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from mcp_cli.pool import arguments
from mcp_cli.pool.questions import forms

# A schema may refer to itself, and be as long as it likes.
MAX_DEPTH: Final = 6
MOST_FIELDS: Final = 200
MAX_LENGTH: Final = 10_000
# Of an example: one that has more shows nothing to anybody.
MOST_VALUES: Final = 200

# An example of each format that a text may have.
_FORMATS: Final = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "email": "you@example.org",
    "time": "12:00:00Z",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


class Field(NamedTuple):
    """One field.

    Attributes:
        path: `p.name`; an entry of a list is `p[].name`.
        type: in a few words, with its bounds and choices.
        required: whether it has to be given with the object that it belongs to.
        about: what the server says of it, in one line.
    """

    path: str
    type: str
    required: bool
    about: str


def fields(schema: Mapping[str, Any]) -> list[Field]:
    """Return the fields of a schema, each before those that are in it."""
    found: list[Field] = []
    for one in _walked(schema, schema, "", 0):
        if len(found) == MOST_FIELDS:
            found.append(Field("...", f"more than {MOST_FIELDS} fields", False, ""))
            break
        found.append(one)
    return found


def _walked(kind: Mapping[str, Any], whole: Mapping[str, Any], before: str, depth: int) -> Iterator[Field]:
    needed = arguments.required(kind)
    for name, own in arguments.properties(kind).items():
        inner = arguments.followed(own, whole)
        about = own if isinstance(own, Mapping) else {}
        path = f"{before}{name}"
        said = " ".join(str(about.get("description") or inner.get("description") or "").split())
        if "default" in about:
            said = f"{said} (default {json.dumps(about['default'], ensure_ascii=False)})".strip()
        yield Field(path, _type(inner, whole), name in needed, said)
        inside, mark = _inside(inner, whole)
        if depth < MAX_DEPTH:
            yield from _walked(inside, whole, f"{path}{mark}.", depth + 1)


def _inside(kind: Mapping[str, Any], whole: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Return the schema whose fields are those of a field, and the mark of a list."""
    if kind.get("type") == "array" or "items" in kind:
        return arguments.followed(kind.get("items", {}), whole), "[]"
    for key in ("anyOf", "oneOf", "allOf"):
        options = kind.get(key)
        for one in options if isinstance(options, list) else ():
            found = arguments.followed(one, whole)
            if arguments.properties(found):
                return found, ""
    return kind, ""


def _type(kind: Mapping[str, Any], whole: Mapping[str, Any]) -> str:
    choices = forms.choices(kind)
    if choices:
        said = " | ".join(json.dumps(one.value, ensure_ascii=False) for one in choices)
        words = f"({said})[]" if forms.several(kind) else said
    else:
        words = forms.hint(kind, whole)
    if isinstance(kind.get("pattern"), str):
        words += f", like /{kind['pattern']}/"
    least, most = kind.get("minItems"), kind.get("maxItems")
    if isinstance(least, int) or isinstance(most, int):
        words += f", {least or 0} to {most}" if isinstance(most, int) else f", {least} or more"
    return words


# --- an example -------------------------------------------------------------------------------


def example(schema: Mapping[str, Any], validator: Any = None) -> list[str] | None:
    """Return the words of an example call, of the required parameters; None where no example is found.

    The words are read back and checked as a call's are.

    Args:
        schema: the tool's `inputSchema`.
        validator: as for `arguments.check`.
    """
    try:
        given = _Samples(schema).of_all()
    except _TooLarge:
        return None
    words = [word for name, value in given.items() for word in _words(name, value)]
    if validator is None:
        validator = arguments.validator_in_time(schema)
    try:
        arguments.check(arguments.coerce(words, schema), schema, validator)
    except arguments.Bad:
        words = [json.dumps(given, ensure_ascii=False)]
        try:
            arguments.check(given, schema, validator)
        except arguments.Bad:
            return None
    return [shlex.quote(word) for word in words]


def _words(name: str, value: Any) -> list[str]:
    flat = (
        isinstance(value, dict) and value and not any(isinstance(one, dict | list) for one in value.values())
    )
    if flat and not any("." in key or "=" in key for key in value):
        return [f"{name}.{key}={_text(one)}" for key, one in value.items()]
    if isinstance(value, str):
        return [f"{name}={value}"]
    return [f"{name}={json.dumps(value, ensure_ascii=False)}"]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class _TooLarge(Exception):
    """An example has more values than anybody reads."""


class _Samples:
    """Values that fit a tool's schema, the first that come to mind.

    Args:
        whole: the schema, in which references are followed.
    """

    def __init__(self, whole: Mapping[str, Any]) -> None:
        self._whole = whole
        self._made = 0

    def of_all(self) -> dict[str, Any]:
        """Return a value of each required parameter.

        Raises:
            _TooLarge: there are too many, within each other or beside.
        """
        known = arguments.properties(self._whole)
        return {name: self._of(known.get(name, {}), 0) for name in arguments.required(self._whole)}

    def _of(self, kind: Any, depth: int) -> Any:
        self._made += 1
        if self._made > MOST_VALUES:
            raise _TooLarge
        kind = arguments.followed(kind, self._whole)
        for key in ("examples", "enum"):
            if isinstance(kind.get(key), list) and kind[key]:
                return kind[key][0]
        for key in ("const", "default"):
            if key in kind:
                return kind[key]
        for key in ("anyOf", "oneOf"):
            if isinstance(kind.get(key), list) and kind[key] and depth < MAX_DEPTH:
                return self._of(kind[key][0], depth + 1)
        said = kind.get("type")
        if isinstance(said, list) and said:
            said = next((one for one in said if one != "null"), "null")
        if said is None and arguments.properties(kind):
            said = "object"
        return self._composed(said, kind, depth) if said in ("object", "array") else _plain(str(said), kind)

    def _composed(self, said: str, kind: Mapping[str, Any], depth: int) -> Any:
        if said == "object":
            wanted = arguments.required(kind) if depth < MAX_DEPTH else []
            return {one: self._of(arguments.properties(kind).get(one, {}), depth + 1) for one in wanted}
        count = min(_count(kind, "minItems"), 3)
        if not count and arguments.properties(arguments.followed(kind.get("items", {}), self._whole)):
            count = 1  # an empty list shows nothing of its entries
        return [self._of(kind.get("items", {}), depth + 1)] * (count if depth < MAX_DEPTH else 0)


def _plain(said: str, kind: Mapping[str, Any]) -> Any:
    if said in ("integer", "number"):
        return _number(kind, whole=said == "integer")
    if said == "boolean":
        return True
    if said == "null":
        return None
    text = _FORMATS.get(str(kind.get("format")), "TEXT")
    text = text.ljust(min(_count(kind, "minLength"), MAX_LENGTH), "T")
    most = kind.get("maxLength")
    return text[:most] if isinstance(most, int) and most >= 0 else text


def _count(kind: Mapping[str, Any], key: str) -> int:
    found = kind.get(key)
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else 0


def _number(kind: Mapping[str, Any], *, whole: bool) -> float:
    """Return a number within a schema's bounds: 1 where that is, or none is found, else the nearest bound."""
    try:
        found = _nearest_number(kind)
        return int(found) if whole else found
    except (OverflowError, ValueError):  # a bound of 400 digits with a step of a half; or an infinite one
        return 1


def _nearest_number(kind: Mapping[str, Any]) -> float:

    def bound(key: str) -> float | None:
        value = kind.get(key)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    found: float = 1
    step = bound("multipleOf") or 1
    low, above = bound("minimum"), bound("exclusiveMinimum")
    high, below = bound("maximum"), bound("exclusiveMaximum")
    if low is not None and found < low:
        found = low
    if above is not None and found <= above:
        found = above + step
    if high is not None and found > high:
        found = high
    if below is not None and found >= below:
        found = below - step
    if step != 1:
        found = -(-found // step) * step
    return found
