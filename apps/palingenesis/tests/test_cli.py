"""The command line without a daemon: words, help, exit codes, the configuration file, completion."""

from __future__ import annotations

import re
import shutil
import stat
import sys
import tomllib

import pytest

import palingenesis
from daemonry.cli import exit_codes
from daemonry.cli.parser import parser_of
from palingenesis import config_commands, grammar
from palingenesis.resume.entry import SessionEntry
from palingenesis.resume.ledger import Ledger
from palingenesis.resume.states import State
from palingenesis.settings import Settings, with_effect

COMMANDS = (
    "sessions",
    "why",
    "agents",
    "now",
    "skip",
    "abort",
    "hold",
    "release",
    "new-session",
    "daemon",
    "status",
    "pause",
    "resume",
    "logs",
    "config",
    "completion",
)


# --- help, version, usage -----------------------------------------------------------------------


def test_help_lists_all_commands(app):
    told = app.done("--help")
    for command in COMMANDS:
        assert re.search(rf"(?m)^ +{command}\b", told), command
    assert "exit codes:" in told


def test_help_of_daemon_and_config_lists_their_commands(app):
    for group, expected in {
        "daemon": ("start", "stop", "restart", "reload", "status"),
        "config": ("init", "show", "validate"),
    }.items():
        told = app.done(group, "--help")
        for command in expected:
            assert re.search(rf"(?m)^ +{command}\b", told), (group, command)


def test_version_is_semver(app):
    assert re.fullmatch(r"palingenesis \d+\.\d+\.\d+\n", app.done("--version"))
    assert palingenesis.__version__ in app.done("--version")


def test_no_command_and_no_session_says_where_to_go_on(app):
    assert app.done().splitlines() == [
        "no session has changed in the last 8 days",
        "try palingenesis agents, which shows where it looks for them, or palingenesis --help",
    ]


def test_python_m_is_the_same_command(app, sandbox):
    import sys

    assert sandbox.run(sys.executable, "-m", "palingenesis", "--help").out == app.done("--help")


@pytest.mark.parametrize(
    "words",
    [
        ["bogus"],
        ["daemon"],
        ["daemon", "bogus"],
        ["config"],
        ["status", "bogus"],
        ["status", "--bogus"],
        ["pause", "--timeout", "0"],
        ["pause", "--timeout", "soon"],
        ["daemon", "start", "--timeout", "-1"],
        ["logs", "--tail", "few"],
        ["completion", "csh"],
        ["config", "show", "--section", "monitorin"],
        ["bo\x1bgus\n"],
    ],
)
def test_wrong_usage_is_one_clear_line_and_exit_code_2(app, words):
    ended = app(*words)
    assert (ended.code, ended.out) == (exit_codes.USAGE, "")
    assert ended.err.startswith("palingenesis")
    assert ended.err.count("\n") == 1
    assert "\x1b" not in ended.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["daemon", "start"], {"foreground": False}),
        (["daemon", "start", "--foreground"], {"foreground": True}),
        (["daemon", "start", "-f"], {"foreground": True}),
        (["daemon", "stop", "--force"], {"verb": "daemon stop", "force": True}),
        (["daemon", "restart"], {"verb": "daemon restart"}),
        (["daemon", "reload", "--json"], {"verb": "daemon reload", "json": True}),
        (["daemon", "status", "--json"], {"verb": "daemon status", "json": True}),
        (["status"], {"verb": "status", "json": False, "timeout": None}),
        (["status", "--timeout", "2.5"], {"timeout": 2.5}),
        (["pause"], {"verb": "pause"}),
        (["resume"], {"verb": "resume"}),
        (["logs"], {"follow": False, "tail": None, "since": None}),
        (["logs", "-f"], {"follow": True}),
        (["logs", "--follow"], {"follow": True}),
        (["logs", "-t", "0"], {"tail": 0}),
        (["logs", "--tail", "50"], {"tail": 50}),
        (["logs", "-s", "1h"], {"since": "1h"}),
        (["logs", "--since", "30m"], {"since": "30m"}),
        (["config", "init"], {"force": False, "path": None}),
        (["config", "init", "--force", "--path", "/x"], {"force": True, "path": "/x"}),
        (["config", "show", "--json", "--section", "daemon"], {"json": True, "section": "daemon"}),
        (["config", "validate", "--path", "/x"], {"path": "/x"}),
        (["completion", "fish"], {"shell": "fish"}),
    ],
)
def test_arguments_are_understood(arguments, expected):
    given = vars(parser_of(grammar.PALINGENESIS).parse_args(arguments))
    assert expected.items() <= given.items()


