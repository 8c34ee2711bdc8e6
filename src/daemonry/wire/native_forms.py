"""Forms of types, by which the optional native part (`daemonry.native_calls`) reads and writes their values.

A form is a tuple that says how a type's values are written: see `native/calls/form.h`.  Types have one if all
their values are plain, or lists, mappings and Structs of such, and msgspec writes them with every key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

import msgspec

from daemonry.native_calls import calls
from daemonry.wire.varlink import MAX_FRAME_BYTES

# Types within types; one that holds itself has no end.
_MOST_LEVELS: Final = 5
_PLAIN: Final[dict[Any, tuple[Any, ...]]] = {str: ("str",), int: ("int",), float: ("float",), bool: ("bool",)}

Form = tuple[Any, ...]


def form_of(kind: Any, level: int = 0) -> Form | None:
    """Return the form of a type; None for one that has none."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    if level > _MOST_LEVELS:
        return None
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        others = [one for one in arguments if one is not type(None)]
        return _holding("optional", others[0], level) if len(others) == 1 else None
    if origin is list:
        return _holding("list", arguments[0], level)
    if origin is dict and arguments[0] is str:
        return _holding("dict", arguments[1], level)
    return _object(kind, level) if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


def _holding(name: str, kind: Any, level: int) -> Form | None:
    form = form_of(kind, level + 1)
    return None if form is None else (name, form)


def _object(kind: type[msgspec.Struct], level: int) -> Form | None:
    config = kind.__struct_config__
    if config.array_like or config.tag is not None or config.omit_defaults:
        return None
    try:
        found = msgspec.structs.fields(kind)
    except (NameError, TypeError):  # a type that is written as text, and is not there
        return None
    fields = _fields([(one.name, one.encode_name, one.type) for one in found], level)
    return None if fields is None else ("object", kind, fields)


def form_of_values(fields: Iterable[tuple[str, Any]]) -> Form | None:
    """Return the form of an object whose values are a tuple; None where one of them has none.

    Args:
        fields: the name that is sent and the type of each.
    """
    found = _fields([(name, name, kind) for name, kind in fields], 0)
    return None if found is None else ("values", found)


def _fields(found: list[tuple[str, str, Any]], level: int) -> Form | None:
    forms = []
    for name, sent, kind in found:
        form = form_of(kind, level + 1)
        if form is None:
            return None  # at once: of a type that holds itself many times, each level has as many more
        forms.append((name, sent, form))
    return tuple(forms)


def writer(head: bytes, form: Form | None, tail: bytes) -> Callable[[Any], bytes | None] | None:
    """Return a function that writes a value's message, or None where only the codec can; None for none."""
    made = message(head, form, tail)
    return None if made is None else made.write


def message(head: bytes, form: Form | None, tail: bytes) -> Any:
    """Return the native part's `Form` of messages that begin and end so; None for none."""
    return None if calls is None or form is None else calls.Form(head, form, tail, MAX_FRAME_BYTES)


def reader(head: bytes, form: Form | None, tail: bytes) -> Callable[[bytes], Any] | None:
    """Return a reader of the value of messages that begin and end so.

    It returns NotImplemented for all else, and where only the codec can tell.  None for none: without the
    native part, and for Structs, which msgspec makes faster.
    """
    made = readable(head, form, tail)
    return None if made is None else made.read


def readable(head: bytes, form: Form | None, tail: bytes) -> Any:
    """As `message`, where it reads, too: see `reader`."""
    return None if form is None or _has_objects(form) else message(head, form, tail)


def _has_objects(form: Any) -> bool:
    return type(form) is tuple and (form[:1] == ("object",) or any(map(_has_objects, form)))
