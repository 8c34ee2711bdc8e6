"""The faults of a server's tools, for authors of servers: names, schemas, words.

Owns the findings, each an error (a client or a model cannot use the tool as it is) or advice.  Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from mcp_cli.pool import arguments
from mcp_cli.pool.definitions import signature

# What the protocol recommends, and the most that widely used models take.
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_MODEL_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Of one tool's definition: beyond this it costs a model more than most answers.
LONG_CHARS: Final = 8000


class Finding(NamedTuple):
    """One finding.

    Attributes:
        level: `error` or `advice`.
        where: the tool, with a field where there is one.
        text: the fault, in one line.
    """

    level: str
    where: str
    text: str


def findings(tools: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Finding]:
    """Return the faults of tools.

    Args:
        tools: of each its JSON, as the server sent it, and its value.
    """
    found: list[Finding] = []
    seen: set[str] = set()
    for text, tool in tools:
        name = str(tool.get("name"))
        if name in seen:
            found.append(Finding("error", name, "there are two tools of this name: only one can be called"))
        seen.add(name)
        found += _of_name(name)
        found += _of_words(name, tool)
        found += _of_schemas(name, tool)
        if len(text) > LONG_CHARS:
            found.append(Finding("advice", name, f"its definition has {len(text)} characters"))
    return found


def _of_name(name: str) -> Iterator[Finding]:
    if not _NAME.fullmatch(name):
        yield Finding("error", name, "its name is not 1 to 128 of A-Z a-z 0-9 _ . -")
    elif not _MODEL_NAME.fullmatch(name):
        yield Finding("advice", name, "many models take names of 1 to 64 of A-Z a-z 0-9 _ - only")


def _of_words(name: str, tool: Mapping[str, Any]) -> Iterator[Finding]:
    if not str(tool.get("description") or "").strip():
        yield Finding("advice", name, "it has no description: a model does not know what it is for")
    for one in arguments.properties(tool.get("inputSchema")).items():
        about = one[1] if isinstance(one[1], Mapping) else {}
        if not str(about.get("description") or about.get("title") or "").strip() and "$ref" not in about:
            yield Finding("advice", f"{name}.{one[0]}", "the parameter has no description")


def _of_schemas(name: str, tool: Mapping[str, Any]) -> Iterator[Finding]:
    schema = tool.get("inputSchema")
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        yield Finding("error", name, 'inputSchema is not a schema with "type": "object"')
        return
    validator = None  # making one is most of the work: it is made once
    for key in ("outputSchema", "inputSchema"):
        one = tool.get(key)
        if one is None:
            continue
        validator = arguments.validator_of(one) if isinstance(one, Mapping) else False
        if validator is False:
            yield Finding("error", name, f"{key} is not a valid JSON Schema: nothing is checked against it")
            return
    yield from _of_fields(name, schema, validator)
    if signature.example(schema, validator) is None:
        yield Finding("advice", name, "no example could be made that fits its schema: give it examples")


def _of_fields(name: str, schema: Mapping[str, Any], validator: Any) -> Iterator[Finding]:
    known = arguments.properties(schema)
    for one in arguments.required(schema):
        if one not in known and known:
            yield Finding("error", f"{name}.{one}", "it is required, and no property says what it is")
    for field, kind in known.items():
        followed = arguments.followed(kind, schema)
        if isinstance(kind, Mapping) and "$ref" in kind and not followed:
            yield Finding("error", f"{name}.{field}", f"$ref {kind['$ref']} leads nowhere in the schema")
        default = followed.get("default", kind.get("default") if isinstance(kind, Mapping) else None)
        if default is not None and not _fits(field, default, schema, validator):
            yield Finding("error", f"{name}.{field}", "its default does not fit its own schema")


def _fits(field: str, value: Any, schema: Mapping[str, Any], validator: Any) -> bool:
    alone = {**schema, "required": []}
    try:
        arguments.check({field: value}, alone, validator.evolve(schema=alone))
    except arguments.Bad:
        return False
    return True
