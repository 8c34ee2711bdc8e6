"""What a command line says about another machine, and what an end of its ssh means.

Owns the words `--host` and `_far`, and the table of ends.  No I/O.
"""

from __future__ import annotations

from daemonry import faults
from daemonry.transport.endpoint import SSH, Endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final

OPTION: Final = "--host"
VARIABLE: Final = "DAEMONRY_HOST"
# The verb of the other machine's side: `daemonry _far COLUMNS WORD...`.
FAR: Final = "_far"
# The answer of the other machine's first line, see `daemonry.transport.ssh_words`: the command begins.
RUNS: Final = "runs"
# What is never sent elsewhere by the variable: it belongs to this machine's shell.
_LOCAL_VERBS: Final = ("_complete", "completion", "dial", "-h", "--help", "--version")

# The commands of which a daemon's socket has the whole answer.  Not calls: the machine there tries a harmless
# one again that was lost, and reads its own files for `@file`.
_BY_WORD: Final = ("status", "ping", "pause", "resume", "reload")
_BY_WORD_OPTIONS: Final = frozenset(("--json",))


def split(
    arguments: list[str], environment: Mapping[str, str], *, leading: bool = False
) -> tuple[str, list[str]]:
    """Return the machine that a command line means, "" for this one, and the line without `--host`.

    Args:
        arguments: the words behind the program's name.
        environment: the variables; `$DAEMONRY_HOST` counts where no `--host` is given.
        leading: whether `--host` counts as the first word only, as for a program whose later words may
            be anything.

    Raises:
        ArgumentInvalid: `--host` has no value, or an empty one; or the variable names no machine.
    """
    host, rest = _taken(arguments, leading=leading)
    if host is None:
        host = "" if arguments[:1] and arguments[0] in _LOCAL_VERBS else environment.get(VARIABLE, "")
        if host:
            machine(host, VARIABLE)  # whoever sees `--host` in the error has not typed that
    return host, rest


def _taken(arguments: list[str], *, leading: bool) -> tuple[str | None, list[str]]:
    end = arguments.index("--") if "--" in arguments else len(arguments)
    completes = arguments[:1] == ["_complete"]
    if completes:
        end = min(end, len(arguments) - 1)  # the last word is not complete
    for at, word in enumerate(arguments[: 1 if leading else end]):
        name, equals, value = word.partition("=")
        if name != OPTION:
            continue
        if equals and (value or completes):
            return value, arguments[:at] + arguments[at + 1 :]
        if completes and (at + 1 >= end or arguments[at + 1] == "="):  # so does Bash write `--host=`
            return None, arguments
        if equals or at + 1 >= end or not arguments[at + 1]:  # such as of a shell's variable that is not set
            raise faults.ArgumentInvalid(OPTION, "needs the name of a machine")
        return arguments[at + 1], arguments[:at] + arguments[at + 2 :]
    return None, arguments


def daemon_of(words: list[str]) -> str | None:
    """Return the name of the daemon that a command asks, where its socket has the whole answer; else None.

    Args:
        words: the command and what follows it.
    """
    verb, name = (*words[:2], "", "")[:2]
    if verb not in _BY_WORD or not set(words[2:]) <= _BY_WORD_OPTIONS:
        return None
    is_name = name[:1].isalnum() and not set(name) & set("/:") and not name.endswith(".py")
    return name if is_name else None


def asks_for_json(words: list[str]) -> bool:
    """Whether a command of `daemonry` prints JSON, its errors too."""
    return "--json" in words[: words.index("--") if "--" in words else None]


def machine(host: str, said_by: str = OPTION) -> Endpoint:
    """Return the machine that `[user@]host[:port]` names, as an endpoint without a daemon.

    Args:
        host: the name.
        said_by: where the user wrote it, for the error.

    Raises:
        ArgumentInvalid: it names none.
    """
    if set(host) & set("/;"):
        raise faults.ArgumentInvalid(said_by, f"{host!r} is not [user@]host[:port]")
    try:
        return Endpoint.parse(f"ssh:{host}/daemonry")
    except faults.EndpointInvalid as error:
        raise faults.ArgumentInvalid(said_by, error.reason) from None


def daemon_at(host: str, name: str) -> Endpoint:
    """Return a daemon of another machine.

    Raises:
        ArgumentInvalid: `host` names no machine.
    """
    there = machine(host)
    return Endpoint(there.address, SSH, there.number, target=name)


def begins_with(words: list[str], commands: Iterable[str]) -> bool:
    """Whether a command line is one of `commands`, each a verb or several: "mcp serve"."""
    verbs = [word for word in words if not word.startswith("-")]
    return any(verbs[: len(parts)] == parts for parts in (one.split() for one in commands))


def lost(status: int) -> bool:
    """Whether ssh itself has ended after the command began, and not the command.

    Args:
        status: ssh's exit status, negative for a signal.
    """
    return status == _SSH_FAILED or status < 0


_SSH_FAILED: Final = 255
