"""Removing on a real disk, while others use the store."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from vx import digests
from vx.cass.store import Store

if TYPE_CHECKING:
    import pytest

KEY = "ab" * 32
ABSENT = "00" * 32


def test_gc_removes_the_least_recently_used(kept: Store, disk) -> None:
    blobs = [kept.blobs.put_bytes(b"%d" % number * 1000) for number in range(4)]
    for number, digest in enumerate(blobs):
        disk.age(disk.blob(digest), 10_000 - number)
    assert kept.blobs.missing([blobs[0]]).digests == []  # which is a use
    would = kept.gc(2000, dry_run=True)
    assert kept.blobs.missing(blobs[3:]).digests == []
    disk.age(disk.blob(blobs[3]), 9_997)
    collected = kept.gc(2000)
    assert (collected.removed, collected.removed_bytes, collected.kept_bytes) == (2, 2000, 2000)
    assert would == collected
    assert kept.blobs.missing(blobs).digests == [blobs[1], blobs[2]]


def test_gc_never_removes_what_a_hold_has_used(kept: Store, disk) -> None:
    blobs = [kept.blobs.put_bytes(b"%d" % number * 1000) for number in range(3)]
    for digest in blobs:
        disk.age(disk.blob(digest), 10_000)
    with Store(kept.path).holds.hold():
        assert kept.blobs.missing([blobs[1]]).digests == []
        collected = kept.gc(0)
        assert (collected.removed, collected.held) == (2, 1)
        assert kept.stats().holds == 1
    assert kept.blobs.missing(blobs).digests == [blobs[0], blobs[2]]
    assert kept.gc(0).removed == 1
    assert kept.stats().holds == 0


def test_a_use_between_gcs_choice_and_its_removal_is_seen(
    kept: Store, disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is gone while gc looks a last time: then it puts the blob back."""
    digest = kept.blobs.put_bytes(b"words")
    disk.age(disk.blob(digest), 10_000)
    fd = os.open(disk.blob(digest), os.O_RDONLY)
    rename = os.rename

    def rename_and_use(source: str, target: str) -> None:
        rename(source, target)
        os.utime(fd)

    monkeypatch.setattr(os, "rename", rename_and_use)
    collected = kept.gc(0)
    monkeypatch.undo()
    os.close(fd)
    assert (collected.removed, collected.held) == (0, 1)
    assert kept.blobs.read(digest) == b"words"
    assert disk.names("tmp") == []


def test_a_use_after_gcs_last_look_says_that_the_blob_is_gone(
    kept: Store, disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = kept.blobs.put_bytes(b"words")
    disk.age(disk.blob(digest), 10_000)
    utime = os.utime

    def utime_too_late(*args: object, **kwargs: object) -> None:
        disk.blob(digest).unlink()
        utime(kept.path)

    monkeypatch.setattr(os, "utime", utime_too_late)
    missing = kept.blobs.missing([digest])
    monkeypatch.undo()
    assert missing.digests == [digest]


def test_gc_while_others_read_and_write_harms_nobody(kept: Store) -> None:
    """Eight threads use blobs under holds while a ninth removes everything that it may."""
    ended = threading.Event()
    failures: list[str] = []

    def use(number: int) -> None:
        mine = Store(kept.path)
        for turn in range(30):
            data = b"%d %d" % (number, turn % 3) * 500
            with mine.holds.hold():
                digest = digests.of_bytes(data)
                if mine.blobs.missing([digest]).digests:
                    mine.blobs.put_bytes(data)
                # Within what a hold protects, however often: a use within a minute is not noted again.
                fd = mine.blobs.open(digest)
                os.utime(fd, ns=(time.time_ns() - 30 * 10**9, os.fstat(fd).st_mtime_ns))
                os.close(fd)
                if mine.blobs.missing([digest]).digests or mine.blobs.read(digest) != data:
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
