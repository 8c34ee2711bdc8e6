"""Configuration: a TOML file becomes a typed value, and a change becomes a list of fields.

Owns reading, checking and comparing.  The type is the program's own: a dataclass or a msgspec
Struct, with a default for each field and others of its kind nested in it.  A field annotated
`Annotated[str, RESTART]` takes effect at the next start only.

A `kind` may be named as `module:Type`, so that the quick commands do not import it.

Errors say `file: key: reason`, and a key that is not known names the nearest that is.
"""

from __future__ import annotations

import os
import tomllib
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from daemonry.errors import ConfigError
from daemonry.limits import MAX_CONFIG_BYTES

Config = TypeVar("Config")

RESTART: Final = msgspec.Meta(extra={"daemonry": "restart"})


def load(path: str, kind: type[Config], *, must_exist: bool = False) -> Config:
    """Return the configuration in the file at `path`; the defaults where there is no file.

    Args:
        path: a TOML file.
        kind: the dataclass or Struct to make of it.
        must_exist: raise when there is no file.

    Raises:
        ConfigError: the file cannot be read or parsed, or does not fit `kind`.
    """
    text = _read(path, must_exist)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(path, "", f"not TOML: {error}") from None
    return convert(path, table, kind)


def _read(path: str, must_exist: bool) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except FileNotFoundError:
        if must_exist:
            raise ConfigError(path, "", "there is no such file") from None
        return ""
    except OSError as error:
        raise ConfigError(path, "", f"cannot be read: {error.strerror}") from None
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigError(path, "", f"longer than {MAX_CONFIG_BYTES} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(path, "", f"line {line} is not UTF-8") from None


def convert(path: str, table: Mapping[str, Any], kind: type[Config]) -> Config:
    """Return `table` as a value of `kind`.

    Raises:
        ConfigError: a key is not known, a value has the wrong type, or the type itself objects.
    """
    for key, known in _unknown_keys(table, kind):
        raise ConfigError(path, key, _not_known(key, known))
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at `$")
        key = where.strip("`.")
        raise ConfigError(path, key, reason[:1].lower() + reason[1:]) from None


def _not_known(key: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(key.rpartition(".")[2], known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known)) or 'none'}"
    return f"is not known: {hint}"


def resolve(kind: type | str) -> type:
    """Return a configuration type, importing it if it is named as `module:Type`."""
    if isinstance(kind, type):
        return kind
    import importlib

    module, _, name = kind.partition(":")
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, type)
    return found


def fields(kind: type) -> dict[str, Any]:
    """Return the annotated types of a configuration type's fields, by name."""
    return get_type_hints(kind, include_extras=True)


def _unknown_keys(table: Mapping[str, Any], kind: type, above: str = "") -> Iterator[tuple[str, list[str]]]:
    known = fields(kind)
    for key, value in table.items():
        if key not in known:
            yield above + key, list(known)
        elif (nested := nested_type(known[key])) is not None:
            for suffix, inner in _tables_in(value, known[key]):
                yield from _unknown_keys(inner, nested, f"{above}{key}{suffix}.")


def _tables_in(value: Any, annotation: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the tables that a field's value holds: itself, a list's items, or a map's values."""
    if isinstance(value, list):
        yield from ((f"[{at}]", item) for at, item in enumerate(value) if isinstance(item, dict))
    elif isinstance(value, dict) and get_origin(_bare(annotation)) is dict:
        yield from ((f".{key}", item) for key, item in value.items() if isinstance(item, dict))
    elif isinstance(value, dict):
        yield "", value


def nested_type(annotation: Any) -> type | None:
    """Return the configuration type in a field's type, bare, optional, or in a list or map; else None."""
    annotation = _bare(annotation)
    for candidate in get_args(annotation) or (annotation,):
        if isinstance(candidate, type) and (
            issubclass(candidate, msgspec.Struct) or hasattr(candidate, "__dataclass_fields__")
        ):
            return candidate
    return None


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def needs_restart(annotation: Any) -> bool:
    """Whether a field's annotation says that it takes effect at the next start only."""
    return get_origin(annotation) is Annotated and RESTART in get_args(annotation)[1:]


def to_table(config: Any) -> dict[str, Any]:
    """Return a configuration as plain tables, lists and values."""
    table = msgspec.to_builtins(config)
    assert isinstance(table, dict)
    return table


class Change(typing.NamedTuple):
    """What differs between two configurations.

    Attributes:
        live: dotted keys that take effect at once.
        restart: dotted keys that take effect at the next start.
    """

    live: list[str]
    restart: list[str]


def compare(old: Any, new: Any) -> Change:
    """Return what differs between two values of one configuration type."""
    change = Change([], [])
    for key, annotation in _changed(old, new):
        (change.restart if needs_restart(annotation) else change.live).append(key)
    return change


def _changed(old: Any, new: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    for name, annotation in fields(type(old)).items():
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        nested = nested_type(annotation)
        if nested is not None and type(before) is type(after) is nested and not needs_restart(annotation):
            yield from _changed(before, after, f"{above}{name}.")
        else:
            yield above + name, annotation


def effective(old: Any, new: Any) -> Any:
    """Return `new` with the fields that need a restart as they are in `old`: what is in force now."""
    table = to_table(new)
    for key in compare(old, new).restart:
        *path, last = key.split(".")
        into, source = table, to_table(old)
        for part in path:
            into, source = into[part], source[part]
        into[last] = source[last]
    return msgspec.convert(table, type(new))


def absolute(path: str) -> str:
    """Return where `path` leads from here: a daemon has no working directory of its own."""
    return os.path.abspath(os.path.expanduser(path))
