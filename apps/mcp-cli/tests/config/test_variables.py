"""`${VAR}` in a configuration."""

from __future__ import annotations

import pytest

from daemonry.errors import ConfigError
from mcp_cli.config import model, variables


def test_variables_are_filled_in_from_the_environment_that_is_given(toml_text, parse):
    read = parse(toml_text)
    filled = model.expanded(read.servers[0], read, {"TOKEN": "t", "HOME": "/h"})
    assert (filled.args, filled.env, filled.cwd) == (("-y", "x"), {"T": "t", "B": "2"}, "/folder")
    with pytest.raises(ConfigError, match=r"files\.env\.T: needs the environment variable TOKEN"):
        model.expanded(read.servers[0], read, {})


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("a${A}b", "a1b"),
        ("${env:A}", "1"),
        ("${E}", ""),
        ("${E:-d}", "d"),
        ("${NONE:-d}", "d"),
        ("${NONE:-}", ""),
        ("$${A}", "${A}"),
        ("$A", "$A"),
        ("${workspaceFolder}/x", "/f/x"),
    ],
)
def test_the_forms_of_a_variable(text, becomes):
    assert variables.expand(text, {"A": "1", "E": ""}, "/f") == becomes


@pytest.mark.parametrize("text", ["${NONE}", "${input:key}", "${1}", "${open"])
def test_a_form_that_cannot_be_filled_in_says_so(text):
    with pytest.raises(variables.NotSet):
        variables.expand(text, {}, "/f")
