"""The whole store: its check, and many processes and threads at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from vx.cass.store import MAX_CONTENTS_BYTES, Store
from vx.interfaces import Blob, Manifest

KEY = "ab" * 32
ABSENT = "00" * 32


def test_verify_names_what_is_damaged_and_counts_what_is_not(kept: Store, disk) -> None:
    good = [kept.blobs.put_bytes(b"%d" % number) for number in range(5)]
    kept.manifests.put({KEY: Manifest([Blob("a", good[0], 1)])})
    assert [step.damaged for step in kept.verify()] == [None]
    times = disk.blob(good[2]).stat()
    disk.flip(disk.blob(good[2]))
    os.utime(disk.blob(good[2]), ns=(times.st_atime_ns, times.st_mtime_ns))
    disk.flip(disk.manifest(KEY), 90)
    *findings, last = kept.verify()
    named = {(one.damaged.kind, one.damaged.name) for one in findings if one.damaged is not None}
    assert named == {("blob", good[2]), ("manifest", KEY)}
    assert (last.blobs, last.manifests, last.done) == (5, 1, True)
    assert [step.damaged for step in kept.verify()] == [None]


WRITER = """
import sys
from vx.cass.store import MAX_CONTENTS_BYTES, Store
store = Store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for number in range(40):
    store.blobs.put_bytes(b"same for all" * 20_000)
    store.blobs.put_bytes(b"%s %d" % (sys.argv[2].encode(), number) * 1000)
"""


def test_eight_processes_write_one_blob_and_different_ones(kept: Store, disk) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, kept.path, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    *findings, last = Store(kept.path).verify()
    assert [one.damaged for one in findings if one.damaged] == []
    assert last.blobs == 1 + 8 * 40
    assert disk.names("tmp") == []


def test_eight_threads_write_and_read_one_blob(kept: Store) -> None:
    data = os.urandom(1_000_000)
    seen: list[bytes] = []

    def work() -> None:
        seen.extend(kept.blobs.read(kept.blobs.put_bytes(data)) for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [data] * 40
    assert kept.stats().blobs == 1


def test_what_a_list_leads_to_comes_along_and_so_does_the_list(kept: Store) -> None:
    listed, result = b'{"entries": []}', b"program"
    first = Manifest([Blob("out", kept.blobs.put_bytes(result), len(result))])
    leads = Manifest([Blob("entries", kept.blobs.put_bytes(listed), len(listed))], {"next": KEY}, True)
    kept.manifests.put({KEY: first, ABSENT: leads})
    found = kept.look_up([ABSENT])
    assert found.found == {ABSENT: leads, KEY: first}
    assert found.contents == {leads.blobs[0].digest: listed}
    assert kept.look_up([KEY]).found == {KEY: first}
    assert kept.look_up([KEY]).contents == {}


def test_what_does_not_lead_anywhere_comes_alone(kept: Store) -> None:
    for following in ("", "../../etc", "77" * 32, 7):
        kept.manifests.put({KEY: (one := Manifest([], {"next": following}, True))})
        assert kept.look_up([KEY]).found == {KEY: one}


def test_long_lists_do_not_come_along(kept: Store) -> None:
    long = b"x" * (MAX_CONTENTS_BYTES + 1)
    one, two = (
        Manifest([Blob("entries", kept.blobs.put_bytes(data), len(data))], grows=True)
        for data in (long, long[:-2] + b"y")
    )
    kept.manifests.put({KEY: one, ABSENT: two})
    assert kept.look_up([KEY, ABSENT]).contents == {two.blobs[0].digest: long[:-2] + b"y"}
