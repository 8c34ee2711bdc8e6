"""What breaks for clients of an interface when its daemon becomes another: two descriptions in, breaks out.

Owns the rule.  A client of the old interface sends old parameters and reads new replies and errors, so

    parameters  every old value must be one of the new type; a daemon refuses fields that it does not know
    replies     every new value must be one of the old type; a client ignores fields that it does not know

and `_misfits` is the one relation behind both.  Pure: no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from daemonry.service.interface.marks import is_idempotent, is_stream, only_reads
from daemonry.wire import idl
from daemonry.wire.idl_printer import print_type


class Break(NamedTuple):
    """One thing that a client of the old interface can no longer rely on.

    Attributes:
        where: the interface, method, parameter or field: `org.example.jobs.Start(cwd)`.
        what: what happened to it.
    """

    where: str
    what: str


class _Role(NamedTuple):
    """Who sends and who reads, and the words for what does not fit.

    Attributes:
        strict: whether the reader refuses fields that it does not know.
        unknown: a field is sent that the reader does not know.
        missing: a field is not sent that the reader needs.
        null: null, or nothing, may be sent where the reader needs a value.
        names: an enum's value may be sent that the reader does not know.
    """

    strict: bool
    unknown: str
    missing: str
    null: str
    names: str


_PARAMETER: Final = _Role(True, "was removed", "is required now", "is required now", "no longer takes {}")
_REPLY: Final = _Role(False, "", "was removed", "may be null or absent now", "may be {} now")


class _Side(NamedTuple):
    """A type, and what the names in it mean."""

    type: idl.Type
    aliases: Mapping[str, idl.Type]

    def resolved(self) -> _Side:
        found = self.type
        return _Side(self.aliases[found.name], self.aliases) if isinstance(found, idl.Named) else self

    def of(self, part: idl.Type) -> _Side:
        return _Side(part, self.aliases)


def breaks(old: list[idl.InterfaceDescription], new: list[idl.InterfaceDescription]) -> list[Break]:
    """Return what breaks for clients of the old interfaces; an interface that is new breaks nothing."""
    now = {one.name: one for one in new}
    found: list[Break] = []
    for one in old:
        if one.name in now:
            found += _of_interface(one, now[one.name])
        else:
            found.append(Break(one.name, "was removed"))
    return found


def _of_interface(old: idl.InterfaceDescription, new: idl.InterfaceDescription) -> Iterator[Break]:
    was, now = _aliases(old), _aliases(new)
    methods = {one.name: one for one in new.methods}
    errors = {one.name: one for one in new.errors}
    for one in old.members:
        where = f"{old.name}.{one.name}"
        if isinstance(one, idl.MethodDescription):
            if one.name not in methods:
                yield Break(where, "was removed")
                continue
            other = methods[one.name]
            yield from _of_marks(where, one, other)
            sent, taken = _Side(one.parameters, was), _Side(other.parameters, now)
            yield from _misfits(f"{where}(", sent, taken, _PARAMETER, frozenset())
            yield from _misfits(
                f"{where} -> (", _Side(other.reply, now), _Side(one.reply, was), _REPLY, frozenset()
            )
        elif isinstance(one, idl.ErrorType) and one.name in errors:  # one that is gone is not raised any more
            raised = _Side(errors[one.name].parameters, now)
            yield from _misfits(f"{where} (", raised, _Side(one.parameters, was), _REPLY, frozenset())


def _aliases(interface: idl.InterfaceDescription) -> dict[str, idl.Type]:
    return {one.name: one.type for one in interface.types}


def _of_marks(where: str, old: idl.MethodDescription, new: idl.MethodDescription) -> Iterator[Break]:
    if is_stream(old.doc) and not is_stream(new.doc):
        yield Break(where, "gives one reply now, and no stream")
    if is_stream(new.doc) and not is_stream(old.doc):
        yield Break(where, "gives a stream now, and needs `more`")
    if only_reads(old.doc) and not only_reads(new.doc):
        yield Break(where, "no longer only reads: a paused daemon refuses it")
    if is_idempotent(old.doc) and not is_idempotent(new.doc):
        yield Break(where, "is no longer idempotent: clients may call it twice")


def _misfits(
    path: str, sent: _Side, taken: _Side, role: _Role, seen: frozenset[tuple[idl.Type, idl.Type]]
) -> Iterator[Break]:
    """Yield where a value of `sent` may not be one of `taken`."""
    pair = (sent.type, taken.type)
    if pair in seen:  # a type that holds itself
        return
    seen |= {pair}
    sent, taken = sent.resolved(), taken.resolved()
    one, other = sent.type, taken.type
    if isinstance(other, idl.Optional):
        inner = sent.of(one.element) if isinstance(one, idl.Optional) else sent
        yield from _misfits(path, inner, taken.of(other.element), role, seen)
    elif isinstance(one, idl.Optional):
        yield Break(_closed(path), role.null)
    elif isinstance(one, idl.Struct) and isinstance(other, idl.Struct):
        yield from _of_fields(path, sent, taken, role, seen)
    elif isinstance(one, idl.Enum) and isinstance(other, idl.Enum):
        unknown = [name for name in one.names if name not in other.names]
        if unknown:
            yield Break(_closed(path), role.names.format(", ".join(unknown)))
    elif isinstance(one, idl.Array | idl.Map) and type(one) is type(other):
        assert isinstance(other, idl.Array | idl.Map)
        yield from _misfits(f"{path}[]", sent.of(one.element), taken.of(other.element), role, seen)
    elif not _is_wider(one, other):
        old, new = (sent, taken) if role is _PARAMETER else (taken, sent)
        yield Break(_closed(path), f"is {print_type(new.type)} now, was {print_type(old.type)}")


def _is_wider(one: idl.Type, other: idl.Type) -> bool:
    """Whether every value of `one`, of another kind than `other`, is one of `other` too."""
    if one == other or other is idl.Basic.ANY:
        return True
    if other is idl.Basic.FLOAT:
        return one is idl.Basic.INT  # JSON writes a whole float like an int
    if other is idl.Basic.OBJECT:
        return isinstance(one, idl.Struct | idl.Map)
    return other is idl.Basic.STRING and isinstance(one, idl.Enum)


def _of_fields(
    path: str, sent: _Side, taken: _Side, role: _Role, seen: frozenset[tuple[idl.Type, idl.Type]]
) -> Iterator[Break]:
    assert isinstance(sent.type, idl.Struct)
    assert isinstance(taken.type, idl.Struct)
    given = {field.name: field.type for field in sent.type.fields}
    needed = {field.name: field.type for field in taken.type.fields}
    start = path if path.endswith("(") else f"{path}."
    for name, kind in given.items():
        if name in needed:
            yield from _misfits(start + name, sent.of(kind), taken.of(needed[name]), role, seen)
        elif role.strict:
            yield Break(_closed(start + name), role.unknown)
    for name, kind in needed.items():
        if name not in given and not isinstance(kind, idl.Optional):
            yield Break(_closed(start + name), role.missing)


def _closed(path: str) -> str:
    return path if path.endswith("(") else f"{path})"
