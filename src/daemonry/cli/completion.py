"""Shell completion: commands, daemons, options, interfaces, methods and parameters.

Owns what may stand at the cursor, and the scripts by which bash, zsh and fish ask.  The scripts
know nothing: they hand the words over to the command's hidden verb `_complete`, so what is
offered is always what the program, and the live daemon, have now.
"""

from __future__ import annotations

from daemonry.errors import DaemonryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from daemonry.daemon.instance import Instance

_STARTING = ("--config", "--log-level", "--json", "--timeout")
_QUICK = ("--json", "--timeout")
_OPTIONS = {
    "run": ("--config", "--log-level"),
    "start": _STARTING,
    "restart": _STARTING,
    "check": ("--config", "--json"),
    "status": _QUICK,
    "ping": _QUICK,
    "pause": _QUICK,
    "resume": _QUICK,
    "reload": _QUICK,
    "stop": (*_QUICK, "--force"),
    "logs": ("--follow", "--tail", "--since", "--json"),
    "call": ("--more", "--oneway", "--timeout"),
    "describe": _QUICK,
    "tap": (*_QUICK, "--payloads"),
    "completion": ("bash", "zsh", "fish"),
    "ps": ("--json", "--names"),
}
# How long the shell waits for a daemon that is asked what it can be asked.
_PATIENCE_S = 1.0

_BASH = """\
_{function}() {{
    local IFS=$'\\n' word="${{COMP_WORDS[COMP_CWORD]}}"
    local found="$({program} _complete "${{COMP_WORDS[@]:1:COMP_CWORD}}" 2>/dev/null)"
    COMPREPLY=($(compgen -W "$found" -- "$word"))
    [ "${{COMPREPLY[0]: -1}}" = "=" ] && compopt -o nospace
}}
complete -o default -F _{function} {program}"""

_ZSH = """\
#compdef {program}
autoload -U +X bashcompinit && bashcompinit
{bash}"""

_FISH = (
    "complete -c {program} -a '({program} _complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'"
)


def script(shell: str, program: str) -> str:
    """Return the completion script of the command `program` for "bash", "zsh" or "fish"."""
    function = "".join(char if char.isalnum() else "_" for char in program)
    if shell == "fish":
        return _FISH.format(program=program)
    bash = _BASH.format(function=function, program=program)
    return _ZSH.format(program=program, bash=bash) if shell == "zsh" else bash


def candidates(words: list[str], own: Instance | None) -> list[str]:
    """Return what may stand in the place of the last word.

    Args:
        words: what stands behind the command, the unfinished last word included.
        own: the daemon of a program's own command; None for `daemonry`, which names one.
    """
    *before, current = words or [""]
    if not before:
        return _starting_with(current, _verbs(own))
    verb, *rest = before
    options = _OPTIONS.get(verb, ())
    if verb in ("completion", "ps") or current.startswith("-"):
        return _starting_with(current, options)
    plain = [word for word in rest if not word.startswith("-")]
    if own is None and not plain:
        return _starting_with(current, _names())
    instance = own if own is not None else _instance(plain[0])
    asked = plain if own is not None else plain[1:]
    if verb in ("call", "describe") and instance is not None:
        return _starting_with(current, _of_daemon(verb, instance, asked))
    return _starting_with(current, options)


def _verbs(own: Instance | None) -> list[str]:
    return [verb for verb in _OPTIONS if verb != "ps" or own is None]


def _starting_with(current: str, found: Iterable[str]) -> list[str]:
    return sorted({one for one in found if one.startswith(current)})


def _names() -> list[str]:
    from daemonry.daemon import registry

    return [place.name for place in registry.places()]


def _instance(target: str) -> Instance | None:
    from daemonry.cli.target import instance_of

    try:
        return instance_of(target)
    except DaemonryError:
        return None


def _of_daemon(verb: str, instance: Instance, asked: list[str]) -> list[str]:
    """Ask the live daemon for its interfaces, its methods, or one method's parameters."""
    from daemonry.cli import call
    from daemonry.wire import idl, varlink

    try:
        with call.connected(instance, _PATIENCE_S) as client:
            if verb == "describe":
                return call.interface_names(client, _PATIENCE_S) if not asked else []
            if not asked:
                return list(call.method_names(client, _PATIENCE_S))
            interface, member = varlink.split_name(asked[0])
            for one in call.describe_interface(client, interface, _PATIENCE_S).members:
                if isinstance(one, idl.Method) and one.name == member:
                    given = {word.partition("=")[0].removesuffix(":") for word in asked[1:]}
                    return [f"{field.name}=" for field in one.parameters.fields if field.name not in given]
    except (DaemonryError, OSError):
        pass  # a shell has no place for errors
    return []
