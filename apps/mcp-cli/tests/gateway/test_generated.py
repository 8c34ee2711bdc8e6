"""Generated modules and commands, run."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from mcp_cli.gateway import generate

ODD = {
    "name": "do-it",
    "description": 'Does "it"\\',
    "inputSchema": {
        "type": "object",
        "properties": {
            "class": {"type": "string", "description": "Which"},
            "mode": {"enum": ["a", "b"]},
            "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
            "n": {"type": ["integer", "null"]},
            "either": {"anyOf": [{"type": "string"}, {"type": "number"}]},
            "extra": {"type": "object", "additionalProperties": {"type": "boolean"}},
            "_given": {"type": "string"},
        },
        "required": ["class"],
        "$defs": {"tag": {"type": "string"}},
    },
}


def test_a_generated_module_says_the_types_of_the_schemas():
    text = generate.module(
        "serv", [ODD, {"name": "do_it", "inputSchema": {"type": "object"}}], standalone=True
    )
    compile(text, "serv.py", "exec")
    for line in (
        "    class_: str,",
        "    mode: Literal['a', 'b'] | None = None,",
        "    tags: list[str] | None = None,",
        "    n: int | None = None,",
        "    either: str | float | None = None,",
        "    extra: dict[str, bool] | None = None,",
        "    _given_: str | None = None,",
        "    return _servers.call('serv', 'do-it', _given)",
        "def do_it() -> Result:",
    ):
        assert line in text, (line, text)


def test_a_generated_module_calls_through_the_daemon(app):
    made = app("generate", "fake", "-o", "fake_tools.py")
    assert made.code == 0, made
    ended = app.python("import fake_tools; print(fake_tools.echo(text='x').text, fake_tools.slow(n=0.1))")
    assert (ended.returncode, ended.stdout) == (0, "x done\n"), ended


@pytest.mark.slow
def test_a_generated_module_passes_a_strict_type_checker(app):
    assert app("generate", "fake", "--command", "-o", "fake_tools.py").code == 0
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", app.sandbox.path, "fake_tools.py"],
        cwd=app.sandbox.path,
        capture_output=True,
        text=True,
        env=app.sandbox.env,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_a_generated_command_has_options_and_completion(app):
    made = app("generate", "fake", "--command", "-o", "fake-tools")
    assert made.code == 0, made
    path = app.sandbox.path / "fake-tools"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, path, *words],
            env=app.sandbox.env,
            cwd=app.sandbox.path,
            capture_output=True,
            text=True,
            check=False,
        )

    assert os.access(path, os.X_OK)
    assert run("echo", "--text", "hé").stdout == "hé\n"
    assert run("fail").returncode == 1
    assert "required" in run("echo").stderr
    assert "echo" in run("--complete", "ec").stdout.split()
    assert run("--complete", "slow", "--").stdout.split() == ["--n", "--progress"]
    assert run("--complete", "--completion", "").stdout.split() == ["bash", "zsh", "fish"]
    assert "complete -o default -F _fake_tools fake-tools" in run("--completion").stdout
    assert "compdef _fake_tools fake-tools" in run("--completion", "zsh").stdout
    assert "complete -c fake-tools" in run("--completion", "fish").stdout
    assert run("--completion", "tcsh").returncode == 2
    wrong = run("slow", "--n", "soon")
    assert wrong.returncode == 2
    assert "argument --n: invalid float value: 'soon'" in wrong.stderr
    assert path.read_text().startswith(f"#!{sys.executable}\n")
    assert json.loads(run("--json", "typed", "--right").stdout)["structuredContent"] == {"n": 1}
