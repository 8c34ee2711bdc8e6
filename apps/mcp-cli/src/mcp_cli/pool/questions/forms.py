"""A form that a server asks to be filled in: its fields, their choices, and what a person writes in them.

Owns the readings of the schemas that elicitation allows: texts with formats, numbers, yes or no, one choice
and several, with titles or without.  Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from daemonry.spelling import nearest
from mcp_cli.pool import arguments

_SIZES: Final = (("minimum", "maximum", ""), ("minLength", "maxLength", " characters"))
_COUNTS: Final = (("minItems", "maxItems", " of them"),)
# What people write at a terminal in place of what JSON has.
_AGREED: Final = {"y": "true", "yes": "true", "n": "false", "no": "false"}
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")


class Choice(NamedTuple):
    """One of a field's choices: the value that is sent, and what a person reads."""

    value: Any
    title: str


def choices(kind: Any) -> list[Choice]:
    """Return a field's choices, empty where it has none: of one, or of a list's entries."""
    kind = kind if isinstance(kind, Mapping) else {}
    if kind.get("type") == "array":
        return choices({**_mapping(kind.get("items")), "type": ""})
    for key in ("oneOf", "anyOf"):
        found = kind.get(key)
        if isinstance(found, list) and found and all("const" in _mapping(one) for one in found):
            return [Choice(one["const"], str(one.get("title") or one["const"])) for one in found]
    values = kind.get("enum")
    if not isinstance(values, list):
        return []
    names = kind.get("enumNames")
    names = names if isinstance(names, list) and len(names) == len(values) else values
    return [Choice(value, str(name)) for value, name in zip(values, names, strict=True)]


def several(kind: Any) -> bool:
    """Whether a field takes several choices."""
    return _mapping(kind).get("type") == "array"


def hint(kind: Any, schema: Mapping[str, Any]) -> str:
    """Return a field's type in a few words: `number, 1 to 5`, `text (email)`, `one of the numbers`."""
    kind = _mapping(kind)
    found = choices(kind)
    if found:
        words = "numbers or names, with commas" if several(kind) else "a number or a name"
        return words + _bounds(kind, _COUNTS)
    words = arguments.described(kind, schema)
    if kind.get("format"):
        words += f" ({kind['format']})"
    return words + _bounds(kind, _SIZES)


def _bounds(kind: Mapping[str, Any], keys: tuple[tuple[str, str, str], ...]) -> str:
    words = ""
    for low, high, unit in keys:
        least, most = kind.get(low), kind.get(high)
        if least is not None and most is not None:
            words += f", {least} to {most}{unit}"
        elif least is not None or most is not None:
            words += f", at least {least}{unit}" if most is None else f", at most {most}{unit}"
    return words


def read(name: str, kind: Any, given: str) -> Any:
    """Return the value that a person's words stand for.

    Raises:
        Bad: they do not fit.
    """
    kind = _mapping(kind)
    found = choices(kind)
    if found and several(kind):
        value: Any = [_chosen(name, found, one.strip()) for one in given.split(",") if one.strip()]
    elif found:
        value = _chosen(name, found, given)
    else:
        text = _AGREED.get(given.lower(), given) if kind.get("type") == "boolean" else given
        # A server's name for a field may have what means something in a word: `=`, `.`, `--`.
        (value,) = arguments.coerce([f"value={text}"], {"properties": {"value": kind}}).values()
    check({name: value}, {"properties": {name: kind}})
    return value


def _chosen(name: str, found: list[Choice], given: str) -> Any:
    """Return the choice meant by its value, its title, or its number in the list."""
    for one in found:
        if given in (str(one.value), one.title):
            return one.value
    alike = [one for one in found if given.lower() == one.title.lower()]
    if len(alike) == 1:
        return alike[0].value
    if given.isascii() and given.isdecimal() and 1 <= int(given) <= len(found):
        return found[int(given) - 1].value
    titles = [one.title for one in found]
    near = nearest(given, titles)
    raise arguments.Bad(
        name, f"{given!r} is not one of {', '.join(titles)}" + (f"; did you mean {near!r}?" if near else "")
    )


def result_of(answer: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole result that an answer is, or is the content of.

    Args:
        answer: a result, with its `action`, or the content of a form.
        asked: the params of the question.

    Raises:
        Bad: an accepted form's content does not fit.
    """
    schema = _mapping(asked.get("requestedSchema"))
    is_whole = "action" in answer and ("action" not in arguments.properties(schema) or "content" in answer)
    result = dict(answer) if is_whole else {"action": "accept", "content": dict(answer)}
    if result["action"] == "accept" and asked.get("mode") != "url":
        check(_mapping(result.get("content")), schema)
    return result


def check(content: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Check what a form was filled in with, formats included.

    Raises:
        Bad: the first thing that does not fit.
    """
    arguments.check(content, schema)
    for name, value in content.items():
        kind = _mapping(arguments.properties(schema).get(name))
        fits = _FORMATS.get(str(kind.get("format")))
        if isinstance(value, str) and fits is not None and not fits(value):
            raise arguments.Bad(name, f"{value!r} is not a valid {kind['format']}")


def _is_uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and (parts.netloc or parts.path)) and not re.search(r"\s", text)


def _is_date(text: str) -> bool:
    try:
        return len(text) == 10 and bool(date.fromisoformat(text))
    except ValueError:
        return False


def _is_date_time(text: str) -> bool:
    try:
        return len(text) > 10 and datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


_FORMATS: Final[Mapping[str, Callable[[str], object]]] = {
    "email": _EMAIL.fullmatch,
    "uri": _is_uri,
    "date": _is_date,
    "date-time": _is_date_time,
}


def _mapping(kind: Any) -> Mapping[str, Any]:
    return kind if isinstance(kind, Mapping) else {}
