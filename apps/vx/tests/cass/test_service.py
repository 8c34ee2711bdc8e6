"""cass as others meet it: a daemon, asked over its socket."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from contextlib import aclosing, suppress
from pathlib import Path

import pytest

from daemonry import Client, Endpoint, Fd
from daemonry.errors import CallFailed, Paused
from daemonry.testing import wait_until
from vx import cass_client, digests
from vx.cass import layout
from vx.cass.service import CassService
from vx.cass.store import Store
from vx.cass_client import CassClient, StoreGone
from vx.interfaces import Blob, BlobMissing, Cass, Collected, Lookup, Manifest, NameInvalid, StoreFull

KEY = "ab" * 32
ABSENT = "00" * 32


def flip(home, digest: str) -> None:
    path = Path(layout.path_of(str(home.store_path), "blob", digest))
    path.chmod(0o600)
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


def file_of(tmp_path: Path, data: bytes) -> Fd:
    (tmp_path / "passed").write_bytes(data)
    return Fd(os.open(tmp_path / "passed", os.O_RDONLY))


def write(path: str, data: bytes) -> None:
    Path(path).write_bytes(data)


def content(file: Fd) -> bytes:
    with file:
        return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)


class Forwarder:
    """A Unix socket whose bytes go to another, and nothing else: as `ssh -L` does."""

    def __init__(self, path: str, to: str) -> None:
        self._path, self._to = path, to
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        Path(self._path).unlink()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, socket.socket(socket.AF_UNIX) as far:
            far.connect(self._to)
            back = threading.Thread(target=self._pump, args=(far, near))
            back.start()
            self._pump(near, far)
            back.join()

    @staticmethod
    def _pump(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(1 << 16):
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)


@pytest.fixture(params=["unix", "tcp", "forwarded"])
def reached(request, cass_home):
    """A running cass, over a Unix socket, over TCP, and over a Unix socket that somebody forwards."""
    if request.param == "forwarded":
        cass_home.start()
        path = str(cass_home.sandbox.path / "f.sock")
        forwarder = Forwarder(path, str(cass_home.path / "cass.sock"))
        cass_home.endpoint = Endpoint.unix(path)
        yield cass_home
        forwarder.close()
        return
    if request.param == "tcp":
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        cass_home.over_tcp(port)
    cass_home.start()
    yield cass_home


async def test_blobs_pass_both_ways(reached, tmp_path: Path) -> None:
    """By descriptor where those arrive, else as bytes; forty are more than one message carries."""
    data = [os.urandom(10_000 + number) for number in range(40)]
    paths = [str(tmp_path / str(number)) for number in range(40)]
    for path, one in zip(paths, data, strict=True):
        write(path, one)
    client = CassClient(reached.endpoint)
    stored = await client.put_paths(paths)
    assert stored == [digests.of_bytes(one) for one in data]
    assert [content(file) for file in await client.get(stored)] == data
    assert (await client.missing([*stored, ABSENT])).digests == [ABSENT]
    with pytest.raises(BlobMissing) as caught:
        await client.get([stored[0], ABSENT, stored[39]])
    assert caught.value.digests == [ABSENT]
    empty = await client.put_bytes(b"")
    assert await client.read(empty) == b""
    client.close()


async def test_manifests_that_are_too_large_for_one_message_come_in_several(cass_home) -> None:
    cass_home.start()
    client = CassClient(cass_home.endpoint)
    keys = [f"{number:02x}" * 32 for number in range(1, 7)]
    said = {key: Manifest([], {"said": key + "w" * (3900 << 10)}) for key in keys}  # 23 MB of 16
    for key, manifest in said.items():
        await client.put_manifests({key: manifest})
    assert (await client.get_manifests([*keys, ABSENT])).found == said
    status = cass_home.status()
    assert (status["manifest_hits"], status["manifest_misses"]) == (6, 1)
    client.close()


class Shared:
    """A shared cache that has all keys but one."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], bool]] = []

    def look_up(self, keys: list[str], *, kept: bool = True) -> Lookup:
        self.asked.append((list(keys), kept))
        has = [key for key in keys if key != ABSENT]
        return Lookup(
            {key: Manifest([], {"said": key}) for key in has}, [], {key: key.encode() for key in has}
        )

    def later(self, manifests: dict[str, Manifest]) -> None:
        """Send none."""

    def take_fetched(self) -> int:
        return 0

    def fields(self) -> dict[str, object]:
        return {}

    def close(self) -> None:
        """End."""


