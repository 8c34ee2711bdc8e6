"""Changing a configuration file, with all that is its user's kept."""

from __future__ import annotations

import pytest

from daemonry.errors import ConfigError
from mcp_cli.config import edit, model


def test_adding_and_removing_keep_comments_and_order(toml_text, parse):
    added = edit.with_servers(
        toml_text, "m.toml", [model.ServerConfig("new", "stdio", command="x", env={"A": "1"})]
    )
    assert added.startswith(toml_text.rstrip("\n"))
    assert parse(added).servers[-1] == model.ServerConfig("new", "stdio", command="x", env={"A": "1"})
    removed = edit.without_server(added, "m.toml", "new")
    assert parse(removed) == parse(toml_text)
    assert removed.startswith("# the servers of this project\n")


def test_a_new_file_is_made_of_what_is_added(parse):
    one = model.ServerConfig(
        "a", "http", url="https://x", headers={"K": "v"}, disabled_tools=("w*",), timeout_s=5.0
    )
    for path in ("new.toml", "new.json"):
        assert parse(edit.with_servers("", path, [one]), path).servers == (one,)


def test_json_with_comments_is_not_rewritten(jsonc_text):
    with pytest.raises(ConfigError, match="comments, which would be lost"):
        edit.with_servers(jsonc_text, "m.json", [model.ServerConfig("a", "stdio", command="x")])


def test_removing_what_is_not_there_says_so(toml_text):
    with pytest.raises(ConfigError, match="has no server 'nope'"):
        edit.without_server(toml_text, "m.toml", "nope")
