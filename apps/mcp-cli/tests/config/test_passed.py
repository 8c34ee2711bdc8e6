"""The caller's variables that a server gets."""

from __future__ import annotations

import pytest

from mcp_cli.config import model


def test_what_the_caller_passes_on_is_in_the_servers_environment(toml_text, parse):
    read = parse(toml_text.replace('allowed_tools = ["read_*"]', 'pass_env = ["GH", "NOT_SET"]'))
    filled = model.expanded(read.servers[0], read, {"TOKEN": "t", "GH": "g"})
    assert filled.env == {"GH": "g", "T": "t", "B": "2"}
    assert read.servers[0].needed() == ("GH", "NOT_SET", "PKG", "TOKEN")


def test_a_stdio_server_is_given_what_reaches_networks_and_registries(parse) -> None:
    read = parse('{"mcpServers": {"a": {"command": "x", "pass_env": ["AWS_*"]}, "h": {"url": "http://h"}}}')
    environment = {
        "HTTPS_PROXY": "p",
        "NODE_EXTRA_CA_CERTS": "c",
        "UV_INDEX_URL": "i",
        "UV_PUBLISH_TOKEN": "t",
        "AWS_REGION": "r",
        "OTHER": "o",
        "GH_TOKEN": "g",
    }
    whole = model.definition(read.servers[0], read, environment)
    assert whole["env"] == {
        "HTTPS_PROXY": "p",
        "NODE_EXTRA_CA_CERTS": "c",
        "UV_INDEX_URL": "i",
        "AWS_REGION": "r",
    }
    assert whole["missed"] == ["GH_TOKEN", "UV_PUBLISH_TOKEN"]
    assert model.definition(read.servers[1], read, environment)["missed"] == []


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "PIP_INDEX_URL", "AWS_REGION"])
def test_callers_whose_proxies_differ_have_a_server_each(parse, name: str) -> None:
    read = parse('{"mcpServers": {"a": {"command": "x", "pass_env": ["AWS_*"]}}}')
    one, other = (model.definition(read.servers[0], read, {name: value}) for value in ("a", "b"))
    same = model.definition(read.servers[0], read, {"UNRELATED": "x"})
    none = model.definition(read.servers[0], read, {})
    assert len({one["fingerprint"], other["fingerprint"], none["fingerprint"]}) == 3
    assert same["fingerprint"] == none["fingerprint"]
    assert one["template"] == other["template"]
