"""Fingerprints: which changes make another server."""

from __future__ import annotations

import pytest

from daemonry.errors import ConfigError
from mcp_cli.config import model


def test_a_fingerprint_has_64_digits_and_no_order(toml_text, parse):
    turned = toml_text.replace('T = "${TOKEN}", B = "2"', 'B = "2", T = "${TOKEN}"')
    assert turned != toml_text
    assert model.fingerprint(parse(turned)) == model.fingerprint(parse(toml_text))
    assert len(model.fingerprint(parse(toml_text))) == 64
    first, second = toml_text.index("[[servers]]"), toml_text.rindex("[[servers]]")
    swapped = toml_text[:first] + toml_text[second:] + "\n" + toml_text[first:second]
    assert model.fingerprint(parse(swapped)) == model.fingerprint(parse(toml_text))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"npx"', '"npy"'),
        ('"-y"', '"-n"'),
        ('B = "2"', 'B = "3"'),
        ('"read_*"', '"r*"'),
        ('"read_secret"', '"rs"'),
        ("= 90", "= 91"),
        ("concurrency_limit = 7", "concurrency_limit = 8"),
        ("example.org", "example.net"),
        ('"Bearer ${TOKEN}"', '"${TOKEN}"'),
    ],
)
def test_each_setting_changes_the_fingerprint(toml_text, parse, old, new):
    assert model.fingerprint(parse(toml_text.replace(old, new, 1))) != model.fingerprint(parse(toml_text))


def test_a_servers_fingerprint_changes_with_what_the_environment_puts_into_it(toml_text, parse):
    read = parse(toml_text)
    (one, other, same) = (
        model.definition(read.servers[0], read, {"TOKEN": token}) for token in ("a", "b", "a")
    )
    assert one["fingerprint"] != other["fingerprint"]
    assert one["template"] == other["template"]
    assert one == same


def test_a_server_is_held_to_a_revision_by_its_configuration_or_its_caller(parse) -> None:
    read = parse('{"mcpServers": {"a": {"command": "x", "protocol": "2025-11-25"}}}')
    assert model.definition(read.servers[0], read, {})["protocol"] == "2025-11-25"
    held = model.definition(read.servers[0], read, {}, "2025-06-18")
    assert held["protocol"] == "2025-06-18"
    assert held["fingerprint"] != model.definition(read.servers[0], read, {})["fingerprint"]
    with pytest.raises(ConfigError, match="is not one of 2024-11-05"):
        parse('{"mcpServers": {"a": {"command": "x", "protocol": "2025"}}}')
