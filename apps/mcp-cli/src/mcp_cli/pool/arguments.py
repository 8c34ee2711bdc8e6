"""A tool's arguments: made of a command's words by the tool's schema, and checked against it.

Owns the forms `key=value`, `key:=JSON`, `--key value`, `--key=value` and `--flag`, and the error
that names the parameter and the nearest known.  Pure.  The daemon does this, which has the schemas;
so does a command in direct mode.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from daemonry.spelling import nearest
from mcp_cli import bounded


class Bad(Exception):
    """Arguments do not fit; nothing was sent.

    Attributes:
        parameter: the one that is wrong, missing or unknown; "" for the whole.
        reason: why, for people.
        nearest: the nearest known parameter, or "".
    """

    def __init__(self, parameter: str, reason: str, nearest: str = "") -> None:
        super().__init__(f"{parameter}: {reason}" if parameter else reason)
        self.parameter = parameter
        self.reason = reason
        self.nearest = nearest


# --- words ------------------------------------------------------------------------------------


def coerce(words: list[str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object that a command's words stand for.

    A value is read as the schema wants it: `path=7` is the text "7" where `path` is a string, and
    the number 7 where it is a number or says nothing.  A parameter that is a list takes further
    words of the same key, or JSON.

    Args:
        words: `key=value`, `key:=JSON`, `--key value`, `--key=value`, `--flag`, `--no-flag`.
        schema: the tool's `inputSchema`.

    Raises:
        Bad: a word fits none of these, a parameter is not known, or a value is not of its kind.
    """
    known = properties(schema)
    given: dict[str, Any] = {}
    for key, text, is_json in _pairs(words, known, open_ended(schema)):
        name = _known_name(key, known)
        if name is None and _put_inside(given, key, text, schema, is_json=is_json):
            continue
        if name is None:
            if not open_ended(schema):
                raise _unknown(key, known)
            name = key
        kind = known.get(name, {})
        value = _json(name, text) if is_json else _value(name, text, kind, schema)
        if name not in given:
            given[name] = [value] if _is_list(kind, schema) and not isinstance(value, list) else value
        elif isinstance(given[name], _Parts):
            raise Bad(name, "is given twice, as a whole and by its fields")
        elif _is_list(kind, schema) and isinstance(given[name], list):
            given[name] += value if isinstance(value, list) else [value]
        else:
            raise Bad(name, "is given twice")
    return given


class _Parts(dict[str, Any]):
    """An object that is given field by field."""


def _put_inside(
    given: dict[str, Any], key: str, text: str | None, schema: Mapping[str, Any], *, is_json: bool
) -> bool:
    """Put `p.name=a` into the object `p`; False where `p` is not a parameter that has fields.

    Raises:
        Bad: it has no such field, the field is given twice, or the value is not of its kind.
    """
    kind: Any = schema
    inside = given
    *way, last = key.split(".")
    for at, part in enumerate(way):
        fields = properties(followed(kind, schema))
        name = _known_name(part, fields)
        if name is None or not properties(_object_in(fields[name], schema)):
            if at:
                raise _unknown(part, fields)
            return False
        kind = _object_in(fields[name], schema)
        deeper = inside.setdefault(name, _Parts())
        if not isinstance(deeper, _Parts):
            raise Bad(name, "is given twice, as a whole and by its fields")
        inside = deeper
    if not way:
        return False
    fields = properties(kind)
    name = _known_name(last, fields)
    if name is None and not open_ended(kind):
        raise _unknown(last, fields)
    field_kind = fields.get(name or last, {})
    value = _json(last, text) if is_json else _value(last, text, field_kind, schema)
    if (name or last) in inside:
        raise Bad(key, "is given twice")
    inside[name or last] = value
    return True


