r"""The codec of `wire.varlink` by msgspec, for servers and clients that live long.

Owns no rule.  A frame that msgspec's answer proves to be within the rules is taken as it is;
every other one is read, or refused, by `wire.varlink` itself.  So both accept the same frames,
with the same values, and this one is the faster where nothing is odd about them.

What msgspec proves by decoding into the types below: syntax, UTF-8, paired surrogates, finite
floats, integers of 64 bits, the known keys and their types, and a depth of few levels.  What it
does not look at:

    NUL in a string   stands in a frame as `\u0000` only: without a backslash there is none
    a key twice       the last one wins.  So what came out has fewer keys than the text, and a key
                      in the text has a colon: where there are as many colons as keys came out,
                      none was lost.  Colons in strings hide that; the next two steps count those
                      behind a quote, then those that stand outside strings, still without a loop

The proof by all colons takes a tenth of a microsecond, the next three tenths, the last half of one
and more; a list of a key's occurrences as `strict_json` makes it takes ten times that.

Keys that are there and not counted as come out (a flag that is false, an error without a name, a
null, a second flag) spoil the proof as well, so that the other codec judges them.

Encoding, the values are looked at first (`_is_common`), because msgspec writes NaN as null, keys
that are numbers as text, and any integer; and one look for a backslash finds NUL behind it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec.structs import astuple

from daemonry import faults
from daemonry.limits import MAX_JSON_DEPTH
from daemonry.native_calls import calls as native_calls
from daemonry.wire import native_forms, varlink
from daemonry.wire.field_checks import Check, Unwritable, sendable_as_declared, told_by_form
from daemonry.wire.varlink import (
    FRAME_END,
    INT_SENT_LIMIT,
    METHOD_HEAD,
    PARAMETERS_HEAD,
    PLAIN_TAIL,
    REPLY_HEAD,
    AnyCall,
    AnyReply,
    call_tail,
    encode_name,
    reply_tail,
    tracing,
)

# Levels of arrays and objects inside a parameter that the types below go; each doubles their
# number.  Replies of real services have two or three.
FAST_LEVELS: Final = 4

_BACKSLASH = ord("\\")
_INT_BELOW = -INT_SENT_LIMIT
_TEXT_ALONE = frozenset((str,))
# From here on one pass in C over a list is worth its start.
_MANY_VALUES = 64
_DIGITS = b"0123456789"
# What a list of integers looks like: its digits alike, and all that is neither that nor between them.
_NUMBER_SHAPE = bytes(ord("0") if one in _DIGITS else one if one in b",-" else ord("X") for one in range(256))
# A number of fewer digits than INT_SENT_LIMIT has is smaller; most have far fewer, which is found sooner.
_LONG_NUMBER = b"0" * len(str(INT_SENT_LIMIT))
_LONGISH_NUMBER = b"0" * 10
NUL_ESCAPE = b"\\u0000"
# Keys whose value may be one that leaves no trace of them, though the codec refuses it.
_TRACE = varlink.TRACE.encode()
_ERROR = b'"error"'
# What msgspec raises for a frame that is not what the types say.
_DOUBTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _typed_values(levels: int) -> Any:
    whole = Annotated[int, msgspec.Meta(ge=varlink.MIN_INT, le=INT_SENT_LIMIT - 1)]
    single = None | bool | whole | float | str
    values: Any = single
    for _ in range(levels):
        values = single | list[values] | dict[str, values]
    return values


if TYPE_CHECKING:
    _Object = dict[str, Any]
else:
    _Object = dict[str, _typed_values(FAST_LEVELS)]


class Encoded(bytes):
    """Parameters that are JSON already, as `encode_parameters` made it."""


class FastCall(AnyCall, msgspec.Struct, forbid_unknown_fields=True, eq=False):
    """A request that msgspec makes: equal to the `Call` with the same fields, and unchecked."""

    method: str
    parameters: _Object | None = None
    oneway: bool = False
    more: bool = False
    upgrade: bool = False
    trace: dict[str, str] | None = msgspec.field(default=None, name=varlink.TRACE)


class FastReply(AnyReply, msgspec.Struct, forbid_unknown_fields=True, eq=False):
    """An answer that msgspec makes: equal to the `Reply` with the same fields, and unchecked."""

    parameters: _Object | None = None
    continues: bool = False
    error: str | None = None


# Made here and not at the first reply, where several threads would make it at a time: see `client.proxy`.
_read_call = msgspec.json.Decoder(FastCall).decode
_read_reply = msgspec.json.Decoder(FastReply).decode
_encode = msgspec.json.Encoder().encode
_scan_frame: Callable[[bytes], bool] | None = None if native_calls is None else native_calls.scan_frame


# --- decoding ---------------------------------------------------------------------------------


def decode_call(frame: bytes) -> AnyCall:
    """Return the call that a frame, without its NUL, holds.

    Raises:
        BadFrame: as `varlink.decode_call`.
    """
    try:
        call = _read_call(frame)
    except _DOUBTS:
        return varlink.decode_call(frame)
    keys = 2 if call.oneway or call.more or call.upgrade else 1
    if call.trace is not None:
        if sum(map(len, call.trace.values())) > varlink.MAX_TRACE_CHARS:
            return varlink.decode_call(frame)
        keys += 1 + len(call.trace)
    odd = b"" if call.oneway + call.more + call.upgrade > 1 else _TRACE if call.trace is None else FRAME_END
    return call if _is_proved(frame, keys, call, odd) else varlink.decode_call(frame)


def decode_reply(frame: bytes) -> AnyReply:
    """Return the reply that a frame, without its NUL, holds.

    Raises:
        BadFrame: as `varlink.decode_reply`.
    """
    try:
        reply = _read_reply(frame)
    except _DOUBTS:
        return varlink.decode_reply(frame)
    keys = 1 if reply.error or reply.continues else 0
    odd = _ERROR if not reply.error else b"" if reply.continues else FRAME_END
    return reply if _is_proved(frame, keys, reply, odd) else varlink.decode_reply(frame)


def _is_proved(frame: bytes, keys: int, message: FastCall | FastReply, odd: bytes) -> bool:
    """Say whether as many keys came out as the frame has: `keys`, and the parameters with theirs.

    The native part looks at everything but keys that are there and came out as though they were absent: a
    frame in which `odd` stands may have one.
    """
    parameters = message.parameters
    if parameters is None:
        message.parameters = parameters = {}
    else:
        keys += 1 + len(parameters)
    if _scan_frame is not None:
        return odd not in frame and _scan_frame(frame)
    if _BACKSLASH not in frame:
        if frame.count(b":") == keys:
            return True
    elif frame.find(NUL_ESCAPE) >= 0:
        return False
    most = _most_keys(frame)
    if parameters and most != keys:
        keys += _count_keys(parameters.values())
    return keys == most or keys == _count_keys_written(frame)


def _most_keys(frame: bytes) -> int:
    # Behind a key stands its quote, perhaps blanks, and a colon; in strings a quote is escaped.
    # Blanks other than " " stand outside strings only, in JSON printed for people: all colons.
    if 0x09 in frame or 0x0A in frame or 0x0D in frame:
        return frame.count(b":")
    return frame.count(b'":') + frame.count(b" :")


def _count_keys(values: Iterable[Any]) -> int:
    count = 0
    for value in values:
        kind = type(value)
        if kind is dict:
            count += len(value) + _count_keys(value.values())
        elif kind is list:
            count += _count_keys(value)
    return count


def _count_keys_written(frame: bytes) -> int:
    # In well-formed JSON backslashes stand in strings only, and pair up from the left; without them
    # every quote begins or ends a string, so that each second piece lies between strings.
    if _BACKSLASH in frame:
        frame = frame.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(frame.split(b'"')[::2]).count(b":")


# --- encoding ---------------------------------------------------------------------------------


def encode_call(call: AnyCall) -> bytes:
    """Return the call's frame, without the NUL that ends it.

    Raises:
        NotSendable: as `varlink.encode_call`.
    """
    head = METHOD_HEAD + encode_name(call.method) + PARAMETERS_HEAD
    tail = call_tail(call) if call.oneway or call.more or call.upgrade else PLAIN_TAIL
    frame = b"".join((head, encode_parameters(call.parameters), tail))
    return frame if tracing.source is None else tracing.marked(frame)


def encode_reply(reply: AnyReply) -> bytes:
    """Return the reply's frame, without the NUL that ends it.

    Raises:
        NotSendable: as `varlink.encode_reply`.
    """
    tail = PLAIN_TAIL if reply.error is None and not reply.continues else reply_tail(reply)
    return b"".join((REPLY_HEAD, encode_parameters(reply.parameters), tail))


def encode_parameters(parameters: Any) -> bytes:
    """Return an object as JSON in UTF-8, without blanks; None is an empty one.

    Takes what `varlink.encode_parameters` takes, and whatever else msgspec has a form for and calls
    an object: a Struct or a dataclass, with enums, bytes (as base64) or dates in it.

    Raises:
        NotSendable: as `varlink.encode_parameters`, judged by the form that msgspec gives.
    """
    kind = type(parameters)
    if kind is Encoded:
        return parameters  # type: ignore[no-any-return]
    if kind is dict:
        if not parameters:
            return b"{}"
        common = _are_common_fields(parameters, 3)
    elif kind in _objects or _is_object(kind):
        common = _are_common_values(astuple(parameters), 3)
    elif parameters is None:
        return b"{}"
    else:
        common = False
    if not common:
        return _encode_with_care(parameters)
    try:
        encoded = _encode(parameters)
    except (TypeError, ValueError):  # a lone surrogate, an enum of values that have no form
        return _encode_with_care(parameters)
    if _BACKSLASH in encoded and encoded.find(NUL_ESCAPE) >= 0:
        return _encode_with_care(parameters)
    return encoded


def is_common(value: Any) -> bool:
    """Say whether msgspec writes a parameter as `varlink.encode_parameters` would, but for escapes."""
    return _are_common_values((value,), 3)


def reply_framer(
    kind: Any,
    field: str,
    check: Callable[[bytes], None],
    around: tuple[bytes, bytes] = (REPLY_HEAD, FRAME_END),
) -> Callable[[Any], bytes]:
    """Return what makes replies that hold a result of one type: last ones with their NUL, by default.

    Args:
        around: how the reply begins and ends around its parameters; both may be empty.
        kind: the type; one of plain values, Structs, lists and mappings is looked at in one step.
        field: the name of the one field that the result is put into; "" where its fields are the reply's.
        check: looks at the parameters of all others as they are sent, and raises NotSendable where they
            are not of the type, or where an integer whose type is `int` alone is not one that is sent.

    Raises, the function:
        NotSendable: as `encode_parameters`, and as `check`.
    """
    head, end = around
    by_walk = _framer_by_walk(field, check, head, end)
    quick = native_framer(kind, field, around)
    if quick is not None:
        return _framer_or(quick, by_walk)
    if not field and not isinstance(kind, type):
        return by_walk  # what may be None, or a mapping
    if field and kind == list[int]:
        return _framer_of_integers(by_walk, *_around_field(field, head, end))
    if told_by_form(kind, _fields_of):
        return _framer_by_form(field, check, by_walk, head, end)
    try:
        return _framer_by_type(field, sendable_as_declared(kind, _fields_of), by_walk, head, end)
    except Unwritable:
        return by_walk


def replies_framer(
    kind: Any, field: str, around: tuple[bytes, bytes]
) -> Callable[[list[Any]], bytes | None] | None:
    """Return what makes the replies of several results in one step; None where no type allows it.

    The function returns None where one of the results has to be looked at by `reply_framer`'s.

    Args:
        kind: as `reply_framer`.
        field: as `reply_framer`.
        around: as `reply_framer`.
    """
    quick = native_framer(kind, field, around)
    if quick is not None:
        return _framer_of_each(quick)
    if told_by_form(kind, _fields_of) or not (field or isinstance(kind, type)):
        return None
    try:
        fits = sendable_as_declared(kind, _fields_of)
    except Unwritable:
        return None
    return _framer_of_lines(fits, *(_around_field(field, *around) if field else around))


def frame_nothing(result: Any) -> bytes:
    """Return the reply of a method that returns None.

    Raises:
        NotSendable: it has returned something, which may have to be waited for.
    """
    if result is not None:
        raise faults.NotSendable("there is nothing to reply with")
    return _EMPTY_REPLY


_EMPTY_REPLY: Final = REPLY_HEAD + b"{}" + FRAME_END
_Framer = Callable[[Any], bytes]


def native_framer(
    kind: Any, field: str, around: tuple[bytes, bytes] = (REPLY_HEAD, FRAME_END)
) -> Callable[[Any], bytes | None] | None:
    """Return what makes replies natively, or None where only `reply_framer`'s function can; None for none."""
    form = native_forms.form_of(kind)
    if form is None or not (field or form[0] == "object"):
        return None
    before, after = _around_field(field, *around) if field else around
    return native_forms.writer(before, form, after)


