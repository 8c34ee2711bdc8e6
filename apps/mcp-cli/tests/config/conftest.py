"""A configuration in each of the two forms, and reading it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from daemonry.errors import ConfigError
from mcp_cli.config import forms
from mcp_cli.config.model import Config

TOML = """\
# the servers of this project
concurrency_limit = 7
daemon_ttl = 90

[[servers]]
name = "files"
transport = { type = "stdio", command = "npx", args = ["-y", "${PKG:-x}"], env = {T = "${TOKEN}", B = "2"}}
allowed_tools = ["read_*"]
disabled_tools = ["read_secret"]

[[servers]]
name = "web"
description = "far away"
[servers.transport]
type = "http"
url = "https://example.org/mcp"
headers = { Authorization = "Bearer ${TOKEN}" }
"""

JSON = """\
{ // as others write it
  "mcpServers": {
    "files": {"command": "npx", "args": ["-y", "http://x", ], "env": {"A": "1"}},
    "web": {"type": "streamable-http", "url": "https://example.org/mcp"},
  }
}
"""


@pytest.fixture
def toml_text() -> str:
    return TOML


@pytest.fixture
def jsonc_text() -> str:
    """JSON with comments and last commas."""
    return JSON


def _parse(text: str, path: str = "m.toml") -> Config:
    return forms.parse(text, path, "/folder")


@pytest.fixture
def parse() -> Callable[..., Config]:
    """Read a text; the name of its file decides the form."""
    return _parse


@pytest.fixture
def fault_in() -> Callable[..., str]:
    """Read a text that has to be refused; return the sentence."""

    def fault_in(text, path="m.toml"):
        with pytest.raises(ConfigError) as raised:
            _parse(text, path)
        return str(raised.value)

    return fault_in
