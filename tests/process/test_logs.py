"""The log: one JSON line per record whatever is in it, rotated, and never the daemon's end.

Hard case 22; faults 16 and 28; facts F23 and F24.
"""

import json
import logging
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry import strict_json
from daemonry.limits import MAX_LOG_FIELD_CHARS
from daemonry.process import logs
from daemonry.process.logs import LogFile, Terminal, fields_of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.log"


@pytest.fixture
def log(path):
    file = LogFile(str(path))
    yield file
    file.close()


@pytest.fixture
def small(path):
    """A log that rotates after 300 bytes and keeps two older parts."""
    file = LogFile(str(path), most_bytes=300, parts_kept=2)
    yield file
    file.close()


def record(message, *arguments, level=logging.INFO, **extra):
    made = logging.LogRecord("ticker", level, "x.py", 1, message, arguments, None)
    vars(made).update(extra)
    return made


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [strict_json.decode_object(line) for line in file.read().split("\n")[:-1]]


def messages(path):
    return [line["message"] for line in lines(path)]


# --- one line -------------------------------------------------------------------------------------


def test_a_line_has_time_level_logger_and_message(log, path, monkeypatch):
    made = record("listening at %s", "x", level=logging.WARNING)
    made.created = 1767225600.0625
    log.handle(made)
    assert lines(path) == [
        {
            "time": "2026-01-01T00:00:00.062Z",
            "level": "warning",
            "logger": "ticker",
            "message": "listening at x",
        }
    ]


def test_extra_fields_keep_their_kind(log, path):
    log.handle(record("x", pid=42, ratio=0.5, good=True, path=os.fspath("/x"), nothing=None, many=[1, "a"]))
    (line,) = lines(path)
    assert {name: line[name] for name in ("pid", "ratio", "good", "path", "nothing", "many")} == {
        "pid": 42,
        "ratio": 0.5,
        "good": True,
        "path": "/x",
        "nothing": "None",
        "many": "[1, 'a']",
    }


def test_extra_fields_do_not_replace_what_every_line_has(log, path):
    forged = record("true")
    vars(forged).update(time="forged", level="forged", logger="forged")
    log.handle(forged)
    (line,) = lines(path)
    assert line["logger"] == "ticker"
    assert line["level"] == "info"


def test_a_trace_is_one_field_of_its_line(log, path):
    try:
        raise ValueError("bad\nvalue")
    except ValueError:
        made = record("failed")
        made.exc_info = sys.exc_info()
    log.handle(made)
    (line,) = lines(path)
    assert line["trace"].startswith("Traceback (most recent call last):\n")
    assert line["trace"].endswith("ValueError: bad\nvalue")


def test_no_trace_is_no_field(log, path):
    made = record("x")
    made.exc_info = (None, None, None)
    log.handle(made)
    assert "trace" not in lines(path)[0]


HOSTILE = [
    "hi\nERROR root forged",
    'hi\r\n{"level":"error"}',
    "\x1b[2J\x1b[31mred\x07\x00",
    "\x7f\x85\x9b\u2028\u2029",
    "caf\udce9",
    '"}\n{"message":"forged"}',
]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_message_stays_one_line_without_controls(log, path, text):
    """Fault 28: what a client sent must not look like our own line, nor drive a terminal."""
    log.handle(record("%s", text, client=text))
    raw = path.read_bytes()
    assert raw.count(b"\n") == 1
    assert not any(byte < 0x20 or byte == 0x7F for byte in raw[:-1])
    assert not any(mark in raw.decode() for mark in "\x80\x85\x9b\u2028\u2029")
    (line,) = lines(path)
    assert line["message"] == line["client"] == text.encode("utf-8", "backslashreplace").decode()


@given(st.text(st.characters(exclude_categories=[])), st.text(min_size=1))
def test_whatever_a_record_holds_it_becomes_one_line(message, value):
    line = strict_json.encode(fields_of(record("%s", message, value=value)))
    assert len(line.splitlines()) == 1
    assert strict_json.decode_object(line)["logger"] == "ticker"
    assert line.encode("utf-8")


