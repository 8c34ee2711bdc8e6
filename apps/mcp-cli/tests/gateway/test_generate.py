"""`mcp-cli generate` for servers whose names and words are chosen to break Python, argparse or a terminal."""

from __future__ import annotations

import ast
import builtins
import json
import keyword
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daemonry.terminal_text import is_unsafe
from mcp_cli.gateway import generate

SERVER = Path(__file__).parents[1] / "odd_server.py"
EVIL = "\x1b]0;title\x07 \x9b2J \u202egnp.exe \u2066x \U000e0041 \udcff \"\"\" ''' \\ {0} %s %(prog)s \0"


def tool(
    name: str, description: str = "", required: tuple[str, ...] = (), /, **parameters: Any
) -> dict[str, Any]:
    schema = {"type": "object", "properties": parameters, "required": list(required)}
    return {"name": name, "description": description, "inputSchema": schema}


TEXT = {"type": "string"}
# Each tool, and what it is called in Python.
NAMES = {
    "print": "print_",
    "len": "len_",
    "vars": "vars_",
    "repr": "repr_",
    "str": "str_",
    "dict": "dict_",
    "a²": "a2",
    "ﬁ": "fi_2",
    "fi": "fi",
    "x·y": "x·y",
    "class": "class_",
    "None": "None_",
    "match": "match",
    "__all__": "all_",
    "__debug__": "debug_",
    "____": "tool_",
    "do-it": "do_it_2",
    "do.it": "do_it_3",
    "do_it": "do_it",
    "main": "main_",
    "connect": "connect_",
    "annotations": "annotations_",
    "_servers": "_servers_",
    "😀": "_",
    "2nd": "_2nd",
    "-x": "_x",
    "--help": "__help",
    "with space": "with_space",
    "\x1b[31mred\u202e": "__31mred_",
}
TOOLS = [tool(name, EVIL, text={**TEXT, "description": EVIL}) for name in NAMES]
PARAMETERS = tool(
    "params",
    "Takes much",
    ("help", "self"),
    help=TEXT,
    self=TEXT,
    json=TEXT,
    tool=TEXT,
    x={"type": "boolean"},
    no_x={"type": "boolean"},
    **{
        "class": TEXT,
        "a-b": TEXT,
        "a_b": TEXT,
        "a.b": TEXT,
        "print": TEXT,
        "__debug__": TEXT,
        "_given": TEXT,
        "_servers": TEXT,
        "ﬁ": TEXT,
        "\x1b[2J": TEXT,
        "mode": {"enum": ["\u202ea", "b"]},
        "tags": {"type": "array", "items": TEXT},
        "😀": TEXT,
    },
)


def test_each_tool_has_a_name_that_python_takes_and_the_module_does_not_need() -> None:
    text = generate.module("odd", TOOLS, standalone=True)
    functions = [one.name for one in ast.parse(text).body if isinstance(one, ast.FunctionDef)]
    assert functions[: len(NAMES)] == list(NAMES.values())


def test_the_source_has_no_character_that_a_terminal_acts_upon() -> None:
    text = generate.module(f"odd{EVIL}", [*TOOLS, PARAMETERS], standalone=True)
    assert [hex(ord(char)) for char in text if char != "\n" and is_unsafe(ord(char))] == []


def test_a_tool_that_is_listed_twice_is_there_once() -> None:
    text = generate.module("odd", [tool("a", "first"), tool("b"), tool("a", "second")], standalone=True)
    compile(text, "odd.py", "exec")
    assert (text.count("def a("), text.count("def a_2("), "first" in text) == (1, 0, True)


_ANY_NAME = st.text(max_size=8) | st.sampled_from([*dir(builtins), *keyword.kwlist, *generate._RESERVED])


@given(st.lists(_ANY_NAME, max_size=5), st.lists(_ANY_NAME, max_size=5), st.text())
@example(["a"], ["name", "description", "required"], "")
@example([""], [":\u00b4::"], "")  # an accent that stands alone is a space and a combining mark in NFKC
def test_any_names_and_words_make_a_module(names: list[str], parameters: list[str], words: str) -> None:
    tools = [
        tool(name, words, **{one: {**TEXT, "description": words} for one in parameters}) for name in names
    ]
    text = generate.module(words, tools, standalone=True)
    module = ast.parse(text.encode())
    functions = [one.name for one in module.body if isinstance(one, ast.FunctionDef)]
    assert len(functions) == len(set(functions))
    assert not set(functions) & set(dir(builtins))
    compile(module, "any.py", "exec")


