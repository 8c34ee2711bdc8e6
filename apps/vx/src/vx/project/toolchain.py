"""What a compiler is: the driver, whatever it runs, and where that looks for files.

Owns the questions that a C compiler is asked, and how long an answer counts: as long as no file of the tool
chain, nor any that would be run in its place, is another by its path, times, size and inode.  What the driver
runs is seen by compiling and linking an empty program under `vx.project.watch`, so that a wrapper hides none
of it.  Questions are asked in the environment that jobs have.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from vx import digests
from vx.file_digests import FileDigests, Signature, is_settled, signature_of
from vx.project import processor, watch
from vx.project.c_includes import Folders
from vx.project.environment import search_variables
from vx.project.link_search import Link
from vx.reproducible import JOB_ENVIRONMENT

# A version is printed at once; a first start from a cold disk may take a few seconds.
ASK_TIMEOUT_S: Final = 30.0
# What drivers look for by name, in their own folders and then on the PATH.
_PARTS: Final = (
    *("as", "ld", "real-ld", "collect-ld", "ld.lld", "cc1", "cc1plus", "collect2", "lto1", "lto-wrapper"),
    *("nm", "specs", "liblto_plugin.so"),
)
# These decide which program is run, or where one is looked for.
_CHOOSING: Final = ("-B", "-fuse-ld", "-specs", "--specs", "-flto", "-m32", "-mx32", "-m64", "--sysroot")
_CHOOSING_TARGET: Final = ("-target", "--target", "--gcc-toolchain")
# These decide which folders are searched for headers.
_SEARCHING: Final = (
    *("-isystem", "-idirafter", "-isysroot", "-nostd", "-stdlib", "-m", "-B"),
    *("--sysroot", "--target", "--gcc-toolchain"),
)
_SOURCE: Final = "int main(void) { return 0; }\n"
# Programs are asked here, where even root makes no file: a `cc1` in the place of a linker compiles its empty
# standard input into `<stdin>.s`.
NOWHERE: Final = "/proc" if os.path.isdir("/proc/self") else "/"

Value = TypeVar("Value")


class CompilerMissing(Exception):
    """A compiler is not there, or does not answer; the text says what to install."""


class _Watched(msgspec.Struct, frozen=True):
    """What `watch` prints."""

    status: int
    files: list[str] = []


class Probe(msgspec.Struct, frozen=True):
    """An answer of a compiler, as it is kept over restarts.

    Attributes:
        chain: whose it is: the compiler's path and the variables that it was asked with.
        question: the words of its command.
        files: the files that it depends on.
        states: their signatures.
        answer: it: a `Link`, `Folders` or text.
    """

    chain: tuple[str, ...]
    question: tuple[str, ...]
    files: tuple[str, ...]
    states: tuple[tuple[int, ...] | None, ...]
    answer: Link | Folders | str


class Chain:
    """A compiler, as it answers in one environment."""

    def __init__(self, path: str, env: Mapping[str, str], digests_of: FileDigests) -> None:
        self.path = path
        self._env = job_environment(env)
        self._digests = digests_of
        self._known: dict[tuple[str, ...], tuple[tuple[object, ...], tuple[str, ...], object]] = {}

    def link(self, words: Sequence[str], language: str = "c") -> Link:
        """Return how it links, with the options that choose its programs.

        Raises:
            ToolMissing: it does not answer.
        """
        chosen = choosing(words)
        return self._once(("link", language, *chosen), lambda: self._link(chosen, language))

    def search(self, words: Sequence[str], language: str) -> Folders:
        """Return the folders that it searches for headers by itself, with these options.

        Raises:
            ToolMissing: it does not answer.
        """
        chosen = _without_folders(words)
        return self._once(("search", language, *chosen), lambda: self._search(chosen, language))

    def native(self, words: Sequence[str]) -> str:
        """Return what `native` stands for in these options, in the compiler's own words; "" without it.

        A script may say `native` by itself, so it is asked in any case.  No file tells which processor the
        answer is of: the same disk may start on another one.

        Raises:
            ToolMissing: it does not answer.
        """
        chosen = tuple(one for one in words if one.endswith("=native"))
        if not chosen and not self._once(("script",), self._is_script):
            return ""
        return self._once(("native", processor.described(), *chosen), lambda: self._native(chosen))

    def told(self, chain: tuple[str, ...]) -> list[Probe]:
        """Return its answers, to be kept."""
        return [
            Probe(chain, question, files, states, answer)  # type: ignore[arg-type]
            for question, (states, files, answer) in list(self._known.items())
        ]

    def believe(self, probe: Probe) -> None:
        """Take an answer that was kept; it counts as long as its files look the same."""
        self._known.setdefault(probe.question, (probe.states, probe.files, probe.answer))

    # --- asking -----------------------------------------------------------------------------------

    def _link(self, words: tuple[str, ...], language: str) -> tuple[Link, list[str], list[str]]:
        version = self._ask("--version")[0]
        programs, folders = _search_dirs(self._ask(*words, "-print-search-dirs")[0])
        ran, told_by = self._watch(words, language)
        if not ran:  # nobody may look on here: as far as the driver tells
            named = [self._ask(*words, f"-print-prog-name={one}")[0].strip() for one in _PARTS]
            ran = [path for one in named if (path := _on_path(one, self._env)) is not None]
        paths = [*programs, *self._env["PATH"].split(os.pathsep)]
        machine = self._ask("-dumpmachine")[0].strip()
        names = dict.fromkeys((*_PARTS, *(f"{machine}-{one}" for one in _PARTS), *map(os.path.basename, ran)))
        candidates = [f"{folder}/{one}" for folder in dict.fromkeys(paths) for one in names]
        # gcc reads specs of each folder in which it looks for start files, too: of LIBRARY_PATH as well.
        named = self._env.get("LIBRARY_PATH", "").split(os.pathsep)
        candidates += [f"{one}/specs" for one in dict.fromkeys((*folders, *filter(None, named)))]
        specs = [one for one in candidates if one.endswith("/specs")]
        seen = dict.fromkeys([os.path.realpath(self.path), *ran, *filter(os.path.isfile, specs)])
        contents = sorted(f"{os.path.basename(one)} {self._digest(one)}" for one in seen)
        identity = digests.of_bytes("\n".join((version, *contents)).encode())
        linker = next((one for one in ran if os.path.basename(one) in ("ld", "ld.bfd")), "ld")
        folders += _script_folders(self._ask_program(linker, "--verbose"))
        files = dict.fromkeys((self.path, *seen, *(f"/{one.removeprefix('/usr/')}" for one in seen)))
        return Link(identity, tuple(folders), told_by, tuple(files)), [self.path, *seen, *candidates], [*seen]

    def _watch(self, words: tuple[str, ...], language: str) -> tuple[list[str], str]:
        """Compile and link an empty program; return all that ran, and how the linker lists its inputs."""
        option = "-Wl,--dependency-file="
        with tempfile.TemporaryDirectory(prefix="vx-") as folder:
            source, made, told = f"{folder}/main.{language}", f"{folder}/main", f"{folder}/main.d"
            with open(source, "w", encoding="ascii") as file:
                file.write(_SOURCE)
            command = [sys.executable, "-S", "-E", watch.__file__, self.path, *words, source, "-o", made]
            env = {**self._env, "HOME": folder, "TMPDIR": folder}
            for last, how in (([f"{option}{told}"], option), ([], "")):
                answer = run([*command, *last], env).stdout
                seen = msgspec.json.decode(answer, type=_Watched) if answer else _Watched(1)
                if seen.status == 0 and (not how or os.path.exists(told)):
                    return seen.files, how
            return seen.files, ""

    def _search(self, words: tuple[str, ...], language: str) -> tuple[Folders, list[str], list[str]]:
        mode = "c++" if language == "cc" else "c"
        _, told = self._ask(*words, "-E", "-v", "-x", mode, os.devnull, "-o", os.devnull)
        found = _search_list(told)
        return found, [self.path, *found.missing], [self.path]

    def _is_script(self) -> tuple[str, list[str], list[str]]:
        return "yes" if is_script(self.path) else "", [self.path], [self.path]

    def _native(self, words: tuple[str, ...]) -> tuple[str, list[str], list[str]]:
        try:
            _, told = self._ask(*words, "-###", "-E", "-x", "c", os.devnull)
        except CompilerMissing:
            if words:
                raise
            told = ""  # a script of its own kind, that does not know the question
        (*_, line) = [one for one in told.splitlines() if os.devnull in one] or [told]
        return " ".join(word for word in line.split() if "/" not in word), [self.path], [self.path]

    def _ask(self, *words: str) -> tuple[str, str]:
        done = run([self.path, *words], self._env)
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            reason = said[0] if said else f"it ended with {done.returncode}"
            raise CompilerMissing(f"{self.path} does not work here: {reason}")
        return done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")

    def _ask_program(self, name: str, word: str) -> str:
        path = _on_path(name, self._env)
        return run([path, word], self._env).stdout.decode("utf-8", "replace") if path is not None else ""

    def _digest(self, path: str) -> str:
        try:
            return self._digests.digest(path) or "none"
        except OSError:
            return "unreadable"

    def _once(self, key: tuple[str, ...], make: Callable[[], tuple[Value, list[str], list[str]]]) -> Value:
        """Return the answer to a question: an earlier one, or what `make` returns.

        `make` returns the files that it depends on, too, and those of them that have to be there.
        """
        known = self._known.get(key)
        if known is not None and known[0] == tuple(map(state_of, known[1])):
            return known[2]  # type: ignore[return-value]
        asked_ns = time.time_ns()
        value, files, ran = make()
        watched = tuple(dict.fromkeys(files))
        states = tuple(map(state_of, watched))
        # What changed since then, or went, may not be what the answer is about: it is asked again next time.
        if all_rested(states, asked_ns) and all(map(os.path.exists, ran)):
            self._known[key] = (states, watched, value)
        return value


def job_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which a job would ask, for a caller's."""
    return {**JOB_ENVIRONMENT, "LC_ALL": "C", **search_variables(env)}


