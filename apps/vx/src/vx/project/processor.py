"""The processor of this machine, for results that are made for it (`target-cpu=native`).

Owns which lines of /proc/cpuinfo tell one processor's instructions from another's.
"""

from __future__ import annotations

import functools
import platform
from typing import Final

from vx import digests

CPUINFO: Final = "/proc/cpuinfo"
_TELLING: Final = frozenset(
    (
        *("vendor_id", "cpu family", "model", "model name", "flags", "cache size"),  # x86
        *("Features", "CPU implementer", "CPU architecture", "CPU variant", "CPU part"),  # ARM
        *("isa", "cpu", "machine"),  # RISC-V, POWER
    )
)


def described_by(text: str) -> str:
    """Return what a /proc/cpuinfo tells of the processors' kinds: the same for the same kinds."""
    kinds = {
        "\n".join(
            f"{name.strip()}: {value.strip()}"
            for name, _, value in (line.partition(":") for line in one.splitlines())
            if name.strip() in _TELLING
        )
        for one in text.split("\n\n")
    }
    return "\n\n".join(sorted(kinds - {""}))


@functools.cache
def described() -> str:
    """Return what tells this machine's processor from another kind; it does not change while we run."""
    try:
        with open(CPUINFO, encoding="utf-8", errors="replace") as file:
            told = described_by(file.read())
    except OSError:
        told = ""
    name = platform.processor() or platform.machine()
    return f"{name} [{digests.of_bytes(told.encode())[:16]}]"
