"""Digests of files, remembered as long as the file is surely the same.

Owns the memory and its rule.  A file is taken for the same when its size, times of change (mtime and
ctime, in nanoseconds), inode and device are.  That alone could be wrong: a file may change twice
within one tick of the file system's clock.  So a digest read within such a tick of the last change is
not trusted and read again, as git does with its index ("racy git").  The ctime counts because no
program can set it: `touch -d` and `cp -p` show.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from vx import digests

# Linux stamps files by a clock that ticks at least every 10 ms (HZ=100).
FINE_TICK_NS: Final = 50_000_000
# FAT counts in 2 s, others in 1 s; their times have no fraction.
COARSE_TICK_NS: Final = 2_050_000_000
# Files that are remembered; about 300 bytes each.
MAX_KNOWN: Final = 500_000
# Of those that are kept over restarts: 20 MiB, read in a quarter of a second.
MAX_TOLD: Final = 100_000
_SECOND_NS: Final = 1_000_000_000


class Signature(NamedTuple):
    """What a file looks like without reading it."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int


class KnownDigest(NamedTuple):
    """The digest of a file, and its signature when it was read.

    Attributes:
        signature: of the file then.
        digest: of its content.
        settled: whether it was read long enough after its last change.
    """

    signature: Signature
    digest: str
    settled: bool


def signature_of(found: os.stat_result) -> Signature:
    """Return the signature that `stat` tells."""
    return Signature(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)


def is_settled(signature: Signature, read_at_ns: int) -> bool:
    """Whether a file that looked so when it was read cannot change without looking otherwise.

    Args:
        signature: before it was read.
        read_at_ns: when reading began, since 1970.
    """
    mtime_ns, ctime_ns = signature.mtime_ns, signature.ctime_ns
    coarse = ctime_ns % _SECOND_NS == 0
    # A ctime with a fraction follows each change by itself.  The mtime may be anybody's: whole seconds from
    # an archive, or in the future.  Where it is the later one, the ctime may be one that does not follow.
    last_ns = ctime_ns if not coarse and mtime_ns > read_at_ns else max(mtime_ns, ctime_ns)
    coarse = coarse or (last_ns > ctime_ns and mtime_ns % _SECOND_NS == 0)
    return last_ns + (COARSE_TICK_NS if coarse else FINE_TICK_NS) <= read_at_ns


def _is_at(path: str, known: KnownDigest) -> bool:
    try:
        found = os.stat(path)
    except OSError:
        return False
    # A plain tuple: a third of a Signature's price, and a large project has thousands.
    return known.signature == (
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_ino,
        found.st_dev,
    )


class SavedDigest(NamedTuple):
    """The digest of a file as it is kept over restarts: path, signature, digest."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    digest: str


class FileDigests:
    """The memory; one for all builds.

    Attributes:
        hashed: how many files were read so far, for `status`.
    """

    def __init__(self) -> None:
        self._known: dict[str, KnownDigest] = {}
        self.hashed = 0

    def _keep(self, path: str, known: KnownDigest) -> None:
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()  # reading all again is rare, and takes a second or two
        self._known[path] = known

    def digest(self, path: str) -> str | None:
        """Return the digest of the file at an absolute path; None where there is none.

        Raises:
            OSError: it is there and cannot be read.
        """
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            self._known.pop(path, None)
            return None
        known = self._known.get(path)
        if known is not None and known.settled and known.signature == signature_of(found):
            return known.digest
        return self._read(path)

    def all_are(self, wanted: Mapping[str, str]) -> bool:
        """Whether each of these files, by absolute path, has this digest: many at once, so in one loop.

        Raises:
            OSError: one is there and cannot be read.
        """
        for path, digest in wanted.items():
            known = self._known.get(path)
            if known is not None and known.settled and known.digest == digest and _is_at(path, known):
                continue
            if self.digest(path) != digest:
                return False
        return True

    def learned(self, path: str, digest: str) -> None:
        """Note the digest of a file that this process has just written whole: it need not be read."""
        try:
            found = os.stat(path)
        except OSError:
            return
        signature = signature_of(found)
        self._keep(path, KnownDigest(signature, digest, is_settled(signature, time.time_ns())))

    def told(self) -> list[SavedDigest]:
        """Return the digests that are known for sure, to be kept: the newest, if there are too many."""
        found = [
            SavedDigest(path, *one.signature, one.digest)
            for path, one in list(self._known.items())
            if one.settled
        ]
        return [one for one in found[-MAX_TOLD:] if one.path.isprintable()]

    def believe(self, told: Iterable[SavedDigest]) -> None:
        """Load digests of an earlier run; a file that has changed since is read when it is needed."""
        for path, *signature, digest in told:
            self._known.setdefault(path, KnownDigest(Signature(*signature), digest, settled=True))

    def _read(self, path: str) -> str | None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            # Before reading: a change while it is read makes the next look find another signature.
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                return f"no file but {stat.filemode(found.st_mode)[0]}"
            read_at_ns = time.time_ns()
            digest, _ = digests.of_fd(fd)
        finally:
            os.close(fd)
        self.hashed += 1
        signature = signature_of(found)
        self._keep(path, KnownDigest(signature, digest, is_settled(signature, read_at_ns)))
        return digest
