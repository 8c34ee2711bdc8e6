"""`mcp serve` with the official client, `install`, `config edit`, and `new-session` without a session."""

from __future__ import annotations

import asyncio
import json
import os
import plistlib
import shutil
import subprocess
import time

import msgspec
import pytest

from daemonry.testing import wait_until
from palingenesis import mcp_tools, service_file
from palingenesis.resume.entry import SessionEntry, asked
from palingenesis.resume.prompt import MAX_NOTES_CHARS
from palingenesis.resume.states import Happened, State
from palingenesis.verdict.reasons import Reason

ID = "22222222-2222-4222-8222-222222222222"
LIMIT = {
    "type": "assistant", "sessionId": ID, "isApiErrorMessage": True, "error": "rate_limit",
    "message": {"model": "<synthetic>", "content": [{"type": "text", "text": "You've hit your limit"}]},
}  # fmt: skip


def put_limit(app, cwd, resets_at_s):
    record = app.sandbox.path / f"home/.claude/projects/-x/{ID}.jsonl"
    record.parent.mkdir(parents=True, exist_ok=True)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = {**LIMIT, "timestamp": now, "cwd": str(cwd), "quotaLimits": {"resetsAt": resets_at_s}}
    record.write_text(json.dumps(line) + "\n")


def served(app, cwd, *calls):
    """Return what the tools answer, by the official client: each its structure, or the words of its error."""
    pytest.importorskip("mcp")
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    async def run():
        server = StdioServerParameters(
            command=str(app.command), args=["mcp", "serve"], env=dict(app.sandbox.env), cwd=str(cwd)
        )
        async with stdio_client(server) as streams, ClientSession(*streams) as session:
            await session.initialize()
            names = {tool.name for tool in (await session.list_tools()).tools}
            found = [await session.call_tool(name, arguments) for name, arguments in calls]
            return names, [
                one.content[0].text if one.is_error else json.loads(one.content[0].text) for one in found
            ]

    return asyncio.run(run())


@pytest.mark.slow
def test_an_agent_asks_for_its_limit_and_writes_its_next_step(app, tmp_path):
    put_limit(app, tmp_path, time.time() + 600)
    names, (status, limit, written, unknown, no_daemon) = served(
        app, tmp_path,
        ("status", {}), ("when_does_my_limit_reset", {}), ("write_next_step", {"text": "# Next\nport it"}),
        ("when_does_my_limit_reset", {"session": "nobody"}), ("schedule_resume", {"after": "2h"}),
    )  # fmt: skip
    assert names == {"status", "when_does_my_limit_reset", "schedule_resume", "write_next_step"}
    assert status["sessions"][0]["session"] == ID
    assert limit["reason"] == "rate limit"
    assert 500 <= limit["seconds_left"] <= 600
    assert (tmp_path / "Next-step.md").read_text() == "# Next\nport it\n"
    assert written["path"] == str(tmp_path / "Next-step.md")
    assert "'nobody' fits 0 sessions" in unknown
    assert "daemon" in no_daemon


@pytest.mark.slow
def test_an_agent_asks_to_be_resumed_later(app, tmp_path):
    put_limit(app, tmp_path, time.time() + 60)
    app.done("daemon", "start")
    wait_until(lambda: app("sessions", "--json").json()["sessions"][0]["state"] == "scheduled")
    _, (scheduled, wrong) = served(
        app, tmp_path, ("schedule_resume", {"after": "2h"}), ("schedule_resume", {"after": "soon"})
    )
    assert scheduled["state"] == "scheduled"
    assert scheduled["at_s"] - time.time() > 7000
    (session,) = app("sessions", "--json").json()["sessions"]
    assert session["kept"]["note"] == "a later try is wanted"
    assert "try 90s, 30m, 5h, 2d" in wrong


def test_a_later_try_that_is_wanted_follows_the_turn():
    entry = SessionEntry("c:i", "c", "i", "/x", cwd="/", account="a", state=State.RUNNING, since_s=0.0)
    wanted = asked(entry, Happened.WANTED, 5.0, 500.0)
    assert (wanted.state, wanted.wanted_at_s) == (State.RUNNING, 500.0)
    done = msgspec.structs.replace(entry, state=State.DONE, reason=Reason.COMPLETED)
    later = asked(done, Happened.WANTED, 5.0, 500.0)
    assert (later.state, later.at_s) == (State.SCHEDULED, 500.0)
    assert asked(msgspec.structs.replace(entry, state=State.HELD), Happened.WANTED, 5.0, 500.0) is None


def test_notes_replace_notes_and_nothing_else(tmp_path):
    path = tmp_path / "Next-step.md"
    for text in ("", "  \n", "x" * (MAX_NOTES_CHARS + 1)):
        with pytest.raises(mcp_tools.CannotAnswer, match="characters"):
            mcp_tools.write_next_step(text, str(tmp_path))
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(mcp_tools.CannotAnswer, match="not a regular file"):
        mcp_tools.write_next_step("x", str(tmp_path))
    assert not (tmp_path / "elsewhere").exists()
    path.unlink()
    path.write_text("old")
    path.chmod(0o640)
    mcp_tools.write_next_step("new", str(tmp_path))
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new\n", 0o640)


def test_mcp_config_is_what_agents_read(app):
    for agent in ((), ("claude",), ("gemini",)):
        found = json.loads(app.done("mcp", "config", *agent))
        assert found["mcpServers"]["palingenesis"]["args"] == ["mcp", "serve"]
    import tomllib

    assert tomllib.loads(app.done("mcp", "config", "codex"))["mcp_servers"]["palingenesis"]["command"]
    assert json.loads(app.done("mcp", "config", "opencode"))["mcp"]["palingenesis"]["type"] == "local"
    assert app("mcp", "config", "emacs").code == 2


