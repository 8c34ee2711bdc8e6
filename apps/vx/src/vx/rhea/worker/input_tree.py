"""The input root of an Action, a tree of Directory messages, as folders, files and links.

Owns the checks of a tree that a stranger made: each name is one component, no name stands twice, and the
whole has bounds.  So a file's path passes through folders that were made for it alone.  Pure: blobs are read
by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from vx.remote.digest_functions import RemoteDigest
from vx.remote.failures import RemoteFailed
from vx.remote.protos import remote_execution_pb2 as reapi
from vx.remote.server import digest_of

# As rhea's own jobs; Linux's PATH_MAX bounds the depth.
MAX_ENTRIES: Final = 100_000
MAX_PATH_BYTES: Final = 3000

ReadBlobs = Callable[[list[RemoteDigest]], Mapping[RemoteDigest, bytes]]


class InputFile(NamedTuple):
    """A file of an input root.

    Attributes:
        path: relative to the root.
        digest: of its content.
        executable: whether it may be executed.
    """

    path: str
    digest: RemoteDigest
    executable: bool


class InputTree(NamedTuple):
    """An input root.

    Attributes:
        folders: relative to the root, those above first.
        files: the files.
        links: symbolic links and their targets.
    """

    folders: list[str]
    files: list[InputFile]
    links: list[tuple[str, str]]


class TreeRefused(Exception):
    """An input root cannot be made; says why."""


def input_tree(root: RemoteDigest, read: ReadBlobs) -> InputTree:
    """Return an input root.

    Args:
        root: the name of its Directory.
        read: returns blobs by their names; it is asked once for each level of the tree.

    Raises:
        TreeRefused.
        What `read` raises.
    """
    tree = InputTree([], [], [])
    level = [("", root)]
    while level:
        wanted = list(dict.fromkeys(digest for _, digest in level if digest.size))
        blobs = read(wanted) if wanted else {}
        below: list[tuple[str, RemoteDigest]] = []
        for above, digest in level:
            directory = _directory(blobs.get(digest, b""))
            below += _enter(tree, above, directory)
            if len(tree.folders) + len(tree.files) + len(tree.links) > MAX_ENTRIES:
                raise TreeRefused(f"the input root has more than {MAX_ENTRIES} entries")
        level = below
    return tree


def relative(path: str, what: str) -> str:
    """Return a path that stays below the directory it starts from, "" for that itself.

    Raises:
        TreeRefused: it does not.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or "\0" in path or len(path.encode()) > MAX_PATH_BYTES:
        raise TreeRefused(f"the {what} {path[:200]!r} is not a path below the input root")
    return "/".join(parts)


def _enter(tree: InputTree, above: str, directory: reapi.Directory) -> list[tuple[str, RemoteDigest]]:
    seen: set[str] = set()
    names = [one.name for one in directory.files]
    names += [one.name for one in directory.directories]
    names += [one.name for one in directory.symlinks]
    for name in names:
        if not _is_component(name) or name in seen:
            raise TreeRefused(f"the input root has the name {name[:200]!r} below {above or '/'!r}")
        if len(above.encode()) + len(name.encode()) > MAX_PATH_BYTES:
            raise TreeRefused("the input root is too deep")
        seen.add(name)
    for file in directory.files:
        tree.files.append(InputFile(above + file.name, _digest(file.digest), file.is_executable))
    for link in directory.symlinks:
        if not link.target or "\0" in link.target:
            raise TreeRefused(f"the link {above + link.name!r} has no target")
        tree.links.append((above + link.name, link.target))
    tree.folders.extend(above + one.name for one in directory.directories)
    return [(f"{above}{one.name}/", _digest(one.digest)) for one in directory.directories]


def _directory(data: bytes) -> reapi.Directory:
    try:
        return reapi.Directory.FromString(data)
    except DecodeError:
        raise TreeRefused("a directory of the input root cannot be read") from None


def _digest(told: reapi.Digest) -> RemoteDigest:
    try:
        return digest_of(told)
    except RemoteFailed as error:
        raise TreeRefused(error.reason) from None


def _is_component(name: str) -> bool:
    return bool(name) and name not in (".", "..") and "/" not in name and "\0" not in name
