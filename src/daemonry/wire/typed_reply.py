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

from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import inspect

from daemonry.wire.varlink import MAX_INT, MIN_INT

_BACKSLASH = ord("\\")
_NUL = b"\0"
_NOTHING = b'{"parameters":{}}'
_DOUBTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_PLAIN = (inspect.BoolType, inspect.NoneType, inspect.StrType, inspect.BytesType, inspect.EnumType)
_NUMBERS = (inspect.IntType, inspect.FloatType)
# Structs within Structs; a type that holds itself has no number of keys.
_MOST_LEVELS = 4


class _Unprovable(Exception):
    """The number of a type's keys cannot be told, or its values not looked at."""


class TypedReply:
    """Replies of one type.

    Args:
        kind: what the method returns.
        field: the name of the one field that it is put into; "" where its fields are the reply's.
    """

    __slots__ = ("_decode", "_field", "_keys", "_nothing", "_numbers", "_optional")

    def __init__(self, kind: Any, field: str) -> None:
        self._decode: Any = None
        self._field = field
        self._nothing = kind is type(None) and not field
        try:
            fields = msgspec.defstruct("OneField", [(field, kind)]) if field else kind
            keys = list(_walk(inspect.type_info(fields), 0))
        except (_Unprovable, TypeError):
            return
        self._keys = 1 + len(keys)
        self._optional = tuple(f'"{key.name}":'.encode() for key in keys if not key.required)
        if self._optional and any("." in key.path for key in keys):
            return  # the same name may stand on two levels
        numbers = [key.path for key in keys if key.is_number]
        self._numbers = _getter(numbers)
        whole = msgspec.defstruct("Whole", [("parameters", fields)], forbid_unknown_fields=True)
        self._decode = msgspec.json.Decoder(whole).decode

    def read(self, received: bytes) -> Any:
        """Return the result that was received, or NotImplemented.

        Args:
            received: bytes that may be one whole reply with its NUL, and nothing more.
        """
        frame, end, rest = received.partition(_NUL)
        if not end or rest:
            return NotImplemented
        decode = self._decode
        if decode is None:
            return None if self._nothing and frame == _NOTHING else NotImplemented
        if _BACKSLASH in frame or (frame.count(b":") != self._keys and _most_keys(frame) != self._keys):
            return NotImplemented
        try:
            value = decode(frame).parameters
        except _DOUBTS:
            return NotImplemented
        for key in self._optional:
            if key not in frame:
                return NotImplemented
        if self._numbers is not None:
            for number in self._numbers(value):
                # MIN_INT itself may have been a smaller integer, where the type is float.
                if number is not None and not MIN_INT < number <= MAX_INT:
                    return NotImplemented
        return getattr(value, self._field) if self._field else value


class _Key:
    """One key of a type.

    Attributes:
        name: as it is sent.
        path: as it is got from the value.
        required: whether it is always there.
        is_number: whether its value may be a number.
    """

    __slots__ = ("is_number", "name", "path", "required")

    def __init__(self, name: str, path: str, required: bool, is_number: bool) -> None:
        self.name = name
        self.path = path
        self.required = required
        self.is_number = is_number


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
            yield _Key(field.encode_name, where, True, False)
            yield from _walk(field.type, level + 1, f"{where}.")
        else:
            alternatives = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
            is_number = any(isinstance(one, _NUMBERS) for one in alternatives)
            if not all(_has_no_keys(one, beside_number=is_number) for one in alternatives):
                raise _Unprovable
            yield _Key(field.encode_name, where, field.required, is_number)


def _has_no_keys(kind: Any, *, beside_number: bool) -> bool:
    if beside_number:
        return isinstance(kind, (*_NUMBERS, inspect.NoneType))
    if isinstance(kind, (inspect.ListType, inspect.VarTupleType)):
        return isinstance(kind.item_type, _PLAIN)
    return isinstance(kind, _PLAIN)


def _getter(paths: list[str]) -> Any:
    """Return what gets the values at some paths as a sequence, or None where there are none."""
    if not paths:
        return None
    get = attrgetter(*paths)
    return get if len(paths) > 1 else lambda value: (get(value),)


def _most_keys(frame: bytes) -> int:
    # As in `fast_varlink`: behind a key stands its quote, perhaps blanks, and a colon; blanks other
    # than " " stand outside strings only, in what was printed for people.
    if b"\t" in frame or b"\n" in frame or b"\r" in frame:
        return -1
    return frame.count(b'":') + frame.count(b" :")
