"""This machine's side of a command on another one: its ssh, and what comes back.

    ssh HOST sh -c 'exec PROGRAM _far COLUMNS WORD...'

Owns passing on standard output and standard error, and the exit code.  The other machine says in a first
line that the command begins, so that what a failure means is known: before that line nothing has run.
"""

from __future__ import annotations

import os
import select
import sys

from daemonry import faults
from daemonry.cli.hosts import words as host_words
from daemonry.clock import Deadline
from daemonry.terminal_text import shown
from daemonry.transport import ssh, ssh_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, TypeAlias

    from daemonry.transport.endpoint import Endpoint

    Taking: TypeAlias = Callable[[bytes], None]

# How long the other machine may take to begin, in seconds: a handshake through jump hosts, a slow shell.
_BEGIN_S: Final = 20.0
_CHUNK_BYTES: Final = 1 << 16
# Of ssh's error output before the command begins.
_MAX_SAID: Final = 1 << 14
_SIGTERM: Final = 15


class Course:
    """One command on another machine, from its ssh's start to its end.

    Attributes:
        machine: the other machine.
        begun: whether it has said that the command runs.
        told: the reason in its first line.
    """

    def __init__(self, machine: Endpoint, program: str, output: Taking, errors: Taking) -> None:
        self.machine = machine
        self.begun: bool = False
        self.told: str = ""
        self._program = program
        self._output = output
        self._errors = errors
        self._unread = b""
        self._before = b""
        self._greeting_bytes = 0
        self._said = b""

    def run(
        self, words: list[str], *, with_input: bool, terminal: bool, begin_s: float, connect_s: float | None
    ) -> int:
        """Run the command and return its exit status.

        Args:
            words: what follows the program's name.
            with_input: whether the command reads our standard input.
            terminal: whether the command gets a terminal.
            begin_s: how long it may take to begin, in seconds.
            connect_s: how long ssh may take to connect, in seconds; None for the usual.

        Raises:
            Unreachable: ssh did not get there: nothing has run.
            ConnectError: the machine has no such program, or one that is too old: nothing has run.
            ConnectionLost: ssh ended under the command, which may have run.
        """
        program = ssh.remote_program(self._program)
        command = ssh_words.line([program, host_words.FAR, str(_columns()), *words])
        line = ssh.command_line(self.machine, command, connect_s, terminal=terminal)
        pid, output, errors = self._start(line, with_input=with_input or terminal)
        try:
            self._pass_on(output, errors, Deadline(begin_s))
        except BaseException:
            os.kill(pid, _SIGTERM)
            os.waitpid(pid, 0)
            raise
        finally:
            os.close(output)
            os.close(errors)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if not self.begun and ssh.is_old(status, self._said.decode("utf-8", "replace")):
            self._said = b""
            return self.run(
                words, with_input=with_input, terminal=terminal, begin_s=begin_s, connect_s=connect_s
            )
        return self._ended(status)

    def _start(self, line: list[str], *, with_input: bool) -> tuple[int, int, int]:
        output, theirs = os.pipe()
        errors, their_errors = os.pipe()
        os.set_blocking(errors, False)
        actions: list[Any] = [
            (os.POSIX_SPAWN_DUP2, theirs, 1),
            (os.POSIX_SPAWN_DUP2, their_errors, 2),
        ]
        if not with_input:
            actions.append((os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0))
        try:
            # Who reads a terminal stays in the foreground's group.
            pid = ssh.spawn(self.machine, line, actions, own_group=not with_input)
        except BaseException:
            os.close(output)
            os.close(errors)
            raise
        finally:
            os.close(theirs)
            os.close(their_errors)
        return pid, output, errors

    def _pass_on(self, output: int, errors: int, begin: Deadline) -> None:
        """Pass on what comes until the command closes its output."""
        waiting = select.poll()
        waiting.register(output, select.POLLIN)
        waiting.register(errors, select.POLLIN)
        while True:
            left_ms = None if self.begun else int((begin.remaining_s() or 0) * 1000) + 1
            ready = [number for number, _ in waiting.poll(left_ms)]
            if not self.begun and begin.expired:
                why = f"no answer within {begin.timeout_s:.3g} s"
                raise faults.Unreachable(self.machine.machine, why)
            if errors in ready and not self._take_errors(errors):
                waiting.unregister(errors)
            if output in ready:
                chunk = os.read(output, _CHUNK_BYTES)
                if not chunk:
                    self._take_errors(errors)
                    return
                self._take_output(chunk)

    def _take_errors(self, errors: int) -> bool:
        """Take what is there, and say whether more may come: a kept connection holds the pipe open."""
        while True:
            try:
                chunk = os.read(errors, _CHUNK_BYTES)
            except BlockingIOError:
                return True
            if not chunk:
                return False
            if self.begun:
                self._errors(chunk)
            else:
                self._said = (self._said + chunk)[-_MAX_SAID:]

    def _take_output(self, chunk: bytes) -> None:
        if self.begun:
            self._output(chunk)
            return
        self._greeting_bytes += len(chunk)
        *lines, self._unread = (self._unread + chunk).split(b"\n")
        while lines and not self.begun:
            line = lines.pop(0)
            said = ssh_words.read_first_line(line)
            # Another answer is that of another command, which is forced there: `daemonry dial NAME`.
            self.begun = said is not None and said[0] == host_words.RUNS
            self.told = said[1] if said is not None else ""
            self._before = line if line.strip() else self._before
        if self.begun:
            if self._said:
                self._errors(self._said)
            rest, self._unread = b"\n".join([*lines, self._unread]), b""
            if rest:
                self._output(rest)
        elif self._greeting_bytes > ssh_words.MAX_GREETING:
            why = f"the shell of {self.machine.address} prints too much before the command"
            raise faults.ConnectError(self.machine.machine, why)

    def _ended(self, status: int) -> int:
        if self.begun:
            if host_words.lost(status):
                raise faults.ConnectionLost(self.machine.machine, "maybe")
            return status
        said = self._said.decode("utf-8", "replace")
        lost = ssh_words.why_unreachable(status, said)
        if lost is not None:
            raise faults.Unreachable(self.machine.machine, lost)
        printed = self._before.decode("utf-8", "replace")
        why = ssh_words.why_not_begun(status, said, self.machine.address, self._program, printed=printed)
        raise faults.ConnectError(self.machine.machine, why)


