"""Bazel's names for the settings of a remote."""

from __future__ import annotations

import os

import pytest

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


def test_without_one_nothing_is_changed_or_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_options, "Instance", lambda _: pytest.fail("aether was asked"))
    before = dict(os.environ)
    remote_options.apply(parsed())
    assert dict(os.environ) == before
