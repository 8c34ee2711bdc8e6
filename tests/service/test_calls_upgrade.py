"""Upgrades: behind one reply the connection is another protocol's, with all that came early."""

import asyncio
import json
import socket
import threading

import pytest

from daemonry import AsyncClient, Context, Interface, errors, method
from daemonry.service.interface.handler import Upgrade
from daemonry.testing import wait_until

NAME = "org.example.tunnel"


class Tunnel(Interface, name=NAME):
    """Turns a connection into an echo."""

    def __init__(self):
        self.ended = threading.Event()
        self.early = b""

    def shout(self, times: int = 1) -> Upgrade[int]:
        """Answer in capitals, from a thread."""

        def speak(sock, early):
            self.early = early
            data = early or sock.recv(1000)
            while data:
                sock.sendall(data.upper() * times)
                data = sock.recv(1000)
            self.ended.set()

        return Upgrade(times, speak)

    async def whisper(self, context: Context) -> Upgrade[None]:
        """Answer in small letters, on the loop."""
        await asyncio.sleep(0)

        async def speak(sock, early):
            loop = asyncio.get_running_loop()
            try:
                data = early or await loop.sock_recv(sock, 1000)
                while data:
                    await loop.sock_sendall(sock, data.lower())
                    data = await loop.sock_recv(sock, 1000)
            finally:
                self.ended.set()

        return Upgrade(None, speak)

    async def first_word_is_ours(self) -> Upgrade[str]:
        async def speak(sock, early):
            await asyncio.get_running_loop().sock_sendall(sock, b"welcome")

        return Upgrade("hello", speak)

    def forgets(self) -> Upgrade[int]:
        return 7  # type: ignore[return-value]

    @method(blocking=True)
    def fails(self) -> Upgrade[int]:
        raise errors.PermissionDenied("org.varlink.service.PermissionDenied")

    def plain(self) -> int:
        return 1


def frame(name, **flags):
    return json.dumps({"method": f"{NAME}.{name}", **flags}).encode() + b"\0"


@pytest.fixture
def tunnel(serving):
    tunnel = Tunnel()
    tunnel.serving = serving(tunnel)
    tunnel.endpoint = tunnel.serving.endpoint
    return tunnel


def raw(endpoint):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(10)
    sock.connect(endpoint.removeprefix("unix:"))
    return sock


def receive(sock, ends):
    found = b""
    while not found.endswith(ends):
        data = sock.recv(1000)
        assert data, found
        found += data
    return found


@pytest.mark.parametrize(
    ("name", "sent", "back"), [("Shout", b"Hello", b"HELLO"), ("Whisper", b"Hello", b"hello")]
)
def test_bytes_behind_the_upgrade_call_are_the_other_protocols(tunnel, name, sent, back):
    """They look like anything, and may have come with the call: none is read as a frame (FAULTS 36)."""
    with raw(tunnel.endpoint) as sock:
        sock.sendall(frame("Plain") + frame(name, upgrade=True) + sent)
        found = receive(sock, back)
        assert json.loads(found.partition(b"\0")[0]) == {"parameters": {"result": 1}}
        sock.sendall(b"\0 More {")
        receive(sock, b"\0 MORE {" if name == "Shout" else b"\0 more {")
    assert tunnel.ended.wait(10)


def test_the_blocking_client_has_the_stream_with_what_came_early(tunnel):
    with tunnel.serving.client() as client:
        fields, stream = client.upgrade(f"{NAME}.FirstWordIsOurs")
        with stream:
            assert fields == {"result": "hello"}
            assert stream.read(3, timeout_s=10) == b"wel"
            assert stream.read(timeout_s=10) == b"come"
            assert stream.read(timeout_s=10) == b""
        assert client.closed


def test_a_proxy_gives_the_reply_and_the_stream(tunnel):
    with tunnel.serving.client() as client:
        times, stream = client.proxy(Tunnel).shout(2)
        with stream:
            assert times == 2
            stream.write(b"ab")
            assert stream.read(timeout_s=10) == b"ABAB"


def test_the_asyncio_client_has_the_socket(tunnel):
    async def talk():
        async with await AsyncClient.connect(tunnel.endpoint) as client:
            reply, sock, early = await client.proxy(Tunnel).whisper()
            with sock:
                assert (reply, early) == (None, b"")
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(sock, b"ABC")
                assert await loop.sock_recv(sock, 100) == b"abc"
            assert client.closed

    asyncio.run(talk())


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("Plain", "org.daemonry.Control.NotUpgradable"),
        ("Nope", "org.varlink.service.MethodNotFound"),
        ("Forgets", "org.daemonry.Control.BadReply"),
        ("Fails", "org.varlink.service.PermissionDenied"),
    ],
)
def test_a_refused_upgrade_ends_the_connection(tunnel, name, error):
    """What comes behind the call may be the other protocol's, so it can be read as nothing."""
    with raw(tunnel.endpoint) as sock:
        sock.sendall(frame(name, upgrade=True) + b"EHLO\r\n")
        assert json.loads(receive(sock, b"\0")[:-1])["error"] == error
        assert sock.recv(100) == b""
    with tunnel.serving.client() as client:
        with pytest.raises(errors.CallFailed):
            client.upgrade(f"{NAME}.{name}")
        assert client.closed


def test_a_method_that_upgrades_insists_on_it(tunnel):
    with tunnel.serving.client() as client:
        with pytest.raises(errors.CallFailed, match="ExpectedUpgrade"):
            client.call(f"{NAME}.Shout")
        assert client.call(f"{NAME}.Plain") == {"result": 1}


def test_what_an_upgraded_connection_raises_is_logged_and_ends_it(serving_once, caplog):
    class Bad(Interface, name=NAME):
        def go(self) -> Upgrade[None]:
            def speak(sock, early):
                raise ZeroDivisionError

            return Upgrade(None, speak)

    serving = serving_once(Bad())
    with serving.client() as client:
        _, stream = client.upgrade(f"{NAME}.Go")
        with stream:
            assert stream.read(timeout_s=10) == b""
    wait_until(lambda: "ZeroDivisionError" in caplog.text)


@pytest.mark.parametrize("name", ["Shout", "Whisper"])
def test_a_server_that_ends_ends_its_upgraded_connections(tunnel, name):
    with raw(tunnel.endpoint) as sock:
        sock.sendall(frame(name, upgrade=True))
        receive(sock, b"\0")
        sock.sendall(b"x")
        receive(sock, b"X" if name == "Shout" else b"x")
        tunnel.serving.end()
        assert sock.recv(100) == b""
    assert tunnel.ended.wait(10)


def test_an_upgraded_connection_counts_until_it_ends(tunnel):
    def connections():
        return tunnel.serving.on_loop(lambda: tunnel.serving.server.connections)

    with raw(tunnel.endpoint) as sock:
        sock.sendall(frame("Shout", upgrade=True))
        receive(sock, b"\0")
        assert wait_until(lambda: connections() == 1)
    assert wait_until(lambda: connections() == 0)
