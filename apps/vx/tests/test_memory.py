"""What is remembered of the store, and which of two results counts."""

import asyncio

import pytest

from vx import digests
from vx.aether.memory import ActionResult, Memory
from vx.interfaces import Blob, KeyTaken, Lookup, Manifest
from vx.keys.recipe import InputRecord

RECIPE, KEY = "aa" * 32, "bb" * 32


class TwoWriters:
    """A store to which another build has just given its result."""

    def __init__(self, first: Manifest) -> None:
        self.kept = {KEY: first}

    async def put_bytes(self, data: bytes) -> str:
        return digests.of_bytes(data)

    async def put_manifests(self, manifests: dict[str, Manifest]) -> None:
        for key, manifest in manifests.items():
            if self.kept.setdefault(key, manifest).blobs != manifest.blobs:
                raise KeyTaken(keys=[key])

    async def get_manifests(self, keys: list[str]) -> Lookup:
        return Lookup({key: self.kept[key] for key in keys if key in self.kept})


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
