"""Python's types and the interface language: what is described, how, and what is refused by name."""

import datetime as dt
import decimal
import enum
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NewType, NotRequired, Optional, TypedDict, Union

import msgspec
import pytest

from daemonry.service.interface.schema import NotDescribable, Schema, holds, own_doc, struct_fields
from daemonry.transport.ancillary import Fd
from daemonry.wire import idl_printer


class Colour(enum.Enum):
    """What is seen."""

    RED = "red"
    DARK_BLUE = "dark_blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Odd(enum.Enum):
    ONE = "not a name"


@dataclass
class Point:
    x: int
    y: int = 0
    made: int = field(default=0, init=False)


@dataclass
class Tree:
    """Holds itself."""

    name: str
    below: "list[Tree]"


class Renamed(msgspec.Struct, rename="camel"):
    some_name: int
    may_be: str | None = None


class Flat(msgspec.Struct, array_like=True):
    a: int


class Loose(TypedDict):
    first: int
    second: NotRequired[str]


class Endless(TypedDict):
    again: "Endless"


@dataclass
class lower:  # noqa: N801
    a: int


Id = NewType("Id", str)


def text(kind):
    schema = Schema()
    return idl_printer._flat(schema.type_of(kind, "here"))


@pytest.mark.parametrize(
    ("kind", "described"),
    [
        (bool, "bool"),
        (int, "int"),
        (float, "float"),
        (str, "string"),
        (bytes, "string"),
        (dt.datetime, "string"),
        (dt.date, "string"),
        (uuid.UUID, "string"),
        (decimal.Decimal, "string"),
        (Any, "object"),
        (dict, "object"),
        (dict[str, Any], "object"),
        (list[int], "[]int"),
        (Sequence[int], "[]int"),
        (tuple[int, ...], "[]int"),
        (dict[str, list[int]], "[string][]int"),
        (Mapping[str, int], "[string]int"),
        (set[str], "[string]()"),
        (frozenset[str], "[string]()"),
        (int | None, "?int"),
        (Optional[int], "?int"),  # noqa: UP045
        (Union[None, list[int | None]], "?[]?int"),  # noqa: UP007
        (Literal["a", "b"], "(a, b)"),
        (Colour, "Colour"),
        (Level, "int"),
        (Point, "Point"),
        (Loose, "(first: int, second: ?string)"),
        (Annotated[int, "a note"], "int"),
        (Id, "string"),
        (Fd, "int"),
    ],
)
def test_a_type_is_described(kind, described):
    assert text(kind) == described


def declared(kind):
    schema = Schema()
    schema.type_of(kind, "here")
    return {name: idl_printer._flat(alias.type) for name, alias in schema.aliases.items()}


def test_named_types_are_declared_once_with_their_fields():
    assert declared(list[Colour]) == {"Colour": "(red, dark_blue)"}
    assert declared(dict[str, Point]) == {"Point": "(x: int, y: ?int)"}
    assert declared(Renamed) == {"Renamed": "(someName: int, mayBe: ?string)"}


def test_a_type_may_hold_lists_of_itself():
    assert declared(Tree) == {"Tree": "(name: string, below: []Tree)"}


def test_docstrings_are_kept_but_not_those_that_dataclass_makes():
    assert (own_doc(Tree), own_doc(Point)) == ("Holds itself.", "")


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (complex, "has no form"),
        (object, "has no form"),
        (int | str, "more than one type"),
        (int | str | None, "more than one type"),
        (dict[int, str], "str keys"),
        (tuple[int, str], "one type"),
        (set[int], "list"),
        (list, "has no form"),
        (Odd, "not a valid name"),
        (Literal[1, 2], "not a valid name"),
        (Flat, "array_like"),
        (Endless, "holds itself"),
        (lower, "name"),
        (list[complex], "has no form"),
    ],
)
def test_what_has_no_form_is_refused_with_its_place(kind, why):
    with pytest.raises(NotDescribable, match=why) as caught:
        text(kind)
    assert caught.value.where.startswith("here")


def test_two_types_of_one_name_are_refused():
    schema = Schema()
    schema.type_of(Point, "here")
    other = dataclass(type("Point", (), {"__annotations__": {"z": int}}))
    with pytest.raises(NotDescribable, match="shares its name"):
        schema.type_of(other, "there")


def test_fields_say_which_may_be_left_out():
    assert struct_fields(Point) == (
        ("x", int, False),
        ("y", int, True),
    )
    assert [(name, optional) for name, _, optional in struct_fields(Loose)] == [
        ("first", False),
        ("second", True),
    ]


def test_what_a_type_holds_is_found_within():
    assert holds(list[dict[str, Fd | None]], Fd)
    assert holds(Annotated[Fd, 1], Fd)
    assert not holds(Tree, Fd)


def test_the_fields_of_a_type_are_worked_out_once():
    """An interface asks for them a hundred times, and each time its hints were evaluated."""
    assert all(struct_fields(kind) is struct_fields(kind) for kind in (Point, Renamed, Loose))


def test_fields_that_cannot_be_known_yet_are_looked_at_again():
    @dataclass
    class Early:
        a: "Late"  # noqa: F821

    with pytest.raises(NameError):
        struct_fields(Early)
    globals()["Late"] = int
    try:
        assert struct_fields(Early) == (("a", int, False),)
    finally:
        del globals()["Late"]
