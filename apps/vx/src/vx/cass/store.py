"""The store on the disk: puts, gives, verifies, sets aside, removes.

Owns every system call on the store's files, and the promises:

    whole       a file has its name only when all of it is written: it is written elsewhere, locked,
                and renamed.  A writer that is killed leaves a file in tmp/ without a lock, which
                the next `Store` removes.
    verified    nothing is given, or said to be there, that this object has not read and hashed;
                again whenever the file is another, or was written to.  What fails is set aside.
    shared      any number of processes and threads may use one store at the same time.
    kept        what is used while a `hold` is held is not removed.

Nothing is flushed to the disk (fsync).  A cache whose last minute is gone after a power cut costs
a rebuild; a flush costs milliseconds for each of thousands of files; and a file that a power cut
left empty or torn fails its verification like any other, so it can cost time and never truth.

Usable without the daemon.  All of it blocks.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import secrets
import select
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

from blake3 import blake3

from daemonry import open_regular
from vx import digests
from vx.cass import collect, layout
from vx.cass.collect import Entry
from vx.cass.layout import Kind
from vx.interfaces import (
    BLOB_TIME_S,
    BlobMissing,
    Collected,
    Damage,
    KeyTaken,
    Lookup,
    Manifest,
    Missing,
    NameInvalid,
    StoreFull,
    StoreStats,
    StoreTrouble,
    Verified,
)

logger = logging.getLogger("vx.cass")

# ccache's default is 5 GiB, sccache's 10, Bazel's disk cache has none.
MAX_STORE_BYTES: Final = 10 << 30
# Larger than any object file; a pipe that never ends stops here.
MAX_BLOB_BYTES: Final = 4 << 30
# A pipe through which nothing comes does not keep a thread for ever.
# How long a file that `gc` has aside is waited for; it looks at one time and decides.
ASIDE_PATIENCE_S: Final = 2.0
_ASIDE_LOOK_S: Final = 0.001
READ_TIMEOUT_S: Final = 30.0
# What is set aside is for a person to look at.  Older ones go.
MAX_QUARANTINED: Final = 32
# How often a check of the whole store tells how far it is, in blobs.
VERIFY_STEP: Final = 256

_NO_ROOM: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

Found = TypeVar("Found")
_NOATIME: Final = getattr(os, "O_NOATIME", 0)

# What tells one state of a file from another: inode, size, time of the last write.
Seen = tuple[int, int, int]


class Absent(Exception):
    """A blob is not there; `damage` says whether it was until now."""

    def __init__(self, digest: str, damage: Damage | None = None) -> None:
        super().__init__(digest)
        self.digest = digest
        self.damage = damage


class Store:
    """A store in a directory of its own, which is made if it is not there.

    Args:
        path: the directory.
        max_bytes: what `gc` reduces it to by default.

    Raises:
        StoreTrouble: the directory cannot be used, or is another program's.
        StoreFull: there is no room to make it.
    """

    def __init__(self, path: str, max_bytes: int = MAX_STORE_BYTES) -> None:
        self.path = os.path.abspath(path)
        self.max_bytes = max_bytes
        # Blobs that were found whole, and the state of the file in which they were.
        self._whole: dict[str, Seen] = {}
        # Between a look at what is under a key and the write to it, nobody else writes.
        self._putting = threading.Lock()
        with self._telling(self.path):
            self._make_directories()
            self._check_format()
            self._sweep()

    # --- blobs ------------------------------------------------------------------------------------

    def put_bytes(self, data: bytes) -> str:
        """Keep `data`; return its digest.

        Raises:
            StoreFull, StoreTrouble: nothing is kept.
        """
        return self._write("blob", _reader_of(data))[0]

    def put_fd(self, fd: int) -> tuple[str, int]:
        """Keep the content of a file, a pipe or a socket; return its digest and size.

        A file is read from its beginning and its position stays; others are read to their end.

        Raises:
            OSError: it cannot be read, or nothing came through it for `READ_TIMEOUT_S`.
            StoreFull, StoreTrouble: nothing is kept.
        """
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return self._write("blob", lambda: _read_in_time(fd))
        offset = 0

        def read() -> bytes:
            nonlocal offset
            piece = os.pread(fd, digests.PIECE_BYTES, offset)
            offset += len(piece)
            return piece

        return self.put_from(read)

    def put_from(self, read: Callable[[], bytes]) -> tuple[str, int]:
        """Keep what `read` gives, until it gives b""; return its digest and size.

        Raises:
            StoreFull, StoreTrouble, or what `read` raises: nothing is kept.
        """
        return self._write("blob", read)

    def put_path(self, path: str) -> tuple[str, int]:
        """Keep the content of the file at `path`; otherwise as `put_fd`."""
        fd = digests.open_file(path)
        try:
            return self.put_fd(fd)
        finally:
            os.close(fd)

    def missing(self, wanted: Iterable[str]) -> Missing:
        """Return which of these blobs are not there; the others count as used now.

        Raises:
            NameInvalid: one is no digest.
            StoreTrouble: the store cannot be read.
        """
        gone: dict[str, None] = {}
        damaged = []
        for digest in dict.fromkeys(wanted):
            try:
                self._require(digest)
            except Absent as absent:
                gone[digest] = None
                if absent.damage is not None:
                    damaged.append(absent.damage)
        return Missing(list(gone), damaged)

    def open_blob(self, digest: str) -> int:
        """Return a descriptor of a blob's file, open for reading, at its beginning.

        Raises:
            NameInvalid: it is no digest.
            BlobMissing: it is not there, or is there no more.
            StoreTrouble: the store cannot be read.
        """
        return self.open_blobs([digest])[0]

    def open_blobs(self, wanted: Iterable[str]) -> list[int]:
        """Return a descriptor for each of these blobs: all, or none; otherwise as `open_blob`."""
        fds: list[int] = []
        absent: list[Absent] = []
        try:
            for digest in wanted:
                try:
                    fds.append(self._open_whole(digest))
                except Absent as one:
                    absent.append(one)
            if absent:
                raise BlobMissing(
                    digests=[one.digest for one in absent],
                    damaged=[one.damage for one in absent if one.damage is not None],
                )
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        return fds

    def read_blob(self, digest: str) -> bytes:
        """Return a blob's content; otherwise as `open_blob`."""
        with open(self.open_blob(digest), "rb") as file:
            return file.read()

    # --- manifests --------------------------------------------------------------------------------

    def put_manifests(self, manifests: Mapping[str, Manifest]) -> None:
        """Keep manifests under their keys: checked all of them before the first is written.

        Each is written once.  One that is there with the same blobs stays as it is.

        Raises:
            KeyTaken: other blobs are kept under a key, are all there, and not both are lists that grow.
            NameInvalid: a key, or a digest in one, has not the form; a size is wrong; one is too large.
            BlobMissing: one names blobs that are not there.
            StoreFull, StoreTrouble: those that were written before stay.
        """
        encoded = {key: self._encoded(key, manifest) for key, manifest in manifests.items()}
        missing = self.missing(blob.digest for one in manifests.values() for blob in one.blobs)
        if missing.digests:
            raise BlobMissing(digests=missing.digests, damaged=missing.damaged)
        for key, manifest in manifests.items():
            self._check_sizes(key, manifest)
        with self._putting:
            there = self.get_manifests(encoded).found
            taken = [key for key, one in there.items() if not _may_follow(one, manifests[key])]
            if taken:
                logger.warning("refused: other blobs are kept under %s", ", ".join(taken))
                raise KeyTaken(keys=taken)
            for key, data in encoded.items():
                if key not in there or there[key].grows:
                    self._write("manifest", _reader_of(data), key)

    def get_manifests(self, keys: Iterable[str]) -> Lookup:
        """Return the manifests of these keys whose blobs are all there; all of it counts as used now.

        Raises:
            NameInvalid: a key has not the form.
            StoreTrouble: the store cannot be read.
        """
        found = {}
        damaged: list[Damage] = []
        for key in keys:
            try:
                manifest = self._read_manifest(key)
                if manifest is not None and self._has_all(manifest, damaged):
                    found[key] = manifest
            except Absent as absent:
                if absent.damage is not None:
                    damaged.append(absent.damage)
        return Lookup(found, damaged)

    # --- the whole store --------------------------------------------------------------------------

    @contextlib.contextmanager
    def hold(self) -> Iterator[float]:
        """Keep what is used inside this block from being removed; gives the time since when.

        The hold ends with the process at the latest.

        Raises:
            StoreFull, StoreTrouble: it cannot be written down.
        """
        with self._telling(f"{self.path}/holds"):
            fd, path = self._locked_file("holds")
        try:
            yield os.fstat(fd).st_mtime
        finally:
            _unlink(path)
            os.close(fd)

    def verify(self) -> Iterator[Verified]:
        """Read everything again; set aside what is damaged and tell it, and how far the check is.

        Raises:
            StoreTrouble: the store cannot be read.
        """
        blobs = manifests = size = 0
        for kind, name in self._names():
            damage = None
            try:
                size += self._verify(kind, name)
            except Absent as absent:
                damage = absent.damage
                if damage is None:
                    continue  # removed meanwhile
            blobs += kind == "blob"
            manifests += kind == "manifest"
            if damage is not None or (blobs + manifests) % VERIFY_STEP == 0:
                yield Verified(blobs, manifests, size, damage)
        yield Verified(blobs, manifests, size, done=True)

    def gc(self, max_bytes: int | None = None, *, dry_run: bool = False) -> Collected:
        """Remove the least recently used until at most `max_bytes` are left.

        Nothing goes that a `hold` protects.  Two at the same time take turns.

        Raises:
            StoreTrouble: the store cannot be read or written.
        """
        limit = self.max_bytes if max_bytes is None else max_bytes
        with self._telling(self.path), self._gc_lock():
            entries = list(self._entries())
            choice = collect.choose(entries, limit, self._held_since_ns())
            gone = [one for one in choice.victims if dry_run or self._remove(one)]
            if not dry_run:
                self._thin_quarantine(0 if limit == 0 else MAX_QUARANTINED)
        removed_bytes = sum(one.size for one in gone)
        kept_bytes = sum(one.size for one in entries) - removed_bytes
        held = choice.held + len(choice.victims) - len(gone)
        return Collected(len(gone), removed_bytes, kept_bytes, held)

    def stats(self) -> StoreStats:
        """Return the store in numbers; reads all of its directories.

        Raises:
            StoreTrouble: they cannot be read.
        """
        with self._telling(self.path):
            entries = list(self._entries())
            return StoreStats(
                path=self.path,
                blobs=sum(one.kind == "blob" for one in entries),
                manifests=sum(one.kind == "manifest" for one in entries),
                size=sum(one.size for one in entries),
                max_size=self.max_bytes,
                holds=sum(_is_locked(path) for path in self._files("holds")),
                quarantined=len(self._files("quarantine")),
            )

    # --- reading ----------------------------------------------------------------------------------

    def _require(self, digest: str) -> os.stat_result:
        """Return what is known of a blob's file, which is there and whole.

        Raises:
            Absent, NameInvalid, StoreTrouble.
        """
        path = self._path("blob", digest)
        try:
            found = self._settled(digest, lambda: os.stat(path, follow_symlinks=False))
        except FileNotFoundError:
            raise Absent(digest) from None
        except OSError as error:
            raise self._trouble(path, error) from error
        if self._whole.get(digest) != _seen(found):
            os.close(self._open_whole(digest))
        elif _was_just_used(found):
            return found
        else:
            self._note_use(path, found)
        # `gc` looks at the time of use after it has taken the name away, and puts it back for a use
        # that it sees.  One that came after its look finds the name gone here.
        try:
            self._settled(digest, lambda: os.lstat(path))
        except FileNotFoundError:
            raise Absent(digest) from None
        return found

    def _settled(self, name: str, look: Callable[[], Found]) -> Found:
        """Look at a file; once more when `gc` is done with it, if that has it aside to look at its last use.

        Raises:
            FileNotFoundError: it is not there.
        """
        deadline_s = time.monotonic() + ASIDE_PATIENCE_S
        while True:
            try:
                return look()
            except FileNotFoundError:
                if not os.path.lexists(self._aside(name)) or time.monotonic() > deadline_s:
                    break
            time.sleep(_ASIDE_LOOK_S)
        return look()  # it may have been put back between the two looks

    def _aside(self, name: str) -> str:
        return f"{self.path}/tmp/gc-{name}"

    def _open_whole(self, digest: str) -> int:
        path = self._path("blob", digest)
        fd = self._open(path, digest)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise Absent(digest, self._set_aside("blob", digest, found, "is not a file"))
            if self._whole.get(digest) != _seen(found):
                self._read_whole(fd, digest, found)
            if not _was_just_used(found):
                self._note_use(fd, found)
        except BaseException as error:
            os.close(fd)
            if isinstance(error, OSError):
                raise self._trouble(path, error) from error
            raise
        return fd

    def _open(self, path: str, name: str) -> int:
        try:
            return self._settled(name, lambda: _open_quietly(path))
        except FileNotFoundError:
            raise Absent(name) from None
        except OSError as error:
            raise self._trouble(path, error) from error

    def _read_whole(self, fd: int, digest: str, found: os.stat_result) -> None:
        self._whole.pop(digest, None)
        is_, size = digests.of_fd(fd)
        if is_ != digest:
            reason = f"has {size} bytes of another digest, {is_}" if size else "is empty"
            raise Absent(digest, self._set_aside("blob", digest, found, reason))
        self._whole[digest] = _seen(found)

    def _read_manifest(self, key: str) -> Manifest | None:
        path = self._path("manifest", key)
        try:
            fd = self._open(path, key)
        except Absent:
            return None
        try:
            found = os.fstat(fd)
            data = os.pread(fd, layout.MAX_MANIFEST_BYTES, 0)
            if not _was_just_used(found):
                self._note_use(fd, found)
        except OSError as error:
            raise self._trouble(path, error) from error
        finally:
            os.close(fd)
        try:
            return layout.decode(key, data)
        except layout.Unsound as unsound:
            raise Absent(key, self._set_aside("manifest", key, found, str(unsound))) from None

    def _has_all(self, manifest: Manifest, damaged: list[Damage]) -> bool:
        for blob in manifest.blobs:
            try:
                self._require(blob.digest)
            except Absent as absent:
                if absent.damage is not None:
                    damaged.append(absent.damage)
                return False
        return True

    def _verify(self, kind: Kind, name: str) -> int:
        if kind == "manifest":
            manifest = self._read_manifest(name)
            if manifest is None:
                raise Absent(name)
            return len(layout.encode(name, manifest))
        path = self._path("blob", name)
        fd = self._open(path, name)
        try:
            found = os.fstat(fd)
            self._read_whole(fd, name, found)
        except OSError as error:
            raise self._trouble(path, error) from error
        finally:
            os.close(fd)
        return found.st_size

    def _note_use(self, file: int | str, found: os.stat_result) -> None:
        # The kernel's own record of the last access is off on most systems, or a day coarse.
        with contextlib.suppress(OSError):  # a store that can only be read serves all the same
            os.utime(file, ns=(time.time_ns(), found.st_mtime_ns))

    def _set_aside(self, kind: Kind, name: str, bad: os.stat_result, reason: str) -> Damage:
        path = layout.path_of(self.path, kind, name)
        kept_at = f"{self.path}/quarantine/{kind}-{name}"
        try:
            # Unless somebody has put a good one in its place meanwhile.
            if os.stat(path, follow_symlinks=False).st_ino == bad.st_ino:
                os.rename(path, kept_at)
                self._thin_quarantine(MAX_QUARANTINED)
        except FileNotFoundError:
            pass  # another reader has found it too
        except OSError as error:
            raise self._trouble(path, error) from error
        logger.warning("damaged: %s %s %s; set aside as %s", kind, name, reason, kept_at)
        return Damage(kind, name, reason, kept_at)

    # --- writing ----------------------------------------------------------------------------------

    def _encoded(self, key: str, manifest: Manifest) -> bytes:
        self._path("manifest", key)  # whose form it checks
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
                size = self._require(blob.digest).st_size
            except Absent as absent:
                damaged = [] if absent.damage is None else [absent.damage]
                raise BlobMissing(digests=[blob.digest], damaged=damaged) from None
            if size != blob.size:
                reason = f"the blob {blob.name!r} has {size} bytes and not {blob.size}"
                raise NameInvalid(name=key, reason=reason)

    def _write(self, kind: Kind, read: Callable[[], bytes], key: str = "") -> tuple[str, int]:
        with self._telling(f"{self.path}/tmp"):
            fd, temporary = self._locked_file("tmp")
        try:
            digest, size = self._copy(fd, read)
            name = key or digest
            with self._telling(temporary):
                if kind == "blob" and self._has(name):
                    _unlink(temporary)
                    return name, size
                os.fchmod(fd, 0o444)
                os.utime(fd, ns=(time.time_ns(), BLOB_TIME_S * 1_000_000_000))
                found = os.fstat(fd)
                self._rename(temporary, layout.path_of(self.path, kind, name))
            if kind == "blob":
                self._whole[name] = _seen(found)
        except BaseException:
            _unlink(temporary)
            raise
        finally:
            os.close(fd)
        return name, size

    def _copy(self, fd: int, read: Callable[[], bytes]) -> tuple[str, int]:
        """Copy all that `read` gives into the file; return its digest and size.

        Only the store's own errors are its trouble: a file that cannot be read is its sender's.
        """
        hasher = blake3()
        size = 0
        while piece := read():
            size += len(piece)
            if size > MAX_BLOB_BYTES:
                raise StoreFull(path=self.path, reason=f"a blob has at most {MAX_BLOB_BYTES} bytes")
            hasher.update(piece)
            rest = memoryview(piece)
            with self._telling(f"{self.path}/tmp"):
                while rest:
                    rest = rest[os.write(fd, rest) :]
        return hasher.hexdigest(), size

    def _has(self, digest: str) -> bool:
        try:
            self._require(digest)
        except Absent:
            return False
        return True

    def _rename(self, temporary: str, path: str) -> None:
        try:
            os.rename(temporary, path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            os.rename(temporary, path)

    def _locked_file(self, folder: str) -> tuple[int, str]:
        """Return a new file of ours in a folder, locked for as long as it is open, and its path."""
        while True:
            path = f"{self.path}/{folder}/{secrets.token_hex(8)}"
            fd = self._create(path)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                if os.fstat(fd).st_nlink:
                    return fd, path
            except BaseException:
                os.close(fd)
                _unlink(path)
                raise
            os.close(fd)  # a sweep came between the two steps and took it for a dead writer's

    def _create(self, path: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:  # somebody has removed the store under us; it begins anew
            self._whole.clear()
            self._make_directories()
            self._check_format()
            return os.open(path, flags, 0o600)

    # --- removing ---------------------------------------------------------------------------------

    def _remove(self, victim: Entry) -> bool:
        """Remove one; False when it is used or held by now."""
        path = layout.path_of(self.path, victim.kind, victim.name)
        aside = self._aside(victim.name)
        try:
            os.rename(path, aside)
        except FileNotFoundError:
            return False
        # Out of reach first, then the look: a use or a hold that this does not see came later, and
        # sees that the name is gone (see `_require`).
        used_ns = os.stat(aside, follow_symlinks=False).st_atime_ns
        wanted = used_ns != victim.used_ns or collect.is_held(used_ns, self._held_since_ns())
        if wanted:
            with contextlib.suppress(FileExistsError):  # put anew meanwhile
                os.link(aside, path)
        elif victim.kind == "blob":
            self._whole.pop(victim.name, None)
        _unlink(aside)
        return not wanted

    def _held_since_ns(self) -> int | None:
        oldest: int | None = None
        for path in self._files("holds"):
            try:
                since_ns = os.stat(path).st_mtime_ns
            except FileNotFoundError:
                continue
            if not _is_locked(path):
                continue
            oldest = since_ns if oldest is None else min(oldest, since_ns)
        return oldest

    def _thin_quarantine(self, most: int) -> None:
        paths = self._files("quarantine")
        if len(paths) <= most:
            return
        ages = []
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                ages.append((os.lstat(path).st_ctime_ns, path))
        for _, path in sorted(ages)[: len(ages) - most]:
            _unlink(path)

    @contextlib.contextmanager
    def _gc_lock(self) -> Iterator[None]:
        self._make_directories()
        fd = open_regular(f"{self.path}/gc.lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _sweep(self) -> None:
        """Remove what dead writers and dead holders left."""
        for folder in ("tmp", "holds"):
            for path in self._files(folder):
                if os.path.basename(path).startswith("gc-"):
                    continue
                _unlink_unlocked(path)
        left = [path for path in self._files("tmp") if os.path.basename(path).startswith("gc-")]
        if left and not _is_locked(f"{self.path}/gc.lock"):
            for path in left:
                _unlink(path)

    # --- directories ------------------------------------------------------------------------------

    def _make_directories(self) -> None:
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        for name in layout.DIRECTORIES:
            with contextlib.suppress(FileExistsError):
                os.mkdir(f"{self.path}/{name}", 0o700)

    def _check_format(self) -> None:
        path = f"{self.path}/format"
        try:
            with open(open_regular(path), "rb") as file:
                written = file.read(64)
        except FileNotFoundError:
            written = b""
        if not written:  # new, or a power cut came before its bytes
            temporary = f"{self.path}/tmp/format-{secrets.token_hex(4)}"
            with open(temporary, "wb") as file:
                file.write(layout.FORMAT)
            os.rename(temporary, path)
        elif written != layout.FORMAT:
            named = written.decode("utf-8", "replace").strip()
            known = layout.FORMAT.decode().strip()
            raise StoreTrouble(
                path=self.path,
                reason=f"is a {named!r}, and this version knows {known!r}: remove it, or use another VX_HOME",
            )

    def _names(self) -> Iterator[tuple[Kind, str]]:
        for kind, folder in layout.FOLDERS.items():
            for prefix in sorted(self._list(f"{self.path}/{folder}")):
                for rest in sorted(self._list(f"{self.path}/{folder}/{prefix}")):
                    if digests.is_digest(prefix + rest):
                        yield kind, prefix + rest

    def _list(self, path: str) -> list[str]:
        try:
            return os.listdir(path)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise self._trouble(path, error) from error

    def _entries(self) -> Iterator[Entry]:
        for kind, folder in layout.FOLDERS.items():
            for prefix in self._list(f"{self.path}/{folder}"):
                try:
                    with os.scandir(f"{self.path}/{folder}/{prefix}") as found:
                        for one in found:
                            if digests.is_digest(prefix + one.name):
                                status = one.stat(follow_symlinks=False)
                                yield Entry(status.st_atime_ns, status.st_size, kind, prefix + one.name)
                except (FileNotFoundError, NotADirectoryError):
                    continue

    def _files(self, folder: str) -> list[str]:
        return [f"{self.path}/{folder}/{name}" for name in self._list(f"{self.path}/{folder}")]

    def _path(self, kind: Kind, name: str) -> str:
        if not digests.is_digest(name):
            raise NameInvalid(
                name=name[: 2 * digests.DIGEST_CHARS],
                reason=f"a {kind} is named by {digests.DIGEST_CHARS} lower-case hexadecimal digits",
            )
        return layout.path_of(self.path, kind, name)

    # --- errors -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _telling(self, path: str) -> Iterator[None]:
        """Turn what the system says about the store's own files into the store's errors."""
        try:
            yield
        except OSError as error:
            raise self._trouble(error.filename or path, error) from error

    def _trouble(self, path: Any, error: OSError) -> StoreFull | StoreTrouble:
        reason = error.strerror or str(error)
        kind = StoreFull if error.errno in _NO_ROOM else StoreTrouble
        return kind(path=os.fsdecode(path), reason=reason)


def _reader_of(data: bytes) -> Callable[[], bytes]:
    pieces = iter((data, b""))
    return lambda: next(pieces)


def _read_in_time(fd: int) -> bytes:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if not poll.poll(READ_TIMEOUT_S * 1000):
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
    return os.read(fd, digests.PIECE_BYTES)


def _seen(found: os.stat_result) -> Seen:
    return found.st_ino, found.st_size, found.st_mtime_ns


def _was_just_used(found: os.stat_result) -> bool:
    # A time in the future, of a clock that was set back, is written anew.
    return 0 <= time.time_ns() - found.st_atime_ns < collect.USE_STEP_S * 1_000_000_000


def _open_quietly(path: str) -> int:
    """Open for reading, without the kernel's noting that as a use."""
    try:
        return os.open(path, _READ | _NOATIME)
    except PermissionError:  # only a file's owner may ask for that
        return os.open(path, _READ)


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _is_locked(path: str) -> bool:
    try:
        fd = open_regular(path)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _unlink_unlocked(path: str) -> None:
    try:
        fd = open_regular(path)
    except OSError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _unlink(path)
    except BlockingIOError:
        pass  # its writer lives
    finally:
        os.close(fd)


def _may_follow(there: Manifest, new: Manifest) -> bool:
    """Whether a manifest may be put where one is: it is the same, or both are lists that grow."""
    return there.blobs == new.blobs or (there.grows and new.grows)
