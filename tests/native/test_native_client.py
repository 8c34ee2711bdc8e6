"""A proxy's call by the native part: what it takes, what it leaves, and what it gives back."""

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from daemonry import faults
from daemonry.service.client import native_way, proxy, signatures
from daemonry.service.client.blocking import Client
from daemonry.service.interface.declare import Interface
from daemonry.transport.stream import Stream
from daemonry.wire import native_forms, typed_reply
from daemonry.wire.varlink import tracing

ROOT = Path(__file__).parents[2]
EMPTY = b'{"parameters":{}}\0'
ASKED = b'{"method":"org.example.counted.Size","parameters":{"name":"a"}}\0'


class Sized(msgspec.Struct):
    """What a method returns."""

    size: int


class Counted(Interface, name="org.example.counted"):
    """Two methods."""

    def nothing(self) -> None:
        """Return nothing."""

    def size(self, name: str) -> Sized:
        """Return a Struct."""


@pytest.fixture
def kind(calls, monkeypatch):
    """A class of proxies whose calls of clients of exactly that class are native."""
    for module, name in (
        *((native_forms, "calls"), (typed_reply, "native_calls")),
        *((native_way, "native_calls"), (proxy, "native_calls")),
    ):
        monkeypatch.setattr(module, name, calls)
    way = native_way.short_calls(Client)

    def wrap(converter, method):
        return proxy._wrap_blocking(converter, method, way)

    return proxy.proxy_class(Counted, {}, wrap, signatures.blocking_result)


class Peer:
    """A client over one end of a pair, and the other end, which answers beforehand."""

    def __init__(self, kind, made=Client, timeout_s=20.0):
        near, self.far = socket.socketpair()
        self.client = made(Stream(near, "peer"))
        self.proxy = proxy.proxy_of(kind, self.client, timeout_s)
        for _ in range(2):
            self.says(EMPTY)
            self.proxy.nothing()
        self.heard()

    @property
    def link(self):
        return self.client._free[0]

    def says(self, data):
        self.far.sendall(data)

    def heard(self):
        return self.far.recv(1 << 20)

    def close(self):
        self.client.close()
        self.far.close()


@pytest.fixture
def peer(kind):
    made = Peer(kind)
    yield made
    made.close()


@pytest.fixture
def in_python(monkeypatch):
    """The names of the functions in Python that calls went through."""
    gone = []
    for name in ("call_typed", "go_on", "_settle"):
        monkeypatch.setattr(Client, name, _noting(gone, getattr(Client, name)))
    return gone


def _noting(gone, function):
    def call(*args, **kwargs):
        gone.append(function.__name__)
        return function(*args, **kwargs)

    return call


def test_a_plain_call_runs_no_python_of_the_client(kind, in_python):
    kind = proxy.proxy_class(
        Counted,
        {},
        lambda converter, method: proxy._wrap_blocking(converter, method, native_way.short_calls(Client)),
        signatures.blocking_result,
    )
    peer = Peer(kind)
    del in_python[:]
    peer.says(b'{"parameters":{"size":7}}\0')
    assert peer.proxy.size("a") == Sized(7)
    assert peer.heard() == ASKED
    assert in_python == []
    assert peer.link.talk.at_rest
    peer.close()


def test_a_replaced_function_of_the_class_is_called(peer, in_python):
    peer.says(b'{"parameters":{"size":7}}\0')
    assert peer.proxy.size("a") == Sized(7)
    assert in_python == ["call_typed"]


def test_a_subclass_calls_its_own_way(kind):
    class Other(Client):
        def call_typed(self, *_given):
            return "other"

    near, far = socket.socketpair()
    with far, Other(Stream(near, "peer")) as client:
        assert proxy.proxy_of(kind, client, 20.0).size("a") == "other"


def test_a_traced_call_goes_with_its_trace(peer, monkeypatch):
    monkeypatch.setattr(tracing, "source", lambda: {"traceparent": "00-1-2-01"})
    peer.says(EMPTY)
    peer.proxy.nothing()
    assert b"traceparent" in peer.heard()


