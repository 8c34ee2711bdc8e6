"""Shell completion of any program that has a table of its commands.

    script          the completion script of a program for bash, zsh or fish
    print_script    prints it
    answer          what the script asks: prints what may stand at the cursor
    candidates      the same, as a list
    Cursor          what stands before the cursor, for the functions that complete a program's own values

Owns what may stand at the cursor, and the scripts.  A script knows nothing: it hands the words over to the
hidden verb `_complete`, so the candidates are always those of the program as it is now.

Candidates may come from others: one with control characters is left out, and the scripts have
each shell quote the inserted text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from daemonry.cli import output
from daemonry.cli.grammar import HELP_OPTION, HOST, Command, Option, Program, ValueKind, Word
from daemonry.terminal_text import printable

HIDDEN_VERB: Final = "_complete"
# How `_complete` ends where the shell should offer files; no command ends so.
FILES: Final = 64
# The most candidates that are printed: a shell asks before it shows more than a hundred or so.
MAX_CANDIDATES: Final = 1000
# Of one candidate, in characters: more is not a word that anybody completes.
MAX_CANDIDATE_CHARS: Final = 500

# Bash takes `key=value` and `unix:/path` for several words; `candidates` puts them together again, and
# offers the text in the place of the last of them.  The inserted text is quoted by `%q`.
_BASH = """\
_{function}() {{
    local found one
    COMPREPLY=()
    found=$({program} {verb} "${{COMP_WORDS[@]:1:COMP_CWORD}}" 2>/dev/null)
    if [[ $? -eq {files} ]]; then compopt -o default 2>/dev/null; return; fi
    while IFS= read -r one; do
        if [[ -n $one ]]; then printf -v one %q "$one"; COMPREPLY+=("$one"); fi
    done <<< "$found"
    if [[ ${{COMPREPLY[0]}} == *[=/] ]]; then compopt -o nospace 2>/dev/null; fi
}}
complete -F _{function} {program}"""

_ZSH = """\
#compdef {program}
_{function}() {{
    local text
    local -a found
    text="$({program} {verb} "${{(@Q)words[2,CURRENT]}}" 2>/dev/null)"
    if (( $? == {files} )); then
        _files
        return
    fi
    found=("${{(@f)text}}")
    found=("${{(@)found:#}}")
    compadd -S '' -- "${{(@M)found:#*[=/]}}"
    compadd -- "${{(@)found:#*[=/]}}"
}}
if [[ $funcstack[1] == _{function} ]]; then
    _{function} "$@"
else
    (( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit; }}
    compdef _{function} {program}
fi"""

_FISH = """\
function _{function}
    set -l found ({program} {verb} (commandline -opc)[2..] (commandline -ct) 2>/dev/null)
    if test $status -eq {files}
        __fish_complete_path (commandline -ct)
    else if set -q found[1]
        printf '%s\\n' $found
    end
