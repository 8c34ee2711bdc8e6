"""Whether a start may use a zygote, which one, and what of a process's state has to agree.

Pure: the facts come from `surroundings` and from the starter.
"""

from __future__ import annotations

from daemonry.bundle import hash_of
from daemonry.launch.zygote import SETTING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final

# The first of a zygote's words after `run`: the name of no module.
WORD: Final = ":zygote:"
# Of proc_pid_status(5): the user, the rights and the signals of a process.  exec passes these on.
_STATUS: Final = (
    b"Umask",
    b"Uid",
    b"Gid",
    b"Groups",
    b"CapInh",
    b"CapBnd",
    b"CapAmb",
    b"NoNewPrivs",
    b"Seccomp",
    b"Seccomp_filters",
    b"Cpus_allowed",
    b"Mems_allowed",
    b"SigBlk",
)
_IGNORED: Final = b"SigIgn"
# SIGPIPE and SIGXFSZ: every Python sets them to be ignored, and `subprocess` restores them before that.
_SET_BY_PYTHON: Final = 1 << 12 | 1 << 24


def why_not(environment: Mapping[str, str], *, own_program: bool, take_over: bool) -> str:
    """Return why a start does not use a zygote; "" where it does.

    Args:
        environment: the daemon's.
        own_program: whether the daemon runs `python -m daemonry` with the starter's interpreter.
        take_over: whether it takes over from a daemon that runs.
    """
    if environment.get(SETTING) != "1":
        return f"{SETTING} is not 1"
    if not own_program:
        return "another interpreter, or a packed or frozen program"
    if take_over:
        return "an upgrade: most often the files have just changed"
    if environment.get("DAEMONRY_DEV", "") not in ("", "0"):
        return "development mode: the files change all the time"
    if any(name.startswith("COVERAGE_PROCESS_") for name in environment):
        return "coverage.py follows programs from their first line"
    return ""


def material(python: str, environment: Iterable[bytes], inherited: bytes) -> bytes:
    """Return everything that the processes of one zygote have in common.

    Args:
        python: the path of the interpreter, and the facts about its file.
        environment: NAME=VALUE of each variable, without the boot fields.
        inherited: see `surroundings`.
    """
    return b"\n\n".join(
        (python.encode("utf-8", "surrogateescape"), b"\0".join(sorted(environment)), inherited)
    )


def key_of(text: bytes) -> str:
    """Return the name of the zygote for a material: 16 hexadecimal digits.

    Two materials with one key do no harm: the zygote compares the whole.
    """
    return hash_of(text).hex()


def passed_on(status: bytes) -> bytes:
    """Return what exec passes on of the text of /proc/PID/status."""
    found = []
    for line in status.split(b"\n"):
        name, _, told = line.partition(b":")
        if name in _STATUS:
            found.append(line)
        elif name == _IGNORED:
            found.append(b"%s:%x" % (name, int(told, 16) & ~_SET_BY_PYTHON))
    return b"\n".join(found)


def refusal(*, agrees: bool, changed: str, threads: int) -> str:
    """Return why a zygote does not fork; "" where it does.

    Args:
        agrees: whether the material of the starter is the zygote's own.
        changed: a file that is not as the zygote has loaded it, or "".
        threads: how many threads the zygote has.
    """
    if not agrees:
        return "other surroundings"
    if changed:
        return f"changed: {changed}"
    if threads != 1:
        return f"{threads} threads"
    return ""
