"""The words between this machine's ssh and the `daemonry dial` of another one.

Owns ssh's options, the command for the other machine's shell, and the first line that comes back:

    daemonry-dial 1 ANSWER REASON

where ANSWER is serving (the daemon's bytes follow), busy, absent, denied or failed.  The reason of serving
is where the daemon's socket is, see `FarSocket`.  No I/O.
"""

from __future__ import annotations

from daemonry.terminal_text import printable
from daemonry.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final, Self

    from daemonry.transport.endpoint import Endpoint

MARK: Final = b"daemonry-dial 1 "
SERVING: Final = "serving"
BUSY: Final = "busy"
ABSENT: Final = "absent"
DENIED: Final = "denied"
FAILED: Final = "failed"
# What a login shell may print before the first line of ours, such as a greeting, in bytes.
MAX_GREETING: Final = 1 << 16
# A machine that is gone is noticed one interval after this many silent ones, in seconds: OpenSSH counts those
# that it has asked in.  A dead one while connecting.
_ALIVE_S: Final = 1
_ALIVE_MOST: Final = 4
_CONNECT_S: Final = 5
# How long a connection is kept for the next command, in seconds.
_PERSIST_S: Final = 60
_UNIX: Final = "unix:"
# Of a `FarSocket`: no variable differs, and nobody has looked.
NOTHING: Final = "-"
UNKNOWN: Final = "?"
_MAX_PID_DIGITS: Final = 10
_MAX_DIFFERS_CHARS: Final = 1000
# A configuration may take away the input or the command of ssh, or send it behind: here it may not.  OpenSSH
# knows these options since 8.7; an older one ends at the first, and knows no such configuration.
_WHOLE_SESSION: Final = {"StdinNull": "no", "SessionType": "default", "ForkAfterAuthentication": "no"}
_UNKNOWN_OPTION: Final = (
    f"command-line: line 0: bad configuration option: {next(iter(_WHOLE_SESSION)).lower()}"
)
# Of what ssh says when it fails.
_REASON_CHARS: Final = 200

# ssh's own exit status: the connection failed.  A shell's: there is no such command, or it cannot be run.
_SSH_FAILED: Final = 255
_NO_COMMAND: Final = 127
_NOT_RUN: Final = 126
# An argument parser's: it does not know the verb.
_NO_SUCH_VERB: Final = 2


class FarSocket(Value):
    """Where a daemon's socket is on the other machine: `VERSION PID DIFFERS unix:/path` in a first line.

    Attributes:
        version: of that machine's daemonry.
        pid: the daemon's, as its record tells; 0 for an unknown one.
        differs: the variables that the daemon has otherwise than a command there, with commas between them;
            "-" for none, "?" where nobody has looked.
        path: absolute.
    """

    __slots__ = ("differs", "path", "pid", "version")
    differs: str
    path: str
    pid: int
    version: str

    def __init__(self, version: str, pid: int, differs: str, path: str) -> None:
        self._set(version=version, pid=pid, differs=differs, path=path)

    def __str__(self) -> str:
        return f"{self.version} {self.pid} {self.differs} {_UNIX}{self.path}"

    @classmethod
    def read(cls, reason: str) -> Self | None:
        """Return what a first line tells; None where it tells no socket, as an older daemonry's."""
        version, _, rest = reason.partition(" ")
        pid, _, rest = rest.partition(" ")
        differs, _, place = rest.partition(" ")
        path = place.removeprefix(_UNIX)
        if path == place or not path.startswith("/") or "\0" in path or ":" in version:
            return None
        if not (pid.isascii() and pid.isdecimal()) or len(pid) > _MAX_PID_DIGITS or not differs:
            return None
        return cls(version, int(pid), differs, path)


def joined(differs: list[str]) -> str:
    """Return variables' names as `FarSocket.differs`; "?" for such that no line can hold."""
    text = ",".join(differs) or NOTHING
    plain = all(name.isascii() and name.isidentifier() for name in differs)
    return text if plain and len(text) <= _MAX_DIFFERS_CHARS else UNKNOWN