def run(
    command: list[str], env: Mapping[str, str], directory: str = NOWHERE
) -> subprocess.CompletedProcess[bytes]:
    """Run a program that answers a question.

    Raises:
        ToolMissing: it cannot be run, or takes too long.
    """
    try:
        return subprocess.run(
            command,
            env=dict(env),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ASK_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CompilerMissing(f"{command[0]} cannot be asked for its version: {error}") from None


def state_of(path: str) -> Signature | None:
    """Return what tells a file from another without reading it; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return signature_of(found)


def all_rested(states: Iterable[Signature | None], asked_ns: int) -> bool:
    """Whether files that look so have not changed since a question was asked, nor just before.

    Args:
        states: theirs, after the answer.
        asked_ns: when, since 1970.
    """
    return all(one is None or is_settled(one, asked_ns) for one in states)


def is_script(path: str) -> bool:
    """Whether a program is a text that another program reads."""
    try:
        with open(digests.open_file(path), "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def choosing(words: Sequence[str]) -> tuple[str, ...]:
    """Return the options that choose which programs a driver runs; rustc's `link-arg` counts as one."""
    plain = [word.partition("link-arg=")[2] or word for word in words]
    found: list[str] = []
    for number, word in enumerate(plain):
        if word.startswith((*_CHOOSING, *_CHOOSING_TARGET)):
            found.append(word)
            if word in ("-B", *_CHOOSING_TARGET) and number + 1 < len(plain):
                found.append(plain[number + 1])
    return tuple(found)


def _without_folders(words: Sequence[str]) -> tuple[str, ...]:
    """Return the options that matter for where headers are searched, less `-I` and `-iquote`."""
    kept: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        if word in ("-isystem", "-idirafter", "-target", "--sysroot", "-isysroot", "-B"):
            kept += words[at : at + 2]
            at += 1
        elif word.startswith(_SEARCHING):
            kept.append(word)
        at += 1
    return tuple(kept)


def _search_list(told: str) -> Folders:
    angled: list[str] = []
    missing: list[str] = []
    inside = False
    for line in told.splitlines():
        if line.startswith("ignoring nonexistent directory "):
            missing.append(os.path.normpath(line.partition('"')[2].rstrip('"')))
        elif line.startswith("#include <...>"):
            inside = True
        elif line.startswith("End of search list"):
            inside = False
        elif inside and line.startswith(" "):
            angled.append(os.path.normpath(line.strip().removesuffix(" (framework directory)")))
    absolute = [one for one in missing if one.startswith("/")]
    is_gcc = any(line.startswith("gcc version ") for line in told.splitlines())
    return Folders(tuple(angled), (), tuple(dict.fromkeys(absolute)), is_gcc)


def _search_dirs(told: str) -> tuple[list[str], list[str]]:
    found: dict[str, list[str]] = {}
    for line in told.splitlines():
        name, _, value = line.partition(": =")
        if value:
            folders = dict.fromkeys(os.path.normpath(one) for one in value.split(os.pathsep) if one)
            found[name] = list(folders)
    return found.get("programs", []), found.get("libraries", [])


def _script_folders(told: str) -> list[str]:
    pieces = told.split('SEARCH_DIR("')[1:]
    return [os.path.normpath(one.partition('"')[0].lstrip("=")) for one in pieces]


def _on_path(name: str, env: Mapping[str, str]) -> str | None:
    if "/" in name:
        return name if os.access(name, os.X_OK) else None
    for folder in env["PATH"].split(os.pathsep):
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    return None
