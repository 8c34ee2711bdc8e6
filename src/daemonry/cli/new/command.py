"""What `daemonry new` does: writes the files of a new project where nothing is yet.

Owns the directory and the output.  The texts are `project`'s.
"""

from __future__ import annotations

import os

from daemonry.cli import exit_codes, output
from daemonry.cli.new.project import check_name, files_of
from daemonry.errors import ArgumentInvalid


def new(name: str, directory: str | None) -> int:
    """Write a new project and return the exit code.

    Args:
        name: the project's, the command's and the daemon's.
        directory: where it is written; a directory of its name here by default.

    Raises:
        ArgumentInvalid: the name cannot be one, or something is there already.
    """
    where = os.path.abspath(directory or check_name(name))
    files = files_of(check_name(name))
    if os.path.exists(where) and (not os.path.isdir(where) or os.listdir(where)):
        raise ArgumentInvalid(where, "is there already: give --directory another, or an empty one")
    for path, text in files.items():
        full = os.path.join(where, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "x", encoding="utf-8") as file:
            file.write(text)
        output.say(f"{name}: wrote {output.value(os.path.join(directory or name, path))}")
    output.say(f"{name}: next: cd {output.value(directory or name)}; pip install -e '.[dev]'; pytest")
    return exit_codes.DONE
