"""The short way to read a reply: what it takes, the long way takes as well, with the same value."""

import enum
import json
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from daemonry.errors import RemoteProtocolError
from daemonry.native_calls import calls as native_calls
from daemonry.wire import fast_varlink, typed_reply
from daemonry.wire.typed_reply import call_reader, item_reader, item_run_reader, reader, run_reader


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


class Lists(msgspec.Struct):
    rows: list[Flat]
    counts: list[int]
    shares: list[float]
    nested: list[list[int]]
    tags: list[str] | None


class Maps(msgspec.Struct):
    size: dict[str, int]
    by_name: dict[str, Inner]
    deep: dict[str, list[Inner]]


FLAT = {"name": "a", "count": 1, "share": 0.5, "on": True, "note": None, "limit": 3}
FIELDS = {
    Lists: {"rows": [FLAT, FLAT], "counts": [1, 2], "shares": [0.5], "nested": [[1], []], "tags": ["x"]},
    Maps: {"size": {"a": 1, "b": 2}, "by_name": {"c": {"count": 3}}, "deep": {"d": [{"count": 4}], "e": []}},
    Flat: FLAT,
    WithDefaults: {"name": "a", "size": 2, "tags": ["x", "y"], "mood": "bad"},
    Outer: {"inner": {"count": 5}, "name": "a"},
    Renamed: {"from": "here"},
}


def frame(fields):
    return json.dumps({"parameters": fields}, separators=(",", ":")).encode() + b"\0"


def the_long_way(kind, received, field="", *, continues=False):
    """What the codec and a conversion make of a reply; NotImplemented where they refuse it."""
    try:
        reply = fast_varlink.decode_reply(received.removesuffix(b"\0"))
        if reply.error is not None or reply.continues is not continues:
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


@pytest.mark.parametrize("value", [5, -1, "text", "12:30", True, 0.5, 2**63 - 1], ids=repr)
def test_so_does_a_single_value(value):
    assert reader(type(value), "result")(frame({"result": value})) == value


@pytest.mark.parametrize("value", [2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1], ids=repr)
@pytest.mark.parametrize("kind", [int, list[int]], ids=repr)
def test_the_codec_judges_integers_beyond_those_that_are_sent(kind, value):
    received = frame({"result": value if kind is int else [1, value]})
    assert reader(kind, "result")(received) is NotImplemented
    call = b'{"method":"a.b","parameters":{"n":%b}}\0' % received[len(b'{"parameters":{"result":') : -3]
    assert call_reader(msgspec.defstruct("One", [("n", kind)]))(call) is NotImplemented


def test_calls_are_read_with_the_names_and_the_defaults_of_their_parameters():
    fields = [("from_", list[int], msgspec.field(name="from")), ("most", int, 7), ("on", bool, True)]
    read = call_reader(msgspec.defstruct("Some", fields, forbid_unknown_fields=True))
    value = read(b'{"method":"a.b","parameters":{"from":[1,-2],"on":false}}\0')
    assert (value.from_, value.most, value.on) == ([1, -2], 7, False)


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
    assert_left(reader(Flat, "")(received), Flat, "", received)


def assert_left(value, kind, field, received):
    """The native part reads some of it, too: as the long way does."""
    if native_calls is None or value is NotImplemented:
        assert value is NotImplemented
    else:
        fields = fast_varlink.decode_reply(received[:-1]).parameters
        assert value == msgspec.convert(fields[field] if field else fields, kind)


def test_a_key_twice_does_not_stand_for_one_that_may_be_left_out():
    read = reader(WithDefaults, "")
    assert read(b'{"parameters":{"name":"a","size":1,"tags":[],"tags":[]}}\0') is NotImplemented
    assert read(b'{"parameters":{"name":"a","size":1,"tags":[],"other":""}}\0') is NotImplemented
    assert read(b'{"parameters":{"name":"a"}}\0') == WithDefaults("a")


