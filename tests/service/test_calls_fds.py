"""Descriptors: passed both ways, owned by one object at a time, and none left behind."""

import array
import asyncio
import json
import mmap
import os
import socket
import subprocess
import sys
from dataclasses import dataclass

import pytest

from daemonry import AsyncClient, Interface, errors
from daemonry.service.interface.declare import described
from daemonry.testing import wait_until
from daemonry.transport import ancillary
from daemonry.transport.ancillary import MAX_FDS, Arrivals, Fd, FdStream

NAME = "org.example.files"


@dataclass
class Named:
    name: str
    file: Fd | None = None


class Files(Interface, name=NAME):
    """Takes descriptors and gives them."""

    def read(self, file: Fd, limit: int = 1000) -> str:
        with file:
            return os.pread(file.fileno(), limit, 0).decode()

    async def read_all(self, files: list[Named]) -> list[str]:
        await asyncio.sleep(0)
        return [one.name + os.pread(one.file.fileno(), 100, 0).decode() for one in files if one.file]

    def give(self, text: str) -> Fd:
        return filled(text.encode())

    async def give_named(self, text: str) -> Named:
        return Named("given", filled(text.encode()))

    def fail(self, file: Fd) -> Fd:
        raise errors.PermissionDenied("org.varlink.service.PermissionDenied")

    def plain(self, n: int) -> int:
        return n


def filled(data):
    fd = os.memfd_create("test", os.MFD_CLOEXEC)
    os.pwrite(fd, data, 0)
    return Fd(fd)


def open_fds():
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def endpoint(serving):
    return serving(Files()).endpoint


@pytest.fixture
def client(endpoint):
    from daemonry import Client

    with Client.connect(endpoint) as client:
        yield client


@pytest.fixture
def files(client):
    return client.proxy(Files)


def raw(endpoint):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(10)
    sock.connect(endpoint.removeprefix("unix:"))
    return sock


def frame(name, **parameters):
    return json.dumps({"method": f"{NAME}.{name}", "parameters": parameters}).encode() + b"\0"


def send_fds(sock, data, fds):
    rights = array.array("i", [fd.fileno() for fd in fds])
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def replies(sock, count):
    found = b""
    while found.count(b"\0") < count:
        data = sock.recv(65536)
        assert data, found
        found += data
    return [json.loads(one) for one in found.split(b"\0")[:count]]


# --- both ways ----------------------------------------------------------------------------------


def test_a_descriptor_is_passed_to_a_method(files):
    """Also with the very first bytes of a connection, from which the dialect is told."""
    assert files.read(filled(b"some text")) == "some text"
    assert files.read(filled(b"some text"), limit=4) == "some"


def test_descriptors_within_lists_of_structs_keep_their_places(files):
    given = [Named("a", filled(b"1")), Named("b"), Named("c", filled(b"3"))]
    assert files.read_all(given) == ["a1", "c3"]


