r"""Reads a whole reply or call straight into its method's type, where that is proved to be right.

Owns no rule: a reply that is not proved here in a few looks goes to the codec (`wire.fast_varlink`), which
takes or refuses it.  So a proxy's call accepts the same replies with the same values, by half the
work: no dictionary, and no second walk to convert it.

`wire.fast_varlink` lists the properties that msgspec proves by decoding into the type: syntax, UTF-8, types,
and that the envelope has `parameters` and no other key.  These are looked at here in addition:

    NUL in a string     stands in a frame as an escape: there is no backslash
    a key twice,        there are as many colons as the type has keys, and each key is there; so each
    or an unknown one   is there once.  A text with a colon in it needs a second count, of those
                        behind a quote
    integers            msgspec takes them of any size where the type does; the type of those at the front
                        bounds them, and those within its objects are
                        within 64 bits, and so are floats, which may have been written as integers

That works for types whose number of keys is fixed, such as Structs and dataclasses of plain fields, and
such Structs within them; and of lists and mappings, whose value tells how many there are.  A key that may be
left out is looked for by its name, which proves nothing in a list: one object may have it twice, and the next
not at all.

Many replies of one type, as a pipeline has them, are read in one step where each key of the type has to be
there (`run_reader`): then no reply has fewer colons than keys, and where all of them together have as many,
none has more.  msgspec reads values one behind the other, wherever a line ends; so each frame has to begin as
a reply does, which none of these values does but at its beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from msgspec import inspect

from daemonry.native_calls import calls as native_calls
from daemonry.wire import native_forms
from daemonry.wire.field_checks import (
    Check,
    all_within_64_bits,
    is_name,
    within_64_bits,
    written_check,
    written_count,
)
from daemonry.wire.plain_runs import integers_reader, texts_reader
from daemonry.wire.varlink import CONTINUES_END, FRAME_END, INT_SENT_LIMIT, MIN_INT, REPLY_HEAD

_BACKSLASH = ord("\\")
_COLON = ord(":")
_NOTHING = b'{"parameters":{}}\0'
_NEXT_REPLY = b"\0" + REPLY_HEAD
# The last is for nothing at all: the peer sends no more.
_DOUBTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, IndexError)
_PLAIN = (inspect.BoolType, inspect.NoneType, inspect.StrType, inspect.BytesType, inspect.EnumType)
_NUMBERS = (inspect.IntType, inspect.FloatType)
# Where no digits in a row are as many as those of 2**63, no integer is beyond 64 bits.  This look is a tenth
# of one at each number.
_LONG_NUMBER = b"0" * 19
# From here on a pass over all bytes takes longer than it saves.
_LONG_BYTES = 4096
_DIGITS_ALIKE = bytes.maketrans(b"123456789", b"000000000")
_LEAST, _MOST = MIN_INT + 1, INT_SENT_LIMIT - 1
_WITHIN_64_BITS = Annotated[int, msgspec.Meta(ge=_LEAST, le=_MOST)]
# Structs within Structs; a type that holds itself has no number of keys.
_MOST_LEVELS = 4


class _Unprovable(Exception):
    """The number of a type's keys is not fixed, or its values cannot be looked at."""


Reader = Callable[[bytes], Any]
# Of replies and their count.
RunReader = Callable[[bytes, int], Any]


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
    form = native_forms.form_of(kind)
    try:
        fields = msgspec.defstruct("OneField", [(field, _bounded(kind))]) if field else kind
        if native_calls is not None and form is not None:
            return _native_reader(fields, form, field)
        read = _reader(fields, (), form)
    except (_Unprovable, TypeError):
        return never_proved
    return _of_field(field, read) if field else read


def run_reader(kind: Any, field: str) -> RunReader | None:
    """Return what reads many replies of one type in one step; None where only one after the other is proved.

    It takes frames that may be replies, each with its NUL, and how many they are, and returns a list of the
    results, or NotImplemented.

    Args:
        kind: as `reader`.
        field: as `reader`.
    """
    if kind is type(None) and not field:
        return _read_nothings
    return _run_reader(kind, field, ())


