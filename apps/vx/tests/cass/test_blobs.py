"""Blobs on a real disk: stored, verified when read, found damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vx import digests
from vx.cass import blobs
from vx.cass.store import Store
from vx.interfaces import BlobMissing, NameInvalid, StoreTrouble

KEY = "ab" * 32
ABSENT = "00" * 32


@pytest.mark.parametrize("size", [0, 1, digests.PIECE_BYTES, digests.PIECE_BYTES + 1, 3_000_000])
def test_what_was_put_is_given_back_under_its_digest(kept: Store, disk, size: int) -> None:
    data = os.urandom(size)
    digest = kept.blobs.put_bytes(data)
    assert digest == digests.of_bytes(data)
    assert kept.blobs.read(digest) == data
    assert disk.blob(digest).stat().st_mode & 0o777 == 0o444
    assert disk.names("tmp") == []


def test_a_file_is_read_from_its_beginning_and_its_position_stays(kept: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"all of it")
    with (tmp_path / "file").open("rb") as file:
        file.seek(4)
        assert kept.blobs.put_fd(file.fileno()) == (digests.of_bytes(b"all of it"), 9)
        assert file.read() == b"of it"


def test_a_pipe_is_read_to_its_end(kept: Store) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"through a pipe")
    os.close(writing)
    digest, size = kept.blobs.put_fd(reading)
    os.close(reading)
    assert (kept.blobs.read(digest), size) == (b"through a pipe", 14)


def test_what_is_not_there_is_named_all_of_it(kept: Store) -> None:
    there = kept.blobs.put_bytes(b"there")
    other = "11" * 32
    assert kept.blobs.missing([there, ABSENT, there, other, ABSENT]).digests == [ABSENT, other]
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(BlobMissing) as caught:
        kept.blobs.open_all([there, ABSENT, other])
    assert caught.value.digests == [ABSENT, other]
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("name", ["", "ab", "../../etc/passwd", "G" * 64, "AB" * 32, "a" * 65])
def test_a_name_that_is_none_is_refused(kept: Store, name: str) -> None:
    for ask in (
        kept.blobs.open,
        lambda one: kept.blobs.missing([one]),
        lambda one: kept.manifests.get([one]),
    ):
        with pytest.raises(NameInvalid):
            ask(name)


@pytest.mark.parametrize("at", [0, 7, 13])
def test_a_flipped_byte_is_found_and_set_aside(kept: Store, disk, at: int) -> None:
    digest = kept.blobs.put_bytes(b"fourteen bytes")
    disk.flip(disk.blob(digest), at)
    with pytest.raises(BlobMissing) as caught:
        kept.blobs.open(digest)
    (damage,) = caught.value.damaged
    assert (damage.kind, damage.name) == ("blob", digest)
    assert "of another digest" in damage.reason
    assert Path(damage.kept_at).stat().st_size == 14
    assert not disk.blob(digest).exists()
    assert kept.blobs.put_bytes(b"fourteen bytes") == digest
    assert kept.blobs.read(digest) == b"fourteen bytes"


def test_damage_from_before_this_run_is_found_by_the_first_question(kept: Store, disk) -> None:
    digest = kept.blobs.put_bytes(b"words")
    times = disk.blob(digest).stat()
    disk.flip(disk.blob(digest))
    os.utime(disk.blob(digest), ns=(times.st_atime_ns, times.st_mtime_ns))  # as a bad disk would
    missing = Store(kept.path).blobs.missing([digest])
    assert missing.digests == [digest]
    assert missing.damaged[0].name == digest


@pytest.mark.parametrize("size", [0, 2])
def test_a_blob_that_a_power_cut_left_short_is_damage(kept: Store, disk, size: int) -> None:
    digest = kept.blobs.put_bytes(b"words")
    disk.blob(digest).chmod(0o600)
    os.truncate(disk.blob(digest), size)
    assert (
        kept.blobs.missing([digest]).damaged[0].reason.startswith("is empty" if size == 0 else "has 2 bytes")
    )


def test_putting_heals_what_is_damaged_on_the_disk(kept: Store, disk) -> None:
    digest = kept.blobs.put_bytes(b"words")
    disk.flip(disk.blob(digest))
    other = Store(kept.path)
    assert other.blobs.put_bytes(b"words") == digest
    assert other.blobs.read(digest) == b"words"
    assert kept.blobs.read(digest) == b"words"


def test_something_else_than_a_file_is_damage(kept: Store, disk) -> None:
    digest = kept.blobs.put_bytes(b"words")
    disk.blob(digest).unlink()
    disk.blob(digest).mkdir()
    assert kept.blobs.missing([digest]).damaged[0].reason == "is not a file"
    assert kept.blobs.put_bytes(b"words") == digest


def test_a_link_is_not_followed(kept: Store, disk, tmp_path: Path) -> None:
    """Whoever could put one there could otherwise have any file of ours given out."""
    digest = kept.blobs.put_bytes(b"words")
    (tmp_path / "secret").write_bytes(b"words")
    disk.blob(digest).unlink()
    disk.blob(digest).symlink_to(tmp_path / "secret")
    with pytest.raises((BlobMissing, StoreTrouble)):
        kept.blobs.open(digest)


def test_a_pipe_that_nobody_writes_to_is_given_up(kept: Store, disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "READ_TIMEOUT_S", 0.05)
    reading, writing = os.pipe()
    with pytest.raises(TimeoutError):
        kept.blobs.put_fd(reading)
    os.close(reading)
    os.close(writing)
    assert disk.names("tmp") == []
