"""`mcp-cli generate`: a typed Python module with a function for each tool of a server, or a command.

Owns the text that is generated.  A module calls through `mcp_cli.connect()`, so through the daemon; as a
command it has a subcommand for each tool, its parameters as options, and completion for the shell.
"""

from __future__ import annotations

import builtins
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Container, Iterable, Mapping
from typing import Any

from daemonry import errors, write_atomically
from daemonry.cli import kit
from daemonry.terminal_text import printable, shown
from mcp_cli.client.api import Servers, python_name
from mcp_cli.client.options import Options
from mcp_cli.gateway import skill
from mcp_cli.gateway.python_types import Classes, type_of
from mcp_cli.names import NAME, __version__
from mcp_cli.pool import arguments

# What a generated module uses itself: of what its functions and its command call, nothing is a tool's.
_RESERVED = frozenset(
    (
        *dir(builtins),
        *("annotations", "Any", "Callable", "Literal", "NotRequired", "Result", "TypedDict"),
        *("atexit", "connect", "main"),
        *("_COMPLETION", "_PROGRAM", "_TOOLS", "_complete", "_given", "_read", "_reader", "_servers"),
    )
)
# A parameter hides a name of Python in its own function only, which needs no more than these.
_RESERVED_PARAMETERS = frozenset(("_given", "_servers"))
WIDTH = 100
# Linux before 5.1 cut the line at 127 characters.
MAX_SHEBANG = 125


def run(options: Options, server: str, path: str | None, standalone: bool, *, as_skill: bool = False) -> int:
    """Write the module of a server and return the exit code.

    Args:
        options: which configuration, which mode.
        server: the server's name.
        path: the file that is written; None or "-" for standard output.
        standalone: whether it is a command too.
        as_skill: whether it is a SKILL.md instead.
    """
    from mcp_cli.client import failures

    try:
        with Servers(options) as servers:
            tools = servers.listed("Tools", server)
            if as_skill:
                text = skill.skill(server, _listed(tools), _words(options))
            else:
                text = module(server, tools, _connection(options), standalone=standalone)
    except errors.DaemonryError as error:
        return failures.tell(error, options, server)
    if path in (None, "-"):
        sys.stdout.write(text)
        return kit.DONE
    assert path is not None
    try:
        write_atomically(os.path.abspath(path), text.encode(), mode=0o755 if standalone else 0o644)
    except OSError as error:
        kit.complain(f"{NAME}: {path} cannot be written: {error.strerror}")
        return kit.FAILED
    kit.say(f"{path}: {len(tools)} tools of {server}")
    return kit.DONE


def _connection(options: Options) -> str:
    """Return the arguments of `connect` that lead to the same servers."""
    given = {
        "config": os.path.abspath(options.config) if options.config else None,
        "stdio": options.stdio,
        "url": options.url,
    }
    return ", ".join(f"{name}={value!r}" for name, value in given.items() if value)


def _words(options: Options) -> str:
    """Return the options that lead a command to the same servers."""
    given = [
        ("-c", os.path.abspath(options.config) if options.config else None),
        ("--stdio", options.stdio),
        ("--url", options.url),
    ]
    return "".join(f" {option} {shlex.quote(value)}" for option, value in given if value)


def module(
    server: str,
    tools: Iterable[Mapping[str, Any]],
    connection: str = "",
    *,
    standalone: bool = False,
    reached: str | None = None,
) -> str:
    """Return the text of a server's module.

    Args:
        server: its name.
        tools: as it lists them.
        connection: the arguments of `mcp_cli.connect`, as Python.
        standalone: whether it can be run as a command.
        reached: the line that imports `_servers` from elsewhere; None where the module connects by itself.
    """
    tools = _listed(tools)
    names = names_of(tools)
    classes = Classes({*_RESERVED, *names.values()})
    functions = [_function(server, tool, names[tool["name"]], classes) for tool in tools]
    heads = "".join([classes.text, *(one.partition('"""')[0] for one in functions)])
    typing = [
        name
        for name, used in (
            ("Any", standalone or re.search(r"\bAny\b", heads)),
            ("Literal", "Literal[" in heads),
            ("NotRequired", "NotRequired[" in heads),
            ("TypedDict", "TypedDict" in heads),
        )
        if used
    ]
    connected = f"\n_servers = connect({connection})\natexit.register(_servers.close)\n"
    parts = [
        f"#!{_interpreter()}\n" if standalone else "",
        f'"""The tools of the MCP server {_in_doc(server)}.  Made by {NAME} {__version__}."""\n\n',
        "from __future__ import annotations\n\n",
        "import atexit\n" if reached is None else "",
        "from collections.abc import Callable\n" if standalone else "",
        f"from typing import {', '.join(typing)}\n\n" if typing else "\n",
        "from mcp_cli import connect\n" if reached is None else "",
        "from mcp_cli.client.api import Result\n",
        connected if reached is None else f"{reached}\n",
        f"\n__all__ = {sorted(names.values())!a}\n",
        classes.text,
        *functions,
    ]
    if standalone:
        parts.append(_COMMAND.format(tools=_table(tools, names), program=ascii(server)))
    return "".join(parts)