def _object_in(kind: Any, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of the object that a parameter may be: itself, or one of several."""
    found = followed(kind, schema)
    for key in ("anyOf", "oneOf", "allOf"):
        options = found.get(key)
        for one in options if isinstance(options, list) else ():
            if properties(followed(one, schema)):
                return followed(one, schema)
    return found


def _pairs(
    words: list[str], known: Mapping[str, Any], open_end: bool
) -> Iterator[tuple[str, str | None, bool]]:
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word.startswith("--") and len(word) > 2:
            key, equals, text = word[2:].partition("=")
            if equals:
                yield key.removesuffix(":"), text, key.endswith(":")
            elif at < len(words) and not _takes_no_value(key, words[at], known):
                yield key, words[at], False
                at += 1
            elif key.startswith("no-") and _known_name(key[3:], known) and not _known_name(key, known):
                yield key[3:], "false", False
            else:
                yield key, None, False
            continue
        key, equals, text = word.partition("=")
        if not equals or not key:
            near = nearest(key, known, _ALIKE)
            hint = f"; did you mean {near}=...?" if near else ""
            raise Bad("", f"{_short(word)} is not key=value, --key value or a JSON object{hint}", near)
        yield key.removesuffix(":"), text, key.endswith(":")


def _takes_no_value(key: str, following: str, known: Mapping[str, Any]) -> bool:
    """Whether `--key` stands alone: an option follows it, or it is a flag that no true or false follows."""
    if following.startswith("--"):
        return True
    name = _known_name(key, known)
    if name is None:
        return key.startswith("no-")
    kind = known[name]
    is_flag = isinstance(kind, Mapping) and kind.get("type") == "boolean"
    return is_flag and following.lower() not in _BOOLEANS


_BOOLEANS = {
    "true": True,
    "false": False,
    "yes": True,
    "no": False,
    "1": True,
    "0": False,
    "on": True,
    "off": False,
}


def _known_name(key: str, known: Mapping[str, Any]) -> str | None:
    """Return the parameter meant by a key: itself, or the one that differs in `-` and `_` and case only."""
    if key in known:
        return key
    folded = _folded(key)
    same = [name for name in known if _folded(name) == folded]
    return same[0] if len(same) == 1 else None


def _folded(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()


def _value(name: str, text: str | None, kind: Any, schema: Mapping[str, Any]) -> Any:
    kinds = _types(kind, schema)
    if text is None:
        if kinds and "boolean" not in kinds:
            raise Bad(name, f"needs a value ({_said(kinds)})")
        return True
    if not kinds:
        return _guessed(text)
    if "null" in kinds and text == "null":
        return None
    for one in ("boolean", "integer", "number", "object", "array"):
        if one in kinds:
            found = _read_as(one, text, kind, schema)
            if found is not _NOT_SO:
                return found
    if "string" in kinds:
        return text
    raise Bad(name, f"must be {_said(kinds)}, not {_short(text)}")


_NOT_SO = object()


def _read_as(kind: str, text: str, schema: Any, whole: Mapping[str, Any]) -> Any:
    if kind == "boolean":
        return _BOOLEANS.get(text.lower(), _NOT_SO)
    if kind == "array" and not text.lstrip().startswith("["):
        items = followed(schema, whole).get("items", {}) if isinstance(schema, Mapping) else {}
        try:
            return [_value("", one, items, whole) for one in ([text] if text else [])]
        except Bad:
            return _NOT_SO
    try:
        value = json.loads(text)
    except ValueError:
        return _NOT_SO
    if kind == "integer":
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif kind == "number":
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    else:
        fits = isinstance(value, dict if kind == "object" else list)
    return value if fits else _NOT_SO


def _guessed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _json(name: str, text: str | None) -> Any:
    try:
        return json.loads(text or "")
    except ValueError as error:
        raise Bad(name, f"is not JSON: {error}") from None


def _is_list(kind: Any, schema: Mapping[str, Any]) -> bool:
    types = _types(kind, schema)
    return "array" in types and "string" not in types


# --- schemas ----------------------------------------------------------------------------------


def properties(schema: Any) -> Mapping[str, Any]:
    """Return a tool's parameters, each with its schema."""
    found = schema.get("properties") if isinstance(schema, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def required(schema: Any) -> list[str]:
    """Return the names of the parameters that a tool must be given."""
    found = schema.get("required") if isinstance(schema, Mapping) else None
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def open_ended(schema: Any) -> bool:
    """Whether a tool takes parameters that its schema does not name: it says so, or names none at all."""
    if not isinstance(schema, Mapping):
        return True
    further = schema.get("additionalProperties")
    if further is not None:
        return further is not False
    # What else a schema is made of may name parameters; checking it against the whole tells.
    made_of_others = any(key in schema for key in ("anyOf", "oneOf", "allOf", "$ref", "if"))
    return made_of_others or not isinstance(schema.get("properties"), Mapping)


def followed(kind: Any, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a `$ref` within the schema stands for."""
    for _ in range(16):
        if not isinstance(kind, Mapping):
            return {}
        ref = kind.get("$ref")
        if not isinstance(ref, str) or not ref.startswith("#/"):
            return kind
        found: Any = schema
        for part in ref[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, Mapping) else None
        kind = found
    return {}


def _types(kind: Any, schema: Mapping[str, Any]) -> set[str]:
    """Return the JSON types that a parameter may have; empty where the schema leaves it open.

    Each part of the schema is looked at once: references may lead back, and many at each step.
    """
    found: set[str] = set()
    seen: set[int] = set()
    left = [kind]
    while left:
        one = followed(left.pop(), schema)
        if id(one) in seen:
            continue
        seen.add(id(one))
        own = _own_types(one)
        found |= own or set()
        for key in ("anyOf", "oneOf", "allOf") if own is None else ():
            options = one.get(key)
            left += options if isinstance(options, list) else ()
    return found


def _own_types(kind: Mapping[str, Any]) -> set[str] | None:
    """Return the types that a schema names itself; None where it is made of others, if of anything."""
    said = kind.get("type")
    if isinstance(said, str):
        return {said}
    if isinstance(said, list):
        return {one for one in said if isinstance(one, str)}
    if "enum" in kind and isinstance(kind["enum"], list):
        return {_type_of(one) for one in kind["enum"]}
    return {_type_of(kind["const"])} if "const" in kind else None


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    names = {float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "string")


def described(kind: Any, schema: Mapping[str, Any], depth: int = 0) -> str:
    """Return a parameter's type in a word or two, for people: `string`, `number[]`, `"a" | "b"`."""
    kind = followed(kind, schema)
    if isinstance(kind.get("enum"), list):
        return " | ".join(json.dumps(one, ensure_ascii=False) for one in kind["enum"])
    types = sorted(_types(kind, schema))
    if types == ["array"]:
        items = described(kind.get("items", {}), schema, depth + 1) if depth < 8 else "any"
        return f"{items}[]"
    return " | ".join(types) or "any"


def _said(kinds: set[str]) -> str:
    words = {
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "string": "text",
        "array": "a list",
        "object": "an object",
        "null": "null",
    }
    return " or ".join(words.get(one, one) for one in sorted(kinds))


# --- checking ---------------------------------------------------------------------------------


def check(value: Mapping[str, Any], schema: Mapping[str, Any], validator: Any = None) -> bool:
    """Check arguments against a tool's schema; return False where that would take too long.

    An invalid schema checks nothing, nor does one that takes too long: the server will say what it wants.

    Args:
        value: the arguments.
        schema: the tool's `inputSchema`.
        validator: what `validator_of` gave for it, kept by who checks often.

    Raises:
        Bad: the first thing that does not fit: an unknown parameter before a missing one, since a
            misspelt one is both.
    """
    try:
        with bounded.in_time():
            _check(value, schema, validator)
    except bounded.TookTooLong:
        return False
    return True


def _check(value: Mapping[str, Any], schema: Mapping[str, Any], validator: Any) -> None:
    known = properties(schema)
    # JSON Schema lets unnamed properties pass unless the schema says otherwise.  Servers ignore such
    # a parameter, which is nearly always one that was misspelt.
    for name in value:
        if name not in known and not open_ended(schema) and not _by_pattern(name, schema):
            raise _unknown(name, known)
    for name in required(schema):
        if name not in value:
            raise Bad(name, f"is missing ({described(known.get(name, {}), schema)})")
    _check_all(value, validator_of(schema) if validator is None else validator)


def validator_of(schema: Mapping[str, Any]) -> Any:
    """Return what checks values against a schema, or False for an invalid schema.

    Making it takes many times as long as a check.  References are not followed over the network.
    """
    import jsonschema
    from referencing import Registry

    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except bounded.TookTooLong:
        raise
    except Exception:  # noqa: BLE001  # whatever a schema of somebody's comes to
        return False
    return kind(schema, registry=Registry())


def validator_in_time(schema: Mapping[str, Any]) -> Any:
    """Return the same, and False where making it takes too long: that of 20,000 parameters takes 25 s."""
    try:
        with bounded.in_time():
            return validator_of(schema)
    except bounded.TookTooLong:
        return False


def _by_pattern(name: str, schema: Mapping[str, Any]) -> bool:
    import re

    patterns = schema.get("patternProperties")
    try:
        return isinstance(patterns, Mapping) and any(re.search(one, name) for one in patterns)
    except re.error:
        return True


def _check_all(value: Mapping[str, Any], validator: Any) -> None:
    from jsonschema.exceptions import best_match

    if not validator:
        return
    try:
        found = best_match(validator.iter_errors(value))
    except bounded.TookTooLong:
        raise
    except Exception:  # noqa: BLE001  # a schema that cannot be used, such as one with a $ref elsewhere
        return
    if found is None:
        return
    path = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in found.absolute_path).lstrip(
        "."
    )
    raise Bad(path, _reason(found))


def _reason(found: Any) -> str:
    if found.validator == "type":
        kinds = (
            {found.validator_value} if isinstance(found.validator_value, str) else set(found.validator_value)
        )
        return f"must be {_said(kinds)}, not {_cut(json.dumps(found.instance, ensure_ascii=False))}"
    if found.validator == "enum":
        choices = ", ".join(json.dumps(one, ensure_ascii=False) for one in found.validator_value)
        near = nearest(str(found.instance), [str(one) for one in found.validator_value])
        return f"must be one of {choices}" + (f"; did you mean {near!r}?" if near else "")
    message: str = found.message
    return message if len(message) < 300 else f"{message[:300]}..."


# How alike a parameter is to one that it is taken for: they are short.
_ALIKE: Final = 0.5


def _unknown(key: str, known: Mapping[str, Any]) -> Bad:
    near = nearest(key, known, _ALIKE)
    hint = f"did you mean {near!r}?" if near else f"it takes {', '.join(known) or 'none'}"
    return Bad(key, f"is not a parameter: {hint}", near)


def _short(text: str) -> str:
    return repr(_cut(text))


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
