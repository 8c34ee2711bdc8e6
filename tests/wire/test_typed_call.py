"""The writer of one method's calls against the codec that it must agree with."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.errors import NotSendable
from daemonry.wire import fast_varlink, varlink
from daemonry.wire.typed_call import call_writer
from daemonry.wire.varlink import METHOD_HEAD, PARAMETERS_HEAD, Call

NAME = "org.example.kit.Go"
HEAD = METHOD_HEAD + NAME.encode() + PARAMETERS_HEAD
PARAMETERS = [("name", str), ("count", int), ("share", float), ("on", bool), ("rest", list[int] | None)]


class Inner(msgspec.Struct):
    count: int


def by_codec(names, args):
    """What the codec makes of the arguments; "refused" where it takes none."""
    try:
        return fast_varlink.encode_call(Call(NAME, dict(zip(names, args, strict=True)))) + b"\0"
    except NotSendable:
        return "refused"


def test_arguments_of_the_declared_types_are_written():
    write = call_writer(HEAD, PARAMETERS)
    args = ('a: "b"\n', -3, 0.5, True, [1, 2])
    assert write(args) == by_codec([name for name, _ in PARAMETERS], args)
    assert msgspec.json.decode(write(args)[:-1])["parameters"]["name"] == args[0]


def test_names_are_written_as_they_are_sent():
    write = call_writer(HEAD, [("class", int), ("from", Any), ("é", Inner)])
    args = (1, {"x": [None]}, Inner(2))
    assert write(args) == by_codec(["class", "from", "é"], args)


ODD = [
    None,
    1,
    -1,
    2**62,
    2**63 - 1,
    2**63,
    -(2**63),
    2**64,
    1.0,
    1e300,
    float("nan"),
    1e-7,
    True,
    "",
    "\0",
    "\ud800",
    "a",
    [],
]


@given(st.lists(st.sampled_from(ODD), min_size=len(PARAMETERS), max_size=len(PARAMETERS)))
def test_whatever_is_given_is_written_as_by_the_codec_or_left_to_it(args):
    written = call_writer(HEAD, PARAMETERS)(tuple(args))
    assert written is None or written == by_codec([name for name, _ in PARAMETERS], args)


@pytest.mark.parametrize(
    "odd",
    [*ODD, msgspec.Raw(b"007"), msgspec.Raw(b"7")],
    ids=lambda odd: ascii(bytes(odd) if isinstance(odd, msgspec.Raw) else odd)[:30],
)
@pytest.mark.parametrize("length", [2, 200])
def test_a_list_of_integers_is_written_as_by_the_codec_or_left_to_it(odd, length):
    write = call_writer(HEAD, [("rest", list[int]), ("name", str)])
    for values in (list(range(length)), [*range(length), odd], tuple(range(length)), None):
        written = write((values, "a"))
        assert written is None or written == by_codec(["rest", "name"], (values, "a"))
    assert write((list(range(length)), "a")) is not None


@pytest.mark.parametrize("args", [(), (1,), (1, 2, 3)], ids=len)
def test_another_number_of_arguments_is_left_to_who_says_so(args):
    assert call_writer(HEAD, [("a", int), ("b", int)])(args) is None


def test_a_call_that_is_too_long_is_left_to_the_codec():
    write = call_writer(HEAD, [("text", str)])
    longest = varlink.MAX_FRAME_BYTES - len(HEAD) - len(b'{"text":""}}\0')
    assert len(write(("x" * longest,))) == varlink.MAX_FRAME_BYTES
    assert write(("x" * varlink.MAX_FRAME_BYTES,)) is None


def test_a_traced_call_is_left_to_the_codec(monkeypatch):
    write = call_writer(HEAD, [("n", int)])
    monkeypatch.setattr(varlink.tracing, "source", lambda: {"traceparent": "00-1"})
    assert write((1,)) is None
