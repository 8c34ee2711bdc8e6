"""Keys that are asked for at the same time are asked for together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from vx.aether.key_batches import MAX_KEYS, KeyBatches
from vx.cass_client import StoreGone
from vx.interfaces import Lookup, Manifest

if TYPE_CHECKING:
    import pytest


class Store:
    """Notes each call, and answers when it may."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.begun: asyncio.Queue[None] = asyncio.Queue()
        self.may_answer = asyncio.Event()
        self.error: Exception | None = None

    async def look_up(self, keys: list[str]) -> Lookup:
        self.calls.append(keys)
        self.begun.put_nowait(None)
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return Lookup({key: Manifest([], {"said": key}) for key in keys})


def test_each_caller_gets_the_call_of_all() -> None:
    async def main() -> None:
        store = Store()
        batches = KeyBatches(store.look_up)
        keys = [str(number) for number in range(MAX_KEYS + 6)]
        store.may_answer.set()
        found = await asyncio.gather(*(batches.look_up(key) for key in [*keys, "0"]))
        assert store.calls == [keys[:MAX_KEYS], keys[MAX_KEYS:]]
        assert all(one.found[key].note == {"said": key} for one, key in zip(found, keys, strict=False))
        await batches.look_up("0")  # a later one asks again: nothing is kept
        assert store.calls[2:] == [["0"]]

    asyncio.run(main())


def test_those_that_ask_while_a_call_is_under_way_begin_another() -> None:
    async def main() -> None:
        store = Store()
        batches = KeyBatches(store.look_up)
        first = asyncio.ensure_future(batches.look_up("a"))
        await store.begun.get()
        second = asyncio.ensure_future(batches.look_up("a"))
        third = asyncio.ensure_future(batches.look_up("b"))
        await store.begun.get()
        store.may_answer.set()
        await asyncio.gather(first, second, third)
        assert store.calls == [["a"], ["a", "b"]]

    asyncio.run(main())


def test_one_that_goes_away_takes_no_other_along() -> None:
    async def main() -> None:
        store = Store()
        batches = KeyBatches(store.look_up)
        gone, stays = (asyncio.ensure_future(batches.look_up(key)) for key in ("a", "a"))
        await store.begun.get()
        gone.cancel()
        await asyncio.wait([gone])
        store.may_answer.set()
        assert "a" in (await stays).found
        assert gone.cancelled()

    asyncio.run(main())


def test_an_error_is_everybodys_and_of_that_call_only(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        store = Store()
        store.error = StoreGone("unix:/s", "it ended")  # type: ignore[arg-type]
        store.may_answer.set()
        batches = KeyBatches(store.look_up)
        failed = await asyncio.gather(*map(batches.look_up, "ab"), return_exceptions=True)
        assert failed == [store.error, store.error]
        leaves = asyncio.ensure_future(batches.look_up("c"))
        await asyncio.sleep(0)
        leaves.cancel()
        await asyncio.wait([leaves])
        store.error = None
        assert "d" in (await batches.look_up("d")).found

    asyncio.run(main())
    assert not caplog.text  # such as that an exception was never retrieved