class Generated:
    """A generated module, as a program that uses it and as a command."""

    def __init__(self, app: Any, tools: list[dict[str, Any]]) -> None:
        listed = app.sandbox.write("tools.json", json.dumps(tools))
        app.servers(odd={"transport": {"args": [str(SERVER), str(listed)]}})
        self._app = app
        made = app("generate", "odd", "--command", "-o", "odd_tools.py")
        assert (made.code, made.err) == (0, ""), made

    def python(self, *words: str) -> str:
        ended = subprocess.run(
            [sys.executable, *words],
            env={**self._app.sandbox.env, "PYTHONIOENCODING": "utf-8"},
            cwd=self._app.sandbox.path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, ""), ended
        return ended.stdout

    def command(self, *words: str) -> Any:
        return json.loads(self.python("odd_tools.py", *words))


def test_every_tool_can_be_imported_and_called(app: Any) -> None:
    generated = Generated(app, [one for one in TOOLS if "\x1b" not in one["name"]])
    names = {name: made for name, made in NAMES.items() if "\x1b" not in name}
    calls = "".join(f"print(odd_tools.{made}(text='t').text)\n" for made in names.values())
    said = generated.python("-c", "import odd_tools\nfrom odd_tools import *\n" + calls)
    assert [json.loads(line) for line in said.splitlines()] == [{"tool": name, "text": "t"} for name in names]


@pytest.mark.slow
def test_the_command_shows_its_help_and_calls_each_tool(app: Any) -> None:
    generated = Generated(app, [*TOOLS, PARAMETERS])
    shown = generated.python("odd_tools.py", "--help")
    assert [char for char in shown if char != "\n" and is_unsafe(ord(char))] == []
    for name in ("print", "len", "vars", "repr", "str", "a²", "ﬁ", "fi", "__all__"):
        assert generated.command(name, "--text", "t") == {"tool": name, "text": "t"}
    assert generated.command("_x", "--text", "t") == {"tool": "-x", "text": "t"}
    shown = generated.python("odd_tools.py", "print", "--help")
    assert [char for char in shown if char != "\n" and is_unsafe(ord(char))] == []


def test_parameters_that_argparse_or_another_parameter_has_are_options_too(app: Any) -> None:
    generated = Generated(app, [PARAMETERS])
    shown = generated.python("odd_tools.py", "params", "--help")
    assert "--arg-help" in shown
    given_ = {
        "--arg-help": ("help", "1"),
        "--self": ("self", "2"),
        "--json": ("json", "3"),
        "--tool": ("tool", "4"),
        "--class": ("class", "5"),
        "--a-b": ("a_b", "6"),
        "--a-b-2": ("a-b", "7"),
        "--a-b-3": ("a.b", "8"),
        "--debug": ("__debug__", "9"),
        "--given": ("_given", "10"),
        "--servers": ("_servers", "11"),
        "--fi": ("ﬁ", "12"),
        "--2J": ("\x1b[2J", "13"),
        "--print": ("print", "14"),
    }
    words = [word for option, (_, value) in given_.items() for word in (option, value)]
    said = generated.command("params", *words, "--x", "--no-arg-no-x", "--tags", '["t"]')
    assert said == {
        "tool": "params",
        "x": True,
        "no_x": False,
        "tags": ["t"],
        **dict(given_.values()),
    }


@pytest.mark.parametrize("kind", ["completion", "complete"])
@pytest.mark.slow
def test_completion_knows_the_options(app: Any, kind: str) -> None:
    generated = Generated(app, [PARAMETERS])
    if kind == "complete":
        assert "--arg-help" in generated.python("odd_tools.py", "--complete", "params", "--").split()
    else:
        assert "complete -o default" in generated.python("odd_tools.py", "--completion")


def test_a_generated_completion_offers_choices_as_they_are_and_runs_none(tmp_path: Path) -> None:
    """A server's words reach a shell that is about to be typed into."""
    choices = ["a b", f"$(touch {tmp_path}/ran)", "*", "plain"]
    schema = {"type": "object", "properties": {"c": {"enum": choices}}}
    command = tmp_path / "made"
    command.write_text(generate.module("s", [{"name": "pick", "inputSchema": schema}], standalone=True))
    command.chmod(0o755)
    script = (
        f'source <("{command}" --completion bash)\n'
        f'COMP_WORDS=("{command}" pick --c ""); COMP_CWORD=3; _made; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["a\\ b", f"\\$\\(touch\\ {tmp_path}/ran\\)", "\\*", "plain"]
    assert not (tmp_path / "ran").exists()
