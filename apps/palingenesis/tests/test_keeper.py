"""The keeper: written first, seen afterwards; and what a full disk changes about that."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from daemonry import Refused
from palingenesis import keeper as keeping
from palingenesis.keeper import SessionCounter
from palingenesis.settings import Monitoring
from palingenesis.state_file import SavedState, StateFile
from palingenesis.watch import Watch

pytestmark = pytest.mark.usefixtures("quick_checks")

SESSION = "---\ntitle: A\n---\n"
RUNNING: dict[str, Any] = {"state": "running", "uptime_secs": 3600, "pid": 1, "version": "1"}


async def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("not within 10 s")


class Disk(StateFile):
    """A state file on a disk that can be full, or slow."""

    full = False
    slow: threading.Event | None = None
    writes = 0

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.writing = threading.Event()

    def write(self, state: SavedState) -> None:
        self.writing.set()
        if self.slow is not None:
            self.slow.wait()
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(state)
        self.writes += 1

    def kept(self) -> SavedState:
        return StateFile(self.path).read()


class Kept:
    """A keeper at work."""

    def __init__(self, tmp_path: Path) -> None:
        self.sessions = tmp_path / "sessions"
        self.sessions.mkdir(exist_ok=True)
        self.disk = Disk(str(tmp_path / "state.json"))
        self.keeper = SessionCounter(self.disk, "config.toml")
        self.keeper.restore()

    def monitoring(self, directory: Path | None = None, **others: Any) -> Monitoring:
        return Monitoring(session_dir=str(directory or self.sessions), debounce_ms=20, **others)

    def save(self, name: str, at_s: int | None = None) -> str:
        path = self.sessions / name
        path.write_text(SESSION)
        if at_s is not None:
            os.utime(path, (at_s, at_s))
        return str(path)

    async def until(self, **wanted: object) -> bool:
        def there() -> bool:
            return all(getattr(self.keeper.state, name) == value for name, value in wanted.items())

        await eventually(there)
        return True


@asynccontextmanager
async def at_work(tmp_path: Path) -> AsyncIterator[Kept]:
    kept = Kept(tmp_path)
    await kept.keeper.begin(kept.monitoring())
    works = [asyncio.create_task(work(None)) for work in (kept.keeper.watch, kept.keeper.write_late)]  # type: ignore[arg-type]
    try:
        yield kept
    finally:
        await kept.keeper.stop()
        for work in works:
            work.cancel()
        for ended in await asyncio.gather(*works, return_exceptions=True):
            assert isinstance(ended, asyncio.CancelledError)


def test_it_begins_with_the_newest_session_and_counts_none(tmp_path: Path) -> None:
    async def run() -> None:
        Kept(tmp_path).save("old.md", at_s=1000)
        newest = Kept(tmp_path).save("new.md", at_s=2000)
        async with at_work(tmp_path) as kept:
            assert kept.keeper.state == SavedState(current_session=newest)

    asyncio.run(run())


def test_a_save_is_counted_and_written_before_it_is_shown(tmp_path: Path) -> None:
    async def run() -> None:
        async with at_work(tmp_path) as kept:
            path = kept.save("a.md")
            await kept.until(saves_count=1, current_session=path)
            assert kept.disk.kept() == kept.keeper.state

    asyncio.run(run())


def test_saves_while_paused_do_not_count(tmp_path: Path) -> None:
    async def run() -> None:
        async with at_work(tmp_path) as kept:
            first = kept.save("a.md")
            await kept.until(saves_count=1)
            await kept.keeper.pause()
            assert kept.disk.kept().paused
            kept.save("b.md")
            await kept.keeper.resume()
            assert kept.keeper.state == SavedState(False, first, 1, 0)
            third = kept.save("c.md")
            await kept.until(saves_count=2, current_session=third)

    asyncio.run(run())


def test_begun_paused_it_looks_at_nothing_until_resumed(tmp_path: Path) -> None:
    async def run() -> None:
        kept = Kept(tmp_path)
        kept.disk.write(SavedState(paused=True, current_session="/s/a.md", saves_count=5, total_resumes=2))
        kept.save("b.md")
        async with at_work(tmp_path) as kept:
            assert kept.keeper.state == SavedState(True, "/s/a.md", 5, 2)
            await kept.keeper.resume()
            third = kept.save("c.md")
            await kept.until(paused=False, saves_count=6, current_session=third)

    asyncio.run(run())


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_a_command_that_cannot_be_kept_is_refused_and_changes_nothing(tmp_path: Path, command: str) -> None:
    """OK means that it holds over a restart; so where it could not be written, the answer is ERR."""

    async def run() -> None:
        async with at_work(tmp_path) as kept:
            if command == "resume":
                await kept.keeper.pause()
            before = kept.keeper.state
            kept.disk.full = True
            with pytest.raises(Refused, match="cannot be written: No space left on device; nothing was"):
                await getattr(kept.keeper, command)()
            assert kept.keeper.state == before == kept.disk.kept()
            kept.disk.full = False
            await getattr(kept.keeper, command)()
            assert kept.keeper.state.paused is (command == "pause")

    asyncio.run(run())


def test_on_a_full_disk_counting_goes_on_and_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeping, "RETRY_S", 0.01)

    async def run() -> None:
        async with at_work(tmp_path) as kept:
            kept.save("a.md")
            await kept.until(saves_count=1)
            kept.disk.full = True
            for count in (2, 3):
                kept.save(f"b{count}.md")
                await kept.until(saves_count=count)
            assert kept.disk.kept().saves_count == 1
            kept.disk.full = False
            await eventually(lambda: kept.disk.kept().saves_count == 3)

    asyncio.run(run())
    told = [message.rpartition("state.json ")[2] for message in caplog.messages if "state.json" in message]
    assert told == ["cannot be written (No space left on device): kept in memory, tried again"]


def test_what_could_not_be_written_is_written_at_the_end(tmp_path: Path) -> None:
    async def run() -> None:
        async with at_work(tmp_path) as kept:
            kept.disk.full = True
            kept.save("a.md")
            await kept.until(saves_count=1)
            kept.disk.full = False
        assert kept.disk.kept().saves_count == 1

    asyncio.run(run())


def test_a_pause_given_up_while_it_was_written_does_not_hold_after_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library gives a hook four seconds; its sender was told no, so the file must say no too."""
    monkeypatch.setattr(keeping, "RETRY_S", 0.01)

    async def run() -> None:
        async with at_work(tmp_path) as kept:
            kept.disk.slow = threading.Event()
            pausing = asyncio.create_task(kept.keeper.pause())
            await eventually(kept.disk.writing.is_set)
            pausing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await pausing
            kept.disk.slow.set()
            await eventually(lambda: kept.disk.writes == 2)
            assert kept.disk.kept() == kept.keeper.state == SavedState()

    asyncio.run(run())


