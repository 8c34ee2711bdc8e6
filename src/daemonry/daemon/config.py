"""Configuration: a TOML file becomes a typed value, and a change becomes a list of fields.

Owns naming the type and comparing; reading and checking are `daemonry.typed_toml`'s.  The type is
the program's own: a dataclass or a msgspec Struct, with a default for each field and others of its
kind nested in it.  A field annotated `Annotated[str, RESTART]` takes effect at the next start only.

A `kind` may be named as `module:Type`, so that the quick commands do not import it.
"""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Final, get_args, get_origin

import msgspec

from daemonry.errors import ConfigError
from daemonry.typed_toml.typed import fields, load_config, nested_type

__all__ = [
    "RESTART",
    "Change",
    "absolute",
    "compare",
    "effective",
    "load_config",
    "needs_restart",
    "resolve",
]

RESTART: Final = msgspec.Meta(extra={"daemonry": "restart"})


def resolve(kind: type | str) -> type:
    """Return a configuration type, importing it if it is named as `module:Type`."""
    if isinstance(kind, type):
        return kind
    import importlib

    module, _, name = kind.partition(":")
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, type)
    return found


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
    for key, (name, annotation) in fields(type(old)).items():
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        nested = nested_type(annotation)
        if nested is not None and type(before) is type(after) is nested and not needs_restart(annotation):
            yield from _changed(before, after, f"{above}{key}.")
        else:
            yield above + key, annotation


def effective(old: Any, new: Any, path: str = "") -> Any:
    """Return `new` with the fields that need a restart as they are in `old`: the ones in force now.

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
    for name, annotation in fields(type(new)).values():
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        if needs_restart(annotation):
            kept[name] = before
        elif type(before) is type(after) is nested_type(annotation):
            kept[name] = _with_restart_fields_of(before, after)
    if not kept:
        return new
    return (msgspec.structs if isinstance(new, msgspec.Struct) else dataclasses).replace(new, **kept)


def absolute(path: str) -> str:
    """Return where `path` leads from here: a daemon has no working directory of its own."""
    return os.path.abspath(os.path.expanduser(path))
