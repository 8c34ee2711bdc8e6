"""How a new process of this program is started, also where `python -m daemonry` would not find it.

Owns telling the kinds of programs apart:

    usual     the interpreter finds daemonry by itself
    packed    shiv, pex, zipapp: the interpreter finds it in what the archive added to its path
    frozen    PyInstaller, Nuitka: there is no interpreter but the program, which is started again (see
              `cli.frozen`)
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

USUAL: Final = ("-m", "daemonry")
# The first word of a frozen program that is started to run `process.sweep`: it has no interpreter for a file.
SWEEP: Final = "daemonry-sweep"
# The name of the program's main module in a frozen daemon: not `__main__`, so that its main is not run.
MAIN_AGAIN: Final = "__daemonry_main__"
# Its own path to modules, in place of what the interpreter would make of the directory that it is in.
_PACKED: Final = (
    "import os, sys; sys.path[:] = sys.argv.pop(1).split(os.pathsep); sys.argv[0] = 'daemonry'; "
    "from daemonry.cli.main import main; main()"
)


def is_frozen() -> bool:
    """Whether the interpreter is the program itself."""
    return bool(getattr(sys, "frozen", False)) or is_compiled()


def is_compiled() -> bool:
    """Whether Nuitka made the program, with daemonry compiled or as bytecode."""
    return "__compiled__" in globals() or _is_standalone(sys.modules.get("__main__"))


def _is_standalone(main: object) -> bool:
    # Of a program that is not standalone, daemonry and its interpreter are found as usual.
    return bool(getattr(getattr(main, "__compiled__", None), "standalone", False))


def executable() -> str:
    """Return what a new process of this program runs: the interpreter, or the frozen program."""
    if is_compiled():
        return os.path.abspath(os.environ.get("NUITKA_ONEFILE_BINARY") or sys.argv[0])
    return sys.executable


def words() -> tuple[str, ...]:
    """Return the words behind the executable by which it is the command `daemonry`."""
    if is_frozen():
        return ()
    if _archive() or not _is_found_by_itself():
        path = [os.path.abspath(one) for one in sys.path if one and os.path.exists(one)]
        return ("-c", _PACKED, os.pathsep.join(path))
    return USUAL


def script_words(path: str, instead: str) -> tuple[str, ...]:
    """Return the command that runs a file of ours, which needs the standard library alone.

    Args:
        path: the file.
        instead: a frozen program's first word for it, which `cli.frozen` knows.
    """
    return (executable(), instead) if is_frozen() else (sys.executable, "-I", "-S", path)


def file() -> str:
    """Return the one file that this program is, where it is one; its removal is the program's end."""
    return executable() if is_frozen() else _archive()


def _archive() -> str:
    """Return the archive that this process runs from; "" for none."""
    pex = os.environ.get("PEX", "")
    if pex and "__pex__" in sys.modules:
        return pex if os.path.isfile(pex) else ""
    main = sys.modules.get("__main__")
    archive = getattr(getattr(main, "__loader__", None), "archive", "")  # zipimport's
    return os.path.abspath(archive) if isinstance(archive, str) and archive else ""


def _is_found_by_itself() -> bool:
    """Whether a new interpreter finds daemonry: installed, or named by PYTHONPATH or a .pth file."""
    root = os.path.abspath(__file__)
    for _ in __name__.split("."):
        root = os.path.dirname(root)
    # Where most are installed: to be sure of every other place takes `sysconfig`.
    usual = f"{sys.prefix}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    if usual in sys.path and (root == usual or root in _lines_of_pth(usual)):
        return True
    import sysconfig

    installed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    user = getattr(sys.modules.get("site"), "USER_SITE", None)
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if root in {*installed, user, *(os.path.abspath(one) for one in named if one)}:
        return True
    return any(root in _lines_of_pth(directory) for directory in (*installed, user) if directory)


def _lines_of_pth(directory: str) -> set[str]:
    found: set[str] = set()
    try:
        names = os.listdir(directory)
    except OSError:
        return found
    for name in names:
        if name.endswith(".pth"):
            try:
                with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as lines:
                    found.update(line.strip() for line in lines)
            except OSError:
                pass
    return found


def environment(taken: Mapping[str, str]) -> dict[str, str]:
    """Return a new process's environment without what PyInstaller's loader put into ours."""
    changed = dict(taken)
    if not is_frozen():
        return changed
    changed["PYINSTALLER_RESET_ENVIRONMENT"] = "1"  # it unpacks itself again, and outlives us
    for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"):
        before = os.environ.get(f"{name}_ORIG")
        if before is not None:
            changed[name] = before
        elif hasattr(sys, "_MEIPASS"):
            changed.pop(name, None)
    return changed


def is_boot() -> bool:
    """Whether this frozen program was started to be the daemon."""
    if not is_frozen():
        return False
    from daemonry.process.sweep import BOOT_VARIABLE

    return BOOT_VARIABLE in os.environ and sys.argv[1:2] == ["run"] and len(sys.argv) > 2
