"""Streams and listeners behave the same over every kind of socket (V2-V4, M1, M2, M7).

One suite, run over each family; what is special about a family has a file of its own.
"""

import os
import select
import socket
import subprocess
import sys
import threading
import time

import pytest

import daemonry
from daemonry.errors import (
    AlreadyBound,
    ConnectError,
    ConnectionLost,
    ConnectionRefused,
    DeadlineExceeded,
    NotListening,
    SocketBindError,
)
from daemonry.transport.connect import connect, listen, try_connect
from daemonry.transport.endpoint import Endpoint

SOON_S = 0.02
PATIENT_S = 10.0
FAMILIES = ["unix", "long unix", "abstract", "tcp", "tcp6", "tcp name"]


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture(params=FAMILIES)
def somewhere(request, tmp_path, socket_path):
    """An endpoint of each family where nobody listens yet."""
    if request.param == "tcp6" and not has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    return {
        "unix": f"unix:{socket_path}",
        "long unix": f"unix:{deep}/x.sock",
        "abstract": f"unix:@{socket_path.name}",
        "tcp": "tcp:127.0.0.1:0",
        "tcp6": "tcp:[::1]:0",
        "tcp name": "tcp:localhost:0",
    }[request.param]


@pytest.fixture
def listener(somewhere):
    with listen(somewhere) as listener:
        yield listener


@pytest.fixture
def ends(listener):
    """Both ends of one connection: (client, server)."""
    with connect(listener.endpoint) as client:
        server, _ = listener.accept(PATIENT_S)
        with server:
            yield client, server


def read_all(stream):
    pieces = []
    while piece := stream.read(timeout_s=PATIENT_S):
        pieces.append(piece)
    return b"".join(pieces)


def write_on(stream):
    """Write until the peer is gone, which over TCP takes a second write."""
    while True:
        stream.write(b"x" * 1000, PATIENT_S)


def fill(stream, timeout_s=SOON_S):
    """Write more than any buffer holds; the peer, who does not read, takes no more at some point."""
    with pytest.raises(DeadlineExceeded) as full:
        stream.write(bytes(64 << 20), timeout_s=timeout_s)
    return full.value


# --- connecting and accepting -------------------------------------------------------------------


def test_a_listener_accepts_who_connects_and_says_who_it_is(listener):
    with connect(listener.endpoint, PATIENT_S) as client:
        server, peer = listener.accept(PATIENT_S)
        with server:
            client.write(b"ping")
            assert server.read(timeout_s=PATIENT_S) == b"ping"
            server.write(b"pong")
            assert client.read(timeout_s=PATIENT_S) == b"pong"
    assert peer == server.peer
    assert peer.startswith((f"unix:pid {os.getpid()} uid {os.geteuid()}", "tcp:"))
    assert client.peer == str(listener.endpoint)


def test_an_endpoint_may_be_given_as_text(listener):
    with connect(str(listener.endpoint), PATIENT_S) as client:
        assert client.peer == str(listener.endpoint)


def test_several_connections_are_served_side_by_side(listener):
    """Requirement M7."""
    clients = [connect(listener.endpoint, PATIENT_S) for _ in range(20)]
    servers = [listener.accept(PATIENT_S)[0] for _ in clients]
    for number, client in enumerate(clients):
        client.write(b"%d" % number)
    received = {server.read(timeout_s=PATIENT_S) for server in servers}
    assert received == {b"%d" % number for number in range(20)}
    for stream in (*clients, *servers):
        stream.close()


def test_a_client_that_connects_before_accept_is_not_lost(listener):
    with connect(listener.endpoint, PATIENT_S) as client:
        client.write(b"early")
        server, _ = listener.accept(PATIENT_S)
        with server:
            assert server.read(timeout_s=PATIENT_S) == b"early"


@pytest.mark.parametrize("timeout_s", [0.0, SOON_S])
def test_accept_ends_at_its_deadline(listener, timeout_s):
    """Every wait has an end, also the one of no length."""
    with pytest.raises(DeadlineExceeded) as late:
        listener.accept(timeout_s)
    assert (late.value.phase, late.value.ran, late.value.timeout_s) == ("accept", "no", timeout_s)


def test_accept_waits_for_who_comes_later(listener):
    def come():
        connect(listener.endpoint, PATIENT_S).close()

    comer = threading.Thread(target=come)
    waiting = select.poll()
    waiting.register(listener.fileno(), select.POLLIN)
    assert waiting.poll(0) == []
    comer.start()
    stream, _ = listener.accept(None)
    stream.close()
    comer.join()


def test_accept_socket_never_waits(listener):
    assert listener.accept_socket() is None
    with connect(listener.endpoint, PATIENT_S):
        select.select([listener], [], [], PATIENT_S)
        sock = listener.accept_socket()
        with pytest.raises(BlockingIOError):
            sock.recv(1, socket.MSG_DONTWAIT)
        sock.close()
    assert listener.accept_socket() is None


def test_connect_tells_that_nobody_listens_and_try_connect_returns_none(listener):
    """Requirement V4."""
    endpoint = listener.endpoint
    listener.close()
    with pytest.raises((NotListening, ConnectionRefused)):
        connect(endpoint, PATIENT_S)
    assert try_connect(endpoint, PATIENT_S) is None


