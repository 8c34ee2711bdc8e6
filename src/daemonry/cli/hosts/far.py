"""The other machine's side of a command: says that it begins, and ends it when its ssh has gone.

    PROGRAM _far COLUMNS WORD...

Owns the first line, and the watch over standard output: sshd closes it when the connection ends, and a
command that writes nothing, such as a log that is followed, would never notice.
"""

from __future__ import annotations

import os
import select
import sys

from daemonry import faults
from daemonry.cli.hosts import words as host_words
from daemonry.cli.output import USAGE, complain
from daemonry.daemon.instance import Instance
from daemonry.transport import ssh_words
from daemonry.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

_OUTPUT: Final = 1
_SIGHUP: Final = 1
_SIGKILL: Final = 9
# How long a command may take to end once its ssh has gone, in milliseconds.
_END_MS: Final = 5000
_MAX_COLUMNS_DIGITS: Final = 5
_QUESTIONS: Final = ("ping", "ps", "status")


def run(arguments: list[str], command: Callable[[list[str]], int]) -> int:
    """Run a command for another machine and return its exit code.

    Args:
        arguments: the terminal's columns there, or 0 for none, and the command's words.
        command: runs the words.
    """
    columns = arguments[0] if arguments else ""
    if not (columns.isascii() and columns.isdigit()) or len(columns) > _MAX_COLUMNS_DIGITS:
        complain(f"{host_words.FAR}: only another machine's --host runs this")
        return USAGE
    if columns != "0":
        os.environ["COLUMNS"] = columns
    os.environ.pop(host_words.VARIABLE, None)  # one machine is enough
    os.write(_OUTPUT, ssh_words.first_line(host_words.RUNS, _told(arguments[1:])))
    # The end of a terminal is a hangup, which the kernel tells; and a question ends by its own deadline.
    if not sys.stdout.isatty() and not _is_question(arguments[1:]):
        watched = _fork()
        if watched is not None:
            os._exit(_watch(*watched))
    return command(arguments[1:])


def _told(words: list[str]) -> str:
    """Return what the first line tells: our version, and where the socket of a command's daemon is.

    The socket is for the next such command, which finds no file of ours then.  So the line has the variables
    that differ, and no socket while there is the report of a crash, which one command alone prints.
    """
    name = host_words.daemon_of(words)
    if name is None:
        return __version__
    from daemonry.cli.hosts.told_socket import told_socket

    try:
        instance = Instance.named(name)
        place = instance.place
        if place is None or os.path.exists(place.crash_note_path) or not instance.lock_held():
            return __version__
        where = told_socket(instance, ssh_words.joined(instance.environment_differs()))
    except (faults.DaemonryError, OSError):
        return __version__
    return str(where or __version__)


def _is_question(words: list[str]) -> bool:
    """Whether a command asks and ends; an option may have it go on."""
    return (
        bool(words) and words[0] in _QUESTIONS and all(word == "--json" or word[:1] != "-" for word in words)
    )


def _fork() -> tuple[int, int] | None:
    """Return the command's pid, and a descriptor that ends with it; None in the command's process."""
    ends, held = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ends)
        return None
    os.close(held)
    return pid, ends


def _watch(pid: int, ends: int) -> int:
    """Wait for the command, and hang up on it when nobody is left to read its output."""
    waiting = select.poll()
    waiting.register(ends, select.POLLIN)
    waiting.register(_OUTPUT, 0)
    ready = [number for number, _ in waiting.poll()]
    if ends not in ready:
        os.kill(pid, _SIGHUP)
        waiting.unregister(_OUTPUT)
        if not waiting.poll(_END_MS):
            os.kill(pid, _SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code
