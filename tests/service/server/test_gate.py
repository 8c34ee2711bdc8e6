"""A TCP endpoint with a token: who knows it is served, and nobody else is answered."""

import socket
import subprocess
import sys
import threading
import time

import pytest

from daemonry.errors import AccessDenied, ConnectError, SocketBindError, UnsafePath
from daemonry.limits import GATE_MOST
from daemonry.process import token_file
from daemonry.service.client import text as client
from daemonry.service.client.blocking import Client
from daemonry.service.server import gate
from daemonry.service.server.server import Server
from daemonry.testing import wait_until
from daemonry.transport import proof
from daemonry.transport.connect import connect
from daemonry.transport.endpoint import Endpoint

REFUSED = f"ERR: {proof.PROOF_WANTED}\n".encode()
WRONG = f"ERR: {proof.WRONG}\n".encode()


@pytest.fixture
def guarded(serve_text, tmp_path, monkeypatch):
    """A text server over TCP whose token is in `guarded.token`."""
    monkeypatch.delenv(token_file.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))  # no records that could tell the token
    server = serve_text(
        endpoint="tcp:127.0.0.1:0", token_path=str(tmp_path / "x.token"), first_byte_timeout_s=1.0
    )
    server.token = (tmp_path / "x.token").read_text().strip()
    server.bare = Endpoint.parse(server.endpoint).bare
    return server


def test_its_endpoint_tells_where_the_token_is(guarded, tmp_path):
    assert guarded.endpoint == f"{guarded.bare};token={tmp_path}/x.token"
    assert client.request(guarded.endpoint, "PING").message == "PONG"


def test_a_person_with_nc_sends_the_token_first(guarded):
    said = guarded.ask(f"TOKEN {guarded.token}\nPING\n".encode())
    assert said.startswith(b"OK\nPONG")


@pytest.mark.parametrize(
    "first", [b"STATUS\n", b"RELOAD\n", b"PING\n", b'{"method":"org.example.x.Y"}\0', b"GET /"]
)
def test_without_proof_nothing_is_answered(guarded, first):
    assert guarded.ask(first) == REFUSED
    assert guarded.state.reloads == 0


def test_a_client_without_the_token_is_denied_in_both_dialects(guarded):
    assert client.request(guarded.bare, "STATUS").message == proof.PROOF_WANTED
    with Client.connect(guarded.bare) as one, pytest.raises(AccessDenied, match="asks for its token"):
        one.call("org.varlink.service.GetInfo", timeout_s=10)


def test_the_token_may_be_told_by_a_variable(guarded, tmp_path, monkeypatch):
    monkeypatch.setenv(token_file.VARIABLE, f"{tmp_path}/x.token")
    assert client.request(guarded.bare, "PING").message == "PONG"


def test_a_client_with_another_token_learns_that_and_sends_nothing(guarded, tmp_path):
    """The daemon's MAC is not what that token makes: the client's own is never sent."""
    other = tmp_path / "other"
    token_file.make(str(other))
    with pytest.raises(AccessDenied, match="does not know the token"):
        connect(f"{guarded.bare};token={other}")
    assert guarded.server.fields() == {}


def test_a_file_that_others_can_read_is_refused_before_anything_is_sent(guarded, tmp_path):
    (tmp_path / "x.token").chmod(0o644)
    with pytest.raises(AccessDenied, match="open to others"):
        connect(guarded.endpoint)


def test_a_thousand_wrong_ones_are_counted_and_told_once_a_second(guarded, caplog, monkeypatch):
    """None keeps who knows the token waiting, and the log stays short."""
    monkeypatch.setattr(gate, "WRONG_TOKEN_DELAY_S", 0.01)
    began_s = time.monotonic()
    for _ in range(10):
        socks = [guarded.connect() for _ in range(100)]
        for sock in socks:
            sock.sendall(b"TOKEN " + b"x" * 64 + b"\n")
        assert client.request(guarded.endpoint, "PING").message == "PONG"
        for sock in socks:
            try:
                assert guarded.read_all(sock) in (WRONG, b"")  # the oldest had to make room
            except ConnectionResetError:
                pass
            sock.close()
    assert guarded.server.fields() == {"wrong_tokens": 1000}
    lines = [record for record in caplog.records if "wrong token" in record.message]
    assert 1 <= len(lines) <= time.monotonic() - began_s + 2


def test_a_wrong_one_is_answered_late(guarded, monkeypatch):
    monkeypatch.setattr(gate, "WRONG_TOKEN_DELAY_S", 3600.0)
    with guarded.connect() as sock:
        sock.sendall(b"TOKEN " + b"x" * 64 + b"\n")
        wait_until(lambda: guarded.server.fields() == {"wrong_tokens": 1})
        assert client.request(guarded.endpoint, "PING").message == "PONG"
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(100)


def test_a_wrong_one_is_answered_and_ended(guarded):
    assert guarded.ask(b"TOKEN " + b"x" * 64 + b"\nRELOAD\n") == WRONG
    assert guarded.state.reloads == 0


