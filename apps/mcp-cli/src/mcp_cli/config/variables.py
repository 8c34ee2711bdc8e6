"""`${VAR}` in a configuration: found, and replaced by what the caller's environment has.

Owns the forms and nothing else.  The environment that counts is the caller's, where the command is
typed: the daemon's is that of whoever happened to start it.  Pure: the environment is an argument.

    ${NAME}  ${env:NAME}     the variable; an error where it is not set
    ${NAME:-text}            the variable, or `text` where it is not set or empty
    $${                      a literal `${`
    ${workspaceFolder}       the configuration file's directory, as VS Code writes it
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_FORM = re.compile(
    r"\$\$\{|\$\{(?:env:)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|\$\{(?P<other>[^}]*)\}?"
)
_FOLDERS = ("workspaceFolder", "configDir")


class NotSet(Exception):
    """A variable is not set, or the form is not one of ours.

    Attributes:
        reason: which, and what to do.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def names_in(text: str) -> Iterator[str]:
    """Yield the names of the environment's variables that a text asks for."""
    for found in _FORM.finditer(text):
        name = found["name"]
        if name is not None and name not in _FOLDERS:
            yield name


def expand(text: str, environment: Mapping[str, str], folder: str) -> str:
    """Return `text` with its variables replaced.

    Args:
        text: a value of the configuration.
        environment: the caller's.
        folder: the directory of the configuration file.

    Raises:
        NotSet: a variable without a default is not set.
    """

    def value(found: re.Match[str]) -> str:
        name, default = found["name"], found["default"]
        if found.group() == "$${":
            return "${"
        if name is None:
            raise NotSet(f"cannot be filled in: ${{{found['other']}}} is not an environment variable")
        if name in _FOLDERS and name not in environment:
            return folder
        given = environment.get(name, "")
        if given or (name in environment and default is None):
            return given
        if default is None:
            raise NotSet(f"needs the environment variable {name}, which is not set")
        return default

    return _FORM.sub(value, text) if "$" in text else text
