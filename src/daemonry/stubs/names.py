"""Names of a description as names of Python: methods in snake case, and none that Python keeps to itself.

A description may come from a server that nobody trusts.  The interface language allows letters, digits and
single inner `_` in a name, so a name can be a keyword or a name of ours, and never code.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Container, Iterable
from typing import Final

# What the written classes have themselves.
IN_RECORDS: Final = frozenset({"from_json", "to_json"})
IN_ERRORS: Final = frozenset({"error", "parameters", "ran", "args", "add_note", "with_traceback"})


def snake(name: str) -> str:
    """Return `ListJobs` as `list_jobs`, and `GetURL2` as `get_url2`."""
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return parts.lower()


def python_name(name: str, kept: Container[str] = ()) -> str:
    """Return a name as Python can have it, and none of `kept`: `from` is `from_`."""
    return f"{name}_" if keyword.iskeyword(name) or name == "self" or name in kept else name


class Taken:
    """The names of one scope; each is given out once."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = set(names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def take(self, name: str) -> str:
        """Return the name, or with `_` behind it until nobody else has it."""
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name


def module_name(interface: str) -> str:
    """Return the name of the module of an interface: the last part of its name that can be one."""
    last = interface.rpartition(".")[2].replace("-", "_").lower()
    return python_name(last if last.isidentifier() else f"i{last}")


def class_name(interface: str) -> str:
    """Return the first part of the names of an interface's classes: `org.example.job-list` is `JobList`."""
    return "".join(part[:1].upper() + part[1:] for part in module_name(interface).split("_"))
