"""The keys `elicitation` and `sampling` of a configuration, read: who answers a server's questions.

    elicitation = "ask" | "decline" | { command = ["PROGRAM", ...], timeout_secs = 60 }
    sampling = "ask" | "decline" | { command = [...] }

Owns these two keys, of a server and of the whole.  Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from daemonry.typed_toml import ConfigText, KeyPath

QUESTION_KEYS: Final = ("elicitation", "sampling")
POLICIES: Final = ("ask", "decline")


def question_policies(source: ConfigText, table: Mapping[str, Any], where: KeyPath) -> dict[str, Any]:
    """Return the fields of a `ServerConfig` that the two keys stand for.

    Raises:
        ConfigError: a value is not one of the three.
    """
    found: dict[str, Any] = {}
    for key in QUESTION_KEYS:
        if key not in table:
            continue
        said, at = table[key], (*where, key)
        if isinstance(said, str):
            if said not in POLICIES:
                raise source.error(at, f'{said!r} must be one of "ask", "decline", {{ command = [...] }}')
            found[key] = said
            continue
        if not isinstance(said, Mapping):
            raise source.error(at, 'must be one of "ask", "decline", { command = [...] }')
        source.refuse_unknown(said, ("command", "timeout_secs"), at)
        found[f"{key}_command"] = _command(source, said, at)
        if "timeout_secs" in said:
            found["hook_timeout_s"] = _seconds(source, said["timeout_secs"], (*at, "timeout_secs"))
    return found


def _command(source: ConfigText, said: Mapping[str, Any], at: KeyPath) -> tuple[str, ...]:
    words = said.get("command")
    if not isinstance(words, list) or not words or not all(isinstance(one, str) for one in words):
        raise source.error(
            (*at, "command") if "command" in said else at, "needs a command: a list of strings"
        )
    if not words[0] or any("\0" in one for one in words):
        raise source.error((*at, "command"), "cannot be run")
    return tuple(words)


def _seconds(source: ConfigText, value: Any, at: KeyPath) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise source.error(at, "is not a number of seconds above 0")
    return float(value)
