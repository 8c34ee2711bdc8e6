"""What an error is called on one line, and which part of its trace helps the program's author.

Owns the choice: an error of ours, or of the system, speaks for itself; of others the kind is named, and the
trace begins where the program's own code does.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from daemonry.errors import DaemonryError
from daemonry.process import scarcity

if TYPE_CHECKING:
    from types import TracebackType

_OURS = os.path.dirname(os.path.dirname(__file__)) + "/"
_ASYNCIO = os.path.dirname(asyncio.__file__) + "/"


def one_line(error: BaseException) -> str:
    """Return an error as one line that may be printed."""
    from daemonry.terminal_text import printable

    missing = scarcity.reason(error)
    if missing is not None:
        return missing
    if isinstance(error, (DaemonryError, OSError)) and str(error):
        return printable(str(error))
    return printable(": ".join(filter(None, (type(error).__name__, str(error)))))


def trace_of(error: BaseException) -> tuple[type[BaseException], BaseException, TracebackType | None] | None:
    """Return the trace to log of an error that we did not expect; None for the others."""
    if isinstance(error, DaemonryError) or scarcity.reason(error) is not None:
        return None
    return type(error), error, of_the_program(error.__traceback__)


def of_the_program(trace: TracebackType | None) -> TracebackType | None:
    """Return a trace from where the program's own code begins; all of it if none of it is there."""
    within = trace
    while within is not None and _is_machinery(within.tb_frame.f_code.co_filename):
        within = within.tb_next
    return within or trace


def _is_machinery(path: str) -> bool:
    return path.startswith((_OURS, _ASYNCIO, "uvloop/"))