def test_try_connect_returns_a_stream_to_whoever_listens(listener):
    with try_connect(listener.endpoint, PATIENT_S) as client:
        assert client is not None


def test_a_live_endpoint_is_not_taken(listener):
    """Fact F7: asyncio and Go would take it, and leave the first listener unreachable."""
    with pytest.raises(SocketBindError) as refused:
        listen(listener.endpoint)
    assert refused.value.cause
    with connect(listener.endpoint, PATIENT_S):
        listener.accept(PATIENT_S)[0].close()


def test_an_endpoint_is_free_again_when_its_listener_is_closed(listener):
    """Also right after a connection: TIME_WAIT must not keep a daemon from its own restart."""
    with connect(listener.endpoint, PATIENT_S) as client:
        server, _ = listener.accept(PATIENT_S)
        server.close()
        assert client.read(timeout_s=PATIENT_S) == b""
    listener.close()
    with listen(listener.endpoint) as second, connect(second.endpoint, PATIENT_S):
        second.accept(PATIENT_S)[0].close()


def test_a_listener_is_a_listener(listener):
    """The public name is a class, also where no type checker looks."""
    assert isinstance(listener, daemonry.Listener)


def test_closing_a_listener_twice_is_no_error(listener):
    assert not listener.closed
    assert listener.fileno() >= 0
    listener.close()
    listener.close()
    assert listener.closed
    assert listener.fileno() == -1


def test_the_descriptors_are_not_inherited(listener):
    """Fault 23: a child that kept one would keep the daemon's place taken after its death."""
    with connect(listener.endpoint, PATIENT_S) as client:
        server, _ = listener.accept(PATIENT_S)
        with server:
            for one in (listener, client, server):
                assert not os.get_inheritable(one.fileno())


def test_a_listener_serves_clients_of_other_processes(listener):
    script = """
import sys
from daemonry.transport.connect import connect
with connect(sys.argv[1]) as client:
    client.write(b"from afar")
    client.finish_writing()
    assert client.read(timeout_s=10) == b""
"""
    client = subprocess.Popen([sys.executable, "-c", script, str(listener.endpoint)])
    server, peer = listener.accept(PATIENT_S)
    with server:
        assert read_all(server) == b"from afar"
    assert client.wait(PATIENT_S) == 0
    assert str(client.pid) in peer or peer.startswith("tcp:")


# --- reading and writing ------------------------------------------------------------------------


def test_a_large_message_arrives_whole(ends):
    client, server = ends
    message = os.urandom(1 << 20)
    writer = threading.Thread(target=lambda: (client.write(message, PATIENT_S), client.finish_writing()))
    writer.start()
    assert read_all(server) == message
    writer.join()


def test_reading_takes_no_more_than_it_was_asked_for(ends):
    client, server = ends
    client.write(b"abcdef")
    assert server.read(2, timeout_s=PATIENT_S) == b"ab"
    assert server.read(2, timeout_s=PATIENT_S) == b"cd"
    assert server.read(timeout_s=PATIENT_S) == b"ef"


def test_writing_nothing_is_no_error(ends):
    client, server = ends
    client.write(b"")
    client.write(b"", timeout_s=0.0)
    client.write(b"x")
    assert server.read(timeout_s=PATIENT_S) == b"x"


@pytest.mark.parametrize("timeout_s", [0.0, SOON_S])
def test_reading_ends_at_its_deadline(ends, timeout_s):
    client, _ = ends
    with pytest.raises(DeadlineExceeded) as late:
        client.read(timeout_s=timeout_s)
    assert (late.value.phase, late.value.ran, late.value.subject) == ("read", "maybe", client.peer)


@pytest.mark.parametrize("before_s", [None, PATIENT_S, 1.5 * SOON_S, SOON_S / 2, 0.0])
def test_each_read_has_its_own_deadline_whatever_the_last_one_had(ends, before_s):
    """Neither sooner nor much later, though the system is told of a timeout only where it changes."""
    client, server = ends
    server.write(b"x")
    assert client.read(timeout_s=before_s if before_s != 0.0 else PATIENT_S) == b"x"
    if before_s == 0.0:
        with pytest.raises(DeadlineExceeded):
            client.read(timeout_s=0.0)
    began_s = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        client.read(timeout_s=SOON_S)
    assert SOON_S <= time.monotonic() - began_s < PATIENT_S / 2


def test_a_read_without_a_deadline_waits_also_after_one_with(ends):
    client, server = ends
    with pytest.raises(DeadlineExceeded):
        client.read(timeout_s=0.001)
    later = threading.Timer(10 * SOON_S, server.write, (b"late",))
    later.start()
    assert client.read() == b"late"
    later.join()


def test_a_timeout_beyond_what_the_system_can_hold_is_for_ever(ends):
    client, server = ends
    server.write(b"x")
    assert client.read(timeout_s=1e300) == b"x"


