"""Dialects: what is told from the first bytes, and from how few of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.limits import MAX_COMMAND_BYTES
from daemonry.wire.dialect import HTTP, TEXT, VARLINK, detect

STREAMS = [
    (b"STATUS\n", TEXT),
    (b"status\r\n", TEXT),
    (b"PAUSE\n", TEXT),
    (b"PING\n", TEXT),
    (b"HELP\n", TEXT),
    (b"\n  STATUS\n", TEXT),
    (b"no such word\n", TEXT),
    (b"get / HTTP/1.1\r\n", TEXT),  # methods are case-sensitive (RFC 9110, 9.1)
    (b"GET\n", TEXT),
    (b"GETTING\n", TEXT),
    (b"\x16\x03\x01\x02\x00", TEXT),  # a TLS hello; the reader of commands refuses it
    (b"\xff\xfe", TEXT),
    (b'{"method":"a.b.C"}\0', VARLINK),
    (b' \r\n\t{"method":"a.b.C"}\0', VARLINK),
    (b"\0", VARLINK),
    (b"[]\0", VARLINK),
    (b'"text"\0', VARLINK),
    (b'\xef\xbb\xbf{"method":"a.b.C"}\0', VARLINK),
    (b"GET /status HTTP/1.1\r\n", HTTP),
    (b"\r\nGET / HTTP/1.0\r\n", HTTP),
    (b"HEAD / HTTP/1.1\r\n", HTTP),
    (b"POST /x HTTP/1.1\r\n", HTTP),
    (b"PUT /x HTTP/1.1\r\n", HTTP),
    (b"DELETE /x HTTP/1.1\r\n", HTTP),
    (b"CONNECT a:1 HTTP/1.1\r\n", HTTP),
    (b"OPTIONS * HTTP/1.1\r\n", HTTP),
    (b"TRACE / HTTP/1.1\r\n", HTTP),
    (b"PATCH / HTTP/1.1\r\n", HTTP),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP),
]


@pytest.mark.parametrize(("stream", "dialect"), STREAMS)
def test_a_whole_first_message_is_told(stream, dialect):
    assert detect(stream) == dialect


@pytest.mark.parametrize(("stream", "dialect"), STREAMS)
def test_no_beginning_is_told_otherwise(stream, dialect):
    """However a read was cut short, the connection goes to the same reader in the end."""
    beginnings = {detect(stream[:length]) for length in range(len(stream))}
    assert beginnings <= {None, dialect}


@pytest.mark.parametrize("head", [b"", b" ", b"\r\n", b"G", b"P", b"PA", b"PU", b"POST", b"H", b"HE", b"GET"])
def test_what_can_still_become_two_things_waits(head):
    assert detect(head) is None


@pytest.mark.parametrize(
    ("head", "dialect"), [(b"S", TEXT), (b"PAU", TEXT), (b"{", VARLINK), (b"GET ", HTTP)]
)
def test_the_first_bytes_that_can_be_told_apart_decide(head, dialect):
    """A client that sends one byte and waits holds up nobody but itself, and not for long."""
    assert detect(head) == dialect


@pytest.mark.parametrize("head", [b"", b" \n", b"GET", b"P"])
def test_undecided_at_the_end_of_the_stream_is_text(head):
    """A last line counts without its end there, and an empty stream is a client that said nothing."""
    assert detect(head, ended=True) == TEXT


def test_blanks_are_waited_behind_up_to_the_length_of_a_command():
    """A peer cannot be undecided for ever."""
    assert detect(b" " * (MAX_COMMAND_BYTES - 1)) is None
    assert detect(b" " * (MAX_COMMAND_BYTES - 1) + b"{") == VARLINK
    assert detect(b" " * MAX_COMMAND_BYTES) == TEXT
    assert detect(b" " * MAX_COMMAND_BYTES + b"{") == TEXT


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_more_bytes_never_change_the_answer(head, more):
    decided = detect(head)
    assert decided is None or detect(head + more) == decided