def item_run_reader(kind: Any, field: str) -> RunReader | None:
    """As `run_reader`, for replies of a stream behind each of which others come."""
    read = _run_reader(kind, field, (("continues", bool),))
    if read is None:
        return None

    def read_items(received: bytes, count: int) -> Any:
        # In JSON the end of an object is that of no string in it.
        return read(received, count) if received.count(CONTINUES_END) == count else NotImplemented

    return read_items


def _run_reader(kind: Any, field: str, before: tuple[tuple[str, type], ...]) -> RunReader | None:
    try:
        fields = msgspec.defstruct("OneField", [(field, _bounded(kind))]) if field else kind
        shape = _Shape()
        shape.of_object(inspect.type_info(fields), "value", 0)
    except (_Unprovable, TypeError):
        return None
    if shape.optional or shape.per_value or shape.names & {"parameters", *(name for name, _ in before)}:
        return None
    fit = written_check(shape.numbers) if shape.numbers else None
    keys = 1 + len(before) + shape.keys
    read = _read_run(msgspec.json.Decoder(_whole(fields, before)).decode_lines, keys, fit, field)
    around = _field_head(field), b"}" + (CONTINUES_END if before else FRAME_END)
    if field and kind is int:
        return _first_run(integers_reader(_WITHIN_64_BITS, *around), read)
    return _first_run(texts_reader(*around), read) if field and kind is str else read


def _first_run(quick: RunReader, read: RunReader) -> RunReader:
    def read_quick(received: bytes, count: int) -> Any:
        values = quick(received, count)
        return read(received, count) if values is NotImplemented else values

    return read_quick


def _read_run(decode: Callable[[bytes], list[Any]], keys: int, fit: Check | None, field: str) -> RunReader:
    """Return what reads replies of a type all of whose keys are there; see `run_reader`."""

    def read(received: bytes, count: int) -> Any:
        if _BACKSLASH in received or received.count(_COLON) != keys * count:
            return NotImplemented
        if not received.startswith(REPLY_HEAD) or received.count(_NEXT_REPLY) != count - 1:
            return NotImplemented
        try:
            messages = decode(received.replace(b"\0", b"\n"))
        except Exception:  # noqa: BLE001  # a type's own __post_init__ may raise anything
            return NotImplemented
        if len(messages) != count:
            return NotImplemented
        values = [one.parameters for one in messages]
        if (
            fit is not None
            and _LONG_NUMBER in received.translate(_DIGITS_ALIKE)
            and not all(map(fit, values))
        ):
            return NotImplemented
        return [getattr(value, field) for value in values] if field else values

    return read


def _native_reader(fields: Any, form: native_forms.Form, field: str) -> Reader:
    """Return what reads replies in one step of the native part: `native/calls/reply.h`.

    Args:
        fields: the type of the reply's parameters.
        form: of the type, or of its one field.
        field: as `reader`.
    """
    whole = _whole(fields, ())
    plain = native_forms.readable(_field_head(field), form, b"}" + FRAME_END) if field else None
    read: Reader = native_calls.Reply(
        plain,
        msgspec.json.Decoder(whole).decode,
        _DOUBTS,
        vars(whole)["parameters"],
        vars(fields)[field] if field else None,
    ).read
    return read


def item_reader(kind: Any, field: str) -> Reader:
    """Return what reads replies of a stream of one type behind which others come; as `reader` else."""
    try:
        fields = msgspec.defstruct("OneField", [(field, _bounded(kind))]) if field else kind
        read = _reader(fields, (("continues", bool),), native_forms.form_of(kind))
    except (_Unprovable, TypeError):
        return never_proved
    if not field:
        return _of_item(read)
    return _quick_or(_of_item(_of_field(field, read)), kind, field, CONTINUES_END)


def item_readers(kind: Any, field: str) -> tuple[Reader, RunReader | None]:
    """Return `item_reader` and `item_run_reader` of one type."""
    return item_reader(kind, field), item_run_reader(kind, field)


