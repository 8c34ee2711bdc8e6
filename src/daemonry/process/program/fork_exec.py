"""Starting a program in the background by a fork and an exec of our own, where that is simple.

Owns the two sides of the fork.  `subprocess` does the same for every case, and takes longer to load than a
quick command takes in all, since it loads `threading`, `selectors`, `locale`, and with them `re` and `enum`.

It is simple in a process with one thread that has loaded neither: no thread can hold a lock or open a
descriptor meanwhile, and `subprocess` has not been replaced, as gevent does.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # `signal` costs an enum or two
import _thread
import errno
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Final, NoReturn

_STREAMS: Final = 3
_ERRNO_BYTES: Final = 4
_NOT_EXECUTED: Final = 127
# Where a process's own descriptors are listed: Linux, and the rest.
_LISTS: Final = ("/proc/self/fd", "/dev/fd")
# Ignored by every Python, and by no other program that is started: subprocess's `restore_signals`.
_IGNORED_BY_PYTHON: Final = ("SIGPIPE", "SIGXFSZ")


def is_simple(path: str, fds: Sequence[int]) -> bool:
    """Whether this process may start a program so.

    Args:
        path: the program's.
        fds: the descriptors that it gets, also as a stream.
    """
    return (
        "subprocess" not in sys.modules
        and "threading" not in sys.modules
        and _thread._count() == 0  # noqa: SLF001  # those of the threads that Python has started
        and os.path.isabs(path)
        and min(fds) >= _STREAMS
    )


def start(argv: list[str], environment: Mapping[str, str], pass_fds: Sequence[int], output: int) -> int:
    """Start a program in a session of its own, in the root directory, with nothing to read; return its pid.

    Args:
        argv: its words, the program's absolute path first.
        environment: all of its environment.
        pass_fds: the further descriptors that it gets; they keep their numbers.
        output: the descriptor of its standard output and error.

    Raises:
        OSError: it could not be started.
    """
    read_fd, write_fd = os.pipe()
    try:
        # A handler of ours shall not run in the child; what comes meanwhile waits for the program.
        masked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                _become(argv, environment, pass_fds, output, write_fd, masked)
        finally:
            os.close(write_fd)
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        failure = os.read(read_fd, _ERRNO_BYTES)
    finally:
        os.close(read_fd)
    if failure:
        os.waitpid(pid, 0)
        number = int.from_bytes(failure, "little")
        raise OSError(number, os.strerror(number), argv[0])
    return pid


def _become(
    argv: list[str],
    environment: Mapping[str, str],
    pass_fds: Sequence[int],
    output: int,
    write_fd: int,
    masked: set[int],
) -> NoReturn:
    number = errno.EINVAL
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for stream, fd in enumerate((nothing, output, output)):
            os.dup2(fd, stream)
        for fd in pass_fds:
            os.set_inheritable(fd, True)
        _close_all_but({*pass_fds, write_fd})
        _restore_signals()
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        os.chdir("/")
        os.execve(argv[0], argv, environment)
    except OSError as error:
        number = error.errno or number
    finally:
        os.write(write_fd, number.to_bytes(_ERRNO_BYTES, "little"))
        os._exit(_NOT_EXECUTED)


def _restore_signals() -> None:
    """Have every signal do what it does in a new process, but those that were ignored before Python began."""
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    for name in _IGNORED_BY_PYTHON:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)


def _close_all_but(kept: set[int]) -> None:
    """Close every descriptor from 3 on but these: some are inherited, and not ours."""
    for fd in _open_fds():
        if fd >= _STREAMS and fd not in kept:
            try:
                os.close(fd)
            except OSError:  # the one by which they were listed
                pass


def _open_fds() -> Iterable[int]:
    # Their limit may be a thousand million, and some systems can only close one after the other.
    for directory in _LISTS:
        try:
            return map(int, os.listdir(directory))
        except OSError:
            pass
    return range(_STREAMS, os.sysconf("SC_OPEN_MAX"))
