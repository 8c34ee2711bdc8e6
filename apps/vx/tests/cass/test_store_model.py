"""The store against a model of it: any order of puts, damage, ages, collections, holds and restarts.

What is given is what was put, always; what is missing was removed by a collection that might, or was
damaged; what a hold has seen used stays.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vx import digests
from vx.cass import layout
from vx.cass.store import Store
from vx.interfaces import Blob, BlobMissing, Manifest

CONTENTS = [bytes([65 + number]) * (100 * number) for number in range(6)]
DIGESTS = [digests.of_bytes(content) for content in CONTENTS]
numbers = st.integers(0, len(CONTENTS) - 1)


class StoreMachine(RuleBasedStateMachine):
    """A store, and what is known of it."""

    def __init__(self) -> None:
        super().__init__()
        self.path = tempfile.mkdtemp(prefix="vx-model-")
        self.kept = Store(f"{self.path}/cass")
        self.there: set[int] = set()  # put, and not removed since
        self.damaged: set[int] = set()  # changed behind the store's back since it was put
        self.keys: set[int] = set()  # manifests that were put
        self.used: set[int] = set()  # since the hold began
        self.hold: ExitStack | None = None

    def teardown(self) -> None:
        self.release()
        shutil.rmtree(self.path)

    def file(self, number: int) -> Path:
        return Path(layout.path_of(self.kept.path, "blob", DIGESTS[number]))

    def use(self, number: int) -> None:
        if self.hold is not None:
            self.used.add(number)

    @rule(number=numbers)
    def put(self, number: int) -> None:
        assert self.kept.blobs.put_bytes(CONTENTS[number]) == DIGESTS[number]
        self.there.add(number)
        self.damaged.discard(number)
        self.use(number)

    @rule(number=numbers)
    def read(self, number: int) -> None:
        if number in self.there - self.damaged:
            assert self.kept.blobs.read(DIGESTS[number]) == CONTENTS[number]
            self.use(number)
            return
        with pytest.raises(BlobMissing) as caught:
            self.kept.blobs.read(DIGESTS[number])
        assert bool(caught.value.damaged) == (number in self.damaged)
        self.forget(number)

    def forget(self, number: int) -> None:
        self.there.discard(number)
        self.damaged.discard(number)
        self.used.discard(number)

    @rule()
    def ask_for_all(self) -> None:
        missing = self.kept.blobs.missing(DIGESTS)
        whole = self.there - self.damaged
        assert {DIGESTS.index(one) for one in missing.digests} == set(range(len(CONTENTS))) - whole
        assert {DIGESTS.index(one.name) for one in missing.damaged} == self.damaged
        self.there, self.damaged = whole, set()
        self.used &= whole
        for number in whole:
            self.use(number)

    @rule(number=numbers)
    def put_manifest(self, number: int) -> None:
        manifests = {DIGESTS[number]: Manifest([Blob("x", DIGESTS[number], len(CONTENTS[number]))])}
        if number in self.there - self.damaged:
            self.kept.manifests.put(manifests)
            self.keys.add(number)
            self.use(number)
            return
        with pytest.raises(BlobMissing):
            self.kept.manifests.put(manifests)
        self.forget(number)

    @rule()
    def look_up_all(self) -> None:
        found = {DIGESTS.index(key) for key in self.kept.manifests.get(DIGESTS).found}
        assert found == self.keys & (self.there - self.damaged)
        seen_damaged = self.damaged & self.keys
        self.there -= seen_damaged
        self.damaged -= seen_damaged
        self.used -= seen_damaged
        for number in found:
            self.use(number)

    @precondition(lambda self: self.there - self.damaged - {0})
    @rule(data=st.data())
    def damage(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.there - self.damaged - {0})))
        path = self.file(number)
        path.chmod(0o600)
        if data.draw(st.booleans()):
            at = data.draw(st.integers(0, len(CONTENTS[number]) - 1))
            with path.open("r+b") as file:
                file.seek(at)
                file.write(b"!")
        else:
            os.truncate(path, data.draw(st.integers(0, len(CONTENTS[number]) - 1)))
        self.damaged.add(number)

    @precondition(lambda self: self.hold is None)
    @rule()
    def let_time_pass(self) -> None:
        for folder in (layout.BLOBS, layout.MANIFESTS):
            for path in Path(self.kept.path, folder).glob("*/*"):
                found = path.stat()
                os.utime(path, ns=(found.st_atime_ns - 3600 * 10**9, found.st_mtime_ns))

    @precondition(lambda self: self.hold is None)
    @rule()
    def begin_hold(self) -> None:
        self.let_time_pass()
        self.hold = ExitStack()
        self.hold.enter_context(Store(self.kept.path).holds.hold())
        self.used = set()

    @rule()
    def release(self) -> None:
        if self.hold is not None:
            self.hold.close()
            self.hold = None

    @rule(limit=st.integers(0, 2000))
    def collect(self, limit: int) -> None:
        before = set(self.there)
        collected = self.kept.gc(limit)
        assert collected.held or collected.kept_bytes <= limit
        self.there = {number for number in before if self.file(number).exists()}
        self.damaged &= self.there
        stored = Path(self.kept.path, layout.MANIFESTS)
        self.keys = {
            number for number in self.keys if (stored / DIGESTS[number][:2] / DIGESTS[number][2:]).exists()
        }
        if self.hold is not None:
            assert self.used <= self.there, "a hold's blob was removed"

    @rule()
    def restart(self) -> None:
        self.kept = Store(self.kept.path)

    @invariant()
    def nothing_half_written(self) -> None:
        assert os.listdir(f"{self.kept.path}/tmp") == []


StoreMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestStore = StoreMachine.TestCase
