"""The store's layout and the form of its manifests: names in, paths and bytes out.

    STORE/
      format             what wrote this store: "vx store 1"
      blobs/ab/cdef...   a blob, 0444, under its digest; atime: its last use, mtime: the same for all
      manifests/ab/...   a manifest, under its key
      tmp/               files that are being written; the writer holds a lock on its own
      holds/             a locked file for each build that holds its files; mtime: since when
      quarantine/        files that were found damaged
      gc.lock            held by whoever removes

A manifest's first line is "vx manifest 2 DIGEST" with the digest of its key and of all that follows,
which is JSON: so it can be verified on read as a blob can, and one that stands under another key than
its own is seen.  No I/O here.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from vx import digests
from vx.interfaces import Manifest

FORMAT: Final = b"vx store 1\n"
BLOBS: Final = "blobs"
MANIFESTS: Final = "manifests"
DIRECTORIES: Final = (BLOBS, MANIFESTS, "tmp", "holds", "quarantine")

# A manifest names the outputs of one step, and its inputs; glibc's build reads 9,000 headers.
MAX_MANIFEST_BYTES: Final = 4 << 20

_MAGIC: Final = b"vx manifest 2 "
_HEAD_BYTES: Final = len(_MAGIC) + digests.DIGEST_CHARS + 1
_decoder = msgspec.json.Decoder(Manifest)

Kind = Literal["blob", "manifest"]
FOLDERS: Final[dict[Kind, str]] = {"blob": BLOBS, "manifest": MANIFESTS}


class Unsound(ValueError):
    """Bytes are not the manifest that was written; says why."""


def path_of(store: str, kind: Kind, name: str) -> str:
    """Return where a blob or manifest is; `name` has the form of a digest."""
    return f"{store}/{FOLDERS[kind]}/{name[:2]}/{name[2:]}"


def encode(key: str, manifest: Manifest) -> bytes:
    """Return a manifest as the bytes of its file."""
    body = msgspec.json.encode(manifest)
    return _head(key, body) + body


def _head(key: str, body: bytes) -> bytes:
    return b"%s%s\n" % (_MAGIC, digests.of_bytes(key.encode() + b"\n" + body).encode())


def decode(key: str, data: bytes) -> Manifest:
    """Return the manifest that `encode` made these bytes from.

    Raises:
        Unsound: they are not such bytes.
    """
    if not data.startswith(_MAGIC):
        raise Unsound("does not begin as a manifest" if data else "is empty")
    if len(data) < _HEAD_BYTES:
        raise Unsound("is cut short")
    body = data[_HEAD_BYTES:]
    if data[:_HEAD_BYTES] != _head(key, body):
        raise Unsound("is not the manifest of this key")
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError as error:  # written whole, by something else
        raise Unsound(f"cannot be understood: {error}") from None


def why_not(manifest: Manifest) -> str:
    """Return why a manifest cannot be kept, or ""."""
    for blob in manifest.blobs:
        if not digests.is_digest(blob.digest):
            return f"the blob {blob.name!r} has no digest but {blob.digest[:80]!r}"
        if blob.size < 0:
            return f"the blob {blob.name!r} has the size {blob.size}"
    return ""


def may_follow(there: Manifest, new: Manifest) -> bool:
    """Whether a manifest may be put where one is: it is the same, or both are lists that grow."""
    return there.blobs == new.blobs or (there.grows and new.grows)
