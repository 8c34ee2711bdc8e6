"""Damaged files, set aside; the last few only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vx.cass import quarantine
from vx.cass.store import Store

if TYPE_CHECKING:
    import pytest

KEY = "ab" * 32
ABSENT = "00" * 32


def test_the_quarantine_is_bounded(kept: Store, disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "MAX_QUARANTINED", 3)
    for number in range(6):
        digest = kept.blobs.put_bytes(b"%d" % number)
        disk.flip(disk.blob(digest))
        assert kept.blobs.missing([digest]).damaged
    assert kept.stats().quarantined == 3
