"""A manifest of cass as an entry of an ActionCache, and back.

The key of a manifest is made the digest of an Action that nobody runs: its command is `vx manifest KEY`, its
inputs are empty.  So an entry is found by whoever knows vx's key and by nobody else, and every server keeps
it as it keeps results of compilers: with all blobs that it names.  The entry's output files are the
manifest's blobs; its standard output is the rest of the manifest, with the names that the blobs have in cass,
so that nothing needs to be hashed again here.

A recipe's manifest says, for each set of files that a compiler was met with, which files it read, with which
content; a result's names its outputs: see `vx.keys.recipe`.  Owns the form.  Pure.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from vx import digests
from vx.interfaces import NEXT, Blob, Manifest
from vx.remote.digest_functions import DigestFunction, RemoteDigest
from vx.remote.failures import RemoteDamaged
from vx.remote.protos import remote_execution_pb2 as reapi

# Another number makes all entries new.
_FORMAT: Final = "1"
MAX_NOTE_BYTES: Final = 8 << 20
# A note goes along with its entry up to this size: servers bound a message at 4 MiB, and many answer at once.
_INLINE_BYTES: Final = 32 << 10
_MAX_BLOBS: Final = 100_000


# What a number of a note is: a double of any other client holds it, too.
_Number = Annotated[int, msgspec.Meta(gt=-(1 << 53), lt=1 << 53)]


class _Along(msgspec.Struct, frozen=True):
    """A manifest that goes along with another one.

    Attributes:
        at: the names of its blobs on the server.
        contents: as of `_Note`.
    """

    key: str
    blobs: list[Blob]
    at: list[str]
    note: dict[str, str | _Number]
    contents: dict[str, bytes]


class _Note(msgspec.Struct, frozen=True):
    """The rest of a manifest: its key, the blobs by their names in cass, its note.

    Attributes:
        contents: of small blobs, by their names in cass: not every server sends them with an entry.
        along: the manifest that its reader asks for next.
    """

    key: str
    blobs: list[Blob]
    note: dict[str, str | _Number]
    grows: bool
    contents: dict[str, bytes] = {}
    along: _Along | None = None


class ManifestEntry(NamedTuple):
    """What an entry holds.

    Attributes:
        key: the manifest's.
        manifest: it.
        theirs: the names there of its blobs, by those here.
        contents: of small blobs, by their names here: they come with the answer, so that a hit asks once.
            One that was read is what the note says; nobody has looked.
        along: the manifest that whoever finds this one asks for next, without one of its own.
    """

    key: str
    manifest: Manifest
    theirs: Mapping[str, RemoteDigest]
    contents: Mapping[str, bytes]
    along: ManifestEntry | None = None


class KeyAction(NamedTuple):
    """The Action that stands for a key.

    Attributes:
        digest: its digest.
        blobs: it and its parts.
    """

    digest: RemoteDigest
    blobs: dict[RemoteDigest, bytes]


def action_of(key: str, function: DigestFunction) -> KeyAction:
    """Return the Action that stands for a key."""
    command = reapi.Command(arguments=["vx", "manifest", _FORMAT, key]).SerializeToString(deterministic=True)
    action = reapi.Action(
        command_digest=_message(function.of(command)), input_root_digest=_message(function.of(b""))
    ).SerializeToString(deterministic=True)
    parts = {function.of(data): data for data in (command, b"", action)}
    return KeyAction(function.of(action), parts)


def note_of(entry: ManifestEntry) -> bytes:
    """Return the content of an entry's standard output, with what goes along where there is room for it."""
    along = entry.along
    for fuller in (
        entry,
        entry._replace(along=along and along._replace(contents={})),
        entry._replace(along=None),
        entry._replace(contents={}, along=None),
    ):
        data = _encoded(fuller)
        if len(data) <= _INLINE_BYTES:
            break
    return data


