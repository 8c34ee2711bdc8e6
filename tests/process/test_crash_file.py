"""The crash file: rolled at a start, kept small while others write to it, its end shown (hard case 22)."""

import os
import subprocess
import sys

import pytest

from daemonry.process import crash_file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.crash"


def prev(path):
    return path.with_name(path.name + ".prev")


def test_what_the_last_run_left_is_kept_once(path):
    path.write_text("first crash")
    crash_file.roll(str(path))
    assert not path.exists()
    assert prev(path).read_text() == "first crash"
    path.write_text("second crash")
    crash_file.roll(str(path))
    assert prev(path).read_text() == "second crash"


def test_a_run_that_said_nothing_does_not_push_the_last_crash_away(path):
    prev(path).write_text("the crash")
    path.touch()
    crash_file.roll(str(path))
    assert prev(path).read_text() == "the crash"


def test_there_is_nothing_to_roll_at_the_first_start(path):
    crash_file.roll(str(path))
    assert list(path.parent.iterdir()) == []


def test_a_file_within_the_limit_is_left_alone(path):
    path.write_bytes(b"x" * 100)
    assert not crash_file.cap(str(path), 100)
    assert path.stat().st_size == 100


def test_a_file_beyond_the_limit_is_emptied_and_its_end_kept(path):
    path.write_bytes(b"start" + b"x" * 100 + b"the end")
    assert crash_file.cap(str(path), 20)
    assert path.stat().st_size == 0
    assert prev(path).read_bytes() == b"xxxthe end"


def test_whoever_writes_goes_on_at_the_new_end(path):
    """In place, because a C library holds descriptor 2 open; and without a hole of zeros."""
    script = "import os, sys\nfor line in sys.stdin:\n    os.write(2, line.encode()); print('ok', flush=True)"
    with (
        open(path, "ab") as output,
        subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        ) as writer,
    ):

        def say(line):
            writer.stdin.write(line + "\n")
            writer.stdin.flush()
            assert writer.stdout.readline() == "ok\n"

        say("x" * 1000)
        assert crash_file.cap(str(path), 100)
        say("after")
        writer.stdin.close()
    assert path.read_text() == "after\n"


def test_a_file_that_is_not_there_is_not_capped(path):
    assert not crash_file.cap(str(path))


def test_a_full_disk_is_no_reason_to_fail(on_tiny_disk):
    """The end could not be kept, so nothing is thrown away: tried again at the next look."""
    told = on_tiny_disk(
        """
from daemonry.process import crash_file
path = disk + "/x.crash"
with open(path, "w") as file:
    file.write("x" * 20000)
fill()
print(crash_file.cap(path, 16384), os.stat(path).st_size)
os.unlink(disk + "/filler")
print(crash_file.cap(path, 16384), os.stat(path).st_size, os.stat(path + ".prev").st_size)
"""
    )
    assert told.splitlines() == ["False 20000", "True 0 8192"]


@pytest.mark.parametrize(
    ("content", "most_bytes", "end"),
    [
        (b"", 100, ""),
        (b"Traceback\nValueError: x\n", 100, "Traceback\nValueError: x"),
        (b"first line\nsecond\nthird\n", 13, "third"),
        (b"first line\nsecond\nthird\n", 14, "second\nthird"),
        (b"x" * 50 + b"\n", 10, "x" * 9),
        (b"y" * 50, 10, "y" * 10),
        (b"a\xff\xfeb\n", 100, "a\\xff\\xfeb"),
        (b"\n\n\n", 100, ""),
    ],
)
def test_the_end_is_shown_from_the_start_of_a_line(path, content, most_bytes, end):
    """Of a line that is longer than all that is shown, its end: better than nothing at all."""
    path.write_bytes(content)
    assert crash_file.tail(str(path), most_bytes) == end


def calls(count, name):
    return "".join(f'  File "/srv/{name}.py", line {n} in {name}\n' for n in range(count))


def fatal(*threads):
    return "\n".join(["Fatal Python error: Segmentation fault\n", *threads]).encode()


def test_a_fatal_error_is_shown_from_its_beginning(path):
    """The most recent call is named first; the end of a deep stack says nothing of the cause."""
    path.write_bytes(
        b"before\n" * 9 + fatal("Current thread 0x1 (most recent call first):\n" + calls(100, "deep"))
    )
    lines = crash_file.tail(str(path)).splitlines()
    assert lines[:3] == [
        "Fatal Python error: Segmentation fault",
        "Current thread 0x1 (most recent call first):",
        '  File "/srv/deep.py", line 0 in deep',
    ]
    assert lines[-1] == "..."
    assert lines[-2].endswith("in deep")
    assert len("\n".join(lines)) <= 2048 + len("\n...")


def test_of_a_fatal_error_the_thread_that_failed_is_shown(path):
    other = "Thread 0x2 (most recent call first):\n" + calls(100, "waiting")
    path.write_bytes(fatal(other, "Current thread 0x1 (most recent call first):\n" + calls(2, "failing")))
    assert crash_file.tail(str(path)) == (
        "Fatal Python error: Segmentation fault\nCurrent thread 0x1 (most recent call first):\n"
        '  File "/srv/failing.py", line 0 in failing\n  File "/srv/failing.py", line 1 in failing\n...'
    )


def test_a_short_fatal_error_is_shown_with_what_came_before(path):
    path.write_bytes(b"malloc(): corrupted\n" + fatal("Current thread 0x1 (most recent call first):\n"))
    assert crash_file.tail(str(path)).startswith("malloc(): corrupted\nFatal Python error: ")


def test_words_about_a_fatal_error_inside_a_line_are_none(path):
    path.write_bytes(b"it said: Fatal Python error: x\n" + b"y\n" * 2000)
    assert set(crash_file.tail(str(path)).split()) == {"y"}


def test_the_end_of_no_file_is_nothing(path):
    assert crash_file.tail(str(path)) == ""
    assert crash_file.tail(str(path.parent)) == ""


def test_the_cap_leaves_room_for_the_tail_of_a_crash(path):
    """What was cut is in .prev; together they are never more than one and a half times the limit."""
    path.write_bytes(os.urandom(5000))
    crash_file.cap(str(path), 1000)
    assert prev(path).stat().st_size == 500
