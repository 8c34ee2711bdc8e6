"""The short way to read a reply: what it takes, the long way takes as well, with the same value."""

import enum
import json
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.errors import RemoteProtocolError
from daemonry.wire import fast_varlink
from daemonry.wire.typed_reply import reader


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Flat(msgspec.Struct):
    name: str
    count: int
    share: float
    on: bool
    note: str | None
    limit: int | None


@dataclass
class WithDefaults:
    name: str
    size: int = 1
    tags: tuple[str, ...] = ()
    mood: Mood = Mood.GOOD


class Inner(msgspec.Struct):
    count: int


class Outer(msgspec.Struct):
    inner: Inner
    name: str


class Renamed(msgspec.Struct, rename={"from_": "from"}):
    from_: str


FIELDS = {
    Flat: {"name": "a", "count": 1, "share": 0.5, "on": True, "note": None, "limit": 3},
    WithDefaults: {"name": "a", "size": 2, "tags": ["x", "y"], "mood": "bad"},
    Outer: {"inner": {"count": 5}, "name": "a"},
    Renamed: {"from": "here"},
}


def frame(fields):
    return json.dumps({"parameters": fields}, separators=(",", ":")).encode() + b"\0"


def the_long_way(kind, received, field=""):
    """What the codec and a conversion make of a reply; NotImplemented where they refuse it."""
    try:
        reply = fast_varlink.decode_reply(received.removesuffix(b"\0"))
        if reply.error is not None or reply.continues:
            return NotImplemented
        return msgspec.convert(reply.parameters[field] if field else reply.parameters, kind)
    except (RemoteProtocolError, msgspec.ValidationError, KeyError):
        return NotImplemented


@pytest.mark.parametrize("kind", FIELDS, ids=lambda kind: kind.__name__)
def test_a_common_reply_goes_the_short_way(kind):
    received = frame(FIELDS[kind])
    value = reader(kind, "")(received)
    assert value == the_long_way(kind, received)
    assert type(value) is kind


@pytest.mark.parametrize("value", [5, -1, "text", "12:30", True, 0.5, 2**63], ids=repr)
def test_so_does_a_single_value(value):
    assert reader(type(value), "result")(frame({"result": value})) == value


def test_so_does_nothing():
    assert reader(type(None), "")(b'{"parameters":{}}\0') is None
    assert reader(type(None), "")(b'{"parameters":{"a":1}}\0') is NotImplemented


GOOD = frame(FIELDS[Flat])


@pytest.mark.parametrize(
    "received",
    [
        b"",
        GOOD[:-1],
        GOOD + b"{",
        GOOD + GOOD,
        GOOD.replace(b'"a"', b'"\\u0000"'),
        GOOD.replace(b'"a"', b'"\\n"'),
        GOOD.replace(b'"a"', b'"\xff"'),
        GOOD.replace(b'"a"', b'"\xed\xa0\x80"'),
        GOOD.replace(b'"count":1', b'"count":1,"count":2'),
        GOOD.replace(b'"count":1', b'"count":1,"other":2'),
        GOOD.replace(b'"count":1', b'"count":18446744073709551616'),
        GOOD.replace(b'"count":1', b'"count":-9223372036854775809'),
        GOOD.replace(b'"count":1', b'"count":"1"'),
        GOOD.replace(b'"share":0.5', b'"share":18446744073709551616'),
        GOOD.replace(b'"share":0.5', b'"share":-9223372036854775809'),
        GOOD.replace(b'"share":0.5', b'"share":NaN'),
        GOOD.replace(b'"share":0.5', b'"share":1e999'),
        GOOD.replace(b'"limit":3', b'"limit":99999999999999999999'),
        GOOD.replace(b"}}", b'},"continues":true}'),
        GOOD.replace(b"}}", b'},"error":"org.example.A"}'),
        b'{"parameters":null}\0',
        b'{"parameters":{},"parameters":' + GOOD[14:],
    ],
)
def test_what_is_odd_is_left_to_the_long_way(received):
    assert reader(Flat, "")(received) is NotImplemented


def test_a_key_twice_does_not_stand_for_one_that_may_be_left_out():
    read = reader(WithDefaults, "")
    assert read(b'{"parameters":{"name":"a","size":1,"tags":[],"tags":[]}}\0') is NotImplemented
    assert read(b'{"parameters":{"name":"a","size":1,"tags":[],"other":""}}\0') is NotImplemented
    assert read(b'{"parameters":{"name":"a"}}\0') is NotImplemented


@pytest.mark.parametrize("kind", [dict[str, int], list[int], list[Inner], Inner | None, int | str, object])
def test_types_whose_keys_cannot_be_counted_are_never_read(kind):
    assert reader(kind, "result")(frame({"result": 1})) is NotImplemented


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    [":", '":', "size", "\0"]
)
VALUES = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | TEXT | st.lists(TEXT, max_size=2)
)
PIECES = st.sampled_from(
    [b'"', b":", b'":', b",", b"{", b"}", b"\\", b"\0", b" ", b'"size":1,', b'"name":"b",', b"1", b"null"]
)


@given(st.data())
def test_whatever_comes_both_ways_agree(data):
    kind = data.draw(st.sampled_from(list(FIELDS)))
    fields = dict(FIELDS[kind])
    for name in data.draw(st.lists(st.sampled_from([*fields, "size"]), max_size=3)):
        fields[name] = data.draw(VALUES)
    received = json.dumps({"parameters": fields}, ensure_ascii=data.draw(st.booleans())).encode() + b"\0"
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(received)))
        received = received[:at] + data.draw(PIECES) + received[at + data.draw(st.integers(0, 2)) :]
    value = reader(kind, "")(received)
    if value is not NotImplemented:
        assert value == the_long_way(kind, received)
