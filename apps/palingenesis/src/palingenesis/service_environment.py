"""Which variables of a shell the service gets: those that say where things are, and never a secret.

Owns the choice and the check of the values.  A service manager starts the daemon without the shell's
variables: without these it would look for other sessions, in other places, than the commands of its user.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Final

from palingenesis.agents.profile import Profile, variables_of

# Ours and daemonry's places, and what a time of day in a message is read by.  XDG_RUNTIME_DIR is the service
# manager's own.
_OURS: Final = (
    "PALINGENESIS_CONFIG", "PALINGENESIS_STATE", "PALINGENESIS_RUNTIME", "XDG_CONFIG_HOME", "XDG_STATE_HOME",
    "XDG_DATA_HOME", "TZ",
)  # fmt: skip
# Where the agents themselves look for their settings, which no table of sessions names.
_OF_AGENTS: Final = ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "OPENCODE_CONFIG", "OPENCODE_CONFIG_DIR")
_SECRET: Final = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH", re.IGNORECASE)
# Of which agents are known to read their account.
_KEYS: Final = (
    "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "OPENAI_API_KEY",
    "CODEX_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY",
)  # fmt: skip


class CannotCarry(ValueError):
    """A variable has a value that no service file can have; the message names it."""


def carried(environment: Mapping[str, str], profiles: Iterable[Profile]) -> dict[str, str]:
    """Return the variables that a service gets, PATH first.

    Args:
        environment: of the shell.
        profiles: the agents, whose tables name variables of their own.

    Raises:
        CannotCarry: a value is not UTF-8, or has a control character in it.
    """
    named = {name for one in profiles for name in variables_of(one)} - {"HOME", "PATH"}
    names = [*_OURS, *sorted({*_OF_AGENTS, *named} - {*_OURS})]
    found = {"PATH": environment.get("PATH", os.defpath)}
    found |= {name: environment[name] for name in names if environment.get(name) and not is_secret(name)}
    for name, value in found.items():
        if not _is_plain(value):
            raise CannotCarry(f"{name} is not UTF-8, or has a line end or another control character in it")
    return {name: _from_anywhere(name, value) for name, value in found.items()}


def is_secret(name: str) -> bool:
    """Whether a variable is one whose value is nobody's business."""
    return bool(_SECRET.search(name))


def keys_left(environment: Mapping[str, str]) -> list[str]:
    """Return the names of agents' keys that are set, and that a service does not get."""
    return [name for name in _KEYS if environment.get(name)]


def _is_plain(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return not any(sign < " " or sign == "\x7f" for sign in value)


def _from_anywhere(name: str, value: str) -> str:
    """Return a value that means the same in another directory."""
    return os.path.abspath(value) if name.startswith("PALINGENESIS_") else value
