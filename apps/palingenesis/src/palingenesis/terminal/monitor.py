"""The parent of a program in its terminal: what a shell is to the program otherwise.

Run as a script, by `pty`, with a report's descriptor and the words of the program.  It makes the terminal
on its standard input the controlling one, runs the program as the foreground group, and reports when that
is stopped, goes on and ends, one line each.  Without it the program's group were orphaned, and the kernel
would not stop it at Ctrl-Z.  Imports nothing of the project: it stays in memory as long as the program.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios

_IGNORED = (signal.SIGTTOU, signal.SIGTTIN, signal.SIGTSTP, signal.SIGINT, signal.SIGQUIT)
# The holder ignores the first, so that nothing of its own ends it; Python ignores the last two.  All others
# the program gets as they were.
_CHANGED = (signal.SIGHUP, *_IGNORED, signal.SIGPIPE, signal.SIGXFSZ)


def main(report: int, words: list[str]) -> None:
    """Run the program, and report until it has ended."""
    os.set_inheritable(report, False)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the holder is gone: then the kernel tells the program
    gate, opened = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(words, gate, report)
    os.setpgid(pid, pid)
    os.tcsetpgrp(0, pid)
    os.write(report, f"pid {pid}\n".encode())
    os.write(opened, b".")
    os.close(gate)
    os.close(opened)
    for fd in (0, 1, 2):  # what the program leaves open is then all that keeps the terminal open
        os.close(fd)
    while True:
        _, status = os.waitpid(pid, os.WUNTRACED | getattr(os, "WCONTINUED", 0))
        if os.WIFSTOPPED(status):
            os.write(report, f"stopped {os.WSTOPSIG(status)}\n".encode())
        elif not os.WIFEXITED(status) and not os.WIFSIGNALED(status):
            os.write(report, b"continued\n")
        else:
            os.write(report, f"ended {status}\n".encode())
            return


def _become(words: list[str], gate: int, report: int) -> None:
    """Be the program, once its group is the foreground one."""
    try:
        os.read(gate, 1)
        for number in _CHANGED:
            signal.signal(number, signal.SIG_DFL)
        os.execvp(words[0], words)
    except OSError as error:
        os.write(report, f"failed {error.errno}\n".encode())
    finally:
        os._exit(127)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
