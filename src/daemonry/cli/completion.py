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
    from daemonry.wire import idl

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
    "ps": ("--json", "--names", "--home"),
    "up": ("--home", "--foreground", "--json", "--timeout"),
    "down": ("--home", "--json", "--timeout"),
}
# How long the shell waits for a daemon that is asked what it can be asked.
_PATIENCE_S = 1.0

# Options behind which stands a value, where no more is known of it than that.
_VALUED = frozenset(("--config", "--log-level", "--since", "--tail", "--timeout"))

# Bash takes `key=value` and `unix:/path` for several words; `candidates` puts them together again,
# and offers what stands in the place of the last of them.
_BASH = """\
_{function}() {{
    local one
    COMPREPLY=()
    while IFS= read -r one; do
        COMPREPLY+=("$one")
    done < <({program} _complete "${{COMP_WORDS[@]:1:COMP_CWORD}}" 2>/dev/null)
    if [[ ${{COMPREPLY[0]}} == *= ]]; then compopt -o nospace 2>/dev/null; fi
}}
complete -o default -F _{function} {program}"""

_ZSH = """\
#compdef {program}
_{function}() {{
    local -a found
    found=("${{(@f)$({program} _complete "${{(@Q)words[2,CURRENT]}}" 2>/dev/null)}}")
    found=("${{(@)found:#}}")
    if (( $#found == 0 )); then
        _files
        return
    fi
    compadd -S '' -- "${{(@M)found:#*=}}"
    compadd -- "${{(@)found:#*=}}"
}}
if [[ $funcstack[1] == _{function} ]]; then
    _{function} "$@"
else
    (( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit; }}
    compdef _{function} {program}
fi"""

_FISH = """\
function _{function}
    set -l found ({program} _complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)
    if set -q found[1]
        printf '%s\\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c {program} -f -a '(_{function})'"""


def script(shell: str, program: str) -> str:
    """Return the completion script of the command `program` for "bash", "zsh" or "fish"."""
    function = "".join(char if char.isalnum() else "_" for char in program)
    scripts = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
    return scripts[shell].format(function=function, program=program)


def candidates(words: list[str], own: Instance | None) -> list[str]:
    """Return what may stand in the place of the last word.

    Args:
        words: what stands behind the command, the unfinished last word included.
        own: the daemon of a program's own command; None for `daemonry`, which names one.
    """
    words, kept = _joined(words or [""])
    return [one[kept:] for one in _candidates(words, own)]


def _joined(words: list[str]) -> tuple[list[str], int]:
    """Return the words as the command gets them, and how much of the last one stays as it is.

    Bash breaks words at `=` and `:`, and has those between them as words of their own.
    """
    joined: list[str] = []
    kept = 0
    sticks = False
    for word in words:
        is_break = word != "" and not word.strip("=:")
        if joined and (is_break or sticks):
            kept = len(joined[-1]) + (len(word) if is_break else 0)
            joined[-1] += word
        else:
            kept = 0
            joined.append(word)
        sticks = is_break
    return joined, kept


def _candidates(words: list[str], own: Instance | None) -> list[str]:
    *before, current = words
    if not before:
        return _starting_with(current, _verbs(own))
    verb, *rest = before
    if rest and rest[-1] in _VALUED:
        return []
    options = _OPTIONS.get(verb, ())
    if verb in ("completion", "ps") or current.startswith("-"):
        return _starting_with(current, options)
    plain = [
        word
        for number, word in enumerate(rest)
        if not (word.startswith("-") or (number and rest[number - 1] in _VALUED))
    ]
    if own is None and not plain:
        return _starting_with(current, _names())
    instance = own if own is not None else _instance(plain[0])
    asked = plain if own is not None else plain[1:]
    if verb in ("call", "describe") and instance is not None:
        return _starting_with(current, _of_daemon(verb, instance, asked, current))
    return _starting_with(current, options)


def _verbs(own: Instance | None) -> list[str]:
    return [verb for verb in _OPTIONS if verb != "ps" or own is None]


def _starting_with(current: str, found: Iterable[str]) -> list[str]:
    return sorted({one for one in found if one.startswith(current)})


def _names() -> list[str]:
    from daemonry.process import homes, registry

    return [place.name for place in (*registry.places(), *(owner.place for owner in homes.owners()))]


def _instance(target: str) -> Instance | None:
    from daemonry.cli.target import instance_of

    try:
        return instance_of(target)
    except DaemonryError:
        return None


def _of_daemon(verb: str, instance: Instance, asked: list[str], current: str) -> list[str]:
    """Ask the live daemon for its interfaces, its methods, or one method's parameters or their values."""
    from daemonry.cli import call
    from daemonry.wire import varlink

    try:
        with call.connected(instance, _PATIENCE_S) as client:
            if verb == "describe":
                return call.interface_names(client, _PATIENCE_S) if not asked else []
            if not asked:
                return list(call.method_names(client, _PATIENCE_S))
            interface, member = varlink.split_name(asked[0])
            return _parameters(
                call.describe_interface(client, interface, _PATIENCE_S), member, asked[1:], current
            )
    except (DaemonryError, OSError):
        return []  # a shell has no place for errors


def _parameters(described: idl.Interface, member: str, given: list[str], current: str) -> list[str]:
    """Return the parameters of a method that are not given yet, or the values of the one that is begun."""
    from daemonry.wire import idl

    methods = {one.name: one for one in described.members if isinstance(one, idl.Method)}
    fields = methods[member].parameters.fields if member in methods else ()
    name, equals, _ = current.partition("=")
    if equals:
        types = {field.name: field.type for field in fields}
        return [f"{name}={value}" for value in _values(described, types.get(name))]
    names = {word.partition("=")[0].removesuffix(":") for word in given}
    return [f"{field.name}=" for field in fields if field.name not in names]


def _values(described: idl.Interface, kind: idl.Type | None) -> tuple[str, ...]:
    """Return the values of a type that has few."""
    from daemonry.wire import idl

    if isinstance(kind, idl.Optional):
        kind = kind.element
    if isinstance(kind, idl.Named):
        aliases = {one.name: one.type for one in described.members if isinstance(one, idl.TypeAlias)}
        kind = aliases.get(kind.name)
    if isinstance(kind, idl.Enum):
        return kind.names
    return ("true", "false") if kind is idl.Basic.BOOL else ()
