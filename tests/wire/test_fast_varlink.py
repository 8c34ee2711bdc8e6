"""The fast codec against the one that it must agree with, and where it must really be fast."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import math
import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daemonry.errors import BadFrame, NotSendable
from daemonry.limits import MAX_JSON_DEPTH
from daemonry.wire import fast_varlink, varlink
from daemonry.wire.fast_varlink import FAST_LEVELS, FastCall, FastReply
from daemonry.wire.varlink import FLAGS, Call, Reply


def outcome(decode, frame):
    """Return what became of a frame; `repr` tells 1 from 1.0 and from True."""
    try:
        return repr(decode(frame)).removeprefix("Fast")
    except BadFrame:
        return "refused"


def assert_agreed(frame):
    assert outcome(fast_varlink.decode_call, frame) == outcome(varlink.decode_call, frame)
    assert outcome(fast_varlink.decode_reply, frame) == outcome(varlink.decode_reply, frame)


# --- decoding ---------------------------------------------------------------------------------

BLANKS = st.sampled_from(["", "", "", " ", "\n", "\t", "\r\n  ", "\x0b", "\xa0"])
NUMBER_TEXTS = (
    *("0", "-0", "1", "-1", "01", "1.", ".5", "1.0", "-0.0", "1e5", "1E+5", "1e-7", "0.1", "-", "+1"),
    *("1e400", "-1e400", "1e-400", "9" * 5000, "1" * 400 + "e-390", "0." + "1" * 900, "NaN", "-Infinity"),
    *map(str, (2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1)),
)
STRING_TEXTS = (
    *('""', '"a"', '"a:b"', '" :"', '"x :"', '":"', r'"\":"', r'"\\"', r'"\\\":"', '"{["', '"]}"'),
    *('"é"', '"\x7f"', '"\ufeff"', '"\u2028"', '"\x00"', '"\t"', r'"\t"', r'"\/"', r'"\q"', '"open'),
    *(r'"\u0000"', r'"\\u0000"', r'"\u0061"', r'"\ud800"', r'"\udc00"', r'"\ud83d\ude00"', r'"\u12g4"'),
)
SCALARS = st.sampled_from([*NUMBER_TEXTS, *STRING_TEXTS, "true", "false", "null", "nul", ""])
KEYS = st.sampled_from(
    ['"a"', '"b"', r'"\u0061"', '"a:"', '" "', '""', r'"\u0000"', r'"\""', '"é"', "a", "1"]
)


def texts(keys, values):
    def join(left, parts, right, comma=","):
        return left + comma.join(parts) + right

    pair = st.builds(
        lambda *parts: "".join(parts), BLANKS, keys, BLANKS, st.just(":"), BLANKS, values, BLANKS
    )
    return st.builds(join, st.just("{"), st.lists(pair, max_size=4), st.just("}"))


DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: (
        texts(KEYS, inner) | st.lists(inner, max_size=3).map(lambda parts: "[" + ", ".join(parts) + "]")
    ),
    max_leaves=6,
)
HEADERS = st.sampled_from(
    ['"method"'] * 3
    + ['"parameters"'] * 3
    + ['"more"', '"oneway"', '"upgrade"', '"continues"', '"error"', r'"m\u0065thod"', '"x"', '"a.b"']
)
HEADER_VALUES = (
    st.sampled_from(
        ['"a.b.C"', '"C"', '""', "true", "true", "false", "null", "1", "{}", "[]", '{"a":1}', '{"a":"b:c"}']
    )
    | texts(KEYS, DOCUMENTS)
    | DOCUMENTS
)
FRAMES = st.builds(lambda *parts: "".join(parts), BLANKS, texts(HEADERS, HEADER_VALUES), BLANKS)


@pytest.mark.parametrize("text", [*NUMBER_TEXTS, *STRING_TEXTS, "true", "false", "null", "nul", "[]", "{}"])
def test_they_agree_about_every_value(text):
    """As a parameter, deep in one, as a key, and in place of each part of the header."""
    for frame in (
        f'{{"method":"a.b.C","parameters":{{"x":{text}}}}}',
        f'{{"method":"a.b.C","parameters":{{"x":[{{"y":{text}}}]}}}}',
        f'{{"method":"a.b.C","parameters":{{{text}:1}}}}',
        *(f'{{"{name}":{text}}}' for name in ("method", "parameters", "continues", "error", "x", "a.b")),
        *(f'{{"method":"a.b.C","{flag}":{text}}}' for flag in FLAGS),
    ):
        assert_agreed(frame.encode())


@given(FRAMES)
@example('{"method":"a.b.C","parameters":{"a":1},"parameters":null}')
@example('{"method":"a.b.C","parameters":{"a":1,"a" :1}}')
@example('{"method":"a.b.C","parameters":{"a":1,"a"\t:1}}')
@example('{"method":"a.b.C","parameters":{"a":1,"\\u0061":1}}')
@example('{"method":"a.b.C","more":true,"oneway":true}')
@example('{"method":"a.b.C","parameters":{"a":"\\u0000"}}')
@example('{"method":"a.b.C","parameters":{"a":"\\\\u0000"}}')
@example('{"error":"","continues":true}')
def test_both_codecs_take_the_same_frames_for_the_same(text):
    assert_agreed(text.encode())


@given(FRAMES, st.data())
def test_they_agree_about_damaged_frames(text, data):
    frame = bytearray(text.encode())
    at = data.draw(st.integers(0, len(frame)))
    frame[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    assert_agreed(bytes(frame))


@given(st.binary(max_size=60))
def test_they_agree_about_arbitrary_bytes(frame):
    assert_agreed(frame)


@pytest.mark.parametrize("levels", [*range(FAST_LEVELS + 3), MAX_JSON_DEPTH - 2, MAX_JSON_DEPTH - 1, 3000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_they_agree_about_depth(levels, opening, closing):
    """Deeper than its types go, the fast one leaves the frame to the other."""
    value = opening * levels + "1" + closing * levels
    assert_agreed(f'{{"method":"a.b.C","parameters":{{"x":{value}}}}}'.encode())


def test_they_agree_about_depth_that_stands_in_strings():
    assert_agreed(json.dumps({"parameters": {"x": "[" * 1000, "y": ["{", '"[']}}).encode())


@pytest.mark.parametrize(
    "frame",
    [
        b'{"method":"a.b.C","parameters":{}}',
        b'{"method":"a.b.C"}',
        b'{"method":"a.b.C","parameters":{"x":1,"y":"text"},"more":true}',
        b'{"parameters":{"at":"10:00:00","url":"unix:/x","note":"a: b"},"method":"a.b.C","oneway":true}',
        b'{"method":"a.b.C","parameters":{"rows":[{"a":1,"b":[]},{"a":2,"b":[{"c":"d:e"}]}]},"upgrade":true}',
        b'{"method":"a.b.C","parameters":{"x":"line\\n","y":"say \\"no:\\"","z":"C:\\\\", "u":"\\u00e9"}}',
        json.dumps({"method": "a.b.C", "parameters": {"x": ["a : b", {"y": 1}], "z": "q :"}}).encode(),
        json.dumps({"method": "a.b.C", "parameters": {"x": "q :", "y": "C:\\", "z": 1, "w": '"'}}).encode(),
        json.dumps({"method": "a.b.C", "parameters": {"x": ["a:b", {"y": 1}]}}, indent="\t").encode(),
    ],
)
def test_frames_with_nothing_odd_about_them_go_the_fast_way(monkeypatch, frame):
    expected = varlink.decode_call(frame)
    monkeypatch.setattr(varlink, "decode_call", None)
    assert fast_varlink.decode_call(frame) == expected


@pytest.mark.parametrize(
    "frame",
    [
        b"{}",
        b'{"parameters":{"x":1.5}}',
        b'{"parameters":{"x":"a:b"},"continues":true}',
        b'{"parameters":{"parameter":"x"},"error":"org.varlink.service.InvalidParameter"}',
    ],
)
def test_replies_with_nothing_odd_about_them_go_the_fast_way(monkeypatch, frame):
    expected = varlink.decode_reply(frame)
    monkeypatch.setattr(varlink, "decode_reply", None)
    assert fast_varlink.decode_reply(frame) == expected


# --- encoding ---------------------------------------------------------------------------------

NUMBERS = (
    st.integers(-(2**64), 2**64)
    | st.floats()
    | st.sampled_from([2**63 - 1, 2**63, -(2**63), 1e16, 1e-7, -1e-5, 1e-4])
)
STRINGS = st.text(max_size=4) | st.sampled_from(["\0", "\ud800", "\\u0000", "a\n", "\x1f", '"', "é😀"])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | STRINGS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(STRINGS | st.integers(0, 3), inner, max_size=3)
    ),
    max_leaves=6,
)


def encoded(codec, parameters):
    try:
        frame = codec.encode_reply(Reply(parameters))
    except NotSendable:
        return None
    assert b"\0" not in frame
    return frame


def pointed(digits):
    assert "." in digits
    return float(digits)


@given(st.dictionaries(STRINGS, VALUES, max_size=4))
@example({"x": math.nan})
@example({"x": 2**63})
@example({"x": -(2**63)})
@example({"x": [{"y": -math.inf}]})
@example({"x": {1: 2, "1": 3}})
@example({1: 2})
@example({"x": (1, 2.0)})
def test_both_codecs_send_the_same_values_and_refuse_the_same(parameters):
    fast = encoded(fast_varlink, parameters)
    other = encoded(varlink, parameters)
    assert (fast is None) == (other is None)
    if fast is not None:
        assert repr(json.loads(fast, parse_float=pointed)) == repr(json.loads(other, parse_float=pointed))
        assert varlink.decode_reply(fast) == varlink.decode_reply(other)


@given(
    STRINGS, st.sampled_from(["a.b.C", "a.b.c", "C", ""]), st.sampled_from([(), *((flag,) for flag in FLAGS)])
)
def test_calls_and_errors_are_the_same_bytes(text, name, flags):
    parameters = {"x": text.replace("\0", "").encode(errors="ignore").decode()}
    for kind, message in (
        ("encode_call", Call(name, parameters, **dict.fromkeys(flags, True))),
        ("encode_reply", Reply(parameters, error=name)),
        ("encode_reply", Reply(parameters, continues=True)),
    ):
        frames = []
        for codec in (fast_varlink, varlink):
            try:
                frames.append(getattr(codec, kind)(message))
            except NotSendable:
                frames.append(b"refused")
        assert frames[0] == frames[1]


@pytest.mark.parametrize("levels", [1, FAST_LEVELS + 5, MAX_JSON_DEPTH - 2, MAX_JSON_DEPTH - 1, 3000])
@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: (value,), lambda value: {"a": value}])
def test_both_send_the_same_depth(levels, wrap):
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    assert encoded(fast_varlink, {"x": value}) == encoded(varlink, {"x": value})


def test_a_value_that_contains_itself_is_refused():
    value: dict[str, Any] = {}
    value["self"] = value
    with pytest.raises(NotSendable):
        fast_varlink.encode_parameters(value)


class Colour(enum.Enum):
    RED = "red"


class Odd(enum.Enum):
    NOT_A_NUMBER = math.nan


class Point(msgspec.Struct):
    x: float
    colour: Colour
    data: bytes = b""
    rest: Any = None


class Pair(msgspec.Struct, array_like=True):
    left: int
    right: int


@dataclasses.dataclass
class Job:
    name: str
    at: dt.date


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (Point(1.5, Colour.RED, b"ab"), '{"x":1.5,"colour":"red","data":"YWI=","rest":null}'),
        (Point(1e300, Colour.RED), '{"x":1.0e+300,"colour":"red","data":"","rest":null}'),
        (Point(0.0, Colour.RED, rest=[Pair(1, 2)]), '{"x":0.0,"colour":"red","data":"","rest":[[1,2]]}'),
        (Job("a", dt.date(2025, 1, 2)), '{"name":"a","at":"2025-01-02"}'),
        ({"x": Colour.RED, "y": {1}, "z": bytearray(b"ab")}, '{"x":"red","y":[1],"z":"YWI="}'),
    ],
)
def test_what_msgspec_has_a_form_for_is_sent_as_well(parameters, text):
    assert fast_varlink.encode_parameters(parameters).decode() == text


@pytest.mark.parametrize(
    "parameters",
    [
        Point(math.nan, Colour.RED),
        Point(1.0, Colour.RED, rest=2**63),
        Point(1.0, Colour.RED, rest={"x": [math.inf]}),
        Point(1.0, Colour.RED, rest="\0"),
        Point(1.0, Colour.RED, rest="\ud800"),
        {"x": {2.5, math.nan}},
        {"x": Odd.NOT_A_NUMBER},
        {"x": object()},
        {"x": 2**70},
        Pair(1, 2),
        [],
        "x",
    ],
)
def test_no_form_lets_through_what_is_not_sent(parameters):
    with pytest.raises(NotSendable):
        fast_varlink.encode_parameters(parameters)


def test_common_values_go_the_fast_way(monkeypatch):
    monkeypatch.setattr(varlink, "encode_parameters", None)
    parameters = {
        "state": "running",
        "pid": 7,
        "up": 1.5,
        "paused": False,
        "on": [{"at": None, "x": (0.0, -2.5)}],
    }
    assert json.loads(fast_varlink.encode_parameters(parameters)) == json.loads(json.dumps(parameters))
    assert (
        fast_varlink.encode_parameters({"path": "C:\\u", "line": "\n"}) == b'{"path":"C:\\\\u","line":"\\n"}'
    )
    assert fast_varlink.encode_parameters(Point(1.0, Colour.RED)).startswith(b'{"x":1.0,')


def test_messages_of_both_codecs_are_equal():
    call = Call("org.example.Job.Start", {"x": [1, 2.5, {"y": None}]}, more=True)
    received = fast_varlink.decode_call(fast_varlink.encode_call(call))
    assert type(received) is FastCall
    assert received == call
    assert call == received
    assert (received.mode, received.more) == ("more", True)
    assert FastReply({"x": 1}) == Reply({"x": 1}) != FastReply()
    assert pickle.loads(pickle.dumps(received)) == call
    assert repr(FastReply({})) == "FastReply(parameters={}, continues=False, error=None)"


@pytest.mark.parametrize("codec", [fast_varlink, varlink])
def test_what_msgspec_makes_unchecked_is_checked_when_it_is_sent(codec):
    assert codec.encode_call(FastCall("a.b.C")) == b'{"method":"a.b.C","parameters":{}}'
    assert codec.encode_reply(FastReply()) == b'{"parameters":{}}'
    with pytest.raises(NotSendable, match="exclude each other"):
        codec.encode_call(FastCall("a.b.C", {}, more=True, oneway=True))
    with pytest.raises(NotSendable, match="cannot continue"):
        codec.encode_reply(FastReply({}, continues=True, error="a.b.C"))
    with pytest.raises(NotSendable, match="fully-qualified"):
        codec.encode_reply(FastReply({}, error=""))


class Small(enum.IntEnum):
    ONE = 1


ODD_ONES = [1, True, Small.ONE, 2**63 - 1, 1 - 2**63, -(2**63), 2**63, 1.5, "x", None, math.nan, object()]
ODD_ONES += [msgspec.Raw(b"7"), msgspec.Raw(b"007"), msgspec.Raw(b"7,")]


@pytest.mark.parametrize("odd", ODD_ONES)
@pytest.mark.parametrize("place", [0, 150, 200])
@pytest.mark.parametrize("least", [-100, 0, 2**62])
def test_a_long_list_of_integers_is_judged_as_a_short_one(odd, place, least):
    integers = list(range(least, least + 200))
    values = [*integers[:place], odd, *integers[place:]]

    def encoded(values):
        try:
            return json.loads(fast_varlink.encode_parameters({"values": values}))["values"]
        except NotSendable:
            return "refused"

    alone = encoded([odd])
    assert encoded(values) == (
        "refused" if alone == "refused" else [*values[:place], *alone, *values[place + 1 :]]
    )
