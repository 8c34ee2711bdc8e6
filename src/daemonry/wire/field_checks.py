"""Checks of the fields of one type, made once as a single expression.

Owns making them.  A loop over fields that asks for the type of each value takes three times as long as
the same conditions written out, as `dataclasses` and `namedtuple` write out their methods; and these
checks stand in the way of every call.  The meaning of the conditions belongs to the caller.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterable
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

from daemonry.wire.varlink import INT_SENT_LIMIT, MAX_INT, MIN_INT

Check = Callable[[Any], bool]


def is_name(text: str) -> bool:
    """Whether Python can write a text as the name of an attribute."""
    return text.isidentifier() and not keyword.iskeyword(text)


def within_64_bits(path: str, *, optional: bool) -> str:
    """Return the condition that the number at a path of names is within 64 bits.

    MIN_INT itself counts as too small: where the type is float, it may have been a smaller integer.
    """
    return _or_none(f"{MIN_INT} < {{0}} <= {MAX_INT}", optional=optional).format(path)


def all_within_64_bits(path: str) -> str:
    """Return the condition that all numbers of a list, which is not empty, are within 64 bits."""
    return f"({MIN_INT} < min({path}) and max({path}) <= {MAX_INT})"


def written_check(conditions: Iterable[str]) -> Check:
    """Return what says whether all conditions on a `value` hold; they are of names that `is_name`."""
    check: Check = eval(f"lambda value: {' and '.join(conditions)}", {})  # noqa: S307
    return check


def written_count(fixed: int, counts: Iterable[str]) -> Callable[[Any], int]:
    """Return the sum of counts on a `value`, and of a number that is always there."""
    count: Callable[[Any], int] = eval(f"lambda value: {' + '.join((str(fixed), *counts))}", {})  # noqa: S307
    return count


# Checks of values to be sent: the declared type and no other, though a float may be written as an integer.
# Floats where no codec writes an exponent; NaN is in none of these.
_SENT = {
    bool: "{0}.__class__ is bool",
    str: "{0}.__class__ is str",
    int: f"{{0}}.__class__ is int and {-INT_SENT_LIMIT} < {{0}} < {INT_SENT_LIMIT}",
    float: "({0}.__class__ is float or {0}.__class__ is int)"
    " and (1e-4 <= {0} < 1e16 or {0} == 0.0 or -1e16 < {0} <= -1e-4)",
}
# The types that have one.
PLAIN: Final[frozenset[type]] = frozenset(_SENT)


def sent_as_declared(kind: type, path: str) -> str:
    """Return the condition that the value at a path is of a `PLAIN` type and can be sent as it is."""
    return f"({_SENT[kind].format(path)})"


# Objects and lists within each other; a type that holds itself has no end.
_MOST_LEVELS: Final = 4


class Unwritable(Exception):
    """The check of a type cannot be written out."""


def sendable_as_declared(kind: Any, fields_of: Callable[[type], Iterable[tuple[str, Any]]]) -> Check:
    """Return what says whether a value holds what its type says and can be sent as it is.

    Args:
        kind: the type: a plain one, an object with fields, a list or a mapping of such, any of them or None.
        fields_of: returns the names and types of an object's fields; raises Unwritable for another type.

    Raises:
        Unwritable: only a walk can tell.
    """
    kinds: list[type] = []
    condition = _sendable(kind, "value", 0, fields_of, kinds)
    # Of names that were just looked at, and of what stands above; nothing else enters it.
    names = {f"Kind{number}": one for number, one in enumerate(kinds)}
    check: Check = eval(f"lambda value: {condition}", names)  # noqa: S307
    return check


def _sendable(
    kind: Any,
    path: str,
    level: int,
    fields_of: Callable[[type], Iterable[tuple[str, Any]]],
    kinds: list[type],
) -> str:
    if kind in PLAIN:
        return sent_as_declared(kind, path)
    if level > _MOST_LEVELS:
        raise Unwritable
    origin, arguments = get_origin(kind), get_args(kind)
    each = f"each{level}"
    if origin in (Union, UnionType):
        one = [of for of in arguments if of is not type(None)]
        if len(one) != 1:
            raise Unwritable
        return f"({path} is None or {_sendable(one[0], path, level + 1, fields_of, kinds)})"
    if origin is list:
        held = _sendable(arguments[0], each, level + 1, fields_of, kinds)
        return f"({path}.__class__ is list and all([{held} for {each} in {path}]))"
    if origin is dict and arguments[0] is str:
        held = _sendable(arguments[1], each, level + 1, fields_of, kinds)
        key = f"key{level}"
        return (
            f"({path}.__class__ is dict"
            f" and all([{key}.__class__ is str and {held} for {key}, {each} in {path}.items()]))"
        )
    if not isinstance(kind, type):
        raise Unwritable
    conditions = [f"{path}.__class__ is Kind{len(kinds)}"]
    kinds.append(kind)
    for name, of in fields_of(kind):
        if not is_name(name):
            raise Unwritable
        conditions.append(_sendable(of, f"{path}.{name}", level + 1, fields_of, kinds))
    return f"({' and '.join(conditions)})"


def told_by_form(kind: Any, fields_of: Callable[[type], Iterable[tuple[str, Any]]]) -> bool:
    """Whether a value has lists in it, and its JSON tells all about it: it has no float, and no mapping.

    A look at each value of a list takes longer than to read its JSON by a strict type.  The arguments are
    those of `sendable_as_declared`.
    """
    found: list[bool] = []
    try:
        _look_for_lists(kind, 0, fields_of, found)
    except Unwritable:
        return False
    return bool(found)


def _look_for_lists(
    kind: Any, level: int, fields_of: Callable[[type], Iterable[tuple[str, Any]]], found: list[bool]
) -> None:
    origin, arguments = get_origin(kind), get_args(kind)
    if level > _MOST_LEVELS or kind is float:
        raise Unwritable
    if origin is list:
        found.append(True)
        _look_for_lists(arguments[0], level + 1, fields_of, found)
    elif origin in (Union, UnionType):
        for one in arguments:
            if one is not type(None):
                _look_for_lists(one, level + 1, fields_of, found)
    elif kind not in PLAIN:
        if not isinstance(kind, type):
            raise Unwritable
        for _, of in fields_of(kind):
            _look_for_lists(of, level + 1, fields_of, found)


def _or_none(condition: str, *, optional: bool) -> str:
    return f"({{0}} is None or {condition})" if optional else condition
