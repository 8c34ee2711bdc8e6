"""A watch: each save counts once, and none is lost, whatever the notices do."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import watchfiles

from palingenesis import session_files
from palingenesis import watch as watching
from palingenesis.session_files import scan
from palingenesis.watch import Watch

pytestmark = pytest.mark.usefixtures("quick_checks")

SESSION = "---\ntitle: A\n---\n"
DEBOUNCE_MS = 20


class Watched:
    """A watch under way, and what it has seen."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.saved: list[str] = []
        self._news = asyncio.Event()

    async def collect(self) -> None:
        async with aclosing(self.watch.saves()) as saves:
            async for saved in saves:
                self.saved += [path.removeprefix(self.watch.directory + "/") for path in saved]
                self._news.set()

    async def next(self, count: int = 1) -> list[str]:
        """Return what was saved since the last call, in its order, once there are so many at least."""
        async with asyncio.timeout(10):
            while len(self.saved) < count:
                self._news.clear()
                await self._news.wait()
        saved, self.saved = self.saved, []
        return saved


@asynccontextmanager
async def watched(
    directory: Path, *, poll_interval_s: float = 0.0, known: bool = True
) -> AsyncIterator[Watched]:
    held = scan(str(directory)) if known else {}
    seen = Watched(Watch(str(directory), DEBOUNCE_MS, poll_interval_s, held))
    collecting = asyncio.create_task(seen.collect())
    try:
        yield seen
    finally:
        seen.watch.end()
        async with asyncio.timeout(10):
            await collecting


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("not within 10 s")


