"""Reading a log: the last lines, those since a moment, those to come; over its parts, for people."""

import logging
import os
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry import clock, strict_json
from daemonry.errors import ArgumentInvalid
from daemonry.limits import LOG_FILES_KEPT, MAX_LOG_LINE_BYTES
from daemonry.process import log_reader
from daemonry.process.log_reader import as_text, follow, last, lines, parse_span, parsed, since
from daemonry.process.logs import LogFile
from daemonry.terminal_text import is_unsafe


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "x.log")


def write(path, *text, mode="a"):
    with open(path, mode, encoding="utf-8", errors="surrogateescape") as file:
        file.write("".join(text))


def line(message, **fields):
    return strict_json.encode({**fields, "message": message}) + "\n"


def chosen(path, choice):
    return list(choice(lines(path)))


def messages(found):
    return [parsed(one)["message"] for one in found]


# --- the last lines -------------------------------------------------------------------------------


def test_lines_are_read_over_all_parts_the_oldest_first(path):
    log = LogFile(path, most_bytes=300, parts_kept=5)
    for number in range(12):
        log.emit(logging.LogRecord("x", 20, "x.py", 1, "line %d", (number,), None))
    log.close()
    assert len(os.listdir(os.path.dirname(path))) > 3
    assert messages(lines(path)) == [f"line {number}" for number in range(12)]
    assert messages(chosen(path, last(5))) == [f"line {number}" for number in range(7, 12)]


def test_nought_means_all(path):
    write(path, line("a"), line("b"))
    assert messages(chosen(path, last(0))) == ["a", "b"]
    assert messages(chosen(path, last(10))) == ["a", "b"]


def test_no_log_has_no_lines(path):
    assert chosen(path, last(10)) == []
    assert chosen(path, since(60.0)) == []


def test_a_part_that_is_not_there_is_passed_over(path):
    """The daemon goes on writing and rotating while we read."""
    write(path, line("new"))
    write(f"{path}.3", line("old"))
    assert messages(lines(path)) == ["old", "new"]


def test_a_line_that_is_not_finished_is_a_line(path):
    write(path, line("whole"), '{"message":"torn')
    assert chosen(path, last(2))[-1] == '{"message":"torn'


def test_bytes_that_are_not_utf8_are_shown_as_such(path):
    write(path, "caf\udce9\n")
    assert chosen(path, last(1)) == ["caf\\xe9"]


# --- since ------------------------------------------------------------------------------------------


@pytest.fixture
def noon(monkeypatch):
    """It is noon of the first of May 2026."""
    monkeypatch.setattr(time, "time", lambda: 1777636800.0)


def at(moment):
    return {"time": f"2026-05-01T{moment}Z"}


@pytest.mark.usefixtures("noon")
def test_lines_since_a_moment(path):
    write(
        path,
        line("old", **at("10:59:59.999")),
        line("edge", **at("11:00:00.000")),
        line("new", **at("11:59:00.000")),
    )
    assert messages(chosen(path, since(3600.0))) == ["edge", "new"]
    assert messages(chosen(path, since(60.0))) == ["new"]
    assert messages(chosen(path, since(0.0))) == []
    assert messages(chosen(path, since(parse_span("1d")))) == ["old", "edge", "new"]


@pytest.mark.usefixtures("noon")
def test_a_line_without_a_time_goes_with_the_one_before(path):
    """A torn line, or one that was written by hand, belongs to its neighbour."""
    write(
        path,
        "torn at the start\n",
        line("old", **at("10:00:00.000")),
        "torn, and old\n",
        line("new", **at("11:30:00.000")),
        "torn, and new\n",
        line("a time of another kind", time=5),
    )
    assert messages(chosen(path, since(3600.0))) == ["new", "torn, and new", "a time of another kind"]