def _around_field(field: str, head: bytes, end: bytes) -> tuple[bytes, bytes]:
    return b"".join((head, b"{", _encode(field), b":")), b"}" + end


def _framer_by_walk(field: str, check: Callable[[bytes], None], head: bytes, end: bytes) -> _Framer:
    def by_walk(result: Any) -> bytes:
        if field:
            result = {field: result}
        elif result is None:
            raise faults.NotSendable("there is nothing to reply with")
        encoded = encode_parameters(result)
        check(encoded)
        return b"".join((head, encoded, end)) if head else encoded

    return by_walk


def _framer_by_form(
    field: str, check: Callable[[bytes], None], by_walk: _Framer, head: bytes, end: bytes
) -> _Framer:
    def by_form(result: Any) -> bytes:
        try:
            encoded = _encode({field: result} if field else result)
            if _BACKSLASH not in encoded or encoded.find(NUL_ESCAPE) < 0:
                check(encoded)
                return b"".join((head, encoded, end)) if head else encoded
        except (TypeError, ValueError, RecursionError, faults.NotSendable):
            pass  # the walk says why
        return by_walk(result)

    return by_form


def _framer_or(quick: Callable[[Any], bytes | None], by_walk: _Framer) -> _Framer:
    def by_native(result: Any) -> bytes:
        written = quick(result)
        return by_walk(result) if written is None else written

    return by_native


