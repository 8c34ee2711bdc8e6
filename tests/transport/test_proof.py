"""The proof that a TCP connection begins with: what is said, cut everywhere, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.transport import proof

TOKEN = "t0ken-" * 8
CLIENTS, SERVERS = "c" * 32, "5" * 32


def served():
    return proof.Served(TOKEN, "5" * 32)


def fed(exchange, data, most=10_000):
    """Give the server's side `data` in pieces; return what it says, and what it left."""
    said = b""
    while data and exchange.wants_bytes:
        size = min(most, exchange.wants_bytes)
        said += exchange.receive(data[:size])
        data = data[size:]
    return said, data


@pytest.mark.parametrize("most", [1, 2, 3, 7, 10_000])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_token_is_taken_and_nothing_behind_it_is(most, end):
    exchange = served()
    said, left = fed(exchange, b"TOKEN " + TOKEN.encode() + end + b"STATUS\n", most)
    assert (said, left) == (proof.OK_LINE, b"STATUS\n")
    assert exchange.done
    assert exchange.refused is None


@pytest.mark.parametrize("most", [1, 5, 10_000])
def test_both_sides_show_each_other_that_they_know_it(most):
    exchange = served()
    line, _ = fed(exchange, proof.hello(CLIENTS), most)
    assert not exchange.done
    answer = proof.answer_to(line, TOKEN, CLIENTS)
    said, left = fed(exchange, answer + b'{"method":"x"}\0', most)
    assert (said, left) == (proof.OK_LINE, b'{"method":"x"}\0')
    assert exchange.done
    assert TOKEN.encode() not in proof.hello(CLIENTS) + line + answer


def test_a_server_that_does_not_know_it_learns_nothing():
    """Who sits at the port in the daemon's stead gets one nonce."""
    squatter = proof.Served("another token, as long as it must be", SERVERS)
    line, _ = fed(squatter, proof.hello(CLIENTS))
    assert proof.answer_to(line, TOKEN, CLIENTS) is None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"OK\n",
        b"ERR: Permission denied\n",
        b"PROOF\n",
        b"PROOF " + b"5" * 32 + b"\n",
        b"PROOF " + b"5" * 32 + b" \xff" + b"0" * 63 + b"\n",
        b"PROOF " + b"Z" * 32 + b" " + b"0" * 64 + b"\n",
    ],
)
def test_what_is_no_proof_of_a_server_is_taken_for_none(line):
    assert proof.answer_to(line, TOKEN, CLIENTS) is None


def test_a_client_is_not_answered_with_its_own_words():
    """A server that sends the client's nonce back would have its MAC made by the client, in another try."""
    line = f"PROOF {CLIENTS} {proof.mac(TOKEN, 'server', CLIENTS, CLIENTS)}\n".encode()
    assert proof.answer_to(line, TOKEN, CLIENTS) is None


def test_one_role_cannot_speak_for_the_other():
    exchange = served()
    line, _ = fed(exchange, proof.hello(CLIENTS))
    fed(exchange, b"PROOF " + line.split()[2] + b"\n")
    assert exchange.wrong
    assert not exchange.done


WRONG = {
    "another token": b"TOKEN " + b"x" * len(TOKEN) + b"\n",
    "half of it": b"TOKEN " + TOKEN[:20].encode() + b"\n",
    "no token": b"TOKEN \n",
    "more than it": b"TOKEN " + TOKEN.encode() + b"x\n",
    "not even text": b"TOKEN " + b"\xff" * len(TOKEN) + b"\n",
    "a bad nonce": b"PROVE " + b"G" * 32 + b"\n",
    "a short nonce": b"PROVE ab\n",
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refused_as_wrong(data):
    exchange = served()
    said, _ = fed(exchange, data, 1)
    assert said == f"ERR: {proof.WRONG}\n".encode()
    assert exchange.wrong
    assert exchange.wants_bytes == 0


@pytest.mark.parametrize(
    "data", [b"STATUS\n", b'{"method":"x"}\0', b"PROOF x\n", b"GET / HTTP/1.1\r\n", b"token x\n"]
)
def test_who_offers_no_proof_is_told_that_one_is_wanted(data):
    exchange = served()
    said, _ = fed(exchange, data)
    assert said == f"ERR: {proof.PROOF_WANTED}\n".encode()
    assert not exchange.wrong


def test_a_token_does_not_follow_a_nonce():
    exchange = served()
    fed(exchange, proof.hello(CLIENTS))
    fed(exchange, b"TOKEN " + TOKEN.encode() + b"\n")
    assert not exchange.done
    assert exchange.refused


@given(st.binary(max_size=300), st.integers(1, 50))
def test_no_bytes_but_the_token_open_it(data, most):
    exchange = served()
    fed(exchange, data, most)
    assert not exchange.done