def names_of(tools: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return what each tool is called in a module, by its own name."""
    return _names((str(tool["name"]) for tool in tools), _RESERVED)


def stub(tool: Mapping[str, Any], name: str) -> str:
    """Return the declaration of a tool's function, with the classes that it needs.

    Args:
        tool: as its server lists it.
        name: the function's.
    """
    classes = Classes({*_RESERVED, name})
    head = _head(tool, name, classes)
    return f"{classes.text}{head}\n    ...\n".strip("\n") + "\n"


def _interpreter() -> str:
    """Return the interpreter that runs a command: this one, for another may lack the command's imports."""
    own = sys.executable
    return own if own and len(own) < MAX_SHEBANG and " " not in own else "/usr/bin/env python3"


def _names(given: Iterable[str], reserved: frozenset[str]) -> dict[str, str]:
    """Return each name in Python: its own where it can be, others changed, and numbered where two meet."""
    made = {one: _unreserved(python_name(one), reserved) for one in given}
    taken = {one: one for one, name in made.items() if name == one}
    used = set(taken)
    for one, name in made.items():
        if one in taken:
            continue
        taken[one] = _free(name, used)
        used.add(taken[one])
    return {one: taken[one] for one in made}


def _free(name: str, used: Container[str], between: str = "_") -> str:
    """Return a name that is not used, numbered where it has to be."""
    number, free = 2, name
    while free in used:
        free = f"{name}{between}{number}"
        number += 1
    return free


def _unreserved(name: str, reserved: frozenset[str]) -> str:
    if name.startswith("__") and name.endswith("__"):  # what Python itself looks for, such as __all__
        bare = name.strip("_")
        # The rest may begin with a combining mark, which continues a name and begins none.
        name = f"{bare if bare.isidentifier() else 'tool'}_"
    return f"{name}_" if name in reserved else name


def _listed(tools: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the tools, of those with the same name the first."""
    return list({str(tool["name"]): tool for tool in reversed(list(tools))}.values())[::-1]


def _parameters(schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str], dict[str, str]]:
    """Return a tool's parameters, the required ones, and what each is called in Python, those first."""
    properties = arguments.properties(schema)
    required = [one for one in arguments.required(schema) if one in properties]
    ordered = sorted(properties, key=lambda one: one not in required)
    return properties, required, _names(ordered, _RESERVED_PARAMETERS)


def _options(own: Mapping[str, str], kinds: Mapping[str, str]) -> dict[str, str]:
    """Return the option of each parameter; none is argparse's own or another's."""
    used = {"--help"}
    found = {}
    for one, name in own.items():
        plain = name.strip("_").replace("_", "-") or "value"
        turned_off = kinds[one] == "bool"
        option = f"--{plain}" if f"--{plain}" not in used else f"--arg-{plain}"
        number = 2
        while option in used or (turned_off and f"--no-{option[2:]}" in used):
            option = f"--arg-{plain}-{number}"
            number += 1
        used |= {option, f"--no-{option[2:]}"} if turned_off else {option}
        found[one] = option
    return found


def _commands(tools: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> dict[str, str]:
    """Return what each tool is called on the command line: its name, if that is a word that can be shown."""
    found: dict[str, str] = {}
    for tool in tools:
        name = tool["name"]
        plain = name and not name.startswith("-") and printable(name) == name and " " not in name
        found[name] = _free(name if plain else names[name], found.values(), "-")
    return found


def _function(server: str, tool: Mapping[str, Any], name: str, classes: Classes) -> str:
    _, required, own = _parameters(tool.get("inputSchema") or {})
    body = []
    optional = [one for one in own if one not in required]
    pairs = ", ".join(f"{one!a}: {own[one]}" for one in own if one in required)
    body.append(f"    _given: dict[str, object] = {{{pairs}}}")
    body += [f"    if {own[one]} is not None:\n        _given[{one!a}] = {own[one]}" for one in optional]
    body.append(f"    return _servers.call({server!a}, {tool['name']!a}, _given)\n")
    return _head(tool, name, classes) + "\n" + "\n".join(body)


def _head(tool: Mapping[str, Any], name: str, classes: Classes) -> str:
    """Return a function up to its docstring's end; adds the classes that its types need."""
    schema = tool.get("inputSchema") or {}
    properties, required, own = _parameters(schema)
    classes.begin()
    kinds = {one: classes.parameter(properties[one], schema, name, one) for one in own}
    classes.input(name, [(own[one], kinds[one], one in required) for one in own])
    parameters = []
    for one in own:
        kind = kinds[one]
        if one in required:
            parameters.append(f"{own[one]}: {kind}")
        else:
            kind = kind if kind in ("Any", "None") or kind.endswith("| None") else f"{kind} | None"
            parameters.append(f"{own[one]}: {kind} = None")
    made = classes.output(tool, name)
    returned = "Result" if made in (None, "Any") else f"Result[{made}]"
    head = f"def {name}({'*, ' if parameters else ''}{', '.join(parameters)}) -> {returned}:"
    if len(head) > WIDTH:
        inside = "".join(f"    {one},\n" for one in ["*", *parameters])
        head = f"def {name}(\n{inside}) -> {returned}:"
    return f'\n\n{head}\n    """{_doc(tool, properties, own)}"""'


def _doc(tool: Mapping[str, Any], properties: Mapping[str, Any], own: Mapping[str, str]) -> str:
    text = _in_doc(str(tool.get("description") or tool["name"]).strip())
    lines = textwrap.indent(text, "    ").strip()
    told = []
    for one, name in own.items():
        kind = properties[one]
        said = " ".join(_in_doc(str(kind.get("description") or "")).split()) if isinstance(kind, dict) else ""
        if said:
            told.append(f"        {name}: {said}")
    if not told:
        return lines
    return lines + "\n\n    Args:\n" + "\n".join(told) + "\n    "


def _in_doc(text: str) -> str:
    text = shown(text).replace("\\", "\\\\").replace('"""', "'''")
    return text[:-1] + "'" if text.endswith('"') else text


def _table(tools: list[Mapping[str, Any]], names: Mapping[str, str]) -> str:
    """Return what the command knows of the tools, as Python."""
    lines = []
    commands = _commands(tools, names)
    for tool in tools:
        schema = tool.get("inputSchema") or {}
        properties, required, own = _parameters(schema)
        kinds = {one: type_of(kind, schema) for one, kind in properties.items()}
        options = _options(own, kinds)
        table = {
            own[one]: (
                options[one],
                kinds[one],
                one in required,
                printable(str((kind if isinstance(kind, dict) else {}).get("description") or "")),
            )
            for one, kind in properties.items()
        }
        said = printable(str(tool.get("description") or "").strip().partition("\n")[0])
        name = tool["name"]
        lines.append(f"    {commands[name]!a}: ({names[name]}, {said!a}, {table!a}),\n")
    return "".join(lines)


_COMMAND = '''

# By the tool's command: its function, what it says of itself, and its parameters (option, type, required,
# meaning).
_TOOLS: dict[str, Any] = {{
{tools}}}
_PROGRAM = {program}
_COMPLETION = {{
    "bash": """\\
_{{name}}() {{
    local word
    COMPREPLY=()
    while IFS= read -r word; do
        [[ $word == "${{COMP_WORDS[COMP_CWORD]}}"* ]] && COMPREPLY+=("$(printf %q "$word")")
    done < <("${{COMP_WORDS[0]}}" --complete "${{COMP_WORDS[@]:1:COMP_CWORD}}" 2>/dev/null)
}}
complete -o default -F _{{name}} {{program}}
""",
    "zsh": """\\
#compdef {{program}}
_{{name}}() {{
    local -a found
    found=("${{(@f)$("${{words[1]}}" --complete "${{(@)words[2,CURRENT]}}" 2>/dev/null)}}")
    compadd -- "${{(@)found}}"
}}
compdef _{{name}} {{program}}
""",
    "fish": """\\
complete -c {{program}} -f -a '({{program}} --complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
""",
}}


def _complete(words: list[str]) -> list[str]:
    import ast

    if len(words) <= 1:
        return [*_TOOLS, "--help", "--json", "--completion"]
    if words[0] == "--completion":
        return [*_COMPLETION]
    _, _, parameters = _TOOLS.get(words[0], (None, "", {{}}))
    options = {{option: kind for option, kind, _, _ in parameters.values()}}
    kind = options.get(words[-2], "")
    if kind.startswith("Literal["):
        return [str(value) for value in ast.literal_eval(kind.removeprefix("Literal"))]
    return [*options]


def _read(text: str, kind: str) -> Any:
    import json

    if kind == "str" or (kind.startswith("Literal") and repr(text) in kind):
        return text
    try:
        return json.loads(text)
    except ValueError:
        if "str" in kind or kind == "Any":
            return text
        raise


def _reader(kind: str) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        return _read(text, kind)

    read.__name__ = kind  # argparse names it to who writes something else
    return read


def main() -> int:
    import argparse
    import sys

    from daemonry.errors import DaemonryError
    from daemonry.terminal_text import for_stream, json_for_stream
    from mcp_cli.client import failures
    from mcp_cli.client.api import ToolFailed
    from mcp_cli.client.options import Options

    if sys.argv[1:2] == ["--complete"]:
        print("\\n".join(_complete(sys.argv[2:])))
        return 0
    if sys.argv[1:2] == ["--completion"]:
        import os
        import re
        import shlex

        program = os.path.basename(sys.argv[0])
        name = re.sub(r"\\W", "_", program)
        text = _COMPLETION.get((sys.argv[2:] or ["bash"])[0], "")
        if not text:
            print(f"{{program}}: --completion bash, zsh or fish", file=sys.stderr)
            return 2
        print(text.replace("{{name}}", name).replace("{{program}}", shlex.quote(program)), end="")
        return 0
    parser = argparse.ArgumentParser(description=f"The tools of the MCP server {{_PROGRAM}}.")
    parser.add_argument("--json", action="store_true", help="print the result as the server sent it")
    parser.add_argument(
        "--completion", nargs="?", metavar="SHELL", help="print a completion script for bash, zsh or fish"
    )
    tools = parser.add_subparsers(dest="tool", metavar="TOOL", required=True)
    for tool, (_, said, parameters) in _TOOLS.items():
        own = tools.add_parser(tool, help=said.replace("%", "%%"), description=said.replace("%", "%%"))
        for name, (option, kind, required, meaning) in parameters.items():
            if kind == "bool":
                own.add_argument(
                    option, dest="p_" + name, action=argparse.BooleanOptionalAction, required=required,
                    help=meaning.replace("%", "%%"),
                )
                continue
            own.add_argument(
                option, dest="p_" + name, type=_reader(kind), required=required,
                # argparse cannot break a usage line at what has brackets in it.
                metavar=kind if kind.isidentifier() else "VALUE",
                help=f"{{meaning}} ({{kind}})".strip().replace("%", "%%"),
            )
    given = vars(parser.parse_args())
    function = _TOOLS[given["tool"]][0]
    arguments = {{
        name[2:]: value for name, value in given.items() if name.startswith("p_") and value is not None
    }}
    try:
        result = function(**arguments)
    except ToolFailed as error:
        print(for_stream(str(error), sys.stderr), file=sys.stderr)
        return 1
    except DaemonryError as error:
        return failures.tell(error, Options(), _PROGRAM, given["tool"])
    if given["json"]:
        print(json_for_stream(result.raw, sys.stdout))
    else:
        print(for_stream(result.text, sys.stdout))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
'''