def test_a_new_directory_is_watched_at_once_and_the_old_no_more(tmp_path: Path) -> None:
    async def run() -> None:
        other = tmp_path / "other"
        other.mkdir()
        (other / "x.md").write_text(SESSION)
        async with at_work(tmp_path) as kept:
            kept.save("a.md")
            await kept.until(saves_count=1)
            await kept.keeper.reload(kept.monitoring(other))
            assert kept.keeper.state == SavedState(False, str(other / "x.md"), 1, 0)
            kept.save("b.md")
            (other / "y.md").write_text(SESSION)
            await kept.until(saves_count=2, current_session=str(other / "y.md"))

    asyncio.run(run())


def test_a_new_directory_without_sessions_has_no_current_one(tmp_path: Path) -> None:
    async def run() -> None:
        async with at_work(tmp_path) as kept:
            kept.save("a.md")
            await kept.until(saves_count=1)
            await kept.keeper.reload(kept.monitoring(tmp_path / "later"))
            assert kept.keeper.state == SavedState(False, None, 1, 0)

    asyncio.run(run())


def test_other_times_are_taken_up_and_lose_no_save(tmp_path: Path) -> None:
    async def run() -> None:
        async with at_work(tmp_path) as kept:
            kept.save("a.md")
            await kept.keeper.reload(kept.monitoring(poll_interval_secs=7))
            assert await kept.until(saves_count=1)

    asyncio.run(run())


