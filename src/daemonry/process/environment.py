"""The environment of a daemon: the variables that it takes from its starter, compared with a caller's.

A daemon outlives the shell that happened to start it and serves others, so it takes what its program
declared and nothing else: a token of one terminal is not to stay in a process for weeks.

Owns the lists, the choice, and the comparison.  Values are never written down: what a caller compares
with is a checksum of each.
"""

from __future__ import annotations

import os

from daemonry import faults, strict_json
from daemonry.limits import MAX_ENVIRONMENT_BYTES
from daemonry.process.regular_file import read_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final

# The largest prime below 2**32.  The rest of a division by it is a checksum that needs no module:
# `zlib`, for its crc32, would cost a `status` more than all that it compares.
_PRIME: Final = 4_294_967_291

# What every daemon takes: who and where the user is, how they write and when it is, where the
# interpreter finds its modules and its own files.  A name that ends in `*` stands for all that begin so.
# Not: DISPLAY and the like, which belong to one session; TERM, for there is no terminal; proxies,
# keys and tokens, which a program that needs them declares.
DEFAULT: Final = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_DIRS",
    "XDG_CONFIG_HOME",
    "XDG_DATA_DIRS",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    "PYTHON*",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "DYLD_*",
)
# Ours, and those by which coverage.py follows child processes: they tell of the start and are not compared.
_ALWAYS: Final = ("DAEMONRY_*", "COVERAGE_PROCESS_*")


def patterns_of(name: str, declared: Iterable[str]) -> tuple[str, ...]:
    """Return the variables that the daemon called `name` takes: default ones, its own, and declared ones."""
    prefix = "".join(char if char.isalnum() else "_" for char in name.upper())
    return (*DEFAULT, f"{prefix}_*", *declared)


def chosen(environ: Mapping[str, str], patterns: Iterable[str]) -> dict[str, str]:
    """Return the variables that the patterns name: `NAME`, or `NAME*` for all that begin so."""
    exact = set()
    prefixes = []
    for pattern in patterns:
        if pattern.endswith("*"):
            prefixes.append(pattern[:-1])
        else:
            exact.add(pattern)
    beginnings = tuple(prefixes)
    # Values are looked up for those that count only: `os.environ` decodes each as it is asked for.
    return {name: environ[name] for name in environ if name in exact or name.startswith(beginnings)}


def pick_environment(*names: str) -> dict[str, str]:
    """Return the caller's variables of these names (`NAME`, or `NAME*`), to be sent with a call.

    A daemon does not see its callers' environments, and must not guess them from its own.  A method
    whose work depends on some has a parameter for them, `env: dict[str, str]`, and names them here on
    the caller's side; the programs that it runs get exactly these.
    """
    return chosen(os.environ, names)


def for_daemon(patterns: Iterable[str]) -> dict[str, str]:
    """Return what of this process's environment a daemon takes."""
    return chosen(os.environ, (*patterns, *_ALWAYS))


def write_sums(path: str, patterns: tuple[str, ...]) -> None:
    """Write down which variables this daemon takes, and a checksum of each value that it has.

    Raises:
        OSError: it could not be written.
    """
    from daemonry.process.atomic_file import write_atomically

    fields = {"patterns": list(patterns), "rests": _rests(chosen(os.environ, patterns))}
    write_atomically(path, strict_json.encode_names(fields).encode(), durable=False)


def drift(path: str) -> list[str]:
    """Return the names of the variables that the daemon has otherwise than this process; [] if not known."""
    try:
        fields = strict_json.decode_object(
            read_regular(path, MAX_ENVIRONMENT_BYTES).decode(), with_names=True
        )
        patterns, theirs = fields["patterns"], fields["rests"]
        mine = _rests(chosen(os.environ, patterns))
    except (OSError, KeyError, TypeError, AttributeError, ValueError, faults.BadFrame):
        return []
    return sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))


def _rests(values: Mapping[str, str]) -> dict[str, int]:
    # With the name in front, so that a value of a few characters is not its own rest.
    return {
        name: int.from_bytes(os.fsencode(f"{name}={value}"), "big") % _PRIME for name, value in values.items()
    }
