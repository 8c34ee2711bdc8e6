"""The child of a zygote, from the fork to the first line of the daemon.

Owns the wait for the order, and giving the process what only a new program would have: a session,
the descriptors at their numbers, its words.  A child without an order ends, without a word.
"""

from __future__ import annotations

import fcntl
import gc
import os
import sys
import threading
from _socket import SHUT_RD

from daemonry.launch.zygote import messages
from daemonry.limits import MAX_ZYGOTE_MESSAGE_BYTES, ZYGOTE_COLD_PATIENCE_S
from daemonry.process.sweep import BOOT_VARIABLE
from daemonry.transport import ancillary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from collections.abc import Sequence
    from typing import Final

# Received descriptors stand out of the way of the numbers that they get.
_ASIDE: Final = 32


def become(sock: Socket) -> list[str]:
    """Be the daemon that the starter orders, as far as a process can be before its first line.

    Args:
        sock: the connection to the starter.

    Returns:
        The words behind `daemonry`.  Without an order the process ends here.
    """
    order = None
    try:
        os.setsid()
        sock.settimeout(ZYGOTE_COLD_PATIENCE_S)
        sock.send(messages.child(os.getpid()))
        found = _ordered(sock)
        sock.close()
        if found is not None:
            order, fds = found
            _place(fds, (1, 2), order.numbers)
    finally:
        if order is None:
            os._exit(0)  # nobody hears of it, and the zygote's frames, which are below, are not ours
    show(order.argv)
    os.environ[BOOT_VARIABLE] = order.boot
    sys.argv[1:] = order.argv[3:]
    sys.orig_argv[:] = order.argv
    # Python (3.11 to 3.13 at least) leaves the parent's number there.
    threading.main_thread()._set_native_id()  # type: ignore[attr-defined]  # noqa: SLF001
    gc.enable()
    return list(order.argv[3:])


def _ordered(sock: Socket) -> tuple[messages.Order, list[ancillary.Fd]] | None:
    """Return the order and its descriptors; None where the starter has left."""
    try:
        message, fds = ancillary.receive(sock, MAX_ZYGOTE_MESSAGE_BYTES)
    except TimeoutError:
        # From here on the starter's order fails where it is sent; one that came before is here.
        sock.shutdown(SHUT_RD)
        message, fds = ancillary.receive(sock, MAX_ZYGOTE_MESSAGE_BYTES)
    order = messages.Order.of(message) if message else None
    if order is None or len(fds) != 1 + len(order.numbers):
        return None
    return order, fds


def _place(fds: Sequence[ancillary.Fd], outputs: Sequence[int], numbers: Sequence[int]) -> None:
    """Put the first descriptor at the numbers of the output, each other at its own; close the received."""
    lowest = max((*outputs, *numbers)) + _ASIDE
    aside = []
    for fd in fds:
        aside.append(fcntl.fcntl(fd.fileno(), fcntl.F_DUPFD_CLOEXEC, lowest))
        fd.close()
    for number in outputs:
        os.dup2(aside[0], number)
    for fd_aside, number in zip(aside[1:], numbers, strict=True):
        os.dup2(fd_aside, number)
    for fd_aside in aside:
        os.close(fd_aside)


def show(argv: Sequence[str]) -> None:
    """Have `ps` show these words, cut where the zygote's own were shorter.

    proc_pid_cmdline(5): the memory in which the kernel put the words at exec.  Nothing else points there
    by now.  Zeros stand behind shorter words.
    """
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        start, end = int(fields[45]), int(fields[46])
        room = end - start
        words = b"".join(os.fsencode(word) + b"\0" for word in argv)
        if start and room > 0:
            with open("/proc/self/mem", "r+b", buffering=0) as memory:
                memory.seek(start)
                memory.write(words[: room - 1].ljust(room, b"\0"))
    except (OSError, ValueError, IndexError):
        pass  # then it is shown as a zygote
