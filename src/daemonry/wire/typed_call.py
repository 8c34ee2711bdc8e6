r"""Writes the calls of one method, by one function that is made for the types of its parameters.

Owns no rule: arguments that are not of the plain types that the method declares, or that JSON writes with
escapes, are left to the codec (`wire.fast_varlink`), which writes or refuses them.  So a proxy sends the same
bytes for the same arguments, by a third of the work: no dictionary, and no loop that asks for each type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from daemonry.wire import native_forms
from daemonry.wire.fast_varlink import NUL_ESCAPE, common_integers, is_common
from daemonry.wire.field_checks import PLAIN, sent_as_declared
from daemonry.wire.varlink import FRAME_END, MAX_FRAME_BYTES, tracing

# Takes arguments by place; returns the call as it is sent, or None where only the codec can tell.
CallWriter = Callable[[tuple[Any, ...]], bytes | None]

_BACKSLASH = ord("\\")


def call_writer(head: bytes, parameters: Iterable[tuple[str, Any]]) -> CallWriter:
    """Return what writes calls of one method from arguments by place.

    Args:
        head: how its frames begin: up to the parameters.
        parameters: the name that is sent and the type of each, in order; at least one.
    """
    kinds = dict(parameters)
    native = native_call(head, kinds.items())
    with_care = _writer(head, kinds)
    if native is None:
        return with_care
    quick: CallWriter = native.write

    def write(args: tuple[Any, ...]) -> bytes | None:
        frame = None if tracing.source is not None else quick(args)
        return with_care(args) if frame is None else frame

    return write


def native_call(head: bytes, parameters: Iterable[tuple[str, Any]]) -> Any:
    """Return the native part's `Form` of such calls; None where it has none."""
    return native_forms.message(head, native_forms.form_of_values(parameters), FRAME_END)


def _writer(head: bytes, kinds: dict[str, Any]) -> CallWriter:
    fields = msgspec.defstruct(
        "Given",
        [(f"f{place}", Any, msgspec.field(name=name)) for place, name in enumerate(kinds)],
        gc=False,
    )
    places = [f"a{place}" for place in range(len(kinds))]
    conditions = [_condition(kind, place) for place, kind in zip(places, kinds.values(), strict=True)]
    given = ", ".join(places)
    made: Callable[..., Any] = eval(  # noqa: S307  # of places and of conditions that hold no other names
        f"lambda {given}: fields({given}) if {' and '.join(conditions)} else None",
        {"fields": fields, "is_common": is_common, "common_integers": common_integers},
    )
    encode = msgspec.json.Encoder().encode
    count = len(kinds)

    def write(args: tuple[Any, ...]) -> bytes | None:
        if len(args) != count or tracing.source is not None:
            return None
        value = made(*args)
        if value is None:
            return None
        try:
            encoded = encode(value)
        except (TypeError, ValueError):  # a lone surrogate
            return None
        if _BACKSLASH in encoded and encoded.find(NUL_ESCAPE) >= 0:
            return None
        frame = b"".join((head, encoded, FRAME_END))
        return frame if len(frame) <= MAX_FRAME_BYTES else None

    return write


def _condition(kind: Any, place: str) -> str:
    if kind in PLAIN:
        return sent_as_declared(kind, place)
    if kind == list[int]:
        return f"({place} := common_integers({place})) is not None"
    return f"is_common({place})"


def never_written(_args: tuple[Any, ...]) -> None:
    """Write no call of a method whose parameters only the codec can write."""
