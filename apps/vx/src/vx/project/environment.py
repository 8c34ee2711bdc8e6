"""What the caller's environment says of a build: followed, or refused by name.

Owns the list of variables that cargo and compilers read.  One that is neither here nor read by a source
(`env!`) does not reach a job, so it changes nothing.  Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from vx.project.errors import Unsupported
from vx.reproducible import JOB_ENVIRONMENT

# Variables that compilers and linkers read as search paths: passed, and part of the key.
SEARCH_VARIABLES: Final = ("CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH")
# rustc takes unstable features with it, of all crates or of those named.
BOOTSTRAP: Final = "RUSTC_BOOTSTRAP"

_REFUSED_OF_RUST: Final = re.compile(
    r"RUSTC_WRAPPER|RUSTC_WORKSPACE_WRAPPER"
    r"|CARGO_BUILD_(RUSTC|RUSTC_WRAPPER|RUSTC_WORKSPACE_WRAPPER)"
    r"|CARGO_PROFILE_[A-Z0-9_]+(?<!_INCREMENTAL)"
    r"|CARGO_TARGET_[A-Z0-9_]+_(LINKER|RUSTFLAGS)"
)
# They name other programs, or have the compiler write files of its own.
_REFUSED_OF_C: Final = re.compile(
    r"GCC_EXEC_PREFIX|COMPILER_PATH|LD_RUN_PATH|DEPENDENCIES_OUTPUT|SUNPRO_DEPENDENCIES|CCC_OVERRIDE_OPTIONS"
)
# The variables with options for C.
FLAGS_OF_C: Final = ("CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS")
# Each has the compiler write a second file beside the object, which would be thrown away with the job.
_SECOND_OUTPUT: Final = re.compile(
    r"-gsplit-dwarf(=.*)?|--?coverage|-ftest-coverage|-save-temps(=.*)?|--save-temps(=.*)?|-fstack-usage"
    r"|-fcallgraph-info(=.*)?|-fdump-.*|-fsave-optimization-record|-ftime-trace(=.*)?|-aux-info"
    r"|-fopt-info.*=.*|-Wa,.*-a[a-z]*=.*|-fmodule-output(=.*)?"
)
# The same of the linker's options: words of `-Wl,` and those behind `-Xlinker`.
_SECOND_OUTPUT_OF_LINK: Final = re.compile(
    r"--?Map(=.*)?|--?dependency-file(=.*)?|--?out-implib(=.*)?|--?cmse-implib|--?time-trace(=.*)?|--?reproduce(=.*)?"
    r"|--?save-temps(=.*)?|--?lto-obj-path=.*|--?print-gc-keep-exported=.*"
)
# These name the output, or make another one of the source; vx does both.
_OTHER_OUTPUT: Final = re.compile(
    r"-o.*|--output(=.*)?|-M.*|-E|-S|-c|-fsyntax-only|-dump(dir|base|base-ext)|-Wp,.*-M.*|-Wa,.*-o.*"
    r"|--(preprocess|assemble|compile|(user-)?dependencies|write-(user-)?dependencies)"
)
_OTHER_OUTPUT_OF_LINK: Final = re.compile(r"-o.*|--output(=.*)?")
# gcc names profiles (.gcda) by the absolute path of the object, and each job has a directory of its own.
_PROFILES: Final = re.compile(r"-fprofile-(generate|arcs|use)(=.*)?")
# The same of rustc's options, `-C` as one word with what follows it.
_SECOND_OUTPUT_OF_RUST: Final = re.compile(
    r"-Csplit[-_]debuginfo=(?!off$).*|-Csave[-_]temps(=(?!(n|no|off|false)$).*)?|--emit(=.*)?|-o.*|--out-dir(=.*)?"
)
# The next word is a name, and not an option.
_WITH_A_NAME: Final = frozenset(
    ("-D", "-U", "-I", "-L", "-l", "-u", "-include", "-imacros", "-isystem", "-T", "-z")
)
_LINK_ARGUMENTS: Final = re.compile(r"-Clink-args?=(.*)", re.DOTALL)
_SECOND: Final = "its second output would be lost: take it out"
_OTHER: Final = "vx says what is made and where: take it out"
_BY_PLACE: Final = "a profile is found by the place of the build, which is another each time: take it out"
# A job's own, whatever a source reads of them.
_OF_JOBS: Final = frozenset((*JOB_ENVIRONMENT, "TMPDIR"))


def check_rust(env: Mapping[str, str]) -> None:
    """Refuse what cargo would follow and vx does not.

    Raises:
        Unsupported: a variable is set that would change the result.
    """
    _check(env, _REFUSED_OF_RUST)
    check_c(env)
    for error in _refused_flags_of_rust(env):
        raise error


def check_c(env: Mapping[str, str]) -> None:
    """Refuse what compilers would follow and jobs do not get.

    Raises:
        Unsupported: a variable is set that would change the result.
    """
    _check(env, _REFUSED_OF_C)
    for name in SEARCH_VARIABLES:
        if any(not one.startswith("/") for one in env.get(name, "/").split(":") if env.get(name)):
            raise Unsupported("the environment", f"{name} with a folder that is not absolute")


def check_c_flags(given: Mapping[str, Sequence[str]]) -> None:
    """Refuse the caller's options for C that have a second output, or another one.

    Args:
        given: the words of each of FLAGS_OF_C.

    Raises:
        Unsupported: one of them is among them.
    """
    for error in refused_flags_of_c(given):
        raise error


def refused_flags_of_c(given: Mapping[str, Sequence[str]]) -> list[Unsupported]:
    """Return all that `check_c_flags` would refuse, one after the other."""
    return [
        Unsupported("the environment", f"{word} in {name}", advice)
        for name, words in given.items()
        for word, advice in _with_outputs(words)
    ]


def _with_outputs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Return the words that have an output beside the one that vx keeps, and what to do about each."""
    for before, word in zip(("", *words), words, strict=False):
        if before in _WITH_A_NAME:
            continue
        linker = word.split(",")[1:] if word.startswith("-Wl,") else [word] if before == "-Xlinker" else []
        if linker:
            second = any(map(_SECOND_OUTPUT_OF_LINK.fullmatch, linker))
            other = any(map(_OTHER_OUTPUT_OF_LINK.fullmatch, linker))
            if any(one.startswith("@") for one in linker):
                yield word, "give its options themselves: a linker's file of options is not read"
        else:
            second = _SECOND_OUTPUT.fullmatch(word) is not None
            other = _OTHER_OUTPUT.fullmatch(word) is not None
            if _PROFILES.fullmatch(word):
                yield word, _BY_PLACE
        if second or other:
            yield word, _SECOND if second else _OTHER


