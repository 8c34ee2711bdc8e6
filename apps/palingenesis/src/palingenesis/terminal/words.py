"""The argument lists of the next run, made from the words of the first.

Owns which words are carried over: the options that the agent's table names, and nothing else.  So a
resumed run has the model, the output format and the permissions that its user chose, and never an option
that skips them.
No I/O.
"""

from __future__ import annotations

import os.path
from collections.abc import Mapping, Sequence

from palingenesis.agents.profile import Profile, RunTable, command


def agent_of(words: Sequence[str], profiles: Mapping[str, Profile]) -> str:
    """Return the agent whose program a command line runs, also by `npx` and its like; "" for none."""
    for word in words[:3]:
        name = os.path.basename(word)
        for agent, profile in profiles.items():
            if name in profile.programs:
                return agent
        if not word.startswith("-") and name not in ("npx", "bunx", "env", "node", "python", "python3"):
            return ""
    return ""


def is_headless(words: Sequence[str], table: RunTable) -> bool:
    """Whether a command line is of a run that answers one prompt and ends."""
    return any(word in table.headless_words for word in words[1:])


def carried(words: Sequence[str], table: RunTable) -> list[str]:
    """Return the options of a command line that the next run gets too, each with its values."""
    found: list[str] = []
    rest = list(words[1:])
    while rest:
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, _ = word.partition("=")
        count = table.carried.get(name)
        if count is None:
            continue
        option = [word]
        while rest and not equals and count != 0 and (count > 0 or not rest[0].startswith("-")):
            option.append(rest.pop(0))
            count -= 1
        if not any(value in part for value in table.not_carried for part in option):
            found += option
    return found


def next_words(
    words: Sequence[str], profile: Profile, values: Mapping[str, str], permission: str, *, fresh: bool
) -> list[str]:
    """Return the words of the next run; none where the agent has no command for that.

    Args:
        words: those of the first run.
        profile: its agent.
        values: what the placeholders stand for.
        permission: the session's permission mode; the user's own option counts before it.
        fresh: whether a new session takes over.
    """
    table = profile.run
    headless = is_headless(words, table)
    if fresh:
        template = table.headless_fresh if headless else table.terminal_fresh
    else:
        template = table.headless if headless else table.terminal
    options = carried(words, table)
    permissions = profile.permissions.get(permission, ())
    if permissions and any(word.partition("=")[0] == permissions[0] for word in options):
        permissions = ()
    return command(template, values, (*options, *permissions))
