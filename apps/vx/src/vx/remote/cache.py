"""A shared cache: manifests by their keys in a server's ActionCache.

Owns the two calls.  The blobs that a manifest names are moved by `server`.  Blocks: for threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from vx.interfaces import Manifest
from vx.remote import manifests
from vx.remote.digest_functions import RemoteDigest
from vx.remote.failures import RemoteFailed
from vx.remote.protos import remote_execution_pb2 as reapi
from vx.remote.rpc import GET_RESULT, UPDATE_RESULT
from vx.remote.server import SHORT_TIMEOUT_S, Server, digest_of, message, of_bytes

# The blob of a recipe's manifest, a few kilobytes, may come with the answer.
_INLINE: Final = ["entries"]


class Found(NamedTuple):
    """A manifest of the cache.

    Attributes:
        manifest: it.
        theirs: the names there of its blobs, by those here.
        contents: of blobs that came with the answer.
    """

    manifest: Manifest
    theirs: dict[str, RemoteDigest]
    contents: dict[RemoteDigest, bytes]


def get(server: Server, key: str) -> Found | None:
    """Return the manifest of a key, or None where there is none.

    Raises:
        RemoteFailed: as `Server.get`; or what stands there is not a manifest of this key.
    """
    function = server.capabilities().function
    request = reapi.GetActionResultRequest(
        instance_name=server.instance,
        action_digest=message(manifests.action_of(key, function).digest),
        inline_stdout=True,
        inline_output_files=_INLINE,
        digest_function=function.number,
    )
    try:
        result = server.rpc.unary(GET_RESULT, request, SHORT_TIMEOUT_S)
    except RemoteFailed as error:
        if error.code == "NOT_FOUND":
            return None
        raise
    note = result.stdout_raw
    digest = digest_of(result.stdout_digest) if result.HasField("stdout_digest") else None
    if not note and digest is not None:
        note = server.read(digest, manifests.MAX_NOTE_BYTES)
    found = manifests.read(key, note, result)
    came = {digest_of(one.digest): one.contents for one in result.output_files if one.contents}
    contents = {at: data for at, data in (found.contents | came).items() if function.of(data) == at}
    return Found(found.manifest, found.theirs, contents)


def put(
    server: Server,
    key: str,
    manifest: Manifest,
    theirs: Mapping[str, RemoteDigest],
    contents: Mapping[str, bytes],
) -> None:
    """Keep a manifest, whose blobs are there.

    Args:
        server: the cache.
        key: the manifest's.
        manifest: it.
        theirs: the names there of its blobs, by those here.
        contents: of small ones, by their names here: they go along with the entry, so that a hit asks once.

    Raises:
        RemoteFailed.
    """
    function = server.capabilities().function
    asked = manifests.action_of(key, function)
    note = manifests.note_of(key, manifest, contents)
    note_digest = function.of(note)
    small = {**asked.blobs, note_digest: note}
    server.put({digest: of_bytes(data) for digest, data in small.items()})
    request = reapi.UpdateActionResultRequest(
        instance_name=server.instance,
        action_digest=message(asked.digest),
        action_result=manifests.entry(manifest, theirs, note_digest, note),
        digest_function=function.number,
    )
    server.rpc.unary(UPDATE_RESULT, request, SHORT_TIMEOUT_S)