def test_settings_changed_while_paused_count_from_the_resume_on(tmp_path: Path) -> None:
    async def run() -> None:
        other = tmp_path / "other"
        other.mkdir()
        async with at_work(tmp_path) as kept:
            await kept.keeper.pause()
            await kept.keeper.reload(kept.monitoring(other))
            await kept.keeper.resume()
            (other / "y.md").write_text(SESSION)
            assert await kept.until(saves_count=1, current_session=str(other / "y.md"))

    asyncio.run(run())


def test_a_name_that_is_not_utf8_is_shown_by_its_bytes(tmp_path: Path) -> None:
    async def run() -> None:
        async with at_work(tmp_path) as kept:
            kept.save(os.fsdecode(b"a\xff.md"))
            await kept.keeper.reload(kept.monitoring(tmp_path))
            assert kept.keeper.state.current_session == f"{kept.sessions}/a\\xff.md"
            assert kept.disk.kept() == kept.keeper.state

    asyncio.run(run())


def test_a_watch_that_fails_goes_on_and_status_says_so_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever fails in it: a mistake of ours ends no daemon that keeps sessions."""
    look = Watch._look
    broken = True

    def failing(watch: Watch, places: Any) -> list[str]:
        if broken:
            raise RuntimeError("can't start new thread")
        return look(watch, places)

    monkeypatch.setattr(Watch, "_look", failing)
    monkeypatch.setattr(keeping, "RESTART_WATCH_S", 0.01)
    monkeypatch.setattr(keeping, "MAX_RESTART_WATCH_S", 0.02)

    async def run() -> None:
        nonlocal broken
        async with at_work(tmp_path) as kept:
            path = kept.save("a.md")
            await eventually(lambda: sum("watching fails" in line for line in caplog.messages) >= 3)
            trouble = "the watch failed: RuntimeError: can't start new thread"
            assert kept.keeper.status(RUNNING)["watch_trouble"] == trouble
            broken = False
            assert await kept.until(saves_count=1, current_session=path)
            await eventually(lambda: "watch_trouble" not in kept.keeper.status(RUNNING))

    asyncio.run(run())


def test_status_is_the_originals_five_fields_in_its_order(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.keeper.state = SavedState(False, "/path/to/session.md", 42, 10)
    assert list(kept.keeper.status(RUNNING).items()) == [
        ("state", "monitoring"),
        ("uptime_secs", 3600),
        ("current_session", "/path/to/session.md"),
        ("saves_count", 42),
        ("total_resumes", 10),
    ]


@pytest.mark.parametrize(
    ("phase", "kept_paused", "expected"),
    [
        ("starting", False, "monitoring"),
        ("starting", True, "paused"),
        ("running", False, "monitoring"),
        ("paused", False, "paused"),
        ("paused", True, "paused"),
        ("draining", True, "paused"),
        ("draining", False, "monitoring"),
    ],
)
def test_the_state_is_one_of_two_in_every_phase(
    tmp_path: Path, phase: str, kept_paused: bool, expected: str
) -> None:
    kept = Kept(tmp_path)
    kept.keeper.state = SavedState(paused=kept_paused)
    assert kept.keeper.status({**RUNNING, "state": phase})["state"] == expected


def test_while_it_ends_status_tells_what_is_waited_for(tmp_path: Path) -> None:
    fields = Kept(tmp_path).keeper.status({**RUNNING, "state": "draining", "waiting_for": ["x"]})
    assert list(fields)[5:] == ["waiting_for"]
