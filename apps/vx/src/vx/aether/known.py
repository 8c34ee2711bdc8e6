"""What aether knows, kept in the home over restarts: `$VX_HOME/aether.known`.

Owns the file.  A digest counts as long as its file looks the same, ctime and inode too, which holds over
restarts as well; an answer of a compiler as long as its files do; and what the store was found to hold is
believed as a running aether believes it, until the store says otherwise.  So a build that changes nothing
costs the same after a restart.  A file that is damaged, or another version's, is as one that is not there.
"""

from __future__ import annotations

import logging
import time
from typing import Final

import msgspec

from daemonry import write_atomically
from vx import __version__, digests, home
from vx.aether import memory
from vx.file_digests import FileDigests, SavedDigest
from vx.project.toolchain import Probe
from vx.project.tools import Tools

logger = logging.getLogger("aether")

# Between two writings while builds go on; a crash costs the knowledge gained since.
_PAUSE_S: Final = 20.0


class _Content(msgspec.Struct):
    version: str
    files: list[SavedDigest]
    probes: list[Probe]
    memory: memory.SavedMemory


class KnowledgeFile:
    """The file.

    Args:
        file_digests: the memory of files.
        tools: the memory of compilers.
        store: the memory of the store.
    """

    def __init__(self, file_digests: FileDigests, tools: Tools, store: memory.Memory) -> None:
        self._store = store
        self._digests = file_digests
        self._tools = tools
        self._path = home.known_path()
        self._written_s = 0.0
        self._written = (0, 0, 0, 0)

    def read(self) -> None:
        """Load the file's knowledge."""
        try:
            with open(digests.open_file(self._path), "rb") as file:
                digest, _, data = file.read().partition(b"\n")
            if digest.decode("ascii", "replace") != digests.of_bytes(data):
                return
            content = msgspec.json.decode(data, type=_Content)
        except (OSError, msgspec.DecodeError, msgspec.ValidationError):
            return
        if content.version == __version__:
            self._digests.believe(content.files)
            self._tools.believe(content.probes)
            self._store.believe(content.memory)

    def write(self, *, now: bool = False) -> None:
        """Write the knowledge down, if it has grown, and not all the time."""
        probes = self._tools.told()
        known = (self._digests.hashed, len(probes), self._store.size, self._store.epoch)
        if known == self._written or not (now or time.monotonic() - self._written_s > _PAUSE_S):
            return
        self._written, self._written_s = known, time.monotonic()
        data = msgspec.json.encode(_Content(__version__, self._digests.told(), probes, self._store.told()))
        try:
            write_atomically(self._path, digests.of_bytes(data).encode() + b"\n" + data, durable=False)
        except OSError as error:
            logger.warning("%s is not written: %s", self._path, error.strerror)
