"""The configuration: what is read, and how each mistake is told, with line and column."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from daemonry.errors import ConfigError
from mcp_cli.config import edit, forms, json_text, model, variables

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


def parse(text, path="m.toml"):
    return forms.parse(text, path, "/folder")


def error(text, path="m.toml"):
    with pytest.raises(ConfigError) as raised:
        parse(text, path)
    return str(raised.value)


def test_the_originals_toml_is_read():
    read = parse(TOML)
    files, web = read.servers
    assert (read.concurrency_limit, read.daemon_ttl_s, read.retry_max) == (7, 90.0, 3)
    assert (files.kind, files.command, files.args) == ("stdio", "npx", ("-y", "${PKG:-x}"))
    assert (files.allowed_tools, files.disabled_tools) == (("read_*",), ("read_secret",))
    assert (web.kind, web.url, web.description) == ("http", "https://example.org/mcp", "far away")


def test_the_json_of_others_is_read_with_its_comments_and_last_commas():
    files, web = parse(JSON, "m.json").servers
    assert (files.command, files.args, files.env) == ("npx", ("-y", "http://x"), {"A": "1"})
    assert (web.kind, web.url) == ("http", "https://example.org/mcp")


def test_vs_codes_form_is_read():
    (one,) = parse('{"inputs": [], "servers": {"a": {"type": "stdio", "command": "x"}}}', "mcp.json").servers
    assert (one.name, one.command) == ("a", "x")


def test_a_server_that_is_off_is_not_there():
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
        ('"-y"', "7", "m.toml:7:56: servers[0].transport.args[0]: is not a string"),
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
def test_a_mistake_in_toml_is_told_with_its_place(old, new, said):
    assert error(TOML.replace(old, new, 1)).startswith(said)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            '"command"',
            '"comand"',
            "m.json:3:15: mcpServers.files.comand: is not known: did you mean 'command'?",
        ),
        ('"A": "1"', '"A": 1', "m.json:3:71: mcpServers.files.env.A: is not a string"),
        ('"streamable-http"', '"tcp"', "m.json:4:13: mcpServers.web.type: 'tcp' is not one of"),
        ('"mcpServers"', '"mcpServer"', "m.json:2:3: mcpServer: there is no mcpServers"),
        ('"-y", ', '"-y" ', "m.json:3:47: not JSON: expecting ',' delimiter"),
    ],
)
def test_a_mistake_in_json_is_told_with_its_place(old, new, said):
    assert error(JSON.replace(old, new, 1), "m.json").startswith(said)


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
        ("[servers]", "m.toml:3:2: servers: is not a list"),
        (
            TEXT_LIKE_TOML + "# transport = {}\n\ttransport = { command = 'é', args = [ 'a', 7 ] }",
            "m.toml:11:45: servers[0].transport.args[1]: is not a string",
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
def test_the_place_is_that_of_the_key_and_of_no_text_like_it(text, said, line_end):
    assert error((NOT_KEYS + text).replace("\n", line_end)).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # of two keys of the same name the last counts
        (
            '{"mcpServers": {"a": {"command": "x"}, "b": {"command": ""},\n "b": {"command": 1}}}',
            "m.json:2:8: mcpServers.b.command: is not a string",
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
            'm.json:1:47: mcpServers."é".args[2]: is not a string',
        ),
        ("\n 7", "m.json:1:1: not an object"),
    ],
)
def test_the_place_in_json_is_that_of_the_key_and_of_no_text_like_it(text, said):
    assert error(text, "m.json").startswith(said)


@pytest.mark.parametrize("piece", ["/*", '\\"', "//", ",", "[", '{"a":', "/* */", '"'])
def test_hostile_json_is_refused_in_linear_time(piece):
    """Half a million of what has no end: quadratic time would take hours, and the test's limit is minutes."""
    assert error('{"a' + piece * 500_000, "m.json").startswith("m.json")
    assert error("{" + piece * 500_000, "m.json").startswith("m.json")