# --- a service ------------------------------------------------------------------------------------


def test_install_writes_the_unit_and_says_what_to_run(app):
    said = app.done("install")
    path = app.sandbox.path / "home/.config/systemd/user/palingenesis.service"
    assert said.startswith(f"{path}: written\nwith PATH=")
    assert "\nthen: systemctl --user daemon-reload" in said
    assert "loginctl enable-linger" in said
    assert app.done("install", "--show") == path.read_text()
    assert "KillMode=process" in path.read_text()
    assert app.done("uninstall").startswith(f"{path}: removed")
    assert app.done("uninstall") == f"{path}: not there\n"


def test_install_carries_where_things_are_and_no_secret(app):
    """A daemon with other places than its user's commands would keep other sessions than they show."""
    app.config("[agents.mine]\nsessions = ['{MY_LOGS:-~/x}/*.log', '{MY_API_KEY:-~/y}/*.log']\n")
    app.sandbox.env |= {
        "PALINGENESIS_STATE": str(app.state_dir), "CLAUDE_CONFIG_DIR": "/a b/c%d", "CODEX_HOME": "/codex",
        "OPENCODE_DB": "/db/o.db", "OPENCODE_CONFIG_DIR": "/oc", "MY_LOGS": "/logs", "MY_API_KEY": "sesame",
        "ANTHROPIC_API_KEY": "sesame", "TZ": "Europe/Berlin", "OTHER": "sesame",
    }  # fmt: skip
    said = app.done("install")
    path = app.sandbox.path / "home/.config/systemd/user/palingenesis.service"
    lines = path.read_text().splitlines()
    assert 'Environment="CLAUDE_CONFIG_DIR=/a b/c%%d"' in lines
    names = [line.partition('"')[2].partition("=")[0] for line in lines if line.startswith("Environment=")]
    wanted = {"PALINGENESIS_STATE", "CLAUDE_CONFIG_DIR", "CODEX_HOME", "OPENCODE_DB", "OPENCODE_CONFIG_DIR"}
    assert names[0] == "PATH"
    assert {*wanted, "MY_LOGS", "TZ"} <= set(names)
    assert "with CLAUDE_CONFIG_DIR=/a b/c%d\n" in said
    assert "without ANTHROPIC_API_KEY, as it is a secret: an agent" in said
    assert "sesame" not in path.read_text() + said


@pytest.mark.parametrize("value", ["/a\nExecStart=/bin/x", "/\udcff", "/a\x1b[1m"])
def test_install_refuses_a_value_that_no_unit_can_have(app, value):
    app.sandbox.env["CODEX_HOME"] = value
    done = app("install")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("palingenesis: CODEX_HOME is not UTF-8, or has a line end")
    assert not (app.sandbox.path / "home/.config/systemd").exists()


def test_systemd_accepts_the_unit_also_with_odd_paths(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    program = tmp_path / "a b%c$d" / "palingenesis"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    path = tmp_path / "palingenesis.service"
    path.write_text(service_file.unit(str(program), {"PATH": '/usr/bin:/a "b%c', "CODEX_HOME": "/x y$z\\"}))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", path], capture_output=True, text=True,
        check=False, env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )  # fmt: skip
    told = [line for line in done.stderr.splitlines() if "palingenesis" in line]
    assert told == []


def test_the_property_list_is_one():
    found = plistlib.loads(service_file.property_list("/bin/palingenesis", {"PATH": "/bin", "TZ": "UTC"}))
    assert found["EnvironmentVariables"] == {"PATH": "/bin", "TZ": "UTC"}
    assert found["ProgramArguments"] == ["/bin/palingenesis", "daemon", "start", "--foreground"]
    assert found["AbandonProcessGroup"] is True


# --- config edit ----------------------------------------------------------------------------------


def edit(app, script):
    editor = app.sandbox.path / "editor"
    editor.write_text(f"#!/bin/sh\n{script}\n")
    editor.chmod(0o700)
    return app.sandbox.run("env", f"EDITOR={editor}", app.command, "config", "edit")


def test_config_edit_writes_what_can_be_used(app):
    done = edit(app, "echo '[resume]' > \"$1\"; echo 'max_retries = 3' >> \"$1\"")
    assert done.code == 0, done
    assert app.config_path.read_text() == "[resume]\nmax_retries = 3\n"
    assert edit(app, "true").out == f"{app.config_path}: not changed\n"
    assert os.listdir(app.config_path.parent) == ["config.toml"]


def test_config_edit_keeps_the_file_when_it_cannot_be_used(app):
    app.config("[resume]\nmax_retries = 3\n")
    wrong = edit(app, "echo 'max_retires = 4' >> \"$1\"")
    assert wrong.code == 1
    assert f"{app.config_path}:3" in wrong.err
    assert "max_retries" in wrong.err
    failed = edit(app, "exit 3")
    assert (failed.code, failed.err) == (1, "palingenesis: the editor ended with 3: nothing was changed\n")
    assert app.config_path.read_text() == "[resume]\nmax_retries = 3\n"
    assert os.listdir(app.config_path.parent) == ["config.toml"]


def test_new_session_without_a_session_takes_that_of_the_directory(app):
    done = app("new-session")
    assert done.code == 1
    assert done.err == "palingenesis: no session of the last days works in this directory: name one\n"
