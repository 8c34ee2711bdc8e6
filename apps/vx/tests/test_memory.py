"""What is remembered of the store, and which of two results counts."""

import asyncio

import msgspec
import pytest

from vx import digests
from vx.aether.memory import ActionResult, Memory
from vx.interfaces import Blob, KeyTaken, Lookup, Manifest
from vx.keys.recipe import Entries, InputRecord

RECIPE, KEY = "aa" * 32, "bb" * 32


class TwoWriters:
    """A store to which another build has just given its result."""

    def __init__(self, first: Manifest) -> None:
        self.kept = {KEY: first}
        self.entries = b""
        self.asked: list[list[str]] = []
        self.contents: dict[str, bytes] = {}

    async def put_bytes(self, data: bytes) -> str:
        return digests.of_bytes(data)

    async def put_manifests(self, manifests: dict[str, Manifest]) -> None:
        for key, manifest in manifests.items():
            if self.kept.setdefault(key, manifest).blobs != manifest.blobs:
                raise KeyTaken(keys=[key])

    async def get_manifests(self, keys: list[str]) -> Lookup:
        self.asked.append(keys)
        found = {key: self.kept[key] for key in keys if key in self.kept}
        following = [one.note["next"] for one in found.values() if "next" in one.note]
        return Lookup(found | {key: self.kept[key] for key in following}, contents=self.contents)

    async def get_shared(self, keys: list[str]) -> Lookup:
        return await self.get_manifests(keys)

    async def read(self, _digest: str) -> bytes:
        return self.entries


def test_of_two_results_the_first_counts_for_both(caplog: pytest.LogCaptureFixture) -> None:
    """A compiler that does not make the same twice: both builds go on with the same outputs."""
    first = Blob("out", "11" * 32, 1)
    store = TwoWriters(Manifest([first], {"said": "warning"}))
    memory = Memory(store)  # type: ignore[arg-type]
    mine = ActionResult(KEY, {"out": Blob("out", "22" * 32, 2)})
    got = asyncio.run(memory.learn(RECIPE, InputRecord({}, [], {}, KEY), mine))
    assert (got.outputs, got.said) == ({"out": first}, "warning")
    assert memory.known_result(KEY) == got
    assert RECIPE in store.kept
    assert "the first are kept" in caplog.text


OUT = Blob("out", "11" * 32, 1)


@pytest.mark.parametrize(
    "kept",
    [
        Manifest([OUT], {"duration_ms": "long"}),
        Manifest([OUT], {"duration_ms": -1}),
        Manifest([OUT], {"duration_ms": 1 << 60}),
        Manifest([OUT], {"said": [1]}),
        Manifest([], {}),
        Manifest([Blob("../../out", "11" * 32, 1)], {}),
    ],
)
def test_what_is_not_a_result_is_a_miss_and_ours_counts(kept: Manifest) -> None:
    """It came from a cache that others write to: no build may fail by it, nor the next one."""
    memory = Memory(TwoWriters(kept))  # type: ignore[arg-type]
    assert asyncio.run(memory.result(KEY, ["out"])) is None
    mine = ActionResult(KEY, {"out": Blob("out", "22" * 32, 2)})
    assert asyncio.run(memory.learn(RECIPE, InputRecord({}, [], {}, KEY), mine)) == mine
    assert asyncio.run(memory.result(KEY, ["out"])) == mine


@pytest.mark.parametrize("entries", [b"<html>", b'{"entries": 1}', b'{"x": ' + b"[" * 100_000])
def test_entries_of_another_form_are_none(entries: bytes) -> None:
    store = TwoWriters(Manifest())
    store.kept[RECIPE] = Manifest([Blob("entries", "11" * 32, len(entries))])
    store.entries = entries
    memory = Memory(store)  # type: ignore[arg-type]
    assert asyncio.run(memory.entries(RECIPE)) == []
    assert asyncio.run(memory.shared_entries(RECIPE)) == []


@pytest.mark.parametrize("with_contents", [True, False])
def test_a_result_that_came_along_with_its_recipe_is_not_asked_for(with_contents: bool) -> None:
    store = TwoWriters(Manifest([OUT]))
    first = Memory(store)  # type: ignore[arg-type]
    mine = ActionResult(KEY, {"out": OUT})
    entry = InputRecord({"a.c": "33" * 32}, [], {}, KEY)
    asyncio.run(first.learn(RECIPE, entry, mine))
    (blob,) = store.kept[RECIPE].blobs
    store.entries = msgspec.json.encode(Entries([entry]))
    assert store.kept[RECIPE].note == {"next": KEY}
    if with_contents:
        store.contents, store.entries = {blob.digest: store.entries}, b""
    store.asked.clear()

    async def second() -> tuple[list[InputRecord], ActionResult | None]:
        memory = Memory(store)  # type: ignore[arg-type]
        return await memory.entries(RECIPE), await memory.result(KEY, ["out"])

    assert asyncio.run(second()) == ([entry], mine)
    assert store.asked == [[RECIPE]]


def test_a_result_that_came_along_is_forgotten_with_all() -> None:
    store = TwoWriters(Manifest([OUT]))
    store.kept[RECIPE] = Manifest([], {"next": KEY}, grows=True)
    memory = Memory(store)  # type: ignore[arg-type]
    asyncio.run(memory.entries(RECIPE))
    memory.forget()
    store.kept = {}
    assert asyncio.run(memory.result(KEY, ["out"])) is None
