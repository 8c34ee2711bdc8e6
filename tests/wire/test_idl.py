"""Interface descriptions: what is read, what is refused and where, what is written for whom."""

from __future__ import annotations

import itertools
import pickle
import re
import string
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemonry.errors import DaemonryError
from daemonry.wire import idl, idl_parser, idl_printer
from daemonry.wire.idl import (
    Array,
    Basic,
    Enum,
    ErrorType,
    Field,
    InterfaceDescription,
    Map,
    Member,
    MethodDescription,
    Named,
    Optional,
    Struct,
    Type,
    TypeAlias,
    is_field_name,
    is_interface_name,
    is_member_name,
)
from daemonry.wire.idl_parser import MAX_TEXT_CHARS, IdlError, parse
from daemonry.wire.idl_printer import NotPrintable, print_interface

HEAD = "interface org.example.test\n"

SERVICE = """\
# What every service tells of itself.
interface org.varlink.service

# Who answers here, and which interfaces it has.
method GetInfo() -> (
  vendor: string,
  product: string,
  version: string,
  url: string,
  interfaces: []string
)

# The text of one of those interfaces.
method GetInterfaceDescription(interface: string) -> (description: string)

error InterfaceNotFound (interface: string)

error MethodNotFound (method: string)

error MethodNotImplemented (method: string)

error InvalidParameter (parameter: string)

error PermissionDenied ()

error ExpectedMore ()
"""

EVERYTHING = """\
# Every kind of type,
#
#   in every place.
interface org.example.certification-like

type Inner (foo: ?[]?[string](foo, bar, baz), anonymous: (foo: bool, bar: bool))

type Colour (red, green, blue) # a trailing comment describes nothing

type Everything (
  # An object of another interface.
  object: object, # neither does this one
  any: any,
  enum: (one, two, three),
  struct: (first: int, second: string),
  array: []string,
  matrix: [][]float,
  map: [string]string,
  set: [string](),
  nullable: ?string,
  structs: ?[](first: int, second: string),
  colour: ?Colour,
  inner: Inner
)
# More than one reply.
method Watch(everything: Everything) -> (count: int)
method Ping() -> ()

# This comment stands alone.

error Refused () error Wrong (wants: object, got: ?object)
"""

INT = Struct((Field("a", Basic.INT),))


def field_type(text: str) -> Type:
    """Return what `text` means as the type of a field, where `T` is declared."""
    members = parse(f"{HEAD}type T (x: int)\ntype Probe (it: {text})").members
    assert isinstance(members[1], TypeAlias)
    assert isinstance(members[1].type, Struct)
    return members[1].type.fields[0].type


def with_type(kind: Type) -> InterfaceDescription:
    """Return an interface with one field of that type."""
    return InterfaceDescription("org.example.test", (ErrorType("E", Struct((Field("a", kind),))),))


def nested(wrap: str, depth: int) -> str:
    """Return a type of so many levels around `int`."""
    return {
        "struct": "(a: " * depth + "int" + ")" * depth,
        "array": "[]" * depth + "int",
        "map": "[string]" * depth + "int",
        "optional": "?[]" * (depth // 2) + "[]" * (depth % 2) + "int",
        "enum": "[]" * (depth - 1) + "(a, b)",
        "mixed": "[](a: " * (depth // 2) + "[]" * (depth % 2) + "int" + ")" * (depth // 2),
    }[wrap]


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a.b", "org.example.ftl", "org.example.0ftl", "Org.Example.FTL", "a-b.c--d", "xn--a.b", "a1.2"]
)
def test_interface_names(name: str) -> None:
    assert is_interface_name(name)
    assert parse(f"interface {name}\nmethod M() -> ()").name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a",
        "a.",
        ".a",
        "a..b",
        "-a.b",
        "a-.b",
        "a.-b",
        "a.b-",
        "1a.b",
        "a_b.c",
        "a.b\n",
        "ä.b",
        "a b.c",
        "a.b ",
    ],
)
def test_what_names_no_interface(name: str) -> None:
    assert not is_interface_name(name)


@pytest.mark.parametrize("name", ["A", "GetInfo", "X9", "ABC"])
def test_member_names(name: str) -> None:
    assert is_member_name(name)


@pytest.mark.parametrize("name", ["", "a", "getInfo", "A_b", "A-b", "9A", "A.b", "Ä", "A\n", " A"])
def test_what_names_no_member(name: str) -> None:
    assert not is_member_name(name)


@pytest.mark.parametrize("name", ["a", "A", "a_b", "a9_9b", "aB_C", "type", "int"])
def test_field_names(name: str) -> None:
    assert is_field_name(name)


@pytest.mark.parametrize("name", ["", "_a", "a_", "a__b", "9a", "a-b", "a.b", "ä", "a\n", "a "])
def test_what_names_no_field(name: str) -> None:
    assert not is_field_name(name)


# --- reading ----------------------------------------------------------------------------------


def test_the_service_interface_is_read() -> None:
    def needs(name: str) -> Struct:
        return Struct((Field(name, Basic.STRING),))

    info = [Field(name, Basic.STRING) for name in ("vendor", "product", "version", "url")]
    reply = Struct((*info, Field("interfaces", Array(Basic.STRING))))
    assert parse(SERVICE) == InterfaceDescription(
        "org.varlink.service",
        (
            MethodDescription("GetInfo", Struct(), reply, "Who answers here, and which interfaces it has."),
            MethodDescription(
                "GetInterfaceDescription",
                needs("interface"),
                needs("description"),
                "The text of one of those interfaces.",
            ),
            ErrorType("InterfaceNotFound", needs("interface")),
            ErrorType("MethodNotFound", needs("method")),
            ErrorType("MethodNotImplemented", needs("method")),
            ErrorType("InvalidParameter", needs("parameter")),
            ErrorType("PermissionDenied", Struct()),
            ErrorType("ExpectedMore", Struct()),
        ),
        "What every service tells of itself.",
    )


