"""The codec and the framing: what is sent, what is understood, what is refused, at what cost."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pickle
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import daemonry
from daemonry.errors import BadFrame, FrameTooLarge, LocalProtocolError, NotSendable
from daemonry.limits import MAX_JSON_DEPTH
from daemonry.wire import varlink
from daemonry.wire.framer import Framer
from daemonry.wire.varlink import (
    FLAGS,
    MAX_FRAME_BYTES,
    MAX_KNOWN_NAMES,
    MORE,
    ONEWAY,
    PLAIN,
    STANDARD_ERRORS,
    UPGRADE,
    Call,
    Reply,
    decode_call,
    decode_reply,
    encode_call,
    encode_name,
    encode_parameters,
    encode_reply,
    is_interface_name,
    is_member_name,
    split_name,
)

GET_INFO = "org.varlink.service.GetInfo"


def nested(levels, leaf="1"):
    return '{"a":' * levels + leaf + "}" * levels


def nested_value(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


# --- values -----------------------------------------------------------------------------------


def test_a_call_without_parameters_has_an_empty_object():
    assert Call(GET_INFO).parameters == {}
    assert Reply().parameters == {}


@pytest.mark.parametrize(
    ("flags", "mode"),
    [({}, PLAIN), ({"more": True}, MORE), ({"oneway": True}, ONEWAY), ({"upgrade": True}, UPGRADE)],
)
def test_a_calls_flags_are_its_mode(flags, mode):
    call = Call(GET_INFO, **flags)
    assert call.mode == mode
    assert [name for name in FLAGS if getattr(call, name)] == list(flags)


@pytest.mark.parametrize(
    "flags", [{"more", "oneway"}, {"more", "upgrade"}, {"oneway", "upgrade"}, set(FLAGS)]
)
def test_flags_that_promise_different_replies_exclude_each_other(flags):
    with pytest.raises(NotSendable, match="exclude each other"):
        Call(GET_INFO, **dict.fromkeys(flags, True))


def test_an_error_cannot_continue():
    with pytest.raises(NotSendable, match="cannot continue"):
        Reply({}, continues=True, error="org.example.Job.Busy")


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("org.example.jobs.start", ": write org.example.jobs.Start"),
        ("org.example.jobs.start_one", ": write org.example.jobs.StartOne"),
        ("jobs.start", " such as org.example.Job.Start"),
        ("org.example.jobs.", " such as org.example.Job.Start"),
        ("org.example.jobs.\x1b[2J", " such as org.example.Job.Start"),
        ("org.example.jobs." + "x" * 500, " such as org.example.Job.Start"),
    ],
)
def test_for_a_method_as_it_is_called_in_python_the_error_has_its_name(name, end):
    with pytest.raises(NotSendable) as refused:
        encode_name(name)
    assert str(refused.value).endswith(end)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300


def test_a_message_that_was_changed_is_checked_when_it_is_sent():
    call, reply = Call("a.b.C", more=True), Reply(error="a.b.C")
    call.oneway = reply.continues = True
    with pytest.raises(NotSendable, match="exclude each other"):
        encode_call(call)
    with pytest.raises(NotSendable, match="cannot continue"):
        encode_reply(reply)


def test_messages_compare_and_print_by_their_fields():
    assert Call("a.b.C", {"x": 1}) == Call("a.b.C", {"x": 1})
    assert Call("a.b.C", more=True) != Call("a.b.C")
    assert Call("a.b.C") not in ("a.b.C", Reply())
    assert repr(Reply({"x": 1})) == "Reply(parameters={'x': 1}, continues=False, error=None)"


@pytest.mark.parametrize("message", [Call("a.b.C", {"x": 1}, more=True), Reply({"x": 1}, error="a.b.C")])
def test_messages_survive_pickling(message):
    assert pickle.loads(pickle.dumps(message)) == message


def test_a_refusal_survives_pickling_with_its_reason():
    error = pickle.loads(pickle.dumps(NotSendable("too odd")))
    assert isinstance(error, LocalProtocolError)
    assert (str(error), error.reason) == ("cannot be sent: too odd", "too odd")


# --- names ------------------------------------------------------------------------------------

# The specification's own (Interface-Definition, BNF).
INTERFACE = re.compile(r"[A-Za-z]([-]*[A-Za-z0-9])*(\.[A-Za-z0-9]([-]*[A-Za-z0-9])*)+")
MEMBER = re.compile(r"[A-Z][A-Za-z0-9]*")
NAMES = st.text(alphabet="aZ09-._é\n", max_size=12)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (GET_INFO, ("org.varlink.service", "GetInfo")),
        ("GetInfo", ("", "GetInfo")),
        ("", ("", "")),
        ("a.", ("a", "")),
    ],
)
def test_a_name_is_split_at_its_last_point(name, parts):
    assert split_name(name) == parts


@given(NAMES)
@example("a.b")
@example("a..b")
@example("a.b--9")
@example("a.b-")
@example("9.b")
@example("a")
@example("")
def test_interface_names_are_those_of_the_specification(text):
    assert is_interface_name(text) == bool(INTERFACE.fullmatch(text))


@given(NAMES)
@example("GetInfo2")
@example("Get_Info")
@example("É")
@example("²")
def test_member_names_are_those_of_the_specification(text):
    assert is_member_name(text) == bool(MEMBER.fullmatch(text))


@pytest.mark.parametrize(
    "name",
    ["", "GetInfo", "service.GetInfo", "org.varlink.service.getInfo", "org.varlink.service.", "a.b.C\n"],
)
def test_a_name_that_is_not_fully_qualified_is_not_sent(name):
    with pytest.raises(NotSendable, match="fully-qualified"):
        encode_name(name)
    with pytest.raises(NotSendable, match="fully-qualified"):
        encode_call(Call(name))
    with pytest.raises(NotSendable, match="fully-qualified"):
        encode_reply(Reply(error=name))


def test_a_long_name_is_not_repeated_whole():
    with pytest.raises(NotSendable) as raised:
        encode_name("x" * 10_000)
    assert len(str(raised.value)) < 250


def test_names_found_right_are_remembered_within_bounds(monkeypatch):
    """A program that makes up names does not grow for ever."""
    known = {}
    monkeypatch.setattr(varlink, "_known_names", known)
    for number in range(MAX_KNOWN_NAMES + 5):
        assert encode_name(f"org.example.N{number}") == f"org.example.N{number}".encode()
        assert len(known) <= MAX_KNOWN_NAMES
    assert encode_name("org.example.N3") == b"org.example.N3"


def test_every_standard_error_is_a_name_that_can_be_sent():
    for name, parameter in STANDARD_ERRORS.items():
        fields = {} if parameter is None else {parameter: "x"}
        assert decode_reply(encode_reply(Reply(fields, error=name))) == Reply(fields, error=name)


# --- what is sent -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "frame"),
    [
        (Call("a.b.C"), b'{"method":"a.b.C","parameters":{}}'),
        (Call("a.b.C", {"x": 1}), b'{"method":"a.b.C","parameters":{"x":1}}'),
        (Call("a.b.C", more=True), b'{"method":"a.b.C","parameters":{},"more":true}'),
        (Call("a.b.C", oneway=True), b'{"method":"a.b.C","parameters":{},"oneway":true}'),
        (Call("a.b.C", upgrade=True), b'{"method":"a.b.C","parameters":{},"upgrade":true}'),
    ],
)
def test_a_call_is_sent_with_parameters_and_the_flag_that_is_true(call, frame):
    assert encode_call(call) == frame


@pytest.mark.parametrize(
    ("reply", "frame"),
    [
        (Reply(), b'{"parameters":{}}'),
        (Reply({"x": 1}, continues=True), b'{"parameters":{"x":1},"continues":true}'),
        (Reply({"x": 1}, error="a.b.C"), b'{"parameters":{"x":1},"error":"a.b.C"}'),
    ],
)
def test_a_reply_is_sent_with_parameters_and_what_it_needs(reply, frame):
    assert encode_reply(reply) == frame


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (2**63 - 1, "9223372036854775807"),
        (-(2**63) + 1, "-9223372036854775807"),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (1.5, "1.5"),
        (1e16, "1.0e+16"),
        (1e-7, "1.0e-07"),
        (-2.5e300, "-2.5e+300"),
        ("", '""'),
        ('"\\\n\x01', '"\\"\\\\\\n\\u0001"'),
        ("é\u2028😀", '"é\u2028😀"'),
        ([], "[]"),
        ((1, "a"), '[1,"a"]'),
        ({"b": {}, "a": [None]}, '{"b":{},"a":[null]}'),
    ],
)
def test_each_json_value_has_one_form(value, text):
    assert encode_parameters({"x": value}).decode() == f'{{"x":{text}}}'


class Text(str):
    __slots__ = ()


UNSENDABLE = [
    (math.nan, "finite"),
    (math.inf, "finite"),
    (-math.inf, "finite"),
    (2**63, r"an integer that is not from -\(2\*\*63 - 1\) to 2\*\*63 - 1$"),
    (-(2**63), "an integer that is not from"),
    ("\0", "NUL"),
    ("\ud800", "surrogate"),
    ({"\0": 1}, "NUL"),
    ({"\udc00": 1}, "surrogate"),
    ({1: 2}, "int"),
    (b"bytes", "bytes"),
    ({1}, "set"),
    (Text("x"), "Text"),  # whatever its __str__ does
    (nested_value(MAX_JSON_DEPTH - 1), "deeper"),
    (dict.fromkeys("ab", nested_value(MAX_JSON_DEPTH)), "deeper"),
]


@pytest.mark.parametrize(("value", "reason"), UNSENDABLE)
def test_what_peers_read_differently_is_not_sent(value, reason):
    with pytest.raises(NotSendable, match=reason):
        encode_parameters({"x": value})
    with pytest.raises(NotSendable, match=reason):
        encode_parameters({"x": [{"y": value}]})


@pytest.mark.parametrize("parameters", [[], "x", 1, True])
def test_parameters_are_an_object(parameters):
    with pytest.raises(NotSendable, match="not an object"):
        encode_reply(Reply(parameters))


def test_the_deepest_value_that_is_sent_is_also_accepted():
    frame = encode_reply(Reply({"x": nested_value(MAX_JSON_DEPTH - 2)}))
    assert decode_reply(frame) == Reply({"x": nested_value(MAX_JSON_DEPTH - 2)})


def test_a_value_that_contains_itself_is_refused():
    value = {}
    value["self"] = value
    with pytest.raises(NotSendable, match="deeper"):
        encode_parameters(value)


def test_without_the_c_encoder_strings_are_written_the_same(monkeypatch):
    monkeypatch.setitem(sys.modules, "_json", None)
    quote = varlink._find_quote()
    assert quote('"\n\x01é') == varlink._quote('"\n\x01é')


def test_parameters_that_are_not_there_are_sent_as_an_empty_object():
    assert encode_parameters(None) == b"{}"


# --- what is understood: VARLINK.md's probes ---------------------------------------------------

ACCEPTED_CALLS = [
    (b'{"method":"a.b.C","parameters":{}}', Call("a.b.C")),
    (b'{"method":"a.b.C"}', Call("a.b.C")),
    (b'{"method":"a.b.C","parameters":null}', Call("a.b.C")),
    (b' \t\r\n{ "method" : "a.b.C" , "parameters" : { "x" : 1 } }\r\n', Call("a.b.C", {"x": 1})),
    (b'{"parameters":{"x":[{}]},"method":"a.b.C"}', Call("a.b.C", {"x": [{}]})),
    (b'{"m\\u0065thod":"a.b.\\u0043"}', Call("a.b.C")),
    (b'{"method":"a.b.C","more":true}', Call("a.b.C", more=True)),
    (b'{"method":"a.b.C","oneway":true,"parameters":{"x":1}}', Call("a.b.C", {"x": 1}, oneway=True)),
    (b'{"method":"a.b.C","upgrade":true}', Call("a.b.C", upgrade=True)),
    (b'{"method":"a.b.C","more":false,"oneway":false,"upgrade":false}', Call("a.b.C")),
    (b'{"method":"a.b.C","more":true,"oneway":false}', Call("a.b.C", more=True)),
    (b'{"method":"a.b.C","org.example.trace":{"id":"x"}}', Call("a.b.C")),
    # No interface, no such name: an error for the service to answer, not a broken frame.
    (b'{"method":"GetInfo"}', Call("GetInfo")),
    (b'{"method":""}', Call("")),
    (b'{"method":"a.b.C","parameters":{"max":18446744073709551615}}', Call("a.b.C", {"max": 2**64 - 1})),
    (b'{"method":"a.b.C","parameters":{"min":-9223372036854775808}}', Call("a.b.C", {"min": -(2**63)})),
    (b'{"method":"a.b.C","parameters":{"x":"\\ud83d\\ude00\\u00e9\xc3\xa9"}}', Call("a.b.C", {"x": "😀éé"})),
    (b'{"method":"a.b.C","parameters":{"x":"\\\\u0000"}}', Call("a.b.C", {"x": "\\u0000"})),
    (
        b'{"method":"a.b.C","parameters":{"x":"a:b","y":"\\":","z":"{[:"}}',
        Call("a.b.C", {"x": "a:b", "y": '":', "z": "{[:"}),
    ),
]


@pytest.mark.parametrize(("frame", "call"), ACCEPTED_CALLS)
def test_what_any_peer_may_write_as_a_call_is_understood(frame, call):
    assert decode_call(frame) == call


REFUSED_ANYWHERE = [
    (b"", "not JSON"),
    (b"   ", "not JSON"),
    (b"garbage", "not JSON"),
    (b"[]", "not a JSON object"),
    (b'"text"', "not a JSON object"),
    (b"null", "not a JSON object"),
    (b'{"parameters":{}', "not JSON"),
    (b'{"parameters":{}}{}', "more than one"),
    (b'{"parameters":{}} x', "more than one"),
    (b'{"parameters":{}}\0', "more than one"),
    (b'\xef\xbb\xbf{"parameters":{}}', "not JSON"),
    (b'{"parameters":{"x":"\xff"}}', "UTF-8"),
    (b'{"parameters":{"x":"\xed\xa0\x80"}}', "UTF-8"),
    (b'{"parameters":{"x":"\xc0\x80"}}', "UTF-8"),
    (b'{"parameters":{"x":NaN}}', "NaN"),
    (b'{"parameters":{"x":-Infinity}}', "Infinity"),
    (b'{"parameters":{"x":1e999}}', "too large"),
    (b'{"parameters":{"x":18446744073709551616}}', "64 bits"),
    (b'{"parameters":{"x":-9223372036854775809}}', "64 bits"),
    (b'{"parameters":{"x":[' + b"9" * 5000 + b"]}}", "not JSON"),
    (b'{"parameters":{"x":01}}', "not JSON"),
    (b'{"parameters":{"x":1.}}', "not JSON"),
    (b'{"parameters":{"x":"\\ud800"}}', "surrogate"),
    (b'{"parameters":{"x":"\\udc00\\ud800"}}', "surrogate"),
    (b'{"parameters":{"x":["\\u0000"]}}', "NUL"),
    (b'{"parameters":{"\\u0000":1}}', "NUL"),
    (b'{"parameters":{"x":"\n"}}', "not JSON"),
    (b'{"parameters":{"x":"\\x41"}}', "not JSON"),
    (b'{"parameters":{"x":1,"x":1}}', "twice"),
    (b'{"parameters":{"x":1,"\\u0078":1}}', "twice"),
    (b'{"parameters":{"x":1,"y":{"z":1,"z":2}}}', "twice"),
    (b'{"parameters":{},"parameters":{}}', "twice"),
    (b'{"parameters":[]}', "not an object"),
    (b'{"parameters":"{}"}', "not an object"),
    (b'{"parameters":{},"surprise":1}', "'surprise'"),
    (b'{"parameters":{},"org.example.trace":1}', "vendor"),
    (b'{"parameters":{},"trace":{}}', "vendor"),
    (b'{"parameters":' + nested(MAX_JSON_DEPTH).encode() + b"}", "deeper"),
    (b"[" * 100_000, "deeper"),
]


@pytest.mark.parametrize(("frame", "reason"), REFUSED_ANYWHERE)
def test_what_peers_read_differently_is_refused(frame, reason):
    with pytest.raises(BadFrame, match=reason):
        decode_reply(frame)
    with pytest.raises(BadFrame):
        decode_call(frame)
    with pytest.raises(BadFrame, match=reason):
        decode_call(frame.replace(b'{"parameters"', b'{"method":"a.b.C","parameters"', 1))


REFUSED_CALLS = [
    (b"{}", '"method" is missing'),
    (b'{"method":null}', '"method" is missing'),
    (b'{"method":1}', '"method" is missing'),
    (b'{"method":"a.b.C","method":"a.b.D"}', "twice"),
    (b'{"method":"a.b.C","more":1}', '"more" is neither'),
    (b'{"method":"a.b.C","more":null}', '"more" is neither'),
    (b'{"method":"a.b.C","oneway":"true"}', '"oneway" is neither'),
    (b'{"method":"a.b.C","upgrade":{}}', '"upgrade" is neither'),
    (b'{"method":"a.b.C","more":true,"more":true}', "twice"),
    (b'{"method":"a.b.C","oneway":true,"more":true}', "exclude"),
    (b'{"method":"a.b.C","upgrade":true,"more":true}', "exclude"),
    (b'{"method":"a.b.C","oneway":true,"upgrade":true}', "exclude"),
    (b'{"method":"a.b.C","continues":true}', "'continues'"),
    (b'{"method":"a.b.C","error":"a.b.D"}', "'error'"),
]


@pytest.mark.parametrize(("frame", "reason"), REFUSED_CALLS)
def test_what_is_no_call_is_refused(frame, reason):
    with pytest.raises(BadFrame, match=reason):
        decode_call(frame)


ACCEPTED_REPLIES = [
    (b"{}", Reply()),
    (b'{"parameters":null}', Reply()),
    (b'{"continues":false}', Reply()),
    (b' {"parameters":{"x":1.5},"continues":true}\n', Reply({"x": 1.5}, continues=True)),
    (b'{"error":"a.b.C"}', Reply(error="a.b.C")),
    (b'{"error":"a.b.C","continues":false,"parameters":{"x":1}}', Reply({"x": 1}, error="a.b.C")),
    (b'{"error":"Odd"}', Reply(error="Odd")),
    (b'{"parameters":{},"org.example.trace":{}}', Reply()),
]


@pytest.mark.parametrize(("frame", "reply"), ACCEPTED_REPLIES)
def test_what_any_peer_may_write_as_a_reply_is_understood(frame, reply):
    assert decode_reply(frame) == reply


REFUSED_REPLIES = [
    (b'{"error":null}', '"error" is not a name'),
    (b'{"error":""}', '"error" is not a name'),
    (b'{"error":1}', '"error" is not a name'),
    (b'{"continues":null}', '"continues" is neither'),
    (b'{"continues":1}', '"continues" is neither'),
    (b'{"error":"a.b.C","continues":true}', "cannot continue"),
    (b'{"more":true}', "'more'"),
    (b'{"method":"a.b.C"}', "'method'"),
]


@pytest.mark.parametrize(("frame", "reason"), REFUSED_REPLIES)
def test_what_is_no_reply_is_refused(frame, reason):
    with pytest.raises(BadFrame, match=reason):
        decode_reply(frame)


def test_a_key_that_a_peer_made_up_is_repeated_short_and_plain():
    with pytest.raises(BadFrame) as raised:
        decode_reply(b'{"\\u001b[31m' + b"x" * 5000 + b'":1}')
    assert raised.value.reason.isascii()
    assert raised.value.reason.isprintable()
    assert len(raised.value.reason) < 200


NUMBERS = st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
STRINGS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | STRINGS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRINGS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(STRINGS, VALUES, max_size=4)


@given(OBJECTS, st.sampled_from([None, *FLAGS]))
def test_a_call_comes_back_as_it_was_sent(parameters, flag):
    call = Call("org.example.Job.Start", parameters, **({flag: True} if flag else {}))
    frame = encode_call(call)
    assert repr(decode_call(frame)) == repr(call)
    assert json.loads(frame)["parameters"] == parameters
    assert b"\0" not in frame


@given(OBJECTS, st.booleans())
def test_a_reply_comes_back_as_it_was_sent(parameters, continues):
    reply = Reply(parameters, continues=continues)
    assert repr(decode_reply(encode_reply(reply))) == repr(reply)


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_a_message_or_a_bad_frame(frame):
    for decode, kind in ((decode_call, Call), (decode_reply, Reply)):
        with contextlib.suppress(BadFrame):
            assert isinstance(decode(frame), kind)


@pytest.mark.parametrize("module", ["varlink", "connection", "dialect"])
def test_a_quick_command_can_afford_the_import(module):
    """Each of these modules would cost a command more than its call."""
    dear = {"re", "enum", "typing", "dataclasses", "json", "collections", "functools", "msgspec", "asyncio"}
    source = Path(daemonry.__file__).parents[1]
    script = (
        f"import sys; sys.path.insert(0, {str(source)!r}); import daemonry.wire.{module}; print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True
    )
    assert dear.isdisjoint(done.stdout.split())


# --- frames -----------------------------------------------------------------------------------


def take_all(framer):
    frames = []
    while (frame := framer.next_frame()) is not None:
        frames.append(frame)
    return frames


def test_one_read_that_is_one_frame_is_taken_whole():
    framer = Framer()
    framer.receive_data(b"{}\0")
    assert framer.next_frame() == b"{}"
    assert framer.next_frame() is None
    assert framer.buffered_bytes == 0


def test_an_empty_frame_is_not_none():
    framer = Framer()
    framer.receive_data(b"\0\0")
    assert take_all(framer) == [b"", b""]


@given(
    st.lists(st.binary(max_size=6), max_size=12), st.sampled_from(["fed", "taken after each", "in one step"])
)
def test_frames_do_not_depend_on_how_their_bytes_were_cut(pieces, way):
    """Whether they are asked for when all is fed, after every piece, or with every piece."""
    framer = Framer()
    frames = []
    for piece in pieces:
        if way == "in one step":
            first = framer.next_frame(piece)
            frames += [] if first is None else [first, *take_all(framer)]
        else:
            framer.receive_data(piece)
            frames += take_all(framer) if way == "taken after each" else []
    frames += take_all(framer)
    *expected, rest = b"".join(pieces).split(b"\0")
    assert frames == expected
    assert framer.buffered_bytes == len(rest)
    assert framer.take_rest() == rest
    assert (framer.buffered_bytes, framer.next_frame()) == (0, None)


@pytest.mark.parametrize("in_one_step", [True, False])
def test_frames_are_bytes_and_keep_their_value_when_the_feeder_reuses_its_buffer(in_one_step):
    """BufferedProtocol and recv_into hand over the same memory each time."""
    framer = Framer()
    memory = bytearray(6)
    frames = []
    for piece in (b"one\0tw", b"o\0", b"\0"):
        memory[: len(piece)] = piece
        view = memoryview(memory)[: len(piece)]
        if not in_one_step:
            framer.receive_data(view)
        frames += [framer.next_frame(view if in_one_step else b""), *take_all(framer)]
    assert frames == [b"one", b"two", b""]
    assert all(type(frame) is bytes for frame in frames)


@pytest.mark.parametrize("cut", range(1, 10))
def test_a_frame_may_be_as_long_as_the_limit(cut):
    framer = Framer(limit_bytes=8)
    framer.receive_data(b"12345678\0"[:cut])
    first = take_all(framer)
    framer.receive_data(b"12345678\0"[cut:])
    assert first + take_all(framer) == [b"12345678"]


@pytest.mark.parametrize(
    "stream", [b"123456789", b"123456789\0", b"ok\x00123456789", b"ok\x00123456789\0{}\0"]
)
@pytest.mark.parametrize("step", [1, 2, 100])
def test_a_frame_beyond_the_limit_is_refused_from_what_has_arrived(stream, step):
    """Frames in front of it are still taken; behind it there is no point to restart from."""
    framer = Framer(limit_bytes=8)
    frames = []

    def feed():
        for start in range(0, len(stream), step):
            framer.receive_data(stream[start : start + step])
            while (frame := framer.next_frame()) is not None:
                frames.append(frame)

    with pytest.raises(FrameTooLarge) as raised:
        feed()
    assert raised.value.limit_bytes == 8
    assert frames == ([b"ok"] if stream.startswith(b"ok") else [])
    framer.receive_data(b"{}\0")
    assert framer.buffered_bytes == 0
    with pytest.raises(FrameTooLarge):
        framer.next_frame()


def test_a_closed_framer_drops_what_is_fed():
    framer = Framer()
    framer.receive_data(b"begun")
    framer.close()
    framer.receive_data(b" and ended\0")
    framer.receive_data(bytearray(b"{}\0"))
    assert framer.next_frame(b"{}\0") is None
    assert (framer.buffered_bytes, framer.next_frame(), framer.take_rest()) == (0, None, b"")


def test_the_default_limit_is_that_of_systemd():
    framer = Framer()
    framer.receive_data(b"x" * MAX_FRAME_BYTES)
    assert framer.next_frame() is None
    framer.receive_data(b"x")
    with pytest.raises(FrameTooLarge):
        framer.next_frame()


LINEAR = [
    pytest.param([b"x"] * 50_000 + [b"\0"], None, id="one frame, byte by byte"),
    pytest.param([b"x\0y"] * 20_000, None, id="each piece ends one frame and begins another"),
    pytest.param([b"x", b"y\0" * 30_000 + b"z"] * 2, None, id="many frames in one piece"),
    pytest.param([b"x" * 40_000, *[b"\0y"] * 10_000], None, id="a long frame in front of short ones"),
    pytest.param([b"x\0" * 20_000, *[b"y\0"] * 30_000], 1, id="many frames ahead, taken one by one"),
]


@pytest.mark.parametrize(("pieces", "taken_after_each"), LINEAR)
def test_the_work_is_linear_in_the_bytes_whatever_their_cut(monkeypatch, pieces, taken_after_each):
    """Each byte is put together with others twice at most; asyncvarlink's buffer needs 4 s for 9 MB."""
    put_together = 0

    def counted(*parts):
        nonlocal put_together
        put_together += sum(map(len, parts))
        return b"".join(parts)

    monkeypatch.setattr("daemonry.wire.framer._joined", counted)
    framer = Framer()
    for piece in pieces:
        framer.receive_data(piece)
        if taken_after_each:
            framer.next_frame()
        else:
            take_all(framer)
    assert put_together <= 2 * sum(map(len, pieces))