def test_a_proxy_that_is_made_while_tracing_does_not_keep_that_trace(monkeypatch):
    monkeypatch.setattr(tracing, "source", lambda: {"traceparent": "00-1-2-01"})
    made = proxy.proxy_class(
        Counted,
        {},
        lambda converter, method: proxy._wrap_blocking(converter, method, lambda _: None),
        signatures.blocking_result,
    )
    monkeypatch.setattr(tracing, "source", None)
    peer = Peer(made)
    peer.says(EMPTY)
    peer.proxy.nothing()
    assert b"traceparent" not in peer.heard()
    peer.close()


def test_another_timeout_is_told_to_the_socket_first(kind, peer):
    soon = proxy.proxy_of(kind, peer.client, 0.01)
    with pytest.raises(faults.DeadlineExceeded) as caught:
        soon.size("a")
    assert (caught.value.ran, caught.value.timeout_s) == ("maybe", 0.01)
    assert not peer.client._free[0].is_open


@pytest.mark.parametrize("timeout_s", [1, 0.03])
def test_no_reply_in_time_ends_the_connection(kind, timeout_s):
    """Whether the timeout is a float or a whole number."""
    peer = Peer(kind, timeout_s=timeout_s)
    with pytest.raises(faults.DeadlineExceeded) as caught:
        peer.proxy.size("a")
    assert (caught.value.ran, caught.value.timeout_s) == ("maybe", timeout_s)
    assert not peer.link.is_open
    peer.close()


def test_a_peer_that_is_gone_did_not_run_the_call(peer):
    peer.far.close()
    with pytest.raises(faults.ConnectionLost) as caught:
        peer.proxy.size("a")
    assert caught.value.ran == "no"
    assert not peer.link.is_open


@pytest.mark.parametrize("size", [30_000, 300_000])
def test_a_long_reply_is_read_to_its_end(peer, size):
    reply = b'{"parameters":{"size":7%s}}\0' % (b" " * size)
    sender = threading.Thread(target=peer.says, args=(reply,))
    sender.start()
    assert peer.proxy.size("a") == Sized(7)
    sender.join()


LONG_NAME = "n" * 1_000_000


def hear_call(far):
    """Read one call to its end."""
    heard = b""
    while not heard.endswith(b"\0"):
        heard += far.recv(1 << 16)
    return heard


@pytest.fixture
def native_peer(kind, in_python, monkeypatch):
    """A peer whose client's functions in Python are noted, and are those of the way."""
    del kind
    way = native_way.short_calls(Client)
    made = Peer(
        proxy.proxy_class(
            Counted,
            {},
            lambda converter, method: proxy._wrap_blocking(converter, method, way),
            signatures.blocking_result,
        )
    )
    del in_python[:]
    yield made
    made.close()


def test_a_long_call_is_sent_as_there_is_room(native_peer, in_python):
    heard = []

    def answer():
        heard.append(hear_call(native_peer.far))
        native_peer.says(b'{"parameters":{"size":7}}\0')

    answerer = threading.Thread(target=answer)
    answerer.start()
    assert native_peer.proxy.size(LONG_NAME) == Sized(7)
    answerer.join()
    assert heard == [ASKED.replace(b'"a"', b'"%s"' % LONG_NAME.encode())]
    assert in_python == []


def test_a_reply_that_takes_its_time_is_read_to_its_end(native_peer, in_python):
    def answer():
        hear_call(native_peer.far)
        for piece in (b'{"parameters":', b'{"size":7}}\0'):
            time.sleep(0.01)  # longer than a reply that is there at once
            native_peer.says(piece)

    answerer = threading.Thread(target=answer)
    answerer.start()
    assert native_peer.proxy.size("a") == Sized(7)
    answerer.join()
    assert in_python == []


@pytest.mark.parametrize("heard_bytes", [0, 300_000])
def test_a_long_call_that_is_not_heard_ends_in_its_time(kind, heard_bytes):
    """Its end was not sent, so that it did not run."""
    peer = Peer(kind, timeout_s=0.05)
    reader = threading.Thread(target=peer.far.recv, args=(heard_bytes, socket.MSG_WAITALL))
    reader.start()
    with pytest.raises(faults.DeadlineExceeded) as caught:
        peer.proxy.size(LONG_NAME)
    reader.join()
    assert (caught.value.ran, caught.value.timeout_s) == ("no", 0.05)
    assert not peer.link.is_open
    peer.close()


