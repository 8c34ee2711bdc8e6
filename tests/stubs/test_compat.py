"""The rule of `daemonry compat`, as a table: an old interface, a new one, and what breaks for clients."""

import pytest

from daemonry.stubs.compat import breaks
from daemonry.wire import idl_parser

NOTHING = []


def of(members, name="org.example.jobs"):
    return [idl_parser.parse(f"interface {name}\n{members}")]


def found(old, new):
    return [f"{one.where.removeprefix('org.example.jobs')} {one.what}" for one in breaks(of(old), of(new))]


# What a client sends: (old type, new type, what breaks)
SENT = [
    ("int", "int", NOTHING),
    ("int", "?int", NOTHING),
    ("?int", "int", [".Do(x) is required now"]),
    ("?int", "?int", NOTHING),
    ("int", "float", NOTHING),
    ("float", "int", [".Do(x) is int now, was float"]),
    ("int", "string", [".Do(x) is string now, was int"]),
    ("object", "any", NOTHING),
    ("int", "any", NOTHING),
    ("any", "int", [".Do(x) is int now, was any"]),
    ("[string]int", "object", NOTHING),
    ("(a: int)", "object", NOTHING),
    ("int", "object", [".Do(x) is object now, was int"]),
    ("(a, b)", "string", NOTHING),
    ("string", "(a, b)", [".Do(x) is (a, b) now, was string"]),
    ("(a, b)", "(b, a, c)", NOTHING),
    ("(a, b, c)", "(b)", [".Do(x) no longer takes a, c"]),
    ("[]int", "[]float", NOTHING),
    ("[]float", "[]int", [".Do(x[]) is int now, was float"]),
    ("[string]?int", "[string]int", [".Do(x[]) is required now"]),
    ("[]int", "[string]int", [".Do(x) is [string]int now, was []int"]),
    ("(a: int)", "(a: int, b: ?int)", NOTHING),
    ("(a: int)", "(a: int, b: int)", [".Do(x.b) is required now"]),
    ("(a: int, b: ?int)", "(a: int)", [".Do(x.b) was removed"]),
    ("(a: (b: int))", "(a: (b: string))", [".Do(x.a.b) is string now, was int"]),
]


@pytest.mark.parametrize(("old", "new", "wanted"), SENT)
def test_a_parameter(old, new, wanted):
    assert found(f"method Do(x: {old}) -> ()", f"method Do(x: {new}) -> ()") == wanted


# What a client reads: (old type, new type, what breaks)
READ = [
    ("int", "?int", [".Do -> (x) may be null or absent now"]),
    ("?int", "int", NOTHING),
    ("float", "int", NOTHING),
    ("int", "float", [".Do -> (x) is float now, was int"]),
    ("any", "int", NOTHING),
    ("(a, b)", "(a)", NOTHING),
    ("(a)", "(a, b)", [".Do -> (x) may be b now"]),
    ("(a: int)", "(a: int, b: int)", NOTHING),
    ("(a: int, b: int)", "(a: int)", [".Do -> (x.b) was removed"]),
    ("(a: int, b: ?int)", "(a: int)", NOTHING),
    ("[](a: int)", "[](a: ?int)", [".Do -> (x[].a) may be null or absent now"]),
]


@pytest.mark.parametrize(("old", "new", "wanted"), READ)
def test_a_reply_and_an_errors_field(old, new, wanted):
    assert found(f"method Do() -> (x: {old})", f"method Do() -> (x: {new})") == wanted
    assert found(f"error Bad (x: {old})", f"error Bad (x: {new})") == [
        line.replace(".Do -> (", ".Bad (") for line in wanted
    ]


# Members: (old, new, what breaks)
MEMBERS = [
    ("method A() -> () method B() -> ()", "method A() -> ()", [".B was removed"]),
    ("method A() -> ()", "method A() -> () method B() -> ()", NOTHING),
    ("method A(x: int) -> ()", "method A() -> ()", [".A(x) was removed"]),
    ("method A() -> ()", "method A(x: int) -> ()", [".A(x) is required now"]),
    ("method A() -> ()", "method A(x: ?int) -> ()", NOTHING),
    ("method A() -> (x: int)", "method A() -> ()", [".A -> (x) was removed"]),
    ("method A() -> ()", "method A() -> (x: int)", NOTHING),
    ("error E () method A() -> ()", "method A() -> ()", NOTHING),
    ("method A() -> ()", "error E () method A() -> ()", NOTHING),
]


@pytest.mark.parametrize(("old", "new", "wanted"), MEMBERS)
def test_members(old, new, wanted):
    assert found(old, new) == wanted


MARKS = [
    ("", "[Requires 'more' flag]", [".A gives a stream now, and needs `more`"]),
    ("[Requires 'more' flag]", "", [".A gives one reply now, and no stream"]),
    ("[Supports 'more' flag]", "[Requires 'more' flag]", NOTHING),
    ("[Idempotent]", "", [".A is no longer idempotent: clients may call it twice"]),
    ("[Reads]", "[Idempotent]", [".A no longer only reads: a paused daemon refuses it"]),
    ("", "[Reads]", NOTHING),
]


@pytest.mark.parametrize(("old", "new", "wanted"), MARKS)
def test_what_a_method_promises(old, new, wanted):
    assert found(f"# {old}\nmethod A() -> ()", f"# {new}\nmethod A() -> ()") == wanted


def test_a_name_of_a_type_does_not_count_and_what_is_behind_it_does():
    old = "type Job (a: int) method A(x: Job) -> ()"
    assert found(old, "type Work (a: int) method A(x: Work) -> ()") == NOTHING
    assert found(old, "type Job (a: string) method A(x: Job) -> ()") == [".A(x.a) is string now, was int"]


def test_a_type_that_holds_itself_comes_to_an_end():
    old = "type Tree (of: []Tree, n: int) method A(x: Tree) -> (x: Tree)"
    new = "type Tree (of: []Tree, n: string) method A(x: Tree) -> (x: Tree)"
    assert found(old, old) == NOTHING
    assert found(old, new) == [".A(x.n) is string now, was int", ".A -> (x.n) is string now, was int"]


def test_an_interface_that_is_gone_breaks_and_a_new_one_does_not():
    one, other = of("method A() -> ()"), of("method A() -> ()", "org.example.other")
    assert [tuple(it) for it in breaks(one, other)] == [("org.example.jobs", "was removed")]
    assert breaks(one, one + other) == []