def test_parts_of_a_long_frame_are_put_together_once():
    framer = Framer()
    parts = [bytes([65 + number]) * 10_000 for number in range(20)]
    for part in parts:
        framer.receive_data(part)
        assert framer.next_frame() is None
    assert [framer._buffer, *framer._parts] == parts
    assert all(held is part for held, part in zip(framer._parts, parts[1:], strict=True))
    assert framer.next_frame(b"\0") == b"".join(parts)
    assert framer.is_empty


def test_short_pieces_share_memory():
    framer = Framer()
    for _ in range(50_000):
        framer.receive_data(b"x")
    assert (len(framer._parts), framer.buffered_bytes) == (1, 50_000)


FAULTS = """
import resource
from daemonry.wire.framer import Framer

def fed():
    framer = Framer()
    text = b"x" * (1 << 20) + b"\\0"
    for at in range(0, len(text), 96 << 10):
        framer.receive_data(text[at : at + (96 << 10)])
        framer.answer_each(lambda frame: b"", 1, {})

for _ in range(3):
    fed()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    fed()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's malloc")
def test_the_memory_of_long_messages_is_kept_for_the_next_ones():
    """Without that each message of 1 MiB takes 500 page faults, longer than all else that is done for it."""
    environment = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    found = subprocess.run([sys.executable, "-c", FAULTS], env=environment, capture_output=True, check=True)
    assert int(found.stdout) < 100


def test_a_stream_that_never_pauses_holds_no_more_than_what_was_not_taken():
    """A begun frame is always there, so the buffer is never empty; it must be cut all the same."""
    framer = Framer()
    for _ in range(10_000):
        framer.receive_data(b"x\0y")
        assert framer.next_frame() is not None
        assert len(framer._buffer) < 20


@given(st.lists(st.binary(max_size=20)))
def test_arbitrary_bytes_raise_nothing_but_what_is_promised(pieces):
    framer = Framer(limit_bytes=10)
    for piece in pieces:
        framer.receive_data(piece)
        with contextlib.suppress(FrameTooLarge):
            assert all(len(frame) <= 10 for frame in take_all(framer))


@pytest.mark.parametrize("length", [1, 30, 3000])
@pytest.mark.parametrize("stops_at", [0, 1, 2, 70, 199])
def test_frames_are_taken_up_to_the_first_that_is_not_answered(length, stops_at):
    framer, seen = Framer(), []
    frames = [b"%03d" % n + b"x" * length + b"\0" for n in range(200)]

    def answer(frame):
        seen.append(frame)
        return b"%d" % len(seen) if len(seen) != stops_at + 1 else "other"

    framer.receive_data(b"".join(frames) + b"rest")
    replies, other = framer.answer_each(answer, 1 << 20, {})
    assert other == "other"
    assert replies == [b"%d" % n for n in range(1, stops_at + 1)]
    assert seen == frames[: stops_at + 1]
    assert framer.next_frame() + b"\0" == frames[stops_at]
    again = frames[stops_at + 1 :]
    assert framer.read_each(lambda frame: frame) == again
    assert framer.take_rest() == b"rest"


@pytest.mark.parametrize("most_bytes", [0, 1, 60, 150])
def test_no_frame_is_answered_beyond_the_bytes_of_replies(most_bytes):
    framer = Framer()
    framer.receive_data(b"abc\0" * 200)
    replies, other = framer.answer_each(lambda frame: b"x", most_bytes, {})
    assert (len(replies), other) == (most_bytes + 1, None)
    assert framer.buffered_bytes == (200 - len(replies)) * 4


@pytest.mark.parametrize("at", [0, 1, 3, 199])
def test_a_frame_beyond_the_limit_is_not_taken_among_short_ones(at):
    framer = Framer(limit_bytes=5)
    framer.receive_data(b"abcde\0" * at + b"abcdef\0" + b"abc\0" * 200)
    assert len(framer.answer_each(lambda frame: b"x", 1 << 20, {})[0]) == at
    with pytest.raises(FrameTooLarge):
        framer.next_frame()


def test_short_frames_are_answered_by_the_function_that_is_ready_for_them():
    framer, asked = Framer(), []
    long = b"x" * 600 + b"\0"  # not hashed to be looked up
    ready = {b"a\0": lambda: b"A", b"c\0": lambda: None, long: lambda: b"long"}

    def answer(frame):
        asked.append(frame)
        return b"asked"

    framer.receive_data(b"a\0b\0" + long + b"a\0c\0a\0")
    assert framer.answer_each(answer, 1 << 20, ready) == ([b"A", b"asked", b"asked", b"A"], None)
    assert asked == [b"b\0", long]
    assert framer.next_frame() == b"c"
