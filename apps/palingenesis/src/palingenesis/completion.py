"""Shell completion: commands, then their subcommands and options.

Owns the scripts, and the table of words that they are made from.  A test holds the table against
the parser.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_TALKING = "--json --timeout"

# What can follow each command; "" is the program itself.
WORDS: Final = {
    "": "sessions why agents now skip abort hold release new-session "
    "daemon status pause resume logs config hooks completion --version",
    "sessions": "--json --all",
    "why": "--json",
    "agents": "--json",
    "now": _TALKING,
    "skip": _TALKING,
    "abort": _TALKING,
    "hold": _TALKING,
    "release": _TALKING,
    "new-session": _TALKING,
    "daemon": "start stop restart reload status",
    "daemon start": f"--foreground {_TALKING}",
    "daemon stop": f"--force {_TALKING}",
    "daemon restart": _TALKING,
    "daemon reload": _TALKING,
    "daemon status": _TALKING,
    "status": _TALKING,
    "pause": _TALKING,
    "resume": _TALKING,
    "logs": "--follow --tail --since --json",
    "config": "init show validate",
    "config init": "--force --path",
    "config show": "--json --section",
    "config validate": "--path",
    "hooks": "install remove status",
    "hooks install": "--yes",
    "hooks remove": "--yes",
    "hooks status": "",
    "completion": "bash zsh fish",
}

_BASH = """\
_palingenesis() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" command="" words="" i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "${{COMP_WORDS[i]}}" in
            -*) ;;
            *) command="$command${{command:+ }}${{COMP_WORDS[i]}}" ;;
        esac
    done
    case "$command" in
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _palingenesis palingenesis"""

_ZSH = """\
#compdef palingenesis
autoload -U +X bashcompinit && bashcompinit
{bash}"""


def script(shell: str) -> str:
    """Return the completion script for "bash", "zsh" or "fish"."""
    if shell == "fish":
        return "\n".join(_fish())
    bash = _bash()
    return _ZSH.format(bash=bash) if shell == "zsh" else bash


def _bash() -> str:
    cases = "\n".join(f'        "{command}") words="{words} --help" ;;' for command, words in WORDS.items())
    return _BASH.format(cases=cases)


def _fish() -> Iterator[str]:
    yield "complete -c palingenesis -f"
    for command, words in WORDS.items():
        condition = _fish_condition(command)
        for word in f"{words} --help".split():
            if word == "--path":
                yield f"complete -c palingenesis -n '{condition}' -l {word[2:]} -r -F"
            elif word.startswith("--"):
                yield f"complete -c palingenesis -n '{condition}' -l {word[2:]}"
            else:
                yield f"complete -c palingenesis -n '{condition}' -a {word}"


def _fish_condition(command: str) -> str:
    if not command:
        return "__fish_use_subcommand"
    seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in command.split())
    below = [other.split()[-1] for other in WORDS if other.startswith(command + " ")]
    return f"{seen}; and not __fish_seen_subcommand_from {' '.join(below)}" if below else seen