def _quick_or(read: Reader, kind: Any, field: str, tail: bytes) -> Reader:
    """Return a reader by the native part of messages as this library writes them; others as given."""
    return _first(native_forms.reader(_field_head(field), native_forms.form_of(kind), b"}" + tail), read)


def _field_head(field: str) -> bytes:
    return b"".join((REPLY_HEAD, b"{", msgspec.json.encode(field), b":"))


def _first(quick: Reader | None, read: Reader) -> Reader:
    if quick is None:
        return read

    def read_quick(received: bytes) -> Any:
        value = quick(received)
        return read(received) if value is NotImplemented else value

    return read_quick


def _of_item(read: Reader) -> Reader:
    def read_item(received: bytes) -> Any:
        # In JSON the end of an object is that of no string in it.
        return read(received) if received.endswith(CONTINUES_END) else NotImplemented

    return read_item


def call_reader(parameters: type[msgspec.Struct], head: bytes = b"") -> Reader:
    """Return what reads calls of one method into their parameters.

    It takes bytes that may be one whole call with its NUL, and nothing more, which begins as a call of the
    method does (`METHOD_HEAD`, its name, `PARAMETERS_HEAD`), and returns an object with the fields of
    `parameters`, or NotImplemented.

    Args:
        parameters: the Struct.
        head: how those calls begin; the native part returns a tuple of the same fields for one that comes as
            this library writes it.  b"" for always the object.
    """
    try:
        read = _reader(_with_bounds(parameters), (("method", str),), _form_of_parameters(parameters))
    except (_Unprovable, TypeError):
        return never_proved
    return _first(native_call_reader(parameters, head), read) if head else read


def native_call_reader(parameters: type[msgspec.Struct], head: bytes) -> Reader | None:
    """Return what reads calls that come as this library writes them into a tuple; None for none."""
    return native_forms.reader(head, _form_of_parameters(parameters), FRAME_END)


def _form_of_parameters(parameters: type[msgspec.Struct]) -> native_forms.Form | None:
    kinds = [(one.encode_name, one.type) for one in msgspec.structs.fields(parameters)]
    return native_forms.form_of_values(kinds)


def _bounded(kind: Any) -> Any:
    """Return a type of integers within 64 bits: msgspec looks at them in passing."""
    return _WITHIN_64_BITS if kind is int else list[_WITHIN_64_BITS] if kind == list[int] else kind


def _with_bounds(parameters: type[msgspec.Struct]) -> type[msgspec.Struct]:
    fields = []
    for one in msgspec.structs.fields(parameters):
        default: dict[str, Any] = {"default": one.default, "default_factory": one.default_factory}
        fields.append((one.name, _bounded(one.type), msgspec.field(name=one.encode_name, **default)))
    return msgspec.defstruct(parameters.__name__, fields, forbid_unknown_fields=True, kw_only=True, gc=False)


def _reader(fields: Any, before: tuple[tuple[str, type], ...], form: native_forms.Form | None) -> Reader:
    """Return what reads messages with `parameters` of a type, and such fields before them.

    Args:
        fields: the type.
        before: names and types.
        form: the type's, or that of its one field; the native part proves each type that has one.

    Raises:
        _Unprovable: a few looks do not prove the type.
    """
    if native_calls is not None and form is not None:
        return _read_scanned(_decoder(fields, before), native_calls.scan)
    shape = _Shape()
    shape.of_object(inspect.type_info(fields), "value", 0)
    envelope = {f'"{name}":'.encode() for name in ("parameters", *dict(before))}
    if shape.optional and (shape.nests or shape.per_value or not envelope.isdisjoint(shape.optional)):
        raise _Unprovable  # the same name may stand on two levels
    keys = len(envelope) + shape.keys
    decode = _decoder(fields, before)
    fit = written_check(shape.numbers) if shape.numbers else None
    if shape.per_value:
        return _read_counting(decode, written_count(keys, shape.per_value), fit)
    if shape.optional:
        return _read_some(decode, keys, fit, tuple(shape.optional))
    return _read_fixed(decode, keys, fit)


