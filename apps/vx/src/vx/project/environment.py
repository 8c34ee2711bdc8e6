"""What the caller's environment says of a build: followed, or refused by name.

Owns the list of variables that cargo and compilers read.  One that is neither here nor read by a source
(`env!`) does not reach a job, so it changes nothing.  Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from vx.interfaces import JOB_ENVIRONMENT
from vx.project.errors import Unsupported

# Variables that compilers and linkers read as search paths: passed, and part of the key.
SEARCH_VARIABLES: Final = ("CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH")
# rustc takes unstable features with it, of all crates or of those named.
BOOTSTRAP: Final = "RUSTC_BOOTSTRAP"

_REFUSED_OF_RUST: Final = re.compile(
    r"RUSTC_WRAPPER|RUSTC_WORKSPACE_WRAPPER"
    r"|CARGO_BUILD_(RUSTC|RUSTC_WRAPPER|RUSTC_WORKSPACE_WRAPPER|TARGET)"
    r"|CARGO_PROFILE_[A-Z0-9_]+(?<!_INCREMENTAL)"
    r"|CARGO_TARGET_[A-Z0-9_]+_(LINKER|RUSTFLAGS)"
)
# They name other programs, or have the compiler write files of its own.
_REFUSED_OF_C: Final = re.compile(
    r"GCC_EXEC_PREFIX|COMPILER_PATH|LD_RUN_PATH|DEPENDENCIES_OUTPUT|SUNPRO_DEPENDENCIES|CCC_OVERRIDE_OPTIONS"
)
_FLAGS_OF_C: Final = ("CFLAGS", "CXXFLAGS", "CPPFLAGS")
# Each has the compiler write a second file beside the object, which would be thrown away with the job.
_SECOND_OUTPUT: Final = re.compile(
    r"-gsplit-dwarf(=.*)?|--?coverage|-ftest-coverage|-save-temps(=.*)?|--save-temps(=.*)?|-fstack-usage"
    r"|-fcallgraph-info(=.*)?|-fdump-.*|-fsave-optimization-record"
)
# The same of rustc's options, `-C` as one word with what follows it.
_SECOND_OUTPUT_OF_RUST: Final = re.compile(
    r"-Csplit[-_]debuginfo=(?!off$).*|-Csave[-_]temps(=(?!(n|no|off|false)$).*)?|--emit(=.*)?|-o.*|--out-dir(=.*)?"
)
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


def check_c_flags(env: Mapping[str, str]) -> None:
    """Refuse the caller's options for C that have a second output.

    Raises:
        Unsupported: one of them is in CFLAGS, CXXFLAGS or CPPFLAGS.
    """
    for name in _FLAGS_OF_C:
        for word in env.get(name, "").split():
            if _SECOND_OUTPUT.fullmatch(word):
                raise Unsupported("the environment", f"{word} in {name}", "its second output would be lost")


def refused_of_rust(env: Mapping[str, str]) -> list[Unsupported]:
    """Return all that `check_rust` would refuse, one after the other."""
    named = (*_refused(env, _REFUSED_OF_RUST), *_refused(env, _REFUSED_OF_C))
    return [*named, *_refused_flags_of_rust(env)]


def _refused_flags_of_rust(env: Mapping[str, str]) -> list[Unsupported]:
    words = re.sub(r"(^|\x1f)(-C|--codegen)(\x1f|=)?", r"\1-C", "\x1f".join(rust_flags(env))).split("\x1f")
    return [
        Unsupported("the environment", f"{word} in rustc's flags", "its second output would be lost")
        for word in words
        if _SECOND_OUTPUT_OF_RUST.fullmatch(word)
    ]


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
