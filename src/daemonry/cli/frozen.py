"""Being the daemon of a frozen program, or its sweep, as it imports daemonry: it was started again for that.

Owns the moment: before the program's own main has begun.  How it was started: `process.program.launching`.
"""

from __future__ import annotations

import sys

from daemonry.daemon.definition import FILE_MARK
from daemonry.process.program.launching import MAIN_AGAIN, SWEEP, is_boot, is_compiled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any


def take_over() -> None:
    """Become the daemon, or the sweep after a dead owner, if this frozen program was started for that.

    It ends with that.

    Called as daemonry is imported.  A module that is being imported meanwhile is imported again: it had not
    come to its `Daemon` yet.  Under Nuitka a daemon of the main module is left to `Daemon.main`.
    """
    if sys.argv[1:2] == [SWEEP]:
        from daemonry.process import sweep

        sweep.main(sys.argv[2:])
        sys.exit(0)
    if not is_boot():
        return
    target = sys.argv[2]
    if target.startswith("__main__:"):
        if is_compiled():
            return
        code = _main_code()
        if code is None:
            return
        _run_again(code)
    for name in [name for name, module in sys.modules.items() if _is_begun(name, module)]:
        del sys.modules[name]
    from daemonry.cli.main import run

    sys.exit(run(sys.argv[1:]))


def _is_begun(name: str, module: ModuleType) -> bool:
    spec = getattr(module, "__spec__", None)
    return getattr(spec, "_initializing", False) is True and name.partition(".")[0] != "daemonry"


def _main_code() -> CodeType | None:
    """Return the code of the main module, which is running: it is on the stack."""
    frame: Any = sys._getframe()  # noqa: SLF001  # documented, in spite of its name
    while frame is not None:
        if frame.f_globals.get("__name__") == "__main__" and frame.f_code.co_name == "<module>":
            code: CodeType = frame.f_code
            return code
        frame = frame.f_back
    return None


def _run_again(code: CodeType) -> None:
    """Run the main module's code as a module of another name, as multiprocessing does where it spawns."""
    from types import ModuleType

    module = ModuleType(MAIN_AGAIN)
    module.__file__ = code.co_filename
    setattr(module, FILE_MARK, "__main__")
    sys.modules[MAIN_AGAIN] = module
    exec(code, module.__dict__)  # noqa: S102  # the program's own
