"""What a hold protects, and for how long."""

from __future__ import annotations

import subprocess
import sys

from vx.cass.store import Store

KEY = "ab" * 32
ABSENT = "00" * 32


def test_a_hold_ends_with_its_process(kept: Store, disk) -> None:
    program = (
        "import sys; from vx.cass.store import Store\n"
        "with Store(sys.argv[1]).holds.hold():\n    print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, kept.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    digest = kept.blobs.put_bytes(b"words")
    assert kept.gc(0).held == 1
    holder.kill()
    holder.communicate()
    assert kept.gc(0).removed == 1
    assert kept.blobs.missing([digest]).digests == [digest]
    Store(kept.path)
    assert disk.names("holds") == []