@pytest.mark.parametrize("kept", [True, False])
async def test_the_keys_of_one_lookup_go_to_several_threads(tmp_path: Path, kept: bool) -> None:
    shared = Shared()
    service = CassService(Store(str(tmp_path / "store")), shared)  # type: ignore[arg-type]
    keys = [f"{number:02x}" * 32 for number in range(1, 10)]
    await service.put_manifests({keys[0]: Manifest()})
    asked = [*keys, ABSENT]
    found = await (service.get_manifests(asked) if kept else service.get_shared(asked))
    theirs = {key: Manifest([], {"said": key}) for key in keys}
    assert found.found == (theirs | {keys[0]: Manifest()} if kept else theirs)
    assert found.contents.keys() == set(keys[1:] if kept else keys)
    assert sorted(len(some) for some, _ in shared.asked) == ([1, 4, 4] if kept else [2, 4, 4])
    assert {how for _, how in shared.asked} == {kept}
    if kept:
        told = service.fields()
        assert (told["manifest_hits"], told["manifest_misses"]) == (9, 1)
    service.close()


async def test_manifests_pass_and_a_damaged_blob_makes_a_miss(reached) -> None:
    client = CassClient(reached.endpoint)
    digest = await client.put_bytes(b"an output")
    manifest = Manifest([Blob("out", digest, 9)], {"exit_code": 0})
    await client.put_manifests({KEY: manifest})
    lookup = await client.get_manifests([KEY, ABSENT])
    assert (lookup.found, lookup.damaged) == ({KEY: manifest}, [])
    flip(reached, digest)
    lookup = await client.get_manifests([KEY])
    assert (lookup.found, [one.name for one in lookup.damaged]) == ({}, [digest])
    client.close()


def test_a_given_descriptor_reads_the_stores_own_file(cass, tmp_path: Path) -> None:
    with Client.connect(cass.endpoint) as client:
        proxy = client.proxy(Cass)
        (digest,) = proxy.put([file_of(tmp_path, b"words")])
        (given,) = proxy.get([digest])
    with given:
        kept = layout.path_of(str(cass.store_path), "blob", digest)
        assert os.path.samestat(os.fstat(given.fileno()), os.stat(kept))
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(given.fileno(), b"x")


def test_errors_are_typed(cass, tmp_path: Path) -> None:
    with Client.connect(cass.endpoint) as client:
        proxy = client.proxy(Cass)
        with pytest.raises(NameInvalid, match="lower-case hexadecimal"):
            proxy.missing(["../x"])
        with pytest.raises(BlobMissing):
            proxy.put_manifests({KEY: Manifest([Blob("a", ABSENT, 1)])})
        with pytest.raises(NameInvalid):
            proxy.gc(-1)
        writing = os.open(tmp_path / "write-only", os.O_WRONLY | os.O_CREAT)
        with pytest.raises(CallFailed, match="cannot be read"):
            proxy.put([Fd(writing)])


async def test_eight_clients_put_one_blob_and_different_ones_at_once(cass) -> None:
    clients = [CassClient(cass.endpoint) for _ in range(8)]

    async def use(number: int, client: CassClient) -> list[str]:
        return [
            await client.put_bytes(b"%d" % (turn if turn % 2 else turn * 8 + number)) for turn in range(20)
        ]

    stored = await asyncio.gather(*(use(number, client) for number, client in enumerate(clients)))
    wanted = {digest for one in stored for digest in one}
    assert (await clients[0].missing(wanted)).digests == []
    assert (await clients[0].stats()).blobs == len(wanted)
    assert [step.damaged async for step in clients[0].verify()][-1:] == [None]
    for client in clients:
        client.close()


async def test_a_hold_lasts_as_long_as_its_caller(cass) -> None:
    client = CassClient(cass.endpoint)
    async with client.hold():
        digest = await client.put_bytes(b"words")
        collected = await client.gc(0)
        assert (collected.removed, collected.held) == (0, 1)
        assert cass.status()["holds"] == 1
    wait_until(lambda: cass.status()["holds"] == 0)
    assert (await client.gc(0)).removed == 1
    assert (await client.missing([digest])).digests == [digest]
    client.close()


async def test_a_store_that_was_killed_and_started_again_is_asked_again(cass) -> None:
    client = CassClient(cass.endpoint)
    digest = await client.put_bytes(b"words")
    os.kill(cass.pid(), signal.SIGKILL)
    wait_until(lambda: cass("status").code == 3)
    with pytest.raises(StoreGone, match=r"cass\.sock"):
        await client.missing([digest])
    cass.start()
    assert await client.read(digest) == b"words"
    client.close()


