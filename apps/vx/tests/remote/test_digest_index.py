"""Two names of one blob, over restarts."""

from __future__ import annotations

from pathlib import Path

from vx.remote.digest_functions import RemoteDigest
from vx.remote.digest_index import DigestIndex

OURS, THEIRS = "a1" * 32, RemoteDigest("b2" * 32, 7)


def test_it_answers_both_ways_and_after_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "digests")
    index = DigestIndex(path)
    index.learn({OURS: THEIRS})
    index.close()
    index = DigestIndex(path)
    assert index.theirs([OURS, "00" * 32]) == {OURS: THEIRS}
    assert index.ours([THEIRS.hash, "00" * 32]) == {THEIRS.hash: OURS}
    index.close()


def test_a_damaged_one_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "digests"
    path.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    index = DigestIndex(str(path))
    assert index.theirs([OURS]) == {}
    index.learn({OURS: THEIRS})
    assert index.theirs([OURS]) == {OURS: THEIRS}
    index.close()


def test_thousands_are_asked_for_at_once(tmp_path: Path) -> None:
    index = DigestIndex(str(tmp_path / "digests"))
    many = {f"{number:064x}": RemoteDigest(f"{number + 1:064x}", number) for number in range(1234)}
    index.learn(many)
    assert index.theirs(many) == many
    index.close()


def test_it_is_written_in_batches_and_by_the_end(tmp_path: Path) -> None:
    path = str(tmp_path / "digests")
    index = DigestIndex(path)
    names = {f"{number:064x}": RemoteDigest(f"{number + 1:064x}", number) for number in range(300)}

    def on_disk() -> int:
        other = DigestIndex(path)
        found = other.theirs(names)
        assert found.items() <= names.items()
        other.close()
        return len(found)

    for ours, theirs in names.items():
        index.learn({ours: theirs})
        assert index.theirs([ours]) == {ours: theirs}
        assert index.ours([theirs.hash]) == {theirs.hash: ours}
    assert on_disk() == 256
    assert index.theirs(names) == names
    assert index.ours(one.hash for one in names.values()) == {
        theirs.hash: ours for ours, theirs in names.items()
    }
    index.close()
    assert on_disk() == 300
