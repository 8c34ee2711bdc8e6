"""What the pages draw from the code, so that it cannot go stale.

Owns the drawings; `check` puts them into the pages and complains where one is old.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from cures import CURES

from daemonry import errors
from daemonry.cli import commands, exit_codes, grammar
from daemonry.daemon import lifecycle
from daemonry.home import child
from daemonry.jobs import states as job_states
from daemonry.runtime import in_process, runner, stages
from daemonry.service.server.varlink import state as connection_state
from daemonry.wire import connection, text
from mcp_cli.cli import grammar as mcp_grammar
from mcp_cli.pool import server_state
from palingenesis import grammar as palingenesis_grammar
from palingenesis.resume import states
from vx.cli import grammar as vx_grammar

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = ROOT / "src/daemonry"


class CannotBeDrawn(ValueError):
    """The code does not have the form that a drawing shows; the text says where."""


def exit_code_table() -> str:
    """Return the exit codes, one a line."""
    return "\n".join(
        ["code  meaning", *(f"{code:<4}  {meaning}" for code, meaning in exit_codes.MEANINGS.items())]
    )


def house() -> str:
    """Return every module with what its docstring's first line says; P marks the pure ones."""
    pure = _contract("pure modules")["source_modules"]
    lines = ["src/daemonry/"]
    for path in sorted(SOURCE.rglob("*.py"), key=lambda path: (path.parent != SOURCE, str(path))):
        parts = path.relative_to(SOURCE).parts
        if parts[-1] == "__init__.py" and len(parts) > 1:
            lines.append(f"  {parts[-2] + '/':<30}  {_first_line(path)}")
            continue
        module = ".".join(("daemonry", *parts)).removesuffix(".py")
        mark = "P" if any(module == name or module.startswith(name + ".") for name in pure) else " "
        lines.append(f"  {'  ' * (len(parts) - 1) + parts[-1]:<30}{mark} {_first_line(path)}")
    return "\n".join(lines)


def rooms(package: str, source: str) -> str:
    """Return the folders and single files of a program on floors, the uppermost first.

    Each needs only what is below it; what it needs is named behind the arrow.

    Raises:
        CannotBeDrawn: some of them need each other, so that none can be below the rest.
    """
    root = ROOT / source / package
    needs = {path.stem: _needs(path, package) for path in root.iterdir() if _is_room(path)}
    needs = {name: {one for one in needed if one in needs} - {name} for name, needed in needs.items()}
    floors: list[list[str]] = []
    done: set[str] = set()
    while left := sorted(needs.keys() - done):
        floor = [name for name in left if needs[name] <= done]
        if not floor:
            raise CannotBeDrawn(f"{package}: a circle of imports: {' -> '.join(_circle(needs, left, done))}")
        floors.append(floor)
        done.update(floor)
    lines = [f"{source}/{package}/"]
    for floor in reversed(floors):
        for name in floor:
            path = root / name
            first = _first_line(path / "__init__.py" if path.is_dir() else path.with_suffix(".py"))
            below = f"  -> {', '.join(sorted(needs[name]))}" if needs[name] else ""
            lines.append(f"  {name + ('/' if path.is_dir() else '.py'):<20}  {first}{below}")
        lines.append("")
    return "\n".join(lines[:-1])


def _circle(needs: dict[str, set[str]], left: list[str], done: set[str]) -> list[str]:
    """Return a circle, its first name again at its end; each of `left` needs another of them."""
    way = [left[0]]
    while way[-1] not in way[:-1]:
        way.append(min(needs[way[-1]] - done))
    return way[way.index(way[-1]) :]


def _is_room(path: Path) -> bool:
    return (path / "__init__.py").exists() or (path.suffix == ".py" and not path.stem.startswith("__"))


def _needs(room: Path, package: str) -> set[str]:
    """Return the rooms of the package that a folder or file imports, anywhere in it."""
    found = set()
    for path in sorted(room.rglob("*.py")) if room.is_dir() else [room]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            found |= {name.split(".")[1] for name in names if name.startswith(package + ".")}
    return found


def _first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].rstrip(".")


def state_diagram(table: Mapping[Any, Mapping[Any, Any]], first: Any, last: Any = None) -> str:
    """Return a table of states by events as a Mermaid diagram; what leads back to the same state is left out.

    Args:
        table: what follows in each state, by what happened; enums, or their texts.
        first: the state in which it begins.
        last: the state in which it ends; None where it has no end.
    """
    rows = ["stateDiagram-v2", f"    [*] --> {_node(first)}"]
    for state, answers in table.items():
        for happened, following in answers.items():
            if following != state:
                event = getattr(happened, "value", happened)
                rows.append(f"    {_node(state)} --> {_node(following)}: {event}")
    return "\n".join([*rows, f"    {_node(last)} --> [*]"] if last is not None else rows)


def _node(state: Any) -> str:
    return re.sub(r"\W", "_", getattr(state, "value", state))