end
complete -c {program} -f -a '(_{function})'"""

_SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def script(shell: str, program: str) -> str:
    """Return the completion script of the command `program` for "bash", "zsh" or "fish"."""
    function = "".join(char if char.isalnum() else "_" for char in program)
    return _SCRIPTS[shell].format(function=function, program=program, verb=HIDDEN_VERB, files=FILES)


def print_script(shell: str, program: str) -> int:
    """Print it, and return the exit code."""
    output.say(script(shell, program))
    return output.DONE


class Cursor(NamedTuple):
    """What stands before the cursor.

    Attributes:
        path: the verbs: "daemon start".
        words: the words behind them.
        options: the values of the options, each under its first name; "" for a flag.
        current: what of the word at the cursor is there.
    """

    path: str
    words: list[str]
    options: dict[str, list[str]]
    current: str

    def value(self, name: str) -> str | None:
        """Return the last value of an option, by its first name."""
        return self.options[name][-1] if name in self.options else None


# Returns what may stand at the cursor; what does not begin as the word there is left out.
Offer = Callable[[Cursor], Iterable[str]]


class Candidates(NamedTuple):
    """What may stand at the cursor.

    Attributes:
        found: the words.
        files: whether files may, where there are no such words.
    """

    found: list[str]
    files: bool = False


def answer(program: Program, words: list[str], offers: Mapping[ValueKind, Offer]) -> int:
    """Print what may stand in place of the last word, one a line, and return the exit code of `_complete`."""
    offered = candidates(program, words, offers)
    for one in offered.found:
        output.say(one)
    return FILES if offered.files and not offered.found else output.DONE


def candidates(program: Program, words: list[str], offers: Mapping[ValueKind, Offer]) -> Candidates:
    """Return what may stand in the place of the last word.

    Args:
        program: the table.
        words: the words behind the program's name, the unfinished last one included.
        offers: the candidates for each kind of value that is the program's own.
    """
    offers = {HOST: _hosts, **offers}
    joined, kept = _joined(words or [""])
    *before, current = joined
    line = _CommandLine(program, current)
    for word in before:
        line.take(word)
    found, files = line.offered(offers)
    fitting = sorted({one for one in found if one.startswith(current) and _is_fit(one)})
    return Candidates([one[kept:] for one in fitting[:MAX_CANDIDATES]], files)


def _hosts(cursor: Cursor) -> list[str]:
    from daemonry.cli.hosts import known

    del cursor
    return known.names()


def _is_fit(candidate: str) -> bool:
    return len(candidate) <= MAX_CANDIDATE_CHARS and printable(candidate) == candidate


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


class _CommandLine:
    """A command line, read by the table as far as the cursor."""

    def __init__(self, program: Program, current: str) -> None:
        self._program = program
        self._at: Program | Command | None = program
        self._path: list[str] = []
        self._words: list[str] = []
        self._given: dict[str, list[str]] = {}
        self._waiting: Option | None = None  # for its value
        self._only_words = False  # behind `--`
        self._current = current

    def take(self, word: str) -> None:
        """Read the next word before the cursor."""
        if self._waiting is not None:
            self._given[self._waiting.flags[0]].append(word)
            self._waiting = None
        elif word == "--" and not self._only_words:
            self._only_words = True
        elif word.startswith("-") and len(word) > 1 and not self._only_words:
            self._take_option(word)
        elif self._at is not None and self._at.commands:
            self._descend(word)
        else:
            self._words.append(word)

    def _take_option(self, word: str) -> None:
        name, equals, value = word.partition("=")
        option = next((one for one in self._options() if name in one.flags), None)
        if option is None:
            if self._at is not None and not self._at.commands:
                self._words.append(word)
            return
        given = self._given.setdefault(option.flags[0], [])
        if not option.takes_value:
            given.append("")
        elif equals:
            given.append(value)
        else:
            self._waiting = option

    def _descend(self, word: str) -> None:
        assert self._at is not None
        below = (one for one in self._at.commands if word == one.name or word in one.aliases)
        self._at = next(below, None)
        self._path.append(self._at.name if self._at is not None else word)

    def _options(self) -> tuple[Option, ...]:
        own: tuple[Option, ...] = ()
        if isinstance(self._at, Program):
            own = (Option(self._at.version_names, "the version"), *self._at.leading)
        elif self._at is not None:
            own = self._at.options
        return (*own, *self._program.common, HELP_OPTION)

    def offered(self, offers: Mapping[ValueKind, Offer]) -> tuple[Iterable[str], bool]:
        """Return what may stand at the cursor, and whether files may."""
        if self._waiting is not None:
            return self._of_value(self._waiting, offers)
        if self._at is None:
            return (), False
        if self._current.startswith("-") and not self._only_words:
            return self._dashed(offers)
        if self._at.commands:
            return self._verbs(), False
        word = self._word()
        if word is None:
            return self._names_of_options(), False
        return self._of_value(word, offers)

    def _dashed(self, offers: Mapping[ValueKind, Offer]) -> tuple[Iterable[str], bool]:
        name, equals, _ = self._current.partition("=")
        option = next((one for one in self._options() if name in one.flags and one.takes_value), None)
        if equals and option is not None:
            begun = self._cursor()._replace(current=self._current[len(name) + 1 :])
            found, files = _values(option, begun, offers)
            return [f"{name}={one}" for one in found], files
        word = None if isinstance(self._at, Program) else self._word()
        dashed: Iterable[str] = ()
        if word is not None and word.kind.dashes:
            dashed, _ = self._of_value(word, offers)
        return [*dashed, *self._names_of_options(short=self._current == "-")], False

    def _names_of_options(self, *, short: bool = False) -> Iterator[str]:
        """Yield the options that may still be given, by their long names, or by all of them."""
        for option in self._options():
            if not option.help or (option.flags[0] in self._given and not option.repeated):
                continue
            long = [name for name in option.flags if name.startswith("--")]
            yield from option.flags if short or not long else long

    def _verbs(self) -> Iterator[str]:
        assert self._at is not None
        for command in self._at.commands:
            yield command.name
            if self._current:
                yield from command.aliases

    def _word(self) -> Word | None:
        """Return what stands at the cursor's place, if anything."""
        assert isinstance(self._at, Command)
        words = self._at.words
        if len(self._words) < len(words):
            return words[len(self._words)]
        return words[-1] if words and words[-1].many in ("*", "+") else None

    def _cursor(self) -> Cursor:
        return Cursor(" ".join(self._path), self._words, self._given, self._current)

    def _of_value(
        self, value: Option | Word, offers: Mapping[ValueKind, Offer]
    ) -> tuple[Iterable[str], bool]:
        return _values(value, self._cursor(), offers)


def _values(
    value: Option | Word, cursor: Cursor, offers: Mapping[ValueKind, Offer]
) -> tuple[Iterable[str], bool]:
    if value.choices:
        return value.choices, False
    offer = offers.get(value.kind)
    return (offer(cursor) if offer is not None else ()), value.kind.files


__all__ = [
    "Candidates",
    "Cursor",
    "Offer",
    "answer",
    "candidates",
    "print_script",
    "script",
]
