"""`mcp-cli config`: adding, removing, importing."""

from __future__ import annotations

import json


def test_config_commands_change_the_file_and_keep_the_rest(app):
    app.config("# mine\n" + app.config_path.read_text())
    assert "new: added to" in app.done("config", "add", "new", "--env", "A=1", "--", "sh", "-c", "x")
    assert "far: added to" in app.done(
        "config", "add", "far", "https://example.org/mcp", "--header", "K=${V}"
    )
    again = app("config", "add", "new", "true")
    assert (again.code, "has a server 'new' already" in again.err) == (1, True)
    listed = app.done("config", "list", "--json")
    assert json.loads(listed)["servers"]["new"] == {"command": "sh", "args": ["-c", "x"], "env": {"A": "1"}}
    ended = app("config", "validate")
    assert (ended.code, "far.headers.K: needs the environment variable V" in ended.err) == (1, True)
    app.done("config", "remove", "far")
    assert "near: added to" in app.done("config", "add", "near", "--url", "http://localhost:1/mcp")
    assert "typed: added to" in app.done("config", "add", "typed", "--stdio", "sh -c 'x y'")
    listed = json.loads(app.done("config", "list", "--json"))["servers"]
    assert listed["near"] == {"type": "http", "url": "http://localhost:1/mcp"}
    assert listed["typed"] == {"command": "sh", "args": ["-c", "x y"]}
    both = app("config", "add", "both", "--url", "http://localhost:1/mcp", "sh")
    assert (both.code, both.err) == (2, "both: needs one command or URL, and not two\n")
    none = app("config", "add", "none", "--url", "localhost:1/mcp")
    assert (none.code, none.err) == (2, "--url: must begin with http:// or https://\n")
    app.done("config", "add", "varied", "--url", "${HOST}/mcp")
    listed = json.loads(app.done("config", "list", "--json"))["servers"]
    assert listed["varied"] == {"type": "http", "url": "${HOST}/mcp"}
    app.done("config", "remove", "varied")
    app.done("config", "remove", "near")
    app.done("config", "remove", "typed")
    assert app.done("config", "validate").endswith(": 2 servers, all usable\n")
    assert app.config_path.read_text().startswith("# mine\n")
    assert app.done("config", "path").strip() == str(app.config_path)
    unknown = app("config", "remove", "nobody")
    assert (unknown.code, unknown.err.count("\n")) == (1, 1)


def test_servers_of_other_programs_are_imported(app):
    app.sandbox.write(
        "home/.config/Claude/claude_desktop_config.json",
        '{"mcpServers": {"desk": {"command": "npx", "args": ["-y", "desk"]}}, "theme": "dark"}',
    )
    app.sandbox.write(
        "home/.claude.json",
        json.dumps(
            {
                "mcpServers": {"code": {"type": "http", "url": "https://example.org/mcp"}},
                "projects": {str(app.sandbox.path): {"mcpServers": {"project": {"command": "x"}}}},
            }
        ),
    )
    app.sandbox.write(
        "home/.cursor/mcp.json", '{"mcpServers": {"cur": {"url": "https://c.example/mcp"}, "bad": {}}}'
    )
    app.sandbox.write(
        ".vscode/mcp.json", '{"inputs": [], /* c */ "servers": {"vs": {"command": "v", "envFile": "x"}}}'
    )
    app.sandbox.write(
        ".mcp.json", '{"mcpServers": {"fake": {"command": "another"}, "proj": {"command": "p"}}}'
    )
    tried = app("config", "import", "--dry-run")
    assert tried.out.endswith(f"6 servers would be copied to {app.config_path}\n")
    ended = app("config", "import")
    assert ended.code == 0
    assert "fake: there already" in ended.out
    assert ended.err == (
        "  bad: left out: needs a command or a url\n"
        "  vs: its envFile is not read: name its variables in env or pass_env\n"
    )
    names = list(json.loads(app.done("config", "list", "--json"))["servers"])
    assert names == ["fake", "desk", "code", "project", "cur", "vs", "proj"]
    assert app("config", "import", "cursr").code == 2


def test_an_import_leaves_a_projects_shared_file_alone(app):
    """It is in the project's repository, and what is copied has tokens in it."""
    app.config_path.unlink()
    shared = app.sandbox.write(".mcp.json", '{"mcpServers": {"proj": {"command": "./run"}}}')
    app.sandbox.write(
        "home/.cursor/mcp.json", '{"mcpServers": {"cur": {"command": "c", "env": {"T": "hunter2"}}}}'
    )
    before = shared.read_text()
    ended = app("config", "import")
    own = app.sandbox.path / "home/.config/mcp/mcp_servers.toml"
    assert ended.out.endswith(f"2 servers copied to {own}\n")
    assert ended.err == f"in this directory {shared} is read, and not that: -c {own} names it\n"
    assert shared.read_text() == before
    assert own.stat().st_mode & 0o777 == 0o600
    listed = json.loads(app.done("-c", str(own), "config", "list", "--json"))["servers"]
    assert listed["proj"]["cwd"] == str(app.sandbox.path)
    assert "cwd" not in listed["cur"]
    assert app("config", "import", "-c", str(shared)).code == 0
    assert "hunter2" in shared.read_text()


def test_variables_of_vs_code_become_ours(app):
    app.sandbox.write(
        ".vscode/mcp.json",
        json.dumps(
            {
                "servers": {
                    "a": {
                        "command": "${workspaceFolder}/run",
                        "args": ["${userHome}/x", "${env:E}"],
                        "env": {"KEY": "${input:api-key}"},
                    }
                }
            }
        ),
    )
    app.done("config", "import", "vscode")
    server = json.loads(app.done("config", "list", "--json"))["servers"]["a"]
    assert server["command"] == f"{app.sandbox.path}/run"
    assert server["args"] == ["${HOME}/x", "${env:E}"]
    assert server["env"] == {"KEY": "${API_KEY}"}
    assert "needs the environment variable API_KEY" in app("config", "validate", E="1").err