def run_at(
    host: str,
    program: str,
    words: list[str],
    *,
    reads_input: tuple[str, ...] = (),
    at_terminal: tuple[str, ...] = (),
) -> int:
    """Run a command on another machine, as if it ran here, and return its exit code.

    Args:
        host: `[user@]host[:port]`, or an alias of the user's ssh configuration.
        program: the program's name there.
        words: what follows it.
        reads_input: its commands that read standard input; a word `-` means that, too.
        at_terminal: its commands that need a terminal, if there is one here; "" for none at all.

    Raises:
        ArgumentInvalid: `host` names no machine.
        Unreachable, ConnectError: nothing has run, see `Course.run`.
    """
    machine = host_words.machine(host)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    terminal = sys.stdin.isatty() and sys.stdout.isatty() and _wants(words, at_terminal)
    with_input = "-" in words or _wants(words, reads_input)
    course = Course(machine, program, _to(1, raw=terminal), _to(2, raw=terminal))
    code = course.run(words, with_input=with_input, terminal=terminal, begin_s=_BEGIN_S, connect_s=None)
    _keep(host, words, course.told)
    return code


def _keep(host: str, words: list[str], told: str) -> None:
    """Keep where the socket of the daemon is that a command asked, for the next one."""
    where = ssh_words.FarSocket.read(told)
    name = host_words.daemon_of(words)
    route = ssh.route_to(host_words.daemon_at(host, name)) if where is not None and name is not None else None
    if route is not None and where is not None:
        route.told(where)


def _wants(words: list[str], commands: tuple[str, ...]) -> bool:
    return (not words and "" in commands) or host_words.begins_with(words, filter(None, commands))


def _to(number: int, *, raw: bool) -> Taking:
    """Return what writes to a descriptor of ours: to a terminal nothing that commands it."""
    if raw or not os.isatty(number):
        return lambda chunk: _write(number, chunk)
    import codecs

    decode = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode
    return lambda chunk: _write(number, shown(decode(chunk)).encode("utf-8", "backslashreplace"))


def _write(number: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(number, left) :]


def _columns() -> int:
    """Return how wide our terminal is; 0 where standard output is not one."""
    if not sys.stdout.isatty():
        return 0
    from daemonry.cli.terminal import size

    return size(1)[0]
