"""TOML files as typed values: read, checked, and every error told as `FILE:LINE:COLUMN: key: reason`.

The type is the caller's own: a dataclass or a msgspec Struct, with others of its kind nested in it,
also in lists and maps.  A key that is not known names the nearest that is.

Owns making the value; reading the file, and where a key is in it, are `typed_toml.source`'s.
"""

from __future__ import annotations

import enum
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from daemonry.typed_toml.positions import KeyPath
from daemonry.typed_toml.source import ConfigText, read

Config = TypeVar("Config")

# Kinds of values, as a message names them to whoever writes a file.
_TOML_WORDS: Final[dict[Any, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a table",
}

# Of a table with more keys than that, a message names none.
_KEYS_LISTED: Final = 10

_NO_CHOICE: Final = "Invalid enum value"
_LACKING: Final = re.compile(r"Object missing required field `(.+)`\Z")
# The parts of the path in msgspec's messages: `$.services[...].needs[1]`.
_PATH_PART: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[(\.\.\.)\]")


def load_config(path: str, kind: type[Config], *, must_exist: bool = False) -> Config:
    """Return the configuration in the file at `path`; the defaults where there is no file.

    Args:
        path: a TOML file.
        kind: the dataclass or Struct to make of it.
        must_exist: raise when there is no file.

    Raises:
        ConfigError: the file cannot be read or parsed, or does not fit `kind`.
    """
    return convert(read(path, must_exist=must_exist), kind)


def convert(source: ConfigText, kind: type[Config]) -> Config:
    """Return what a text holds as a value of `kind`.

    Raises:
        ConfigError: a key is not known, a value has the wrong type, or the type itself objects.
    """
    for key, known in _unknown_keys(source.values, kind, ()):
        raise source.unknown(key, sorted(known))
    try:
        return msgspec.convert(source.values, kind)
    except msgspec.ValidationError as error:
        where, reason = explain(error, source.values, kind)
        raise source.error(where, reason) from None


def explain(error: msgspec.ValidationError, values: Mapping[str, Any], kind: type) -> tuple[KeyPath, str]:
    """Return where in `values` the first is that could not be converted to `kind`, and why."""
    reason, written = _reason_and_path(error)
    where = _path_of(written, values, kind)
    lacking = _LACKING.match(reason)
    if lacking is not None:
        return where, f"the key {lacking[1]} is missing"
    reason = reason.replace(" | null`", "`")  # TOML has none
    if reason.startswith(_NO_CHOICE):
        reason += _choices(where, kind)
    return where, _table_wanted(where, values, kind) or reason[:1].lower() + reason[1:]


def _table_wanted(where: KeyPath, values: Mapping[str, Any], kind: type) -> str:
    """Return what a table's place must hold, where something else stands there; else ""."""
    given: Any = values
    wanted: Any = kind
    for part in where:
        given, wanted = given[part], _inside(wanted, part)
    options = [get_origin(one) or one for one in _options(wanted)]
    table = nested_type(wanted)
    if isinstance(given, dict) or (table is None and dict not in options):
        return ""
    known = list(fields(table)) if table is not None else []
    listed = f" with {', '.join(known)}" if 1 < len(known) <= _KEYS_LISTED else ""
    named = f"{where[-1]} = " if isinstance(where[-1], str) else ""
    example = f", as {named}{{ {known[0]} = ... }}" if known else ""
    others = [_TOML_WORDS[one] for one in options if one in _TOML_WORDS and one is not dict]
    either = f", or {' or '.join(others)}" if others else ""
    return f"expected a table{listed}{example}{either}; got {_TOML_WORDS.get(type(given), 'a date')}"


def _choices(where: KeyPath, kind: Any) -> str:
    """Return the texts that a place may hold, for the end of a message."""
    for part in where:
        kind = _inside(kind, part)
    choices = [str(text) for one in _options(kind) for text in _texts_of(one)]
    return f": {', '.join(choices[:-1])} or {choices[-1]}" if 1 < len(choices) <= _KEYS_LISTED else ""


def _texts_of(kind: Any) -> Iterable[object]:
    if get_origin(kind) is typing.Literal:
        return get_args(kind)
    return [one.value for one in kind] if isinstance(kind, type) and issubclass(kind, enum.Enum) else []


def _inside(annotation: Any, part: str | int) -> Any:
    """Return the annotation of what is at a key, or a place, of a value with this annotation."""
    for option in _options(annotation):
        if _is_config_type(option) and part in fields(option):
            return fields(option)[str(part)][1]
        if get_origin(option) is dict:
            return get_args(option)[1]
        if get_args(option):
            return get_args(option)[0]
    return Any


def _reason_and_path(error: msgspec.ValidationError) -> tuple[str, str]:
    reason, _, written = str(error).rpartition(" - at `$")
    return (reason, written.rstrip("`")) if reason else (str(error), "")


def _path_of(written: str, values: Mapping[str, Any], kind: type) -> KeyPath:
    """Return the path that msgspec's message means; it writes `[...]` for whichever entry of a map."""
    path: list[str | int] = []
    narrowed: Any = values
    for part in _PATH_PART.finditer(written):
        name, number, _any_entry = part.groups()
        if name is not None:
            path.append(name)
        elif number is not None:
            path.append(int(number))
        else:
            narrowed, entry = _narrowed(narrowed, path, kind, written)
            path.append(entry)
    return tuple(path)


def _narrowed(values: Any, path: list[str | int], kind: type, written: str) -> tuple[Any, str]:
    """Return the values with one entry only in the map at `path`: the first that fails; and its key.

    By halves: a file may have very many entries, and each look converts the whole.
    """
    entries = list(_at(values, path).items())
    fine, failing = 0, len(entries)  # how many from the first on are fine, and how many fail
    while failing - fine > 1:
        middle = (fine + failing) // 2
        if _fails_at(_with(values, path, dict(entries[:middle])), kind, written):
            failing = middle
        else:
            fine = middle
    return _with(values, path, dict(entries[fine:failing])), entries[fine][0]


def _fails_at(values: Any, kind: type, written: str) -> bool:
    try:
        msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        return _reason_and_path(error)[1] == written
    return False


def _at(values: Any, path: list[str | int]) -> Any:
    for part in path:
        values = values[part]
    return values


def _with(values: Any, path: list[str | int], inside: Any) -> Any:
    """Return a copy of the values in which `inside` is at `path`."""
    if not path:
        return inside
    first, *rest = path
    copy = values.copy()
    copy[first] = _with(values[first], rest, inside)
    return copy


def fields(kind: type) -> dict[str, tuple[str, Any]]:
    """Return a configuration type's fields: by key in the file, the attribute and its annotation."""
    return _fields(kind)


@lru_cache(maxsize=256)  # a home of a hundred services asks for the same type a hundred times
def _fields(kind: type) -> dict[str, tuple[str, Any]]:
    hints = get_type_hints(kind, include_extras=True)
    if issubclass(kind, msgspec.Struct):
        return {field.encode_name: (field.name, hints[field.name]) for field in msgspec.structs.fields(kind)}
    return {name: (name, annotation) for name, annotation in hints.items()}


def _unknown_keys(
    table: Mapping[str, Any], kind: type, above: KeyPath
) -> Iterator[tuple[KeyPath, Iterable[str]]]:
    known = fields(kind)
    for key, value in table.items():
        if key not in known:
            yield (*above, key), known
            continue
        for inside, inner, nested in _tables_in(value, known[key][1]):
            yield from _unknown_keys(inner, nested, (*above, key, *inside))


_Found = tuple[KeyPath, dict[str, Any], type]


def _tables_in(value: Any, annotation: Any) -> Iterator[_Found]:
    """Yield the tables in a field's value, however deep in lists and maps, each with its type."""
    for option in _options(annotation):
        within = {one for one in get_args(option) if one is not Ellipsis}
        if isinstance(value, dict) and _is_config_type(option):
            yield (), value, option
        elif isinstance(value, dict) and get_origin(option) is dict:
            yield from _tables_of(value.items(), get_args(option)[1])
        elif isinstance(value, list) and len(within) == 1:
            yield from _tables_of(enumerate(value), within.pop())


def _tables_of(items: Iterable[tuple[str | int, Any]], annotation: Any) -> Iterator[_Found]:
    for place, item in items:
        for inside, table, kind in _tables_in(item, annotation):
            yield (place, *inside), table, kind


def nested_type(annotation: Any) -> type | None:
    """Return the configuration type that a field's value is, or is when it is not None; else None."""
    found = [option for option in _options(annotation) if _is_config_type(option)]
    return found[0] if found else None


def _options(annotation: Any) -> list[Any]:
    """Return what a field's value can be, less the tables if there are several: their tag tells which."""
    annotation = _bare(annotation)
    union = get_origin(annotation) in (typing.Union, types.UnionType)
    options = [_bare(one) for one in get_args(annotation)] if union else [annotation]
    tables = [option for option in options if _is_config_type(option)]
    return options if len(tables) < 2 else [option for option in options if option not in tables]


def _is_config_type(kind: Any) -> bool:
    return isinstance(kind, type) and (
        issubclass(kind, msgspec.Struct) or hasattr(kind, "__dataclass_fields__")
    )


def _bare(annotation: Any) -> Any:
    """Return an annotation without the notes of `Annotated`."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
