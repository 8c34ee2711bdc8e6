"""The memory of files is quick, and never wrong."""

from __future__ import annotations

import os
import time

import pytest

from daemonry.testing import wait_until
from vx import digests
from vx.file_digests import COARSE_TICK_NS, FINE_TICK_NS, FileDigests, Signature, is_settled

SECOND = 1_000_000_000


def signature(mtime_ns: int, ctime_ns: int) -> Signature:
    return Signature(1, mtime_ns, ctime_ns, 2, 3)


@pytest.mark.parametrize(
    ("mtime_ns", "ctime_ns", "read_at_ns", "settled"),
    [
        (100 * SECOND + 1, 100 * SECOND + 1, 100 * SECOND + 1 + FINE_TICK_NS, True),
        (100 * SECOND + 1, 100 * SECOND + 1, 100 * SECOND + FINE_TICK_NS, False),
        (SECOND + 1, 100 * SECOND + 1, 100 * SECOND + 2, False),  # the time was set back; the ctime was not
        (100 * SECOND, 100 * SECOND, 101 * SECOND, False),  # whole seconds: a coarse clock
        (100 * SECOND, 100 * SECOND, 100 * SECOND + COARSE_TICK_NS, True),
        (200 * SECOND + 1, 200 * SECOND + 1, 100 * SECOND, False),  # in the future
        (
            90 * SECOND,
            100 * SECOND + 1,
            100 * SECOND + 1 + FINE_TICK_NS,
            True,
        ),  # from an archive, on a fine clock
        (90 * SECOND, 100 * SECOND + 1, 100 * SECOND + FINE_TICK_NS, False),
        (
            900 * SECOND,
            100 * SECOND + 1,
            100 * SECOND + 1 + FINE_TICK_NS,
            True,
        ),  # its mtime is set to the future
        (
            900 * SECOND,
            100 * SECOND,
            200 * SECOND,
            False,
        ),  # the same where nothing tells that the ctime is fine
        (100 * SECOND, 90 * SECOND + 1, 101 * SECOND, False),  # a ctime that does not follow
    ],
)
def test_when_a_signature_is_enough(mtime_ns: int, ctime_ns: int, read_at_ns: int, settled: bool) -> None:
    assert is_settled(signature(mtime_ns, ctime_ns), read_at_ns) is settled


def settle() -> None:
    until_s = time.monotonic() + 1.2 * FINE_TICK_NS / SECOND
    wait_until(lambda: time.monotonic() > until_s, 5, "the tick is over")


def test_a_file_is_read_once_when_it_rests(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    settle()
    memory = FileDigests()
    assert memory.digest(str(path)) == memory.digest(str(path)) == digests.of_bytes(b"one")
    assert memory.hashed == 1


def test_a_change_within_the_same_tick_is_seen(tmp_path) -> None:
    """Same size, same times, same inode: only the rule for racy files can tell."""
    path = tmp_path / "file"
    memory = FileDigests()
    for number in range(300):
        content = b"%03d" % number
        fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.write(fd, content)
        os.close(fd)
        assert memory.digest(str(path)) == digests.of_bytes(content)


def test_a_time_that_is_set_back_is_no_disguise(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    settle()
    memory = FileDigests()
    memory.digest(str(path))
    before = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert memory.digest(str(path)) == digests.of_bytes(b"two")


def test_what_is_not_there_and_what_is_no_file(tmp_path) -> None:
    memory = FileDigests()
    assert memory.digest(str(tmp_path / "none")) is None
    assert memory.digest(str(tmp_path / "none/below")) is None
    assert memory.digest(str(tmp_path)).startswith("no file")
    os.mkfifo(tmp_path / "pipe")
    assert memory.digest(str(tmp_path / "pipe")).startswith("no file")


def test_what_we_wrote_is_known(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    settle()
    memory = FileDigests()
    memory.learned(str(path), "told")
    assert memory.digest(str(path)) == "told"
    assert memory.hashed == 0
