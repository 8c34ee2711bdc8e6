"""The logs of a home: lines are moved as they came, found from the end, merged, and chosen."""

import asyncio
import json
import os
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.home.service_log import Output, ServiceLog, by_line, cut
from daemonry.limits import MAX_SERVICE_LINE_BYTES
from daemonry.process import log_reader
from daemonry.testing import wait_until


def sh(text):
    return ["sh", "-c", text]


# --- from the pipe to the file --------------------------------------------------------------------


@given(st.lists(st.binary(max_size=20)), st.lists(st.integers(1, 7)))
def test_however_the_bytes_come_the_lines_are_the_same(lines, sizes):
    """Whole lines are handed on in their order, and what stands behind the last end comes at the close."""
    data = b"\n".join(lines)
    taken = []

    async def play():
        far, near = os.pipe()
        output = Output(asyncio.get_running_loop(), far, taken.append)
        rest = data
        for size in [*sizes, len(data)]:
            os.write(near, rest[:size])
            rest = rest[size:]
            output._read()
        os.close(near)
        output.finish()

    asyncio.run(play())
    assert all(one.endswith(b"\n") for one in taken)
    assert b"".join(taken) == (data if data.endswith(b"\n") or not data else data + b"\n")


@pytest.mark.parametrize("extra", [-1, 0, 1, MAX_SERVICE_LINE_BYTES])
def test_a_line_beyond_the_limit_is_cut_and_nothing_of_it_is_lost(extra):
    line = b"x" * (MAX_SERVICE_LINE_BYTES + extra)
    found = cut(line + b"\nshort\n").split(b"\n")
    assert b"".join(found) == line + b"short"
    assert max(map(len, found)) <= MAX_SERVICE_LINE_BYTES


def test_lines_are_stored_as_they_came_and_shown_as_text(tmp_path):
    path = str(tmp_path / "a.log")
    log = ServiceLog(path, 1 << 20)
    log.take(b'caf\xe9 \x1b[31m\r\n\n{"time": 5}\n')
    log.close()
    found = [log_reader.parsed(line, "a") for line in log_reader.lines(path)]
    assert [one["message"] for one in found] == ["caf\\xe9 \x1b[31m", "", '{"time": 5}']
    assert {one["logger"] for one in found} == {"a"}


def test_a_watch_sees_each_line(tmp_path):
    log = ServiceLog(str(tmp_path / "a.log"), 1 << 20)
    seen = []
    log.watches.append(seen.append)
    log.take(b"one\r\ntwo\n")
    by_line(seen.append)(b"three\n")
    log.close()
    assert seen == ["one", "two", "three"]


# --- from the end ---------------------------------------------------------------------------------

LINES = st.lists(st.sampled_from(["", "a", "b" * 5000, "2026-05-01T12:00:00.000Z x"]), max_size=9)


@given(LINES, LINES, st.booleans())
def test_backwards_are_the_same_lines(tmp_path_factory, older, newer, ends):
    path = str(tmp_path_factory.mktemp("log") / "x.log")
    for name, lines in ((f"{path}.1", older), (path, newer)):
        with open(name, "w", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines) + ("" if ends else "torn"))
    forwards = list(log_reader.lines(path))
    assert list(log_reader.backwards(path))[::-1] == forwards
    assert log_reader.tail(path, 3) == forwards[-3:]


def test_the_last_lines_of_a_large_log_cost_as_much_as_of_a_small_one(tmp_path):
    path = str(tmp_path / "x.log")
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"2026-05-01T12:00:00.000Z line {number}\n" for number in range(300_000))
    tracemalloc.start()
    found = log_reader.tail(path, 2)
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [f"2026-05-01T12:00:00.000Z line {number}" for number in (299_998, 299_999)]
    assert used < 200_000


def test_a_log_is_entered_near_the_moment_that_is_asked_for(tmp_path, monkeypatch):
    path = str(tmp_path / "x.log")
    second = "2026-05-01T{:02}:{:02}:{:02}.000Z line".format
    for name, hours in ((f"{path}.2", (8, 9)), (f"{path}.1", (9, 10)), (path, (11, 12))):
        with open(name, "w", encoding="utf-8") as file:
            file.writelines(
                second(hour, minute, at) + "\n"
                for hour in range(*hours)
                for minute in range(60)
                for at in range(60)
            )
    monkeypatch.setattr(time, "time", lambda: 1777636800.0)  # noon
    for span_s in (0.0, 1.0, 60.0, 3599.0, 3600.0, 3601.0, 9000.0, 1e6):
        assert list(log_reader.recent(path, span_s)) == list(log_reader.since(span_s)(log_reader.lines(path)))


