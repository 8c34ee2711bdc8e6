"""A file's last lines: what is read, how much of it, and what happens to a file under the reader."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palingenesis.evidence import tail


def backwards(path, size=None):
    fd = tail.open_regular(str(path))
    try:
        return list(tail.lines_backwards(fd, os.fstat(fd).st_size if size is None else size))
    finally:
        os.close(fd)


@given(st.binary(max_size=400), st.integers(1, 50))
def test_the_lines_are_the_file_s_lines(tmp_path_factory, content, block):
    path = tmp_path_factory.mktemp("t") / "f"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tail, "BLOCK_BYTES", block)
        assert backwards(path) == [line for line in reversed(content.split(b"\n")) if line]


def test_the_time_does_not_grow_with_the_file(tmp_path, monkeypatch):
    """The same reads for a file of a gigabyte as for one of ten megabytes."""
    reads = []
    real = os.pread

    def counted(fd, count, offset):
        reads.append(count)
        return real(fd, count, offset)

    monkeypatch.setattr(os, "pread", counted)
    counts = []
    for size in (10 * 2**20, 2**30):
        path = tmp_path / "f"
        with path.open("wb") as file:
            file.truncate(size)
            file.seek(size)
            file.write(b'\n{"type":"user"}\n')
        reads.clear()
        assert backwards(path)[0] == b'{"type":"user"}'
        counts.append(sum(reads))
    assert counts[0] == counts[1]
    assert counts[0] <= tail.MAX_TAIL_BYTES + tail.BLOCK_BYTES


def test_only_what_is_asked_for_is_read(tmp_path, monkeypatch):
    path = tmp_path / "f"
    path.write_bytes(b'{"a":1}\n' * 500_000)
    reads = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, offset: reads.append(count) or real(fd, count, offset))
    fd = tail.open_regular(str(path))
    assert next(tail.lines_backwards(fd, path.stat().st_size)) == b'{"a":1}'
    os.close(fd)
    assert sum(reads) == tail.BLOCK_BYTES


def test_a_file_that_was_deleted_or_cut_is_read_as_far_as_it_is_there(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"one\ntwo\n" * 50_000)
    fd = tail.open_regular(str(path))
    size = path.stat().st_size
    lines = tail.lines_backwards(fd, size)
    assert next(lines) == b"two"
    path.unlink()
    assert next(lines) == b"one"
    assert set(lines) <= {b"one", b"two"}
    os.close(fd)
    path.write_bytes(b"one\ntwo\n" * 50_000)
    fd = tail.open_regular(str(path))
    lines = tail.lines_backwards(fd, size)
    assert next(lines) == b"two"
    os.truncate(path, 4)
    assert set(lines) <= {b"one", b"two"}
    os.close(fd)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero"):
        with pytest.raises(OSError, match="not a regular file"):
            tail.open_regular(str(path))


def test_the_first_line_is_bounded(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"x" * (3 * tail.MAX_HEAD_BYTES))
    fd = tail.open_regular(str(path))
    assert len(tail.first_line(fd)) <= tail.MAX_HEAD_BYTES
    os.close(fd)
