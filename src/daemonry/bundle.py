"""The code of the quick commands' modules from one file, as long as their sources are unchanged.

Owns reading it.  A quick command imports about thirty modules, and to find and read each of them takes a
third of the time of bare Python.  The bundle costs one file, of which only what is imported is read, and one
`stat` per module.  `bundle_writing` makes it.

The file stands where Python would put the bytecode of a module beside the package, and is trusted like that:

    HEADER      the format and Python's magic number
    hash        of the index, 8 bytes
    length      of the index, 4 bytes, little endian
    index       {module: Entry}, marshalled
    code        of each module, marshalled: Entry has its place and its hash

A module comes out of the bundle if the import system would find its source at the same path, and the source
has the times and the size that the index names.  In every other case Python imports the module in its usual
way, without a word: the file is missing, cut, corrupt, of another Python, or of another user; an import hook
wants to see the source.  DAEMONRY_BUNDLE=0 turns it off.

A second one has the modules of a daemon's start, so that the commands' is no longer than they need.
"""

# No `from __future__`: it is a module too, and this one is imported first.
import _frozen_importlib_external as machinery  # importlib.machinery, and loaded already
import _imp
import _thread
import gc
import marshal
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType
    from typing import Any, Final

    # Source: path, mtime_ns, ctime_ns, bytes, whether a package.  The modules to load first.
    # Code: where it starts, how long it is, its hash.  The path of Python's bytecode file.
    Entry = tuple[str, int, int, int, bool, tuple[str, ...], int, int, bytes, str]

HEADER: "Final" = b"daemonry bundle 1\n" + machinery.MAGIC_NUMBER
# siphash13, as Python has it for hashed bytecode: against disks and power cuts, not against people.
HASH_BYTES: "Final" = 8
LENGTH_BYTES: "Final" = 4
START: "Final" = len(HEADER) + HASH_BYTES + LENGTH_BYTES
# The quick commands have about 800 KiB, and the modules of programs come on top; a daemon has 1.6 MiB.
MOST_BYTES: "Final" = 3 << 20
QUICK: "Final" = "daemonry-quick"
DAEMON: "Final" = "daemonry-daemon"
OFF: "Final" = "DAEMONRY_BUNDLE"
# Where no two looks at a file agree, most commands still need not pay for a new bundle.
LEAST_AGE_S: "Final" = 60.0
_KIND_AND_WRITABLE_BY_OTHERS: "Final" = 0o170022
_REGULAR: "Final" = 0o100000


class Bundle:
    """A finder of modules, for `sys.meta_path`.

    Attributes:
        path: the file.
        entries: the index.
        made_s: when it was written, in seconds since the epoch; 0.0 for never.
        missed: the top-level packages of which a module was imported in the usual way.
        packages: those whose modules the bundle is for.
    """

    __slots__ = ("_code_at", "entries", "made_s", "missed", "packages", "path")

    def __init__(self, path: str) -> None:
        self.path: str = path
        self.entries: dict[str, Entry] = {}
        self.made_s: float = 0.0
        self.missed: set[str] = set()
        self.packages: set[str] = {"daemonry"}
        self._code_at = 0
        try:
            self._read()
        except (OSError, ValueError, EOFError, TypeError):
            self.entries = {}

    def _read(self) -> None:
        fd = self._opened()
        try:
            head = os.read(fd, START)
            length = int.from_bytes(head[START - LENGTH_BYTES :], "little")
            if not head.startswith(HEADER) or length > MOST_BYTES:
                return
            index = os.read(fd, length)
        finally:
            os.close(fd)
        if hash_of(index) == head[len(HEADER) : len(HEADER) + HASH_BYTES]:
            self._code_at = START + length
            self.entries = marshal.loads(index)  # noqa: S302  # trusted like Python's own bytecode files

    def _opened(self) -> int:
        """Open the file, for one module and those that it needs: a program keeps no descriptor of ours.

        Raises:
            OSError: it cannot be opened, or is not trusted.
        """
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        found = os.fstat(fd)
        if not _is_trusted(found) or found.st_size > MOST_BYTES:
            os.close(fd)
            raise OSError(self.path)
        self.made_s = found.st_mtime
        return fd

    def find_spec(self, name: str, path: "Sequence[str] | None", target: object = None) -> "Any":
        """Return the spec of a module whose source is as the bundle says; None for every other.

        The modules that it imports are loaded on the way: to look for each costs more than to load it.
        """
        del target
        if path is None:
            return None
        code = None
        if name in self.entries:
            try:
                fd = self._opened()
            except OSError:
                self.entries = {}
            else:
                try:
                    code = self._code_and_needed(name, path, fd)
                finally:
                    os.close(fd)
        if code is None:
            self.missed.add(name.partition(".")[0])
            return None
        spec = self._spec(name)
        spec.loader.get_code = lambda _name: code
        return spec

    def _code_and_needed(self, name: str, path: "Sequence[str]", fd: int) -> "CodeType | None":
        """Return the code of a module, and load those that it needs; None where Python should import it."""
        code = self._code(name, path, fd)
        if code is None or not _is_alone():  # what follows is without the import system's locks
            return code
        collects = gc.isenabled()
        gc.disable()  # it would look through all that is loaded, and find nothing
        try:
            for needed in self.entries[name][5]:
                if needed not in sys.modules and not self._load(needed, fd):
                    break
        finally:
            if collects:
                gc.enable()
        return code

    def _code(self, name: str, path: "Sequence[str]", fd: int) -> "CodeType | None":
        """Return the code of a module; None where it is not in the bundle, or not as its source is now.

        Args:
            name: the module's.
            path: the directories of its package.
            fd: the file, which may be a newer one than that of the index: then no hash is right.
        """
        entry = self.entries.get(name)
        if entry is None:
            return None
        file, mtime_ns, ctime_ns, size, is_package, _, start, length, digest, _ = entry
        if file != place_of(name, path, is_package):
            return None
        try:
            found = os.stat(file)
            if (found.st_mtime_ns, found.st_ctime_ns, found.st_size) != (mtime_ns, ctime_ns, size):
                return None
            part = os.pread(fd, length, self._code_at + start)
        except OSError:
            return None
        if hash_of(part) != digest:
            return None
        code: CodeType = marshal.loads(part)  # noqa: S302
        return code

    def _load(self, name: str, fd: int) -> bool:
        """Load a module whose own imports are loaded; return False where Python should do it."""
        package, _, leaf = name.rpartition(".")
        parent = sys.modules.get(package)
        code = None if parent is None else self._code(name, parent.__path__, fd)
        if code is None:
            return False
        spec = self._spec(name)
        module = type(sys)(name)
        # As the import system sets them, which looks for each first: that takes longer.
        attributes = {"__file__": spec.origin, "__loader__": spec.loader, "__package__": package}
        attributes["__spec__"] = spec
        if spec.submodule_search_locations is not None:
            attributes |= {"__package__": name, "__path__": spec.submodule_search_locations}
        if "__cached__" in parent.__dict__:  # until Python 3.15
            attributes["__cached__"] = spec.cached
        module.__dict__.update(attributes)
        sys.modules[name] = module
        try:
            exec(code, module.__dict__)  # noqa: S102
        except BaseException:  # noqa: BLE001  # see below
            del sys.modules[name]
            return False  # Python tries again, and the error comes from where it belongs
        setattr(parent, leaf, module)
        return True

    def _spec(self, name: str) -> "Any":
        file, is_package, cached = self.entries[name][0], self.entries[name][4], self.entries[name][9]
        spec: Any = machinery.spec_from_file_location(
            name,
            file,
            loader=machinery.SourceFileLoader(name, file),
            submodule_search_locations=[file[: -len("/__init__.py")]] if is_package else None,
        )
        spec.cached = cached
        return spec


