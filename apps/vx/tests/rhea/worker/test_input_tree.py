"""Input roots that strangers made."""

from __future__ import annotations

import pytest

pytest.importorskip("google.protobuf", reason="gRPC is not installed: the extra vx[remote]")

from hypothesis import given
from hypothesis import strategies as st

from vx.remote.digest_functions import RemoteDigest, chosen
from vx.remote.protos import remote_execution_pb2 as reapi
from vx.remote.server import message
from vx.rhea.worker import input_tree as trees
from vx.rhea.worker.input_tree import TreeRefused, input_tree, relative

FUNCTION = chosen([1])
EMPTY = message(FUNCTION.of(b""))


class Blobs(dict[RemoteDigest, bytes]):
    def keep(self, directory: reapi.Directory) -> RemoteDigest:
        data = directory.SerializeToString(deterministic=True)
        digest = FUNCTION.of(data)
        self[digest] = data
        return digest

    def read(self, wanted: list[RemoteDigest]) -> dict[RemoteDigest, bytes]:
        return {one: self[one] for one in wanted}


def refused(directory: reapi.Directory) -> str:
    blobs = Blobs()
    with pytest.raises(TreeRefused) as found:
        input_tree(blobs.keep(directory), blobs.read)
    return str(found.value)


def test_a_tree_is_folders_above_first_files_and_links() -> None:
    blobs = Blobs()
    inner = reapi.Directory()
    inner.files.add(name="b.c", digest=EMPTY)
    inner.symlinks.add(name="l", target="../a")
    outer = reapi.Directory()
    outer.files.add(name="a", digest=EMPTY, is_executable=True)
    outer.directories.add(name="d", digest=message(blobs.keep(inner)))
    tree = input_tree(blobs.keep(outer), blobs.read)
    assert tree.folders == ["d"]
    assert [(one.path, one.executable) for one in tree.files] == [("a", True), ("d/b.c", False)]
    assert tree.links == [("d/l", "../a")]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "a\0"])
def test_a_name_that_is_not_one_component_is_refused(name: str) -> None:
    made = reapi.Directory()
    made.files.add(name=name, digest=EMPTY)
    assert "has the name" in refused(made)


def test_a_file_in_the_place_of_a_link_is_refused() -> None:
    made = reapi.Directory()
    made.symlinks.add(name="a", target="/etc")
    made.directories.add(name="a", digest=EMPTY)
    assert "has the name 'a'" in refused(made)


def test_a_tree_in_a_tree_in_a_tree_has_an_end() -> None:
    blobs = Blobs()
    digest = blobs.keep(reapi.Directory())
    for _ in range(trees.MAX_PATH_BYTES):
        above = reapi.Directory()
        above.directories.add(name="deep", digest=message(digest))
        digest = blobs.keep(above)
    with pytest.raises(TreeRefused, match="too deep"):
        input_tree(digest, blobs.read)


def test_few_messages_that_stand_for_very_many_files_are_refused(monkeypatch) -> None:
    monkeypatch.setattr(trees, "MAX_ENTRIES", 1000)
    blobs = Blobs()
    digest = blobs.keep(reapi.Directory())
    for _ in range(20):  # two of each in each: a million
        above = reapi.Directory()
        for name in "ab":
            above.directories.add(name=name, digest=message(digest))
        digest = blobs.keep(above)
    with pytest.raises(TreeRefused, match="more than 1000 entries"):
        input_tree(digest, blobs.read)


@given(st.binary(max_size=60))
def test_any_other_bytes_are_a_tree_or_refused(data: bytes) -> None:
    try:
        input_tree(RemoteDigest("ab" * 32, len(data)), lambda wanted: dict.fromkeys(wanted, data))
    except TreeRefused:
        return


@pytest.mark.parametrize(("path", "is_"), [("a/./b//c", "a/b/c"), ("", ""), ("a", "a")])
def test_a_path_below_the_root(path: str, is_: str) -> None:
    assert relative(path, "output") == is_


@pytest.mark.parametrize("path", ["/a", "../a", "a/../../b", "a\0b", "x" * 5000])
def test_a_path_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(TreeRefused, match="below the input root"):
        relative(path, "output")
