"""What a Python type accepts goes over a connection and comes back unchanged.

Methods are made for types that hypothesis draws; the connection is two state machines in memory,
with the codecs that a server and a standard-library client use, and both converters around them.
"""

import base64
import datetime as dt
import enum
import json
import uuid
from dataclasses import dataclass, make_dataclass
from typing import Literal, TypedDict

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemonry import Interface, errors
from daemonry.service.client.proxy import Converter
from daemonry.service.interface.declare import described
from daemonry.service.server.dispatch import Bound
from daemonry.wire import fast_varlink, varlink
from daemonry.wire.connection import ClientConnection, ServerConnection
from daemonry.wire.varlink import Call


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Pair(TypedDict):
    first: int
    second: str


class Deep(msgspec.Struct):
    names: set[str]
    maybe: int | None
    low: Level = Level.LOW
    below: "list[Deep]" = msgspec.field(default_factory=list)


texts = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=10)
LEAVES = {
    bool: st.booleans(),
    int: st.integers(-(2**63) + 1, 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: texts,
    bytes: st.binary(max_size=20),
    uuid.UUID: st.uuids(),
    dt.date: st.dates(),
    dt.datetime: st.datetimes(timezones=st.just(dt.UTC)),
    Colour: st.sampled_from(Colour),
    Level: st.sampled_from(Level),
    Literal["one", "two"]: st.sampled_from(["one", "two"]),
    set[str]: st.sets(texts, max_size=3),
    frozenset[str]: st.frozensets(texts, max_size=3),
    Pair: st.builds(lambda a, b: {"first": a, "second": b}, st.integers(0, 9), texts),
    Deep: st.recursive(
        st.builds(Deep, st.sets(texts, max_size=2), st.none() | st.integers(0, 9), st.sampled_from(Level)),
        lambda below: st.builds(
            Deep, st.sets(texts, max_size=2), st.none(), st.just(Level.HIGH), st.lists(below, max_size=2)
        ),
        max_leaves=4,
    ),
}
_numbers = iter(range(10**9))


def typed(kind):
    """Pairs of a type and its values, drawn together."""
    return st.just((kind, LEAVES[kind]))


def structured(inner):
    def of_fields(fields):
        names = [f"f{number}" for number in range(len(fields))]
        kind = make_dataclass(
            f"Made{next(_numbers)}", [(name, kind) for name, (kind, _) in zip(names, fields, strict=True)]
        )
        return kind, st.builds(kind, *(values for _, values in fields))

    return (
        inner.map(lambda one: (list[one[0]], st.lists(one[1], max_size=3)))
        | inner.map(lambda one: (tuple[one[0], ...], st.lists(one[1], max_size=3).map(tuple)))
        | inner.map(lambda one: (dict[str, one[0]], st.dictionaries(texts, one[1], max_size=3)))
        | inner.map(lambda one: (one[0] | None, st.none() | one[1]))
        | st.lists(inner, min_size=1, max_size=3).map(of_fields)
    )


types = st.recursive(st.sampled_from(list(LEAVES)).flatmap(typed), structured, max_leaves=5)


def interface_of(kind):
    def give(self, value):
        return value

    give.__annotations__ = {"value": kind, "return": kind}
    return type("Echo", (Interface,), {"give": give}, name="org.example.echo")


def echoed(kind, value, codec):
    """The value as it comes back from a served method, through both ends of a connection."""
    interface = interface_of(kind)
    where = described(interface)
    method = where.methods["Give"]
    converter = Converter(where, method, interface.give)
    bound = Bound(where, method, interface())
    client, server = ClientConnection(codec), ServerConnection(fast_varlink)
    given = converter.given((value,), {})
    sent = client.send_call(Call(converter.full_name, converter.plain(given)))
    assert json.loads(converter.frame(given)[:-1]) == json.loads(sent[:-1])
    server.receive_data(sent)
    arguments = bound.arguments(server.next_event(), None)
    assert arguments == {"value": value}
    reply = server.send_reply(bound.reply(bound.function(**arguments)))
    client.receive_data(reply)
    result = converter.result(client.next_event().parameters)
    read_at_once = converter.read(reply)
    assert read_at_once is NotImplemented or read_at_once == result
    return result


@pytest.mark.parametrize("codec", [varlink, fast_varlink], ids=["standard library", "msgspec"])
@settings(max_examples=80)
@given(data=st.data())
def test_a_value_goes_there_and_back_unchanged(codec, data):
    kind, values = data.draw(types)
    value = data.draw(values)
    back = echoed(kind, value, codec)
    assert back == value
    assert type(back) is type(value)


@settings(max_examples=50)
@given(types)
def test_every_such_type_is_described_and_read_back(drawn):
    from daemonry.wire import idl_parser

    where = described(interface_of(drawn[0]))
    assert idl_parser.parse(where.text) == where.interface


def arguments(kind, **parameters):
    where = described(interface_of(kind))
    return Bound(where, where.methods["Give"], interface_of(kind)()).arguments(
        Call("org.example.echo.Give", parameters), None
    )["value"]


@dataclass
class Fields:
    needed: int
    maybe: int | None
    other: int = 5
    either: int | None = 7


def test_absent_and_null_are_the_same_where_both_can_be_meant():
    """Peers differ in whether they send a null or nothing (varlink.github.io#36)."""
    assert arguments(Fields, value={"needed": 1}) == Fields(1, None, 5, 7)
    assert arguments(Fields, value={"needed": 1, "maybe": None, "other": None}) == Fields(1, None, 5, 7)
    assert arguments(Fields, value={"needed": 1, "either": None}) == Fields(1, None, 5, None)
    assert arguments(list[Fields], value=[{"needed": 1}]) == [Fields(1, None)]
    assert arguments(int | None) is None
    assert arguments(Deep, value={"names": {}}) == Deep(set(), None)


@pytest.mark.parametrize(
    ("kind", "value", "place"),
    [
        (Fields, {"needed": None}, "value.needed"),
        (Fields, {}, "value.needed"),
        (Fields, {"needed": 1, "more": 2}, None),
        (list[Fields], [{"needed": 1}, {"needed": "x"}], "value[1].needed"),
        (dict[str, int], {"a": "x"}, "value[...]"),
        (set[str], ["a"], "value"),
        (set[str], {"a": 1}, "value"),
        (Deep, {"names": [], "maybe": 1}, "value.names"),
        (Colour, "green", "value"),
        (bytes, "not base64!", "value"),
        (int, 1.0, "value"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(kind, value, place):
    if place is None:
        assert arguments(kind, value=value)
        return
    with pytest.raises(errors.InvalidParameter) as caught:
        arguments(kind, value=value)
    assert caught.value.parameters["parameter"] == place
    assert caught.value.parameters["reason"]


def test_bytes_are_base64_and_sets_are_objects():
    where = described(interface_of(set[str]))
    converter = Converter(where, where.methods["Give"], interface_of(set[str]).give)
    assert converter.plain(converter.given(({"a"},), {})) == {"value": {"a": {}}}
    where = described(interface_of(bytes))
    converter = Converter(where, where.methods["Give"], interface_of(bytes).give)
    assert converter.plain(converter.given((b"\0\xff",), {})) == {
        "value": base64.b64encode(b"\0\xff").decode()
    }