async def test_a_put_that_is_cut_by_kill_leaves_a_clean_store(cass, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    client = CassClient(cass.endpoint)
    putting = asyncio.create_task(client.put_fds([reading]))
    await asyncio.to_thread(os.write, writing, b"half of it")
    await asyncio.to_thread(wait_until, lambda: os.listdir(cass.store_path / "tmp"))
    os.kill(cass.pid(), signal.SIGKILL)
    with pytest.raises(StoreGone):
        await putting
    os.close(reading)
    os.close(writing)
    wait_until(lambda: cass("status").code == 3)
    cass.start()
    assert os.listdir(cass.store_path / "tmp") == []
    assert (await client.stats()).blobs == 0
    client.close()


async def test_the_store_collects_by_itself_beyond_its_bound(cass_home) -> None:
    cass_home.sandbox.env["VX_CASS_MAX_SIZE"] = "64K"
    cass_home.start()
    client = CassClient(cass_home.endpoint)
    for number in range(20):
        await client.put_bytes(bytes([number]) * 8192)

    async with asyncio.timeout(10):
        # The status shows what the last look at the store found, which may be of before the last blobs.
        while (stats := await client.stats()).size > 65536:  # noqa: ASYNC110  # a state is asked for, there is no event
            await asyncio.sleep(0.01)
    assert stats.size > 0
    assert int(str(cass_home.status()["store_bytes"])) > 0
    assert stats.max_size == 65536
    client.close()


async def test_what_a_build_held_is_collected_when_it_ends(tmp_path) -> None:
    """Nothing waits for the next look at the store, which would be half a minute later."""
    service = CassService(Store(str(tmp_path / "cass"), max_bytes=1000))
    keeping = asyncio.create_task(service.keep_bounded())
    hold = service.hold()
    await anext(hold)
    for byte in b"abc":
        await service.put([file_of(tmp_path, bytes([byte]) * 600)])
    collected = await service.gc(900)
    assert (collected.removed, collected.held) == (0, 2)
    async with asyncio.timeout(10):
        while not service._let_go._waiters:  # noqa: ASYNC110  # it waits, as after a look in vain
            await asyncio.sleep(0.01)
        await hold.aclose()
        while (await service.stats()).size > 1000:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.01)
    keeping.cancel()
    service.close()


async def test_what_is_put_while_the_store_is_collected_counts(tmp_path, monkeypatch) -> None:
    """Else the store would stay beyond its bound until as much again has come."""
    store = Store(str(tmp_path / "cass"), max_bytes=1000)
    service = CassService(store)
    begun, go = threading.Event(), threading.Event()
    collect = store.gc

    def slow(max_bytes: int | None, *, dry_run: bool) -> Collected:
        collected = collect(max_bytes, dry_run=dry_run)
        begun.set()
        assert go.wait(10)
        return collected

    monkeypatch.setattr(store, "gc", slow)
    keeping = asyncio.create_task(service.keep_bounded())
    await service.put([file_of(tmp_path, b"a" * 600)])
    await service.put([file_of(tmp_path, b"b" * 600)])
    await asyncio.to_thread(begun.wait, 10)
    await service.put([file_of(tmp_path, b"c" * 600)])
    go.set()
    async with asyncio.timeout(10):
        while (await service.stats()).size > 1000:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.01)
    keeping.cancel()
    service.close()


def test_a_relative_home_is_the_same_for_the_daemon(cass_home) -> None:
    absolute = cass_home.sandbox.env["VX_HOME"]
    cass_home.sandbox.env["VX_HOME"] = "vx"  # the sandbox is where its commands run
    cass_home.start()
    assert cass_home.status()["store"] == f"{absolute}/cass"
    assert (Path(absolute) / "cass.sock").is_socket()


def test_a_bound_that_is_no_size_is_told_at_the_start(cass_home) -> None:
    cass_home.sandbox.env["VX_CASS_MAX_SIZE"] = "lots"
    started = cass_home("start")
    assert started.code == 1
    assert "VX_CASS_MAX_SIZE='lots' is not a size" in started.err


def test_a_store_of_another_version_is_told_at_the_start(cass_home) -> None:
    cass_home.store_path.mkdir(parents=True, mode=0o700)
    cass_home.path.chmod(0o700)
    (cass_home.store_path / "format").write_text("vx store 7\n")
    started = cass_home("start")
    assert started.code == 1
    assert "'vx store 7'" in started.err
    assert "another VX_HOME" in started.err