@pytest.mark.parametrize(
    "half", [b"T", b"TOKEN ", b"TOKEN abc", b"PROVE " + b"a" * 31, b"PROVE " + b"a" * 32 + b"\n"]
)
def test_half_a_proof_is_waited_for_as_long_as_any_and_no_longer(guarded, half):
    """All of it has one deadline: a byte now and then gains nothing."""
    with guarded.connect() as sock:
        sock.sendall(half)
        stop = threading.Event()

        def drip():
            while not stop.wait(0.05):
                try:
                    sock.sendall(b"a")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        if half == b"TOKEN ":
            dripping.start()
        try:
            said = guarded.read_all(sock)
        except ConnectionResetError:
            said = b""
        finally:
            stop.set()
            if dripping.ident:
                dripping.join()
    assert WRONG not in said or half == b"TOKEN "
    assert b"OK" not in said
    assert guarded.state.reloads == 0


def test_a_flood_that_proves_nothing_does_not_keep_out_who_can(serve_text, tmp_path):
    guarded = serve_text(
        endpoint="tcp:127.0.0.1:0", token_path=str(tmp_path / "x.token"), first_byte_timeout_s=3600.0
    )
    socks = [guarded.connect() for _ in range(GATE_MOST + 50)]
    try:
        assert client.request(guarded.endpoint, "PING").message == "PONG"
        for sock in socks[:50]:
            assert sock.recv(1) == b"", "the oldest went"
    finally:
        for sock in socks:
            sock.close()


def test_a_client_that_leaves_in_the_middle_is_forgotten(guarded):
    for data in (b"", b"TOK", b"PROVE " + b"a" * 32 + b"\n"):
        with guarded.connect() as sock:
            sock.sendall(data)
    assert client.request(guarded.endpoint, "PING").message == "PONG"
    wait_until(lambda: guarded.on_loop(lambda: guarded.server.connections) == 0)


def test_what_follows_the_proof_in_one_piece_is_read_by_who_answers_it(guarded):
    with guarded.connect() as sock:
        sock.sendall(f"TOKEN {guarded.token}\n".encode() + b"STATUS\n")
        assert guarded.read_all(sock).startswith(b"OK\n{")


def test_tcp_without_a_token_is_asked_for_by_name(caplog):
    server = Server("tcp:127.0.0.1:0")
    with pytest.raises(SocketBindError, match="say ;token=/path, or ;open"):
        server.bind()
    server = Server("tcp:127.0.0.1:0;open")
    server.bind()
    server.cleanup()
    assert "is open: whoever reaches it may do what its owner may" in caplog.text


def test_a_token_that_the_user_keeps_is_taken_and_left(tmp_path):
    path = tmp_path / "kept.token"
    token = token_file.make(str(path))
    server = Server(f"tcp:127.0.0.1:0;token={path}", token_path=str(tmp_path / "not made"))
    server.bind()
    server.cleanup()
    assert path.read_text().strip() == token
    assert not (tmp_path / "not made").exists()
    path.chmod(0o644)
    with pytest.raises(UnsafePath, match="chmod 600"):
        Server(f"tcp:127.0.0.1:0;token={path}").bind()


def test_a_token_that_was_made_goes_with_the_listener(tmp_path):
    server = Server("tcp:127.0.0.1:0", token_path=str(tmp_path / "x.token"))
    server.bind()
    first = (tmp_path / "x.token").read_text()
    server.cleanup()
    assert not (tmp_path / "x.token").exists()
    server.bind()
    assert (tmp_path / "x.token").read_text() != first
    server.cleanup()


def test_who_ends_the_connection_before_the_proof_is_tried_once_more_and_told(tmp_path):
    """A daemon that hands itself over ends it so; nothing was sent."""
    token = tmp_path / "t"
    token_file.make(str(token))
    came = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def slam():
            for _ in range(2):
                sock, _ = listener.accept()
                came.append(sock.recv(100))
                sock.close()

        thread = threading.Thread(target=slam)
        thread.start()
        with pytest.raises(ConnectError, match="ended the connection before the token was proved"):
            connect(f"tcp:127.0.0.1:{listener.getsockname()[1]};token={token}")
        thread.join()
    assert len(came) == 2


def test_who_listens_in_the_daemons_stead_is_denied(tmp_path):
    token = tmp_path / "t"
    secret = token_file.make(str(token))
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def squat():
            sock, _ = listener.accept()
            heard.append(sock.recv(100))
            sock.sendall(b"OK\n")
            heard.append(sock.recv(100))
            sock.close()

        thread = threading.Thread(target=squat)
        thread.start()
        with pytest.raises(AccessDenied, match="who listens there does not know the token"):
            connect(f"tcp:127.0.0.1:{listener.getsockname()[1]};token={token}")
        thread.join()
    assert secret.encode() not in b"".join(heard)


def test_the_quick_path_pays_nothing_for_it():
    code = (
        "import daemonry, sys; from daemonry.service.client import text as client\n"
        "try: client.request('unix:/nowhere', 'STATUS')\n"
        "except daemonry.errors.NotListening: pass\n"
        "print([name for name in sys.modules if name.rpartition('.')[2] in ('hmac', 'proof', 'token_file')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "[]\n"


def test_wrong_tokens_are_told_with_their_number(caplog, monkeypatch):
    now_s = [100.0]
    monkeypatch.setattr(gate.clock, "monotonic", lambda: now_s[0])
    wrong = gate.WrongTokens()
    for _ in range(5):
        wrong.add("192.0.2.1")
    now_s[0] += 1.5
    wrong.add("192.0.2.2")
    assert [record.message for record in caplog.records] == [
        "1 presented a wrong token, the last from 192.0.2.1",
        "5 presented a wrong token, the last from 192.0.2.2",
    ]