def test_a_field_is_cut_at_its_limit(log, path):
    log.handle(record("x" * (MAX_LOG_FIELD_CHARS + 1), value="y" * MAX_LOG_FIELD_CHARS))
    (line,) = lines(path)
    assert line["message"] == "x" * MAX_LOG_FIELD_CHARS + "..."
    assert line["value"] == "y" * MAX_LOG_FIELD_CHARS


class Unprintable:
    def __str__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "made",
    [
        record("%d", "not a number"),
        record("%s %s", "one"),
        record("%(missing)s", {"here": 1}),
        record("%s", Unprintable()),
        record("x", value=Unprintable()),
        record("x", value=float("nan")),
        record("x", value=10**5000),
    ],
    ids=["wrong kind", "too few", "missing key", "no text", "extra without text", "no number", "huge"],
)
def test_a_record_that_cannot_be_written_never_raises(log, path, made):
    """A mistake in a log call must not end what it was about to tell of."""
    log.emit(made)
    log.emit(record("after"))
    assert messages(path)[-1] == "after"


# --- the file -------------------------------------------------------------------------------------


def test_the_file_is_the_owners_alone_and_is_continued(path):
    for number in range(2):
        file = LogFile(str(path))
        file.handle(record("run %d", number))
        file.close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert messages(path) == ["run 0", "run 1"]


def test_the_file_is_not_inherited(log):
    assert not os.get_inheritable(log._fd)


def test_a_file_that_was_removed_is_made_again(log, path):
    log.emit(record("before"))
    path.unlink()
    log.emit(record("after"))
    assert messages(path) == ["after"]


def test_a_link_is_not_followed(path):
    path.symlink_to(path.parent / "target")
    with pytest.raises(OSError, match="is a symbolic link"):
        LogFile(str(path))


def test_closing_twice_is_no_error_and_a_late_record_opens_it_again(log, path):
    log.close()
    log.close()
    log.emit(record("late"))
    assert messages(path) == ["late"]


def sizes(path):
    return {found.name: found.stat().st_size for found in path.parent.iterdir()}


def test_a_part_is_closed_at_its_size_and_only_so_many_are_kept(small, path):
    """645 MB of one crash loop is the record that the hard cases tell of."""
    for number in range(50):
        small.handle(record("line %02d", number))
    found = sizes(path)
    assert sorted(found) == ["x.log", "x.log.1", "x.log.2"]
    assert max(found.values()) <= 300
    told = messages(f"{path}.2") + messages(f"{path}.1") + messages(path)
    assert told == [f"line {number:02d}" for number in range(50 - len(told), 50)]


def test_a_part_that_is_full_at_the_start_is_closed_by_the_first_line(path):
    path.write_text('{"message":"old"}\n' * 20)
    file = LogFile(str(path), most_bytes=300)
    file.handle(record("new"))
    file.close()
    assert messages(path) == ["new"]
    assert len(lines(f"{path}.1")) == 20


def test_a_line_beyond_the_size_of_a_part_has_a_part_of_its_own(small, path):
    small.handle(record("small"))
    small.handle(record("x" * 1000))
    small.handle(record("small again"))
    assert messages(path) == ["small again"]
    assert messages(f"{path}.1") == ["x" * 1000]
    assert messages(f"{path}.2") == ["small"]


def test_a_rotation_that_fails_loses_a_line_and_not_the_log(small, path, monkeypatch):
    small.handle(record("x" * 200))
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", _fail)
        small.handle(record("y" * 200))
    assert small.dropped == 1
    small.handle(record("z"))
    assert small.dropped == 0
    told = messages(f"{path}.1") + messages(path)
    assert told == ["x" * 200, "1 lines were lost here", "z"]


def _fail(*arguments):
    raise OSError(1, "Operation not permitted")


# --- a full disk ----------------------------------------------------------------------------------


def test_what_a_full_disk_swallowed_is_counted_and_told_when_there_is_room(log, path, monkeypatch):
    """Fault 16: every line that is missing is accounted for, however long the disk stays full."""
    log.handle(record("before"))
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", _no_space)
        for number in range(7):
            log.handle(record("lost %d", number))
            assert log.dropped == number + 1
    log.handle(record("after"))
    log.handle(record("more"))
    assert messages(path) == ["before", "7 lines were lost here", "after", "more"]
    assert log.dropped == 0