def test_a_span_beyond_all_time_is_everything(path):
    write(path, line("first", time="1971-01-01T00:00:00.000Z"))
    assert messages(chosen(path, since(parse_span("999999999w")))) == ["first"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("90s", 90), ("30m", 1800), ("1h", 3600), ("2d", 172800), ("1w", 604800), ("007s", 7)],
)
def test_a_span_is_read(text, seconds):
    assert parse_span(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "1", "1y", "1.5h", "-1h", "+1h", "1 h", "h1", "\u0661h", "1H", "1" * 10 + "s", "1hh"]
)
def test_what_is_no_span_is_told_with_an_example(text):
    with pytest.raises(ArgumentInvalid, match=r"--since.* is not a span of time: try 90s, 30m, 1h, 2d"):
        parse_span(text)


# --- follow -----------------------------------------------------------------------------------------


@pytest.fixture
def following(path, monkeypatch):
    """A function that follows the log and does one of its steps at each sleep; returns what came."""

    def run(*steps):
        remaining = list(steps)
        reading = follow(path)

        def sleep(delay_s):
            if not remaining:
                raise EOFError
            remaining.pop(0)()

        monkeypatch.setattr(clock, "sleep", sleep)
        came = []
        try:
            came.extend(reading)  # keeps what it has when the last step is done
        except EOFError:
            return came

    return run


def test_following_begins_at_the_end_and_yields_what_comes(path, following):
    write(path, "old\n")
    assert following(lambda: write(path, "a\nb\n"), lambda: write(path, "c\n")) == ["a", "b", "c"]


def test_a_line_comes_whole_however_it_is_written(path, following):
    write(path, "")
    pieces = ["a long", " li", "ne", "\nand ", "another\n"]
    assert following(*(lambda piece=piece: write(path, piece) for piece in pieces)) == [
        "a long line",
        "and another",
    ]


def test_a_letter_that_is_cut_in_the_middle_comes_whole(path, following):
    """A writer on a disk that is nearly full stops anywhere."""
    write(path, "")
    assert following(lambda: write(path, "caf\udcc3"), lambda: write(path, "\udca9\n")) == ["café"]


def test_a_log_that_is_not_there_yet_is_waited_for(path, following):
    assert following(lambda: None, lambda: write(path, ""), lambda: write(path, "first\n")) == ["first"]


def rotate(path, kept=1):
    for number in range(kept - 1, 0, -1):
        if os.path.exists(f"{path}.{number}"):
            os.rename(f"{path}.{number}", f"{path}.{number + 1}")
    os.rename(path, f"{path}.1")


@pytest.mark.parametrize("times", range(1, LOG_FILES_KEPT + 1))
def test_following_goes_over_several_rotations_between_two_looks(path, following, times):
    def flood():
        for number in range(times):
            write(path, f"last of {number}\n")
            rotate(path, LOG_FILES_KEPT)
            write(path, f"first of {number + 1}\n")

    write(path, "read\n")
    expected = [line for n in range(times) for line in (f"last of {n}", f"first of {n + 1}")]
    assert following(flood, lambda: write(path, "then\n")) == [*expected, "then"]


def test_following_says_where_the_parts_in_between_are_gone(path, following):
    def flood():
        for number in range(LOG_FILES_KEPT + 3):
            rotate(path, LOG_FILES_KEPT)
            write(path, f"part {number}\n")

    write(path, "read\n")
    kept = [f"part {number}" for number in range(2, LOG_FILES_KEPT + 3)]
    assert following(flood) == [log_reader.LOST, *kept]


def test_following_reads_nothing_twice_where_a_part_was_removed(path, following):
    """By a person, say, who wants the room."""

    def remove():
        os.unlink(path)
        write(path, "new\n")

    write(path, "old\n")
    rotate(path)
    os.utime(f"{path}.1", (1, 1))
    write(path, "read\n")
    assert following(remove) == ["new"]


def test_following_goes_over_a_rotation(path, following):
    write(path, "old\n")
    assert following(
        lambda: write(path, "a\n"),
        lambda: (write(path, "b\n"), rotate(path), write(path, "c\n")),
        lambda: write(path, "d\n"),
    ) == ["a", "b", "c", "d"]


def test_what_is_written_to_the_old_part_after_the_rename_is_not_lost(path, following, monkeypatch):
    """Between our last read and our look at the name, the writer may have done both."""
    write(path, "")
    was_rotated = log_reader._was_rotated
    late = [lambda: write(f"{path}.1", "late\n")]

    def look(*arguments):
        found = was_rotated(*arguments)
        if found and late:
            late.pop()()
        return found

    monkeypatch.setattr(log_reader, "_was_rotated", look)
    assert following(lambda: (rotate(path), write(path, "new\n"))) == ["late", "new"]


