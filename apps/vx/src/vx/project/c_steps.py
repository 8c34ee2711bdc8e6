"""From a vx.toml's commands and tests to actions: what each runs, on which files.

Owns their command lines.  Pure.  A test is a command without outputs, whose success is its result; so one
that passed is found as any other result is, as long as all that it read is the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from vx.project.action import GENERATED_DIR, PROGRAMS_DIR, Action, Need, Tool, Tree
from vx.project.c_manifest import OUT, CCommand
from vx.project.errors import Unsupported


def program_path(name: str) -> str:
    """Return where a command finds a program of the project."""
    return f"{PROGRAMS_DIR}/{name}"


def command_action(
    command: CCommand, program: Tool | None, needs: Sequence[Need], *, is_test: bool = False
) -> Action:
    """Return the action of a command, or of a test.

    Args:
        command: it.
        program: on the PATH; None where the project makes it.
        needs: outputs of other commands that it is given, and programs of the project.
        is_test: whether it is a test.

    Raises:
        Unsupported: its program is not there.
    """
    kind = "test" if is_test else "command"
    name, *arguments = command.command
    own = next((one for one in command.programs if name == f"%{{{one}}}"), None)
    if own is not None:
        program = Tool(program_path(own), "", own)
    if program is None:
        raise Unsupported("vx.toml", f"the {kind} {command.name} without {name!r}", "it is not on the PATH")
    folder = f"{GENERATED_DIR}/{command.name}"
    outputs = tuple(f"{folder}/{one}" for one in command.outputs)
    places = {OUT: folder, **{one: program_path(one) for one in command.programs}}

    def filled(word: str) -> str:
        for one, path in places.items():
            word = word.replace(f"%{{{one}}}", path)
        return word

    return Action(
        id=f"{command.name} {kind}",
        title=f"{command.name} ({kind})",
        tool=program,
        kind="step",
        arguments=tuple(map(filled, arguments)),
        # No word need tell which files it makes: one that is named later was not kept.
        parts={
            "outputs": " ".join(sorted(outputs)),
            **({"program": program.identity} if program.identity else {}),
        },
        outputs=outputs,
        # No pattern would mean all files.
        sources=Tree("", command.inputs) if command.inputs else None,
        needs=tuple(needs),
        silent=True,
        is_test=is_test,
    )