# --- nobody there -------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["pause"], ["resume"], ["daemon", "reload"]])
def test_a_command_to_nobody_says_so_and_exits_3(app, words):
    assert app(*words) == (exit_codes.NOT_RUNNING, "", "palingenesis: not running\n")


@pytest.mark.parametrize("words", [["status"], ["daemon", "status"]])
def test_status_of_nobody_is_one_line_and_exit_code_3(app, words):
    assert app(*words) == (exit_codes.NOT_RUNNING, "palingenesis: not running\n", "")
    ended = app(*words, "--json")
    assert (ended.code, ended.json()) == (3, {"state": "absent", "name": "palingenesis"})


def test_stopping_nobody_is_done_already(app):
    assert app.done("daemon", "stop") == "palingenesis: not running\n"


def test_no_log_yet_is_said_and_is_no_failure(app):
    ended = app("logs")
    assert (ended.code, ended.out) == (0, "")
    assert "no log yet" in ended.err


@pytest.mark.parametrize("variable", ["PALINGENESIS_STATE", "PALINGENESIS_RUNTIME"])
def test_a_variable_that_is_no_absolute_path_is_told(app, variable):
    app.sandbox.env[variable] = "relative"
    ended = app("status")
    del app.sandbox.env[variable]
    assert (ended.code, ended.err) == (1, f"relative: {variable} must be an absolute path\n")


# --- config -------------------------------------------------------------------------------------


def test_what_names_a_file_shows_no_control_character_of_its_path(tmp_path, capsys):
    path = str(tmp_path / "e\x1b[31m/\udcff.toml")
    shown = f"{tmp_path}/e\\x1b[31m/\\xff.toml"
    assert config_commands.init(path, force=False) == 0
    assert config_commands.validate(path) == 0
    assert capsys.readouterr().out == f"{shown}: written\n{shown}: valid\n"


def test_config_init_writes_a_private_file_that_is_valid(app):
    assert app.done("config", "init") == f"{app.config_path}: written\n"
    assert stat.S_IMODE(app.config_path.stat().st_mode) == 0o600
    assert stat.S_IMODE(app.config_path.parent.stat().st_mode) == 0o700
    assert app.done("config", "validate") == f"{app.config_path}: valid\n"


def test_config_init_keeps_a_file_that_is_there_unless_forced(app):
    app.config("# mine\n")
    refused = app("config", "init")
    assert (refused.code, refused.err) == (
        1,
        f"{app.config_path}: there is one already; --force overwrites it\n",
    )
    assert app.config_path.read_text() == "# mine\n"
    app.done("config", "init", "--force")
    assert app.config_path.read_text().startswith("# palingenesis: configuration.")
    assert stat.S_IMODE(app.config_path.stat().st_mode) == 0o600


def test_config_init_forced_writes_through_a_link(app):
    """A configuration kept in a repository of dot files stays there."""
    kept = app.sandbox.write("dotfiles/palingenesis.toml", "# mine\n")
    app.config_path.parent.mkdir(parents=True)
    app.config_path.symlink_to(kept)
    app.done("config", "init", "--force")
    assert app.config_path.is_symlink()
    assert kept.read_text().startswith("# palingenesis: configuration.")


