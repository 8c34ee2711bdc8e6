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
        return "numbers or names, with commas" if several(kind) else "a number or a name"
    words = arguments.described(kind, schema)
    if kind.get("format"):
        words += f" ({kind['format']})"
    for low, high, unit in (("minimum", "maximum", ""), ("minLength", "maxLength", " characters")):
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
        (value,) = arguments.coerce([f"{name}={text}"], {"properties": {name: kind}}).values()
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
