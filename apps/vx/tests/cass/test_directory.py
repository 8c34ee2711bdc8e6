"""Directories that cannot be used, are another program's, or go away."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from vx.cass.store import Store
from vx.interfaces import StoreTrouble

KEY = "ab" * 32
ABSENT = "00" * 32


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
    digest = kept.blobs.put_bytes(b"words")
    shutil.rmtree(kept.path)
    assert kept.blobs.missing([digest]).digests == [digest]
    assert kept.stats().blobs == 0
    assert [step.blobs for step in kept.verify()] == [0]
    assert kept.blobs.put_bytes(b"words") == digest
    assert Store(kept.path).blobs.read(digest) == b"words"
    shutil.rmtree(kept.path)
    assert kept.gc(0).removed == 0
    with kept.holds.hold():
        assert kept.stats().holds == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreTrouble, match="denied"):
        Store(str(tmp_path / "cass"))
