"""Names in folders: looked at once, and never those of later under what was there before."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daemonry.testing import wait_until
from vx.aether import script_sees
from vx.aether.folders import below_at_rest, digests_of, names_as_they_are
from vx.file_digests import FINE_TICK_NS
from vx.project.action import Action, Tool, Tree


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a folder in it, which rest."""
    (tmp_path / "data/deep").mkdir(parents=True)
    (tmp_path / "data/deep/a.txt").write_text("a")
    found = tmp_path / "data"
    last_ns = max(one.stat().st_ctime_ns for one in (found, found / "deep", found / "deep/a.txt"))
    wait_until(lambda: time.time_ns() > last_ns + FINE_TICK_NS, 10)
    return found


def test_a_folder_that_a_script_names_is_looked_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have ten thousand files: a look takes longer than many a script."""
    looks: Counter[str] = Counter()

    def counted(path: str) -> Iterator[os.DirEntry[str]]:
        looks[os.path.normpath(path)] += 1
        return scandir(path)

    scandir = os.scandir
    action = Action("a", "a", Tool("/bin/true", "t", "t"), "script", (), {}, ("out",), sources=Tree("own"))
    monkeypatch.setattr(os, "scandir", counted)
    found = script_sees.below_named(str(folder.parent), action, ["data"], {}, time.time_ns(), lambda _: "d")
    assert found == {"data///": names_as_they_are("data///", str(folder)), "data/deep/a.txt": "d"}
    assert looks == {str(folder): 2, str(folder / "deep"): 2}  # the other one is this test's


@pytest.mark.parametrize("look", ["below", "names"])
def test_a_name_that_comes_during_the_look_does_not_count_as_an_earlier_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    """The script has not seen it."""

    def late(real: Callable[[str], Any]) -> Callable[[str], Any]:
        def looked(path: str) -> Any:
            (folder / "late").touch()
            return real(path)

        return looked

    started_ns = time.time_ns()
    monkeypatch.setattr(os, "scandir", late(os.scandir))
    monkeypatch.setattr(os, "listdir", late(os.listdir))
    if look == "below":
        assert below_at_rest("data///", str(folder), started_ns) is None
    else:
        assert digests_of(["data//"], {}, started_ns, lambda _: str(folder)) is None