def place_of(name: str, path: "Sequence[str]", is_package: bool) -> str:
    """Return where a module's source would be found, in the first of its package's directories."""
    directory = next(iter(path), "")
    return f"{directory}/{name.rpartition('.')[2]}{'/__init__.py' if is_package else '.py'}"


def hash_of(part: bytes) -> bytes:
    """Return the hash of a part of the bundle."""
    digest: bytes = _imp.source_hash(0, part)
    return digest


def _is_trusted(found: os.stat_result) -> bool:
    if found.st_mode & _KIND_AND_WRITABLE_BY_OTHERS != _REGULAR:
        return False
    return found.st_uid in (0, os.geteuid()) or found.st_uid == os.stat(__file__).st_uid


def _is_alone() -> bool:
    """Whether this thread is the only one that runs Python."""
    count: int = _thread._count()  # noqa: SLF001  # what `threading` counts by, without loading it
    return count == 0


def _placed(name: str) -> "Bundle | None":
    """Take modules from a bundle in this process, and return it; None where that may not be."""
    if not _is_alone() or os.environ.get(OFF) == "0":
        return None
    options = sys._xoptions  # noqa: SLF001  # documented
    if sys.flags.verbose or "importtime" in options:  # who wants to see the usual way
        return None
    if type(globals()["__spec__"].loader) is not machinery.SourceFileLoader:
        return None
    try:
        at = sys.meta_path.index(machinery.PathFinder)  # hooks of others come before it, and keep doing so
        placed = Bundle(path_of(name))
    except (ValueError, NotImplementedError):
        return None
    sys.meta_path.insert(at, placed)
    return placed


def path_of(name: str) -> str:
    """Return where a bundle is: where Python puts the bytecode of a module beside the package.

    Raises:
        NotImplementedError: this Python writes no bytecode files.
    """
    cached: str = machinery.cache_from_source(f"{os.path.dirname(os.path.dirname(__file__))}/{name}.py")
    return cached.removesuffix(".pyc") + ".bundle"


_in_use: "Bundle | None" = None


def use() -> None:
    """Take modules from the bundle of the quick commands in this process, if it has one thread."""
    global _in_use  # noqa: PLW0603  # a process has one way of importing
    if _in_use is None:
        _in_use = _placed(QUICK)


class ForDaemon:
    """While it lasts, modules come out of the bundle of a daemon's start."""

    __slots__ = ("_placed",)

    def __enter__(self) -> None:
        self._placed = _placed(DAEMON)

    def __exit__(self, *exc: object) -> None:
        if self._placed in sys.meta_path:
            sys.meta_path.remove(self._placed)


def serve(package: str) -> None:
    """Have the modules of a program's package in the bundle as well."""
    if _in_use is not None:
        _in_use.packages.add(package)


def lacking() -> "Bundle | None":
    """Return the bundle, if this was a quick command that found modules missing in it and may write them.

    A user who wants no bytecode files gets no bundle either, and each bundle lasts a minute.
    """
    bundle = _in_use
    if bundle is None or "threading" in sys.modules or bundle.missed.isdisjoint(bundle.packages):
        return None
    if sys.dont_write_bytecode or abs(time.time() - bundle.made_s) <= LEAST_AGE_S:
        return None
    return bundle