@pytest.mark.parametrize("name", ["method", "parameters", "continues"])
def test_a_key_of_the_message_itself_does_not_stand_for_one_that_may_be_left_out(name):
    """Else a key twice would make up for it: `{"parameters":{"n":1,"n":2}}` has as many as one with it."""
    kind = msgspec.defstruct("Like", [("n", int), (name, int, 0)])
    reply = b'{"parameters":{"n":1,"n":2}%b}\0'
    assert reader(kind, "")(reply % b"") is NotImplemented
    assert item_reader(kind, "")(reply % b',"continues":true') is NotImplemented
    assert call_reader(kind)(b'{"method":"a.b","parameters":{"n":1,"n":2}}\0') is NotImplemented


ODD_ROWS = [
    b'{"count":1,"count":2}',
    b'{"count":1,"other":2}',
    b'{"count":18446744073709551616}',
    b'{"count":-9223372036854775809}',
    b'{"count":"1"}',
    b"{}",
]


@pytest.mark.parametrize("row", ODD_ROWS)
def test_what_is_odd_in_a_list_or_a_mapping_is_left_to_the_long_way(row):
    for kind, around in ((list[Inner], b'[{"count":5},%s]'), (dict[str, Inner], b'{"a":%s,"b":{"count":5}}')):
        read = reader(kind, "result")
        common = around % b'{"count":1}'
        assert read(b'{"parameters":{"result":%s}}\0' % common) is not NotImplemented
        received = b'{"parameters":{"result":%s}}\0' % (around % row)
        assert_left(read(received), kind, "result", received)


def test_a_key_of_a_mapping_that_stands_twice_is_left_to_the_long_way():
    assert reader(dict[str, int], "result")(b'{"parameters":{"result":{"a":1,"a":2}}}\0') is NotImplemented


@pytest.mark.parametrize("number", [-(2**63) - 1, 2**64, 10**400])
def test_an_integer_beyond_64_bits_in_a_list_is_left_to_the_long_way(number):
    for kind in (list[int], list[float], list[int | None]):
        received = b'{"parameters":{"result":[1,%d,3]}}\0' % number
        assert reader(kind, "result")(received) is NotImplemented


@pytest.mark.parametrize(
    "kind",
    [list[WithDefaults], dict[int, int], Inner | None, int | str, object, list[object], tuple[int, str]],
)
def test_types_whose_keys_cannot_be_counted_are_never_read(kind):
    assert reader(kind, "result")(frame({"result": 1})) is NotImplemented


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    [":", '":', "size", "\0"]
)
VALUES = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | TEXT | st.lists(TEXT, max_size=2)
)
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "name": VALUES,
        "count": VALUES,
        "share": VALUES,
        "on": VALUES,
        "note": VALUES,
        "limit": VALUES,
    },
)
PIECES = st.sampled_from(
    [b'"', b":", b'":', b",", b"{", b"}", b"\\", b"\0", b" ", b'"size":1,', b'"name":"b",', b"1", b"null"]
)


CONTINUES = st.sampled_from(
    [b',"continues":true', b',"continues":true', b',"continues":false', b', "continues": true']
)


@given(st.data())
def test_whatever_comes_both_ways_agree(data):
    kind = data.draw(st.sampled_from(list(FIELDS)))
    fields = dict(FIELDS[kind])
    for name in data.draw(st.lists(st.sampled_from([*fields, "size"]), max_size=3)):
        fields[name] = data.draw(VALUES | st.lists(VALUES, max_size=3) | st.lists(ROWS, max_size=3))
    received = json.dumps({"parameters": fields}, ensure_ascii=data.draw(st.booleans())).encode() + b"\0"
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(received)))
        received = received[:at] + data.draw(PIECES) + received[at + data.draw(st.integers(0, 2)) :]
    value = reader(kind, "")(received)
    if value is not NotImplemented:
        assert value == the_long_way(kind, received)
    received = received.replace(b"}\0", data.draw(CONTINUES) + b"}\0")
    value = item_reader(kind, "")(received)
    if value is not NotImplemented:
        assert value == the_long_way(kind, received, continues=True)


# --- many replies in one step -------------------------------------------------------------------------

COUNTED = [Flat, Outer, Renamed]


def one_by_one(kind, received, *, continues=False):
    """What the codec makes of each of the frames."""
    return [the_long_way(kind, one, continues=continues) for one in received.split(b"\0")[:-1]]


