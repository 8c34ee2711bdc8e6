"""What a zygote does in advance for all of its children: imports, and the calls that every daemon serves.

Owns the list.  Whatever stands here a daemon would do in its start in any case; nothing of it depends on the
daemon, and nothing opens a file, starts a thread or keeps a number that has to differ between daemons.
"""

from __future__ import annotations

import gc
import importlib
import sys

from daemonry.bundle import ForDaemon
from daemonry.launch.zygote.immortal import make_immortal
from daemonry.process.program import development

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# The modules of a daemon that serves; a test compares all that they load with a spawned daemon's.
_OURS: Final = (
    "daemonry.app",
    "daemonry.cli.boot",
    "daemonry.daemon.loader",
    "daemonry.runtime.runner",
    "daemonry.service.server.varlink.connection",
    "daemonry.ownership",
    "ctypes",  # by which it watches its files
    "encodings.ascii",  # by which a socket reads an address
)
# Where they are installed.
_OTHERS: Final = ("uvloop", "msgspec")


def preload() -> None:
    """Do it, and have the pages that it fills stay shared."""
    with ForDaemon():
        for name in _OURS:
            importlib.import_module(name)
    from daemonry.runtime.fingerprint import look_ahead

    for name in _OTHERS:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    _describe()
    look_ahead(thorough=development.is_on())
    gc.collect()
    gc.disable()  # a collection would write to all pages
    make_immortal()
    gc.freeze()
    if sys.version_info < (3, 12):  # where names are counted
        # Each attribute that was looked up keeps its name there, until another one takes the place.
        sys._clear_type_cache()  # noqa: SLF001


def _describe() -> None:
    """Work out the calls of the interfaces that every daemon serves: the results are kept by type."""
    from daemonry.runtime.debugging.interface import Debug
    from daemonry.runtime.handover import HandOver
    from daemonry.service.server.builtin import Control, VarlinkService
    from daemonry.service.server.dispatch import Calls

    calls = Calls()
    for kind in (VarlinkService, Control, HandOver, Debug):
        calls.serve(object.__new__(kind))
