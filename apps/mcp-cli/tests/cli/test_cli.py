"""The commands, as they are typed, in each of the three modes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from daemonry import Client
from daemonry.testing import wait_until
from mcp_cli.protocol.interfaces import Mcp

MODES = {"auto": [], "require": ["--require-daemon"], "direct": ["--no-daemon"]}


@pytest.fixture(params=["auto", "require", pytest.param("direct", marks=pytest.mark.slow)])
def mode(request, app):
    """The options of each mode; where a daemon is required, one runs."""
    if request.param == "require":
        assert app("daemon", "start").code == 0
    return MODES[request.param]


# --- the same in every mode -------------------------------------------------------------------


def test_each_command_says_the_same_in_each_mode(app, mode):
    def done(*words, code=0):
        ended = app(*words, *mode)
        assert ended.code == code, ended
        return ended

    assert done("call", "fake/echo", "text=hello").out == "hello\n"
    assert done("call", "fake", "echo", '{"text": "hello"}').out == "hello\n"
    assert done("list", "fake").out.startswith(f"fake  {app.tools} tools\n  echo\n  raw\n")
    assert "  echo        Says it again\n" in done("list", "-d").out
    assert "fake/echo\n  Says it again\n    text  string  required" in done("tool", "fake/echo").out
    assert "echo(text: string)" in done("info", "fake").out
    assert done("search", "ech*").out == "fake/echo  Says it again\n"
    assert done("resources").out == "fake  0 resources\n"
    assert done("prompts").out == "fake  0 prompts\n"
    assert "answers" in done("ping", "fake").out
    failed = done("call", "fake/fail", code=1)
    assert (failed.out, failed.err) == ("", "it failed\n")
    refused = done("call", "fake/refuse", code=1)
    assert refused.err == 'fake/refuse: the server answered with error -32050: no\n  | {"why":1}\n'
    said = done("call", "fake/echo", "txt=1", code=2)
    assert said.err.startswith("fake/echo: txt is not a parameter: did you mean 'text'?")
    assert done("call", "fake/ehco", code=1).err == "fake has no tool 'ehco': did you mean 'echo'?\n"
    crashed = done("call", "fake/crash", code=6)
    assert "its outcome is unknown" in crashed.err
    assert "  | going down\n" in crashed.err
    assert done("call", "fake/echo", "text=again").out == "again\n"


def test_json_is_the_servers_own_to_the_byte(app, mode, raw_text):
    whole = app("call", "fake/raw", "--json", *mode)
    assert whole.out == f'{{"outcome":"done","is_error":false,"result":{raw_text}}}\n'
    assert app("call", "fake/raw", "--raw", *mode).out == raw_text + "\n"
    failed = app("call", "fake/fail", "--json", *mode)
    assert (failed.code, json.loads(failed.out)["is_error"]) == (1, True)
    unknown = app("call", "fake/crash", "--json", *mode)
    assert (unknown.code, json.loads(unknown.out)["outcome"]) == (6, "maybe_ran")
    unsent = app("call", "fake/echo", "--json", *mode)
    assert (unsent.code, json.loads(unsent.out)["outcome"]) == (2, "not_sent")


@pytest.mark.slow
def test_no_daemon_leaves_none(app):
    assert app("call", "fake/echo", "text=1", "--no-daemon").out == "1\n"
    assert app("call", "fake/echo", "text=2", MCP_NO_DAEMON="1").out == "2\n"
    assert not app.socket_path.exists()
    assert app("daemon", "status").code == 3


def test_a_required_daemon_that_is_not_there_is_code_3(app):
    ended = app("call", "fake/echo", "text=1", "--require-daemon")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err == (
        "mcp-cli: no daemon runs; start it with `mcp-cli daemon start`, or leave out --require-daemon\n"
    )


def test_modes_exclude_each_other(app):
    ended = app("--no-daemon", "list", "--require-daemon")
    assert (ended.code, ended.err.count("\n")) == (2, 1)


# --- arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["fake/echo", "text=7"],
        ["fake/echo", "--text", "7"],
        ["fake/echo", "--text=7"],
        ["fake/echo", 'text:="7"'],
        ["fake", "echo", "text=7"],
        ["fake/echo", "--", "--text", "7"],
        ["--json", "fake/echo", "text=7", "--raw"],
    ],
)
def test_arguments_need_no_dashes(app, words):
    raw = "--raw" in words
    out = app.done("call", *words)
    assert (json.loads(out)["content"][0]["text"] if raw else out) == ("7" if raw else "7\n")


def test_arguments_from_standard_input_and_from_a_file(app):
    text = '{"text": "from afar"}'
    path = app.sandbox.write("given.json", text)
    assert app("call", "fake/echo", stdin=text).out == "from afar\n"
    assert app("call", "fake/echo", "-", stdin=text).out == "from afar\n"
    assert app("call", "fake/echo", f"@{path}").out == "from afar\n"
    absent = app("call", "fake/echo", "@nowhere.json")
    assert (absent.code, absent.err) == (2, "@nowhere.json: cannot be read: No such file or directory\n")
    bad = app("call", "fake/echo", stdin="{text: 1}")
    assert bad.code == 2
    assert "the arguments are not JSON" in bad.err


@pytest.mark.slow
def test_a_pipe_that_nobody_writes_to_is_told(app):
    call = app.popen("call", "fake/echo", stdin=subprocess.PIPE)
    assert call.stderr.readline() == (
        "reading the arguments from standard input; give {} for none, or </dev/null\n"
    )
    out, err = call.communicate('{"text": "late"}', timeout=30)
    assert (call.returncode, out, err) == (0, "late\n", "")


@pytest.mark.slow
def test_a_big_argument_and_a_big_result_pass_whole(app):
    text = "ä" * 1_000_000
    out = app("call", "fake/echo", stdin=json.dumps({"text": text}))
    assert out.out == text + "\n"
    assert len(app.done("call", "fake/big", "n=50000000")) == 50_000_001


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["call"], "call: needs a tool: mcp-cli call SERVER/TOOL key=value ..."),
        (["call", "fake"], "fake: names no tool"),
        (["call", "fake/"], "fake/: is not SERVER/TOOL"),
        (["call", "fake/echo", "--timeout", "soon"], "soon: is not a number of seconds above 0"),
        (["list", "--config"], "--config: needs a value"),
        (["nonsense"], "mcp-cli: argument COMMAND: invalid choice: 'nonsense'"),
        (["info"], "mcp-cli info: the following arguments are required: SERVER"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(app, words, said):
    ended = app(*words)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), ended
    assert ended.err.startswith(said)


# --- the configuration ------------------------------------------------------------------------


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


def test_options_stand_where_they_want(app):
    app.servers(one=[], two=[], three=[])
    app.done("config", "add", "four", "--env", "A=1", "sh", "--force", "x")
    listed = json.loads(app.done("config", "list", "--json"))["servers"]
    assert listed["four"]["args"] == ["x"]
    some = app.done("list", "one", "-d", "two")
    assert [line.split()[0] for line in some.splitlines() if not line.startswith(" ")] == ["one", "two"]


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


# --- many servers -----------------------------------------------------------------------------


@pytest.mark.slow
def test_list_starts_all_together_and_names_the_one_that_fails(app):
    slow = {f"slow{number}": ["--start-s", "1"] for number in range(10)}
    app.servers(broken=["--exit-at-once", "3"], **slow)
    app("daemon", "start")
    begun = time.monotonic()
    ended = app("list")
    took_s = time.monotonic() - begun
    assert ended.code == 0
    assert ended.out.count(f"{app.tools} tools") == 10
    assert ended.err.startswith("broken: ")
    assert "  | cannot work today\n" in ended.err
    assert took_s < 8, f"ten servers of a second each took {took_s:.1f} s"
    strict = app("list", "--strict", "--json")
    assert strict.code == 1
    broken = json.loads(strict.out)["servers"][0]
    assert (broken["server"], broken["ok"], broken["stderr"]) == ("broken", False, ["cannot work today"])


def test_filtered_tools_are_said_to_be(app):
    app.servers(fake={"allowed_tools": ["e*", "write_*"], "disabled_tools": ["write_*"]})
    assert app.done("list") == f"fake  2 tools, {app.tools - 2} hidden\n  echo\n  env\n"
    hidden = app("call", "fake/write_file")
    assert (hidden.code, hidden.err) == (
        1,
        'fake/write_file: the configuration hides this tool: disabled_tools has "write_*"\n',
    )
    assert app("tool", "fake/write_file").err == hidden.err
    assert "allowed_tools" in app("call", "fake/cwd").err


@pytest.mark.slow
def test_one_off_servers_need_no_configuration(app):
    fake = app.config_path.read_text().split('args = ["')[1].split('"')[0]
    app.config_path.unlink()
    command = f"{sys.executable} '{fake}'"
    assert app.done("--stdio", command, "call", "echo", "text=1") == "1\n"
    assert app.done("call", "server/echo", "text=2", "--stdio", command) == "2\n"
    assert app.done("--stdio", command, "list").startswith(f"server  {app.tools} tools\n")
    assert app("--stdio", command, "--url", "http://x", "list").code == 2
    assert app("--stdio", "'", "list").code == 1


# --- faults -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--exit-at-once", "4"], "  | cannot work today\n"),
        (["--garbage"], None),
    ],
)
def test_a_server_that_misbehaves_at_its_start(app, options, said):
    app.servers(fake=options)
    ended = app("call", "fake/echo", "text=1")
    if said is None:
        assert (ended.code, ended.out) == (0, "1\n")
    else:
        assert (ended.code, ended.out) == (1, "")
        assert said in ended.err


def test_a_command_that_is_not_there_is_named(app):
    app.servers(fake={"transport": {"command": "no-such-program"}})
    ended = app("call", "fake/echo", "text=1")
    assert ended.code == 1
    assert "no-such-program" in ended.err
    assert app("config", "validate").err.endswith("no-such-program is not there, or cannot be run\n")


@pytest.mark.slow
def test_a_server_that_hangs_is_given_up_after_the_time_that_was_given(app):
    app.servers(fake={"args": ["--hang-initialize"], "start_timeout_secs": 1})
    ended = app("call", "fake/echo", "text=1")
    assert ended.code == 1
    assert "did not complete its start" in ended.err
    app.servers(fake=[])
    silent = app("call", "fake/slow", "n=30", "--timeout", "0.5")
    assert (silent.code, silent.err) == (
        6,
        "fake/slow: silent for 0.5 s and cancelled; its outcome is unknown\n",
    )
    assert app.done("call", "fake/slow", "n=1.2", "progress=true", "--timeout", "0.6") == "done\n"


def test_ctrl_c_reaches_the_server_and_is_130(app):
    app.done("call", "fake/echo", "text=1")
    call = app.popen("call", "fake/slow", "n=60")
    wait_until(lambda: "1 under way" in app("daemon", "status").out, what="the call to be under way")
    call.send_signal(signal.SIGINT)
    out, err = call.communicate(timeout=10)
    assert (call.returncode, out) == (130, "")
    assert "was cancelled" in err
    wait_until(lambda: app.done("call", "fake/cancelled") != "[]\n", what="the server to be told")


def test_ctrl_c_ends_the_command_while_it_imports(app):
    """Python drops a KeyboardInterrupt in the middle of an import, and the call would go on."""
    app.sandbox.write("other/mcp_cli/__init__.py", "")
    app.sandbox.write(
        "other/mcp_cli/cli/entry.py",
        "import signal\ndef main():\n    print(signal.getsignal(signal.SIGINT).name)\n",
    )
    assert app("list", PYTHONPATH=str(app.sandbox.path / "other")).out == "SIG_DFL\n"


def test_a_command_in_the_background_of_a_script_is_not_interrupted(app):
    """A shell has such ignore Ctrl-C, which is meant for what is in front."""
    app.done("call", "fake/echo", "text=1")
    call = app.popen(
        "call", "fake/slow", "n=3", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)
    )
    wait_until(lambda: "1 under way" in app("daemon", "status").out, what="the call to be under way")
    call.send_signal(signal.SIGINT)
    out, err = call.communicate(timeout=20)
    assert (call.returncode, out, err) == (0, "done\n", "")


def test_kill_9_of_the_command_cancels_its_call(app):
    app.done("call", "fake/echo", "text=1")
    call = app.popen("call", "fake/slow", "n=60")
    wait_until(lambda: "1 under way" in app("daemon", "status").out, what="the call to be under way")
    call.kill()
    call.communicate(timeout=10)
    wait_until(lambda: app.done("call", "fake/cancelled") != "[]\n", what="the server to be told")


@pytest.mark.slow
def test_kill_9_of_the_daemon_in_a_call_is_code_6_and_the_next_call_works(app, alive):
    app.done("call", "fake/echo", "text=1")
    servers = [
        int(word)
        for line in app("daemon", "status").out.splitlines()
        if "ready" in line
        for word in [line.split("pid ")[1].split()[0]]
    ]
    call = app.popen("call", "fake/slow", "n=60")
    wait_until(lambda: "1 under way" in app("daemon", "status").out, what="the call to be under way")
    os.kill(app.pid(), signal.SIGKILL)
    out, err = call.communicate(timeout=20)
    assert (call.returncode, out) == (6, "")
    assert err == "fake/slow: the daemon went away in the call, which may have run\n"
    wait_until(lambda: not any(alive(pid) for pid in servers), what="the servers of the dead daemon to end")
    assert app("call", "fake/echo", "text=2").out == "2\n"


def test_a_daemon_that_hangs_is_not_waited_for(app):
    app.done("call", "fake/echo", "text=1")
    pid = app.pid()
    code = (
        "import mcp_cli.client.connect as r; r.PROBE_EVERY_S = 0.3; r.PROBE_TIMEOUT_S = 0.5\n"
        "from mcp_cli.cli.entry import main; main()"
    )
    call = app.sandbox.popen(
        sys.executable, "-c", code, "call", "fake/slow", "n=60", stdin=subprocess.DEVNULL
    )
    wait_until(lambda: "1 under way" in app("daemon", "status").out, what="the call to be under way")
    os.kill(pid, signal.SIGSTOP)
    try:
        out, err = call.communicate(timeout=20)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (call.returncode, out) == (6, "")
    assert f"the daemon (pid {pid}) does not answer any more: the call may have run" in err


def test_nor_by_a_list_which_asks_no_server_then(app):
    app.done("call", "fake/echo", "text=1")
    pid = app.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        listed = app("list", "--timeout", "0.5")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (listed.code, listed.out) == (5, "")
    assert listed.err == "mcp-cli: no answer from the daemon within 0.5 s (configure)\n"


def test_a_result_that_breaks_its_schema_is_told(app):
    broken = app("call", "fake/typed")
    assert broken.code == 1
    assert "breaks the tool's own output schema" in broken.err
    assert app("call", "fake/typed", "right=true").code == 0


def test_a_hundred_calls_at_once_each_have_their_own_answer(app):
    app.done("call", "fake/echo", "text=0")
    code = (
        "import sys, threading\n"
        "from daemonry import Client\n"
        "from mcp_cli.client import connect, options\n"
        "from mcp_cli.config import files, model\n"
        "c = files.load(None, options.environment())\n"
        "f = model.definition(c.servers[0], c, options.environment())['fingerprint']\n"
        "bad = []\n"
        "def one(n):\n"
        "    with Client.connect('unix:' + connect.socket_path()) as client:\n"
        "        *_, last = client.stream('org.daemonry.mcp.Call', {'server': 'fake', 'fingerprint': f,\n"
        "            'tool': 'echo', 'words': [f'text={n}'], 'logs': False})\n"
        "        if last['text'] != str(n): bad.append((n, last))\n"
        "threads = [threading.Thread(target=one, args=(n,)) for n in range(100)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "print(len(bad))\n"
    )
    ended = app.sandbox.run(sys.executable, "-c", code)
    assert (ended.code, ended.out) == (0, "0\n"), ended


def test_a_failure_names_its_server(app):
    for words in (
        ["read", "fake", "demo://nothing"],
        ["prompt", "fake/nothing"],
        ["complete", "fake/p", "a"],
    ):
        ended = app(*words)
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.startswith("fake: the server answered with error -32601: Method not found"), ended
    assert app("read", "demo://nothing").err.startswith("mcp-cli: the server answered")


# --- the daemon -------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "idle_s"), [("2.5", 2.5), ("0", 0), ("-5", 60), ("nan", 60), ("soon", 60)])
def test_an_idle_time_that_is_none_is_the_usual_one(app, said, idle_s):
    """A daemon that nobody asked to stay does not stay for ever."""
    app.done("daemon", "start", MCP_DAEMON_TTL=said)
    assert app("daemon", "status", "--json").json().get("idle_timeout_secs", 0) == idle_s


def test_the_daemons_commands(app):
    assert app("daemon", "status").code == 3
    app.done("daemon", "start", "--ttl", "0.5")
    wait_until(lambda: not app.socket_path.exists(), 20, what="the idle daemon to end")
    wait_until(lambda: app("daemon", "status").code == 3, 20, what="the idle daemon to be gone")
    assert "ready" in app.done("daemon", "start")
    assert "already running" in app.done("daemon", "start")
    pid = app.pid()
    app.done("daemon", "restart")
    assert app.pid() != pid
    assert app("daemon", "logs", "--tail", "5").out
    assert app.done("shutdown") == "mcp-cli: stopped\n"
    assert app.done("shutdown") == "mcp-cli: not running\n"
    assert not app.socket_path.exists()


def test_the_idle_time_that_a_daemon_was_given_is_no_difference_until_it_is_another(app):
    def differs(**env):
        return app("daemon", "status", "--json", **env).json().get("environment_differs", [])

    app.done("call", "fake/echo", "text=1")
    assert differs() == []
    assert differs(MCP_DAEMON_TTL="7") == ["MCP_DAEMON_TTL"]
    app.config("daemon_ttl = 7\n" + app.config_path.read_text())
    assert differs() == ["MCP_DAEMON_TTL"]
    app.done("daemon", "restart")
    assert differs() == []


def test_completion_offers_what_the_live_daemon_has(app):
    def offered(*words):
        return app.done("_complete", *words).split()

    assert "call" in offered("")
    assert offered("ca") == ["call"]
    assert offered("call", "") == ["fake/"]
    assert offered("call", "fake/e") == []  # no daemon runs, and none is started for this
    assert not app.socket_path.exists()
    app.done("call", "fake/echo", "text=1")
    assert offered("call", "fake/e") == ["fake/echo", "fake/env"]
    assert offered("call", "fake/echo", "t") == ["text="]
    assert offered("call", "fake/slow", "progress=") == ["progress=false", "progress=true"]
    assert offered("info", "") == ["fake"]
    assert offered("daemon", "sta") == ["start", "status"]
    assert "--strict" in offered("list", "--")
    assert offered("call", "--s") == ["--save-dir", "--stdio"]
    assert offered("call", "fake/echo", "--t") == ["--text=", "--timeout"]
    assert offered("config", "remove", "") == ["fake"]
    assert offered("config", "import", "cl") == ["claude-code", "claude-desktop"]
    assert offered("serve", "--print-config", "c") == ["claude", "codex", "cursor"]
    assert offered("list", "--protocol", "2026") == ["2026-07-28"]
    for shell in ("bash", "zsh", "fish"):
        assert "_complete" in app.done("completion", shell)
    bash = app.done("completion", "bash")
    assert subprocess.run(["bash", "-n"], input=bash, text=True, check=False).returncode == 0


def test_a_paused_daemon_says_which_servers_it_keeps_and_starts_none(app):
    """The list is a look; a call is work."""
    app.done("call", "fake/echo", "text=x")
    with Client.connect(f"unix:{app.socket_path}") as client:
        client.call("org.daemonry.Control.Pause")
        assert [(one.server, one.state) for one in client.proxy(Mcp).servers()] == [("fake", "ready")]
        refused = app("call", "fake/echo", "text=x")
        assert (refused.code, "paused" in refused.err) == (1, True), refused
        client.call("org.daemonry.Control.Resume")
    assert app.done("call", "fake/echo", "text=x") == "x\n"
