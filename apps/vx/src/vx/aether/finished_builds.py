"""Finished builds on the disk, so that the first build after a restart looks at each file once, too.

    $VX_HOME/aether.builds/1f3a...    one project and profile: the digest of the rest in hexadecimal, a line
                                      feed, and the build as MessagePack

Owns the form of the files, their number and their size.  A file that is damaged, or another version's, is
as one that is not there.  Whether a build still holds is `unchanged`'s to decide: nothing here is believed
without a look at each file that it names.
"""

from __future__ import annotations

import contextlib
import logging
import os
from typing import Final

import msgspec

from daemonry import open_regular, write_atomically
from vx import __version__, digests
from vx.aether.memory import ActionResult
from vx.file_digests import Signature
from vx.keys import recipe
from vx.reports.report import ActionReport

logger = logging.getLogger("aether")

# Ten thousand sources take about 6 MB.
MAX_BYTES: Final = 64 << 20
# A build of before the keys changed was found whole by rules that do not hold any more.
VERSION: Final = f"{__version__} {recipe.FORMAT}"
# Projects and profiles; the least recently written go.
MAX_FILES: Final = 64


class SavedBuild(msgspec.Struct, frozen=True, array_like=True):
    """A finished build: see `unchanged.FinishedBuild`.

    Attributes:
        version: of the vx that wrote it, and of its keys.
        project_dir, profile: whose it is.
        plan: the digest of its plan.
        results: of its actions.
        reports: of its actions; empty where the report of `run` has them.
        run: the id of a run whose report has them; "" for none.
        env, files, folders, listed: its conditions.
    """

    version: str
    project_dir: str
    profile: str
    plan: str
    results: dict[str, ActionResult]
    reports: dict[str, ActionReport]
    run: str
    env: dict[str, str | None]
    files: dict[str, str]
    folders: dict[str, tuple[Signature | None, list[str]]]
    listed: dict[str, Signature]


_decoder = msgspec.msgpack.Decoder(SavedBuild)


class FinishedBuildFiles:
    """The files.

    Args:
        directory: where they are; made when the first is written.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def read(self, project_dir: str, profile: str) -> SavedBuild | None:
        """Return the build of a project and profile; None if there is none that can be read."""
        try:
            with open(open_regular(self._path(project_dir, profile)), "rb") as file:
                digest, _, data = file.read(MAX_BYTES + 1).partition(b"\n")
            if digest.decode("ascii", "replace") != digests.of_bytes(data):
                return None
            found = _decoder.decode(data)
        except (OSError, ValueError, msgspec.DecodeError):
            return None
        is_asked_for = (found.version, found.project_dir, found.profile) == (
            VERSION,
            project_dir,
            profile,
        )
        return found if is_asked_for else None

    def write(self, build: SavedBuild) -> None:
        """Keep a build in the place of the earlier one; what prevents it is logged."""
        try:
            path = self._path(build.project_dir, build.profile)
            data = msgspec.msgpack.encode(build)
            if len(data) > MAX_BYTES - digests.DIGEST_CHARS - 1:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                return
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            write_atomically(path, digests.of_bytes(data).encode() + b"\n" + data, durable=False)
            self._prune(path)
        except UnicodeEncodeError:
            pass  # a name that is not UTF-8
        except OSError as error:
            logger.warning("%s is not written: %s", self._directory, error.strerror)

    def clear(self) -> None:
        """Remove them all."""
        for path in self._paths():
            with contextlib.suppress(OSError):
                os.unlink(path)

    def _prune(self, newest: str) -> None:
        others = [path for path in self._paths() if path != newest]
        if len(others) >= MAX_FILES:
            for path in sorted(others, key=_written_ns)[: 1 - MAX_FILES]:
                with contextlib.suppress(OSError):
                    os.unlink(path)

    def _paths(self) -> list[str]:
        try:
            return [f"{self._directory}/{name}" for name in os.listdir(self._directory)]
        except OSError:
            return []

    def _path(self, project_dir: str, profile: str) -> str:
        name = digests.of_bytes(f"{profile}\0{project_dir}".encode())
        return f"{self._directory}/{name}"


def _written_ns(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
