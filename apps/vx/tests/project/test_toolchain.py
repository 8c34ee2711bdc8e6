"""What compilers answer, and what of it counts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daemonry.testing import wait_until
from vx.file_digests import FileDigests
from vx.project import processor, watch
from vx.project.processor import described_by
from vx.project.toolchain import Chain, CompilerMissing, Probe, _search_dirs, _search_list, choosing, run

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="no cc on the PATH: install gcc or clang")


def test_the_search_list_with_what_is_left_out_of_it() -> None:
    told = (
        'ignoring nonexistent directory "/usr/local/include/x"\n'
        'ignoring duplicate directory "/usr/include"\n'
        '#include "..." search starts here:\n#include <...> search starts here:\n'
        " /usr/lib/gcc/12/include\n /usr/lib/../include\nEnd of search list.\n /no\n"
    )
    found = _search_list(told)
    assert found.angled == ("/usr/lib/gcc/12/include", "/usr/include")
    assert found.missing == ("/usr/local/include/x",)


def test_search_dirs_are_each_told_once() -> None:
    told = "install: /i/\nprograms: =/p/a/:/p/b/../a/\nlibraries: =/l/:/m/\n"
    assert _search_dirs(told) == (["/p/a"], ["/l", "/m"])


def test_a_program_that_is_asked_makes_no_file_where_it_runs() -> None:
    """`cc1 --verbose`, in the place of a linker, left `<stdin>.s` in the root where vx ran as root."""
    done = run(["/bin/sh", "-c", ": > made-by-a-question"], {"PATH": os.defpath})
    assert done.returncode != 0
    assert b"made-by-a-question" in done.stderr
    assert not os.path.exists("/made-by-a-question")


def test_options_that_choose_what_is_run() -> None:
    words = ["-O2", "-B", "/b", "-fuse-ld=lld", "-Clink-arg=-fuse-ld=mold", "-Wall", "--target", "x"]
    assert choosing(words) == ("-B", "/b", "-fuse-ld=lld", "-fuse-ld=mold", "--target", "x")


def test_processors_of_one_kind_are_told_once_and_others_apart() -> None:
    kind = "model name : A\nflags : sse avx\n"
    one = f"processor : 0\n{kind}bogomips : 1\n\nprocessor : 1\n{kind}"
    assert described_by(one) == "model name: A\nflags: sse avx"
    assert described_by(one) != described_by(one.replace("avx", "avx2"))
    assert described_by("") == ""


@needs_cc
def test_a_wrapper_hides_nothing_of_what_is_run(tmp_path: Path) -> None:
    script = tmp_path / "cc"
    script.write_text('#!/bin/sh\nexec cc "$@"\n')
    script.chmod(0o755)
    done = subprocess.run(
        [sys.executable, watch.__file__, script, "--version"], capture_output=True, check=True, text=True
    )
    told = json.loads(done.stdout)
    assert told["status"] == 0
    if sys.platform == "linux":
        assert str(script) in told["files"]
        assert os.path.realpath(shutil.which("cc") or "") in told["files"]


def test_a_command_that_cannot_be_run_is_one_that_failed() -> None:
    done = subprocess.run([sys.executable, watch.__file__, "/nowhere"], capture_output=True, check=True)
    assert json.loads(done.stdout)["status"] != 0


@needs_cc
def test_an_answer_counts_until_what_is_run_is_another(tmp_path: Path) -> None:
    script = tmp_path / "cc"
    script.write_text('#!/bin/sh\nexec cc "$@"\n')
    script.chmod(0o755)
    chain = Chain(str(script), {}, FileDigests())
    wait_until(lambda: chain.link(()) is chain.link(()), 20)  # a file that changed just now is asked again
    first = chain.link(())
    script.write_text('#!/bin/sh\nexec cc "$@" #\n')
    assert chain.link(()).identity != first.identity


COUNTING = '#!/bin/sh\necho "$*" >> {log}\necho "cc1 -E -march=$(cat {cpu}) /dev/null" >&2\n'


def test_another_processor_is_asked_for_what_native_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler's file is the same when the same disk starts on another processor."""
    log, cpu, script = tmp_path / "log", tmp_path / "cpu", tmp_path / "cc"
    script.write_text(COUNTING.format(log=log, cpu=cpu))
    script.chmod(0o755)
    wait_until(lambda: time.time_ns() - script.stat().st_ctime_ns > 50_000_000, what="the script rests")
    kept: list[Probe] = []
    for kind in ("old", "new", "old"):
        cpu.write_text(kind)
        monkeypatch.setattr(processor, "described", lambda kind=kind: kind)
        chain = Chain(str(script), {}, FileDigests())
        for probe in kept:
            chain.believe(probe)
        assert chain.native(["-O2", "-march=native"]) == f"cc1 -E -march={kind}"
        kept = chain.told(("cc",))
    assert log.read_text().splitlines() == ["-march=native -### -E -x c /dev/null"] * 2


def test_a_script_is_asked_what_processor_it_compiles_for(tmp_path: Path) -> None:
    """It may add `-march=native` by itself; one that does not know the question is taken as it is."""
    script = tmp_path / "cc"
    script.write_text('#!/bin/sh\necho "cc1 -march=this /dev/null" >&2\n')
    script.chmod(0o755)
    assert Chain(str(script), {}, FileDigests()).native(["-O2"]) == "cc1 -march=this"
    script.write_text("#!/bin/sh\nexit 1\n")
    assert Chain(str(script), {}, FileDigests()).native(["-O2"]) == ""
    with pytest.raises(CompilerMissing):
        Chain(str(script), {}, FileDigests()).native(["-mtune=native"])


@needs_cc
def test_a_compiler_is_not_asked_for_a_processor_that_nobody_names() -> None:
    cc = shutil.which("cc")
    assert cc is not None
    chain = Chain(os.path.realpath(cc), {}, FileDigests())
    assert chain.native(["-O2", "-march=x86-64"]) == ""


@needs_cc
def test_a_compiler_that_changes_while_it_answers_is_asked_again(tmp_path: Path) -> None:
    """Its state after the answer is not the answer's."""
    script, other = tmp_path / "cc", tmp_path / "other"
    folder = tmp_path / "include"
    folder.mkdir()
    other.write_text(f'#!/bin/sh\nexec cc -isystem {folder} "$@"\n')
    script.write_text(f'#!/bin/sh\ncc "$@" || exit\nmv {other} {script}\n')
    script.chmod(0o755)
    other.chmod(0o755)
    chain = Chain(str(script), {}, FileDigests())
    assert str(folder) not in chain.search((), "c").angled
    assert not other.exists()
    assert str(folder) in chain.search((), "c").angled


def test_what_is_no_compiler_is_told() -> None:
    with pytest.raises(CompilerMissing, match="/bin/false does not work here"):
        Chain("/bin/false", {}, FileDigests()).link(())
