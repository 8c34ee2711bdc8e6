"""A shared cache: manifests by their keys in a server's ActionCache.

Owns the two calls.  The blobs that a manifest names are moved by `server`.  Blocks: for threads.
"""

from __future__ import annotations

from typing import Final

from vx.remote import manifests
from vx.remote.digest_functions import DigestFunction
from vx.remote.failures import RemoteFailed
from vx.remote.manifests import ManifestEntry
from vx.remote.protos import remote_execution_pb2 as reapi
from vx.remote.rpc import GET_RESULT, UPDATE_RESULT
from vx.remote.server import SHORT_TIMEOUT_S, Server, digest_of, message, of_bytes

# The blob of a recipe's manifest, a few kilobytes, may come with the answer.
_INLINE: Final = ["entries"]


def get(server: Server, key: str) -> ManifestEntry | None:
    """Return the manifest of a key, or None where there is none; of its contents those that are the blobs'.

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
    found = _checked(manifests.read(key, note, result), function)
    along = _checked(found.along, function) if found.along is not None else None
    return found._replace(along=along)


def _checked(found: ManifestEntry, function: DigestFunction) -> ManifestEntry:
    """Return a manifest without the contents that are not its blobs'."""
    contents = {
        ours: data for ours, data in found.contents.items() if function.of(data) == found.theirs[ours]
    }
    return found._replace(contents=contents)


def put(server: Server, entry: ManifestEntry) -> None:
    """Keep a manifest, whose blobs are there.

    Raises:
        RemoteFailed.
    """
    function = server.capabilities().function
    asked = manifests.action_of(entry.key, function)
    note = manifests.note_of(entry)
    note_digest = function.of(note)
    small = {**asked.blobs, note_digest: note}
    server.put({digest: of_bytes(data) for digest, data in small.items()})
    request = reapi.UpdateActionResultRequest(
        instance_name=server.instance,
        action_digest=message(asked.digest),
        action_result=manifests.result_of(entry, note_digest, note),
        digest_function=function.number,
    )
    server.rpc.unary(UPDATE_RESULT, request, SHORT_TIMEOUT_S)