JSON_VALUES = some.recursive(
    some.integers(0, 9) | some.text(some.sampled_from('a":,{}[]\\/* é\n'), max_size=6),
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.dictionaries(some.text(some.sampled_from('ab":,{}[]\\ '), max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


def paths_in(value, above=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in items:
        yield (*above, key), key, one
        yield from paths_in(one, (*above, key))


@given(JSON_VALUES, some.sampled_from([None, 1, "\t"]))
def test_every_key_of_json_is_found_where_it_is_written(value, indent):
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    seen = set()
    for path, key, one in paths_in(value):
        found = json_text.find(text, path)
        rest = "\n".join(text.split("\n")[found.line - 1 :])[found.column - 1 :]
        written, end = json.JSONDecoder().raw_decode(rest)
        assert written == (one if isinstance(key, int) else key)
        assert isinstance(key, int) or rest[end] == ":"
        assert isinstance(key, int) or found not in seen
        seen.add(found)


def test_variables_are_filled_in_from_the_environment_that_is_given():
    read = parse(TOML)
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


def test_what_the_caller_passes_on_is_in_the_servers_environment():
    read = parse(TOML.replace('allowed_tools = ["read_*"]', 'pass_env = ["GH", "NOT_SET"]'))
    filled = model.expanded(read.servers[0], read, {"TOKEN": "t", "GH": "g"})
    assert filled.env == {"GH": "g", "T": "t", "B": "2"}
    assert read.servers[0].needed() == ("GH", "NOT_SET", "PKG", "TOKEN")


# --- fingerprints -----------------------------------------------------------------------------


def test_a_fingerprint_has_64_digits_and_no_order():
    turned = TOML.replace('T = "${TOKEN}", B = "2"', 'B = "2", T = "${TOKEN}"')
    assert turned != TOML
    assert model.fingerprint(parse(turned)) == model.fingerprint(parse(TOML))
    assert len(model.fingerprint(parse(TOML))) == 64
    first, second = TOML.index("[[servers]]"), TOML.rindex("[[servers]]")
    swapped = TOML[:first] + TOML[second:] + "\n" + TOML[first:second]
    assert model.fingerprint(parse(swapped)) == model.fingerprint(parse(TOML))


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
def test_each_setting_changes_the_fingerprint(old, new):
    assert model.fingerprint(parse(TOML.replace(old, new, 1))) != model.fingerprint(parse(TOML))


def test_a_servers_fingerprint_changes_with_what_the_environment_puts_into_it():
    read = parse(TOML)
    (one, other, same) = (
        model.definition(read.servers[0], read, {"TOKEN": token}) for token in ("a", "b", "a")
    )
    assert one["fingerprint"] != other["fingerprint"]
    assert one["template"] == other["template"]
    assert one == same


# --- changing ---------------------------------------------------------------------------------


def test_adding_and_removing_keep_comments_and_order():
    added = edit.with_servers(
        TOML, "m.toml", [model.ServerConfig("new", "stdio", command="x", env={"A": "1"})]
    )
    assert added.startswith(TOML.rstrip("\n"))
    assert parse(added).servers[-1] == model.ServerConfig("new", "stdio", command="x", env={"A": "1"})
    removed = edit.without_server(added, "m.toml", "new")
    assert parse(removed) == parse(TOML)
    assert removed.startswith("# the servers of this project\n")


def test_a_new_file_is_made_of_what_is_added():
    one = model.ServerConfig(
        "a", "http", url="https://x", headers={"K": "v"}, disabled_tools=("w*",), timeout_s=5.0
    )
    for path in ("new.toml", "new.json"):
        assert parse(edit.with_servers("", path, [one]), path).servers == (one,)


def test_json_with_comments_is_not_rewritten():
    with pytest.raises(ConfigError, match="comments, which would be lost"):
        edit.with_servers(JSON, "m.json", [model.ServerConfig("a", "stdio", command="x")])


def test_removing_what_is_not_there_says_so():
    with pytest.raises(ConfigError, match="has no server 'nope'"):
        edit.without_server(TOML, "m.toml", "nope")


# --- whatever is in it ------------------------------------------------------------------------

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
        return parse(text, path).path == path
    except ConfigError as wrong:
        return str(wrong).startswith(path)


@given(some.lists(some.sampled_from(PIECES), max_size=25).map(" ".join) | some.text())
def test_any_text_is_a_configuration_or_an_error_that_says_where(text):
    assert read_or_told(text, "m.toml")
    assert read_or_told(text, "m.json")


@given(some.lists(some.sampled_from(JSON_PIECES), max_size=25).map("".join))
def test_any_json_is_a_configuration_or_an_error_that_says_where(text):
    assert read_or_told(text, "m.json")


# --- the files of others -------------------------------------------------------------------------


def test_a_key_that_only_others_know_is_a_note() -> None:
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
def test_a_key_that_is_nearly_ours_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        parse(f'{{"mcpServers": {{"a": {{"command": "x", "{key}": ["y"]}}}}}}', "m.json")


def test_a_bearer_token_of_a_variable_is_a_header() -> None:
    read = parse('{"mcpServers": {"a": {"url": "http://h", "bearerTokenEnv": "T"}}}', "m.json")
    assert read.servers[0].headers == {"Authorization": "Bearer ${T}"}
    assert read.notes == ()


# --- the caller's variables ----------------------------------------------------------------------


def test_a_stdio_server_is_given_what_reaches_networks_and_registries() -> None:
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
def test_callers_whose_proxies_differ_have_a_server_each(name: str) -> None:
    read = parse('{"mcpServers": {"a": {"command": "x", "pass_env": ["AWS_*"]}}}')
    one, other = (model.definition(read.servers[0], read, {name: value}) for value in ("a", "b"))
    same = model.definition(read.servers[0], read, {"UNRELATED": "x"})
    none = model.definition(read.servers[0], read, {})
    assert len({one["fingerprint"], other["fingerprint"], none["fingerprint"]}) == 3
    assert same["fingerprint"] == none["fingerprint"]
    assert one["template"] == other["template"]


def test_a_server_is_held_to_a_revision_by_its_configuration_or_its_caller() -> None:
    read = parse('{"mcpServers": {"a": {"command": "x", "protocol": "2025-11-25"}}}')
    assert model.definition(read.servers[0], read, {})["protocol"] == "2025-11-25"
    held = model.definition(read.servers[0], read, {}, "2025-06-18")
    assert held["protocol"] == "2025-06-18"
    assert held["fingerprint"] != model.definition(read.servers[0], read, {})["fingerprint"]
    with pytest.raises(ConfigError, match="is not one of 2024-11-05"):
        parse('{"mcpServers": {"a": {"command": "x", "protocol": "2025"}}}')
