"""Starting a process in the background: no terminal, no descriptors of ours, told where to report.

Owns how the process is made.  A new session, so that Ctrl-C and a closing terminal do not reach
it; standard input empty and output to the crash file, so that `out=$(program start)` returns;
only the descriptors that are passed on purpose.  Never a fork without exec: threads would be
lost in the middle of whatever they held.
"""

from __future__ import annotations

import os

from daemonry import strict_json
from daemonry.process.crash_file import roll
from daemonry.process.environment import for_daemon
from daemonry.process.lock import Passed
from daemonry.process.program.launching import USUAL, executable
from daemonry.process.program.launching import environment as program_environment
from daemonry.process.regular_file import open_regular
from daemonry.process.sweep import BOOT_VARIABLE, MARK_VARIABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Mapping
    from typing import Any

# Children of this process that go on by themselves.  Whoever of them has ended is a zombie until asked.
_let_go: set[int] = set()
# A supervisor's messages to us are not for our children (sd_notify(3), sd_listen_fds(3)), and a
# daemon that an owned process starts does not end with it.
_NOT_INHERITED = (
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "DAEMONRY_SERVICE",  # what a service starts that way is not the service
    "DAEMONRY_SOCKET",
    MARK_VARIABLE,
    BOOT_VARIABLE,
)


def spawn(  # noqa: PLR0913, PLR0917  # how a process is started, each by name
    arguments: list[str],
    boot: dict[str, Any],
    pass_fds: tuple[int, ...],
    output_path: str,
    python: str = "",
    env: Mapping[str, str] | None = None,
    takes: Iterable[str] | None = None,
    words: tuple[str, ...] = USUAL,
) -> subprocess.Popen[bytes]:
    """Start `python -m daemonry ARGUMENTS` in the background, or the same in a frozen or packed program.

    Args:
        arguments: the command's words.
        boot: further instructions for the process, as JSON; descriptor numbers stay the same.
        pass_fds: the descriptors that it gets.
        output_path: where its standard output and error go; a file that holds anything is kept as PATH.prev.
        python: the interpreter; this one's by default.
        env: further variables of its environment.
        takes: the names of the variables that it gets of this process's (see `environment`); None for all.
        words: the words of the interpreter by which it is the command `daemonry`.

    Raises:
        OSError: it could not be started.
    """
    environment = environment_of(env, takes)
    environment[BOOT_VARIABLE] = strict_json.encode_names(boot)
    output = open_output(output_path)
    try:
        return launch([python or executable(), *words, *arguments], environment, pass_fds, output)
    finally:
        os.close(output)


def environment_of(
    env: Mapping[str, str] | None = None, takes: Iterable[str] | None = None
) -> dict[str, str]:
    """Return the environment of a process that is started in the background; arguments as for `spawn`."""
    taken = os.environ if takes is None else for_daemon(takes)
    environment = {name: value for name, value in taken.items() if name not in _NOT_INHERITED}
    environment = program_environment(environment)
    environment.update(env or {})
    return environment


def open_output(path: str) -> int:
    """Return a descriptor of an empty file for output; one that holds anything is kept as PATH.prev.

    Raises:
        OSError: it cannot be opened.
    """
    roll(path)
    return open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def launch(
    argv: list[str], environment: Mapping[str, str], pass_fds: tuple[int, ...], output: int
) -> subprocess.Popen[bytes]:
    """Start a program in the background.

    Args:
        argv: its words, the program first.
        environment: all of its environment.
        pass_fds: the further descriptors that it gets; they keep their numbers.
        output: the descriptor of its standard output and error.

    Raises:
        OSError: it could not be started.
    """
    import subprocess

    with Passed(pass_fds):
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=environment,
            start_new_session=True,
            pass_fds=pass_fds,
        )


class Spawned:
    """A process that was started, as its starter sees it.

    Attributes:
        pid: its number.
    """

    __slots__ = ("_process", "pid")

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid: int = process.pid

    def wait(self, timeout_s: float) -> int | None:
        """Return its exit code, negative for a signal; None where it does not end in time, and is let go."""
        import subprocess

        try:
            return self._process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.let_go()
            return None

    def let_go(self) -> None:
        """Leave it to itself."""
        let_go(self._process)


def let_go(process: subprocess.Popen[bytes]) -> None:
    """Leave a process that was started to itself, and bury those that were left before and have ended."""
    bury()
    process.returncode = 0  # so that nobody waits for it, and nobody warns that it goes on
    _let_go.add(process.pid)


def bury() -> None:
    """Reap the children that were let go of and have ended: a program that lives long would collect them."""
    for pid in list(_let_go):
        try:
            ended, _ = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:  # somebody waited for every child
            ended = pid
        if ended:
            _let_go.discard(pid)


def take_boot() -> dict[str, Any]:
    """Return what the starter told this process, once; {} for one that was started by hand."""
    text = os.environ.pop(BOOT_VARIABLE, "")
    return strict_json.decode_object(text, with_names=True) if text else {}
