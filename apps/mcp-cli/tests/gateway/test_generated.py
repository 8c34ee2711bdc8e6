"""Generated modules and commands, run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
import typing

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


TREE = {
    "name": "plant-tree",
    "inputSchema": {
        "type": "object",
        "properties": {
            "tree": {"$ref": "#/$defs/Tree"},
            "where": {
                "type": "object",
                "properties": {"a-b": {"type": "integer"}, "str": {"type": "string"}},
            },
        },
        "required": ["tree"],
        "$defs": {
            "Tree": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "under": {"type": "array", "items": {"$ref": "#/$defs/Tree"}},
                },
                "required": ["name"],
            }
        },
    },
    "outputSchema": {
        "type": "object",
        "properties": {"height": {"type": "number"}, "class": {"type": "string"}},
        "required": ["height"],
    },
}


def test_objects_of_the_input_and_the_output_have_their_fields(monkeypatch):
    """Also one that holds itself, and names that no class can have."""
    text = generate.module("garden", [TREE])
    for part in (
        "class PlantTreeTree(TypedDict):\n    name: str\n    under: NotRequired[list[PlantTreeTree]]\n",
        "PlantTreeWhere = TypedDict(\n    'PlantTreeWhere',\n    {\n        'a-b': 'NotRequired[int]',\n",
        "        'str': 'NotRequired[str]',\n",
        "class PlantTreeInput(TypedDict):\n    tree: PlantTreeTree\n    where: NotRequired[PlantTreeWhere]\n",
        "'height': 'float',\n        'class': 'NotRequired[str]',",
        "    tree: PlantTreeTree,\n    where: PlantTreeWhere | None = None,\n) -> Result[PlantTreeOutput]:",
        "from typing import NotRequired, TypedDict\n",
    ):
        assert part in text, (part, text)
    made = types.ModuleType("garden")
    monkeypatch.setitem(sys.modules, "garden", made)
    exec(compile(text, "garden.py", "exec"), made.__dict__)
    assert typing.get_type_hints(made.PlantTreeInput)["tree"] is made.PlantTreeTree


@pytest.mark.slow
def test_a_generated_module_calls_through_the_daemon(app):
    made = app("generate", "fake", "-o", "fake_tools.py")
    assert made.code == 0, made
    ended = app.python("import fake_tools; print(fake_tools.echo(text='x').text, fake_tools.slow(n=0.1))")
    assert (ended.returncode, ended.stdout) == (0, "x done\n"), ended


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("n: int = fake_tools.typed().structured['n']", 0),
        ("n: str = fake_tools.typed().structured['n']", 1),
        ("n = fake_tools.typed().structured['m']", 1),
    ],
)
def test_a_generated_module_passes_a_strict_type_checker(app, said, code):
    assert app("generate", "fake", "--command", "-o", "fake_tools.py").code == 0
    app.sandbox.write("uses.py", f"import fake_tools\n{said}\n")
    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--cache-dir",
            app.sandbox.path,
            "fake_tools.py",
            "uses.py",
        ],
        cwd=app.sandbox.path,
        capture_output=True,
        text=True,
        env=app.sandbox.env,
        check=False,
    )
    assert checked.returncode == code, checked.stdout


@pytest.mark.slow
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
