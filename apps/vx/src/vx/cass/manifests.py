"""Manifests: which blobs stand under a key; each is written once.

Owns the checks before a manifest is written.  Its form is `layout`'s.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Mapping

from vx.cass import files, layout
from vx.cass.blobs import Blobs
from vx.cass.directory import Absent, Directory
from vx.cass.new_file import NewFile
from vx.cass.quarantine import Quarantine
from vx.interfaces import BlobMissing, Damage, KeyTaken, Lookup, Manifest, NameInvalid

logger = logging.getLogger("vx.cass")


class Manifests:
    """The manifests of one store.

    Args:
        directory: the store's.
        quarantine: where damaged ones go.
        blobs: which blobs there are.
    """

    def __init__(self, directory: Directory, quarantine: Quarantine, blobs: Blobs) -> None:
        self._directory = directory
        self._quarantine = quarantine
        self._blobs = blobs
        # Between the look at a key and the write to it, no other thread of this process writes.
        self._putting = threading.Lock()

    def put(self, manifests: Mapping[str, Manifest]) -> None:
        """Store manifests under their keys; all are checked before the first is written.

        Each is written once.  A manifest that is there with the same blobs stays as it is.

        Raises:
            KeyTaken: other blobs stand under a key, are all there, and one of the two lists does not grow.
            NameInvalid: a key, or a digest in one, has not the form; a size is wrong; one is too large.
            BlobMissing: one names blobs that are not there.
            StoreFull, StoreTrouble: those that were written before stay.
        """
        encoded = {key: self._encoded(key, manifest) for key, manifest in manifests.items()}
        missing = self._blobs.missing(blob.digest for one in manifests.values() for blob in one.blobs)
        if missing.digests:
            raise BlobMissing(digests=missing.digests, damaged=missing.damaged)
        for key, manifest in manifests.items():
            self._check_sizes(key, manifest)
        with self._putting:
            there = self.get(encoded).found
            taken = [key for key, one in there.items() if not layout.may_follow(one, manifests[key])]
            if taken:
                logger.warning("refused: other blobs are kept under %s", ", ".join(taken))
                raise KeyTaken(keys=taken)
            for key, data in encoded.items():
                if key not in there or there[key].grows:
                    self._write(key, data)

    def get(self, keys: Iterable[str]) -> Lookup:
        """Return the manifests of these keys whose blobs are all there; all of it counts as used now.

        Raises:
            NameInvalid: a key has not the form.
            StoreTrouble: the store cannot be read.
        """
        found = {}
        damaged: list[Damage] = []
        for key in keys:
            try:
                manifest = self._read(key)
                if manifest is not None and self._has_all(manifest, damaged):
                    found[key] = manifest
            except Absent as absent:
                if absent.damage is not None:
                    damaged.append(absent.damage)
        return Lookup(found, damaged)

    def verify(self, key: str) -> int:
        """Read a manifest again; return its size in bytes.

        Raises:
            Absent: it is not there, or was found damaged.
            StoreTrouble: it cannot be read.
        """
        manifest = self._read(key)
        if manifest is None:
            raise Absent(key)
        return len(layout.encode(key, manifest))

    # --- one manifest -----------------------------------------------------------------------------

    def _read(self, key: str) -> Manifest | None:
        path = self._directory.path_of("manifest", key)
        try:
            fd = self._directory.open(path, key)
        except Absent:
            return None
        try:
            found = os.fstat(fd)
            data = os.pread(fd, layout.MAX_MANIFEST_BYTES, 0)
            if not files.was_just_used(found):
                files.note_use(fd, found)
        except OSError as error:
            raise files.store_error(path, error) from error
        finally:
            os.close(fd)
        try:
            return layout.decode(key, data)
        except layout.Unsound as unsound:
            damage = self._quarantine.set_aside("manifest", key, found, str(unsound))
            raise Absent(key, damage) from None

    def _write(self, key: str, data: bytes) -> None:
        pieces = iter((data, b""))
        with NewFile(self._directory) as new:
            new.copy(lambda: next(pieces))
            new.publish("manifest", key)

    def _has_all(self, manifest: Manifest, damaged: list[Damage]) -> bool:
        for blob in manifest.blobs:
            try:
                self._blobs.require(blob.digest)
            except Absent as absent:
                if absent.damage is not None:
                    damaged.append(absent.damage)
                return False
        return True

    # --- checks -----------------------------------------------------------------------------------

    def _encoded(self, key: str, manifest: Manifest) -> bytes:
        self._directory.path_of("manifest", key)  # raises for a wrong form
        reason = layout.why_not(manifest)
        data = layout.encode(key, manifest)
        if len(data) > layout.MAX_MANIFEST_BYTES:
            reason = f"the manifest has {len(data)} bytes; the limit is {layout.MAX_MANIFEST_BYTES}"
        if reason:
            raise NameInvalid(name=key, reason=reason)
        return data

    def _check_sizes(self, key: str, manifest: Manifest) -> None:
        for blob in manifest.blobs:
            try:
                size = self._blobs.require(blob.digest).st_size
            except Absent as absent:
                damaged = [] if absent.damage is None else [absent.damage]
                raise BlobMissing(digests=[blob.digest], damaged=damaged) from None
            if size != blob.size:
                reason = f"the blob {blob.name!r} has {size} bytes and not {blob.size}"
                raise NameInvalid(name=key, reason=reason)
