"""The platform that cargo's configuration names where `--target` does not.

Owns the order in which cargo reads it (the chapter on configuration of the Cargo book): the variable, the
nearest file above the project, and then CARGO_HOME's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vx.cargo.ask import cargo_home
from vx.project.errors import unsupported
from vx.project.rust_files import config_files, read_toml

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
    named = map(_named, config_files(directory, cargo_home(env, directory)))
    return next(filter(None, named), "")


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
