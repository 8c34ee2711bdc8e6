"""Configuration: a TOML file becomes a typed value, and a change becomes a list of fields.

Owns reading, checking and comparing.  The type is the program's own: a dataclass or a msgspec
Struct, with a default for each field and others of its kind nested in it.  A field annotated
`Annotated[str, RESTART]` takes effect at the next start only.

A `kind` may be named as `module:Type`, so that the quick commands do not import it.

Errors say `file: key: reason`, and a key that is not known names the nearest that is.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
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
    except ValueError as error:  # a TOMLDecodeError, or a number that Python does not read
        raise ConfigError(path, "", f"not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(path, "", "nested too deep") from None
    return convert(path, table, kind)


def _read(path: str, must_exist: bool) -> str:
    try:
        with open(path, "rb") as file:
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
    if os.geteuid() != 0:
        return
    if found.st_uid != 0:
        raise ConfigError(path, "", f"belongs to uid {found.st_uid}, and this daemon is root's")
    if found.st_mode & 0o002 or (found.st_mode & 0o020 and found.st_gid != 0):
        mode = found.st_mode & 0o777
        raise ConfigError(path, "", f"others may write to it (mode {mode:04o}), and this daemon is root's")


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


def resolve(kind: type | str) -> type:
    """Return a configuration type, importing it if it is named as `module:Type`."""
    if isinstance(kind, type):
        return kind
    import importlib

    module, _, name = kind.partition(":")
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, type)
    return found


def _fields(kind: type) -> dict[str, tuple[str, Any]]:
    """Return a configuration type's fields: by key in the file, the attribute and its annotation."""
    hints = get_type_hints(kind, include_extras=True)
    if issubclass(kind, msgspec.Struct):
        return {field.encode_name: (field.name, hints[field.name]) for field in msgspec.structs.fields(kind)}
    return {name: (name, annotation) for name, annotation in hints.items()}


def _unknown_keys(table: Mapping[str, Any], kind: type, above: str = "") -> Iterator[tuple[str, list[str]]]:
    known = _fields(kind)
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


def _nested_type(annotation: Any) -> type | None:
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
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def needs_restart(annotation: Any) -> bool:
    """Whether a field's annotation says that it takes effect at the next start only."""
    return get_origin(annotation) is Annotated and RESTART in get_args(annotation)[1:]


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
    for key, (name, annotation) in _fields(type(old)).items():
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        nested = _nested_type(annotation)
        if nested is not None and type(before) is type(after) is nested and not needs_restart(annotation):
            yield from _changed(before, after, f"{above}{key}.")
        else:
            yield above + key, annotation


def effective(old: Any, new: Any, path: str = "") -> Any:
    """Return `new` with the fields that need a restart as they are in `old`: what is in force now.

    Raises:
        ConfigError: the type objects to the two together; `path` is the file that it names.
    """
    try:
        return _with_restart_fields_of(old, new)
    except (ValueError, TypeError) as error:  # what msgspec takes from a `__post_init__` too
        needing = ", ".join(compare(old, new).restart)
        reason = f"does not fit what takes effect at a restart only ({needing}): {error}"
        raise ConfigError(path, "", reason) from None


def _with_restart_fields_of(old: Any, new: Any) -> Any:
    kept: dict[str, Any] = {}
    for name, annotation in _fields(type(new)).values():
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        if needs_restart(annotation):
            kept[name] = before
        elif type(before) is type(after) is _nested_type(annotation):
            kept[name] = _with_restart_fields_of(before, after)
    if not kept:
        return new
    return (msgspec.structs if isinstance(new, msgspec.Struct) else dataclasses).replace(new, **kept)


def absolute(path: str) -> str:
    """Return where `path` leads from here: a daemon has no working directory of its own."""
    return os.path.abspath(os.path.expanduser(path))
