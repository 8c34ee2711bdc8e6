"""Making the bundle of the quick commands' modules; `bundle` says what it is.

Owns which modules go in.  The file is written after a quick command's output, once all of their sources are
settled.  The code is compiled from the sources, because a bytecode file may be that of an earlier source of
the same second, and without the statements `from __future__ import ...`: the compiler does what they ask
for, and the module `__future__`, which would be loaded for nothing, is not.
"""

from __future__ import annotations
import __future__

import _ast
import _frozen_importlib_external as machinery
import marshal
import os
import sys
import time

from daemonry.bundle import DAEMON, HEADER, LENGTH_BYTES, MOST_BYTES, hash_of, path_of, place_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from daemonry.bundle import Bundle, Entry

# A file's times are as fine as 4 ms on Linux and as coarse as 2 s (FAT).  A source that changes after it was
# read has other times than were noted only if the noted ones are older than that.
SETTLED_S: Final = 3.0
_OURS: Final = "daemonry."
# By these a program finds or starts its daemon; all that they import goes in too.  The program itself writes
# no bundle, and the commands that write it do not load them.
_STARTING: Final = (
    "daemonry.app",
    "daemonry.launch.ensure",
    "daemonry.launch.acquire",
    "daemonry.launch.start",
    "daemonry.launch.start_failure",
    "daemonry.launch.zygote.asking",
    "daemonry.daemon.versions",
    "daemonry.process.atomic_file",
    "daemonry.process.identity",
    "daemonry.process.platform_linux",
    "daemonry.process.registry",
    "daemonry.service.client.blocking",
)
# What a process imports to be a daemon, once its starter's words are read.
_OF_DAEMONS: Final = (
    "daemonry.process.platform_linux",
    "daemonry.runtime.runner",
    "daemonry.service.server.varlink.connection",
)


class BundledModule:
    """What the bundle will have of one module.

    Attributes:
        source: its path, mtime_ns, ctime_ns, bytes, and whether it is a package.
        imports: the modules that its first statements import, or may.
        code: its code, marshalled.
    """

    __slots__ = ("code", "imports", "source")

    def __init__(self, source: tuple[str, int, int, int, bool], imports: list[str], code: bytes) -> None:
        self.source: tuple[str, int, int, int, bool] = source
        self.imports: list[str] = imports
        self.code: bytes = code


def write(bundle: Bundle) -> None:
    """Write the bundle, with our modules that are loaded and those that it has; and a daemon's.

    Never raises.
    """
    try:
        if _write(bundle):
            _write_parts(path_of(DAEMON), [], _OF_DAEMONS)
    except (Exception, KeyboardInterrupt):  # noqa: BLE001  # the command is done, and a later one tries again
        return


def _write(bundle: Bundle) -> bool:
    if not _has_room(os.path.dirname(bundle.path)):
        return False
    loaded = _loaded(bundle.packages)
    if not all(_is_settled(os.stat(path)) for path, _ in loaded.values()):
        return False  # without these, the bundle would lack what every command needs, for a minute
    known = {name: (_found_now(name, entry), entry[4]) for name, entry in bundle.entries.items()}
    # This command's modules first: the next such command would miss one left out, and write the file again.
    order = sorted({**known, **loaded}.items(), key=lambda item: (item[0] not in loaded, _ours_first(item)))
    return _write_parts(bundle.path, order, _STARTING)


def _write_parts(path: str, first: list[tuple[str, tuple[str, bool]]], starting: tuple[str, ...]) -> bool:
    """Write a bundle, and return whether it could be done.

    Args:
        path: where.
        first: modules, each with its source and whether it is a package.
        starting: the names of further ones of ours, which go in with all that they import.
    """
    parts: dict[str, BundledModule] = {}
    total = 0
    followed = set(starting)
    order = first + [(name, source) for name in starting if (source := _source_of(name))]
    for name, (file, is_package) in order:  # which grows
        part = None if name in parts else part_of(file, is_package)
        if part is not None and total + len(part.code) < MOST_BYTES * 3 // 4:  # the rest is the index's
            parts[name] = part
            total += len(part.code)
        if name in followed and name in parts:
            more = {*_packages(name), *parts[name].imports} - followed
            followed |= more
            order += [(one, source) for one in sorted(more) if (source := _source_of(one))]
    data = laid_out(parts)
    if not parts or len(data) > MOST_BYTES:
        return False
    from daemonry.process.atomic_file import write_atomically

    write_atomically(path, data, mode=0o644, durable=False)
    return True


def _source_of(name: str) -> tuple[str, bool] | None:
    """Return the source of a module of ours, and whether it is a package; None for any other name."""
    if not name.startswith(_OURS):
        return None
    beside = f"{os.path.dirname(__file__)}/{name.removeprefix(_OURS).replace('.', '/')}"
    for path, is_package in ((f"{beside}.py", False), (f"{beside}/__init__.py", True)):
        if os.path.isfile(path):
            return path, is_package
    return None


