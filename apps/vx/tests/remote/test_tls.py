"""TLS with certificates of the test's own, each way in which two of them do not fit, and the words for it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("grpc", reason="gRPC is not installed: the extra vx[remote]")

from vx.remote.failed_connections import in_words
from vx.remote.failures import RemoteFailed
from vx.remote.server import Server
from vx.remote.settings import RemoteSettings


def asked(url: str, **settings: Any) -> str:
    """Return why a server is of no use; "" if it answers."""
    server = Server(url, RemoteSettings(cache=url, **{key: str(value) for key, value in settings.items()}))
    try:
        server.capabilities()
    except RemoteFailed as error:
        return error.reason
    finally:
        server.rpc.close()
    return ""


@contextlib.contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Have a server that answers each connection so; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    sock, _ = listening.accept()
                except OSError:
                    return
                with sock:
                    answer(sock)

        serving = threading.Thread(target=serve)
        serving.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        serving.join(10)


def test_a_server_is_trusted_by_its_authority_alone(authorities, tls_server) -> None:
    ours, stranger = authorities
    server = tls_server(ours.sign("server"))
    assert asked(server.url, tls_ca=ours.path) == ""
    for settings in ({}, {"tls_ca": stranger.path}):
        told = asked(server.url, **settings)
        assert told == (
            "UNAVAILABLE: its certificate is not trusted (unable to get local issuer certificate): "
            "tls-ca names whom to trust"
        )


def test_a_certificate_that_has_expired_is_called_so(authorities, tls_server) -> None:
    ours, _ = authorities
    server = tls_server(ours.sign("expired", days=-1))
    assert asked(server.url, tls_ca=ours.path) == "UNAVAILABLE: its certificate has expired"


def test_a_certificate_of_another_host_is_called_so(authorities, tls_server) -> None:
    ours, _ = authorities
    server = tls_server(ours.sign("elsewhere", host="other.example"))
    assert asked(server.url, tls_ca=ours.path) == "UNAVAILABLE: its certificate is for another host"


def test_a_server_that_wants_our_certificate_gets_it(authorities, tls_server) -> None:
    ours, stranger = authorities
    server = tls_server(ours.sign("server"), clients=ours)
    me, him = ours.sign("me", "me"), stranger.sign("him", "him")
    assert asked(server.url, tls_ca=ours.path, tls_certificate=me[0], tls_key=me[1]) == ""
    wanted = "it closes the connection: it may want another client certificate"
    assert wanted in asked(server.url, tls_ca=ours.path)
    assert wanted in asked(server.url, tls_ca=ours.path, tls_certificate=him[0], tls_key=him[1])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_of_openssl_that_wants_our_certificate_says_so_in_an_alert(authorities, version) -> None:
    """As a proxy before the cache does; gRPC tells the alert as spoiled data."""
    ours, _ = authorities
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*ours.sign("server"))
    context.load_verify_locations(ours.path)
    context.set_alpn_protocols(["h2"])
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = version

    def refuse(sock: socket.socket) -> None:
        sock.settimeout(10)
        with contextlib.suppress(OSError), context.wrap_socket(sock, server_side=True):
            pass

    with answering(refuse) as port:
        told = asked(f"grpcs://localhost:{port}", tls_ca=ours.path)
    assert "it may want another client certificate" in told


def test_a_file_that_is_not_a_certificate_is_called_so(authorities, tls_server, tmp_path: Path) -> None:
    ours, _ = authorities
    server = tls_server(ours.sign("server"))
    (tmp_path / "ca").write_text("hello\n")
    assert "tls-ca, tls-certificate or tls-key is not a PEM file" in asked(server.url, tls_ca=tmp_path / "ca")
    (_, key), (me, _) = ours.sign("other", "other"), ours.sign("me", "me")
    assert "the key is another's" in asked(server.url, tls_ca=ours.path, tls_certificate=me, tls_key=key)
    assert asked(server.url, tls_ca="/nowhere") == "/nowhere: No such file or directory"


def test_tls_on_one_side_only_names_the_other_scheme(authorities, tls_server, remote_server) -> None:
    ours, _ = authorities
    server = tls_server(ours.sign("server"))
    assert "it may speak TLS (grpcs://)" in asked(server.url.replace("grpcs", "grpc"))
    assert "it does not speak TLS" in asked(remote_server.url.replace("grpc", "grpcs"))


@pytest.mark.parametrize("answer", [b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", b"SSH-2.0-x\r\n"])
def test_what_does_not_speak_grpc_is_called_so(answer: bytes) -> None:
    """Such as a proxy with a page for people."""

    def say(sock: socket.socket) -> None:
        sock.recv(1 << 16)
        sock.sendall(answer)

    with answering(say) as port:
        told = asked(f"grpc://127.0.0.1:{port}")
    assert told == "UNAVAILABLE: what answers there does not speak gRPC: a proxy, or another server"


@pytest.mark.parametrize(
    ("details", "told"),
    [
        ("the farm is full", "the farm is full"),
        (
            "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Connection refused",
            "Connection refused",
        ),
        ("failed to connect to all addresses", "failed to connect to all addresses"),
        ("", ""),
    ],
)
def test_other_details_keep_their_words(details: str, told: str) -> None:
    assert in_words(details, tls=True) == told


@pytest.mark.parametrize("last", ["Socket closed", "recvmsg:Connection reset by peer (104)"])
def test_a_connection_that_ends_at_once_names_what_may_be_wrong(last: str) -> None:
    details = f"failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:1: {last}"
    assert in_words(details, tls=False) == "it closes the connection: it may speak TLS (grpcs://)"
    assert "another client certificate" in in_words(details, tls=True)