def _decoder(fields: Any, before: tuple[tuple[str, type], ...]) -> Callable[[bytes | memoryview], Any]:
    decode: Callable[[bytes | memoryview], Any] = msgspec.json.Decoder(_whole(fields, before)).decode
    return decode


def _whole(fields: Any, before: tuple[tuple[str, type], ...]) -> type[msgspec.Struct]:
    return msgspec.defstruct("Whole", [*before, ("parameters", fields)], forbid_unknown_fields=True, gc=False)


def _read_scanned(decode: Callable[[bytes], Any], scan: Callable[[bytes], bool]) -> Reader:
    """Return what reads messages that the native part finds within the rules."""

    def read(received: bytes) -> Any:
        try:
            return decode(received[:-1]).parameters if scan(received) else NotImplemented
        except _DOUBTS:
            return NotImplemented

    return read


def _read_fixed(decode: Callable[[bytes | memoryview], Any], keys: int, fit: Check | None) -> Reader:
    """Return what reads messages of a type all of whose keys are there, with nothing to loop over."""
    read_long = _read_long(decode, keys, fit)

    def read(received: bytes) -> Any:
        if len(received) > _LONG_BYTES:
            return read_long(received)
        # A NUL before the last one is not JSON, and refused as such.
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


def _read_long(decode: Callable[[bytes | memoryview], Any], keys: int, fit: Check | None) -> Reader:
    """As `_read_fixed`, of long messages: a pass over all bytes counts, and a slow start does not."""

    def read(received: bytes) -> Any:
        try:
            if received[-1] or received.find(b"\\") >= 0:
                return NotImplemented
            if not _are_colons(received, keys) and _most_keys(received) != keys:
                return NotImplemented
            value = decode(memoryview(received)[:-1]).parameters
        except _DOUBTS:
            return NotImplemented
        if fit is None or _LONG_NUMBER not in received.translate(_DIGITS_ALIKE) or fit(value):
            return value
        return NotImplemented

    return read


def _are_colons(received: bytes, count: int) -> bool:
    """Whether there are so many colons, which are few: to look for each is faster than to count."""
    at = -1
    for _ in range(count):
        at = received.find(b":", at + 1)
        if at < 0:
            return False
    return received.find(b":", at + 1) < 0


def _read_some(
    decode: Callable[[bytes | memoryview], Any], most: int, fit: Check | None, optional: tuple[bytes, ...]
) -> Reader:
    """Return what reads messages of a type some of whose keys may be left out."""
    by_count = {keys: _read_fixed(decode, keys, fit) for keys in range(most - len(optional), most + 1)}

    def read(received: bytes) -> Any:
        return by_count[most - sum(key not in received for key in optional)](received)

    return read


def _read_counting(decode: Callable[[bytes], Any], count: Callable[[Any], int], fit: Check | None) -> Reader:
    """Return what reads messages of a type whose number of keys the value tells."""

    def read(received: bytes) -> Any:
        try:
            if received[-1] or _BACKSLASH in received:
                return NotImplemented
            value = decode(received[:-1]).parameters
        except _DOUBTS:
            return NotImplemented
        keys = count(value)
        if received.count(_COLON) != keys and _most_keys(received) != keys:
            return NotImplemented
        if fit is None or _LONG_NUMBER not in received.translate(_DIGITS_ALIKE) or fit(value):
            return value
        return NotImplemented

    return read


def _of_field(field: str, read: Reader) -> Reader:
    def read_field(received: bytes) -> Any:
        value = read(received)
        return value if value is NotImplemented else getattr(value, field)

    return read_field


def _read_nothing(received: bytes) -> Any:
    return None if received == _NOTHING else NotImplemented


def _read_nothings(received: bytes, count: int) -> Any:
    return [None] * count if received == _NOTHING * count else NotImplemented


def never_proved(_received: bytes) -> Any:
    """Read replies of a type of which nothing can be proved in a few looks."""
    return NotImplemented


# The readers of a method without a stream.
NO_ITEMS: Final[tuple[Reader, RunReader | None]] = never_proved, None


