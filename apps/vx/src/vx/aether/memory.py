"""What the store was found to hold, kept in this process, so that a build that changes nothing asks nobody.

Owns the memory of entries and results, in front of cass.  It may be wrong in one way only: the store may
have lost, since, a blob that this memory says it holds.  The build that then asks for it hears so, and
calls `forget`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Annotated, Final, TypeVar

import msgspec

from vx.aether.key_batches import KeyBatches
from vx.cass_client import CassClient
from vx.interfaces import NEXT, Blob, BlobMissing, KeyTaken, Lookup, Manifest, next_key
from vx.keys.recipe import Entries, InputRecord, with_entry

logger = logging.getLogger("aether")

# Results and recipes kept; a large workspace in several branches has a few thousand.
MAX_KEPT: Final = 20_000
# Of each, over restarts: a project of some thousand sources, in 20 to 40 MB.
MAX_TOLD: Final = 4_000
# The most of a compiler's warnings that is shown again; as much as fits into a message.
MAX_SAID_CHARS: Final = 100_000
_ENTRIES: Final = "entries"

Value = TypeVar("Value")


class ActionResult(msgspec.Struct, frozen=True):
    """What an action made.

    Attributes:
        key: its key in the store.
        outputs: by their names.
        said: the diagnostics, with colours; "" for none.
        duration_ms: how long it took then.
        told: what a build script said to cargo, with `%{root}` for where it ran.
    """

    key: str
    outputs: dict[str, Blob]
    said: str = ""
    duration_ms: int = 0
    told: str = ""


class _ResultNote(msgspec.Struct, frozen=True):
    """The note of a result, beside its outputs: see `ActionResult`."""

    said: str = ""
    duration_ms: Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)] = 0
    told: str = ""


class SavedMemory(msgspec.Struct, frozen=True):
    """The form in which the memory is kept over restarts: entries by recipe, results by key."""

    entries: dict[str, list[InputRecord]] = {}
    results: dict[str, ActionResult] = {}


class Memory:
    """Entries by recipe, results by key.

    Args:
        cass: the store.

    Attributes:
        epoch: how often all was forgotten.
    """

    def __init__(self, cass: CassClient) -> None:
        self.epoch = 0
        self._cass = cass
        self._stored = KeyBatches(cass.get_manifests)
        self._shared = KeyBatches(cass.get_shared)
        self._entries: dict[str, list[InputRecord]] = {}
        self._results: dict[str, ActionResult] = {}
        # Results that the store gave along with their recipes, until they are asked for.
        self._came_along: dict[str, Manifest] = {}

    def known_entries(self, recipe: str) -> list[InputRecord] | None:
        """Return the entries of a recipe as far as this process knows; None where it never asked."""
        return self._entries.get(recipe)

    def known_result(self, key: str) -> ActionResult | None:
        """Return a result that this process knows."""
        return self._results.get(key)

    def told(self) -> SavedMemory:
        """Return the memory, to be kept over restarts: the newest, if that is too much."""
        return SavedMemory(
            dict(list(self._entries.items())[-MAX_TOLD:]), dict(list(self._results.items())[-MAX_TOLD:])
        )

    def believe(self, told: SavedMemory) -> None:
        """Load the memory of an earlier run."""
        self._entries |= told.entries
        self._results |= told.results

    @property
    def size(self) -> int:
        """How much is known."""
        return len(self._entries) + len(self._results)

    async def entries(self, recipe: str) -> list[InputRecord]:
        """Return the entries of a recipe.

        Raises:
            StoreGone: the store does not answer.
        """
        found = self._entries.get(recipe)
        if found is None:
            found = await self._read_entries(recipe)
            _keep(self._entries, recipe, found)
        return found

    async def shared_entries(self, recipe: str) -> list[InputRecord]:
        """Return the entries of a recipe with those that the shared cache has: other machines made them.

        Raises:
            StoreGone: the store does not answer.
        """
        ours = await self.entries(recipe)
        theirs = await self._entries_in(recipe, await self._shared.look_up(recipe))
        for entry in ours:
            theirs = with_entry(theirs, entry)
        if theirs != ours:
            _keep(self._entries, recipe, theirs)
        return theirs

    async def result(self, key: str, outputs: Collection[str]) -> ActionResult | None:
        """Return a result, or None if the store does not have it, whole.

        Args:
            key: its key.
            outputs: the names of those that it must have.

        Raises:
            StoreGone: the store does not answer.
        """
        found = self._results.get(key)
        if found is not None:
            return found
        manifest = self._came_along.pop(key, None)
        if manifest is None:
            manifest = (await self._stored.look_up(key)).found.get(key)
        if manifest is None:
            return None
        return self._learn(key, manifest, outputs)

    async def learn(self, recipe: str, entry: InputRecord, result: ActionResult) -> ActionResult:
        """Keep a new result and the entry that leads to it, here and in the store; return what counts.

        Where the store has another result under that key, that one counts: it was made of the same, by a
        compiler that does not make the same twice, and others have used it.

        Raises:
            StoreGone, StoreFull, BlobMissing: it could not be kept; it is not remembered either.
        """
        blobs = [msgspec.structs.replace(blob, name=name) for name, blob in result.outputs.items()]
        note = {"said": result.said, "duration_ms": result.duration_ms, "told": result.told}
        if len(result.said) > MAX_SAID_CHARS:
            note["said"] = result.said[:MAX_SAID_CHARS] + "\n... (the rest is left out)\n"
        entries = with_entry(await self.entries(recipe), entry)
        data = msgspec.json.encode(Entries(entries))
        digest = await self._cass.put_bytes(data)
        try:
            await self._cass.put_manifests({result.key: Manifest(blobs, note)})
        except KeyTaken:
            result = await self._first(result)
        listed = Manifest([Blob(_ENTRIES, digest, len(data))], {NEXT: result.key}, grows=True)
        await self._cass.put_manifests({recipe: listed})
        _keep(self._entries, recipe, entries)
        _keep(self._results, result.key, result)
        return result

    async def _first(self, result: ActionResult) -> ActionResult:
        """Return the result that the store keeps under the key of one that it refused."""
        manifest = (await self._cass.get_manifests([result.key])).found.get(result.key)
        if manifest is None:  # removed since: our own result is as good
            return result
        first = self._learn(result.key, manifest, result.outputs)
        if first is None:  # whatever it is, nobody can use it
            return result
        logger.warning("two runs made different outputs; the first are kept: %s", result.key)
        return first

    def forget(self) -> None:
        """Forget everything: the store has not all of it any more."""
        self.epoch += 1
        self._entries.clear()
        self._results.clear()
        self._came_along.clear()

    async def _read_entries(self, recipe: str) -> list[InputRecord]:
        return await self._entries_in(recipe, await self._stored.look_up(recipe))

    async def _entries_in(self, recipe: str, lookup: Lookup) -> list[InputRecord]:
        """Return the entries in a recipe's manifest; note the results that came along with it."""
        listed = lookup.found.get(recipe, Manifest())
        following = next_key(listed)
        if following in lookup.found:
            _keep(self._came_along, following, lookup.found[following])
        for blob in listed.blobs:
            if blob.name == _ENTRIES:
                try:
                    data = lookup.contents.get(blob.digest) or await self._cass.read(blob.digest)
                    return msgspec.json.decode(data, type=Entries).entries
                except (BlobMissing, msgspec.DecodeError, RecursionError):
                    return []  # gone meanwhile, or of another form: a miss
        return []

    def _learn(self, key: str, manifest: Manifest, outputs: Collection[str]) -> ActionResult | None:
        """Return the result in a manifest; None for any other, as from a cache that others write to."""
        blobs = {blob.name: blob for blob in manifest.blobs}
        try:
            note = msgspec.convert(manifest.note, _ResultNote)
        except msgspec.ValidationError:
            note = None
        if note is None or not blobs.keys() >= set(outputs):
            logger.warning("what the store has under %s is not a result; it is passed over", key)
            return None
        result = ActionResult(key, blobs, note.said, note.duration_ms, note.told)
        _keep(self._results, key, result)
        return result


def _keep(table: dict[str, Value], key: str, value: Value) -> None:
    table.pop(key, None)
    table[key] = value
    while len(table) > MAX_KEPT:
        del table[next(iter(table))]