def test_a_torn_line_at_the_end_of_a_part_is_a_line(path, following):
    write(path, "")
    assert following(lambda: (write(path, "torn"), rotate(path), write(path, "new\n"))) == ["torn", "new"]


def test_a_moment_without_a_file_is_waited_out(path, following):
    """A rotation renames first and opens then."""
    write(path, "")
    assert following(lambda: rotate(path), lambda: write(path, "new\n")) == ["new"]


def test_following_leaves_no_file_open(path, monkeypatch):
    write(path, "")
    monkeypatch.setattr(clock, "sleep", lambda delay_s: write(path, "a\n"))
    before = os.listdir("/proc/self/fd")
    reading = follow(path)
    assert next(reading) == "a"
    reading.close()
    assert os.listdir("/proc/self/fd") == before


def test_following_may_begin_with_what_is_there(path, monkeypatch):
    """`logs --tail 2 --follow`: no line is lost, or shown twice, between the two."""
    write(f"{path}.1", "a\n")
    write(path, "b\nc\nunfinished")
    monkeypatch.setattr(clock, "sleep", lambda delay_s: write(path, " line\n"))
    reading = follow(path, last(2))
    assert [next(reading), next(reading), next(reading)] == ["b", "c", "unfinished line"]
    reading.close()
    reading = follow(path, last(0))
    assert next(reading) == "a"
    reading.close()


# --- for people -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "plain words", "{", "[1]", '{"a":1,"a":2}', "null"])
def test_a_line_that_is_no_object_is_its_own_message(text):
    assert parsed(text) == {"message": text}


def test_a_line_is_told_as_people_write_it():
    fields = {
        "time": "2026-05-01T11:00:00.123Z",
        "level": "warning",
        "logger": "ticker",
        "message": "listening",
        "pid": 42,
        "trace": "Traceback:\n  in x\nValueError: y",
    }
    assert as_text(fields) == (
        "2026-05-01 11:00:00.123 WARNING listening pid=42\n    Traceback:\n      in x\n    ValueError: y"
    )


def test_what_a_line_lacks_is_left_out():
    assert as_text({"message": "only words"}) == "only words"
    assert as_text({"level": "error", "message": ""}) == "ERROR"
    assert as_text({}) == ""


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=4), st.text())
def test_whatever_a_line_holds_no_control_reaches_the_terminal(fields, trace):
    """Fault 28, on the way out: the file may have been written by something else."""
    shown = as_text({**fields, "trace": trace})
    assert not any(is_unsafe(ord(char)) for char in shown.replace("\n", ""))
    assert len(shown.split("\n")) == 1 + len(trace.splitlines())


def test_letters_are_shown_as_they_are():
    assert as_text({"message": "größer als 5 €"}) == "größer als 5 €"
    assert as_text({"message": "a\x1b[31m\u202eb\ud800"}) == "a\\x1b[31m\\u202eb\\ud800"


@pytest.mark.parametrize("reads", ["lines", "follows"])
def test_a_hole_without_a_line_end_costs_neither_memory_nor_the_lines_around_it(tmp_path, reads):
    """A power cut can leave one, and a file of 1 GiB of it was decoded whole."""
    path = tmp_path / "log"
    path.write_text('{"message": "before"}\n')
    os.truncate(path, 64 << 20)
    with open(path, "a") as file:
        file.write('{"message": "behind"}\n')
    follower = log_reader.Follower(str(path), log_reader.last(0))
    tracemalloc.start()
    try:
        found = list(lines(str(path))) if reads == "lines" else follower.lines()
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        follower.close()
    assert [log_reader.parsed(line)["message"] for line in found] == ["before", "behind"]
    assert peak_bytes < 16 << 20


def test_a_line_without_an_end_comes_in_pieces(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"x" * (3 * MAX_LOG_LINE_BYTES))
    assert [len(line) for line in log_reader.lines(str(path))] == [MAX_LOG_LINE_BYTES] * 3