def test_a_daemon_that_holds_a_client_stops_at_once(cass) -> None:
    """A hold is no work to wait for: its end is the end of the store."""
    with Client.connect(cass.endpoint) as client:
        holds = client.proxy(Cass).hold()
        next(iter(holds))
        before_s = time.monotonic()
        assert cass("stop").code == 0
        assert time.monotonic() - before_s < 8


async def test_bytes_that_stop_coming_are_not_kept(cass_home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    endpoint = cass_home.over_tcp(port)
    cass_home.start()
    with Client.connect(endpoint) as client:
        _, stream = client.proxy(Cass).receive(1000)
        stream.write(b"only some")
        stream.close()
    with Client.connect(endpoint) as client, pytest.raises(StoreFull):
        client.proxy(Cass).receive(1 << 60)
    wait_until(lambda: os.listdir(cass_home.store_path / "tmp") == [])
    other = CassClient(endpoint)
    async with aclosing(other.verify()) as steps:
        assert [step.blobs async for step in steps] == [0]
    other.close()


@pytest.mark.parametrize("sent", [b"", b"words!", b"w0rds"])
def test_bytes_of_another_content_are_not_taken_for_the_blobs(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(sent)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionError, match="not those of"):
            cass_client._receive_file(ours, b"", Blob("", digests.of_bytes(b"words"), 5))


async def test_one_call_survives_many_restarts_of_the_store(cass) -> None:
    """All the connections that lay idle are of runs that are over: they count as one failure."""
    client = CassClient(cass.endpoint)
    digest = await client.put_bytes(b"words")
    await asyncio.gather(*(client.missing([digest]) for _ in range(6)))
    assert cass("restart").code == 0
    assert (await client.missing([digest])).digests == []
    assert cass("restart").code == 0
    assert await client.put_bytes(b"words") == digest
    assert cass("restart").code == 0
    assert await client.read(digest) == b"words"
    client.close()


@pytest.mark.slow
async def test_ten_kills_under_eight_writers_lose_nothing_that_was_answered(cass) -> None:
    """What a put has answered is there in the end, and nothing that is there is damaged."""
    answered: dict[str, bytes] = {}
    over, more = asyncio.Event(), asyncio.Event()

    async def write(number: int) -> None:
        client = CassClient(cass.endpoint)
        turn = 0
        while not over.is_set():
            turn += 1
            data = os.urandom(100) * (turn * 37 % 4000)
            try:
                answered[await client.put_bytes(data)] = data
                more.set()
                if turn % 5 == number % 5:
                    digest = digests.of_bytes(data)
                    await client.put_manifests({digest: Manifest([Blob("x", digest, len(data))])})
            except (StoreGone, CallFailed):
                await asyncio.sleep(0.01)
        client.close()

    writers = [asyncio.create_task(write(number)) for number in range(8)]
    for round_ in range(10):
        before = len(answered)
        async with asyncio.timeout(20):
            while len(answered) < before + 20 + round_:
                more.clear()
                await more.wait()
        os.kill(await asyncio.to_thread(cass.pid), signal.SIGKILL)
        await asyncio.to_thread(wait_until, lambda: cass("status").code == 3)
        await asyncio.to_thread(cass.start)
    over.set()
    await asyncio.gather(*writers)
    client = CassClient(cass.endpoint)
    assert (await client.missing(answered)).digests == []
    assert [step.damaged async for step in client.verify() if step.damaged] == []
    assert await client.read(next(iter(answered))) == next(iter(answered.values()))
    assert os.listdir(cass.store_path / "tmp") == []
    client.close()


def test_the_interface_is_told_to_any_varlink_client(cass) -> None:
    shown = cass.sandbox.daemonry("describe", str(cass.endpoint), "org.daemonry.vx.Cass")
    assert shown.code == 0, shown
    assert "method GetManifests(keys: []string)" in shown.out


def test_a_paused_store_can_be_read_and_takes_nothing(cass, tmp_path: Path) -> None:
    """Whoever paused it wants to look; what a build would add waits for the resume."""
    with Client.connect(cass.endpoint) as client:
        store = client.proxy(Cass)
        (digest,) = store.put([file_of(tmp_path, b"kept")])
        client.call("org.daemonry.Control.Pause")
        (kept,) = store.get([digest])
        assert content(kept) == b"kept"
        assert store.stats().blobs == 1
        assert store.missing([digest, ABSENT]).digests == [ABSENT]
        with pytest.raises(Paused):
            store.put([file_of(tmp_path, b"other")])
        client.call("org.daemonry.Control.Resume")