def test_every_kind_of_type_is_read() -> None:
    pair = Struct((Field("first", Basic.INT), Field("second", Basic.STRING)))
    foo = Optional(Array(Optional(Map(Enum(("foo", "bar", "baz"))))))
    anonymous = Struct((Field("foo", Basic.BOOL), Field("bar", Basic.BOOL)))
    everything = Struct(
        (
            Field("object", Basic.OBJECT, "An object of another interface."),
            Field("any", Basic.ANY),
            Field("enum", Enum(("one", "two", "three"))),
            Field("struct", pair),
            Field("array", Array(Basic.STRING)),
            Field("matrix", Array(Array(Basic.FLOAT))),
            Field("map", Map(Basic.STRING)),
            Field("set", Map(Struct())),
            Field("nullable", Optional(Basic.STRING)),
            Field("structs", Optional(Array(pair))),
            Field("colour", Optional(Named("Colour"))),
            Field("inner", Named("Inner")),
        )
    )
    wrong = Struct((Field("wants", Basic.OBJECT), Field("got", Optional(Basic.OBJECT))))
    count = Struct((Field("count", Basic.INT),))
    assert parse(EVERYTHING) == InterfaceDescription(
        "org.example.certification-like",
        (
            TypeAlias("Inner", Struct((Field("foo", foo), Field("anonymous", anonymous)))),
            TypeAlias("Colour", Enum(("red", "green", "blue"))),
            TypeAlias("Everything", everything),
            MethodDescription(
                "Watch", Struct((Field("everything", Named("Everything")),)), count, "More than one reply."
            ),
            MethodDescription("Ping", Struct(), Struct()),
            ErrorType("Refused", Struct()),
            ErrorType("Wrong", wrong),
        ),
        "Every kind of type,\n\n  in every place.",
    )


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("bool", Basic.BOOL),
        ("int", Basic.INT),
        ("float", Basic.FLOAT),
        ("string", Basic.STRING),
        ("object", Basic.OBJECT),
        ("any", Basic.ANY),
        ("T", Named("T")),
        ("()", Struct()),
        ("(a)", Enum(("a",))),
        ("(a: int)", INT),
        ("[]?int", Array(Optional(Basic.INT))),
        ("?[]?int", Optional(Array(Optional(Basic.INT)))),
        ("[string][][string]T", Map(Array(Map(Named("T"))))),
        ("? [] [string] int", Optional(Array(Map(Basic.INT)))),
        ("[]# a comment\nint", Array(Basic.INT)),
    ],
)
def test_types(text: str, kind: Type) -> None:
    assert field_type(text) == kind


def test_keywords_are_names_where_a_name_stands() -> None:
    struct = Struct((Field("type", Basic.BOOL), Field("bool", Enum(("method", "int")))))
    assert field_type("(type: bool, bool: (method, int))") == struct


def test_a_type_may_be_declared_after_its_use_and_hold_itself() -> None:
    tree = Struct((Field("branches", Array(Named("Tree"))),))
    interface = parse(HEAD + "method Get() -> (tree: Tree) type Tree (branches: []Tree)")
    assert interface.members[1] == TypeAlias("Tree", tree)


@pytest.mark.parametrize("blank", [*" \t\xa0\u1680\u180e\u2000\u2005\u200a\u202f\u205f\u3000\ufeff", "#x\n"])
def test_every_blank_of_the_peg_is_skipped(blank: str) -> None:
    words = [
        "",
        "interface",
        "a.b",
        "error",
        "E",
        "(",
        "a",
        ":",
        "?",
        "[]",
        "int",
        ",",
        "b",
        ":",
        "int",
        ")",
        "",
    ]
    struct = Struct((Field("a", Optional(Array(Basic.INT))), Field("b", Basic.INT)))
    assert parse(blank.join(words)).members == (ErrorType("E", struct),)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028", "\u2029"])
def test_every_line_end_of_the_peg_ends_lines_and_comments(end: str) -> None:
    assert parse(EVERYTHING.replace("\n", end)) == parse(EVERYTHING)
    with pytest.raises(IdlError) as caught:
        parse(end.join(("# one", "interface a.b", "", "  method 9")))
    assert (caught.value.line, caught.value.column) == (4, 10)


@pytest.mark.parametrize(
    "text", ["type T()", "type T()#", "type T() # unfinished", "type T()\n\n", "type T ( )\r"]
)
def test_a_last_line_needs_no_end(text: str) -> None:
    assert parse(HEAD + text).members == (TypeAlias("T", Struct()),)


def test_members_may_share_a_line() -> None:
    """The BNF and systemd allow it, though the PEG does not."""
    interface = parse("interface a.b method A()->() method B()->()")
    assert [member.name for member in interface.members] == ["A", "B"]


@pytest.mark.parametrize(
    "value",
    [
        *(Named("T"), Field("a", Basic.INT), Struct(), Enum(("a",)), Array(INT), Map(INT), Optional(INT)),
        *(TypeAlias("T", INT), MethodDescription("M", INT, INT), ErrorType("E", INT), parse(SERVICE)),
    ],
)
def test_values_are_frozen_and_have_no_more_than_their_fields(value: Any) -> None:
    with pytest.raises(AttributeError, match="frozen: cannot set"):
        setattr(value, type(value).__slots__[0], None)
    assert not hasattr(value, "__dict__")