# The tables of states: each with the state in which it begins, and the one in which it ends.
STATES: Final[dict[str, tuple[Mapping[Any, Mapping[Any, Any]], Any, Any]]] = {
    "connection": (
        connection_state.TRANSITIONS,
        connection_state.ConnectionState.READING,
        connection_state.ConnectionState.CLOSED,
    ),
    "home child": (child.TRANSITIONS, child.ServiceState.WAITING, child.ServiceState.STOPPED),
    "job": (job_states.TRANSITIONS, job_states.JobState.QUEUED, None),
    "lifecycle": (lifecycle.TRANSITIONS, lifecycle.Phase.STARTING, lifecycle.Phase.STOPPED),
    "mcp server": (server_state.TRANSITIONS, server_state.State.IDLE, None),
    "session": (states.TRANSITIONS, states.State.RUNNING, None),
    "turns": (connection.TRANSITIONS, connection.IDLE, None),
}


def layers() -> str:
    """Return the layers of packages, the uppermost first."""
    return "\n".join(_contract("layers")["layers"])


def _contract(start: str) -> dict[str, Any]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts: list[dict[str, Any]] = project["tool"]["importlinter"]["contracts"]
    return next(contract for contract in contracts if contract["name"].startswith(start))


def error_tree() -> str:
    """Return the tree of exceptions."""
    lines = (errors.__doc__ or "").split("\n")
    tree = [line[4:] for line in lines if line.startswith("    ")]
    return "\n".join(tree)


def error_table() -> str:
    """Return every error with its cause, what it says of the call, its exit code, and its cure."""
    lines = ["| error | cause | `ran` | exit code | what to do |", "| --- | --- | --- | --- | --- |"]
    for name in sorted(dir(errors)):
        kind = getattr(errors, name)
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            continue
        if name not in CURES:
            raise CannotBeDrawn(f"docs/cures.py has no cure for {name}")
        cause = (kind.__doc__ or "").partition("\n")[0].replace("|", "\\|")
        ran = getattr(kind, "ran", "")
        code = exit_codes.code_of(kind.__new__(kind))
        lines.append(
            f"| `{name}` | {cause} | {ran if isinstance(ran, str) else ''} | {code} | {CURES[name]} |"
        )
    return "\n".join(lines)


def limits() -> str:
    """Return every bound and default with its reason, as Markdown tables."""
    return "\n".join(_limit_lines((SOURCE / "limits.py").read_text(encoding="utf-8").split("\n")))


def _limit_lines(lines: list[str]) -> Iterator[str]:
    reason: list[str] = []
    for line in lines:
        if title := re.match(r"# --- (.+?) -+$", line):
            yield from (
                "",
                f"## {title[1].capitalize()}",
                "",
                "| name | value | why |",
                "| --- | --- | --- |",
            )
            reason = []
        elif line.startswith("# "):
            reason.append(line[2:])
        elif bound := re.match(r"(\w+): Final = (.+)$", line):
            yield f"| `{bound[1]}` | `{bound[2]}` | {' '.join(reason)} |"
            reason = []


def text_commands() -> str:
    """Return the words of the text dialect as a Markdown table."""
    lines = ["| command | answer | what it does | may be sent again |", "| --- | --- | --- | --- |"]
    for spec in text.COMMANDS.values():
        again = "yes" if spec.idempotent else "no"
        lines.append(f"| `{spec.word}` | {spec.answers} | {spec.help} | {again} |")
    return "\n".join(lines)


DRAWN: Final[dict[str, Callable[[], str]]] = {
    "commands of daemonry": lambda: grammar.table(commands.DAEMONRY),
    "commands of homes": lambda: grammar.table(commands.DAEMONRY._replace(commands=commands.HOME)),
    "commands of mcp-cli": lambda: grammar.table(mcp_grammar.MCP_CLI),
    "commands of palingenesis": lambda: grammar.table(palingenesis_grammar.PALINGENESIS),
    "commands of vx": lambda: grammar.table(vx_grammar.VX),
    "error tree": error_tree,
    "errors": error_table,
    "exit codes": exit_code_table,
    "house": house,
    "layers": layers,
    "limits": limits,
    "rooms of mcp-cli": lambda: rooms("mcp_cli", "apps/mcp-cli/src"),
    "rooms of palingenesis": lambda: rooms("palingenesis", "apps/palingenesis/src"),
    "rooms of vx": lambda: rooms("vx", "apps/vx/src"),
    "stages: in process": lambda: stages.drawing(in_process.SERVE),
    "stages: prepare": lambda: stages.drawing(runner.PREPARE),
    "stages: ready": lambda: stages.drawing(runner.BECOME_READY),
    "stages: take over": lambda: stages.drawing(runner.TAKE_OVER),
    "text commands": text_commands,
    **{name: partial(state_diagram, *row) for name, row in STATES.items()},
}
