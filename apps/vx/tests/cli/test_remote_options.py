"""Bazel's names for the settings of a remote."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from daemonry import Refused
from daemonry.cli.parser import parser_of
from vx.cli import remote_options
from vx.cli.grammar import VX


def parsed(*words: str):
    return parser_of(VX).parse_args(["build", *words])


def test_each_option_is_a_variable() -> None:
    options = parsed(
        "--remote_cache=grpc://a:1",
        "--remote_executor=grpc://b:2",
        "--remote_upload_local_results=false",
        "--remote_header=x=1",
        "--remote_header=y=2",
    )
    assert remote_options.variables(options) == {
        "VX_REMOTE_CACHE": "grpc://a:1",
        "VX_REMOTE_EXECUTE": "grpc://b:2",
        "VX_REMOTE_UPLOAD": "false",
        "VX_REMOTE_HEADERS": "x=1,y=2",
    }


def test_an_empty_one_turns_off_what_the_file_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VX_HOME", str(tmp_path))
    (tmp_path / "config.toml").write_text('[remote]\ncache = "grpc://a:1"\n')
    assert remote_options.loaded(parsed()).cache == "grpc://a:1"
    assert remote_options.loaded(parsed("--remote_cache=")).cache == ""


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("--remote_cache=http://a", "^--remote_cache: 'http://a' is neither grpc://HOST:PORT"),
        ("--remote_upload_local_results=x", "^--remote_upload_local_results='x' is not true or false$"),
        ("--remote_header=X=1", "^--remote_header: 'X' cannot be sent"),
    ],
)
def test_a_wrong_one_is_refused_by_its_own_name_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, said: str
) -> None:
    """Nobody who writes Bazel's options knows of our variables."""
    monkeypatch.setenv("VX_HOME", str(tmp_path))
    monkeypatch.setattr(remote_options, "Instance", lambda _: pytest.fail("aether was asked"))
    before = dict(os.environ)
    with pytest.raises(Refused, match=said):
        remote_options.apply(parsed(word))
    assert dict(os.environ) == before


def test_without_one_nothing_is_changed_or_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_options, "Instance", lambda _: pytest.fail("aether was asked"))
    before = dict(os.environ)
    remote_options.apply(parsed())
    assert dict(os.environ) == before
