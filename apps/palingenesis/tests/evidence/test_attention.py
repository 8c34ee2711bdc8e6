"""Which records are looked at when: what changed, at once; what is quiet, seldom."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from palingenesis.agents.known import profiles
from palingenesis.evidence import attention, places, record_notices
from palingenesis.evidence.attention import HOT_S, Attention
from palingenesis.evidence.survey import RECENT_S, Survey


@pytest.fixture
def records(tmp_path):
    directory = tmp_path / ".claude/projects/p"
    directory.mkdir(parents=True)
    return directory


@pytest.fixture
def watched(tmp_path, records):
    return Attention(Survey(profiles({}, ""), {"HOME": str(tmp_path)}))


def put(records, name, age_s=0.0):
    path = records / f"{name}.jsonl"
    path.write_text("{}\n")
    at_s = time.time() - age_s
    os.utime(path, (at_s, at_s))
    return path


def names(changed):
    return sorted(os.path.basename(path).removesuffix(".jsonl") for _, path in changed)


def test_the_first_look_gives_the_records_of_the_last_days_and_the_next_what_changed(records, watched):
    put(records, "now")
    put(records, "yesterday", 86400)
    put(records, "old", RECENT_S + 60)
    now_s = time.time()
    assert names(watched.changed(now_s)) == ["now", "yesterday"]
    assert watched.changed(now_s + 1) == []
    (records / "now.jsonl").write_text("{}\n{}\n")
    assert names(watched.changed(now_s + 2)) == ["now"]
    assert watched.changed(now_s + 3) == []


def test_a_new_record_is_seen_by_its_directory(records, watched, tmp_path):
    now_s = time.time()
    put(records, "a")
    watched.changed(now_s)
    os.utime(records, (now_s - 60, now_s - 60))
    watched.changed(now_s + 0.1)
    put(records, "b")
    assert "b" in names(watched.changed(now_s + 0.2))
    other = tmp_path / ".claude/projects/q"
    other.mkdir()
    put(other, "c")
    assert "c" in names(watched.changed(now_s + 0.3))


def test_a_quiet_record_is_looked_at_with_everything_only(records, watched, monkeypatch):
    path = put(records, "cold", HOT_S + 60)
    now_s = time.time()
    watched.changed(now_s)
    looks = []
    real = places.look
    monkeypatch.setattr(places, "look", lambda one: looks.append(one) or real(one))
    watched.changed(now_s + 1)
    assert str(path) not in looks
    path.write_text("{}\n{}\n")
    assert names(watched.changed(now_s + 3600)) == ["cold"]


def test_everything_is_looked_at_the_less_often_the_longer_it_takes(records, watched, monkeypatch):
    put(records, "a")
    times = iter([0.0, 2.0])
    monkeypatch.setattr(attention.time, "thread_time", lambda: next(times))
    watched.changed(1000.0)
    assert watched._all_at_s == 1000.0 + 2.0 / attention.SHARE


def test_a_clock_that_is_set_back_holds_up_no_look(records, watched):
    path = put(records, "cold", HOT_S + 60)
    now_s = time.time()
    watched.changed(now_s + 50_000)
    path.write_text("{}\n{}\n")
    assert names(watched.changed(now_s)) == ["cold"]


def test_a_notice_has_a_quiet_record_looked_at_next(records, watched, monkeypatch):
    monkeypatch.setattr(attention, "ALL_EVERY_S", 1e6)
    paths = [put(records, f"r{number}", 2 * HOT_S) for number in range(3)]
    now_s = time.time()
    watched.changed(now_s)
    watched.has_notices = True
    paths[1].write_text("{}\n{}\n")
    assert watched.changed(now_s + 1) == []
    watched.notice(str(paths[1]))
    watched.notice(str(records / "else.txt"))
    assert names(watched.changed(now_s + 2)) == ["r1"]
    assert watched.changed(now_s + 3) == []


def test_a_notice_of_a_new_record_and_of_a_new_directory(records, watched, monkeypatch):
    monkeypatch.setattr(attention, "ALL_EVERY_S", 1e6)
    put(records, "a")
    now_s = time.time()
    for path in (records, records.parent):
        os.utime(path, (now_s - 60, now_s - 60))
    watched.changed(now_s)
    watched.has_notices = True
    new = put(records, "b")
    watched.notice(str(new))
    assert names(watched.changed(now_s + 1)) == ["b"]
    new.write_text("{}\n{}\n")
    watched.notice(str(new))
    assert names(watched.changed(now_s + 2)) == ["b"]
    other = records.parent / "q"
    other.mkdir()
    put(other, "c")
    watched.notice(str(other))
    assert names(watched.changed(now_s + 3)) == ["c"]
    assert str(other) in watched.directories()


def test_what_the_notices_missed_is_seen_within_a_minute(records, watched, monkeypatch):
    monkeypatch.setattr(attention, "ALL_EVERY_S", 1e6)
    paths = [put(records, f"r{number}", 2 * HOT_S) for number in range(9)]
    now_s = time.time()
    watched.changed(now_s)
    watched.has_notices = True
    paths[8].write_text("{}\n{}\n")
    seen = [names(watched.changed(now_s + number)) for number in range(60)]
    assert ["r8"] in seen


def test_a_session_of_a_new_day_is_seen_at_the_next_look(tmp_path, monkeypatch):
    """Codex makes a directory for each day: a new one is a new name two directories above its records."""
    monkeypatch.setattr(attention, "ALL_EVERY_S", 1e6)
    month = tmp_path / ".codex/sessions/2026/11"
    for day in ("27", "28"):
        (month / day).mkdir(parents=True)
    put(month / "27", "rollout-a")
    watched = Attention(Survey(profiles({}, ""), {"HOME": str(tmp_path)}))
    now_s = time.time()
    os.utime(month, (now_s - 60, now_s - 60))
    watched.changed(now_s)
    (month / "29").mkdir()
    put(month / "29", "rollout-b")
    assert names(watched.changed(now_s + 1)) == ["rollout-b"]


def test_the_system_s_notices_come_and_a_name_that_is_not_utf8_ends_them_only_for_a_while(
    records, watched, monkeypatch
):
    monkeypatch.setattr(record_notices, "RETRY_S", 0.05)
    monkeypatch.setattr(record_notices, "CHECK_MS", 50)
    monkeypatch.setattr(attention, "ALL_EVERY_S", 1e6)
    path = put(records, "cold", 2 * HOT_S)
    now_s = time.time()
    watched.changed(now_s)

    async def course():
        watching = asyncio.create_task(record_notices.notice_records(lambda: watched))
        try:
            await until(lambda: watched.has_notices)
            watched.changed(now_s)
            path.write_text("{}\n{}\n")
            await until(lambda: names(watched.changed(now_s)) == ["cold"])
            os.mknod(os.fsencode(records) + b"/\xff.jsonl")
            path.write_text("{}\n{}\n{}\n")
            await until(lambda: "cold" in names(watched.changed(now_s)))
            await until(lambda: watched.has_notices)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    asyncio.run(course())
    assert not watched.has_notices


async def until(there):
    async with asyncio.timeout(20):
        while not there():  # noqa: ASYNC110  # what it waits for tells nobody
            await asyncio.sleep(0.02)


def test_a_database_changes_with_its_log(tmp_path):
    path = tmp_path / ".local/share/opencode/opencode.db"
    path.parent.mkdir(parents=True)
    path.write_text("x")
    watched = Attention(Survey(profiles({}, ""), {"HOME": str(tmp_path)}))
    now_s = time.time()
    assert watched.changed(now_s) == [("opencode", str(path))]
    assert watched.changed(now_s + 0.1) == []
    path.with_name("opencode.db-wal").write_text("y")
    assert watched.changed(now_s + 0.2) == [("opencode", str(path))]
    assert watched.changed(now_s + 0.3) == []


def test_a_record_that_was_quiet_for_hours_is_seen_within_five_looks(records, watched, monkeypatch):
    """One look a second: so a session that goes on after a night is seen within five."""
    monkeypatch.setattr(attention, "ALL_EVERY_S", 1e6)
    paths = [put(records, f"r{number}", 2 * HOT_S) for number in range(37)]
    now_s = time.time()
    watched.changed(now_s)
    for path in (paths[0], paths[18], paths[36]):
        path.write_text("{}\n{}\n")
        seen = [names(watched.changed(now_s + number)) for number in range(5)]
        assert [path.stem] in seen
