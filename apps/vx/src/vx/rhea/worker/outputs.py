"""What an Action made, as an ActionResult: its files, folders and links, and their contents for the farm.

Owns finding them after the command has ended: a path that leads out of the input root through a link of the
command's is refused.  Blocks: for threads.
"""

from __future__ import annotations

import os
import stat
from functools import partial
from typing import Final

from vx.remote.digest_functions import DigestFunction, RemoteDigest
from vx.remote.protos import remote_execution_pb2 as reapi
from vx.remote.server import Source, message, of_bytes
from vx.rhea.worker.input_tree import MAX_ENTRIES, TreeRefused, relative

_PIECE_BYTES: Final = 1 << 20
# Longer streams go as blobs.
INLINE_BYTES: Final = 16 << 10


def wanted(command: reapi.Command) -> list[str]:
    """Return the paths of a command's outputs, relative to its working directory.

    Raises:
        TreeRefused: one is not below it.
    """
    asked = command.output_paths or (*command.output_files, *command.output_directories)
    return [relative(one, "output") for one in dict.fromkeys(asked)]


class Outputs:
    """The outputs of one command.

    Args:
        root: the directory of the input root.
        function: names blobs.

    Attributes:
        result: the outputs found.
        blobs: their contents, which stay where they are until they are sent.
    """

    def __init__(self, root: str, function: DigestFunction) -> None:
        self.result = reapi.ActionResult()
        self.blobs: dict[RemoteDigest, Source] = {}
        self._root = os.path.realpath(root)
        self._function = function
        self._entries = 0

    def collect(self, folder: str, paths: list[str]) -> None:
        """Find outputs; one that is not there is left out, as the API has it.

        Args:
            folder: the working directory.
            paths: the outputs, relative to it.

        Raises:
            TreeRefused: one is out of the root, or neither file, folder nor link.
            OSError: one cannot be read.
        """
        for path in paths:
            full = f"{folder}/{path}".rstrip("/")
            above = os.path.realpath(os.path.dirname(full) if path else full)
            if above != self._root and not above.startswith(f"{self._root}/"):
                raise TreeRefused(f"the output {path!r} is out of the input root")
            try:
                found = os.lstat(full)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if stat.S_ISLNK(found.st_mode):
                self.result.output_symlinks.add(path=path, target=os.readlink(full))
            elif stat.S_ISDIR(found.st_mode):
                tree = self._tree(full)
                self.result.output_directories.add(path=path, tree_digest=message(self._keep(tree)))
            else:
                digest = self._file(full, found)
                runs = bool(found.st_mode & 0o111)
                self.result.output_files.add(path=path, digest=message(digest), is_executable=runs)

    def stream(self, data: bytes) -> tuple[bytes, reapi.Digest | None]:
        """Return a stream as the result has it: inline, or its digest."""
        if len(data) <= INLINE_BYTES:
            return data, None
        return b"", message(self._keep(data))

    def _keep(self, data: bytes) -> RemoteDigest:
        digest = self._function.of(data)
        self.blobs[digest] = of_bytes(data)
        return digest

    def _file(self, path: str, found: os.stat_result) -> RemoteDigest:
        self._entries += 1
        if self._entries > MAX_ENTRIES:
            raise TreeRefused(f"there are more than {MAX_ENTRIES} outputs")
        if not stat.S_ISREG(found.st_mode):
            raise TreeRefused(f"the output {os.path.relpath(path, self._root)!r} is not a file")
        hasher = self._function.hasher()
        size = 0
        while piece := _read(path, _PIECE_BYTES, size):
            hasher.update(piece)
            size += len(piece)
        digest = RemoteDigest(hasher.hexdigest(), size)
        self.blobs[digest] = Source(size, partial(_read, path))
        return digest

    def _tree(self, path: str) -> bytes:
        """Return a folder as a Tree message."""
        children: dict[RemoteDigest, reapi.Directory] = {}
        root = self._directory(path, children)
        tree = reapi.Tree(root=root, children=list(children.values()))
        return tree.SerializeToString(deterministic=True)

    def _directory(self, path: str, children: dict[RemoteDigest, reapi.Directory]) -> reapi.Directory:
        made = reapi.Directory()
        for name in sorted(os.listdir(path)):
            full = f"{path}/{name}"
            found = os.lstat(full)
            if stat.S_ISLNK(found.st_mode):
                made.symlinks.add(name=name, target=os.readlink(full))
            elif stat.S_ISDIR(found.st_mode):
                inside = self._directory(full, children)
                digest = self._function.of(inside.SerializeToString(deterministic=True))
                children[digest] = inside
                made.directories.add(name=name, digest=message(digest))
            else:
                digest = self._file(full, found)
                runs = bool(found.st_mode & 0o111)
                made.files.add(name=name, digest=message(digest), is_executable=runs)
        return made


def _read(path: str, size: int, offset: int) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return os.pread(fd, size, offset)
    finally:
        os.close(fd)
