"""A build that found everything is found whole by the next one, over restarts too, and never a stale one."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daemonry import Endpoint
from daemonry.testing import wait_until
from vx import digests
from vx.aether import finished_builds
from vx.aether.finished_builds import FinishedBuildFiles
from vx.aether.memory import ActionResult, Memory
from vx.aether.unchanged import FinishedAction, FinishedBuild, Unchanged
from vx.cass_client import CassClient
from vx.file_digests import FINE_TICK_NS, FileDigests
from vx.interfaces import Blob
from vx.keys.recipe import InputRecord
from vx.project.action import Action, Plan, Tool, Tree
from vx.reports import run_files
from vx.reports.report import FORMAT, ActionReport, RunReport

RESULT = ActionResult("cc" * 32, {"out": Blob("out", "dd" * 32, 3)}, said="a warning")
RUN = "01M7X8F4VZ1C117845Q79WZXZD"


def names_below(root: str, _action: Action, folder: str) -> str:
    found = sorted(str(one) for one in (Path(root) / folder).rglob("*") if one.is_file())
    return digests.of_bytes("\n".join(found).encode())


class World:
    """A project of one action, and an aether that may be restarted."""

    def __init__(self, path: Path) -> None:
        self.project = path / "p"
        (self.project / "src").mkdir(parents=True)
        (self.project / "src/a.c").write_text("1")
        self.saved = path / "aether.builds"
        self.action = Action("a", "a.c", Tool("/cc", "id", "cc"), "cc", (), {}, ("out",), sources=Tree(""))
        self.entry = InputRecord({"src/a.c": self.digest("src/a.c")}, ["src/a.h"], {"TAG": "1"}, "ee" * 32)
        self.restart()

    def digest(self, name: str) -> str:
        return digests.of_bytes((self.project / name).read_bytes())

    def restart(self) -> None:
        """Begin with an empty memory."""
        self.memory = Memory(CassClient(Endpoint.unix("/nowhere")))
        self.unchanged = Unchanged(
            FileDigests(), self.memory, names_below, FinishedBuildFiles(str(self.saved))
        )

    def plan(self, **changed: Any) -> Plan:
        directory = str(self.project)
        variables = {"TAG": "1", "SHLVL": "3"}
        plan = Plan("p", directory, directory, "x86_64-linux-gnu", "dev", (self.action,), variables)
        return msgspec.structs.replace(plan, **changed)

    def keep(self, run: str = "") -> None:
        """Do a build, and have it kept over restarts; with its report, if it has a run."""
        report = ActionReport("a", "a.c", "executed", parts={"command": "cc"}, why=["new"], duration_ms=7)
        action = FinishedAction(self.action, self.entry)
        self.unchanged.keep(self.plan(), {"a": RESULT}, {"a": report}, [action])
        if run:
            kept = self.found()
            assert kept is not None
            kept.run = run
            run_files.write(
                str(self.project), RunReport(FORMAT, run, True, "", "p", "", "dev", "", 0.0, 0, "")
            )
        self.unchanged.write()

    def found(self, **changed: Any) -> FinishedBuild | None:
        return self.unchanged.found(self.plan(**changed))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_build_is_found_again_with_its_actions_as_cached(world: World) -> None:
    """Also one that compiled: the build after it finds all that it made."""
    world.keep()
    for _ in range(2):
        kept = world.found()
        assert kept is not None
        assert kept.results == {"a": RESULT}
        assert kept.reports == {"a": ActionReport("a", "a.c", "cached", parts={"command": "cc"})}
        world.restart()


def test_over_a_restart_the_actions_are_in_the_report_of_the_run(world: World) -> None:
    world.keep(RUN)
    world.restart()
    kept = world.found()
    assert kept is not None
    assert kept.run == RUN
    assert (kept.reports["a"].title, kept.reports["a"].outcome) == ("a.c", "cached")
    (world.project / f".vx/runs/{RUN}.json").unlink()
    assert world.found() is None


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda world: (world.project / "src/a.c").write_text("2"),
        lambda world: (world.project / "src/a.c").unlink(),
        lambda world: (world.project / "src/a.h").write_text(""),
        lambda world: world.memory.forget(),
    ],
    ids=["file", "gone", "newcomer", "store"],
)
def test_a_change_is_seen(world: World, change: Any, restarted: bool) -> None:
    world.keep()
    if restarted:
        world.restart()
    change(world)
    assert world.found() is None


@pytest.mark.parametrize("restarted", [False, True])
def test_variables_count_when_something_reads_them(world: World, restarted: bool) -> None:
    world.keep()
    if restarted:
        world.restart()
    assert world.found(variables={"TAG": "1", "SSH_TTY": "/dev/pts/3"}) is not None
    assert world.found(variables={"TAG": "2", "SHLVL": "3"}) is None
    assert world.found(variables={}) is None


def test_another_plan_finds_nothing(world: World) -> None:
    world.keep()
    world.restart()
    other = msgspec.structs.replace(world.action, arguments=("-O2",))
    assert world.found(actions=(other,)) is None
    assert world.found(profile="release") is None
    assert world.found() is not None


def test_names_in_a_folder_count(world: World) -> None:
    folder = world.project / "src"
    settled(folder)
    listed = names_below(str(world.project), world.action, "src/")
    world.entry = msgspec.structs.replace(world.entry, files={**world.entry.files, "src/": listed})
    world.keep()
    assert world.found() is not None
    (world.project / "src/b.c").write_text("")
    assert world.found() is None
    # A name that came since the action looked, and before the build was kept.
    settled(folder)
    world.keep()
    assert world.found() is None


def settled(folder: Path) -> None:
    wait_until(lambda: folder.stat().st_ctime_ns + 2 * FINE_TICK_NS < time.time_ns(), 5, "it rests")


@pytest.mark.parametrize("restarted", [False, True])
def test_a_newcomer_is_seen_where_no_folder_was(world: World, restarted: bool) -> None:
    """A crate has thousands of `name/mod.rs` that are not there: the folder above is looked at for all."""
    world.entry = msgspec.structs.replace(world.entry, absent=["src/b/mod.rs", "src/c/d/mod.rs"])
    settled(world.project / "src")
    world.keep()
    for _ in range(2):
        kept = world.found()
        assert kept is not None
        assert list(kept.folders) == [f"{world.project}/src"]
    (world.project / "src/c").mkdir()
    if restarted:
        world.restart()
    kept = world.found()
    assert kept is not None
    assert sorted(kept.folders) == [f"{world.project}/src", f"{world.project}/src/c"]
    settled(world.project / "src/c")
    assert world.found() is not None
    (world.project / "src/c/d").mkdir()
    (world.project / "src/c/d/mod.rs").write_text("")
    for _ in range(2):  # and again: the build may have failed
        assert world.found() is None
        settled(world.project / "src/c/d")
    shutil.rmtree(world.project / "src/c")
    assert world.found() is not None


def test_a_newcomer_is_seen_behind_a_link_that_led_nowhere(world: World, tmp_path: Path) -> None:
    """Its target comes without any change of the link's own folder."""
    (world.project / "src/link").symlink_to(tmp_path / "target")
    world.entry = msgspec.structs.replace(world.entry, absent=["src/link/sub/a.h"])
    settled(world.project / "src")
    world.keep()
    assert world.found() is not None
    (tmp_path / "target/sub").mkdir(parents=True)
    assert world.found() is not None
    (tmp_path / "target/sub/a.h").write_text("")
    assert world.found() is None