def refused_of_rust(env: Mapping[str, str]) -> list[Unsupported]:
    """Return all that `check_rust` would refuse, one after the other."""
    named = (*_refused(env, _REFUSED_OF_RUST), *_refused(env, _REFUSED_OF_C))
    return [*named, *_refused_flags_of_rust(env)]


def refused_of_c(env: Mapping[str, str]) -> list[Unsupported]:
    """Return each variable that `check_c` would refuse by its name."""
    return _refused(env, _REFUSED_OF_C)


def _refused_flags_of_rust(env: Mapping[str, str]) -> list[Unsupported]:
    words = re.sub(r"(^|\x1f)(-C|--codegen)(\x1f|=)?", r"\1-C", "\x1f".join(rust_flags(env))).split("\x1f")
    found = [(word, _SECOND) for word in words if _SECOND_OUTPUT_OF_RUST.fullmatch(word)]
    given = [match[1] for word in words if (match := _LINK_ARGUMENTS.fullmatch(word))]
    found += _with_outputs([word for one in given for word in one.split()])
    return [Unsupported("the environment", f"{word} in rustc's flags", advice) for word, advice in found]


def _check(env: Mapping[str, str], refused: re.Pattern[str]) -> None:
    for error in _refused(env, refused):
        raise error


def _refused(env: Mapping[str, str], refused: re.Pattern[str]) -> list[Unsupported]:
    named = (name for name in sorted(env) if env[name] and refused.fullmatch(name))
    return [Unsupported("the environment", f"the variable {name}", "unset it") for name in named]


def rust_flags(env: Mapping[str, str]) -> list[str]:
    """Return the options for rustc, from the first of cargo's variables that is set, be it to nothing."""
    encoded = env.get("CARGO_ENCODED_RUSTFLAGS")
    if encoded is not None:
        return encoded.split("\x1f") if encoded else []
    return env.get("RUSTFLAGS", env.get("CARGO_BUILD_RUSTFLAGS", "")).split()


def search_variables(env: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's variables that say where to look."""
    return {name: env[name] for name in SEARCH_VARIABLES if env.get(name)}


def readable(env: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's variables that a source may read (`option_env!`): all but a job's own."""
    return {name: value for name, value in env.items() if name not in _OF_JOBS}