def test_reading_and_writing_again_and_again_asks_the_system_for_nothing_else(ends):
    """As a client does with what is left of each call's time."""

    class Counting:
        def __init__(self, sock):
            self.sock = sock
            self.calls = []

        def __getattr__(self, name):
            self.calls.append(name)
            return getattr(self.sock, name)

    client, server = ends
    counting = client.sock = Counting(client.sock)
    for n in range(20):
        client.write(b"ask", 30.0 - n / 1e6)
        assert server.read(timeout_s=PATIENT_S) == b"ask"
        server.write(b"answer")
        assert client.read(timeout_s=30.0 - n / 1e5) == b"answer"
    client.sock = counting.sock
    made = {name: counting.calls.count(name) for name in counting.calls}
    assert made.pop("gettimeout") == 20  # no system call
    assert made == {"send": 20, "recv": 20, "settimeout": 1, "setsockopt": 1}


@pytest.mark.parametrize("timeout_s", [0.0, SOON_S])
def test_writing_to_who_does_not_read_ends_at_its_deadline(ends, timeout_s):
    """Fault 8."""
    client, _ = ends
    late = fill(client, timeout_s)
    assert (late.phase, late.ran, late.timeout_s) == ("write", "maybe", timeout_s)


def test_a_full_stream_takes_more_once_its_peer_reads(ends):
    client, server = ends
    fill(client)
    came = []
    reader = threading.Thread(target=lambda: came.append(read_all(server)))
    reader.start()
    client.write(b"again", PATIENT_S)
    client.finish_writing()
    reader.join()
    assert came[0].endswith(b"again")


def test_half_a_connection_may_end_first(ends):
    """Fault 2: `nc -N` sends its line, ends its half, and waits for the answer."""
    client, server = ends
    client.write(b"question")
    client.finish_writing()
    assert read_all(server) == b"question"
    server.write(b"answer")
    server.close()
    assert read_all(client) == b"answer"


def test_the_end_can_be_read_again_and_again(ends):
    client, server = ends
    server.close()
    assert client.read(timeout_s=PATIENT_S) == b""
    assert client.read(timeout_s=PATIENT_S) == b""


def test_writing_to_who_has_gone_tells_that_it_may_have_run(ends):
    """Fact F14: end of file, EPIPE and ECONNRESET all mean that the peer died, and nobody knows when."""
    client, server = ends
    server.close()
    with pytest.raises(ConnectionLost) as lost:
        write_on(client)
    assert (lost.value.endpoint, lost.value.ran) == (client.peer, "maybe")
    assert isinstance(lost.value.__cause__, OSError)


def test_a_peer_that_left_bytes_unread_is_a_lost_connection(ends):
    client, server = ends
    client.write(b"never read")
    select.select([server], [], [], PATIENT_S)
    server.close()
    with pytest.raises(ConnectionLost) as lost:
        read_all(client)
    assert lost.value.ran == "maybe"


def test_ending_half_of_a_lost_connection_is_no_surprise(ends):
    """The one undocumented error of a socket that its peer reset: ENOTCONN from shutdown()."""
    client, server = ends
    client.write(b"never read")
    select.select([server], [], [], PATIENT_S)
    server.close()
    with pytest.raises(ConnectionLost):
        write_on(client)
    client.finish_writing()


def test_a_streams_socket_can_be_taken_out_of_it(ends):
    """For whoever goes on with the connection by other means: it is theirs to close then."""
    client, server = ends
    server.write(b"x")
    assert client.read(timeout_s=PATIENT_S) == b"x"
    sock = client.take_socket()
    assert client.fileno() == -1
    assert not any(sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16))  # no deadline of ours
    sock.settimeout(PATIENT_S)
    server.write(b"still there")
    assert sock.recv(100) == b"still there"
    sock.close()


def test_a_closed_stream_can_only_be_closed(ends):
    client, _ = ends
    client.close()
    client.close()
    assert client.fileno() == -1
    with pytest.raises(ConnectionLost):
        client.read(timeout_s=0.0)
    with pytest.raises(ConnectionLost):
        client.write(b"x", timeout_s=0.0)
    with pytest.raises(ConnectionLost):
        client.finish_writing()


def test_leaving_the_block_closes_also_after_an_error(somewhere):
    with pytest.raises(AlreadyBound), listen(somewhere) as listener, connect(listener.endpoint) as client:
        raise AlreadyBound("any error")
    assert listener.closed
    assert client.fileno() == -1


def test_errors_name_the_endpoint(somewhere):
    """Requirement M5: errors carry path and context."""
    with listen(somewhere) as listener:
        endpoint = listener.endpoint
    with pytest.raises(ConnectError) as refused:
        connect(endpoint)
    named = endpoint.address.removeprefix("@") if endpoint.kind == "unix" else str(endpoint)
    assert named in str(refused.value)
    assert refused.value.errno
    assert refused.value.__cause__ is not refused.value


def test_a_family_that_this_system_does_not_have_says_so():
    """Requirement M2: the other branch exists and explains itself."""
    for use in (connect, try_connect, listen):
        with pytest.raises(Exception, match="named pipes exist on Windows only: use unix:/path"):
            use("pipe:palingenesis")
    assert Endpoint.parse("pipe:palingenesis").kind == "pipe"
