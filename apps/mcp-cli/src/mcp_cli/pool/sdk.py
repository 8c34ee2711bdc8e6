"""The import of the SDK: where the process is a command or the daemon, only what a client needs.

Owns how `connection` and its imports come to be imported.  The SDK's client imports its servers (web
framework and all), for those that have a client and a server in one process: a quarter of what `import mcp`
takes, and a command without a daemon pays it each time.

`trim()` says that this process is ours.  A later import then finds empty names in `mcp.server`, which is
as if never imported afterwards.  In a program that uses `mcp_cli.connect()` nothing is trimmed: the SDK may
be the program's, too.

Models that are built when first used (pydantic's `defer_build`) were tried: what the import saves, the
first messages cost.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator, MutableSequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

LEFT_OUT: Final = "mcp.server"
CONNECTION: Final = "mcp_cli.pool.connection"

_lock = threading.Lock()
_trimmed = False


def trim() -> None:
    """Say that nothing in this process but the pool uses the SDK."""
    global _trimmed  # noqa: PLW0603  # a process is ours or not
    _trimmed = True


def connection() -> Any:
    """Return the module `connection`, imported if need be; takes most of a second, once."""
    with _lock:
        if _trimmed and not any(name in sys.modules for name in ("mcp", "mcp_types", CONNECTION)):
            try:
                with _without_collecting(), _nothing_for(LEFT_OUT):
                    return _imported()
            except Exception:  # noqa: BLE001  # an SDK of another build, whatever it misses: then all of it
                _forget(
                    "mcp",
                    "mcp_types",
                    "mcp_cli.pool.access.bounds",
                    "mcp_cli.pool.access.flows",
                    "mcp_cli.pool.access.fresh",
                    "mcp_cli.pool.access.storage",
                    "mcp_cli.pool.callbacks",
                    "mcp_cli.pool.http.answers",
                    "mcp_cli.pool.http.transport",
                    "mcp_cli.pool.tap",
                    CONNECTION,
                )
        return _imported()


def _imported() -> Any:
    from mcp_cli.pool import connection

    return connection


class _EmptyModule(ModuleType):
    """A module that has every name: an empty class, which nothing is an instance of."""

    __path__: MutableSequence[str] = []  # noqa: RUF012  # what makes it a package; nothing is added

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (), {"__class_getitem__": classmethod(lambda cls, _item: cls)})
        setattr(self, name, made)
        return made


class _Finder(MetaPathFinder, Loader):
    """Finds `_EmptyModule` for a package and all that is in it."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname == self._package or fullname.startswith(f"{self._package}."):
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _EmptyModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


@contextmanager
def _nothing_for(package: str) -> Iterator[None]:
    """Have a package be empty for whoever imports it meanwhile, and be found again afterwards."""
    finder = _Finder(package)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        _forget(package)
        parent, _, name = package.rpartition(".")
        vars(sys.modules.get(parent, finder)).pop(name, None)


def _forget(*packages: str) -> None:
    for name in list(sys.modules):
        if any(name == package or name.startswith(f"{package}.") for package in packages):
            del sys.modules[name]


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Collect no garbage meanwhile: an import makes much that stays."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
