"""Reading replies: a value of the described type comes through, any other is an error with its path."""

import pytest

from daemonry import errors
from daemonry.stubs import convert as c

TREE = c.array(c.under_names(c.optional(c.integer)))


@pytest.mark.parametrize(
    ("read", "value", "wanted"),
    [
        (c.boolean, False, False),
        (c.integer, -3, -3),
        (c.number, 2, 2.0),
        (c.number, 2.5, 2.5),
        (c.string, "", ""),
        (c.mapping, {"a": 1}, {"a": 1}),
        (c.anything, [None], [None]),
        (c.one_of("on", "off"), "off", "off"),
        (c.optional(c.string), None, None),
        (TREE, [{"a": 1, "b": None}, {}], [{"a": 1, "b": None}, {}]),
        (c.names, {"a": {}, "b": {}}, {"a", "b"}),
        (c.field("result", c.integer), {"result": 4, "more": 1}, 4),
        (c.nothing, {"new": 1}, None),
    ],
)
def test_a_value_of_the_type_is_read(read, value, wanted):
    assert read(value) == wanted


@pytest.mark.parametrize(
    ("read", "value", "message"),
    [
        (c.boolean, 1, "expected bool, got int"),
        (c.integer, True, "expected int, got bool"),
        (c.integer, 1.0, "expected int, got float"),
        (c.number, "1", "expected float, got str"),
        (c.number, True, "expected float, got bool"),
        (c.string, None, "expected string, got nothing"),
        (c.mapping, [], "expected object, got list"),
        (c.one_of("on", "off"), "of", "expected one of on, off, got 'of'"),
        (c.one_of("on", "off"), ["x"], "expected one of on, off, got \"['x']\""),
        (TREE, {}, "expected array, got dict"),
        (TREE, [{}, {"a": "x"}], "[1].a: expected int, got str"),
        (c.field("result", c.integer), {}, "result: expected int, got nothing"),
        (c.field("result", TREE), {"result": [{"a": True}]}, "result[0].a: expected int, got bool"),
    ],
)
def test_another_value_is_an_error_that_says_where(read, value, message):
    with pytest.raises(c.Mismatch) as raised:
        read(value)
    assert str(raised.value) == message


def test_a_reply_that_does_not_fit_is_the_peers_fault():
    with pytest.raises(
        errors.RemoteProtocolError, match=r"the reply to a\.b\.C does not fit: expected int, got str"
    ):
        c.result("a.b.C", "x", c.integer)


def test_an_error_is_made_as_it_is_declared_or_left_as_it_came():
    raised = errors.CallFailed("a.b.Full", {"limit": 3})
    made = c.declared(raised, {"a.b.Full": lambda fields: c.take(fields, "limit", c.integer)})
    assert made == 3
    assert c.declared(raised, {"a.b.Other": c.nothing}) is raised
    assert c.declared(raised, {"a.b.Full": lambda fields: c.take(fields, "limit", c.string)}) is raised


def test_records_are_equal_by_their_fields_and_have_no_hash():
    class Pair(c.Record):
        __slots__ = ("a", "b")

        def __init__(self, a, b):
            self.a, self.b = a, b

    assert Pair(1, "x") == Pair(1, "x")
    assert Pair(1, "x") != Pair(1, "y")
    assert Pair(1, "x") != (1, "x")
    assert repr(Pair(1, "x")) == "Pair(a=1, b='x')"
    with pytest.raises(TypeError):
        hash(Pair(1, 2))
