"""Manifests on a real disk: whole, verified, written once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from vx.cass import layout
from vx.cass.store import Store
from vx.interfaces import Blob, BlobMissing, KeyTaken, Manifest, NameInvalid

KEY = "ab" * 32
ABSENT = "00" * 32


def test_a_manifest_is_found_while_all_of_its_blobs_are_there(kept: Store, disk) -> None:
    blobs = [Blob(name, kept.blobs.put_bytes(name.encode()), 1) for name in "ab"]
    manifest = Manifest(blobs, {"why": "test"})
    kept.manifests.put({KEY: manifest})
    assert Store(kept.path).manifests.get([KEY, ABSENT]).found == {KEY: manifest}
    disk.blob(blobs[1].digest).unlink()
    assert kept.manifests.get([KEY]).found == {}
    assert kept.blobs.put_bytes(b"b") == blobs[1].digest
    assert kept.manifests.get([KEY]).found == {KEY: manifest}


def test_a_manifest_with_a_damaged_blob_is_a_miss_that_says_why(kept: Store, disk) -> None:
    digest = kept.blobs.put_bytes(b"output")
    kept.manifests.put({KEY: Manifest([Blob("out", digest, 6)])})
    disk.flip(disk.blob(digest))
    lookup = Store(kept.path).manifests.get([KEY])
    assert lookup.found == {}
    assert [one.name for one in lookup.damaged] == [digest]


def test_a_manifest_of_blobs_that_are_not_there_is_refused_and_none_is_kept(kept: Store) -> None:
    there = Blob("a", kept.blobs.put_bytes(b"a"), 1)
    other = "cd" * 32
    with pytest.raises(BlobMissing) as caught:
        kept.manifests.put({KEY: Manifest([there]), other: Manifest([Blob("b", ABSENT, 1)])})
    assert caught.value.digests == [ABSENT]
    assert kept.manifests.get([KEY, other]).found == {}


def test_a_manifest_with_a_wrong_size_is_refused(kept: Store) -> None:
    digest = kept.blobs.put_bytes(b"words")
    with pytest.raises(NameInvalid, match="has 5 bytes and not 4"):
        kept.manifests.put({KEY: Manifest([Blob("a", digest, 4)])})
    assert kept.manifests.get([KEY]).found == {}


def test_a_damaged_manifest_is_set_aside_and_can_be_put_again(kept: Store, disk) -> None:
    kept.manifests.put({KEY: Manifest(note={"n": 1})})
    disk.flip(disk.manifest(KEY), 100)
    assert kept.manifests.get([KEY]).damaged[0].kind == "manifest"
    assert kept.manifests.get([KEY]).damaged == []
    kept.manifests.put({KEY: Manifest(note={"n": 2})})
    assert kept.manifests.get([KEY]).found[KEY].note == {"n": 2}


def test_a_manifest_is_written_once(kept: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Who could write a second one would replace another's program by theirs."""
    first, second = (Manifest([Blob("out", kept.blobs.put_bytes(text), 5)]) for text in (b"first", b"other"))
    other = "cd" * 32
    kept.manifests.put({KEY: first})
    with pytest.raises(KeyTaken) as caught:
        kept.manifests.put({other: second, KEY: second})
    assert caught.value.keys == [KEY]
    assert kept.manifests.get([KEY, other]).found == {KEY: first}
    assert f"other blobs are kept under {KEY}" in caplog.text
    with pytest.raises(KeyTaken):
        kept.manifests.put({KEY: Manifest(second.blobs, grows=True)})
    kept.manifests.put({KEY: Manifest(first.blobs, {"how long it took": 2})})
    assert kept.manifests.get([KEY]).found == {KEY: first}


def test_a_manifest_whose_blobs_are_gone_makes_room(kept: Store, disk) -> None:
    first, second = (Manifest([Blob("out", kept.blobs.put_bytes(text), 5)]) for text in (b"first", b"other"))
    kept.manifests.put({KEY: first})
    disk.blob(first.blobs[0].digest).unlink()
    kept.manifests.put({KEY: second})
    assert kept.manifests.get([KEY]).found == {KEY: second}


def test_a_list_that_grows_is_replaced_by_one_that_grows(kept: Store) -> None:
    first, second = (
        Manifest([Blob("e", kept.blobs.put_bytes(text), 5)], grows=True) for text in (b"first", b"other")
    )
    kept.manifests.put({KEY: first})
    kept.manifests.put({KEY: second})
    assert kept.manifests.get([KEY]).found == {KEY: second}
    with pytest.raises(KeyTaken):
        kept.manifests.put({KEY: Manifest(first.blobs)})


def test_of_many_writers_at_once_one_is_first(kept: Store) -> None:
    made = [Manifest([Blob("out", kept.blobs.put_bytes(b"%04d" % n), 4)]) for n in range(32)]
    refused: list[int] = []

    def put(number: int) -> None:
        try:
            kept.manifests.put({KEY: made[number]})
        except KeyTaken:
            refused.append(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(32)))
    (winner,) = set(range(32)) - set(refused)
    assert kept.manifests.get([KEY]).found == {KEY: made[winner]}


def test_a_manifest_under_another_key_is_found_by_verify(kept: Store, disk) -> None:
    kept.manifests.put({KEY: Manifest([Blob("out", kept.blobs.put_bytes(b"evil"), 4)])})
    other = disk.manifest("cd" * 32)
    other.parent.mkdir(exist_ok=True)
    other.write_bytes(disk.manifest(KEY).read_bytes())
    damaged = [step.damaged for step in kept.verify() if step.damaged]
    assert [(one.kind, one.name) for one in damaged] == [("manifest", "cd" * 32)]
    assert "manifest of this key" in damaged[0].reason


def test_a_manifest_that_is_too_large_is_refused(kept: Store) -> None:
    with pytest.raises(NameInvalid, match="the limit is"):
        kept.manifests.put({KEY: Manifest(note={"text": "x" * layout.MAX_MANIFEST_BYTES})})