def test_what_is_followed_begins_behind_the_last_lines(tmp_path):
    path = str(tmp_path / "x.log")
    with open(path, "w", encoding="utf-8") as file:
        file.write("one\ntwo\nthr")
    follower = log_reader.Follower(path, log_reader.last(1))
    assert follower.lines() == ["two"]
    with open(path, "a", encoding="utf-8") as file:
        file.write("ee\nfour\n")
    assert follower.lines() == ["three", "four"]
    follower.close()


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def talks(shop, service):
    """`a` and `b` speak in turn; the levels are in their words."""
    turn = "until [ -e {0} ]; do sleep 0.01; done; "
    first = "echo a1 INFO; touch 1; " + turn.format(2) + "echo a2 ERROR bad; exec sleep 600"
    second = turn.format(1) + "sleep 0.01; echo b1 warn; sleep 0.01; touch 2; exec sleep 600"
    shop.write(service("a", sh(first), groups='["g"]') + service("b", sh(second), groups='["g"]'))
    shop.up()
    wait_until(lambda: len(shop.written("a")) == 2 and shop.written("b"), what="both have spoken")
    return shop


def shown(shop, *words):
    done = shop.cli("logs", *words)
    assert done.code == 0, done
    lines = [line.split() for line in done.out.splitlines() if " * " not in line]
    return [next(word for word in line if word[:2] in ("a1", "a2", "b1")) for line in lines]


def test_lines_of_several_services_are_merged_by_their_time(talks):
    assert shown(talks) == ["a1", "b1", "a2"]
    assert shown(talks, "a", "b", "--tail", "2", "--grep", "[ab][12]") == ["b1", "a2"]
    assert shown(talks, "g", "--tail", "0") == ["a1", "b1", "a2"]
    assert shown(talks, "a") == ["a1", "a2"]


@pytest.mark.parametrize("is_up", [True, False])
def test_they_are_shown_whatever_the_file_says_now(talks, is_up):
    """Those of the services that run; without a supervisor all that are there."""
    if not is_up:
        talks.down()
    (talks.path / "old.log").write_text("2026-05-01T12:00:00.000Z a1 of another time\n")
    (talks.path / "home.toml").write_text("[")
    assert shown(talks, "--tail", "0") == [*([] if is_up else ["a1"]), "a1", "b1", "a2"]
    done = talks.cli("logs")
    assert (done.err.count("\n"), done.err.endswith("; showing the logs that are there\n")) == (1, True)
    assert done.err.startswith(f"{talks.path}/home.toml:1:2: not TOML: ")
    assert shown(talks, "a") == ["a1", "a2"]
    assert talks.cli("logs", "g").code == (0 if is_up else 2)


def test_a_home_without_logs_says_why_it_shows_none(shop):
    (shop.path / "home.toml").write_text("[")
    done = shop.cli("logs")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert done.err.startswith(f"{shop.path}/home.toml:1:2: not TOML: ")


def test_lines_are_chosen_by_level_pattern_and_time(talks):
    assert shown(talks, "--level", "warning", "--tail", "0") == ["b1", "a2"]
    assert shown(talks, "--level", "error") == ["a2"]
    assert shown(talks, "--grep", "^.*[ab]1") == ["a1", "b1"]
    assert shown(talks, "--since", "1h") == ["a1", "b1", "a2"]


def test_a_pattern_that_is_none_is_an_error_in_one_line(talks):
    done = talks.cli("logs", "--grep", "(")
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert "--grep" in done.err


def test_json_is_made_when_it_is_shown(talks):
    lines = map(json.loads, talks.cli("logs", "a", "--json").out.splitlines())
    found = [one for one in lines if one["logger"] == "a"]
    assert [one["message"] for one in found] == ["a1 INFO", "a2 ERROR bad"]
    assert set(found[0]) == {"time", "level", "logger", "message"}


def test_one_query_covers_all_daemons_and_homes(talks):
    done = talks.sandbox.daemonry("logs", "--all", "--tail", "0", "--grep", "b1|listening")
    assert done.code == 0
    assert "shop/b " in done.out
    assert "shop/home" in done.out
    assert "shop/a " not in done.out
