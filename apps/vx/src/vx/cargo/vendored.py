"""Crates of directory sources (`cargo vendor`), compared with the checksums that stand beside them.

Owns the form of `.cargo-checksum.json` and the comparison, which is cargo's own (its directory source):
each file that is listed must be there with that SHA-256, and one that is not listed does not count.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec
from blake3 import blake3

from vx import digests
from vx.project.errors import ProjectInvalid

CHECKSUMS: Final = ".cargo-checksum.json"
# A crate of ten thousand files has 1 MiB of checksums.
MAX_CHECKSUMS_BYTES: Final = 16 << 20
# Files whose SHA-256 is remembered, by their digests; 200 bytes each.
_MOST_KNOWN: Final = 200_000
_MOST_LISTS: Final = 2_000
_REMEDY: Final = "take the crate again (`cargo vendor`), or name a copy of it in [patch] and edit that"


class _Checksums(msgspec.Struct, frozen=True):
    """What the file says, as far as it is compared.

    Attributes:
        files: SHA-256 in hexadecimal, by path in the crate.
    """

    files: dict[str, str]


class VendoredCrates:
    """The comparison, and the checksums of files that were read before.

    Args:
        digest: of a file's content, remembered while the file rests; None where there is none.
    """

    def __init__(self, digest: Callable[[str], str | None]) -> None:
        self._digest = digest
        self._sha256: dict[str, str] = {}
        self._lists: dict[str, dict[str, str]] = {}

    def check(self, directories: Iterable[str]) -> None:
        """Refuse a crate that is not what its checksums say.

        Args:
            directories: of the crates, absolute.

        Raises:
            ProjectInvalid: a file is another, or missing; or the checksums cannot be read.
        """
        for error in self.refused(directories):
            raise error

    def refused(self, directories: Iterable[str]) -> Iterator[ProjectInvalid]:
        """Return what `check` would refuse, the first fault of each crate."""
        for directory in directories:
            try:
                self._check(directory)
            except ProjectInvalid as error:
                yield error

    def _check(self, directory: str) -> None:
        for name, listed in self._listed(directory).items():
            path = f"{directory}/{name}"
            if posixpath.isabs(name) or ".." in name.split("/"):
                raise ProjectInvalid(
                    f"{directory}/{CHECKSUMS}", f"lists {name!r}, which is not below the crate: {_REMEDY}"
                )
            try:
                found = self._sha256_of(path)
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                raise ProjectInvalid(
                    f"{directory}/{CHECKSUMS}", f"lists {name!r}, which cannot be read ({reason}): {_REMEDY}"
                ) from None
            if found != listed:
                raise ProjectInvalid(
                    path, f"is not as {CHECKSUMS} beside the crate's manifest has it: {_REMEDY}"
                )

    def _listed(self, directory: str) -> dict[str, str]:
        path = f"{directory}/{CHECKSUMS}"
        try:
            digest = self._digest(path)
            known = self._lists.get(digest or "")
            if known is not None:
                return known
            with open(digests.open_file(path), "rb") as file:
                data = file.read(MAX_CHECKSUMS_BYTES + 1)
        except OSError as error:
            raise ProjectInvalid(path, f"cannot be read ({error.strerror}): {_REMEDY}") from None
        if len(data) > MAX_CHECKSUMS_BYTES:
            raise ProjectInvalid(path, f"has more than {MAX_CHECKSUMS_BYTES >> 20} MiB: {_REMEDY}")
        try:
            found = msgspec.json.decode(data, type=_Checksums).files
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            raise ProjectInvalid(path, f"is no list of checksums ({error}): {_REMEDY}") from None
        if len(self._lists) >= _MOST_LISTS:
            self._lists.clear()
        self._lists[digests.of_bytes(data)] = found
        return found

    def _sha256_of(self, path: str) -> str:
        digest = self._digest(path)
        known = self._sha256.get(digest or "")
        return known if known is not None else self._read(path)

    def _read(self, path: str) -> str:
        # Both of the same bytes: the file may change between two readings.
        sha256, own = hashlib.sha256(), blake3()
        fd = digests.open_file(path)
        try:
            offset = 0
            while piece := os.pread(fd, digests.PIECE_BYTES, offset):
                sha256.update(piece)
                own.update(piece)
                offset += len(piece)
        finally:
            os.close(fd)
        if len(self._sha256) >= _MOST_KNOWN:
            self._sha256.clear()
        self._sha256[own.hexdigest()] = sha256.hexdigest()
        return sha256.hexdigest()
