"""The supervisor in the foreground, and as process 1 of a container: reaping, signals, what is printed."""

import os
import signal
import subprocess

import pytest

from daemonry.testing import wait_until
from daemonry.testing.leftovers import processes_marked

# A grandchild whose parent ends, which then ends itself: somebody has to collect it.
LEAVES_AN_ORPHAN = "(sleep 0.05 & ) ; (setsid sleep 0.1 &) ; echo left; exec sleep 600"


@pytest.fixture
def container():
    """The words that run what follows as process 1 of a pid namespace of its own."""
    words = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    probe = subprocess.run([*words, "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"no pid namespaces here: {probe.stderr.decode().strip()}")
    return words


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(one) for one in file.read().split()]


def states_below(pid):
    """The process states of all descendants: Z is a zombie."""
    found = []
    for child in children(pid):
        try:
            with open(f"/proc/{child}/stat") as file:
                found.append(file.read().rpartition(")")[2].split()[0])
            found += states_below(child)
        except FileNotFoundError:
            continue  # it was collected between two looks
    return found


def test_orphans_come_to_the_supervisor_and_are_collected(shop, service):
    """What a service leaves becomes the supervisor's child, and must not stay as a zombie."""
    leaves = "sh -c 'setsid sleep 600 & echo $! > orphan' && echo left && exec sleep 600"
    shop.write(service("a", ["sh", "-c", leaves], ready='{ output = "left" }'))
    shop.up()
    pid = shop.supervisor()
    orphan = int((shop.path / "orphan").read_text())
    wait_until(lambda: orphan in children(pid), what="the supervisor is its parent")
    os.kill(orphan, signal.SIGKILL)
    wait_until(lambda: orphan not in children(pid), what="it is collected")
    assert "Z" not in states_below(pid)


def test_in_the_foreground_it_prints_plain_lines_and_ends_by_a_signal(shop, service):
    shop.write(service("first", ["sh", "-c", "echo hello; exec sleep 600"]) + service("b", needs='["first"]'))
    process = shop.foreground()
    lines = []
    while not any("b     * ready" in line for line in lines):
        lines.append(process.stdout.readline())
        assert lines[-1]
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert "first | hello\n" in lines
    assert "\x1b" not in "".join(lines) + rest
    assert rest.splitlines()[-2:] == ["b     * stopped", "first * stopped"]


def test_it_ends_when_nothing_will_ever_run_again(shop, service):
    """A container would otherwise go on without doing anything."""
    shop.write(service("a", ["sh", "-c", "exit 0"]) + service("b", ["true"], needs='["a"]'))
    process = shop.foreground()
    process.communicate(timeout=30)
    assert process.returncode == 0
    shop.write(service("a", ["sh", "-c", "exit 3"], restart='"never"') + service("b", needs='["a"]'))
    process = shop.foreground()
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "a * failed: given up: exited with 3" in out


def test_one_whose_output_nobody_reads_goes_on(shop, service):
    shop.write(service("a", ["sh", "-c", "while :; do echo x; sleep 0.01; done"]))
    process = shop.foreground()
    process.stdout.readline()
    process.stdout.close()
    count = len(shop.written("a"))
    wait_until(lambda: len(shop.written("a")) > count + 20)
    process.terminate()
    assert process.wait(30) == 0
    process.stderr.close()


def test_as_process_1_it_reaps_drains_and_reloads(shop, service, container):
    family = service("a", ["sh", "-c", "echo $PPID; " + LEAVES_AN_ORPHAN], ready='{ output = "left" }')
    shop.write(family + service("b", needs='["a"]'))
    process = shop.foreground(*container)
    shop.wait_event("home", "b: ready")
    (init,) = children(process.pid)
    assert shop.written("a")[0] == "1"
    # Orphans are process 1's children in any namespace; two services and their guard are to stay.
    wait_until(lambda: len(states_below(init)) == 3, what="orphans are collected")
    assert "Z" not in states_below(init)
    shop.write(family + service("c"))
    os.kill(init, signal.SIGHUP)
    shop.wait_event("home", "reloaded: added c; removed b")
    shop.wait_event("home", "c: ready")
    os.kill(init, signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert "c: stopped" in shop.events()[-3:]
    wait_until(lambda: not processes_marked(str(shop.sandbox.path)))


def test_as_process_1_a_second_signal_ends_at_once(shop, service, container):
    deaf = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.01; done"]
    shop.write(service("a", deaf, ready='{ output = "ready" }', stop_timeout='"1h"'))
    process = shop.foreground(*container)
    shop.wait_event("home", "a: ready")
    (init,) = children(process.pid)
    os.kill(init, signal.SIGTERM)
    shop.wait_event("home", "SIGTERM: stopping")
    os.kill(init, signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 1
