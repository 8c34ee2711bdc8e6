"""The table of the command line: each verb is done by something, and the quick way agrees with it."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from daemonry.cli.grammar import commands_of
from daemonry.cli.parser import parser_of
from vx.cli import build, commands, grammar

RUN = "01M7X8F4VZ1C117845Q79WZXZD"


def test_each_verb_is_done_by_something() -> None:
    assert set(commands._DOES) == {path for path, _ in commands_of(grammar.VX)}


def asked_by_the_parser(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> build.BuildArguments:
    found: list[build.BuildArguments] = []
    monkeypatch.setattr(build, "perform", lambda asked: found.append(asked) or 0)
    given: argparse.Namespace = parser_of(grammar.VX).parse_args(["build", *arguments])
    commands._DOES["build"](given)
    return found[0]


def test_the_quick_way_reads_what_the_parser_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain build is read without the table: each option that it knows there means the same here."""
    options = next(one for one in grammar.VX.commands if one.name == "build").options
    quick = [flag for one in options for flag in one.flags if build.parse([flag]) is not None]
    assert {"--release", "-q", "--json", "--no-spawn", "--die-with-parent"} <= set(quick)
    plain = asked_by_the_parser([], monkeypatch).parameters
    for flag in quick:
        asked, read = build.parse([flag]), asked_by_the_parser([flag], monkeypatch)
        assert asked is not None
        assert {**plain, **asked.parameters} == read.parameters, flag
        for name in ("json", "quiet", "spawn", "die_with_parent", "directory"):
            assert getattr(asked, name) == getattr(read, name), flag


# How each shell is asked for the completion of a line.
SHELLS = {
    "bash": r"""
source <(vx completion bash)
COMP_WORDS=({words}) COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
compopt() {{ :; }}
_vx; printf '%s\n' "${{COMPREPLY[@]}}"
""",
    "zsh": r"""
compdef() {{ : }}
source <(vx completion zsh)
words=({words}) CURRENT=$#words
compadd() {{ while [[ $1 != -- ]]; do shift; done; shift; for one; do print -r -- $one; done }}
_files() {{ : }}
_vx
""",
    "fish": r"""
vx completion fish | source
function __fish_complete_path; end
complete -C "{line}"
""",
}
NO_FILES = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["-N"]}


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_completes_it(tmp_path: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: its completion was not tried")
    runs = tmp_path / "project/.vx/runs"
    runs.mkdir(parents=True)
    (runs / f"{RUN}.json").write_text("{}")
    (tmp_path / "project/Cargo.toml").write_text("[profile.fast]\n")
    command = tmp_path / "bin/vx"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vx "$@"\n')
    command.chmod(0o755)
    env = {"PATH": f"{command.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}

    def offered(*words: str) -> list[str]:
        whole = ["vx", *words]
        text = SHELLS[shell].format(words=" ".join(f"'{one}'" for one in whole), line=" ".join(whole))
        line = [shell, *NO_FILES[shell], "-c", text]
        done = subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return sorted(done.stdout.split())

    assert offered("e") == ["explain"]
    verbs = "build clean completion explain gc import install kill status test verify"
    assert set(verbs.split()) == set(offered(""))
    assert offered("build", "--no") == ["--no-default-features", "--no-spawn"]
    assert offered("explain", "-C", "project", "01") == [RUN]
    assert offered("build", "-C", "project", "--profile", "") == ["dev", "fast", "release"]
    assert offered("completion", "z") == ["zsh"]
