"""The named cases of the documents: what a build leaves for `vx explain`."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest

from daemonry.testing import wait_until
from vx.file_digests import FINE_TICK_NS


def test_build_writes_report_file(rust) -> None:
    project = rust.crate()
    project.build()
    latest = project.path / ".vx/runs/latest"
    assert latest.exists()
    report = json.loads((project.path / f".vx/runs/{latest.read_text().strip()}.json").read_text())
    assert report["success"]
    assert report["project"] == "hello"
    assert [one["outcome"] for one in report["actions"]] == ["executed"]
    assert project.run("hello") == "hello\n"


def test_explain_shows_build_summary(rust) -> None:
    project = rust.crate()
    project.build()
    told = project.vx("explain")
    assert told.code == 0
    assert "hello (dev): built in" in told.out
    assert "1 executed" in told.out
    assert "built for the first time here" in told.out


def test_explain_shows_cache_hit_after_rebuild(rust) -> None:
    project = rust.crate()
    project.build()
    project.build()
    told = project.vx("explain").out
    assert "cached (nothing to build)" in told
    assert "hello (bin hello): cached" in told
    assert "because" not in told


def test_explain_diff_detects_source_change(rust) -> None:
    project = rust.crate()
    project.build()
    project.write("src/main.rs", 'fn main() { println!("changed"); }\n')
    project.build()
    told = project.vx("explain", "--diff").out
    assert "because: file src/main.rs changed" in told
    assert told.count("because") == 1
    fields = json.loads(project.vx("explain", "--diff", "--json").out)
    (changed,) = fields["changes"].values()
    assert [(one["kind"], one["name"]) for one in changed] == [("file", "src/main.rs")]


def test_explain_last_miss_shows_inputs(rust) -> None:
    project = rust.crate()
    project.write("src/main.rs", "mod part;\nfn main() { part::say(); }\n")
    project.write("src/part.rs", 'pub fn say() { println!("part"); }\n')
    project.build()
    project.build()  # a hit, which is no miss
    told = project.vx("explain", "--last-miss").out
    assert "hello (bin hello): executed" in told
    assert "input: src/main.rs" in told
    assert "input: src/part.rs" in told
    assert "compiler: rustc" in told
    fields = json.loads(project.vx("explain", "--last-miss", "--json").out)
    own = [path for path in fields["files"] if not path.startswith("/")]  # others are libraries of the system
    assert sorted(own) == ["src/main.rs", "src/part.rs"]


def test_explain_with_no_builds_shows_error(app) -> None:
    project = app.project()
    told = project.vx("explain")
    assert told.code == 0
    assert "no builds are known" in told.out


def test_a_failed_build_writes_its_report_too(rust) -> None:
    project = rust.crate()
    project.build()
    project.write("src/main.rs", 'fn main() { let x: i32 = "text"; }\n')
    line = project.fails()
    assert "mismatched types" in line
    report = project.report()
    assert not report["success"]
    assert [one["outcome"] for one in report["actions"]] == ["failed"]
    told = project.vx("explain").out
    assert "failed" in told
    assert "src/main.rs changed" in told


def test_explain_names_the_flag_that_changed(rust) -> None:
    project = rust.crate()
    project.build()
    project.build(RUSTFLAGS="-C debug-assertions=off")
    told = project.vx("explain").out
    assert "because: flags: '' -> '-C debug-assertions=off'" in told
    assert told.count("because") == 1


def test_a_project_that_cannot_be_read_leaves_a_report(rust) -> None:
    project = rust.crate(manifest='[dependencies]\nserde = "1"\n')
    line = project.fails("--offline")
    assert "no matching package named `serde` found" in line
    assert "serde" in project.report()["error"]


def test_no_more_reports_are_kept_than_said(rust) -> None:
    project = rust.crate()
    project.build()
    runs = project.path / ".vx/runs"
    first = (runs / "latest").read_text().strip()
    text = (runs / f"{first}.json").read_text()
    for number in range(60):
        old = f"0{number:02d}{'0' * 23}"
        (runs / f"{old}.json").write_text(text.replace(first, old))
    project.build()
    kept = sorted(path.stem for path in runs.glob("*.json"))
    assert len(kept) == 50
    assert first in kept


def test_a_build_that_finds_all_as_it_was_names_the_run_that_found_the_same(c) -> None:
    """Of a thousand sources a report has megabytes, which are written once."""
    project = c.project("p")
    project.write("vx.toml", '[project]\nname = "p"\n[targets.p]\nsources = ["main.c"]\n')
    project.write("main.c", "int main(void) { return 0; }\n")
    for _ in range(6):
        project.build()
    run_id = (project.path / ".vx/runs/latest").read_text().strip()
    told = (project.path / f".vx/runs/{run_id}.json").read_text()
    assert "same_as" in told
    assert "main.c" not in told
    assert "main.c: cached" in project.vx("explain").out
    project.write("main.c", "int main(void) { return 1; }\n")
    project.build()
    assert "file main.c changed" in project.vx("explain").out
    header = project.write("maybe.h", "")  # comes where nothing looks
    assert project.executed() == 0
    header.unlink()


def test_a_file_that_comes_after_many_unchanged_builds_is_seen(c) -> None:
    project = c.project("p")
    project.write("vx.toml", '[project]\nname = "p"\n[targets.p]\nsources = ["main.c"]\n')
    project.write(
        "main.c",
        '#if __has_include("x.h")\n#define V 1\n#else\n#define V 0\n#endif\nint main(void) { return V; }\n',
    )
    for _ in range(5):
        project.build()
    project.write("x.h", "")
    assert project.executed() == 2
    for _ in range(5):
        project.build()
    (project.path / "x.h").unlink()
    project.build()
    assert project.report()["actions"][0]["outcome"] == "cached"
    assert subprocess.run([project.output("p")], check=False).returncode == 0


@pytest.mark.parametrize("mtime_s", [1_000_000_000, 4_000_000_000], ids=["of an archive", "in the future"])
def test_a_header_with_a_time_that_somebody_set_counts_at_once(c, mtime_s: int) -> None:
    """It was taken for one that changes meanwhile: built again, and all that was read named as the reason."""
    project = c.project("p")
    folder = project.path.parent / "elsewhere"
    folder.mkdir()
    header = folder / "number.h"
    project.write("vx.toml", '[project]\nname = "p"\n[targets.p]\nsources = ["main.c"]\n')
    project.write(
        "main.c", '#include <stdio.h>\n#include "number.h"\nint main(void) { printf("%d", N); return 0; }\n'
    )
    for number in (1, 2):
        header.write_text(f"#define N {number}\n")
        os.utime(header, (mtime_s, mtime_s))
        rested = header.stat().st_ctime_ns + FINE_TICK_NS
        wait_until(lambda: time.time_ns() > rested, 5, "the tick is over")  # noqa: B023
        assert project.executed(CFLAGS=f"-I{folder}") == 2
    told = project.vx("explain").out
    assert f"because: file {header} changed" in told
    assert told.count("because: file") == 1
    assert project.executed(CFLAGS=f"-I{folder}") == 0