def _framer_of_each(quick: Callable[[Any], bytes | None]) -> Callable[[list[Any]], bytes | None]:
    def of_each(results: list[Any]) -> bytes | None:
        frames = [frame for result in results if (frame := quick(result)) is not None]
        return b"".join(frames) if len(frames) == len(results) else None

    return of_each


def _framer_of_lines(fits: Check, before: bytes, after: bytes) -> Callable[[list[Any]], bytes | None]:
    """Return what writes values as lines, and puts what stands around each between them."""
    encode_lines, between = msgspec.json.Encoder().encode_lines, after + before

    def of_lines(results: list[Any]) -> bytes | None:
        try:
            if not all(map(fits, results)):
                return None
            lines = encode_lines(results)
        except (TypeError, ValueError):
            return None
        # No line ends within JSON without blanks: one stands behind each value.
        if lines.count(b"\n") != len(results) or (_BACKSLASH in lines and lines.find(NUL_ESCAPE) >= 0):
            return None
        return b"".join((before, lines[:-1].replace(b"\n", between), after))

    return of_lines


def _framer_of_integers(by_walk: _Framer, before: bytes, after: bytes) -> _Framer:
    def of_integers(result: Any) -> bytes:
        encoded = _encoded_integers(result) if type(result) is list else None
        return by_walk(result) if encoded is None else b"".join((before, encoded, after))

    return of_integers


