"""The build hook of setuptools: by `[tool.daemonry-stubs]` of pyproject.toml, a build writes client modules.

Imports nothing of setuptools, which calls it for each project that it builds where daemonry is installed.
"""

from __future__ import annotations

import os
import tomllib
from typing import Any

from daemonry.stubs.build import build
from daemonry.stubs.source import text_of


def finalize(distribution: Any) -> None:
    """Write the modules that the project in the present directory asks for, if it does."""
    del distribution
    root = os.getcwd()
    try:
        project = tomllib.loads(text_of(os.path.join(root, "pyproject.toml")))
    except (OSError, ValueError):
        return  # there is none, or setuptools itself complains
    tables = project.get("tool", {}).get("daemonry-stubs", [])
    for table in [tables] if isinstance(tables, dict) else tables:
        build(table, root)