@pytest.mark.parametrize("kind", COUNTED, ids=lambda kind: kind.__name__)
def test_many_common_replies_are_read_in_one_step(kind):
    received = frame(FIELDS[kind]) * 5
    values = run_reader(kind, "")(received, 5)
    assert values == one_by_one(kind, received)
    assert {type(value) for value in values} == {kind}


def test_so_are_single_values_and_nothing():
    received = b"".join(frame({"result": n}) for n in range(5))
    assert run_reader(int, "result")(received, 5) == [0, 1, 2, 3, 4]
    assert run_reader(type(None), "")(b'{"parameters":{}}\0' * 3, 3) == [None] * 3
    assert run_reader(type(None), "")(b'{"parameters":{}}\0{"parameters":{"a":1}}\0', 2) is NotImplemented


class Enveloped(msgspec.Struct):
    parameters: int


@pytest.mark.parametrize(
    "kind", [WithDefaults, Maps, Lists, Enveloped, object], ids=lambda kind: kind.__name__
)
def test_types_that_may_have_fewer_keys_are_read_one_after_the_other(kind):
    assert run_reader(kind, "") is None


INNER = b'{"parameters":{"inner":{"count":5},"name":"a"}}\0'


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(INNER[:-1] + INNER + b"\0", id="two in one, and nothing"),
        pytest.param(INNER[:-1] + INNER + b" \0", id="two in one, and a blank"),
        pytest.param(INNER[:-2] + b"\0}" + INNER, id="cut before its end"),
        pytest.param(INNER[:15] + b"\0" + INNER[15:-1] + INNER, id="cut behind its beginning"),
        pytest.param(INNER[:1] + b"\0" + INNER[1:-1] + INNER, id="cut before its first key"),
        pytest.param(INNER.replace(b'"a"', b'"\0"'), id="cut in a text"),
        pytest.param(INNER.replace(b'"a"', b'"a","name":"b"'), id="a key twice"),
        pytest.param(
            INNER.replace(b'"a"', b'"a","name":"b"') + INNER.replace(b',"name":"a"', b""),
            id="a key twice, and not at all",
        ),
        pytest.param(INNER.replace(b'"a"', b'"a","x":') + INNER[:-1] + b"}}\0", id="one within the other"),
        pytest.param(INNER.replace(b'"a"', b'"\\u0000"'), id="NUL"),
        pytest.param(INNER.replace(b"5", b"9" * 20), id="a number of 20 digits"),
        pytest.param(b'{"error":"a.B","parameters":{}}\0', id="an error"),
        pytest.param(INNER[:-2] + b',"continues":true}\0', id="it continues"),
        pytest.param(INNER.replace(b"{", b"{ ", 1), id="blanks"),
        pytest.param(b"\0", id="nothing"),
    ],
)
def test_one_odd_reply_among_many_is_left_to_the_long_way(odd):
    read = run_reader(Outer, "")
    for received in (odd + INNER * 3, INNER * 3 + odd, INNER + odd + INNER):
        assert read(received, received.count(b"\0")) is NotImplemented


ITEM = INNER[:-2] + b',"continues":true}\0'


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(INNER, id="the last one"),
        pytest.param(ITEM.replace(b"true", b"false"), id="the last one, in other words"),
        pytest.param(ITEM.replace(b"true", b"1"), id="continues is a number"),
        pytest.param(ITEM.replace(b"true", b'true,"continues":true'), id="continues twice"),
        pytest.param(ITEM[:-1] + ITEM, id="two in one"),
        pytest.param(ITEM[:-1] + b" \0", id="a blank at its end"),
        pytest.param(ITEM.replace(b'"a"', b'"a","continues":true}\0"'), id="cut behind an end"),
        pytest.param(ITEM.replace(b'"a"', b'"a","name":"b"'), id="a key twice"),
        pytest.param(ITEM.replace(b"5", b"9" * 20), id="a number of 20 digits"),
        pytest.param(b'{"continues":true,' + INNER[1:], id="continues comes first"),
        pytest.param(b'{"error":"a.B","parameters":{}}\0', id="an error"),
    ],
)
def test_one_odd_item_among_many_is_left_to_the_long_way(odd):
    read = item_run_reader(Outer, "")
    assert read(ITEM * 4, 4) == [Outer(Inner(5), "a")] * 4
    for received in (odd + ITEM * 3, ITEM * 3 + odd, ITEM + odd + ITEM):
        assert read(received, received.count(b"\0")) is NotImplemented


