"""TOML files as typed values: read, checked, and every error told as `file: key: reason`.

The type is the caller's own: a dataclass or a msgspec Struct, with others of its kind nested in it,
also in lists and maps.  A key that is not known names the nearest that is.

Owns no configuration.  A daemon's is `daemonry.daemon.config`, a home's `daemonry.home.home_file`.
"""

from __future__ import annotations

import os
import stat
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from daemonry.errors import ConfigError
from daemonry.limits import MAX_CONFIG_BYTES
from daemonry.ownership import why_not_roots

Config = TypeVar("Config")


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
    except ValueError as error:  # a TOMLDecodeError, or a number that Python does not read
        raise ConfigError(path, "", f"not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(path, "", "nested too deep") from None
    return convert(path, table, kind)


def _read(path: str, must_exist: bool) -> str:
    try:
        # Not `open_regular`: links are followed, and /dev/null is an empty configuration.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                raise ConfigError(path, "", "is a FIFO and not a file")
            _check_owner(path, os.fstat(file.fileno()))
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


def _check_owner(path: str, found: os.stat_result) -> None:
    """Raise ConfigError where whoever wrote the file could have root do something."""
    reason = why_not_roots(found) if os.geteuid() == 0 else ""
    if reason:
        raise ConfigError(path, "", reason)


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
        reason, key = _reason_and_key(error)
        raise ConfigError(path, _named(key, table, kind), reason[:1].lower() + reason[1:]) from None


def _reason_and_key(error: msgspec.ValidationError) -> tuple[str, str]:
    reason, _, where = str(error).partition(" - at `$")
    return reason, where.strip("`.")


def _named(key: str, table: Mapping[str, Any], kind: type) -> str:
    """Return a key with the name of the map's entry that is meant, where msgspec says `[...]`."""
    above, dots, below = key.partition("[...]")
    entries: Any = table
    for part in above.split("."):
        entries = entries.get(part) if isinstance(entries, dict) else None
    if not dots or not isinstance(entries, dict):
        return key
    for name in entries:
        try:
            msgspec.convert(_with_only(table, above.split("."), name), kind)
        except msgspec.ValidationError as error:
            if _reason_and_key(error)[1] == key:
                return f"{above}.{name}{below}"
    return key


def _with_only(table: Mapping[str, Any], path: list[str], name: str) -> dict[str, Any]:
    first, *rest = path
    within = table[first]
    return {**table, first: _with_only(within, rest, name) if rest else {name: within[name]}}


def _not_known(key: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(key.rpartition(".")[2], known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known)) or 'none'}"
    return f"is not known: {hint}"


def fields(kind: type) -> dict[str, tuple[str, Any]]:
    """Return a configuration type's fields: by key in the file, the attribute and its annotation."""
    hints = get_type_hints(kind, include_extras=True)
    if issubclass(kind, msgspec.Struct):
        return {field.encode_name: (field.name, hints[field.name]) for field in msgspec.structs.fields(kind)}
    return {name: (name, annotation) for name, annotation in hints.items()}


def _unknown_keys(table: Mapping[str, Any], kind: type, above: str = "") -> Iterator[tuple[str, list[str]]]:
    known = fields(kind)
    for key, value in table.items():
        if key not in known:
            yield above + key, list(known)
            continue
        for suffix, inner, nested in _tables_in(value, known[key][1]):
            yield from _unknown_keys(inner, nested, f"{above}{key}{suffix}.")


_Found = tuple[str, dict[str, Any], type]


def _tables_in(value: Any, annotation: Any) -> Iterator[_Found]:
    """Yield the tables in a field's value, however deep in lists and maps, each with its type."""
    for option in _options(annotation):
        within = {one for one in get_args(option) if one is not Ellipsis}
        if isinstance(value, dict) and _is_config_type(option):
            yield "", value, option
        elif isinstance(value, dict) and get_origin(option) is dict:
            yield from _tables_of(((f".{key}", item) for key, item in value.items()), get_args(option)[1])
        elif isinstance(value, list) and len(within) == 1:
            yield from _tables_of(((f"[{at}]", item) for at, item in enumerate(value)), within.pop())


def _tables_of(items: Iterable[tuple[str, Any]], annotation: Any) -> Iterator[_Found]:
    for place, item in items:
        for suffix, table, kind in _tables_in(item, annotation):
            yield place + suffix, table, kind


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
    """Return an annotation without what `Annotated` says besides."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
