r"""Reads a whole reply straight into the type that a method returns, where that is proved to be right.

Owns no rule: what is not proved here in a few looks goes to the codec (`wire.fast_varlink`), which
takes or refuses it.  So a proxy's call accepts the same replies with the same values, by half the
work: no dictionary, and no second walk to convert it.

What msgspec proves by decoding into the type is told in `wire.fast_varlink`: syntax, UTF-8, types,
and that the envelope has `parameters` and no other key.  What is looked at here besides:

    NUL in a string     stands in a frame as an escape: there is no backslash
    a key twice,        there are as many colons as the type has keys, and each key is there; so each
    or an unknown one   is there once.  A text with a colon in it needs a second count, of those
                        behind a quote
    integers            msgspec takes them of any size where the type does; those of the result are
                        within 64 bits, and so are floats, which may have been written as integers

That can be told of types without lists of numbers and without mappings: Structs and dataclasses of
plain fields, such Structs within them, and single plain values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import inspect

from daemonry.wire.field_checks import Check, numbers_fit

_BACKSLASH = ord("\\")
_COLON = ord(":")
_NOTHING = b'{"parameters":{}}\0'
# The last is for nothing at all: the peer sends no more.
_DOUBTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, IndexError)
_PLAIN = (inspect.BoolType, inspect.NoneType, inspect.StrType, inspect.BytesType, inspect.EnumType)
_NUMBERS = (inspect.IntType, inspect.FloatType)
# Structs within Structs; a type that holds itself has no number of keys.
_MOST_LEVELS = 4


class _Unprovable(Exception):
    """The number of a type's keys cannot be told, or its values not looked at."""


Reader = Callable[[bytes], Any]


def reader(kind: Any, field: str) -> Reader:
    """Return what reads replies of one type.

    It takes bytes that may be one whole reply with its NUL, and nothing more, and returns the result, or
    NotImplemented.

    Args:
        kind: what the method returns.
        field: the name of the one field that it is put into; "" where its fields are the reply's.
    """
    if kind is type(None) and not field:
        return _read_nothing
    try:
        fields = msgspec.defstruct("OneField", [(field, kind)]) if field else kind
        keys = list(_walk(inspect.type_info(fields), 0))
    except (_Unprovable, TypeError):
        return never_proved
    optional = tuple(f'"{key.name}":'.encode() for key in keys if not key.required)
    if optional and any("." in key.path for key in keys):
        return never_proved  # the same name may stand on two levels
    numbers = [(key.path, key.is_nullable) for key in keys if key.is_number]
    fit = numbers_fit(numbers)
    if fit is None:
        return never_proved
    read = _reader(fields, 1 + len(keys), fit if numbers else None)
    if optional:
        read = _with_all(optional, read)
    return _of_field(field, read) if field else read


def _reader(fields: Any, keys: int, fit: Check | None) -> Reader:
    """Return what reads replies of a type all of whose keys are there, with nothing to loop over."""
    whole = msgspec.defstruct("Whole", [("parameters", fields)], forbid_unknown_fields=True, gc=False)
    decode: Callable[[bytes], Any] = msgspec.json.Decoder(whole).decode

    def read(received: bytes) -> Any:
        # A NUL before the last one is no JSON, and refused as such.
        try:
            if received[-1] or _BACKSLASH in received:
                return NotImplemented
            if received.count(_COLON) != keys and _most_keys(received) != keys:
                return NotImplemented
            value = decode(received[:-1]).parameters
        except _DOUBTS:
            return NotImplemented
        return value if fit is None or fit(value) else NotImplemented

    return read


def _with_all(optional: tuple[bytes, ...], read: Reader) -> Reader:
    def read_all(received: bytes) -> Any:
        return read(received) if all(key in received for key in optional) else NotImplemented

    return read_all


def _of_field(field: str, read: Reader) -> Reader:
    def read_field(received: bytes) -> Any:
        value = read(received)
        return value if value is NotImplemented else getattr(value, field)

    return read_field


def _read_nothing(received: bytes) -> Any:
    return None if received == _NOTHING else NotImplemented


def never_proved(_received: bytes) -> Any:
    """Read replies of a type of which nothing can be proved in a few looks."""
    return NotImplemented


class _Key:
    """One key of a type.

    Attributes:
        name: as it is sent.
        path: as it is got from the value.
        required: whether it is always there.
        is_nullable: whether it may be null.
        is_number: whether its value may be a number.
    """

    __slots__ = ("is_nullable", "is_number", "name", "path", "required")

    def __init__(self, name: str, path: str, required: bool, is_number: bool, is_nullable: bool) -> None:
        self.name = name
        self.path = path
        self.required = required
        self.is_number = is_number
        self.is_nullable = is_nullable


def _walk(kind: Any, level: int, path: str = "") -> Iterator[_Key]:
    """Yield the keys of an object.

    Raises:
        _Unprovable: what has no fixed number of them.
    """
    if level > _MOST_LEVELS:
        raise _Unprovable
    if isinstance(kind, inspect.StructType):
        if kind.array_like or kind.tag is not None:
            raise _Unprovable
    elif not isinstance(kind, inspect.DataclassType):
        raise _Unprovable
    for field in kind.fields:
        if '"' in field.encode_name or "\\" in field.encode_name or ":" in field.encode_name:
            raise _Unprovable
        where = f"{path}{field.name}"
        if isinstance(field.type, (inspect.StructType, inspect.DataclassType)):
            if not field.required:
                raise _Unprovable
            yield _Key(field.encode_name, where, True, False, False)
            yield from _walk(field.type, level + 1, f"{where}.")
        else:
            alternatives = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
            is_number = any(isinstance(one, _NUMBERS) for one in alternatives)
            if not all(_has_no_keys(one, beside_number=is_number) for one in alternatives):
                raise _Unprovable
            yield _Key(field.encode_name, where, field.required, is_number, len(alternatives) > 1)


def _has_no_keys(kind: Any, *, beside_number: bool) -> bool:
    if beside_number:
        return isinstance(kind, (*_NUMBERS, inspect.NoneType))
    if isinstance(kind, (inspect.ListType, inspect.VarTupleType)):
        return isinstance(kind.item_type, _PLAIN)
    return isinstance(kind, _PLAIN)


def _most_keys(frame: bytes) -> int:
    # As in `fast_varlink`: behind a key stands its quote, perhaps blanks, and a colon; blanks other
    # than " " stand outside strings only, in what was printed for people.
    if b"\t" in frame or b"\n" in frame or b"\r" in frame:
        return -1
    return frame.count(b'":') + frame.count(b" :")
