"""What a job comes to, and which jobs are refused before anything runs."""

from __future__ import annotations

import msgspec
import pytest

from vx.interfaces import Input, Job, JobInvalid
from vx.rhea import job as jobs

DIGEST = "ab" * 32
JOB = Job(
    ["/usr/bin/cc", "-I%{root}/include", "-c", "src/main.c", "-o", "out/deep/main.o"],
    [Input("src/main.c", DIGEST), Input("include/a.h", DIGEST)],
    ["out/deep/main.o"],
    dep_files=["out/main.d"],
    tool="cc",
)


def changed(**fields: object) -> Job:
    return msgspec.structs.replace(JOB, **fields)


def test_the_root_is_put_in_and_kept_out_of_what_is_made() -> None:
    assert jobs.plan(JOB).command("/s/root") == [
        "/usr/bin/cc",
        "-ffile-prefix-map=/s/root=/vx",
        "-I/s/root/include",
        "-c",
        "src/main.c",
        "-o",
        "out/deep/main.o",
    ]
    rust = jobs.plan(changed(tool="rustc", remap_to="/elsewhere")).command("/s/root")
    assert rust[1] == "--remap-path-prefix=/s/root=/elsewhere"
    assert jobs.plan(changed(tool="step")).command("/s/root")[1] == "-I/s/root/include"


def test_an_input_can_be_the_program() -> None:
    job = changed(command=["tools/gen", "x"], inputs=[Input("tools/gen", DIGEST, executable=True)])
    assert jobs.plan(job).command("/s/root")[0] == "/s/root/tools/gen"


def test_the_folders_are_those_of_inputs_outputs_and_dep_files() -> None:
    plan = jobs.plan(changed(output_dirs=["gen/x"], cwd="work/here"))
    assert plan.folders == ["gen", "gen/x", "include", "out", "out/deep", "src", "work", "work/here"]


def test_the_environment_is_what_was_declared_and_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    plan = jobs.plan(changed(env={"OUT_DIR": "%{root}/gen", "TZ": "CET"}))
    assert plan.environment("/s/root", "/s/tmp") == {
        "HOME": "/s/tmp",
        "LC_ALL": "C.UTF-8",
        "OUT_DIR": "/s/root/gen",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "SOURCE_DATE_EPOCH": "315532800",
        "TMPDIR": "/s/tmp",
        "TZ": "CET",
        "ZERO_AR_DATE": "1",
    }


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"command": []}, "command is empty"),
        ({"command": ["cc"]}, "neither an absolute path nor an executable input"),
        ({"command": ["src/main.c"]}, "nor an executable input"),
        ({"command": ["/bin/sh", "a\0b"]}, "NUL"),
        ({"inputs": [Input("/etc/passwd", DIGEST)]}, "not a plain relative path"),
        ({"inputs": [Input("../x", DIGEST)]}, "not below the root"),
        ({"inputs": [Input("a/../b", DIGEST)]}, "not a plain relative path"),
        ({"inputs": [Input("a//b", DIGEST)]}, "not a plain relative path"),
        ({"inputs": [Input("", DIGEST)]}, "not a plain relative path"),
        ({"inputs": [Input(".", DIGEST)]}, "not below the root"),
        ({"inputs": [Input("a\0", DIGEST)]}, "not a plain relative path"),
        ({"inputs": [Input("a", "12")]}, "has no digest"),
        ({"inputs": [Input("a", DIGEST), Input("a", DIGEST)]}, "two inputs are called 'a'"),
        ({"inputs": [Input("a", DIGEST), Input("a/b", DIGEST)]}, "'a' is an input and cannot hold 'a/b'"),
        ({"inputs": [Input("out", DIGEST)]}, "cannot hold 'out/deep/main.o'"),
        ({"inputs": [Input("out/deep/main.o", DIGEST)]}, "both an input and an output"),
        ({"outputs": ["../../x"]}, "not below the root"),
        ({"output_dirs": ["/x"]}, "not a plain relative path"),
        ({"dep_files": ["x/"]}, "not a plain relative path"),
        ({"cwd": ".."}, "not below the root"),
        ({"env": {"A=B": "x"}}, "cannot be a variable"),
        ({"env": {"": "x"}}, "cannot be a variable"),
        ({"env": {"A": "x\0"}}, "cannot be a variable"),
        ({"timeout_s": 0.0}, "timeout_s is 0"),
        ({"timeout_s": 1e9}, "timeout_s is 1e+09"),
    ],
)
def test_a_job_that_cannot_be_run_is_refused_by_name(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(JobInvalid) as caught:
        jobs.plan(changed(**fields))
    assert reason in caught.value.reason


def test_what_was_read_is_told_from_the_root_or_absolutely() -> None:
    paths = ["src/a.c", "/s/root/src/a.c", "../include/b.h", "/usr/include/stdio.h", "./x", "/s/rootless"]
    assert jobs.reads(paths, "/s/root", "src", "/s/tmp") == [
        "/s/rootless",
        "/usr/include/stdio.h",
        "include/b.h",
        "src/a.c",
        "src/src/a.c",
        "src/x",
    ]


def test_a_title_is_one_line() -> None:
    assert jobs.plan(changed(title="")).title == "cc"
    assert jobs.plan(changed(title="a\nb\x1b[2J")).title == "a b [2J"
    assert len(jobs.plan(changed(title="x" * 1000)).title) == jobs.MAX_TITLE_CHARS
