"""Whether the files that a zygote has loaded are still the same, so that no daemon runs old code.

Owns the list: the sources of all modules, every file that is mapped (the interpreter, its libraries,
extension modules), and where modules are looked for, for one that is installed there now would be found.
"""

from __future__ import annotations

import os
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final

    Facts = tuple[int, int, int, int, int]

# A file's times are taken from a clock that ticks this seldom, at worst (100 Hz).
_TICK_NS: Final = 20_000_000
_FACTS: Final = struct.Struct("=qqqQQ")
_NO_FILE: Final = (-(1 << 63), 0, 0, 0, 0)


class Loaded:
    """The files, as they are now.

    Paths and facts stand together: to look at them is to count references to them, and each page where one
    of them stood would be copied between one daemon's fork and the next's.

    Args:
        began_ns: when the process was started, in nanoseconds since the epoch.
    """

    __slots__ = ("_facts", "_paths", "_since_ns")

    def __init__(self, began_ns: int) -> None:
        self._since_ns = began_ns - _TICK_NS
        paths = sorted(set(_paths()))
        self._paths: bytes = b"".join(os.fsencode(path) + b"\0" for path in paths)
        self._facts: bytes = b"".join(_FACTS.pack(*_facts(path)) for path in paths)

    def changed(self) -> str:
        """Return a file that has changed since the process was started; "" where there is none."""
        start = at = 0
        while start < len(self._paths):
            end = self._paths.index(0, start)
            path = self._paths[start:end]
            facts = _facts(path)
            # One that changed while it was being loaded: which state was loaded, nobody knows.
            if _FACTS.unpack_from(self._facts, at) != facts or facts[0] >= self._since_ns:
                return os.fsdecode(path)
            start = end + 1
            at += _FACTS.size
        return ""


def _facts(path: str | bytes) -> Facts:
    """Return a file's ctime and mtime in nanoseconds, its size and identity; for none what no file has."""
    try:
        found = os.stat(path)
    except OSError:
        return _NO_FILE
    return found.st_ctime_ns, found.st_mtime_ns, found.st_size, found.st_dev, found.st_ino


def _paths() -> Iterator[str]:
    for module in list(sys.modules.values()):
        source = getattr(module, "__file__", None)
        if isinstance(source, str) and source:
            yield source
    yield from _mapped()
    yield from (sys.executable, f"{sys.prefix}/pyvenv.cfg", f"{os.path.dirname(sys.executable)}/pyvenv.cfg")
    yield from _places(sys.path)


def _places(directories: Iterable[str]) -> Iterator[str]:
    """Yield the directories that modules are looked for in, and the files in them that name further ones."""
    for directory in directories:
        if (
            directory == "/"
        ):  # the working directory: whatever is mounted there changes it, and nobody puts modules there
            continue
        yield directory
        try:
            names = os.listdir(directory)
        except OSError:
            continue
        yield from (os.path.join(directory, name) for name in names if name.endswith(".pth"))


def _mapped() -> Iterator[str]:
    """Yield the files that are mapped, by proc_pid_maps(5): the path is the sixth column."""
    with open("/proc/self/maps", "rb") as lines:
        for line in lines:
            columns = line.rstrip(b"\n").split(None, 5)
            if len(columns) == 6 and columns[5].startswith(b"/"):
                yield os.fsdecode(columns[5])
