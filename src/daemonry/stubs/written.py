"""Writing client modules: each file whole or not at all, none that somebody else wrote, none without need.

Owns the files.  Their text is a printer's, one for each language.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Final

from daemonry.errors import ArgumentInvalid
from daemonry.process.atomic_file import write_atomically
from daemonry.stubs import go, rust, typescript
from daemonry.stubs.comments import MARK
from daemonry.stubs.python_modules import Module
from daemonry.stubs.source import text_of
from daemonry.wire import idl


def _python(interface: idl.InterfaceDescription) -> tuple[str, str]:
    module = Module(interface)
    return f"{module.name}.py", module.text()


LANGUAGES: Final[dict[str, Callable[[idl.InterfaceDescription], tuple[str, str]]]] = {
    "python": _python,
    "ts": typescript.file_of,
    "rust": rust.file_of,
    "go": go.file_of,
}


def texts(interfaces: Iterable[idl.InterfaceDescription], language: str = "python") -> dict[str, str]:
    """Return the files of some interfaces: their names and texts.

    Raises:
        ArgumentInvalid: two interfaces would have the same file.
    """
    found: dict[str, str] = {}
    for interface in interfaces:
        name, text = LANGUAGES[language](interface)
        if name in found:
            raise ArgumentInvalid(
                interface.name, f"its file {name} is another interface's: choose one by --interface"
            )
        found[name] = text
    return found


def outdated(directory: str, files: dict[str, str]) -> list[str]:
    """Return the paths of the files that are missing or have another text.

    Raises:
        ArgumentInvalid: one was not written by us, or cannot be read.
    """
    return [path for name, text in files.items() if _present(path := os.path.join(directory, name)) != text]


def write(directory: str, files: dict[str, str]) -> list[str]:
    """Write the files that are missing or have another text, and return their paths.

    Raises:
        ArgumentInvalid: one is there that was not written by us; nothing was written.
        OSError: the directory or a file cannot be written.
    """
    paths = outdated(directory, files)
    if paths:
        os.makedirs(directory, exist_ok=True)
    for path in paths:
        write_atomically(path, files[os.path.basename(path)].encode("utf-8"), mode=0o644)
    return paths


def _present(path: str) -> str | None:
    try:
        text = text_of(path)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentInvalid(path, f"cannot be read: {error}") from None
    if MARK not in text.partition("\n")[0]:
        raise ArgumentInvalid(
            path, "was not written by `daemonry stubs`: move it, or choose another directory"
        )
    return text
