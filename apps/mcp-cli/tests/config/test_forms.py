"""The two forms of a configuration: read, or refused with the place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from daemonry.errors import ConfigError
from mcp_cli.config import forms


def test_the_originals_toml_is_read(toml_text, parse):
    read = parse(toml_text)
    files, web = read.servers
    assert (read.concurrency_limit, read.daemon_ttl_s, read.retry_max) == (7, 90.0, 3)
    assert (files.kind, files.command, files.args) == ("stdio", "npx", ("-y", "${PKG:-x}"))
    assert (files.allowed_tools, files.disabled_tools) == (("read_*",), ("read_secret",))
    assert (web.kind, web.url, web.description) == ("http", "https://example.org/mcp", "far away")


def test_the_json_of_others_is_read_with_its_comments_and_last_commas(jsonc_text, parse):
    files, web = parse(jsonc_text, "m.json").servers
    assert (files.command, files.args, files.env) == ("npx", ("-y", "http://x"), {"A": "1"})
    assert (web.kind, web.url) == ("http", "https://example.org/mcp")


def test_vs_codes_form_is_read(parse):
    (one,) = parse('{"inputs": [], "servers": {"a": {"type": "stdio", "command": "x"}}}', "mcp.json").servers
    assert (one.name, one.command) == ("a", "x")


def test_a_server_that_is_off_is_not_there(parse):
    read = parse('{"mcpServers": {"a": {"command": "x", "disabled": true}, "b": {"command": "y"}}}', "m.json")
    assert [one.name for one in read.enabled()] == ["b"]
    assert read.server("a") is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "command",
            "comand",
            "m.toml:7:31: servers[0].transport.comand: is not known: did you mean 'command'?",
        ),
        ("url =", "urll =", "m.toml:16:1: servers[1].transport.urll: is not known: did you mean 'url'?"),
        ('"http"', '"htp"', "m.toml:15:1: servers[1].transport.type: 'htp' is not one of"),
        (
            'name = "web"',
            'name = "files"',
            "m.toml:12:1: servers[1].name: there are two servers called 'files'",
        ),
        (
            "allowed_tools",
            "alowed",
            "m.toml:8:1: servers[0].alowed: is not known: did you mean 'allowed_tools'?",
        ),
        ('"-y"', "7", "m.toml:7:56: servers[0].transport.args[0]: must be a string"),
        (
            "concurrency_limit = 7",
            "concurrency_limit = 0",
            "m.toml:2:1: concurrency_limit: must be at least 1",
        ),
        ("daemon_ttl = 90", 'daemon_ttl = "1m"', "m.toml:3:1: daemon_ttl: is not a number"),
        ('name = "web"', 'name = "we/b"', "m.toml:12:1: servers[1].name: 'we/b' has a slash in it"),
        ('"https://example.org/mcp"', '"example.org"', "m.toml:16:1: servers[1].transport.url: needs a url"),
        ("= 90", "= = 90", "m.toml:3:14: not TOML: invalid value"),
        ('name = "web"', 'name = "web', "m.toml:12:12: not TOML: illegal character"),
    ],
)
def test_a_mistake_in_toml_is_told_with_its_place(toml_text, fault_in, old, new, said):
    assert fault_in(toml_text.replace(old, new, 1)).startswith(said)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            '"command"',
            '"comand"',
            "m.json:3:15: mcpServers.files.comand: is not known: did you mean 'command'?",
        ),
        ('"A": "1"', '"A": 1', "m.json:3:71: mcpServers.files.env.A: must be a string"),
        ('"streamable-http"', '"tcp"', "m.json:4:13: mcpServers.web.type: 'tcp' is not one of"),
        ('"mcpServers"', '"mcpServer"', "m.json:2:3: mcpServer: there is no mcpServers"),
        ('"-y", ', '"-y" ', "m.json:3:47: not JSON: expecting ',' delimiter"),
    ],
)
def test_a_mistake_in_json_is_told_with_its_place(jsonc_text, fault_in, old, new, said):
    assert fault_in(jsonc_text.replace(old, new, 1), "m.json").startswith(said)


NOT_KEYS = """\
# [[servers]]
# args = 5
"""
TEXT_LIKE_TOML = '''\
[[servers]]
name = "é"
description = """
[[servers]]
name = "x"
transport = 1
"""
'''


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[servers]", "m.toml:3:2: servers: is not a list: write [[servers]], and name = "),
        ("[servers.h]\ncommand = 'x'", "m.toml:3:2: servers: is not a list: write [[servers]], and name = "),
        ("servers = 7", "m.toml:3:1: servers: is not a list"),
        (
            TEXT_LIKE_TOML + "# transport = {}\n\ttransport = { command = 'é', args = [ 'a', 7 ] }",
            "m.toml:11:45: servers[0].transport.args[1]: must be a string",
        ),
        (
            TEXT_LIKE_TOML + "transport = { command = 'x' }\n[[servers]]\nname = 'b/'",
            "m.toml:12:1: servers[1].name: 'b/' has a slash",
        ),
        (TEXT_LIKE_TOML, "m.toml:3:3: servers[0]: server 'é' needs a transport"),
        (
            TEXT_LIKE_TOML
            + "[servers . 'transport']\ncommand='x'\nenv.\"a b\" = \"'''\"\n env . '' = '' # env",
            'm.toml:13:8: servers[0].transport.env."": cannot be an environment variable',
        ),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_place_is_that_of_the_key_and_of_no_text_like_it(fault_in, text, said, line_end):
    assert fault_in((NOT_KEYS + text).replace("\n", line_end)).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # of two keys of the same name the last counts
        (
            '{"mcpServers": {"a": {"command": "x"}, "b": {"command": ""},\n "b": {"command": 1}}}',
            "m.json:2:8: mcpServers.b.command: must be a string",
        ),
        (
            '{"x": {"mcpServers": [1]}, // "mcpServers": 1\n/* "mcpServers": 2\n*/\t"mcpServers": []}',
            "m.json:3:4: mcpServers: is not an object",
        ),
        (
            '{"mcpServers": {"\\u0061 b": {"args": ["{\\"args\\": [", ["x"], 1], "command": "x"}}}',
            "m.json:1:17: mcpServers.\"a b\": 'a b' cannot be",
        ),
        (
            '{"mcpServers": {"é": {"args": ["}, [\\"", "x", [[1], {"a": 1}]], "command": "x"}}}',
            'm.json:1:47: mcpServers."é".args[2]: must be a string',
        ),
        ("\n 7", "m.json:1:1: not an object"),
    ],
)
def test_the_place_in_json_is_that_of_the_key_and_of_no_text_like_it(fault_in, text, said):
    assert fault_in(text, "m.json").startswith(said)


PIECES = [
    *("[[servers]]", "[servers.transport]", "name", "transport", "command", "=", '"x"', "{", "}", "[", "]"),
    *(",", "\n", "args", "1", "true", "'''", '"""', "#", "${A}", "servers", ".", "type", "http", "url", "\\"),
]
JSON_PIECES = [
    *("{", "}", "[", "]", ",", ":", '"mcpServers"', '"a"', '"command"', '"x"', "1", "null", "//", "/*"),
    *("*/", "\n", '"args"', '"env"', '"\\', '"'),
]


