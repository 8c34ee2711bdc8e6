"""The files of a new project, made from templates: a name in, texts out.

Owns the names that follow from the project's, and filling in the templates, the files in `template/`.
"""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Mapping
from importlib import resources
from typing import Final

from daemonry.errors import ArgumentInvalid
from daemonry.version import __version__

# As packaging names it (PEP 503, normalized), and short: the name is part of a socket's path.
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_MOST_CHARS: Final = 40
# Packages that are there already: Python's own tests, which it does not list, and what a project is made of.
_TAKEN: Final = frozenset({"daemonry", "hatchling", "msgspec", "mypy", "pytest", "ruff", "test"})

# Templates by the path of the file that each makes; `NAME` and `PACKAGE` are filled in, in paths too.
TEMPLATES: Final[Mapping[str, str]] = {
    "pyproject.toml": "pyproject.toml.txt",
    "README.md": "README.md.txt",
    ".gitignore": "gitignore.txt",
    "src/PACKAGE/__init__.py": "init.py.txt",
    "src/PACKAGE/service.py": "service.py.txt",
    "src/PACKAGE/cli.py": "cli.py.txt",
    "src/PACKAGE/py.typed": "py.typed.txt",
    "tests/test_service.py": "test_service.py.txt",
    "tests/test_daemon.py": "test_daemon.py.txt",
    "units/NAME.service": "unit.service.txt",
    "units/NAME.plist": "unit.plist.txt",
    ".github/workflows/ci.yml": "ci.yml.txt",
}


def check_name(name: str) -> str:
    """Return a project's name.

    Raises:
        ArgumentInvalid: it cannot be the name of a package, a command and a daemon.
    """
    package = name.replace("-", "_")
    if not _NAME.fullmatch(name) or len(name) > _MOST_CHARS:
        raise ArgumentInvalid(
            name[:80], "a name has small letters, digits and single `-`, and at most 40 of them"
        )
    if keyword.iskeyword(package) or package in sys.stdlib_module_names or package in _TAKEN:
        raise ArgumentInvalid(name, "is the name of a package that the project needs, or of Python's")
    return name


def files_of(name: str) -> dict[str, str]:
    """Return the texts of a project's files, by their paths in it."""
    package = name.replace("-", "_")
    words = {
        "NAME": name,
        "PACKAGE": package,
        "CLASS": "".join(part.capitalize() for part in name.split("-")),
        "INTERFACE": f"org.example.{package.replace('_', '')}",
        "DAEMONRY": __version__,
    }
    folder = resources.files(__package__) / "template"
    return {
        _filled(path, words): _filled((folder / one).read_text("utf-8"), words)
        for path, one in TEMPLATES.items()
    }


def _filled(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r"\b(NAME|PACKAGE|CLASS|INTERFACE|DAEMONRY)\b", lambda found: words[found[0]], text)
