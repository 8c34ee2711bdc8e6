"""The platform that cargo's configuration names where `--target` does not.

Owns the order in which cargo reads it (the chapter on configuration of the Cargo book): the variable, the
nearest file above the project, and then CARGO_HOME's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from vx.cargo.ask import cargo_home
from vx.project.errors import unsupported
from vx.project.rust_files import read_toml

VARIABLE: Final = "CARGO_BUILD_TARGET"


def platform(directory: str, env: Mapping[str, str]) -> str:
    """Return the platform for which cargo builds a project; "" for this machine's.

    Args:
        directory: of the project.
        env: the caller's environment.

    Raises:
        ProjectInvalid, OSError: a configuration cannot be read, or names several.
    """
    if env.get(VARIABLE):
        return env[VARIABLE]
    places, above = [f"{directory}/.cargo"], directory
    while (parent := os.path.dirname(above)) != above:
        above = parent
        places.append(f"{above}/.cargo")
    for place in (*places, cargo_home(env, directory)):
        # cargo takes the old name where both are there.
        path = next((one for one in (f"{place}/config", f"{place}/config.toml") if os.path.isfile(one)), None)
        found = _named(path) if path is not None else ""
        if found:
            return found
    return ""


def _named(path: str) -> str:
    source = read_toml(path)
    table = source.values.get("build")
    named = table.get("target") if isinstance(table, dict) else None
    if isinstance(named, list) and len(named) == 1:
        named = named[0]
    if named is not None and not isinstance(named, str):
        raise unsupported(
            source, ("build", "target"), "build.target of several platforms", "name one with --target"
        )
    return named or ""