class Continuing(msgspec.Struct):
    continues: bool


def test_items_whose_own_keys_are_those_around_them_are_read_one_after_the_other():
    assert item_run_reader(Continuing, "") is None
    assert run_reader(Continuing, "") is not None


CUTS = st.sampled_from([b"\0", b"\n", b"", b"}\0{", INNER, INNER[:-1], b'{"parameters":', b'"name":"b",'])


@given(st.data())
def test_whatever_comes_many_are_read_as_one_after_the_other(data):
    kind = data.draw(st.sampled_from(COUNTED))
    frames = []
    for _ in range(data.draw(st.integers(1, 4))):
        fields = dict(FIELDS[kind])
        for name in data.draw(st.lists(st.sampled_from(list(fields)), max_size=1)):
            fields[name] = data.draw(VALUES)
        frames.append(frame(fields))
    received = b"".join(frames)
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(received)))
        received = received[:at] + data.draw(PIECES | CUTS) + received[at + data.draw(st.integers(0, 2)) :]
    received += b"\0" if not received.endswith(b"\0") else b""
    values = run_reader(kind, "")(received, received.count(b"\0"))
    if values is not NotImplemented:
        assert values == one_by_one(kind, received)
    received = received.replace(b"}\0", b',"continues":true}\0')
    values = item_run_reader(kind, "")(received, received.count(b"\0"))
    if values is not NotImplemented:
        assert values == one_by_one(kind, received, continues=True)


