"""What msgspec leaves open between a Python value and the wire: nulls, and string sets.

Owns two passes over JSON values, made from a type once and only where the type needs them:

    incoming    a field that may be null may also be absent, and the other way round
                (varlink.github.io#36): an absent `X | None` is None, a null with a default is absent
    both        set[str] is an object with `{}` under each of its strings, as the language has it

All else is msgspec's.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, get_args, get_origin

import msgspec

from daemonry.service.interface.schema import bare, is_struct, struct_fields

Pass = Callable[[Any], Any]

_ARRAYS = (list, tuple, Sequence)
_MAPS = (dict, Mapping)
_SETS = (set, frozenset)
_ABSENT = object()


def incoming(kind: Any) -> Pass | None:
    """Return the function that changes JSON before msgspec makes a `kind` of it; None for none."""
    return _Maker(_set_from_object, nulls=True).make(kind)


def outgoing(kind: Any) -> Pass | None:
    """Return the function that changes the JSON that msgspec made of a `kind`; None for none."""
    return _Maker(_object_from_set, nulls=False).make(kind)


def _set_from_object(value: Any) -> Any:
    if type(value) is not dict:
        raise msgspec.ValidationError("Expected an object with `{}` under each string of the set")
    if any(element != {} for element in value.values()):
        raise msgspec.ValidationError("Expected `{}` under each string of the set")
    return list(value)


def _object_from_set(value: Any) -> Any:
    return {name: {} for name in value}


class _Maker:
    def __init__(self, of_set: Pass, *, nulls: bool) -> None:
        self._of_set = of_set
        self._nulls = nulls
        self._made: dict[Any, list[Pass]] = {}

    def make(self, kind: Any) -> Pass | None:
        return self._make(kind) if self._is_special(kind, set()) else None

    def _is_special(self, kind: Any, seen: set[Any]) -> bool:
        kind = bare(kind)
        if get_origin(kind) in _SETS:
            return True
        if is_struct(kind):
            if kind in seen:
                return False
            seen.add(kind)
            fields = struct_fields(kind)
            if self._nulls and any(
                _fills(of, optional) or _drops(of, optional) for _, of, optional in fields
            ):
                return True
            return any(self._is_special(of, seen) for _, of, _ in fields)
        return any(self._is_special(one, seen) for one in get_args(kind))

    def _is_odd(self, kind: Any, optional: bool) -> bool:
        return self._nulls and (_fills(kind, optional) or _drops(kind, optional))

    def _make(self, kind: Any) -> Pass | None:
        kind = bare(kind)
        origin, arguments = get_origin(kind), get_args(kind)
        if origin in _SETS:
            return self._of_set
        if origin in (typing.Union, types.UnionType):
            return _applied(_unless_null, self._make(_but_null(arguments)))
        if origin in _ARRAYS:
            return _applied(_each, self._make(arguments[0]))
        if origin in _MAPS:
            return _applied(_under_each, self._make(arguments[1]))
        if is_struct(kind):
            return self._of_struct(kind)
        return None

    def _of_struct(self, kind: type) -> Pass:
        if kind in self._made:
            made = self._made[kind]
            return lambda value: made[0](value)  # noqa: PLW0108  # a type that holds itself: not made yet
        made = self._made[kind] = []
        fields = []
        for name, of, optional in struct_fields(kind):
            change = self._make(of)
            fill = self._nulls and _fills(of, optional)
            drop = self._nulls and _drops(of, optional)
            if change is not None or fill or drop:
                fields.append((name, change, fill, drop))
        made.append(lambda value: _fields(fields, value))
        return made[0]


def _fills(kind: Any, optional: bool) -> bool:
    return not optional and _takes_null(kind)


def _drops(kind: Any, optional: bool) -> bool:
    return optional and not _takes_null(kind) and bare(kind) is not Any


def _takes_null(kind: Any) -> bool:
    kind = bare(kind)
    return get_origin(kind) in (typing.Union, types.UnionType) and type(None) in get_args(kind)


def _but_null(arguments: tuple[Any, ...]) -> Any:
    return next(one for one in arguments if one is not type(None))


def _applied(how: Callable[[Pass, Any], Any], change: Pass | None) -> Pass | None:
    return None if change is None else partial(how, change)


def _unless_null(change: Pass, value: Any) -> Any:
    return None if value is None else change(value)


def _each(change: Pass, value: Any) -> Any:
    # msgspec leaves tuples alone.
    return [change(one) for one in value] if type(value) in (list, tuple) else value


def _under_each(change: Pass, value: Any) -> Any:
    return {name: change(one) for name, one in value.items()} if type(value) is dict else value


def _fields(fields: list[tuple[str, Pass | None, bool, bool]], value: Any) -> Any:
    if type(value) is not dict:
        return value
    changed = dict(value)
    for name, change, fill, drop in fields:
        found = changed.get(name, _ABSENT)
        if found is _ABSENT:
            if fill:
                changed[name] = None
        elif found is None and drop:
            del changed[name]
        elif change is not None:
            try:
                changed[name] = change(found)
            except msgspec.ValidationError as error:
                raise _within(error, name) from None
    return changed


def _within(error: msgspec.ValidationError, name: str) -> msgspec.ValidationError:
    reason, _, path = str(error).partition(" - at `$")
    return msgspec.ValidationError(f"{reason} - at `$.{name}{path or '`'}")
