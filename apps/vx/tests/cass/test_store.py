"""The store on a real disk: what it keeps, what it finds, what it survives."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from daemonry.testing import wait_until
from vx import digests
from vx.cass import layout, store
from vx.cass.store import Store
from vx.interfaces import Blob, BlobMissing, KeyTaken, Manifest, NameInvalid, StoreFull, StoreTrouble

KEY = "ab" * 32
ABSENT = "00" * 32


@pytest.fixture
def kept(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "cass"))


def path_of(kept: Store, digest: str) -> Path:
    return Path(layout.path_of(kept.path, "blob", digest))


def flip(path: Path, at: int = 0) -> None:
    """Change one byte behind the store's back."""
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(bytes(data))


def age(path: Path, by_s: int) -> None:
    """Make a file's last use as long ago."""
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns - by_s * 10**9, found.st_mtime_ns))


def files_in(kept: Store, folder: str) -> list[str]:
    return sorted(os.listdir(f"{kept.path}/{folder}"))


# --- blobs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, digests.PIECE_BYTES, digests.PIECE_BYTES + 1, 3_000_000])
def test_what_was_put_is_given_back_under_its_digest(kept: Store, size: int) -> None:
    data = os.urandom(size)
    digest = kept.put_bytes(data)
    assert digest == digests.of_bytes(data)
    assert kept.read_blob(digest) == data
    assert path_of(kept, digest).stat().st_mode & 0o777 == 0o444
    assert files_in(kept, "tmp") == []


def test_a_file_is_read_from_its_beginning_and_its_position_stays(kept: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"all of it")
    with (tmp_path / "file").open("rb") as file:
        file.seek(4)
        assert kept.put_fd(file.fileno()) == (digests.of_bytes(b"all of it"), 9)
        assert file.read() == b"of it"


def test_a_pipe_is_read_to_its_end(kept: Store) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"through a pipe")
    os.close(writing)
    digest, size = kept.put_fd(reading)
    os.close(reading)
    assert (kept.read_blob(digest), size) == (b"through a pipe", 14)


def test_what_is_not_there_is_named_all_of_it(kept: Store) -> None:
    there = kept.put_bytes(b"there")
    other = "11" * 32
    assert kept.missing([there, ABSENT, there, other, ABSENT]).digests == [ABSENT, other]
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(BlobMissing) as caught:
        kept.open_blobs([there, ABSENT, other])
    assert caught.value.digests == [ABSENT, other]
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("name", ["", "ab", "../../etc/passwd", "G" * 64, "AB" * 32, "a" * 65])
def test_a_name_that_is_none_is_refused(kept: Store, name: str) -> None:
    for ask in (kept.open_blob, lambda one: kept.missing([one]), lambda one: kept.get_manifests([one])):
        with pytest.raises(NameInvalid):
            ask(name)


# --- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 7, 13])
def test_a_flipped_byte_is_found_and_set_aside(kept: Store, at: int) -> None:
    digest = kept.put_bytes(b"fourteen bytes")
    flip(path_of(kept, digest), at)
    with pytest.raises(BlobMissing) as caught:
        kept.open_blob(digest)
    (damage,) = caught.value.damaged
    assert (damage.kind, damage.name) == ("blob", digest)
    assert "of another digest" in damage.reason
    assert Path(damage.kept_at).stat().st_size == 14
    assert not path_of(kept, digest).exists()
    assert kept.put_bytes(b"fourteen bytes") == digest
    assert kept.read_blob(digest) == b"fourteen bytes"


def test_damage_from_before_this_run_is_found_by_the_first_question(kept: Store) -> None:
    digest = kept.put_bytes(b"words")
    times = path_of(kept, digest).stat()
    flip(path_of(kept, digest))
    os.utime(path_of(kept, digest), ns=(times.st_atime_ns, times.st_mtime_ns))  # as a bad disk would
    missing = Store(kept.path).missing([digest])
    assert missing.digests == [digest]
    assert missing.damaged[0].name == digest


@pytest.mark.parametrize("size", [0, 2])
def test_a_blob_that_a_power_cut_left_short_is_damage(kept: Store, size: int) -> None:
    digest = kept.put_bytes(b"words")
    path_of(kept, digest).chmod(0o600)
    os.truncate(path_of(kept, digest), size)
    assert kept.missing([digest]).damaged[0].reason.startswith("is empty" if size == 0 else "has 2 bytes")