class Given(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    name: str
    size: int = 1


CALL = b'{"method":"org.example.kit.Go","parameters":{"name":"a","size":2}}\0'


def test_a_common_call_goes_the_short_way():
    read = call_reader(Given)
    assert asdict(read(CALL)) == asdict(Given(name="a", size=2))
    assert asdict(read(CALL.replace(b',"size":2', b""))) == asdict(Given(name="a"))


@pytest.mark.parametrize(
    "received",
    [
        b"",
        CALL[:-1],
        CALL + CALL,
        CALL.replace(b"}}", b'},"more":true}'),
        CALL.replace(b"}}", b'},"more":false}'),
        CALL.replace(b'"size"', b'"name"'),
        CALL.replace(b'"size"', b'"other"'),
        CALL.replace(b'"size":2', b'"size":18446744073709551616'),
        CALL.replace(b'"a"', b'"\\u0000"'),
        CALL.replace(b'"name":"a",', b""),
    ],
)
def test_an_odd_call_is_left_to_the_long_way(received):
    assert call_reader(Given)(received) is NotImplemented


def test_calls_of_a_type_that_cannot_be_counted_are_never_read():
    class Anything(msgspec.Struct):
        value: object

    assert call_reader(Anything)(b'{"method":"a.b.C","parameters":{"value":1}}\0') is NotImplemented


class Long(msgspec.Struct):
    text: str
    counts: list[int]


PADDING = "x" * 5000


@pytest.mark.parametrize(
    "reply",
    [
        {"text": PADDING, "counts": [1, 2]},
        {"text": PADDING + ":", "counts": [1]},
        {"text": PADDING + '":', "counts": [1]},
        {"text": PADDING + "\\", "counts": []},
        {"text": PADDING + "\0", "counts": []},
        {"text": PADDING, "counts": [2**63 - 1, -(2**63)]},
        {"text": PADDING, "counts": [2**64 - 1]},
        {"text": PADDING, "counts": [2**64]},
        {"text": PADDING, "counts": [10**30]},
        {"text": PADDING + "9" * 40, "counts": [1]},
        {"text": PADDING, "counts": [1], "more": 1},
        {"text": PADDING},
    ],
)
def test_a_long_reply_is_taken_only_as_the_long_way_takes_it(reply):
    assert_never_more_than_the_long_way(json.dumps({"parameters": reply}).encode() + b"\0", Long)


@pytest.mark.parametrize(
    "frame",
    [
        b'{"parameters":{"text":"a","text":"%s","counts":[]}}\0',
        b'{"parameters":{"text":"%s","counts":[]}}\0{}\0',
        b'{"parameters":{"text":"%s","counts":[]}}',
        b'{"parameters":{"text":"%s\0","counts":[]}}\0',
    ],
)
def test_a_long_frame_that_is_no_reply_is_not_taken(frame):
    assert reader(Long, "")(frame % PADDING.encode()) is NotImplemented


def test_a_long_reply_takes_the_short_way():
    value = Long(PADDING + ", long: yes", [1, 2, 3])
    frame = b'{"parameters":' + msgspec.json.encode(value) + b"}\0"
    assert reader(Long, "")(frame) == value


def assert_never_more_than_the_long_way(frame, kind):
    read = reader(kind, "")(frame)
    if read is not NotImplemented:
        assert read == msgspec.convert(fast_varlink.decode_reply(frame[:-1]).parameters, kind)


class OneInteger(msgspec.Struct):
    result: int


class OneText(msgspec.Struct):
    result: str


# What may stand where a value is: right, of another type, cut, or more than one.
RAW = [
    b"1",
    b"-5",
    b"0",
    b"-0",
    b"01",
    b"1,2",
    b"",
    b"-",
    b"1-2",
    b"1.0",
    b"1e2",
    b" 1",
    b"9" * 19,
    b"9" * 20,
]
RAW += [b"9223372036854775807", b"-9223372036854775808", b"null", b"true", b'1,"result":2', b'1},"x":{"y":1']
RAW += [
    b'"a"',
    b'""',
    b'"a',
    b'b"',
    b'"',
    b'"a,b"',
    b'"a","b"',
    b'"\x01"',
    b'"\x7f"',
    b'"\xff"',
    b'"\xed\xa0\x80"',
]
RAW += [b'"\xc3\xa9"', b'"\\n"', b'"\\u0000"', b'"\0"', b'"a"b"', b'"a:b"', b'"{}"', b'"\n"', b'"result"']
USUAL = {OneInteger: [b"1", b"-5", b"12"], OneText: [b'"a"', b'""', b'"\xc3\xa9"']}


@given(st.data())
def test_whatever_comes_many_single_values_are_read_as_one_after_the_other(data):
    kind = data.draw(st.sampled_from([OneInteger, OneText]))
    continues = data.draw(st.booleans())
    after = b'},"continues":true}\0' if continues else b"}}\0"
    values = st.sampled_from(RAW) | st.sampled_from(USUAL[kind] * 20)
    received = b"".join(
        b'{"parameters":{"result":' + value + after
        for value in data.draw(st.lists(values, min_size=1, max_size=5))
    )
    for _ in range(data.draw(st.integers(0, 1))):
        at = data.draw(st.integers(0, len(received)))
        received = received[:at] + data.draw(PIECES | CUTS) + received[at + data.draw(st.integers(0, 2)) :]
    received += b"\0" if not received.endswith(b"\0") else b""
    make = item_run_reader if continues else run_reader
    found = make(int if kind is OneInteger else str, "result")(received, received.count(b"\0"))
    if found is not NotImplemented:
        assert found == [one.result for one in one_by_one(kind, received, continues=continues)]


@pytest.mark.parametrize(("kind", "single"), [(int, OneInteger), (str, OneText)])
@pytest.mark.parametrize("raw", RAW)
def test_one_odd_value_among_many_is_right_or_left_to_the_long_way(kind, single, raw):
    usual = USUAL[single][0]
    for raws in ([raw, usual, usual], [usual, raw], [usual, raw, usual], [raw], [raw, raw]):
        received = b"".join(b'{"parameters":{"result":' + one + b"}}\0" for one in raws)
        found = run_reader(kind, "result")(received, received.count(b"\0"))
        if found is not NotImplemented:
            assert found == [one.result for one in one_by_one(single, received)]


@pytest.mark.parametrize(("kind", "values"), [(int, [b"1", b"-20"]), (str, [b'"a b"', b'""', b'"\xc3\xa9"'])])
def test_usual_single_values_take_no_decoder_of_each(kind, values, monkeypatch):
    monkeypatch.setattr(typed_reply, "_read_run", lambda *_: lambda *_: pytest.fail("one after the other"))
    received = b"".join(b'{"parameters":{"result":' + one + b"}}\0" for one in values)
    assert run_reader(kind, "result")(received, len(values)) == [json.loads(one) for one in values]