def _framer_by_type(field: str, fits: Check, by_walk: _Framer, head: bytes, end: bytes) -> _Framer:
    def by_type(result: Any) -> bytes:
        try:
            if fits(result):
                encoded = _encode({field: result} if field else result)
                if _BACKSLASH not in encoded or encoded.find(NUL_ESCAPE) < 0:
                    return b"".join((head, encoded, end)) if head else encoded
        except (TypeError, ValueError):
            pass  # something of another type, or a lone surrogate
        return by_walk(result)

    return by_type


def _fields_of(kind: type) -> list[tuple[str, Any]]:
    """Return the fields of a Struct that is an object, for `sendable_as_declared`."""
    if not _is_object(kind):
        raise Unwritable
    return [(field.name, field.type) for field in msgspec.structs.fields(kind)]


# Types of Struct that are objects, once found to be; a program replies with a handful.
_objects: set[type] = set()


def _is_object(kind: type) -> bool:
    found = issubclass(kind, msgspec.Struct) and not kind.__struct_config__.array_like
    if found and len(_objects) < varlink.MAX_KNOWN_NAMES:
        _objects.add(kind)
    return found


def _encode_with_care(parameters: Any) -> bytes:
    try:
        plain = msgspec.to_builtins(parameters)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise faults.NotSendable(str(error)) from None
    return varlink.encode_parameters(plain)