def test_config_init_goes_where_it_is_told(app):
    path = app.sandbox.path / "x/y/c.toml"
    app.done("config", "init", "--path", str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    app.done("config", "validate", "--path", str(path))


def test_config_init_that_cannot_write_says_why(app):
    app.sandbox.write("file", "")
    path = app.sandbox.path / "file/c.toml"
    ended = app("config", "init", "--path", str(path))
    assert ended.code == 1
    assert ended.err.startswith(f"{path}: cannot be written: ")
    assert ended.err.count("\n") == 1


def test_config_init_on_a_full_disk_leaves_nothing(app, tiny_disk):
    with pytest.raises(OSError, match="No space"):
        (tiny_disk / "fill").write_bytes(b"\0" * 2**20)
    path = tiny_disk / "c.toml"
    ended = app("config", "init", "--path", str(path))
    assert (ended.code, ended.err) == (1, f"{path}: cannot be written: No space left on device\n")
    assert [found.name for found in tiny_disk.iterdir()] == ["fill"]


def test_config_show_prints_what_is_in_force_as_toml(app):
    app.config('monitoring.session_dir = "/tmp/\\"ü\\u007f\\\\"\nmonitoring.debounce_ms = 250\n')
    shown = app.done("config", "show")
    assert shown.startswith(f"# {app.config_path}\n")
    expected = with_effect(Settings())
    expected["monitoring"] |= {"session_dir": '/tmp/"ü\x7f\\', "debounce_ms": 250}
    assert tomllib.loads(shown) == expected
    assert app("config", "show", "--json").json() == expected


def test_config_show_without_a_file_shows_the_defaults(app):
    shown = app.done("config", "show", "--section", "monitoring")
    assert shown.startswith(f"# no file at {app.config_path}: the defaults\n")
    assert tomllib.loads(shown) == {"monitoring": with_effect(Settings())["monitoring"]}


def test_config_show_tells_what_does_nothing(app):
    app.config("[mcp]\nenabled = true\n")
    assert "# mcp has no effect:" in app.done("config", "show")


@pytest.mark.parametrize("words", [["config", "validate"], ["config", "show"], ["daemon", "start"]])
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[monitoring\n", "1:12: not TOML"),
        (
            "[monitoring]\ndebounce = 1\n",
            "2:1: monitoring.debounce: is not known: did you mean 'debounce_ms'?",
        ),
        ("[monitoring]\ndebounce_ms = 1\n", "2:1: monitoring.debounce_ms: expected `int` >= 10"),
    ],
)
def test_a_config_that_cannot_be_used_is_one_line_everywhere(app, words, text, complaint):
    app.config(text)
    ended = app(*words)
    assert (ended.code, ended.out) == (1, "")
    assert f"{app.config_path}:{complaint}" in ended.err
    assert ended.err.count("\n") == 1


def test_config_validate_of_no_file(app):
    assert "the defaults are used" in app.done("config", "validate")
    ended = app("config", "validate", "--path", "/nowhere.toml")
    assert (ended.code, ended.err) == (1, "/nowhere.toml: there is no such file\n")


def test_the_variable_names_the_config_file(app):
    path = app.sandbox.write("elsewhere.toml", "monitoring.debounce_ms = 50\n")
    app.sandbox.env["PALINGENESIS_CONFIG"] = str(path)
    assert app("config", "show", "--json").json()["monitoring"]["debounce_ms"] == 50


# --- completion ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("da", "daemon"),
        ("daemon re", "reload restart"),
        ("daemon start --f", "--foreground"),
        ("daemon start --json --t", "--timeout"),
        ("config show --s", "--section"),
        ("config show --section mon", "monitoring"),
        ("completion f", "fish"),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_completes(app, shell, line, expected):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: its completion was not tried")
    quoted = " ".join(f"'{word}'" for word in ("palingenesis", *line.split()))
    asking = {
        "bash": f"""
            source <(palingenesis completion bash); compopt() {{ :; }}
            COMP_WORDS=({quoted}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _palingenesis
            printf '%s\\n' "${{COMPREPLY[@]}}" """,
        "zsh": f"""
            compdef() {{ : }}; source <(palingenesis completion zsh); _files() {{ : }}
            compadd() {{ while [[ $1 != -- ]]; do shift; done; shift; for one; do print -r -- $one; done }}
            words=({quoted}) CURRENT=$#words; _palingenesis""",
        "fish": f"""palingenesis completion fish | source; complete -C "palingenesis {line}" """,
    }[shell]
    command = app.sandbox.write(
        "bin/palingenesis", f'#!/bin/sh\nexec "{sys.executable}" -m palingenesis "$@"\n'
    )
    command.chmod(0o755)
    app.sandbox.env["PATH"] = f"{command.parent}:{app.sandbox.env['PATH']}"
    alone = {"bash": "--norc", "zsh": "-f", "fish": "-N"}[shell]
    done = app.sandbox.run(shell, alone, "-c", asking)
    assert (sorted(done.out.split()), done.err) == (expected.split(), "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_for_each_shell(app, shell):
    assert "palingenesis" in app.done("completion", shell)


def test_completion_offers_the_sessions_that_the_daemon_knows_the_latest_first(app):
    assert app("_complete", "now", "").code == 64  # none: the shell offers files, which name a session too
    app.state_dir.mkdir(parents=True, mode=0o700)
    ledger = Ledger(str(app.state_dir), 0.0)
    ledger.keep(
        *(
            SessionEntry(f"claude:{one}", "claude", one, "/x", "/", "a", State.STOPPED, since_s)
            for one, since_s in (("old-1", 1.0), ("new-2", 2.0))
        )
    )
    ledger.close()
    assert app.done("_complete", "now", "").split() == ["new-2", "old-1"]
    assert app.done("_complete", "why", "o").split() == ["old-1"]