def _no_space(fd, data):
    raise OSError(28, "No space left on device")


def test_a_line_that_was_torn_does_not_spoil_the_next(log, path, monkeypatch):
    """A disk that is nearly full takes a part of a line; what follows must start a line of its own."""
    write = os.write
    log.handle(record("before"))
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda fd, data: write(fd, data[:10]))
        log.handle(record("torn"))
    assert log.dropped == 1
    log.handle(record("after"))
    raw = path.read_text().splitlines()
    assert json.loads(raw[0])["message"] == "before"
    assert raw[1] == '{"time":"2'
    assert [json.loads(line)["message"] for line in raw[2:]] == ["1 lines were lost here", "after"]


def test_nothing_is_counted_twice_when_only_the_notice_fitted(log, path, monkeypatch):
    write = os.write
    room = [0]

    def little_room(fd, data):
        taken = min(len(data), room[0])
        if not taken:
            raise OSError(28, "No space left on device")
        room[0] -= taken
        return write(fd, data[:taken])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", little_room)
        for _ in range(3):
            log.handle(record("lost"))
        room[0] = 60  # the notice, and no more than the beginning of a line
        log.handle(record("lost as well"))
    log.handle(record("after"))
    told = [line for line in path.read_text().splitlines() if line.startswith('{"level')]
    assert [json.loads(line)["message"] for line in told] == [
        "3 lines were lost here",
        "1 lines were lost here",
    ]


def test_a_daemon_outlives_a_full_disk(on_tiny_disk):
    """The disk itself: filled up, then emptied."""
    told = on_tiny_disk(
        """
import json, logging
from daemonry.process.logs import LogFile
log = LogFile(disk + "/x.log")
def say(message):
    log.handle(logging.LogRecord("x", 20, "x.py", 1, message, (), None))
say("before")
fill()
for _ in range(200):
    say("x" * 500)
lost = log.dropped
os.unlink(disk + "/filler")
say("after")
log.close()
found = []
for line in open(disk + "/x.log"):
    try:
        found.append(json.loads(line)["message"])
    except ValueError:
        print("torn", len(line) < 600)
kept = found.count("x" * 500)
print(lost > 100, kept + lost == 200, found[0], found[-2] == f"{lost} lines were lost here", found[-1])
"""
    )
    assert told.splitlines()[-1] == "True True before True after"


# --- setting up -----------------------------------------------------------------------------------


@pytest.mark.parametrize("terminal", [False, True])
def test_a_process_sends_its_records_there(path, terminal):
    """In a process of its own: the root logger is everybody's."""
    script = """
import logging, sys
from daemonry.process import logs
logs.set_up(sys.argv[1], level="warning", terminal=sys.argv[2] == "True")
logging.getLogger("a.b").warning("seen %s", "\\x1b[31m", extra={"pid": 7})
logging.getLogger("a.b").info("below the level")
"""
    words = [sys.executable, "-c", script, path, str(terminal)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert [(line["message"], line["pid"]) for line in lines(path)] == [("seen \x1b[31m", 7)]
    assert done.stdout == ""
    shown = done.stderr.split("Z")[-1].strip().split(" ", 2)[2:] if terminal else []
    assert shown == (["WARNING seen \\x1b[31m pid=7"] if terminal else [])


def test_the_levels_have_names():
    assert logs.LEVELS == ("debug", "info", "warning", "error")


def test_a_file_that_cannot_be_opened_is_told(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        logs.set_up(str(tmp_path / "none/x.log"))


def test_a_terminal_that_is_gone_is_no_reason_to_fail(monkeypatch, capsys):
    tried = []

    def fail(*written):
        tried.append(written)
        return _fail(*written)

    monkeypatch.setattr(os, "write", fail)
    Terminal().handle(record("x"))
    Terminal().handle(record("%(missing)s", {"here": 1}))
    assert tried
    assert capsys.readouterr() == ("", "")  # nor to tell of it where nobody reads


@pytest.mark.slow
def test_a_line_costs_little(log):
    """A daemon logs one line per change of phase; even a thousand take no time that anyone notices."""
    started = time.process_time()
    for number in range(1000):
        log.handle(record("line %d", number))
    assert time.process_time() - started < 2.0