def _found_now(name: str, entry: Entry) -> str:
    """Return where a module's source is: beside its package, which a copied environment has elsewhere."""
    top, _, rest = name.partition(".")
    package = getattr(sys.modules.get(top), "__path__", None)
    return entry[0] if package is None else place_of(rest.replace(".", "/"), package, entry[4])


def _ours_first(item: tuple[str, object]) -> tuple[bool, str]:
    return not item[0].startswith(_OURS), item[0]


def _has_room(directory: str) -> bool:
    """Make the directory if need be; return whether a bundle can be written there."""
    try:
        os.mkdir(directory)
    except FileExistsError:
        pass
    room = os.statvfs(directory)
    return os.access(directory, os.W_OK) and room.f_bavail * room.f_frsize > 2 * MOST_BYTES


def _loaded(packages: set[str]) -> dict[str, tuple[str, bool]]:
    """Return the source of each module of the packages that is loaded, and whether it is a package."""
    found = {}
    for name, module in sys.modules.items():
        top, dot, _ = name.partition(".")
        spec = getattr(module, "__spec__", None)
        if not dot or top not in packages or spec is None:
            continue
        if type(spec.loader) is not machinery.SourceFileLoader:
            continue
        is_package = spec.submodule_search_locations is not None
        package = sys.modules[name.rpartition(".")[0]]
        if spec.origin is not None and spec.origin == place_of(name, package.__path__, is_package):
            found[name] = (spec.origin, is_package)
    return found


def _is_settled(source: os.stat_result) -> bool:
    return max(source.st_mtime, source.st_ctime) <= time.time() - SETTLED_S


def part_of(path: str, is_package: bool) -> BundledModule | None:
    """Return what the bundle will have of a module; None where its source is missing or has just changed."""
    try:
        before = os.stat(path)
        if not _is_settled(before):
            return None
        loader = machinery.SourceFileLoader("", path)
        source = loader.get_data(path)
        after = os.stat(path)
    except OSError:
        return None
    times = (before.st_mtime_ns, before.st_ctime_ns, before.st_size)
    if times != (after.st_mtime_ns, after.st_ctime_ns, after.st_size) or len(source) != before.st_size:
        return None
    tree: Any = compile(source, path, "exec", _ast.PyCF_ONLY_AST, dont_inherit=True)
    imports = _imports(tree)
    code = compile(tree, path, "exec", _without_future(tree), dont_inherit=True)
    return BundledModule((path, *times, is_package), imports, marshal.dumps(code))


def _imports(tree: Any) -> list[str]:
    """Return the modules that a module imports whatever happens: by statements that nothing encloses."""
    found = []
    for statement in tree.body:
        if isinstance(statement, _ast.Import):
            found += [alias.name for alias in statement.names]
        elif isinstance(statement, _ast.ImportFrom) and statement.module and not statement.level:
            found.append(statement.module)
            found += [f"{statement.module}.{alias.name}" for alias in statement.names]
    return found


def _without_future(tree: Any) -> int:
    """Take the imports from `__future__` out of a module; return the compiler's flags that they stand for."""
    flags, rest = 0, []
    for statement in tree.body:
        if isinstance(statement, _ast.ImportFrom) and statement.module == "__future__":
            for alias in statement.names:
                flags |= getattr(__future__, alias.name).compiler_flag
        else:
            rest.append(statement)
    tree.body = rest
    return flags


def laid_out(parts: Mapping[str, BundledModule]) -> bytes:
    """Return the bundle's content."""
    index: dict[str, Entry] = {}
    start = 0
    for name, part in parts.items():
        code = (start, len(part.code), hash_of(part.code))
        index[name] = (*part.source, _before(name, parts), *code, machinery.cache_from_source(part.source[0]))
        start += len(part.code)
    marshalled = marshal.dumps(index)
    length = len(marshalled).to_bytes(LENGTH_BYTES, "little")
    codes = (part.code for part in parts.values())
    return b"".join([HEADER, hash_of(marshalled), length, marshalled, *codes])


def _before(name: str, parts: Mapping[str, BundledModule]) -> tuple[str, ...]:
    """Return the modules of ours that a module needs, each behind those that it needs itself.

    None for a program's module: what it does between its imports may matter to them.
    """
    order: dict[str, bool] = {}

    def visit(one: str) -> None:
        if one in order or one not in parts or not one.startswith(_OURS):
            return
        order[one] = False
        for needed in (*_packages(one), *parts[one].imports):
            visit(needed)
        del order[one]  # and behind what it needs
        order[one] = True

    visit(name)
    order.pop(name, None)
    return tuple(order)


def _packages(name: str) -> list[str]:
    words = name.split(".")
    return [".".join(words[:count]) for count in range(1, len(words))]
