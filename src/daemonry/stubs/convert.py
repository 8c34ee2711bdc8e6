"""What the written client modules share: reading replies, giving parameters, records and errors.

A reader takes a JSON value and returns it as the description's type, or raises `Mismatch`: a daemon of
another version is not believed.  Imports nothing beyond what a call by name does.
"""

from __future__ import annotations

from daemonry import faults

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    T = TypeVar("T")
    Read = Callable[[Any], T]

TIMEOUT_S = 30.0


class Mismatch(Exception):
    """A value is not of the described type.

    Attributes:
        path: the fields and places that lead to it: `.jobs[0].name`.
        reason: the expected and the actual type.
    """

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(f"{path}: {reason}".lstrip(".: "))
        self.path = path
        self.reason = reason


def _unlike(expected: str, value: Any) -> Mismatch:
    got = "nothing" if value is None else type(value).__name__
    return Mismatch(f"expected {expected}, got {got}")


# --- readers ------------------------------------------------------------------------------------


def boolean(value: Any) -> bool:
    """Read a `bool`."""
    if value is True or value is False:
        return value
    raise _unlike("bool", value)


def integer(value: Any) -> int:
    """Read an `int`."""
    if type(value) is int:
        return value
    raise _unlike("int", value)


def number(value: Any) -> float:
    """Read a `float`; JSON writes whole ones without a point."""
    if type(value) is float or type(value) is int:
        return float(value)
    raise _unlike("float", value)


def string(value: Any) -> str:
    """Read a `string`."""
    if type(value) is str:
        return value
    raise _unlike("string", value)


def mapping(value: Any) -> dict[str, Any]:
    """Read an `object`, and any struct's fields."""
    if type(value) is dict:
        return value
    raise _unlike("object", value)


def anything(value: Any) -> Any:
    """Read an `any`."""
    return value


def one_of(*names: str) -> Read[Any]:
    """Return a reader of an enum with these names."""

    def read(value: Any) -> Any:
        if value not in names:
            raise Mismatch(f"expected one of {', '.join(names)}, got {str(value)[:40]!r}")
        return value

    return read


def optional(read: Read[T]) -> Read[T | None]:
    """Return a reader of a `?`: null and absent are None."""
    return lambda value: None if value is None else read(value)


def array(read: Read[T]) -> Read[list[T]]:
    """Return a reader of a `[]`."""

    def read_all(value: Any) -> list[T]:
        if type(value) is not list:
            raise _unlike("array", value)
        found = []
        for place, one in enumerate(value):
            try:
                found.append(read(one))
            except Mismatch as error:
                raise Mismatch(error.reason, f"[{place}]{error.path}") from None
        return found

    return read_all


def under_names(read: Read[T]) -> Read[dict[str, T]]:
    """Return a reader of a `[string]`."""

    def read_all(value: Any) -> dict[str, T]:
        fields = mapping(value)
        return {name: take(fields, name, read) for name in fields}

    return read_all


def names(value: Any) -> set[str]:
    """Read a `[string]()`, a set of strings."""
    fields = mapping(value)
    return set(fields)


def take(fields: Mapping[str, Any], name: str, read: Read[T]) -> T:
    """Read one field of an object.

    Raises:
        Mismatch: it is missing, or of another type.
    """
    try:
        return read(fields.get(name))
    except Mismatch as error:
        raise Mismatch(error.reason, f".{name}{error.path}") from None


def field(name: str, read: Read[T]) -> Read[T]:
    """Return a reader of an object that stands for its one field."""
    return lambda value: take(mapping(value), name, read)


def nothing(value: Any) -> None:
    """Read a reply without fields; a newer daemon may have given it some."""


# --- records and errors -------------------------------------------------------------------------


class Record:
    """A struct of the description: a subclass has its fields as slots, and reads and writes JSON."""

    __slots__: tuple[str, ...] = ()

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({shown})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__: None = None  # type: ignore[assignment]  # its fields can be set


def declared(raised: faults.CallFailed, kinds: Mapping[str, Callable[[Mapping[str, Any]], Any]]) -> Any:
    """Return an error as the description declares it, if it does and the fields fit; else as it came."""
    make = kinds.get(raised.error)
    if make is None:
        return raised
    try:
        return make(raised.parameters)
    except Mismatch:
        return raised


def result(method: str, fields: Any, read: Read[T]) -> T:
    """Read a reply.

    Raises:
        RemoteProtocolError: it does not fit the description.
    """
    try:
        return read(fields)
    except Mismatch as error:
        raise faults.RemoteProtocolError(f"the reply to {method} does not fit: {error}") from None


def given(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that are sent: None stands for one that is left out."""
    return {name: value for name, value in parameters.items() if value is not None}
