"""Client modules written while a package is built: what the hooks for hatchling and setuptools share.

Owns reading a hook's table and writing the modules.  A build starts no daemon: a source is a program or
a file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, Final

from daemonry.errors import ArgumentInvalid
from daemonry.stubs import source, written

KEYS: Final = ("source", "output", "interface", "import-path")


def build(table: Mapping[str, Any], root: str) -> list[str]:
    """Write the modules that a table asks for, where they are not there already, and return the paths of all.

    Args:
        table: `source`, `output`, and perhaps `interface` and `import-path`; paths are relative to `root`.
        root: the project's directory.

    Raises:
        ArgumentInvalid: the table or the source cannot be used; the message names it.
        As `source.of_build`.
    """
    where = "the table of daemonry-stubs"
    for name in table:
        if name not in KEYS and name not in (
            "dependencies",
            "enable-by-default",
            "require-runtime-dependencies",
        ):
            raise ArgumentInvalid(where, f"has no key {name!r}: it has {', '.join(KEYS)}")
    values = {name: table.get(name, "") for name in KEYS}
    for name, value in values.items():
        if not isinstance(value, str) or (name in ("source", "output") and not value):
            raise ArgumentInvalid(where, f"needs a string as {name!r}")
    target = values["source"]
    before = list(sys.path)
    sys.path.insert(0, os.path.join(root, values["import-path"]))
    try:
        found = source.of_build(target if ":" in target else os.path.join(root, target))
    finally:
        sys.path[:] = before
    files = written.texts(source.chosen(found, values["interface"] or None, target))
    directory = os.path.join(root, values["output"])
    written.write(directory, files)
    return [os.path.join(directory, name) for name in files]