class _Shape:
    """What a type's values have to do with keys and numbers.

    Attributes:
        keys: how many keys there are in any value.
        names: theirs, as they are written.
        nests: whether there are objects within objects.
        numbers: conditions on a `value`, as Python: its numbers are within 64 bits.
        optional: how the keys are written that may be left out.
        per_value: how many more keys there are, as Python, computed from a `value`.
    """

    def __init__(self) -> None:
        self.keys = 0
        self.names: set[str] = set()
        self.nests = False
        self.numbers: list[str] = []
        self.optional: list[bytes] = []
        self.per_value: list[str] = []

    def of_object(self, kind: Any, path: str, level: int) -> None:
        """Note an object.

        Raises:
            _Unprovable: a few looks do not prove it.
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
            if not is_name(field.name):
                raise _Unprovable
            self.keys += 1
            self.names.add(field.encode_name)
            if not field.required:
                self.optional.append(f'"{field.encode_name}":'.encode())
            self._of_field(field.type, f"{path}.{field.name}", level, required=field.required)

    def _of_field(self, kind: Any, path: str, level: int, *, required: bool) -> None:
        if isinstance(kind, (inspect.StructType, inspect.DataclassType)):
            if not required:
                raise _Unprovable
            self.nests = True
            self.of_object(kind, path, level + 1)
        elif isinstance(kind, (inspect.ListType, inspect.VarTupleType)):
            self._of_each(kind.item_type, path, level)
        elif isinstance(kind, inspect.DictType):
            if not isinstance(kind.key_type, inspect.StrType):
                raise _Unprovable
            self.per_value.append(f"len({path})")
            self._of_each(kind.value_type, f"{path}.values()", level)
        else:
            self._of_single(kind, path)

    def _of_single(self, kind: Any, path: str) -> None:
        alternatives = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
        alternatives = tuple(one for one in alternatives if not _is_list_without_keys(one))
        if isinstance(kind, inspect.IntType) and kind.ge == _LEAST and kind.le == _MOST:
            return
        is_number = any(isinstance(one, _NUMBERS) for one in alternatives)
        allowed = (*_NUMBERS, inspect.NoneType) if is_number else _PLAIN
        if not all(isinstance(one, allowed) for one in alternatives):
            raise _Unprovable
        if is_number:
            self.numbers.append(within_64_bits(path, optional=len(alternatives) > 1))

    def _of_each(self, kind: Any, path: str, level: int) -> None:
        """Note the elements of a list, or the values of a mapping."""
        if isinstance(kind, inspect.IntType) and kind.ge == _LEAST and kind.le == _MOST:
            return
        if isinstance(kind, _NUMBERS) and not path.endswith(")"):
            self.numbers.append(f"(not {path} or {all_within_64_bits(path)})")
            return
        each, name = _Shape(), f"each{level}"
        if isinstance(kind, (inspect.StructType, inspect.DataclassType)):
            each.of_object(kind, name, level + 1)
        else:
            each._of_field(kind, name, level + 1, required=True)
        if each.optional:
            raise _Unprovable  # one object may have it twice, and the next one not at all
        if each.per_value:
            counted = " + ".join((str(each.keys), *each.per_value))
            self.per_value.append(f"sum([{counted} for {name} in {path}])")
        elif each.keys:
            self.per_value.append(f"{each.keys} * len({path})")
        if each.numbers:
            self.numbers.append(f"all([{' and '.join(each.numbers)} for {name} in {path}])")


def _is_list_without_keys(kind: Any) -> bool:
    """Whether a type is that of lists in which no key and no number stands."""
    return isinstance(kind, (inspect.ListType, inspect.VarTupleType)) and isinstance(kind.item_type, _PLAIN)


def _most_keys(frame: bytes) -> int:
    # As in `fast_varlink`: behind a key stands its quote, perhaps blanks, and a colon; blanks other
    # than " " stand outside strings only, in JSON printed for people.
    if b"\t" in frame or b"\n" in frame or b"\r" in frame:
        return -1
    return frame.count(b'":') + frame.count(b" :")
