"""The error of a system that gives no descriptor, thread or process any more, in words.

Owns the sentence, and asking beforehand.  A loop that runs out of descriptors while it is made does not
say so: uvloop's cannot even be closed then, or aborts.
"""

from __future__ import annotations

import errno
import os
import resource
from typing import Final

from daemonry.errors import Refused

# What a loop opens as it begins (uvloop: epoll, io_uring, an eventfd, two pipes, a socket pair), our own
# epoll beside it, and the first client.
LOOP_FDS: Final = 11


def reason(error: BaseException) -> str | None:
    """Return the missing resource, on one line; None for an error of another kind."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return _no_descriptors() if error.errno == errno.EMFILE else "the system has no descriptor left"
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return (
            "no further thread can be started: the user's processes (`ulimit -u`), "
            "or those of the control group, are at their limit"
        )
    return None


def check_descriptors(count: int = LOOP_FDS) -> None:
    """Find out whether so many can be opened.

    Raises:
        Refused: they cannot.
    """
    opened: list[int] = []
    try:
        for _ in range(count):
            opened.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))  # noqa: PERF401  # closed if one fails
    except OSError as error:
        raise Refused(reason(error) or str(error)) from None
    finally:
        for fd in opened:
            os.close(fd)


def _no_descriptors() -> str:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"no descriptors left: this process may have {soft} (`ulimit -n`)"