# --- documentation ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("above", "doc"),
    [
        ("# one\n", "one"),
        ("#one\n", "one"),
        ("#  one \n#\n\t# two\n", " one \n\ntwo"),
        ("# far\n\n# near\n", "near"),
        ("# far\n\n", ""),
        ("# far\n \n", ""),
        ("#\n", ""),
        ("# ## \n", "## "),
        ("# a~b\n", "a~b"),
        ("\u3000# blank before\r\n", "blank before"),
    ],
)
def test_the_comment_directly_above_is_the_documentation(above: str, doc: str) -> None:
    interface = parse(f"{above}interface a.b\n{above}type T ()\n{above}method M() -> ()\n{above}error E ()")
    assert [interface.doc, *(member.doc for member in interface.members)] == [doc] * 4


def test_a_comment_beside_something_documents_nothing() -> None:
    text = (
        "interface a.b # beside\nerror E ( # beside\na: int, # beside\nb: int # beside\n) # beside\nerror F()"
    )
    interface = parse(text)
    assert interface == parse(re.sub(" # beside", "", text))
    assert not any(member.doc for member in interface.members)


def test_a_field_is_documented_above_it() -> None:
    struct = Struct((Field("a", Basic.INT, "first"), Field("b", Struct((Field("c", Basic.INT, "deep"),)))))
    assert field_type("(\n# first\na: int, # beside\nb: (\n# deep\nc: int))") == struct


def test_comments_of_enum_names_are_dropped() -> None:
    assert field_type("(\n# first\na,\n# second\nb\n# last\n)") == Enum(("a", "b"))


# --- refusals ---------------------------------------------------------------------------------

A_STRUCT = "'(' with fields or names, or '()'"
A_TYPE = "bool, int, float, string, object, a declared type or '(...)'"
A_FIELD = "use letters and digits, with single '_' between them"
A_LABEL = "use labels of letters, digits and inner '-', joined by dots, such as 'org.example.name'"
AN_INTERFACE = "expected 'interface' and a name, such as 'interface org.example.name'"
BRACKETS = "expected a type, found '[': write '[]' for an array, '[string]' for a map, without blanks"
DEEP = "types nested deeper than 64: declare an inner one and use its name"
TWICE = "a type is made optional once: write one '?'"

WHOLE_TEXTS = [
    ("", 1, 1, f"{AN_INTERFACE}, found nothing"),
    ("\n # c", 2, 5, f"{AN_INTERFACE}, found nothing"),
    ("type T ()", 1, 1, f"{AN_INTERFACE}, found 'type'"),
    ("Interface a.b", 1, 1, f"{AN_INTERFACE}, found 'Interface'"),
    ("interfacea.b", 1, 1, f"{AN_INTERFACE}, found 'interfacea.b'"),
    ("interface", 1, 10, f"expected an interface name, found nothing: {A_LABEL}"),
    ("interface ftl\n", 1, 11, "interface name 'ftl' has no dot: write it like 'org.example.ftl'"),
    ("interface 1.b\n", 1, 11, f"expected an interface name, found '1.b': {A_LABEL}"),
    ("interface a-.b\n", 1, 11, f"expected an interface name, found 'a-.b': {A_LABEL}"),
    ("interface a.b_c\n", 1, 11, f"expected an interface name, found 'a.b_c': {A_LABEL}"),
    ("interface a.b\n", 2, 1, "expected 'type', 'method' or 'error', found nothing"),
]

MEMBERS = [
    ("metod M() -> ()", 2, 1, "expected 'type', 'method' or 'error', found 'metod'"),
    ("typeT ()", 2, 1, "expected 'type', 'method' or 'error', found 'typeT'"),
    ("type T ();", 2, 10, "expected 'type', 'method' or 'error', found ';'"),
    ("type T ()\n\vtype U ()", 3, 1, "expected 'type', 'method' or 'error', found '\\x0b'"),
    ("~ type T ()", 2, 1, "expected 'type', 'method' or 'error', found '~'"),
    ("\u200btype T ()", 2, 1, "expected 'type', 'method' or 'error', found '\\u200b'"),
    ("type tree ()", 2, 6, "'tree' starts with a small letter: write 'Tree'"),
    ("type", 2, 5, "expected a name, found nothing: use a capital, then letters and digits"),
    ("type T_t ()", 2, 6, "expected a name, found 'T_t': use a capital, then letters and digits"),
    ("type ßa ()", 2, 6, "expected a name, found 'ß': use a capital, then letters and digits"),
    ("method ()->()", 2, 8, "expected a name, found '(': use a capital, then letters and digits"),
    ("error E", 2, 8, f"expected {A_STRUCT}, found nothing"),
    ("type T int", 2, 8, f"expected {A_STRUCT}, found 'int'"),
    ("type T []int", 2, 8, f"expected {A_STRUCT}, found '[]'"),
    ("type T {}", 2, 8, f"expected {A_STRUCT}, found '{{'"),
    ("method M()", 2, 11, "expected '->' and what the method replies, such as '-> ()', found nothing"),
    ("method M() => ()", 2, 12, "expected '->' and what the method replies, such as '-> ()', found '='"),
    ("method M() - > ()", 2, 12, "expected '->' and what the method replies, such as '-> ()', found '-'"),
    ("method M-> ()", 2, 9, f"expected {A_STRUCT}, found '->'"),
    ("method M(a) -> ()", 2, 9, "expected a struct, found an enum: 'a' and the others need a type"),
    ("method M() -> (a)", 2, 15, "expected a struct, found an enum: 'a' and the others need a type"),
    ("error E (a, b)", 2, 9, "expected a struct, found an enum: 'a' and the others need a type"),
    ("type T ()\n\ntype T ()", 4, 6, "'T' is declared in line 2 already: rename one"),
    ("type T () error T ()", 2, 17, "'T' is declared in line 2 already: rename one"),
    ("error E (a: U)", 2, 13, "type 'U' is not declared: add 'type U (...)'"),
    ("error E (a: (b: ?[]U), c: V)", 2, 20, "type 'U' is not declared: add 'type U (...)'"),
    ("error E (a: E)", 2, 13, "'E' is a method or an error: only a type can be used here"),
    ("method M() -> (m: M)", 2, 19, "'M' is a method or an error: only a type can be used here"),
]

