"""Starting a process in the background: no terminal, no descriptors of ours, told where to report.

Owns how the process is made.  A new session, so that Ctrl-C and a closing terminal do not reach
it; standard input empty and output to the crash file, so that `out=$(program start)` returns;
only the descriptors that are passed on purpose.  Never a fork without exec: threads would be
lost in the middle of whatever they held.
"""

from __future__ import annotations

import os

from daemonry import strict_json
from daemonry.backoff import delays
from daemonry.clock import Deadline
from daemonry.process.crash_file import roll
from daemonry.process.environment import for_daemon
from daemonry.process.lock import Passed
from daemonry.process.program import fork_exec
from daemonry.process.program.launching import USUAL, executable
from daemonry.process.program.launching import environment as program_environment
from daemonry.process.regular_file import open_regular
from daemonry.process.sweep import BOOT_VARIABLE, MARK_VARIABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Final

# How often an ended child is looked for, from the first look on.
_LOOK_FIRST_S: Final = 0.001
_LOOK_MAX_S: Final = 0.05
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
) -> Spawned:
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
        return Spawned(launch([python or executable(), *words, *arguments], environment, pass_fds, output))
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


def launch(argv: list[str], environment: Mapping[str, str], pass_fds: tuple[int, ...], output: int) -> int:
    """Start a program in the background, and return its pid; `let_go` of it, or wait for it.

    Args:
        argv: its words, the program first.
        environment: all of its environment.
        pass_fds: the further descriptors that it gets; they keep their numbers.
        output: the descriptor of its standard output and error.

    Raises:
        OSError: it could not be started.
    """
    with Passed(pass_fds):
        if fork_exec.is_simple(argv[0], (output, *pass_fds)):
            return fork_exec.start(argv, environment, pass_fds, output)
        import subprocess

        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=environment,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    process.returncode = 0  # so that nobody else waits for it, and nobody warns that it goes on
    return process.pid


class Spawned:
    """A process that was started, as its starter sees it.

    Attributes:
        pid: its number.
    """

    __slots__ = ("pid",)

    def __init__(self, pid: int) -> None:
        self.pid: int = pid

    def wait(self, timeout_s: float) -> int | None:
        """Return its exit code, negative for a signal; None where it does not end in time, and is let go.

        0 where somebody else has waited for it.
        """
        deadline = Deadline(timeout_s)
        for delay_s in delays(_LOOK_FIRST_S, _LOOK_MAX_S):
            try:
                ended, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                return 0
            if ended:
                return os.waitstatus_to_exitcode(status)
            if not deadline.sleep(delay_s):
                self.let_go()
                return None
        raise AssertionError("delays() is endless")

    def let_go(self) -> None:
        """Leave it to itself."""
        let_go(self.pid)


def let_go(pid: int) -> None:
    """Leave a process that was started to itself, and bury those that were left before and have ended."""
    bury()
    _let_go.add(pid)


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