def arguments(
    endpoint: Endpoint,
    control_path: str | None,
    time_s: float | None,
    command: str,
    *,
    terminal: bool = False,
    old: bool = False,
) -> list[str]:
    """Return what follows `ssh` on its command line.

    Args:
        endpoint: an ssh endpoint.
        control_path: where the kept connection's socket is to be, with `%C`; None for keeping none.
        time_s: how long connecting may take, in seconds; None for the usual.
        command: what the login shell there runs, see `dial_command` and `line`.
        terminal: whether the command gets a terminal.
        old: whether this ssh is older than OpenSSH 8.7, see `is_old`.
    """
    # Half a second before our own deadline, so that ssh can say why.
    connect_s = _CONNECT_S if time_s is None else max(1, min(_CONNECT_S, int(time_s - 0.5)))
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": connect_s,
        "ServerAliveInterval": _ALIVE_S,
        "ServerAliveCountMax": _ALIVE_MOST,
        # As scp and sftp have it: what a configuration adds to a person's own session is not for ours.  Its
        # command would take the place of ours, and its forwarded ports may be taken, by that session.
        "RemoteCommand": "none",
        "ClearAllForwardings": "yes",
        **({} if old else _WHOLE_SESSION),
    }
    kept: dict[str, object] = {}
    if control_path is not None:
        kept = {"ControlMaster": "auto", "ControlPersist": _PERSIST_S, "ControlPath": control_path}
    said = [word for name, value in {**options, **kept}.items() for word in ("-o", f"{name}={value}")]
    port = ["-p", str(endpoint.number)] if endpoint.number else []
    return ["-tt" if terminal else "-T", *said, *port, "--", endpoint.address, command]


def dial_command(endpoint: Endpoint, program: str) -> str:
    """Return the command that joins ssh to the daemon of an endpoint.

    Args:
        endpoint: an ssh endpoint.
        program: the `daemonry` of the other machine.
    """
    start = ("--start", endpoint.start) if endpoint.start else ()
    return line([program, "dial", endpoint.target, *start])


def line(words: Iterable[str]) -> str:
    """Return a command for the login shell there, whichever it is.

    A shell without a terminal does not read what adds the places of pipx, uv and pip to the PATH.
    """
    quoted = " ".join(map(_quoted, words))
    return f"sh -c {_quoted(f'PATH=$PATH:$HOME/.local/bin; exec {quoted}')}"


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def first_line(answer: str, reason: str = "") -> bytes:
    """Return the line that `daemonry dial` begins with."""
    said = printable(reason).replace("\n", " ")
    return MARK + answer.encode("ascii") + b" " + said.encode("utf-8", "backslashreplace") + b"\n"


def read_first_line(line: bytes) -> tuple[str, str] | None:
    """Return the answer and the reason of a line, or None for a line that is not of ours."""
    if not line.startswith(MARK):
        return None
    answer, _, reason = line[len(MARK) :].decode("utf-8", "replace").rstrip("\r\n").partition(" ")
    return answer, printable(reason)


def is_old(status: int, said: str) -> bool:
    """Whether an ssh ended, before it did anything, because it is older than OpenSSH 8.7.

    Args:
        status: its exit status.
        said: its standard error.
    """
    return status == _SSH_FAILED and _UNKNOWN_OPTION in said.lower().splitlines()


def why_unreachable(status: int, said: str) -> str | None:
    """Return why ssh reached no machine, or None where it did, and something is wrong there.

    Args:
        status: ssh's exit status, negative for a signal.
        said: its standard error.
    """
    if status != _SSH_FAILED and status >= 0:
        return None
    return last_line(said) or "ssh ended without a reason"


def why_not_begun(status: int, said: str, host: str, program: str = "daemonry", *, printed: str = "") -> str:
    """Return why a machine that was reached did not say its first line.

    Args:
        status: ssh's exit status, which is the command's.
        said: its standard error.
        host: the machine.
        program: what was to run there.
        printed: its standard output, or the end of that.
    """
    what_to_do = "install it there, or name its path by $DAEMONRY_REMOTE here"
    if status == _NO_COMMAND:
        return f"{host} has no {program} on its PATH: {what_to_do}"
    if status == _NOT_RUN:
        return f"{host} cannot run {program} ({last_line(said) or 'no reason was given'}): {what_to_do}"
    if status == _NO_SUCH_VERB:
        return f"the {program} of {host} is too old for ssh endpoints: {last_line(said)}"
    words = "; ".join(filter(None, (last_line(said), last_line(printed))))
    if status and last_line(said) and not last_line(printed):
        return f"the {program} of {host} ended with {status}: {words}"
    # A forced command, or a login shell such as nologin, knows nothing of ours.
    here = "-N or -f in $DAEMONRY_SSH"
    there = "a forced command or a login shell of its own there"
    told = f"says: {words}" if words else f"ended with {status} and without a word"
    return f"{host} did not run {program}, and {told} ({here}, or {there}, may have it so)"


def last_line(said: str) -> str:
    """Return the last line of an error output, for people."""
    lines = [line for line in said.splitlines() if line.strip()]
    return printable(lines[-1].strip())[:_REASON_CHARS] if lines else ""