def write(path: Path, text: str = SESSION) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def save_atomically(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_text(text)
    os.rename(aside, path)


def in_loop(test: Callable[[Path], Awaitable[None]]) -> Callable[[Path], None]:
    def run(tmp_path: Path) -> None:
        asyncio.run(test(tmp_path))  # type: ignore[arg-type]

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@in_loop
async def test_each_way_to_save_counts_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.md")
    async with watched(tmp_path) as seen:
        path.write_text(SESSION + "more")
        assert await seen.next() == ["a.md"]
        save_atomically(path, SESSION + "again")
        assert await seen.next() == ["a.md"]
        write(tmp_path / "b.md")
        assert await seen.next() == ["b.md"]


@in_loop
async def test_what_is_no_save_does_not_count(tmp_path: Path) -> None:
    """A mode, a read, a file of an editor, other Markdown: none of them is somebody's work saved."""
    path = write(tmp_path / "a.md")
    async with watched(tmp_path) as seen:
        os.chmod(path, 0o600)
        path.read_text()
        write(tmp_path / ".a.md.swp")
        write(tmp_path / "README.md", "# no session\n")
        write(tmp_path / "node_modules/p/session.md")
        write(tmp_path / "last.md")
        assert await seen.next() == ["last.md"]


@in_loop
async def test_a_save_between_the_known_and_the_first_notice_counts(tmp_path: Path) -> None:
    """The daemon says that it is ready before the system gives notices; nothing may fall between."""
    write(tmp_path / "a.md")
    async with watched(tmp_path, known=False) as seen:
        assert await seen.next() == ["a.md"]


@in_loop
async def test_a_session_in_a_new_directory_counts(tmp_path: Path) -> None:
    async with watched(tmp_path) as seen:
        write(tmp_path / "a.md")
        assert await seen.next() == ["a.md"]
        for number in range(5):
            write(tmp_path / f"x{number}/y/z/b.md")
        assert sorted(await seen.next(5)) == [f"x{number}/y/z/b.md" for number in range(5)]


@in_loop
async def test_a_directory_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    directory = tmp_path / "later"
    async with watched(directory) as seen:
        write(directory / "a.md")
        assert await seen.next() == ["a.md"]


@in_loop
async def test_a_directory_that_goes_and_comes_is_watched_again(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    write(directory / "a.md")
    async with watched(directory) as seen:
        write(directory / "b.md")
        assert await seen.next() == ["b.md"]
        shutil.rmtree(directory)
        write(directory / "c.md")
        assert await seen.next() == ["c.md"]


@in_loop
async def test_other_times_take_effect_and_lose_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.md")
    async with watched(tmp_path) as seen:
        for number in range(3):
            save_atomically(path, SESSION + str(number))
            seen.watch.tune(DEBOUNCE_MS + number, 0.0)
            assert await seen.next() == ["a.md"]


@in_loop
async def test_an_ended_watch_sees_nothing_more(tmp_path: Path) -> None:
    async with watched(tmp_path) as seen:
        write(tmp_path / "a.md")
        assert await seen.next() == ["a.md"]
        seen.watch.end()
        write(tmp_path / "b.md")
    assert seen.saved == []


@in_loop
async def test_a_file_that_becomes_a_session_counts_then(tmp_path: Path) -> None:
    """Some editors make the file empty and fill it afterwards."""
    async with watched(tmp_path) as seen:
        path = write(tmp_path / "a.md", "")
        write(tmp_path / "first.md")
        assert await seen.next() == ["first.md"]
        write(path)
        assert await seen.next() == ["a.md"]


def test_a_file_that_is_filled_while_it_is_looked_at_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its signature is of the empty file, and its words are there when it is read."""
    scan_files, path = session_files.scan, tmp_path / "a.md"

    def scan_and_fill(directory: str) -> Any:
        found = scan_files(directory)
        if path.exists() and not path.read_text():
            path.write_text(SESSION)
        return found

    monkeypatch.setattr(session_files, "scan", scan_and_fill)

    async def run() -> None:
        async with watched(tmp_path, poll_interval_s=0.02) as seen:
            write(path, "")
            assert await seen.next() == ["a.md"]
            write(tmp_path / "b.md")
            assert await seen.next() == ["b.md"]

    asyncio.run(run())


def test_where_the_system_gives_no_notices_files_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def none(*_: object, **__: object) -> AsyncIterator[None]:
        raise OSError(28, "OS file watch limit reached")
        yield

    monkeypatch.setattr(watchfiles, "awatch", none)
    monkeypatch.setattr(watching, "FALLBACK_POLL_S", 0.01)

    async def run() -> None:
        async with watched(tmp_path) as seen:
            write(tmp_path / "a.md")
            assert await seen.next() == ["a.md"]
            write(tmp_path / "b.md")
            assert await seen.next() == ["b.md"]

    asyncio.run(run())
    assert [message for message in caplog.messages if "limit reached" in message] == [
        (
            f"no notices about {tmp_path} ([Errno 28] OS file watch limit reached): looking every 0.01 s"
            " instead, and asking for notices again from time to time"
        ),
    ]


@pytest.mark.parametrize("name", [b"\xff.txt", b"\xff.md", b"\xff/b.md"])
def test_a_name_that_is_not_utf8_hides_no_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: bytes
) -> None:
    """The package watchfiles fails at such a name, each time that its file is touched."""
    monkeypatch.setattr(watching, "FALLBACK_POLL_S", 0.01)
    monkeypatch.setattr(watching, "RETRY_NOTICES_S", 0.05)
    monkeypatch.setattr(watching, "MAX_RETRY_NOTICES_S", 0.05)
    bad = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))

    async def run() -> None:
        async with watched(tmp_path) as seen:
            write(tmp_path / "0.md")
            assert await seen.next() == ["0.md"]  # the notices are on
            for number in range(1, 4):
                write(bad, SESSION + str(number))
                await until(lambda: bool(seen.watch.trouble))
                write(tmp_path / f"{number}.md")
                expected = {f"{number}.md"} | ({os.fsdecode(name)} if name.endswith(b".md") else set())
                found: set[str] = set()
                while found != expected:
                    found |= set(await seen.next())
                if name == b"\xff.txt":  # the others are opened to be looked at, which is noticed again
                    await until(lambda: not seen.watch.trouble)

    asyncio.run(run())


def test_notices_are_asked_for_again_and_their_failure_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    awatch, asked = watchfiles.awatch, 0

    async def failing(*args: Any, **options: Any) -> AsyncIterator[Any]:
        nonlocal asked
        asked += 1
        if asked <= 3:
            raise ExceptionGroup("unhandled errors in a TaskGroup", [ValueError("no such luck\nat all")])
        async for changes in awatch(*args, **options):
            yield changes

    monkeypatch.setattr(watchfiles, "awatch", failing)
    monkeypatch.setattr(watching, "FALLBACK_POLL_S", 0.01)
    monkeypatch.setattr(watching, "RETRY_NOTICES_S", 0.01)

    async def run() -> None:
        async with watched(tmp_path) as seen:
            await until(lambda: seen.watch.trouble == f"no notices about {tmp_path} (no such luck)")
            write(tmp_path / "a.md")
            assert await seen.next() == ["a.md"]
            await until(lambda: asked == 4 and not seen.watch.trouble)
            write(tmp_path / "b.md")
            assert await seen.next() == ["b.md"]

    asyncio.run(run())
    assert sum("no such luck" in message for message in caplog.messages) == 1


def test_a_file_that_cannot_be_judged_is_one_trouble_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    front_matter = session_files.front_matter

    def failing(head: bytes) -> Any:
        if b"evil" in head:
            raise MemoryError
        return front_matter(head)

    monkeypatch.setattr(session_files, "front_matter", failing)

    async def run() -> None:
        async with watched(tmp_path) as seen:
            write(tmp_path / "evil.md", "---\ntitle: evil\n---\n")
            await until(lambda: any("cannot be judged" in message for message in caplog.messages))
            write(tmp_path / "a.md")
            assert await seen.next() == ["a.md"]

    asyncio.run(run())


def test_polling_finds_what_no_notice_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on NFS, where another machine writes."""

    async def silent(*_: object, stop_event: asyncio.Event, **__: object) -> AsyncIterator[set[object]]:
        while not stop_event.is_set():
            yield set()
            await asyncio.sleep(0.01)

    monkeypatch.setattr(watchfiles, "awatch", silent)

    async def run() -> None:
        async with watched(tmp_path, poll_interval_s=0.02) as seen:
            for name in ("a.md", "b.md"):
                write(tmp_path / name)
                assert await seen.next() == [name]

    asyncio.run(run())


def test_a_trouble_is_told_once_until_it_is_another(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        path = write(tmp_path / "a.md")
        async with watched(tmp_path) as seen:
            for text in ("---\n[\n---\n", "---\n[ \n---\n", SESSION, "---\n[\n---\n"):
                save_atomically(path, text)
                assert await seen.next() == ["a.md"]

    caplog.set_level("WARNING")
    asyncio.run(run())
    assert len(caplog.messages) == 2
    assert all("front matter cannot be read" in message for message in caplog.messages)


def test_remembered_troubles_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MAX_TROUBLES", 3)
    watch = Watch(str(tmp_path), DEBOUNCE_MS, 0, {})
    for number in range(10):
        watch._tell_trouble(f"/{number}.md", "is bad")
    assert list(watch._troubles) == ["/7.md", "/8.md", "/9.md"]
