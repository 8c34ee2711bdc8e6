"""The agents that are known: the built-in tables, with the user's over them.

Owns the merge and the message about a table that cannot be used.
"""

from __future__ import annotations

import glob
import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

import msgspec

from daemonry.spelling import did_you_mean
from daemonry.typed_toml import error_in
from daemonry.typed_toml.typed import explain
from palingenesis.agents.profile import Profile
from palingenesis.settings import Settings, session_dir

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def builtin() -> dict[str, dict[str, Any]]:
    """Return the built-in tables."""
    return tomllib.loads(files("palingenesis.agents").joinpath("builtin.toml").read_text("utf-8"))


def configured(settings: Settings, config_path: str) -> dict[str, Profile]:
    """Return the agents of a configuration, by name.

    Raises:
        ConfigError: a table cannot be used, or the session directory is under a home that is not known.
    """
    directory = glob.escape(session_dir(settings.monitoring, config_path))
    places = [f"{directory}/*.md", f"{directory}/*/*.md"]
    own = {**settings.agents, "markdown": {"sessions": places, **settings.agents.get("markdown", {})}}
    return profiles(own, config_path)


def profiles(own: Mapping[str, Mapping[str, Any]], config_path: str) -> dict[str, Profile]:
    """Return all agents by name.

    Args:
        own: the user's tables; each key of one replaces the built-in key, but `errors`, `permissions` and
            `exits` are merged entry by entry.  `enabled = false` leaves an agent out.
        config_path: the file that `own` is from, named in errors.

    Raises:
        ConfigError: a table cannot be used; it names the key.
    """
    tables = builtin()
    for name, table in own.items():
        tables[name] = _merged(tables.get(name, {}), table)
    return {
        name: _profile(name, table, config_path)
        for name, table in tables.items()
        if _is_enabled(name, table, config_path)
    }


def _is_enabled(name: str, table: dict[str, Any], config_path: str) -> bool:
    enabled = table.pop("enabled", True)
    if not isinstance(enabled, bool):
        raise error_in(config_path, ("agents", name, "enabled"), "must be true or false")
    return enabled


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    if "quota" in over:  # another command, which may answer in another way
        merged.pop("quota_reader", None)
    for key, value in over.items():
        known = merged.get(key)
        merged[key] = {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def _profile(name: str, table: dict[str, Any], config_path: str) -> Profile:
    if not _NAME.fullmatch(name):  # it is the first part of a session's name, and shown
        raise error_in(
            config_path, ("agents", name), "a name of an agent is letters, digits, - and _, at most 64"
        )
    known = {field.name for field in msgspec.structs.fields(Profile)}
    for key in table:
        if key not in known:
            hint = did_you_mean(key, sorted(known | {"enabled"}))
            raise error_in(config_path, ("agents", name, key), f"is not known: {hint}")
    try:
        return msgspec.convert(table, Profile)
    except msgspec.ValidationError as error:
        where, reason = explain(error, table, Profile)
        raise error_in(config_path, ("agents", name, *where), reason) from None