def test_a_reply_that_stops_ends_in_its_time(kind):
    peer = Peer(kind, timeout_s=0.05)
    peer.says(b'{"parameters":{"size"')
    with pytest.raises(faults.DeadlineExceeded) as caught:
        peer.proxy.size("a")
    assert (caught.value.ran, caught.value.timeout_s) == ("maybe", 0.05)
    assert not peer.link.is_open
    peer.close()


def test_a_peer_that_leaves_inside_a_long_call_did_not_run_it(peer):
    def leave():
        peer.far.recv(1000)
        peer.far.close()

    leaver = threading.Thread(target=leave)
    leaver.start()
    with pytest.raises(faults.ConnectionLost) as caught:
        peer.proxy.size(LONG_NAME)
    leaver.join()
    assert caught.value.ran == "no"
    assert not peer.link.is_open


class Rang(Exception):
    """What a handler raises."""


@pytest.mark.parametrize("name", ["a", LONG_NAME])
def test_a_signals_exception_ends_the_connection_and_the_next_call_fails(peer, name):
    """The reply to come would be taken for the next call's; of a long call a part is sent."""

    def ring(_number, _frame):
        raise Rang

    def ring_until_heard():
        peer.far.recv(10)
        while not rang.wait(0.05):
            signal.pthread_kill(main, signal.SIGUSR1)

    rang, main = threading.Event(), threading.main_thread().ident
    before = signal.signal(signal.SIGUSR1, ring)
    bell = threading.Thread(target=ring_until_heard)
    try:
        bell.start()
        with pytest.raises(Rang):
            peer.proxy.size(name)
    finally:
        rang.set()
        bell.join()
        signal.signal(signal.SIGUSR1, before)
    assert len(peer.client._free) == 1
    assert not peer.link.is_open
    with pytest.raises(faults.ConnectionLost):
        peer.proxy.size("a")


def test_a_client_that_is_closed_meanwhile_says_so(peer):
    closer = threading.Thread(target=lambda: (peer.heard(), peer.client.close()))
    closer.start()
    with pytest.raises(faults.ClientClosed) as caught:
        peer.proxy.size("a")
    assert caught.value.ran == "maybe"
    closer.join()


def test_a_call_made_while_another_waits_waits_for_its_connection(peer):
    """There is one connection: the second thread takes it when the first call has given it back."""
    second = threading.Thread(target=lambda: got.append(peer.proxy.size("b")))
    got = []

    def serve():
        assert peer.heard() == ASKED
        second.start()
        while not peer.client._waiting:
            os.sched_yield()
        peer.says(b'{"parameters":{"size":1}}\0')
        peer.heard()
        peer.says(b'{"parameters":{"size":2}}\0')

    server = threading.Thread(target=serve)
    server.start()
    assert peer.proxy.size("a") == Sized(1)
    server.join()
    second.join()
    assert got == [Sized(2)]
    assert len(peer.client._free) == 1


class Nosy(msgspec.Struct):
    """A Struct that calls while it is made."""

    size: int

    def __post_init__(self):
        Nosy.acts()


class Nosed(Interface, name="org.example.nosed"):
    """A method that returns it."""

    def nothing(self) -> None:
        """Return nothing."""

    def nosy(self) -> Nosy:
        """Return it."""


@pytest.mark.parametrize("raised", [None, ValueError("no"), KeyError("k"), KeyboardInterrupt()])
def test_a_type_that_acts_while_it_is_made_finds_no_free_connection(kind, raised):
    del kind  # it made the module be used
    way = native_way.short_calls(Client)
    made = proxy.proxy_class(
        Nosed,
        {},
        lambda converter, method: proxy._wrap_blocking(converter, method, way),
        signatures.blocking_result,
    )
    peer = Peer(made)
    found = []

    def act():
        found.append(len(peer.client._free))
        gc.collect()
        if raised is not None:
            raise raised

    Nosy.acts = act
    peer.says(b'{"parameters":{"size":7}}\0')
    if raised is None:
        assert peer.proxy.nosy() == Nosy(7)
        found.pop()
    else:
        kinds = faults.RemoteProtocolError if isinstance(raised, ValueError) else type(raised)
        with pytest.raises(kinds):
            peer.proxy.nosy()
    assert set(found) == {0}
    assert len(peer.client._free) == 1
    peer.close()