def read_or_told(text, path):
    try:
        return forms.parse(text, path, "/folder").path == path
    except ConfigError as wrong:
        return str(wrong).startswith(path)


@given(some.lists(some.sampled_from(PIECES), max_size=25).map(" ".join) | some.text())
def test_any_text_is_a_configuration_or_an_error_that_says_where(text):
    assert read_or_told(text, "m.toml")
    assert read_or_told(text, "m.json")


@given(some.lists(some.sampled_from(JSON_PIECES), max_size=25).map("".join))
def test_any_json_is_a_configuration_or_an_error_that_says_where(text):
    assert read_or_told(text, "m.json")


def test_a_key_that_only_others_know_is_a_note(parse) -> None:
    text = (
        '{"mcpServers": {"a": {"command": "x", "alwaysLoad": true, "_comment": 1,\n'
        ' "lifecycle": {}, "timeoutMs": 5}}}'
    )
    read = parse(text, "m.json")
    assert [note.split(": ")[1] for note in read.notes] == [
        "mcpServers.a.alwaysLoad",
        "mcpServers.a._comment",
        "mcpServers.a.lifecycle",
        "mcpServers.a.timeoutMs",
    ]
    assert read.notes[2].startswith("m.json:2:2:")


@pytest.mark.parametrize("key", ["comand", "alowed_tools", "disabledTool", "header"])
def test_a_key_that_is_nearly_ours_is_refused(parse, key: str) -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        parse(f'{{"mcpServers": {{"a": {{"command": "x", "{key}": ["y"]}}}}}}', "m.json")


def test_a_bearer_token_of_a_variable_is_a_header(parse) -> None:
    read = parse('{"mcpServers": {"a": {"url": "http://h", "bearerTokenEnv": "T"}}}', "m.json")
    assert read.servers[0].headers == {"Authorization": "Bearer ${T}"}
    assert read.notes == ()
