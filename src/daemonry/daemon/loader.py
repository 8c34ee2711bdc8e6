"""Finding a daemon's definition: `module:attribute` or a file, imported.

Owns importing a program and saying why it cannot be done.
"""

from __future__ import annotations

import os
import sys

from daemonry import faults
from daemonry.process.program import development
from daemonry.process.program.launching import MAIN_AGAIN, is_frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from daemonry.daemon.definition import Daemon


# What stands in a trace between a program's mistake and its telling.
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep

# Whether a program is being imported for its Daemon: its own command line must not run then.
loading: bool = False


def load(text: str, import_path: str = "") -> Daemon:
    """Import the program that `text` names and return its daemon.

    Args:
        text: `module:attribute`, `file.py` or `file.py:attribute`.
        import_path: a further directory to look for modules in.

    Raises:
        TargetInvalid: there is no such program, it cannot be imported, or it has no such daemon.
        UnsafePath: we are root, and others could have written the file, or the module's.
    """
    where, _, attribute = text.partition(":")
    directory = import_path or _working_directory()
    if directory and directory not in sys.path:
        sys.path.insert(0, directory)
    if development.is_on():
        # A cached module counts as current if its source has the same size and the same second.
        sys.dont_write_bytecode = True
    global loading  # noqa: PLW0603
    loading = True
    try:
        module = _load_file(text, where) if where.endswith(".py") else _load_module(text, where)
    finally:
        loading = False
    return _daemon_in(module, text, attribute)


def _working_directory() -> str:
    """Return the working directory; "" when it was removed: a program can be named by a whole path."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def _load_file(text: str, where: str) -> ModuleType:
    import importlib.util

    from daemonry.daemon.definition import FILE_MARK

    path = os.path.abspath(where)
    if not os.path.isfile(path):
        raise faults.TargetInvalid(text, "there is no such file")
    if os.geteuid() == 0:
        _check_for_root(path)
    name = os.path.basename(path)[:-3]
    if name in sys.modules:  # json.py must not become json
        name = f"daemonry_program_{name}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    setattr(module, FILE_MARK, path)
    sys.modules[name] = module
    sys.path.insert(0, os.path.dirname(path))
    try:
        spec.loader.exec_module(module)
    except faults.DaemonryError:
        raise
    except Exception as error:
        raise _not_importable(text, error) from error
    return module


def _check_for_root(path: str) -> None:
    """Raise UnsafePath where somebody else could have written a program, or put another in its place.

    A link is looked at from both ends: who may exchange it chooses the program.
    """
    from daemonry.ownership import why_not_roots, why_not_roots_directory

    for one in dict.fromkeys((path, os.path.realpath(path))):
        reason = why_not_roots(os.stat(one))
        directory = one
        while not reason and directory != "/":
            directory = os.path.dirname(directory)
            reason = why_not_roots_directory(os.stat(directory))
            if reason:
                raise faults.UnsafePath(path, f"cannot be run as root: {directory}: {reason}")
        if reason:
            raise faults.UnsafePath(path, f"cannot be run as root: {reason}")


def _load_frozen(text: str, where: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(MAIN_AGAIN if where == "__main__" else where)
    except faults.DaemonryError:
        raise
    except Exception as error:
        raise _not_importable(text, error) from error


def _load_module(text: str, where: str) -> ModuleType:
    import importlib

    if is_frozen():
        return _load_frozen(text, where)
    try:
        if os.geteuid() == 0:
            _check_module_for_root(where)
        return importlib.import_module(where)
    except faults.DaemonryError:
        raise
    except Exception as error:
        raise _not_importable(text, error) from error


def _check_module_for_root(where: str) -> None:
    """Raise UnsafePath as `_check_for_root` does, for a module and the packages that it stands in.

    What lies in the interpreter's own environment is taken: who can write there can replace this library.
    """
    import importlib.util

    names = where.split(".")
    for count in range(1, len(names) + 1):
        # Runs the packages above it, which were looked at the round before.
        spec = importlib.util.find_spec(".".join(names[:count]))
        origin = spec.origin if spec is not None and spec.has_location else None
        while origin and not os.path.exists(origin):  # in an archive, which is looked at in its place
            origin = os.path.dirname(origin)
        if origin is not None and not origin.startswith((sys.prefix + os.sep, sys.base_prefix + os.sep)):
            _check_for_root(origin)


def _not_importable(text: str, error: Exception) -> faults.TargetInvalid:
    trace, where = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith(_OURS):
            if where:
                break  # what the program asked of us
        elif "importlib" not in file:
            where = f" ({file}:{trace.tb_lineno})"
        trace = trace.tb_next
    return faults.TargetInvalid(text, f"it cannot be imported: {type(error).__name__}: {error}{where}")


def _daemon_in(module: ModuleType, text: str, attribute: str) -> Daemon:
    from daemonry.daemon.definition import Daemon

    if attribute:
        found = getattr(module, attribute, None)
        if not isinstance(found, Daemon):
            raise faults.TargetInvalid(text, f"{attribute!r} is not a Daemon there")
        return found
    daemons = {name: value for name, value in vars(module).items() if isinstance(value, Daemon)}
    if len(daemons) == 1:
        return next(iter(daemons.values()))
    if not daemons:
        raise faults.TargetInvalid(text, "no Daemon is defined there")
    raise faults.TargetInvalid(text, f"several Daemons are defined there: add :{' or :'.join(daemons)}")