def test_a_filled_memfd_comes_back_and_is_mapped(files):
    with files.give("bulk " * 10_000) as fd, mmap.mmap(fd.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[:] == b"bulk " * 10_000


def test_a_descriptor_within_a_reply(files):
    named = files.give_named("x")
    assert (named.name, os.pread(named.file.fileno(), 10, 0)) == ("given", b"x")


def test_the_asyncio_client_passes_them_too(endpoint):
    async def talk():
        async with await AsyncClient.connect(endpoint) as client:
            files = client.proxy(Files)
            assert await files.read(filled(b"there")) == "there"
            with await files.give("back") as fd:
                assert os.pread(fd.fileno(), 10, 0) == b"back"

    asyncio.run(talk())


def test_calls_without_a_proxy_name_them_by_index(client):
    fields, fds = client.call_with_fds(f"{NAME}.Read", {"file": 0}, [filled(b"raw")])
    assert (fields, fds) == ({"result": "raw"}, [])
    fields, fds = client.call_with_fds(f"{NAME}.Give", {"text": "raw"})
    assert fields == {"result": 0}
    assert os.pread(fds[0].fileno(), 10, 0) == b"raw"


def test_a_client_that_does_not_take_them_loses_nothing_else(client):
    assert client.call(f"{NAME}.Give", {"text": "x"}) == {"result": 0}
    assert client.call(f"{NAME}.Plain", {"n": 1}) == {"result": 1}


def test_they_are_described_as_numbers():
    assert "method Read(file: int, limit: ?int) -> (result: string)" in described(Files).text


def test_systemds_way_is_ours(endpoint):
    """Beside the first byte of the message, which may come in pieces; the index is in the JSON."""
    with raw(endpoint) as sock, filled(b"by hand") as fd:
        call = frame("Read", file=0)
        send_fds(sock, call[:1], [fd])
        for byte in call[1:]:
            sock.sendall(bytes((byte,)))
        assert replies(sock, 1) == [{"parameters": {"result": "by hand"}}]


def test_pipelined_messages_each_have_their_own(endpoint):
    with raw(endpoint) as sock, filled(b"one") as one, filled(b"two") as two:
        sock.sendall(frame("Plain", n=1))
        send_fds(sock, frame("Read", file=0), [one])
        sock.sendall(frame("Plain", n=2))
        send_fds(sock, frame("Read", file=0), [two])
        assert [one["parameters"]["result"] for one in replies(sock, 4)] == [1, "one", 2, "two"]


# --- what is refused, and what is closed --------------------------------------------------------


@pytest.mark.parametrize("index", [1, -1, "0", None, True])
def test_an_index_without_a_descriptor_names_the_parameter(endpoint, index):
    with raw(endpoint) as sock, filled(b"x") as fd:
        send_fds(sock, frame("Read", file=index), [fd])
        (reply,) = replies(sock, 1)
        assert reply["error"] == "org.varlink.service.InvalidParameter"
        assert reply["parameters"]["parameter"] == "file"


def test_two_parameters_cannot_have_the_same_descriptor(endpoint):
    """Two owners would close it under each other."""
    with raw(endpoint) as sock, filled(b"x") as fd:
        send_fds(sock, frame("ReadAll", files=[{"name": "a", "file": 0}, {"name": "b", "file": 0}]), [fd])
        (reply,) = replies(sock, 1)
        assert reply["parameters"]["parameter"] == "files[1].file"


def test_nothing_is_left_open_whatever_happens(endpoint):
    """Ours and the server's descriptors are of one process here: the count is of both."""
    with raw(endpoint) as sock:
        sock.sendall(frame("Plain", n=1))
        replies(sock, 1)
        with filled(b"x") as fd:
            before = open_fds()
            for data in (
                frame("Plain", n=1),  # not wanted
                frame("Read", file=0),
                frame("Fail", file=0),
                frame("Read", file=5),
                frame("Nope"),
                frame("ReadAll", files=[]),
            ):
                send_fds(sock, data, [fd] * 3)
                replies(sock, 1)
            send_fds(sock, frame("Plain", n=1), [fd] * 100)  # more than anyone takes
            replies(sock, 1)
            send_fds(sock, b'{"meth', [fd] * 2)  # never ended
            assert wait_until(lambda: open_fds() == before + 2)
    with raw(endpoint) as sock:
        sock.sendall(frame("Plain", n=1))
        replies(sock, 1)
        assert wait_until(lambda: open_fds() == before - 1)


def test_a_flood_of_descriptors_is_bounded(endpoint):
    """A frame that never ends may bring more and more of them."""
    with raw(endpoint) as sock, filled(b"x") as fd:
        send_fds(sock, b"{", [fd])
        before = open_fds()
        for _ in range(50):
            send_fds(sock, b" ", [fd] * 10)
        sock.sendall(frame("Plain", n=1)[1:])
        replies(sock, 1)
        assert open_fds() <= before + MAX_FDS


def test_a_server_that_takes_none_lets_the_kernel_close_them(serving):
    class Plain(Interface, name="org.example.none"):
        def plain(self, n: int) -> int:
            return n

    endpoint = serving(Plain()).endpoint
    data = b'{"method":"org.example.none.Plain","parameters":{"n":1}}\0'
    with raw(endpoint) as sock, filled(b"x") as fd:
        sock.sendall(data)
        replies(sock, 1)
        before = open_fds()
        send_fds(sock, data, [fd] * 5)
        assert replies(sock, 1) == [{"parameters": {"result": 1}}]
        assert open_fds() == before


def test_over_tcp_none_can_be_passed(serving):
    serving = serving(Files(), endpoint="tcp:127.0.0.1:0;open")
    with serving.client() as client:
        assert client.call(f"{NAME}.Plain", {"n": 1}) == {"result": 1}
        with pytest.raises(errors.Failed, match="Unix sockets only"):
            client.call(f"{NAME}.Give", {"text": "x"})
        with pytest.raises(errors.InvalidParameter):
            client.call(f"{NAME}.Read", {"file": 0})


def test_a_process_that_is_started_does_not_inherit_them(files):
    def inherited():
        words = [sys.executable, "-c", "import os; print(len(os.listdir('/proc/self/fd')))"]
        return subprocess.run(words, capture_output=True, check=True, close_fds=False).stdout

    before = inherited()
    with files.give("x"):
        assert inherited() == before


# --- the owner ----------------------------------------------------------------------------------


def test_an_fd_closes_itself():
    before = open_fds()
    filled(b"x")
    assert open_fds() == before


def test_a_taken_fd_is_the_takers():
    fd = filled(b"x")
    number = fd.take()
    assert (fd.closed, repr(fd)) == (True, "<Fd closed>")
    fd.close()
    os.close(number)
    with pytest.raises(ValueError, match="taken"):
        fd.fileno()


def test_a_copy_leaves_the_original():
    with filled(b"x") as fd:
        Fd.copy(fd).close()
        Fd.copy(fd.fileno()).close()
        assert os.pread(fd.fileno(), 1, 0) == b"x"
        assert repr(fd) == f"<Fd {fd.fileno()}>"


def test_sending_gives_it_away(files):
    fd = filled(b"x")
    files.read(fd)
    assert fd.closed


def test_what_was_not_sent_is_closed_all_the_same(client):
    client.close()
    fd = filled(b"x")
    with pytest.raises(errors.ConnectionLost):
        client.proxy(Files).read(fd)
    assert fd.closed


# --- arrivals -----------------------------------------------------------------------------------


def test_arrivals_belong_to_the_message_that_begins_in_their_bytes():
    arrivals = Arrivals()
    first, second = filled(b"1"), filled(b"2")
    arrivals.add(0, 10, [first])
    arrivals.add(10, 30, [second])
    assert arrivals.take(30) == []
    assert arrivals.take(12) == [second]
    arrivals.drop(9)
    assert not first.closed
    arrivals.drop(10)
    assert first.closed
    second.close()


def test_a_stream_tells_deadlines_and_losses_of_descriptors_too():
    from daemonry.transport.stream import Stream

    one, other = socket.socketpair()
    with FdStream(Stream(one, "a")) as stream, other, filled(b"x") as fd:
        with pytest.raises(errors.DeadlineExceeded):
            stream.read(timeout_s=0.01)
        other.close()
        with pytest.raises(errors.ConnectionLost):
            stream.write_with_fds(b"x", [fd])
    assert ancillary.MAX_FDS <= 253