def test_putting_heals_what_is_damaged_on_the_disk(kept: Store) -> None:
    digest = kept.put_bytes(b"words")
    flip(path_of(kept, digest))
    other = Store(kept.path)
    assert other.put_bytes(b"words") == digest
    assert other.read_blob(digest) == b"words"
    assert kept.read_blob(digest) == b"words"


def test_something_else_than_a_file_is_damage(kept: Store) -> None:
    digest = kept.put_bytes(b"words")
    path_of(kept, digest).unlink()
    path_of(kept, digest).mkdir()
    assert kept.missing([digest]).damaged[0].reason == "is not a file"
    assert kept.put_bytes(b"words") == digest


def test_a_link_is_not_followed(kept: Store, tmp_path: Path) -> None:
    """Whoever could put one there could otherwise have any file of ours given out."""
    digest = kept.put_bytes(b"words")
    (tmp_path / "secret").write_bytes(b"words")
    path_of(kept, digest).unlink()
    path_of(kept, digest).symlink_to(tmp_path / "secret")
    with pytest.raises((BlobMissing, StoreTrouble)):
        kept.open_blob(digest)


def test_the_quarantine_is_bounded(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_QUARANTINED", 3)
    for number in range(6):
        digest = kept.put_bytes(b"%d" % number)
        flip(path_of(kept, digest))
        assert kept.missing([digest]).damaged
    assert kept.stats().quarantined == 3


def test_verify_names_what_is_damaged_and_counts_what_is_not(kept: Store) -> None:
    good = [kept.put_bytes(b"%d" % number) for number in range(5)]
    kept.put_manifests({KEY: Manifest([Blob("a", good[0], 1)])})
    assert [step.damaged for step in kept.verify()] == [None]
    times = path_of(kept, good[2]).stat()
    flip(path_of(kept, good[2]))
    os.utime(path_of(kept, good[2]), ns=(times.st_atime_ns, times.st_mtime_ns))
    flip(Path(layout.path_of(kept.path, "manifest", KEY)), 90)
    *findings, last = kept.verify()
    named = {(one.damaged.kind, one.damaged.name) for one in findings if one.damaged is not None}
    assert named == {("blob", good[2]), ("manifest", KEY)}
    assert (last.blobs, last.manifests, last.done) == (5, 1, True)
    assert [step.damaged for step in kept.verify()] == [None]


# --- manifests ------------------------------------------------------------------------------------


def test_a_manifest_is_found_while_all_of_its_blobs_are_there(kept: Store) -> None:
    blobs = [Blob(name, kept.put_bytes(name.encode()), 1) for name in "ab"]
    manifest = Manifest(blobs, {"why": "test"})
    kept.put_manifests({KEY: manifest})
    assert Store(kept.path).get_manifests([KEY, ABSENT]).found == {KEY: manifest}
    path_of(kept, blobs[1].digest).unlink()
    assert kept.get_manifests([KEY]).found == {}
    assert kept.put_bytes(b"b") == blobs[1].digest
    assert kept.get_manifests([KEY]).found == {KEY: manifest}


def test_a_manifest_with_a_damaged_blob_is_a_miss_that_says_why(kept: Store) -> None:
    digest = kept.put_bytes(b"output")
    kept.put_manifests({KEY: Manifest([Blob("out", digest, 6)])})
    flip(path_of(kept, digest))
    lookup = Store(kept.path).get_manifests([KEY])
    assert lookup.found == {}
    assert [one.name for one in lookup.damaged] == [digest]


def test_a_manifest_of_blobs_that_are_not_there_is_refused_and_none_is_kept(kept: Store) -> None:
    there = Blob("a", kept.put_bytes(b"a"), 1)
    other = "cd" * 32
    with pytest.raises(BlobMissing) as caught:
        kept.put_manifests({KEY: Manifest([there]), other: Manifest([Blob("b", ABSENT, 1)])})
    assert caught.value.digests == [ABSENT]
    assert kept.get_manifests([KEY, other]).found == {}


def test_a_manifest_with_a_wrong_size_is_refused(kept: Store) -> None:
    digest = kept.put_bytes(b"words")
    with pytest.raises(NameInvalid, match="has 5 bytes and not 4"):
        kept.put_manifests({KEY: Manifest([Blob("a", digest, 4)])})
    assert kept.get_manifests([KEY]).found == {}


def test_a_damaged_manifest_is_set_aside_and_can_be_put_again(kept: Store) -> None:
    kept.put_manifests({KEY: Manifest(note={"n": 1})})
    flip(Path(layout.path_of(kept.path, "manifest", KEY)), 100)
    assert kept.get_manifests([KEY]).damaged[0].kind == "manifest"
    assert kept.get_manifests([KEY]).damaged == []
    kept.put_manifests({KEY: Manifest(note={"n": 2})})
    assert kept.get_manifests([KEY]).found[KEY].note == {"n": 2}


def test_a_manifest_is_written_once(kept: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Who could write a second one would replace another's program by theirs."""
    first, second = (Manifest([Blob("out", kept.put_bytes(text), 5)]) for text in (b"first", b"other"))
    other = "cd" * 32
    kept.put_manifests({KEY: first})
    with pytest.raises(KeyTaken) as caught:
        kept.put_manifests({other: second, KEY: second})
    assert caught.value.keys == [KEY]
    assert kept.get_manifests([KEY, other]).found == {KEY: first}
    assert f"other blobs are kept under {KEY}" in caplog.text
    with pytest.raises(KeyTaken):
        kept.put_manifests({KEY: Manifest(second.blobs, grows=True)})
    kept.put_manifests({KEY: Manifest(first.blobs, {"how long it took": 2})})
    assert kept.get_manifests([KEY]).found == {KEY: first}


def test_a_manifest_whose_blobs_are_gone_makes_room(kept: Store) -> None:
    first, second = (Manifest([Blob("out", kept.put_bytes(text), 5)]) for text in (b"first", b"other"))
    kept.put_manifests({KEY: first})
    path_of(kept, first.blobs[0].digest).unlink()
    kept.put_manifests({KEY: second})
    assert kept.get_manifests([KEY]).found == {KEY: second}


def test_a_list_that_grows_is_replaced_by_one_that_grows(kept: Store) -> None:
    first, second = (
        Manifest([Blob("e", kept.put_bytes(text), 5)], grows=True) for text in (b"first", b"other")
    )
    kept.put_manifests({KEY: first})
    kept.put_manifests({KEY: second})
    assert kept.get_manifests([KEY]).found == {KEY: second}
    with pytest.raises(KeyTaken):
        kept.put_manifests({KEY: Manifest(first.blobs)})


def test_of_many_writers_at_once_one_is_first(kept: Store) -> None:
    made = [Manifest([Blob("out", kept.put_bytes(b"%04d" % n), 4)]) for n in range(32)]
    refused: list[int] = []

    def put(number: int) -> None:
        try:
            kept.put_manifests({KEY: made[number]})
        except KeyTaken:
            refused.append(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(32)))
    (winner,) = set(range(32)) - set(refused)
    assert kept.get_manifests([KEY]).found == {KEY: made[winner]}


def test_a_manifest_under_another_key_is_found_by_verify(kept: Store) -> None:
    kept.put_manifests({KEY: Manifest([Blob("out", kept.put_bytes(b"evil"), 4)])})
    other = Path(layout.path_of(kept.path, "manifest", "cd" * 32))
    other.parent.mkdir(exist_ok=True)
    other.write_bytes(Path(layout.path_of(kept.path, "manifest", KEY)).read_bytes())
    damaged = [step.damaged for step in kept.verify() if step.damaged]
    assert [(one.kind, one.name) for one in damaged] == [("manifest", "cd" * 32)]
    assert "under this key" in damaged[0].reason


def test_a_manifest_that_is_too_large_is_refused(kept: Store) -> None:
    with pytest.raises(NameInvalid, match="the limit is"):
        kept.put_manifests({KEY: Manifest(note={"text": "x" * layout.MAX_MANIFEST_BYTES})})


# --- many at once ---------------------------------------------------------------------------------

WRITER = """
import sys
from vx.cass.store import Store
store = Store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for number in range(40):
    store.put_bytes(b"same for all" * 20_000)
    store.put_bytes(b"%s %d" % (sys.argv[2].encode(), number) * 1000)
"""


def test_eight_processes_write_one_blob_and_different_ones(kept: Store) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, kept.path, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    *findings, last = Store(kept.path).verify()
    assert [one.damaged for one in findings if one.damaged] == []
    assert last.blobs == 1 + 8 * 40
    assert files_in(kept, "tmp") == []


def test_eight_threads_write_and_read_one_blob(kept: Store) -> None:
    data = os.urandom(1_000_000)
    seen: list[bytes] = []

    def work() -> None:
        seen.extend(kept.read_blob(kept.put_bytes(data)) for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [data] * 40
    assert kept.stats().blobs == 1


def test_a_writer_that_is_killed_leaves_nothing_but_what_the_next_store_sweeps(kept: Store) -> None:
    reading, writing = os.pipe()
    program = "import os, sys; from vx.cass.store import Store; Store(sys.argv[1]).put_fd(int(sys.argv[2]))"
    writer = subprocess.Popen(
        [sys.executable, "-c", program, kept.path, str(reading)], pass_fds=[reading], stdout=subprocess.PIPE
    )
    os.close(reading)
    os.write(writing, b"half of ")
    (temporary,) = wait_until(lambda: files_in(kept, "tmp"))
    wait_until(lambda: (Path(kept.path) / "tmp" / temporary).stat().st_size == 8)
    Store(kept.path)
    assert files_in(kept, "tmp") == [temporary], "the sweep took what a living writer writes"
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    os.close(writing)
    again = Store(kept.path)
    assert files_in(again, "tmp") == []
    assert again.stats().blobs == 0


# --- no room --------------------------------------------------------------------------------------


BEYOND_THE_LIMIT = """
import resource, sys
from vx.cass.store import Store
from vx.interfaces import StoreFull
store = Store(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.put_bytes(b"x" * 200_000)
except StoreFull as error:
    print(error.reason)
"""


def test_a_file_size_limit_is_a_full_store_and_leaves_nothing(kept: Store) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", BEYOND_THE_LIMIT, kept.path], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "File too large\n"
    assert files_in(kept, "tmp") == []
    assert kept.stats().blobs == 0


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a file system of its own needs root and mount(8)")
    options = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "none", str(tmp_path)]
    mounted = subprocess.run(options, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mount is not allowed here: {mounted.stderr.decode().strip()}")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_is_told_and_what_is_there_stays(tiny_disk: Path) -> None:
    kept = Store(str(tiny_disk / "cass"))
    digest = kept.put_bytes(b"y" * 400_000)
    with pytest.raises(StoreFull, match="No space left"):
        kept.put_bytes(b"x" * 900_000)
    assert files_in(kept, "tmp") == []
    assert kept.read_blob(digest) == b"y" * 400_000
    assert kept.gc(0).removed == 1
    assert kept.put_bytes(b"x" * 900_000)


# --- removing -------------------------------------------------------------------------------------


def test_gc_removes_the_least_recently_used(kept: Store) -> None:
    blobs = [kept.put_bytes(b"%d" % number * 1000) for number in range(4)]
    for number, digest in enumerate(blobs):
        age(path_of(kept, digest), 10_000 - number)
    assert kept.missing([blobs[0]]).digests == []  # which is a use
    would = kept.gc(2000, dry_run=True)
    assert kept.missing(blobs[3:]).digests == []
    age(path_of(kept, blobs[3]), 9_997)
    collected = kept.gc(2000)
    assert (collected.removed, collected.removed_bytes, collected.kept_bytes) == (2, 2000, 2000)
    assert would == collected
    assert kept.missing(blobs).digests == [blobs[1], blobs[2]]


def test_gc_never_removes_what_a_hold_has_used(kept: Store) -> None:
    blobs = [kept.put_bytes(b"%d" % number * 1000) for number in range(3)]
    for digest in blobs:
        age(path_of(kept, digest), 10_000)
    with Store(kept.path).hold():
        assert kept.missing([blobs[1]]).digests == []
        collected = kept.gc(0)
        assert (collected.removed, collected.held) == (2, 1)
        assert kept.stats().holds == 1
    assert kept.missing(blobs).digests == [blobs[0], blobs[2]]
    assert kept.gc(0).removed == 1
    assert kept.stats().holds == 0


def test_a_use_between_gcs_choice_and_its_removal_is_seen(
    kept: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is gone while gc looks a last time: then it puts the blob back."""
    digest = kept.put_bytes(b"words")
    age(path_of(kept, digest), 10_000)
    fd = os.open(path_of(kept, digest), os.O_RDONLY)
    rename = os.rename

    def rename_and_use(source: str, target: str) -> None:
        rename(source, target)
        os.utime(fd)

    monkeypatch.setattr(os, "rename", rename_and_use)
    collected = kept.gc(0)
    monkeypatch.undo()
    os.close(fd)
    assert (collected.removed, collected.held) == (0, 1)
    assert kept.read_blob(digest) == b"words"
    assert files_in(kept, "tmp") == []


def test_a_use_after_gcs_last_look_says_that_the_blob_is_gone(
    kept: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = kept.put_bytes(b"words")
    age(path_of(kept, digest), 10_000)
    utime = os.utime

    def utime_too_late(*args: object, **kwargs: object) -> None:
        path_of(kept, digest).unlink()
        utime(kept.path)

    monkeypatch.setattr(os, "utime", utime_too_late)
    missing = kept.missing([digest])
    monkeypatch.undo()
    assert missing.digests == [digest]


def test_a_hold_ends_with_its_process(kept: Store) -> None:
    program = (
        "import sys; from vx.cass.store import Store\n"
        "with Store(sys.argv[1]).hold():\n    print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, kept.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    digest = kept.put_bytes(b"words")
    assert kept.gc(0).held == 1
    holder.kill()
    holder.communicate()
    assert kept.gc(0).removed == 1
    assert kept.missing([digest]).digests == [digest]
    Store(kept.path)
    assert files_in(kept, "holds") == []


def test_gc_while_others_read_and_write_harms_nobody(kept: Store) -> None:
    """Eight threads use blobs under holds while a ninth removes everything that it may."""
    ended = threading.Event()
    failures: list[str] = []

    def use(number: int) -> None:
        mine = Store(kept.path)
        for turn in range(30):
            data = b"%d %d" % (number, turn % 3) * 500
            with mine.hold():
                digest = digests.of_bytes(data)
                if mine.missing([digest]).digests:
                    mine.put_bytes(data)
                # Within what a hold protects, however often: a use within a minute is not noted again.
                fd = mine.open_blob(digest)
                os.utime(fd, ns=(time.time_ns() - 30 * 10**9, os.fstat(fd).st_mtime_ns))
                os.close(fd)
                if mine.missing([digest]).digests or mine.read_blob(digest) != data:
                    failures.append(f"{number} {turn}")

    def collect() -> None:
        mine = Store(kept.path)
        while not ended.is_set():
            mine.gc(0)

    collector = threading.Thread(target=collect)
    collector.start()
    users = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    ended.set()
    collector.join()
    assert failures == []
    assert [step.damaged for step in kept.verify()] == [None]


# --- directories that cannot be used --------------------------------------------------------------


def test_a_store_of_another_format_is_refused(tmp_path: Path) -> None:
    kept = Store(str(tmp_path / "cass"))
    Path(kept.path, "format").write_bytes(b"vx store 99\n")
    with pytest.raises(StoreTrouble, match=r"vx store 99.*use another VX_HOME"):
        Store(kept.path)


def test_a_file_in_the_stores_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "cass").write_text("a file")
    with pytest.raises(StoreTrouble, match="cass"):
        Store(str(tmp_path / "cass"))
    assert (tmp_path / "cass").read_text() == "a file"


def test_a_store_that_was_removed_while_in_use_begins_anew(kept: Store) -> None:
    digest = kept.put_bytes(b"words")
    shutil.rmtree(kept.path)
    assert kept.missing([digest]).digests == [digest]
    assert kept.stats().blobs == 0
    assert [step.blobs for step in kept.verify()] == [0]
    assert kept.put_bytes(b"words") == digest
    assert Store(kept.path).read_blob(digest) == b"words"
    shutil.rmtree(kept.path)
    assert kept.gc(0).removed == 0
    with kept.hold():
        assert kept.stats().holds == 1


def test_a_pipe_that_nobody_writes_to_is_given_up(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "READ_TIMEOUT_S", 0.05)
    reading, writing = os.pipe()
    with pytest.raises(TimeoutError):
        kept.put_fd(reading)
    os.close(reading)
    os.close(writing)
    assert files_in(kept, "tmp") == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreTrouble, match="denied"):
        Store(str(tmp_path / "cass"))
