"""The table of one agent: where its sessions are, how they are read, how one is resumed.

Owns the table's keys and their checks, and how its templates become paths and argument lists.  The
values are in `builtin.toml` and in the user's configuration, under `[agents.NAME]`.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec

from palingenesis.verdict.reasons import Reason

READERS: Final = ("claude", "codex", "gemini", "opencode", "markdown", "text")
QUOTA_READERS: Final = ("exit code", "codex")
PLACEHOLDERS: Final = frozenset({"id", "cwd", "prompt", "new_id"})
# A word of its own, in whose place the arguments for the session's permission mode come.
PERMISSIONS: Final = "{permissions}"
# A regular expression of a user's table is run over a bounded text, and is bounded itself.
MAX_PATTERN_CHARS: Final = 500

_VARIABLE: Final = re.compile(r"\{([A-Z][A-Z0-9_]*)(?::-([^{}]*))?\}")


class WordSign(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of `signs`: a line that tells how a session of plain text ended.

    Attributes:
        pattern: a regular expression that is looked for in a line, without regard to case.
        reason: its meaning.
    """

    pattern: str
    reason: Reason

    def __post_init__(self) -> None:
        if not self.pattern or len(self.pattern) > MAX_PATTERN_CHARS:
            raise ValueError(f"a pattern has 1 to {MAX_PATTERN_CHARS} characters")
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"{self.pattern!r} is not a regular expression: {error}") from None


class RunTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `run` of an agent: how it goes on in a terminal that `palingenesis run` holds.

    Attributes:
        terminal: the argument list that goes on with a session in a terminal; empty if there is none.
        terminal_fresh: the one that begins a new session there.
        headless, headless_fresh: the same for runs that answer one prompt and end.
        headless_words: words by which such a run is known.
        carried: options that a next run gets as the first had them, and how many values each takes; -1 for
            all words up to the next option.
        not_carried: values with which an option is not carried: those that skip permissions.
    """

    terminal: tuple[str, ...] = ()
    terminal_fresh: tuple[str, ...] = ()
    headless: tuple[str, ...] = ()
    headless_fresh: tuple[str, ...] = ()
    headless_words: tuple[str, ...] = ()
    carried: dict[str, Annotated[int, msgspec.Meta(ge=-1, le=9)]] = {}
    not_carried: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("terminal", "headless"):
            _check_command(f"run.{name}", getattr(self, name), needs_id=True)
            _check_command(f"run.{name}_fresh", getattr(self, f"{name}_fresh"))


class Profile(msgspec.Struct, frozen=True):
    """The table of one agent.

    Attributes:
        checked_with: the version of the agent that the table was checked against.
        programs: names of its executable; `palingenesis` looks for them in PATH and among processes.
        servers: first words of processes that keep sessions open for others of the agent, and outlive them.
        sessions: where transcripts are: patterns with `*` and `?`, `~` and `{VARIABLE:-default}`.
        reader: how a transcript is read; "markdown" is text that begins with front matter.
        registry: where the agent registers its living sessions, as a pattern; "" for nowhere.
        errors: what its own kinds of errors mean.
        signs: what lines of a plain text mean, the first that matches.
        user_exits: how a user's message begins that ends the session, or interrupts it.
        waits: words by which the agent says that it goes on by itself at the reset.
        waits_no_more: words by which it says that it does not any more.
        quota: the argument list that asks whether a limit has ended.
        quota_reader: how it answers: "exit code" (0 yes, 75 not yet, any other unknown), or "codex".
        tells_errors: whether it writes down why a turn failed.
        resume: the argument list that goes on with a session; empty if there is no such command.
        served: the one that goes on with a session that a server of the agent has open, and does its work.
        fresh: the argument list that begins a new session; empty if there is no such command.
        permissions: arguments that give a resumed run the permission mode that the session had.
        exits: what exit codes of a resumed run mean.
        run: how it goes on in a terminal that `palingenesis run` holds.
    """

    checked_with: str = ""
    programs: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    reader: str = "text"
    registry: str = ""
    errors: dict[str, Reason] = {}
    signs: tuple[WordSign, ...] = ()
    user_exits: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()
    waits_no_more: tuple[str, ...] = ()
    quota: tuple[str, ...] = ()
    quota_reader: str = QUOTA_READERS[0]
    tells_errors: bool = True
    resume: tuple[str, ...] = ()
    served: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    permissions: dict[str, tuple[str, ...]] = {}
    exits: dict[str, Reason] = {}
    run: RunTable = msgspec.field(default_factory=RunTable)

    def __post_init__(self) -> None:
        if self.reader not in READERS:
            raise ValueError(f"reader must be one of {', '.join(READERS)}, not {self.reader!r}")
        if self.quota_reader not in QUOTA_READERS:
            raise ValueError(
                f"quota_reader must be one of {', '.join(QUOTA_READERS)}, not {self.quota_reader!r}"
            )
        if any("\0" in word for word in self.quota):
            raise ValueError("quota has a NUL byte in it")
        if not self.sessions:
            raise ValueError("sessions names no place: give at least one pattern")
        for pattern in (*self.sessions, *filter(None, [self.registry])):
            _check_place(pattern)
        for name in ("resume", "served", "fresh"):
            _check_command(name, getattr(self, name), needs_id=name != "fresh")


def _check_place(pattern: str) -> None:
    if "\0" in pattern:
        raise ValueError("a pattern has a NUL byte in it")
    if not pattern.startswith(("/", "~/", "{")):
        raise ValueError(f"a place must be absolute, or begin with ~/ or {{VARIABLE}}: {pattern!r}")


def _check_command(name: str, words: Sequence[str], *, needs_id: bool = False) -> None:
    for word in words:
        if word == PERMISSIONS:
            continue
        if "\0" in word:
            raise ValueError(f"{name} has a NUL byte in it")
        try:
            fields = [field for _, field, _, _ in string.Formatter().parse(word) if field is not None]
        except ValueError as error:
            raise ValueError(f"{name}: {word!r}: {error}; write {{{{ for a brace") from None
        unknown = [field for field in fields if field not in PLACEHOLDERS]
        if unknown:
            known = ", ".join(f"{{{one}}}" for one in sorted(PLACEHOLDERS))
            raise ValueError(f"{name}: {{{unknown[0]}}} is not known; known are {known}")
    if words and not any("{prompt}" in word for word in words):
        raise ValueError(f"{name} has no {{prompt}}")
    if needs_id and words and not any("{id}" in word for word in words):
        raise ValueError(f"{name} has no {{id}}: without it the agent would choose the session")


def variables_of(profile: Profile) -> set[str]:
    """Return the names of the variables that an agent's places depend on."""
    patterns = (*profile.sessions, profile.registry)
    return {found[1] for one in patterns for found in _VARIABLE.finditer(one)}


def place(pattern: str, environment: Mapping[str, str]) -> str:
    """Return a pattern with its variables and `~` put in; "" where a variable without default is not set."""
    missing = False

    def value(found: re.Match[str]) -> str:
        nonlocal missing
        given = environment.get(found[1], "") or found[2]
        missing |= not given
        return given or ""

    filled = _VARIABLE.sub(value, pattern)
    home = environment.get("HOME", "")
    if filled.startswith("~/"):
        filled = home.rstrip("/") + filled[1:]
        missing |= not home
    return "" if missing or not filled.startswith("/") else filled


def command(words: Sequence[str], values: Mapping[str, str], permissions: Sequence[str] = ()) -> list[str]:
    """Return an argument list with its placeholders filled in; each stays within its own argument."""
    filled: list[str] = []
    for word in words:
        if word == PERMISSIONS:
            filled += permissions
        else:
            filled.append(word.format_map(values))
    return filled
