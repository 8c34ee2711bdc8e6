"""Which daemon is meant: a name, an endpoint, `module:attribute`, or a file.

    ticker                          a daemon of this user, by its name
    unix:/path, /path.sock, tcp:h:p an endpoint
    package.module:attribute        where its `Daemon` stands
    path/file.py[:attribute]        the same

Owns the choice, and importing the program for the last two.
"""

from __future__ import annotations

import os
import sys

import daemonry
from daemonry.daemon.instance import Instance
from daemonry.process.place import check_name
from daemonry.transport.endpoint import Endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from daemonry.daemon.definition import Daemon

# Whether a program is being imported for its Daemon: its own command line must not run then.
loading = False

_SCHEMES = ("unix:", "tcp:", "fd:", "pipe:")


def instance_of(text: str) -> Instance:
    """Return the daemon that `text` means, as seen from outside.

    Raises:
        TargetInvalid, EndpointInvalid: it means none.
    """
    if is_endpoint(text):
        return Instance(None, Endpoint.parse(text))
    if is_program(text):
        daemon = load(text)
        return instance_of_daemon(daemon)
    return Instance.named(text)


def instance_of_daemon(daemon: Daemon) -> Instance:
    """Return a defined daemon as seen from outside."""
    return Instance(daemon.place())


def is_endpoint(text: str) -> bool:
    """Whether `text` is an endpoint and not a name, a module or a file."""
    if text.startswith(_SCHEMES) or "://" in text:
        return True
    if text.startswith("/"):
        return not _without_attribute(text).endswith(".py")
    host, colon, port = text.rpartition(":")
    return bool(colon) and port.isdigit() and bool(host)


def is_program(text: str) -> bool:
    """Whether `text` names a module or a file of a program."""
    return ":" in text or text.endswith(".py")


def _without_attribute(text: str) -> str:
    return text.rpartition(":")[0] if ":" in text else text


def load(text: str, import_path: str = "") -> Daemon:
    """Import the program that `text` names and return its daemon.

    Args:
        text: `module:attribute`, `file.py` or `file.py:attribute`.
        import_path: a directory to look for modules in, besides the present one.

    Raises:
        TargetInvalid: there is no such program, it cannot be imported, or it has no such daemon.
    """
    where, _, attribute = text.partition(":")
    for directory in (import_path, os.getcwd() if not import_path else ""):
        if directory and directory not in sys.path:
            sys.path.insert(0, directory)
    global loading  # noqa: PLW0603
    loading = True
    try:
        module = _load_file(text, where) if where.endswith(".py") else _load_module(text, where)
    finally:
        loading = False
    return _daemon_in(module, text, attribute)


def _load_file(text: str, where: str) -> ModuleType:
    import importlib.util

    from daemonry.daemon.definition import FILE_MARK

    path = os.path.abspath(where)
    if not os.path.isfile(path):
        raise daemonry.errors.TargetInvalid(text, "there is no such file")
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
    except daemonry.errors.DaemonryError:
        raise
    except Exception as error:
        raise _not_importable(text, error) from error
    return module


def _load_module(text: str, where: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(where)
    except daemonry.errors.DaemonryError:
        raise
    except Exception as error:
        raise _not_importable(text, error) from error


def _not_importable(text: str, error: Exception) -> daemonry.errors.TargetInvalid:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = ""
    if trace is not None and "importlib" not in trace.tb_frame.f_code.co_filename:
        where = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})"
    return daemonry.errors.TargetInvalid(
        text, f"it cannot be imported: {type(error).__name__}: {error}{where}"
    )


def _daemon_in(module: ModuleType, text: str, attribute: str) -> Daemon:
    from daemonry.daemon.definition import Daemon

    if attribute:
        found = getattr(module, attribute, None)
        if not isinstance(found, Daemon):
            raise daemonry.errors.TargetInvalid(text, f"{attribute!r} is no Daemon there")
        return found
    daemons = {name: value for name, value in vars(module).items() if isinstance(value, Daemon)}
    if len(daemons) == 1:
        return next(iter(daemons.values()))
    if not daemons:
        raise daemonry.errors.TargetInvalid(text, "no Daemon is defined there")
    raise daemonry.errors.TargetInvalid(
        text, f"several Daemons are defined there: add :{' or :'.join(daemons)}"
    )


def check(text: str) -> str:
    """Return `text` if it can mean a daemon at all, before anything is looked up.

    Raises:
        TargetInvalid: it cannot.
    """
    return text if is_endpoint(text) or is_program(text) else check_name(text)