GROUPS = [
    ("(", 2, 9, f"expected a field or enum name, found nothing: {A_FIELD}"),
    ("(,)", 2, 9, f"expected a field or enum name, found ',': {A_FIELD}"),
    ("(a_: int)", 2, 9, f"expected a field or enum name, found 'a_': {A_FIELD}"),
    ("(a-b: int)", 2, 9, f"expected a field or enum name, found 'a-b': {A_FIELD}"),
    ("(a: int, 9: int)", 2, 17, f"expected a field or enum name, found '9': {A_FIELD}"),
    ("(a: int,)", 2, 15, "a ',' before ')': remove it"),
    ("(a, b, )", 2, 13, "a ',' before ')': remove it"),
    ("(a: int, a: bool)", 2, 17, "'a' stands here twice: rename one"),
    ("(a, b, a)", 2, 15, "'a' stands here twice: rename one"),
    ("(a: int, b)", 2, 17, "'b' has no type, the fields before it have: write 'b: string'"),
    (
        "(a, b: int)",
        2,
        12,
        "'b' has a type, the names before it have none: '(...)' holds only fields or only names",
    ),
    ("(a: int b: int)", 2, 16, "expected ',' or ')' after 'a', found 'b'"),
    ("(a: int", 2, 15, "expected ',' or ')' after 'a', found nothing"),
    ("(a int)", 2, 11, "expected ':', ',' or ')' after 'a', found 'int'"),
    ("(a: int[])", 2, 15, "'[]' stands before its type: write '[]int', not 'int[]'"),
    ("(a:)", 2, 11, f"expected a type, found ')': use {A_TYPE}"),
    ("(a: )", 2, 12, f"expected a type, found ')': use {A_TYPE}"),
    ("(a: 9)", 2, 12, f"expected a type, found '9': use {A_TYPE}"),
    ("(a:", 2, 11, f"expected a type, found nothing: use {A_TYPE}"),
    ("(a: str)", 2, 12, "'str' is not a type: write 'string'"),
    ("(a: []integer)", 2, 14, "'integer' is not a type: write 'int'"),
    ("(a: foo)", 2, 12, "'foo' is not a type: declared types start with a capital"),
    (
        "(a: org.x.Y)",
        2,
        12,
        "'org.x.Y' is not a type of this interface: declare it here and use its last part",
    ),
    ("(a: [int]int)", 2, 12, BRACKETS),
    ("(a: [ ]int)", 2, 12, BRACKETS),
    ("(a: [ string ]int)", 2, 12, BRACKETS),
    ("(a: [string int)", 2, 12, BRACKETS),
    ("(a: ??int)", 2, 13, TWICE),
    ("(a: ? # c\n?int)", 3, 1, TWICE),
    ("(a: []??int)", 2, 15, TWICE),
    ("(a: \u202ex)", 2, 12, f"expected a type, found '\\u202e': use {A_TYPE}"),
    ("(a: \ud800)", 2, 12, f"expected a type, found '\\ud800': use {A_TYPE}"),
    (f"(a: {'x' * 999})", 2, 12, f"'{'x' * 100}'... is not a type: declared types start with a capital"),
    (f"(a: {'x' * 101})", 2, 12, f"'{'x' * 100}'... is not a type: declared types start with a capital"),
    (f"(a: {'x' * 100})", 2, 12, f"'{'x' * 100}' is not a type: declared types start with a capital"),
]


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        *WHOLE_TEXTS,
        *((HEAD + text, *told) for text, *told in MEMBERS),
        *((f"{HEAD}type T {text}", *told) for text, *told in GROUPS),
    ],
)
def test_a_fault_is_told_with_its_place_and_the_nearest_fix(
    text: str, line: int, column: int, reason: str
) -> None:
    with pytest.raises(IdlError) as caught:
        parse(text)
    assert (caught.value.line, caught.value.column, caught.value.reason) == (line, column, reason)
    assert str(caught.value) == f"{line}:{column}: {reason}"


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("str", "string"),
        ("text", "string"),
        ("integer", "int"),
        ("int64", "int"),
        ("uint64", "int"),
        ("boolean", "bool"),
        ("double", "float"),
        ("number", "float"),
        ("dict", "object"),
    ],
)
def test_a_type_of_another_language_is_answered_with_ours(word: str, meant: str) -> None:
    with pytest.raises(IdlError) as caught:
        field_type(word)
    assert caught.value.reason == f"'{word}' is not a type: write '{meant}'"


# --- bounds -----------------------------------------------------------------------------------


def test_a_text_may_have_the_most_characters_and_not_one_more() -> None:
    text = (HEAD + "error E ()").ljust(MAX_TEXT_CHARS)
    assert parse(text).members == (ErrorType("E", Struct()),)
    with pytest.raises(IdlError, match=r"^1:1: 1048577 characters are too many: the limit is 1048576$"):
        parse(text + " ")


@pytest.mark.parametrize("wrap", ["struct", "array", "map", "optional", "enum", "mixed"])
@pytest.mark.parametrize(
    "member", ["type T (a: {})", "error E (a: {})", "method M(a: {}) -> ()", "method M() -> (a: {})"]
)
def test_types_may_nest_sixty_four_deep_and_not_one_deeper(member: str, wrap: str) -> None:
    """What was read can also be compared, shown, pickled and written within Python's stack."""
    interface = parse(HEAD + member.format(nested(wrap, 64)))
    assert parse(print_interface(interface, strict=False)) == interface
    assert pickle.loads(pickle.dumps(interface)) == interface
    assert repr(interface).count("Basic.INT") == (wrap != "enum")
    assert isinstance(hash(interface), int)
    with pytest.raises(IdlError) as caught:
        parse(HEAD + member.format(nested(wrap, 65)))
    assert caught.value.reason == DEEP


