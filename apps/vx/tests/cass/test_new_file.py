"""Files that were not written to their end: a killed writer, a full disk."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemonry.testing import wait_until
from vx.cass.store import Store
from vx.interfaces import StoreFull

KEY = "ab" * 32
ABSENT = "00" * 32


def test_a_writer_that_is_killed_leaves_nothing_but_what_the_next_store_sweeps(kept: Store, disk) -> None:
    reading, writing = os.pipe()
    program = (
        "import os, sys; from vx.cass.store import Store; Store(sys.argv[1]).blobs.put_fd(int(sys.argv[2]))"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program, kept.path, str(reading)], pass_fds=[reading], stdout=subprocess.PIPE
    )
    os.close(reading)
    os.write(writing, b"half of ")
    (temporary,) = wait_until(lambda: disk.names("tmp"))
    wait_until(lambda: (Path(kept.path) / "tmp" / temporary).stat().st_size == 8)
    Store(kept.path)
    assert disk.names("tmp") == [temporary], "the sweep took what a living writer writes"
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    os.close(writing)
    again = Store(kept.path)
    assert disk.names("tmp") == []
    assert again.stats().blobs == 0


BEYOND_THE_LIMIT = """
import resource, sys
from vx.cass.store import Store
from vx.interfaces import StoreFull
store = Store(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.blobs.put_bytes(b"x" * 200_000)
except StoreFull as error:
    print(error.reason)
"""


def test_a_file_size_limit_is_a_full_store_and_leaves_nothing(kept: Store, disk) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", BEYOND_THE_LIMIT, kept.path], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "File too large\n"
    assert disk.names("tmp") == []
    assert kept.stats().blobs == 0


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a file system of its own needs root and mount(8)")
    options = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "none", str(tmp_path)]
    mounted = subprocess.run(options, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mount is not allowed here: {mounted.stderr.decode().strip()}")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_is_told_and_what_is_there_stays(disk, tiny_disk: Path) -> None:
    kept = Store(str(tiny_disk / "cass"))
    digest = kept.blobs.put_bytes(b"y" * 400_000)
    with pytest.raises(StoreFull, match="No space left"):
        kept.blobs.put_bytes(b"x" * 900_000)
    assert disk.names("tmp") == []
    assert kept.blobs.read(digest) == b"y" * 400_000
    assert kept.gc(0).removed == 1
    assert kept.blobs.put_bytes(b"x" * 900_000)
