"""The fields of an error that an interface declares, as they are on the wire and as Python has them.

Owns what msgspec leaves open between the two (see `shapes`): string sets, and what may be null or absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from daemonry.service.interface import shapes
from daemonry.service.interface.declare import CallError


class _Passes(NamedTuple):
    outgoing: dict[str, shapes.Pass]
    incoming: dict[str, shapes.Pass]


def sent(raised: CallError) -> dict[str, Any]:
    """Return the fields of an error as they are sent.

    Raises:
        Exception: a field with a string set in its type has a value of another type.
    """
    fields = raised.parameters
    passes = _passes(type(raised)).outgoing
    return {**fields, **{name: of(msgspec.to_builtins(fields[name])) for name, of in passes.items()}}


def received(kind: type[CallError], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the declared ones of the fields that came, each of its own type.

    Raises:
        msgspec.ValidationError: one has another type.
    """
    passes = _passes(kind).incoming
    return {
        name: msgspec.convert(passes[name](fields[name]) if name in passes else fields[name], of)
        for name, of in kind.fields().items()
        if name in fields
    }


_known: dict[type[CallError], _Passes] = {}


def _passes(kind: type[CallError]) -> _Passes:
    found = _known.get(kind)
    if found is None:
        found = _Passes({}, {})
        for name, of in kind.fields().items():
            for passes, made in zip(found, (shapes.outgoing(of), shapes.incoming(of)), strict=True):
                if made is not None:
                    passes[name] = made
        _known[kind] = found
    return found
