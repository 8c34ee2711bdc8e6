"""Whether a reply is what its method's signature says, looked at as it is sent.

Owns the reading of a reply's JSON by a strict form of the method's type: the same fields and types, all
that must be there, and nothing else.  The encoded bytes are read again, so that the bytes sent are those
judged; msgspec does that in a fraction of the time that encoding takes.  The strict form runs no code of
the program, such as a type's `__post_init__`.

    Struct, dataclass, TypedDict     a Struct with their fields that takes no others
    set[str]                         an object with `{}` under each string
    X | None, or with a default      may be absent or null
    int                              of 64 bits, as all that is sent
    Fd                               the index of a descriptor that goes with the reply, each one once
    anything else                    itself
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ForwardRef, Optional, get_args, get_origin

import msgspec

from daemonry.errors import NotSendable
from daemonry.service.interface.schema import bare, is_struct, struct_fields
from daemonry.transport.ancillary import Fd
from daemonry.wire.varlink import INT_SENT_LIMIT

Check = Callable[[bytes, int], None]

_ARRAYS = (list, tuple, Sequence)
_MAPS = (dict, Mapping)
_SETS = (set, frozenset)
_SENT_INT = Annotated[int, msgspec.Meta(ge=1 - INT_SENT_LIMIT, le=INT_SENT_LIMIT - 1)]


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """What stands under each string of a set."""


class Misfit(NotSendable):
    """A result is not what the method's signature says.

    Attributes:
        reason: the place, the expected type, and the value found.
    """


def checker(kind: Any, field: str) -> Check:
    """Return what looks at a reply's parameters, and how many descriptors go with it.

    Args:
        kind: what the method returns.
        field: the name of the one field that it is put into; "" where its fields are the reply's.

    Raises, the function:
        Misfit: they are not of that type.
    """
    strict = _Strict().of(kind)
    if field:
        strict = msgspec.defstruct("OneField", [("f0", strict, msgspec.field(name=field))], **_OPTIONS)
    indexes: list[int] = []
    read = msgspec.json.Decoder(strict, dec_hook=_noting(indexes)).decode

    def check(parameters: bytes, fds: int) -> None:
        indexes.clear()
        try:
            read(parameters)
        except msgspec.ValidationError as error:
            raise Misfit(reason_of(error)) from None
        if sorted(indexes) != list(range(fds)):
            raise Misfit(f"descriptors declared: {len(indexes)}, given: {fds}")

    return check


def nothing(_parameters: bytes, _fds: int) -> None:
    """Take the empty reply of a method that returns None."""


def reason_of(error: msgspec.ValidationError) -> str:
    """Return what msgspec says, with the place in front: `rows[0].x: expected ...`."""
    reason, _, place = str(error).partition(" - at `$")
    reason = reason[:1].lower() + reason[1:]
    place = place.strip("`.")
    return f"{place}: {reason}" if place else reason


def _noting(indexes: list[int]) -> Callable[[type, Any], Any]:
    def note(kind: type, value: Any) -> Any:
        if kind is not Fd or type(value) is not int:
            raise ValueError(f"Expected a descriptor, got `{type(value).__name__}`")
        indexes.append(value)
        return Fd(-1)

    return note


_OPTIONS: dict[str, Any] = {"forbid_unknown_fields": True, "kw_only": True, "gc": False}


class _Strict:
    """Makes strict forms; a Struct that is met again is the one that was made."""

    def __init__(self) -> None:
        self._names: dict[type, str] = {}
        self._made: dict[str, Any] = {}

    def of(self, kind: Any) -> Any:
        strict = self._of(kind)
        for made in self._made.values():
            for name, one in self._made.items():
                setattr(made, name, one)  # where msgspec looks the names up
        return strict

    def _of(self, kind: Any) -> Any:
        if isinstance(kind, typing.NewType):
            return self._of(kind.__supertype__)
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is Annotated:
            held = arguments[0] if arguments[0] is int else self._of(arguments[0])  # its bounds are its own
            return Annotated[(held, *arguments[1:])]
        if origin in (typing.Union, types.UnionType):
            return Optional[self._of(_but_none(arguments))]  # noqa: UP045  # of what may be a name
        if origin in _SETS:
            return dict[str, _Nothing]
        if origin in _ARRAYS:
            return list[self._of(arguments[0])]  # type: ignore[misc]
        if origin in _MAPS:
            return dict[str, self._of(arguments[1])]  # type: ignore[misc]
        if kind is int:
            return _SENT_INT
        return self._struct(kind) if is_struct(kind) else kind

    def _struct(self, kind: type) -> Any:
        name = self._names.get(kind)
        if name is not None:
            return self._made.get(name, ForwardRef(name))
        name = self._names[kind] = f"Strict{len(self._names)}"
        fields = [
            self._field(number, sent, of, optional=optional)
            for number, (sent, of, optional) in enumerate((*struct_fields(kind), *_set_later(kind)))
        ]
        self._made[name] = msgspec.defstruct(name, fields, **_tag(kind), **_OPTIONS)
        return self._made[name]

    def _field(self, number: int, sent: str, of: Any, *, optional: bool) -> Any:
        strict = self._of(of)
        if optional or type(None) in get_args(bare(of)):
            return (f"f{number}", Optional[strict], msgspec.field(name=sent, default=None))  # noqa: UP045
        return (f"f{number}", strict, msgspec.field(name=sent))


def _but_none(arguments: tuple[Any, ...]) -> Any:
    return next(one for one in arguments if one is not type(None))


def _set_later(kind: type) -> list[tuple[str, Any, bool]]:
    """Return the fields that a dataclass sets by itself: msgspec sends them too."""
    if not dataclasses.is_dataclass(kind) or issubclass(kind, msgspec.Struct):
        return []
    return [(one.name, Any, True) for one in dataclasses.fields(kind) if not one.init]


def _tag(kind: type) -> dict[str, Any]:
    if not issubclass(kind, msgspec.Struct) or kind.__struct_config__.tag is None:
        return {}
    config = kind.__struct_config__
    return {"tag": config.tag, "tag_field": config.tag_field}