@pytest.mark.parametrize("wrap", ["struct", "array", "map", "optional", "enum", "mixed"])
def test_no_depth_exhausts_the_stack(wrap: str) -> None:
    with pytest.raises(IdlError) as caught:
        parse(f"{HEAD}error E (a: {nested(wrap, 20_000)})")
    assert caught.value.reason == DEEP


@pytest.mark.parametrize(
    "opening", ["(", "(a:", "(a:(", "[]", "?", "[string]", "[", "#", "->", "-", ".", "a.", "a-"]
)
def test_repeated_openings_are_refused_like_any_fault(opening: str) -> None:
    for head in ("", "interface ", HEAD, HEAD + "type T ", HEAD + "type T (a: "):
        with pytest.raises(IdlError):
            parse(head + opening * 20_000)


class Scanned:
    """Stands for a pattern of the scanner, and counts the characters that all of them were matched with."""

    chars: ClassVar[int] = 0

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.pattern = pattern

    def match(self, text: str, start: int) -> re.Match[str] | None:
        match = self.pattern.match(text, start)
        Scanned.chars += match.end() - start if match else 0
        return match


class Sliced(str):
    """A text that counts the characters that are copied out of it."""

    __slots__ = ()
    chars: ClassVar[int] = 0

    def __getitem__(self, key: Any) -> str:
        part = super().__getitem__(key)
        Sliced.chars += len(part)
        return part


def count_calls(text: str) -> int:
    """Return how many functions, in Python or C, reading `text` calls."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        parse(text)
    finally:
        sys.setprofile(before)
    return calls


MANY: dict[str, Callable[[int], str]] = {
    "members": lambda n: "".join(f"# doc\ntype T{i} (a: T0)\n" for i in range(n)),
    "fields": lambda n: f"type T ({', '.join(f'a{i}: ?[]int' for i in range(n))})",
    "documented fields": lambda n: "type T (" + ",".join(f"\n# doc\na{i}: int" for i in range(n)) + ")",
    "enum names": lambda n: f"type T ({', '.join(f'a{i}' for i in range(n))})",
    "structs": lambda n: "type T (" + ", ".join(f"a{i}: {nested('struct', 9)}" for i in range(n)) + ")",
    "comment lines": lambda n: "# doc\n" * n + "type T ()",
    "empty lines": lambda n: "\r\n" * n + "type T ()",
    "trailing comments": lambda n: "type T () " + "#\n" * n,
    "one comment": lambda n: "#" * n + "\ntype T ()",
    "one name": lambda n: "type T" + "a" * n + "()",
    "uses": lambda n: "type T () error E (a: (" + ", ".join(f"a{i}: T" for i in range(n)) + "))",
}


@pytest.mark.parametrize("shape", MANY)
def test_reading_takes_time_in_proportion_to_the_text(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: characters matched, characters copied, functions called."""
    for name in ("_BLANK", "_COMMENT", "_TOKEN"):
        monkeypatch.setattr(idl_parser, name, Scanned(getattr(idl_parser, name)))
    monkeypatch.setattr(Scanned, "chars", 0)
    monkeypatch.setattr(Sliced, "chars", 0)
    text = Sliced(HEAD + MANY[shape](400))
    parse(text)
    assert Scanned.chars == len(text)
    assert Sliced.chars <= len(text)
    assert count_calls(HEAD + MANY[shape](800)) <= 2 * count_calls(text) + 10


# --- the scanner, beside one that is written without `re` ---------------------------------------

# Every character that the scanner treats in its own way, and one of each kind that it treats alike.
SIGNS = "a-># \n.[\u2028"
WORD = string.ascii_letters + string.digits + "_"


def scan_by_hand(text: str, start: int) -> tuple[str, int]:
    """Return the next token of `text` and where it begins, character by character."""
    in_comment = False
    while start < len(text) and (in_comment or text[start] in idl_parser._BLANKS + idl.LINE_ENDS + "#"):
        in_comment = text[start] not in idl.LINE_ENDS and (in_comment or text[start] == "#")
        start += 1
    for mark in ("[]", "[string]", "->"):
        if text.startswith(mark, start):
            return mark, start
    end = start + 1
    if text[start:end] and text[start] in WORD:
        while text[end : end + 1] and text[end] in WORD + ".-" and text[end : end + 2] != "->":
            end += 1
    return text[start:end], start


def assert_scanned_alike(text: str) -> None:
    token = idl_parser._scan(text, 0)
    assert (token.text, token.start) == scan_by_hand(text, 0), text


def test_the_scanner_cuts_every_short_text_as_one_without_re_does() -> None:
    """Python 3.11.2, which Debian 12 has, takes `a->` for one word if `re` is told not to go back."""
    assert idl_parser._scan("a->", 0).text == "a"
    for length in range(5):
        for signs in itertools.product(SIGNS, repeat=length):
            assert_scanned_alike("".join(signs))


@given(
    st.lists(st.sampled_from([*SIGNS, "[]", "[string]", "->", "--", "\r\n", "\xa0", "é", "9_"]), max_size=40)
)
def test_the_scanner_cuts_long_texts_as_one_without_re_does(pieces: list[str]) -> None:
    assert_scanned_alike("".join(pieces))


def test_a_name_ends_before_an_arrow() -> None:
    """The shortest description that Python 3.11.2 read otherwise than later ones."""
    with pytest.raises(
        IdlError, match=re.escape("2:9: expected '(' with fields or names, or '()', found '->'")
    ):
        parse(HEAD + "method M->()")


# --- writing ----------------------------------------------------------------------------------


def test_what_was_written_in_our_form_is_written_again() -> None:
    assert print_interface(parse(SERVICE)) == SERVICE


