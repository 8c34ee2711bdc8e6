"""A home in the making: services as tables of plain values, notes on the rest, and its text in TOML.

Owns names that a home allows, notes, and writing.  What another supervisor's keys mean is the business of
its module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from daemonry.home.names import RESERVED


class ImportInvalid(ValueError):
    """The file is not of the form that it was given as; with the reason."""


@dataclass
class Draft:
    """What an import has found.

    Attributes:
        services: tables by name.
        notes: parts that have no counterpart, a sentence for each.
        environment: variables of all services.
    """

    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def note(self, where: str, key: str, reason: str = "has no counterpart") -> None:
        """Remember that a key was left out, or means something else here."""
        self.notes.append(f"{where}: {key} {reason}")

    def unknown(self, where: str, keys: Iterable[Any], known: Iterable[str]) -> None:
        """Note the keys that mean nothing here, or to nobody."""
        for key in keys:
            if key not in known:
                self.note(where, str(key), "has no counterpart, and is left out")

    def name(self, wanted: str) -> str:
        """Return a name that a home allows and that is not taken; a change is noted."""
        base = re.sub(r"[^A-Za-z0-9_-]+", "-", wanted).strip("-_")[:60] or "service"
        if base.lower() == RESERVED:
            base = f"{base}-1"
        taken = {_alike(name) for name in self.services}
        found, number = base, 2
        while _alike(found) in taken:
            found, number = f"{base}-{number}", number + 1
        if found != wanted:
            self.notes.append(f"{wanted}: is called {found} here")
        return found


# What only the shell itself can run: it cannot become these.  POSIX, 2.9.4 and 2.14, and `source`.
_SHELLS_OWN: Final = frozenset(
    (
        *("!", ".", "break", "case", "cd", "command", "continue", "do", "eval", "exec", "exit", "export"),
        *("for", "if", "read", "readonly", "return", "set", "shift", "source", "times", "trap", "ulimit"),
        *("umask", "unset", "until", "wait", "while"),
    )
)


def _alike(name: str) -> str:
    return name.upper().replace("-", "_")


def shell(command: str) -> list[str]:
    """Return the words that run a command by a shell; the shell becomes it where it is a simple one."""
    first = command.split(None, 1)[0] if command.split() else ""
    is_simple = re.fullmatch(r"[\w./+-]+", first) and first not in _SHELLS_OWN
    is_simple = is_simple and not re.search(r"[;&|\n]", command)
    return ["sh", "-c", f"exec {command}" if is_simple else command]


def to_toml(draft: Draft, source: str) -> str:
    """Return the text of home.toml, with the notes as comments at its head."""
    lines = [f"# Made from {_comment(source)} by `daemonry import`."]
    lines += [f"# {_comment(note)}" for note in draft.notes]
    if draft.environment:
        lines += ["", f"environment = {_value(draft.environment)}"]
    for name, table in draft.services.items():
        lines += ["", f"[services.{name}]"]
        lines += [f"{key} = {_value(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items()) + " }"
    return _text(str(value))


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


def _text(text: str) -> str:
    # JSON's form is TOML's, but for DEL, and for surrogates, which no TOML can hold.
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return json.dumps(clean, ensure_ascii=False).replace("\x7f", "\\u007f")


def texts(value: Any, where: str) -> dict[str, str]:
    """Return variables that are given as a table, or as a list of NAME=VALUE.

    Raises:
        ImportInvalid: they are neither.
    """
    if isinstance(value, list):
        value = dict(str(one).partition("=")[::2] for one in value)
    if not isinstance(value, dict):
        raise ImportInvalid(f"{where}: variables are a table, or a list of NAME=VALUE")
    return {str(name): _plain(one) for name, one in value.items()}


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_table(value: Any, where: str) -> dict[str, Any]:
    """Return a value that has to be a table.

    Raises:
        ImportInvalid: it is of another type.
    """
    if not isinstance(value, dict):
        raise ImportInvalid(f"{where}: a table is expected")
    return {str(key): one for key, one in value.items()}
