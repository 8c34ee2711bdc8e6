"""What a daemon runs on, and whether it is still what lies on the disk: its code and its configuration.

Owns the comparison.  At the start it looks at every file that it has imported, apart from the standard
library's, and at STATUS asks only for their sizes and times: no file is read.  Of installed packages it
looks at the directory that they are installed in first: an installer that exchanges one writes its
metadata there, and while nothing has come or gone there the files are left alone.  A package that was
upgraded under a daemon which goes on running the old one is seen, and so is a configuration file that
nobody has reloaded.
"""

from __future__ import annotations

import os
import sys
import time
import zlib
from itertools import islice
from typing import Any, Final

from daemonry import clock

# A file's identity for people: what an installer and an editor change.
_Seen = tuple[int, int, int]

_MOST_TOLD: Final = 5


def _look(path: str) -> _Seen | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


# Where the standard library is, with the installed packages below it or elsewhere.
_STANDARD: Final = os.path.dirname(os.__file__) + os.sep
_INSTALLED: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def _installed_in(path: str) -> str:
    """Return the directory that an installed file's package is installed in; "" for one that is not."""
    for part in _INSTALLED:
        directory, found, _ = path.rpartition(part)
        if found:
            return directory + part
    return ""


class _Files:
    """Files as they were when they were imported, and which of them are others now."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen | None] = {}

    def add(self, path: str) -> None:
        if path not in self._seen:
            self._seen[path] = _look(path)

    def changed(self) -> list[str]:
        return [path for path, seen in self._seen.items() if _look(path) != seen]

    def saved_between(self, first_s: float, last_s: float) -> list[str]:
        """Return the files that were written after the process began and before they were looked at."""
        return [
            path
            for path, seen in self._seen.items()
            if seen is not None and first_s < seen[0] / 1e9 <= last_s
        ]

    @property
    def paths(self) -> list[str]:
        """The files."""
        return list(self._seen)


class _Installed(_Files):
    """The same for the packages in one directory, which are looked at when the directory has changed."""

    def __init__(self, directory: str) -> None:
        super().__init__()
        self._directory = directory
        self._directory_seen = _look(directory)
        self._found: list[str] = []

    def changed(self) -> list[str]:
        now = _look(self._directory)
        if now != self._directory_seen:
            self._directory_seen = now
            self._found = super().changed()
        return self._found


class Code:
    """The files that this process has imported, as they were when it was made; later ones as they come.

    Args:
        thorough: look at each installed file too, and take a file for changed that was saved while the
            process began: it may have been read before.  For development.
    """

    def __init__(self, *, thorough: bool = False) -> None:
        self._thorough = thorough
        self._made_s = time.time()
        self._modules = 0
        self._last: tuple[str, Any] = "", None
        self._known: set[str] = set()
        self._places: dict[str, _Files] = {"": _Files()}
        self._add_new()

    @classmethod
    def of_this_process(cls, *, thorough: bool) -> Code:
        """Return what a zygote has looked at for its daemons, with what came since; elsewhere all of it."""
        if _ahead is None or _ahead._thorough != thorough:  # noqa: SLF001  # of this class
            return cls(thorough=thorough)
        _ahead._made_s = time.time()  # noqa: SLF001
        _ahead._add_new()  # noqa: SLF001
        return _ahead

    def _add_new(self) -> None:
        for module in self._new_modules():
            path = getattr(module, "__file__", None)
            if isinstance(path, str) and path not in self._known:
                self._known.add(path)
                self._add(path)

    def _new_modules(self) -> list[Any]:
        """Return the modules that came since the last time, and maybe others.

        The first ones are left alone if they can be: in a daemon that a zygote has forked, a look at a module
        makes a copy of the page that it is in.
        """
        more = len(sys.modules) - self._modules
        if more >= 0:  # they are in the order in which they came
            latest = list(islice(reversed(sys.modules.items()), more + 1))
            name, module = latest[-1]
            if name == self._last[0] and module is self._last[1]:  # none has gone
                self._modules += more
                self._last = latest[0]
                return [module for _, module in latest[:-1]]
        every = list(sys.modules.items())
        self._modules = len(every)
        self._last = every[-1]
        return [module for _, module in every]

    def _add(self, path: str) -> None:
        directory = "" if self._thorough else _installed_in(path)
        if directory not in self._places:
            self._places[directory] = _Installed(directory)
        if _installed_in(path) or not path.startswith(_STANDARD):
            self._places[directory].add(path)

    def changed(self) -> list[str]:
        """Return the files that differ from the imported ones, a few of them."""
        found = {path for files in self._places.values() for path in files.changed()}
        if self._thorough:
            for files in self._places.values():
                found.update(files.saved_between(clock.BEGAN_S, self._made_s))
        self._add_new()
        return sorted(found)[:_MOST_TOLD]

    def own_files(self) -> list[str]:
        """Return the files that are not installed packages'."""
        self._add_new()
        return [path for path in self._places[""].paths if not _installed_in(path)]


# What a zygote has looked at for the daemons that it forks.
_ahead: Code | None = None


def look_ahead(*, thorough: bool) -> None:
    """Look at the files of all modules now, for the daemons that this process forks.

    A zygote refuses to fork once one of them is another than it has loaded, so these looks are those of a
    daemon that looks itself, but for what changes while that starts: that counts as changed, as it is.

    Args:
        thorough: as for `Code`.
    """
    global _ahead  # noqa: PLW0603  # a process has one such state
    _ahead = Code(thorough=thorough)


class Settings:
    """A configuration file, as it was before it was read.

    Args:
        path: the file; "" for none.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen = self._next = _look(path) if path else None

    def reading(self) -> None:
        """Note how the file is, before it is read again."""
        self._next = _look(self._path) if self._path else None

    def counts(self) -> None:
        """Note that the values read last are in force."""
        self._seen = self._next

    def changed(self) -> bool:
        """Whether the file is another than the one that is in force."""
        return bool(self._path) and _look(self._path) != self._seen


def of_config(config: Any) -> str:
    """Return eight digits that tell two configurations apart, whatever file they are from."""
    import msgspec

    encoded = msgspec.json.encode(config, enc_hook=repr, order="deterministic")
    return f"{zlib.crc32(encoded):08x}"


class Fingerprint:
    """What STATUS tells of both.

    Args:
        settings: the configuration file.
        config: returns the configuration in force, or None.
        code: the files that were imported.
    """

    def __init__(self, settings: Settings, config: Any, code: Code) -> None:
        self._code = code
        self._settings = settings
        self._config = config
        self._told: tuple[int, str] = (0, "")

    def fields(self) -> dict[str, Any]:
        """Return `config_fingerprint`; and `config_changed`, `code_changed` where the disk has others."""
        fields: dict[str, Any] = {}
        config = self._config()
        if config is not None:
            if self._told[0] != id(config):  # a reload exchanges the whole value
                self._told = (id(config), of_config(config))
            fields["config_fingerprint"] = self._told[1]
        if self._settings.changed():
            fields["config_changed"] = True
        changed = self._code.changed()
        if changed:
            fields["code_changed"] = changed
        return fields