def test_everything_is_written_and_read_back() -> None:
    interface = parse(EVERYTHING)
    text = print_interface(interface, strict=False)
    assert parse(text) == interface
    assert max(map(len, text.splitlines())) <= idl_printer.LINE_CHARS
    assert (
        text
        == """\
# Every kind of type,
#
#   in every place.
interface org.example.certification-like

type Inner (foo: ?[]?[string](foo, bar, baz), anonymous: (foo: bool, bar: bool))

type Colour (red, green, blue)

type Everything (
  # An object of another interface.
  object: object,
  any: any,
  enum: (one, two, three),
  struct: (first: int, second: string),
  array: []string,
  matrix: [][]float,
  map: [string]string,
  set: [string](),
  nullable: ?string,
  structs: ?[](first: int, second: string),
  colour: ?Colour,
  inner: Inner
)

# More than one reply.
method Watch(everything: Everything) -> (count: int)

method Ping() -> ()

error Refused ()

error Wrong (wants: object, got: ?object)
"""
    )


@pytest.mark.parametrize(("chars", "lines"), [(80, 1), (81, 3)])
@pytest.mark.parametrize("head", ["type T ", "error E ", "method M() -> "])
def test_a_line_has_eighty_characters_and_not_one_more(head: str, chars: int, lines: int) -> None:
    name = "a" * (chars - len(f"{head}(: int)"))
    text = print_interface(parse(f"{HEAD}{head}({name}: int)"))
    assert len(text.removeprefix(HEAD + "\n").splitlines()) == lines


@pytest.mark.parametrize(("chars", "lines"), [(80, 4), (81, 8)])
def test_the_comma_after_a_field_counts(chars: int, lines: int) -> None:
    inner = Array(Struct((Field("n" * (chars - len("  a: [](: int),")), Basic.INT),)))
    interface = InterfaceDescription(
        "org.example.test", (ErrorType("E", Struct((Field("a", inner), Field("b", inner)))),)
    )
    assert len(print_interface(interface).removeprefix(HEAD + "\n").splitlines()) == lines


@pytest.mark.parametrize(("chars", "broken"), [(80, False), (81, True)])
def test_the_arrow_after_parameters_counts(chars: int, broken: bool) -> None:
    name = "n" * (chars - len("method M(: int) -> ("))
    interface = parse(f"{HEAD}method M({name}: int) -> ({'r' * 80}: int)")
    line = print_interface(interface).splitlines()[2]
    assert line == ("method M(" if broken else f"method M({name}: int) -> (")


def test_parameters_and_reply_are_broken_where_they_do_not_fit() -> None:
    names = tuple(f"value_number_{i}" for i in range(5))
    long = Struct((Field("choice", Optional(Enum(names))), Field("pair", Array(INT))))
    longer = Struct((Field("deep", long), Field("empty", Struct())))
    members = (
        MethodDescription("M", longer, INT),
        MethodDescription("N", INT, long),
        TypeAlias("E", Enum(names)),
    )
    interface = InterfaceDescription("org.example.test", members)
    text = print_interface(interface, strict=False)
    assert parse(text) == interface
    assert (
        text
        == """\
interface org.example.test

method M(
  deep: (
    choice: ?(
      value_number_0,
      value_number_1,
      value_number_2,
      value_number_3,
      value_number_4
    ),
    pair: [](a: int)
  ),
  empty: ()
) -> (a: int)

method N(a: int) -> (
  choice: ?(
    value_number_0,
    value_number_1,
    value_number_2,
    value_number_3,
    value_number_4
  ),
  pair: [](a: int)
)

type E (
  value_number_0,
  value_number_1,
  value_number_2,
  value_number_3,
  value_number_4
)
"""
    )


def test_what_has_no_room_and_no_parts_stays_on_its_line() -> None:
    name = "a" * 90
    fields = (Field(name, Basic.INT), Field("b", Optional(Struct((Field(name, Struct()),)))))
    interface = InterfaceDescription("org.example.test", (ErrorType("E", Struct(fields)),))
    text = print_interface(interface, strict=False)
    assert text == f"{HEAD}\nerror E (\n  {name}: int,\n  b: ?(\n    {name}: ()\n  )\n)\n"


def test_a_documented_field_has_its_own_line_however_short() -> None:
    inner = Struct((Field("b", Basic.INT, "two\n\nlines"),))
    interface = InterfaceDescription("org.example.test", (ErrorType("E", Struct((Field("a", Map(inner)),))),))
    text = print_interface(interface)
    assert text == f"{HEAD}\nerror E (\n  a: [string](\n    # two\n    #\n    # lines\n    b: int\n  )\n)\n"
    assert parse(text) == interface


def test_documentation_cannot_break_out_of_its_comment() -> None:
    doc = "one\rtype A ()\r\ntype B ()\u2028type C ()\u2029\ntype D ()"
    text = print_interface(InterfaceDescription("org.example.test", (ErrorType("E", Struct(), doc),), doc))
    assert parse(text).doc == "one\ntype A ()\ntype B ()\ntype C ()\n\ntype D ()"
    assert [member.name for member in parse(text).members] == ["E"]