def _encoded(entry: ManifestEntry) -> bytes:
    manifest, along = entry.manifest, None
    if entry.along is not None:
        key, other, theirs, contents, _ = entry.along
        at = [theirs[blob.digest].hash for blob in other.blobs]
        along = _Along(key, other.blobs, at, other.note, dict(contents))
    note = _Note(entry.key, manifest.blobs, manifest.note, manifest.grows, dict(entry.contents), along)
    return msgspec.json.encode(note)


def result_of(entry: ManifestEntry, note: RemoteDigest, content: bytes) -> reapi.ActionResult:
    """Return a manifest as an entry.

    Args:
        entry: it, with the names there of its blobs.
        note: the name there of `note_of` it.
        content: that note, which goes along where it is short: a hit is one call less.
    """
    raw = content if len(content) <= _INLINE_BYTES else b""
    result = reapi.ActionResult(stdout_digest=_message(note), stdout_raw=raw)
    result.execution_metadata.worker = "vx"
    for number, blob in enumerate(entry.manifest.blobs):
        path = blob.name if _is_plain(blob.name) else f".vx-blob-{number}"
        result.output_files.add(
            path=path, digest=_message(entry.theirs[blob.digest]), is_executable=blob.executable
        )
    return result


def read(key: str, note: bytes, result: reapi.ActionResult) -> ManifestEntry:
    """Return what an entry holds.

    Raises:
        RemoteDamaged: it is not the entry of this key.
    """
    try:
        told = msgspec.json.decode(note, type=_Note)
        kept: dict[str, Any] = dict(told.note)
    except (msgspec.DecodeError, RecursionError):
        raise RemoteDamaged("its entry is not one of vx's") from None
    if told.key != key or len(told.blobs) != len(result.output_files) or len(told.blobs) > _MAX_BLOBS:
        raise RemoteDamaged("its entry is another key's")
    if any(
        blob.size != file.digest.size_bytes
        for blob, file in zip(told.blobs, result.output_files, strict=True)
    ):
        raise RemoteDamaged("its entry names one blob in two sizes")
    theirs = _names(told.blobs, [file.digest.hash for file in result.output_files])
    came = {
        blob.digest: file.contents
        for blob, file in zip(told.blobs, result.output_files, strict=True)
        if file.contents
    }
    contents = _of_blobs(told.contents | came, theirs)
    along = _along(told.along, kept.get(NEXT)) if told.along is not None else None
    return ManifestEntry(key, Manifest(told.blobs, kept, told.grows), theirs, contents, along)


def _along(told: _Along, key: object) -> ManifestEntry:
    if told.key != key or not digests.is_digest(told.key) or len(told.at) != len(told.blobs):
        raise RemoteDamaged("what goes along with its entry is another key's")
    theirs = _names(told.blobs, told.at)
    note: dict[str, Any] = dict(told.note)
    return ManifestEntry(told.key, Manifest(told.blobs, note), theirs, _of_blobs(told.contents, theirs))


def _names(blobs: Sequence[Blob], at: Sequence[str]) -> dict[str, RemoteDigest]:
    """Return the names there of blobs, by those here."""
    found: dict[str, RemoteDigest] = {}
    for blob, name in zip(blobs, at, strict=True):
        if not digests.is_digest(blob.digest) or not digests.is_digest(name) or blob.size < 0:
            raise RemoteDamaged("its entry names a blob by something that is not a digest")
        found[blob.digest] = RemoteDigest(name, blob.size)
    return found


def _of_blobs(contents: Mapping[str, bytes], theirs: Mapping[str, RemoteDigest]) -> dict[str, bytes]:
    return {ours: data for ours, data in contents.items() if ours in theirs}


def _is_plain(path: str) -> bool:
    parts = path.split("/")
    return posixpath.normpath(path) == path and ".." not in parts and not path.startswith("/") and path != "."


def _message(digest: RemoteDigest) -> reapi.Digest:
    return reapi.Digest(hash=digest.hash, size_bytes=digest.size)