def _is_common(value: Any, depth: int) -> bool:
    """Say whether msgspec writes `value` as `varlink.encode_parameters` would, but for escapes."""
    if depth > MAX_JSON_DEPTH:
        return False
    kind = type(value)
    if kind is dict:
        return _are_common_fields(value, depth + 1)
    if kind is list and len(value) > _MANY_VALUES and type(value[0]) is int and _encoded_integers(value):
        return True
    if kind is list or kind is tuple:
        return _are_common_values(value, depth + 1)
    if isinstance(value, enum.Enum):
        return _are_common_values((value.value,), depth)
    if isinstance(value, msgspec.Struct):
        return _are_common_values(astuple(value), depth + 1)
    return False


def common_integers(values: Any) -> Any:
    """Return what msgspec writes for a list of integers as the codec would; None where that is not sure."""
    if type(values) is list and len(values) > _MANY_VALUES:
        encoded = _encoded_integers(values)
        return None if encoded is None else msgspec.Raw(encoded)
    return values if is_common(values) else None


def _encoded_integers(values: list[Any]) -> bytes | None:
    """Return the JSON of a list that surely holds integers that are sent; None where a loop has to tell."""
    try:
        encoded = _encode(values)
        alone = encoded.translate(None, _DIGITS) == b"[%b]" % (b"," * (len(values) - 1))
        # Where none is below zero, none is greater than all of them together.
        if alone and sum(values) < INT_SENT_LIMIT:
            return encoded
        shape = encoded.translate(_NUMBER_SHAPE)
        if shape.find(b"X", 1) != len(shape) - 1:
            return None
        sum(values)  # refuses what brings JSON of its own: a Raw of msgspec's
    except (TypeError, ValueError, RecursionError):
        return None
    return encoded if _LONGISH_NUMBER not in shape or _LONG_NUMBER not in shape else None


def _are_common_fields(fields: dict[Any, Any], depth: int) -> bool:
    return _TEXT_ALONE.issuperset(map(type, fields)) and _are_common_values(fields.values(), depth)


def _are_common_values(values: Iterable[Any], depth: int) -> bool:
    for value in values:
        kind = type(value)
        if kind is str:
            continue
        if kind is int:
            if not _INT_BELOW < value < INT_SENT_LIMIT:
                return False
        elif kind is float:
            # Where neither writes an exponent; NaN is in none of these.
            if not (1e-4 <= value < 1e16 or value == 0.0 or -1e16 < value <= -1e-4):
                return False
        elif not (kind is bool or value is None or kind is bytes or _is_common(value, depth)):
            return False
    return True
