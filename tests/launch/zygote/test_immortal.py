"""Immortal objects: fewer copied pages, and an interpreter that works and ends as before."""

import subprocess
import sys

import pytest

from daemonry.launch.zygote import immortal

KNOWN = immortal._is_known()

# All that goes through counts: collections, weak references, reloads, threads, errors, and the end itself.
WORK = """
import asyncio, concurrent.futures, gc, importlib, json, sys, weakref
from daemonry.launch.zygote.preloading import preload

preload()
count = sys.getrefcount(asyncio)
held = [asyncio] * 1000
more = sys.getrefcount(asyncio)
del held
print(count == more == sys.getrefcount(None), gc.get_freeze_count() > 10_000)

class Node:
    pass

def work(number):
    node = Node()
    node.itself = node
    told = weakref.ref(node)
    del node
    try:
        json.loads("{" * number)
    except ValueError:
        pass
    return told

async def main():
    await asyncio.gather(*(asyncio.sleep(0) for _ in range(100)))
    await asyncio.to_thread(work, 3)

gc.enable()
for _ in range(5):
    asyncio.run(main())
    importlib.reload(json)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, range(200)))
    gc.collect()
    assert all(told() is None for told in found)
gc.unfreeze()
gc.collect()
sys.modules.pop("json"), sys.modules.pop("asyncio")
gc.collect()
print("worked")
"""


def run(text):
    return subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False
    )


def test_what_is_preloaded_is_not_counted_and_everything_works_to_the_end_of_the_process():
    done = run(WORK)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{KNOWN} True\nworked\n"


def test_it_is_known_of_the_pythons_that_these_tests_run_with():
    assert (sys.version_info[:2] in ((3, 12), (3, 13))) == KNOWN


@pytest.mark.parametrize(("name", "value"), [("_PROVED", ()), ("_IMMORTAL", 5)])
def test_nothing_is_written_where_python_is_another_or_its_count_stands_elsewhere(monkeypatch, name, value):
    monkeypatch.setattr(immortal, name, value)
    probe = object()
    before = sys.getrefcount(probe)
    assert immortal.make_immortal() == 0
    assert sys.getrefcount(probe) == before


def test_what_only_a_dictionary_names_is_found_and_what_is_new_is_not():
    name, once = "no attribute's name", object()
    table = {name: [once]}
    found = immortal._reachable([table])
    assert {id(name), id(once), id(table)} <= found.keys()
    assert id(found) not in found


@pytest.mark.skipif(not KNOWN, reason="objects are counted here")
def test_a_forked_daemon_copies_less_than_a_third_of_its_memory(starts):
    starts.start("one")
    record = starts.start("two")
    assert starts.is_forked(record)
    with open(f"/proc/{record.pid}/smaps_rollup", encoding="ascii") as lines:
        kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith("kB\n")}
    assert kib["Private_Dirty"] * 3 < kib["Anonymous"]
