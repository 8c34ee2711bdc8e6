"""The key `oauth`: its keys, and which go together."""

from __future__ import annotations

import pytest

from daemonry.errors import ConfigError
from mcp_cli.config.forms import parse_toml
from mcp_cli.config.model import ServerConfig, definition


def server(oauth: str) -> ServerConfig:
    transport = f'{{ type = "http", url = "https://s.example/mcp", oauth = {oauth} }}'
    text = f'[[servers]]\nname = "s"\ntransport = {transport}\n'
    return parse_toml(text, "c.toml", "/folder").servers[0]


def test_a_machine_with_a_key_is_read():
    one = server(
        '{ grant = "client_credentials", client_id = "c", issuer = "https://i.example", key_file = "k.pem" }'
    )
    assert (one.oauth_grant, one.oauth_client_id, one.oauth_issuer) == (
        "client_credentials",
        "c",
        "https://i.example",
    )
    config = parse_toml("", "c.toml", "/folder")
    assert definition(one, config, {})["oauth_key_file"] == "/folder/k.pem"


@pytest.mark.parametrize(
    ("oauth", "why"),
    [
        ('{ grant = "password" }', "'password' is not one of authorization_code"),
        ('{ grant = "client_credentials", client_id = "c" }', "needs issuer"),
        (
            '{ grant = "client_credentials", client_id = "c", issuer = "https://i.example" }',
            "needs one of client_secret, key_file, assertion_command",
        ),
        (
            '{ grant = "identity_assertion", client_id = "c", issuer = "https://i.example" }',
            "needs client_secret and assertion_command",
        ),
        ('{ key_file = "k" }', 'goes with grant = "client_credentials"'),
        ('{ client_metadata_url = "http://me.example/c.json" }', "is not an https URL with a path"),
        ('{ client_metadata_url = "https://me.example/" }', "is not an https URL with a path"),
        ('{ store = "cloud" }', "'cloud' is neither"),
        ('{ scopes = "read" }', "is not a list of strings"),
        ("{ issuer = 5 }", "is not a string"),
        ('{ client_secrt = "x" }', "did you mean 'client_secret'"),
        ('"yes"', "is not true, false or a table"),
    ],
)
def test_what_does_not_go_together_is_refused_with_its_place(oauth, why):
    with pytest.raises(ConfigError) as raised:
        server(oauth)
    assert why in str(raised.value)