def test_a_folder_whose_place_another_takes_is_seen(world: World) -> None:
    world.entry = msgspec.structs.replace(world.entry, absent=["inc/a.h"])
    (world.project / "inc").mkdir()
    (world.project / "other").mkdir()
    (world.project / "other/a.h").write_text("")
    for one in ("inc", "other"):
        settled(world.project / one)
    world.keep()
    assert world.found() is not None
    (world.project / "inc").rmdir()
    (world.project / "other").rename(world.project / "inc")
    assert world.found() is None


def test_what_the_store_forgot_is_not_read_again(world: World) -> None:
    world.keep()
    world.memory.forget()
    world.unchanged.write()
    world.restart()
    assert world.found() is None


@pytest.mark.parametrize("at", [0, 70, -1])
def test_a_damaged_file_is_as_none(world: World, at: int) -> None:
    world.keep()
    (file,) = world.saved.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(bytes(data))
    world.restart()
    assert world.found() is None
    file.write_bytes(b"")
    assert world.found() is None
    file.unlink()
    file.mkdir()
    world.keep()  # it cannot be written either: that is no build's concern
    assert world.found() is not None


def test_another_version_s_is_as_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.keep()
    monkeypatch.setattr(finished_builds, "VERSION", "0.0.0 7")
    world.restart()
    assert world.found() is None


def test_a_file_of_another_project_is_not_taken(world: World) -> None:
    """Somebody renames it, or copies a home."""
    world.keep()
    (file,) = world.saved.iterdir()
    plan = world.plan(profile="release")
    world.restart()
    world.unchanged.found(plan)
    name = digests.of_bytes(f"release\0{world.project}".encode())
    shutil.copy(file, world.saved / name)
    assert FinishedBuildFiles(str(world.saved)).read(str(world.project), "release") is None


def test_number_and_size_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finished_builds, "MAX_FILES", 3)
    world.keep()
    disk = FinishedBuildFiles(str(world.saved))
    saved = disk.read(str(world.project), "dev")
    assert saved is not None
    for number in range(5):
        disk.write(msgspec.structs.replace(saved, profile=f"p{number}"))
    assert len(list(world.saved.iterdir())) == 3
    assert disk.read(str(world.project), "p4") is not None
    monkeypatch.setattr(finished_builds, "MAX_BYTES", 100)
    disk.write(msgspec.structs.replace(saved, profile="p4"))
    assert disk.read(str(world.project), "p4") is None
    assert len(list(world.saved.iterdir())) == 2


def test_names_that_are_not_utf_8_are_not_kept(world: World) -> None:
    world.entry = msgspec.structs.replace(world.entry, absent=["src/\udcff.h"])
    world.keep()
    assert world.found() is not None
    world.restart()
    assert world.found() is None