# --- what cannot be written -------------------------------------------------------------------


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("interface", "told"),
    [
        (InterfaceDescription("a.b", ()), "a.b: an interface needs a member: add a type, method or error"),
        (
            InterfaceDescription("a", (ErrorType("E", INT),)),
            "a: interface name 'a' has no dot: write it like 'org.example.a'",
        ),
        (
            InterfaceDescription("a.b\ntype T ()", ()),
            f"a.b type T (): expected an interface name, found 'a.b\\ntype T ()': {A_LABEL}",
        ),
        (InterfaceDescription("", ()), f": expected an interface name, found nothing: {A_LABEL}"),
        (
            InterfaceDescription("a.b", (ErrorType("E", INT), TypeAlias("E", INT))),
            "a.b: 'E' stands here twice: rename one",
        ),
        (InterfaceDescription("a.b", (ErrorType("e", INT),)), "e: 'e' starts with a small letter: write 'E'"),
        (
            InterfaceDescription("a.b", (MethodDescription("M", INT, Struct((Field("b c", Basic.INT),))),)),
            f"M: expected a field or enum name, found 'b c': {A_FIELD}",
        ),
        (
            InterfaceDescription("a.b", (TypeAlias("T", Struct((Field("b_", Basic.INT),))),)),
            f"T: expected a field or enum name, found 'b_': {A_FIELD}",
        ),
        (with_type(Enum(("a", "b_"))), f"E.a: expected a field or enum name, found 'b_': {A_FIELD}"),
        (with_type(Enum(("a", "b", "a"))), "E.a: 'a' stands here twice: rename one"),
        (with_type(Struct(INT.fields * 2)), "E.a: 'a' stands here twice: rename one"),
        (with_type(Enum(())), "E.a: an enum needs names: add some, or use string"),
        (with_type(Struct((Field("b", Named("U")),))), "E.a.b: type 'U' is not declared: add 'type U (...)'"),
        (with_type(Named("E")), "E.a: 'E' is a method or an error: only a type can be used here"),
        (with_type(Optional(Optional(Basic.INT))), f"E.a: {TWICE}"),
    ],
)
def test_an_inconsistent_interface_is_not_written(
    interface: InterfaceDescription, told: str, strict: bool
) -> None:
    with pytest.raises(NotPrintable) as caught:
        print_interface(interface, strict=strict)
    assert str(caught.value) == told
    assert f"{caught.value.where}: {caught.value.reason}" == told


@pytest.mark.parametrize("levels", [65, 20_000])
@pytest.mark.parametrize("place", ["type", "error", "parameters", "reply"])
def test_a_value_nested_too_deep_is_refused_within_the_stack(place: str, levels: int) -> None:
    kind: Type = Basic.INT
    for level in range(levels):
        kind = Optional(kind) if level % 2 else Struct((Field("a", kind),))
    deep, flat = Struct((Field("a", kind),)), Struct()
    members: dict[str, Member] = {
        "type": TypeAlias("M", deep),
        "error": ErrorType("M", deep),
        "parameters": MethodDescription("M", deep, flat),
        "reply": MethodDescription("M", flat, deep),
    }
    with pytest.raises(NotPrintable) as caught:
        print_interface(InterfaceDescription("a.b", (members[place],)))
    assert caught.value.reason == DEEP


NOT_COMMON = [
    (with_type(Basic.ANY), "E.a", "'any' is read by systemd >= 262 only: use object"),
    (with_type(Map(Struct())), "E.a", "systemd reads no string set '[string]()': use '[]string'"),
    (with_type(Struct()), "E.a", "systemd reads no empty struct as a type: use object"),
    (with_type(Array(Struct())), "E.a", "systemd reads no empty struct as a type: use object"),
    (
        InterfaceDescription("a.b", (TypeAlias("T", Struct()),)),
        "T",
        "systemd reads no empty struct as a type: use object",
    ),
    (with_type(Enum(("a",))), "E.a", "python-varlink reads no enum with a single name: use string"),
    (
        InterfaceDescription("a.b", (TypeAlias("T", Enum(("a",))),)),
        "T",
        "python-varlink reads no enum with a single name: use string",
    ),
    (with_type(Array(Array(Basic.INT))), "E.a", "systemd reads no '[][]': put the inner type into a struct"),
    (
        with_type(Optional(Array(Optional(Basic.INT)))),
        "E.a",
        "systemd reads no '[]?': put the inner type into a struct",
    ),
    (
        with_type(Struct((Field("b", Map(Array(Basic.INT))),))),
        "E.a.b",
        "systemd reads no '[string][]': put the inner type into a struct",
    ),
    (
        InterfaceDescription("a.b--c", (ErrorType("E", INT),)),
        "a.b--c",
        "some tools refuse this name: begin it with letters alone, and write no '--'",
    ),
    (
        InterfaceDescription("a1.b", (ErrorType("E", INT),)),
        "a1.b",
        "some tools refuse this name: begin it with letters alone, and write no '--'",
    ),
    *(
        (interface, where, "a control character in the documentation: remove it")
        for doc in ("\x1b[2J", "\0", "a\vb", "a\n\x85", "\u202e", "\ud800")
        for interface, where in (
            (InterfaceDescription("a.b", (ErrorType("E", INT),), doc), "a.b"),
            (InterfaceDescription("a.b", (ErrorType("E", INT, doc),)), "E"),
            (InterfaceDescription("a.b", (ErrorType("E", Struct((Field("a", Basic.INT, doc),))),)), "E.a"),
        )
    ),
]


@pytest.mark.parametrize(("interface", "where", "reason"), NOT_COMMON)
def test_what_some_tool_cannot_read_is_written_only_on_demand(
    interface: InterfaceDescription, where: str, reason: str
) -> None:
    with pytest.raises(NotPrintable) as caught:
        print_interface(interface)
    assert (caught.value.where, caught.value.reason) == (where, reason)
    assert parse(print_interface(interface, strict=False)) == interface


def test_a_tab_in_documentation_is_common() -> None:
    assert print_interface(parse("#\ta\n" + HEAD + "error E ()")).startswith("# \ta\n")


def test_an_empty_struct_is_common_as_parameters_reply_and_error() -> None:
    assert (
        print_interface(parse(HEAD + "method M()->() error E()"))
        == f"{HEAD}\nmethod M() -> ()\n\nerror E ()\n"
    )


