"""Anything may lie where vx keeps something: each step ends, by success or one error, and loses nothing."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemonry.testing import odd_files
from vx.cass.store import Store
from vx.interfaces import BlobMissing, Manifest, StoreFull, StoreTrouble
from vx.reports import run_files

# Nothing here takes as long on any machine: it would wait for ever.
HANGS_S = 60
TROUBLE = (StoreTrouble, StoreFull, BlobMissing)

pytestmark = pytest.mark.usefixtures("hangs")


@pytest.fixture
def hangs() -> Iterator[None]:
    """What waits for ever is interrupted, and has failed."""

    def fail(*_: object) -> None:
        raise AssertionError(f"it waits for ever, or for more than {HANGS_S} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(HANGS_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def try_all(path: Path, blob: str, key: str) -> list[str]:
    """Do all that a store can; return what it says of trouble, each in one line."""
    said = []

    def attempt(step: object) -> None:
        try:
            step()  # type: ignore[operator]
        except TROUBLE as trouble:
            said.append(str(trouble))

    try:
        store = Store(str(path))
    except TROUBLE as trouble:
        return [str(trouble)]
    for step in (
        lambda: store.blobs.put_bytes(b"more"),
        lambda: store.blobs.missing([blob]),
        lambda: store.blobs.read(blob),
        lambda: store.manifests.get([key]),
        store.stats,
        lambda: store.holds.hold().__enter__(),
        lambda: list(store.verify()),
        lambda: store.gc(0, dry_run=True),
        lambda: store.gc(1 << 40),
        lambda: Store(str(path)),
    ):
        attempt(step)
    return said


PLACES = ("format", "gc.lock", "tmp/left", "holds/left", "quarantine/left", "blob", "manifest")
# What nobody has locked there is a dead writer's, and is removed.
SWEPT = {"tmp", "holds"}
FOLDERS = ("blobs", "manifests", "tmp", "holds", "quarantine")


@pytest.mark.parametrize("kind", odd_files.KINDS)
@pytest.mark.parametrize("name", [*PLACES, *FOLDERS])
def test_a_store_goes_on_or_says_what_lies_there(tmp_path: Path, kind: str, name: str) -> None:
    store = Store(str(tmp_path / "cass"))
    blob = store.blobs.put_bytes(b"words")
    key = "ab" * 32
    store.manifests.put({key: Manifest()})
    path = (
        tmp_path
        / "cass"
        / {"blob": f"blobs/{blob[:2]}/{blob[2:]}", "manifest": f"manifests/ab/{key[2:]}"}.get(name, name)
    )
    odd_files.put(kind, path)
    for line in try_all(tmp_path / "cass", blob, key):
        assert "\n" not in line
    aside = [*(tmp_path / "cass/quarantine").glob(f"{name}-*/inside")]
    if aside:
        assert aside[0].read_text() == "mine"
    elif name.partition("/")[0] not in SWEPT:
        odd_files.nothing_lost(kind, path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", odd_files.KINDS)
def test_a_run_report_that_is_none_is_passed_over(tmp_path: Path, kind: str) -> None:
    folder = Path(run_files.runs_dir(str(tmp_path)))
    folder.mkdir(parents=True)
    run_id = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    path = folder / f"{run_id}.json"
    odd_files.put(kind, path)
    assert run_files.read(str(tmp_path), run_id) is None
    assert run_files.read_all(str(tmp_path)) == []
    odd_files.nothing_lost(kind, path)
