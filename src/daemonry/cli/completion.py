"""Shell completion: commands, then the names of your daemons, then options.

Owns the scripts.  The names come from `daemonry ps --names`, asked when they are needed.
"""

from __future__ import annotations

_VERBS = "run start stop restart status ping pause resume reload logs"
_STARTING = "--config --log-level --json --timeout"
_OPTIONS = {
    "run": "--config --log-level",
    "start": _STARTING,
    "restart": _STARTING,
    "stop": "--json --timeout --force",
    "logs": "--follow --tail --since --json",
    "ps": "--json --names",
    "completion": "bash zsh fish",
}
_QUICK_OPTIONS = "--json --timeout"

_BASH = """\
_{function}() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" verb="${{COMP_WORDS[1]}}" options
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{verbs} --help --version" -- "$word")); return
    fi
    case "$verb" in
{cases}
        *) options="{quick}" ;;
    esac
    if [ "$COMP_CWORD" -eq 2 ] && [ "${{word#-}}" = "$word" ] && {with_names}; then
        case "$verb" in
            ps|completion) ;;
            *) COMPREPLY=(
                $(compgen -W "$({program} ps --names 2>/dev/null)" -- "$word")
                $(compgen -f -X '!*.py' -- "$word")
            ); return ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$options" -- "$word"))
}}
complete -o default -F _{function} {program}"""

_ZSH = """\
#compdef {program}
autoload -U +X bashcompinit && bashcompinit
{bash}"""


def script(shell: str, program: str, with_names: bool) -> str:
    """Return the completion script of `program`.

    Args:
        shell: "bash", "zsh" or "fish".
        program: the command's name.
        with_names: whether its commands take a daemon, as `daemonry`'s do.
    """
    if shell == "fish":
        return _fish(program, with_names)
    bash = _bash(program, with_names)
    return _ZSH.format(program=program, bash=bash) if shell == "zsh" else bash


def _verbs(with_names: bool) -> str:
    return f"{_VERBS} {'ps ' if with_names else ''}completion"


def _bash(program: str, with_names: bool) -> str:
    cases = "\n".join(f'        {verb}) options="{options}" ;;' for verb, options in _OPTIONS.items())
    return _BASH.format(
        function="".join(char if char.isalnum() else "_" for char in program),
        program=program,
        verbs=_verbs(with_names),
        cases=cases,
        quick=_QUICK_OPTIONS,
        with_names="true" if with_names else "false",
    )


def _fish(program: str, with_names: bool) -> str:
    verbs = _verbs(with_names)
    lines = [f"complete -c {program} -f -n '__fish_use_subcommand' -a '{verbs}'"]
    if with_names:
        taking = " ".join(verb for verb in verbs.split() if verb not in ("ps", "completion"))
        lines.append(
            f"complete -c {program} -n '__fish_seen_subcommand_from {taking}' -a '({program} ps --names)'"
        )
    for verb in verbs.split():
        for option in _OPTIONS.get(verb, _QUICK_OPTIONS).split():
            kind = f"-l {option[2:]}" if option.startswith("--") else f"-a {option}"
            lines.append(f"complete -c {program} -n '__fish_seen_subcommand_from {verb}' {kind}")
    return "\n".join(lines)