def test_a_proxy_that_is_none_is_told_pythons_way(kind):
    with pytest.raises(AttributeError):
        kind.size(object(), "a")


def test_arguments_that_do_not_fit_are_told_pythons_way(peer):
    with pytest.raises(TypeError, match="missing a required argument"):
        peer.proxy.size()
    with pytest.raises(TypeError, match="too many"):
        peer.proxy.size("a", "b")
    assert peer.link.talk.at_rest


def test_a_fork_leaves_the_connection_to_the_parent(kind):
    peer = Peer(kind)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            peer.proxy.size("a")
        except faults.InheritedConnection:
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    peer.says(b'{"parameters":{"size":7}}\0')
    assert peer.proxy.size("a") == Sized(7)
    assert peer.heard() == ASKED
    peer.close()


@pytest.mark.parametrize("given", [(), (1,), (1, 2, 3), (1, [2])])
def test_it_is_made_with_a_proxy_and_a_tuple(calls, given):
    way = (Client, Client.call_typed, tracing, *native_way_members())
    made = calls.Call(way, b"frame\0", len, print, 1 << 20)
    with pytest.raises(TypeError, match="make"):
        made.make(*given)


def test_parts_that_are_not_made_are_refused(calls):
    way = (Client, Client.call_typed, tracing, *native_way_members())
    form, reply = calls.Form.__new__(calls.Form), calls.Reply.__new__(calls.Reply)
    for write, read in ((form, len), (b"frame\0", reply)):
        with pytest.raises(TypeError, match="not made"):
            calls.Call(way, write, read, print, 1 << 20)
    for given in ((form, len), (5, len), (None, 5)):
        with pytest.raises(TypeError):
            calls.Reply(given[0], print, (ValueError,), 5 if given[1] == 5 else Stream.sock, None)
    with pytest.raises(TypeError, match="not made"):
        reply.read(b"")


def test_calls_within_calls_end_on_the_stack_of_python(kind):
    """Each has 16 KiB on the stack of C, which Python's limit of recursion does not count."""
    way = native_way.short_calls(Client)
    made = proxy.proxy_class(
        Nosed,
        {},
        lambda converter, method: proxy._wrap_blocking(converter, method, way),
        signatures.blocking_result,
    )
    del kind
    peers = [Peer(made) for _ in range(20)]
    for peer in peers:
        peer.says(b'{"parameters":{"size":7}}\0')
    waiting = peers[1:]
    Nosy.acts = lambda: waiting and waiting.pop().proxy.nosy()
    assert peers[0].proxy.nosy() == Nosy(7)
    assert waiting == []
    for peer in peers:
        assert peer.link.talk.at_rest
        peer.close()


def native_way_members():
    return (Client._free, Client._waiting, Client._closed, *(Stream.sock,) * 5)


@pytest.mark.parametrize(
    ("way", "write"),
    [
        ((), b"f"),
        ((5, None, tracing, *native_way_members()), b"f"),
        ((Client, None, tracing, *(5,) * 8), b"f"),
        ((Client, None, tracing, *native_way_members()), "no form"),
    ],
)
def test_a_way_that_is_none_is_refused(calls, way, write):
    with pytest.raises((TypeError, ValueError)):
        calls.Call(way, write, len, print, 1 << 20)
    with pytest.raises(TypeError, match="not made"):
        calls.Call.__new__(calls.Call).make(1, ())


def test_it_agrees_with_python_whatever_comes(module_dir):
    words = [sys.executable, str(ROOT / "fuzz/native_client.py"), "0.5", "3"]
    environment = {**os.environ, "PYTHONPATH": str(module_dir), "DAEMONRY_PURE": ""}
    ran = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