@pytest.mark.parametrize("error", [IdlError(3, 14, "why"), NotPrintable("E.a", "why")])
def test_errors_keep_their_fields_through_pickling(error: DaemonryError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.__dict__) == (str(error), error.__dict__)


# --- properties -------------------------------------------------------------------------------

DECLARED = ["T", "Tree", "ABC9"]
MEMBERS_TOO = ["M", "GetInfo", "E1"]
ANY_INTERFACE_NAMES = ["a.b", "org.example.test", "Org.Ex-ample.FTL", "a1--b.c9--d.0", f"a.{'b' * 99}"]
COMMON_INTERFACE_NAMES = ["a.b", "org.example.test", "Org.Ex-ample.FTL", f"a.{'b' * 99}"]
FIELD_NAMES = st.sampled_from(["a", "b", "A", "a_b9", "interface", "type", "int", "l" * 40, "m" * 80])
ANY_DOCS = st.text(st.characters(exclude_characters="\r\u2028\u2029"), max_size=30)
COMMON_DOCS = st.text(st.sampled_from("ab#(): \t\n\u00e4\u4e16\U0001f600"), max_size=30)


def structs(
    types: st.SearchStrategy[Type], docs: st.SearchStrategy[str], min_size: int = 0
) -> st.SearchStrategy[Struct]:
    fields = st.builds(Field, FIELD_NAMES, types, docs)
    several = st.lists(fields, min_size=min_size, max_size=4, unique_by=lambda field: field.name)
    return several.map(lambda fields: Struct(tuple(fields)))


def enums(min_size: int) -> st.SearchStrategy[Enum]:
    names = st.lists(FIELD_NAMES, unique=True, min_size=min_size, max_size=4)
    return names.map(lambda names: Enum(tuple(names)))


def any_types(levels: int) -> st.SearchStrategy[Type]:
    elements: st.SearchStrategy[Type] = st.sampled_from([*Basic, *map(Named, DECLARED)]) | enums(1)
    if levels:
        inner = any_types(levels - 1)
        elements |= inner.map(Array) | inner.map(Map) | structs(inner, ANY_DOCS)
    return elements | elements.map(Optional)


def common_types(levels: int) -> st.SearchStrategy[Type]:
    basics = [basic for basic in Basic if basic is not Basic.ANY]
    plain: st.SearchStrategy[Type] = st.sampled_from([*basics, *map(Named, DECLARED)]) | enums(2)
    if levels:
        plain |= structs(common_types(levels - 1), COMMON_DOCS, 1)
    several = plain.map(Array) | plain.map(Map)
    return plain | several | plain.map(Optional) | several.map(Optional)


def interfaces(
    types: st.SearchStrategy[Type], docs: st.SearchStrategy[str], names: list[str], min_size: int
) -> st.SearchStrategy[InterfaceDescription]:
    struct = structs(types, docs)
    declared = structs(types, docs, min_size) | enums(1 + min_size)
    members = st.tuples(
        *(st.builds(TypeAlias, st.just(name), declared, docs) for name in DECLARED),
        *(
            st.builds(MethodDescription, st.just(name), struct, struct, docs)
            | st.builds(ErrorType, st.just(name), struct, docs)
            for name in MEMBERS_TOO
        ),
    )
    mixed = members.flatmap(lambda members: st.permutations(members).map(tuple))
    return st.builds(InterfaceDescription, st.sampled_from(names), mixed, docs)


ANY_INTERFACES = interfaces(any_types(2), ANY_DOCS, ANY_INTERFACE_NAMES, 0)
COMMON_INTERFACES = interfaces(common_types(2), COMMON_DOCS, COMMON_INTERFACE_NAMES, 1)


@settings(deadline=None)
@given(ANY_INTERFACES)
def test_any_interface_is_read_back_as_it_was_written(interface: InterfaceDescription) -> None:
    assert parse(print_interface(interface, strict=False)) == interface


@settings(deadline=None)
@given(COMMON_INTERFACES)
def test_a_common_interface_is_written_alike_in_both_ways(interface: InterfaceDescription) -> None:
    text = print_interface(interface)
    assert parse(text) == interface
    assert text == print_interface(interface, strict=False)


WORDS = [
    *("interface", "org.example.test", "type", "method", "error", "T", "U", "a", "b", "int", "any", "foo_"),
    *(
        "(",
        ")",
        ",",
        ":",
        "?",
        "[]",
        "[string]",
        "->",
        "-",
        "[",
        "# doc",
        "\n",
        "\r\n",
        " ",
        "\v",
        "\u2028",
        "\ud800",
    ),
]


def check_read_or_refused(text: str) -> None:
    """Read `text`: it can be written again, or the one documented error names a place in it."""
    try:
        interface = parse(text)
    except IdlError as error:
        place = error.line, error.column
    else:
        assert parse(print_interface(interface, strict=False)) == interface
        return
    lines = re.split("\r\n|[\n\r\u2028\u2029]", text)
    assert (1, 1) <= place <= (len(lines), len(lines[place[0] - 1]) + 1)


@settings(deadline=None, max_examples=500)
@given(
    st.text() | st.lists(st.sampled_from(WORDS)).map(" ".join) | st.lists(st.sampled_from(WORDS)).map("".join)
)
def test_no_text_raises_anything_but_the_documented_error(text: str) -> None:
    """Tried alone, as members, and as a type."""
    for whole in (text, HEAD + text, f"{HEAD}type T () error E (a: {text})"):
        check_read_or_refused(whole)


@settings(deadline=None)
@given(st.integers(0, len(EVERYTHING)), st.integers(0, 5), st.sampled_from(["", *WORDS]))
def test_a_damaged_text_is_read_or_refused_with_the_documented_error(at: int, cut: int, put: str) -> None:
    check_read_or_refused(EVERYTHING[:at] + put + EVERYTHING[at + cut :])
