"""The configuration that a command uses: where it is, when it changes, whose it is."""

from __future__ import annotations

import json
import subprocess

import pytest


def test_the_order_in_which_a_configuration_is_looked_for(app):
    def names(*words, **env):
        return list(json.loads(app.done("config", "list", "--json", *words, **env))["servers"])

    def config(path, name):
        app.sandbox.write(path, f'[[servers]]\nname = "{name}"\ntransport = {{ command = "false" }}\n')
        return str(app.sandbox.path / path)

    app.config_path.unlink()
    assert app("list").code == 1
    for path in ("home/.config/mcp/mcp_servers.toml", "home/.mcp_servers.toml", "home/mcp_servers.toml"):
        config(path, path)
        renamed = path.replace("/", "-")
        config(path, renamed)
        assert names() == [renamed]
    app.sandbox.write(".mcp.json", '{"mcpServers": {"project": {"command": "false"}}}')
    assert names() == ["project"]
    config("mcp_servers.toml", "here")
    assert names() == ["here"]
    by_variable = config("variable.toml", "variable")
    assert names(MCP_CONFIG_PATH=by_variable) == ["variable"]
    assert names("-c", config("option.toml", "option"), MCP_CONFIG_PATH=by_variable) == ["option"]
    absent = app("list", "-c", "nowhere.toml")
    assert (absent.code, absent.err) == (1, "nowhere.toml: cannot be read: there is no such file\n")


@pytest.mark.slow
def test_a_changed_configuration_is_seen_and_only_what_changed_is_restarted(app):
    starts = app.sandbox.path / "starts"

    def configure(text):
        app.servers(
            fake={"args": ["--start-file", f"{starts}-fake"], "transport": {"env": {"TEXT": text}}},
            other=["--start-file", f"{starts}-other"],
        )

    def count(name):
        return len((app.sandbox.path / f"starts-{name}").read_text().split())

    configure("one")
    app.settle()
    for _ in range(2):  # by the parsed configuration, and by what is remembered of it
        assert json.loads(app.done("call", "fake/env"))["TEXT"] == "one"
        app.done("call", "other/echo", "text=1")
    daemon = app.pid()
    configure("two")
    assert json.loads(app.done("call", "fake/env"))["TEXT"] == "two"
    app.done("call", "other/echo", "text=1")
    assert (count("fake"), count("other"), app.pid()) == (2, 1, daemon)


@pytest.mark.slow
def test_the_callers_variables_count_and_are_in_no_argument_list(app):
    app.servers(fake={"transport": {"env": {"TOKEN": "${MY_TOKEN}"}}})
    app.settle()
    for token in ("first-secret", "second-secret", "first-secret"):
        assert json.loads(app.done("call", "fake/env", "--quiet", MY_TOKEN=token))["TOKEN"] == token
    told = app("call", "fake/env", MY_TOKEN="third-secret")
    assert told.err == (
        "fake: your environment (MY_TOKEN) is not that of the one that runs: yours is another\n"
    )
    missing = app("call", "fake/env")
    assert missing.code == 1
    assert "fake.env.TOKEN: needs the environment variable MY_TOKEN, which is not set" in missing.err
    seen = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    logs = app("daemon", "logs", "--tail", "0").out
    remembered = "".join(path.read_text() for path in app.sandbox.path.glob("home/.cache/mcp-cli/config/*"))
    assert "fake" in remembered
    for text in (seen, logs, remembered):
        assert "-secret" not in text


def test_a_file_that_others_may_write_is_not_run(app):
    app.config_path.chmod(0o666)
    ended = app("list")
    assert ended.code == 1
    assert "can be written by everyone" in ended.err
    assert app("list", "-c", str(app.config_path)).code == 0
