"""What commands print: one fact a line for people, the same facts as JSON for programs.

Owns colour (on a terminal only, and never with NO_COLOR), printing, the end of a pipe that is
closed early, and the numbers of the exit codes: what each is for is `exit_codes`'s, which comes
with all errors and is therefore not on the path of a command that has none.
"""

from __future__ import annotations

import os
import sys

from daemonry import strict_json
from daemonry.terminal_text import line_for_stream, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import IO, Any, Final

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_RUNNING: Final = 3
DENIED: Final = 4
NO_ANSWER: Final = 5
UNKNOWN_OUTCOME: Final = 6

_STYLES = {
    "good": "32",
    "warn": "33",
    "bad": "31",
    "dim": "2",
    "bold": "1",
    "cyan": "36",
    "magenta": "35",
    "blue": "34",
    "yellow": "33",
    "green": "32",
}
_STATE_STYLES = {
    "running": "good",
    "paused": "warn",
    "starting": "warn",
    "draining": "warn",
    "serving": "good",
    "ready": "good",
    "waiting": "warn",
    "restarting": "warn",
    "stopping": "warn",
    "failed": "bad",
    "done": "dim",
    "stopped": "dim",
}


def wants_colour(stream: IO[str]) -> bool:
    """Whether a stream is a terminal that wants colour: not a dumb one, and not with NO_COLOR."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str) -> str:
    """Return `text` in a style, where standard output is a terminal that wants colour."""
    if not wants_colour(sys.stdout):
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def state(word: str) -> str:
    """Return a daemon's state in its colour."""
    return styled(printable(word), _STATE_STYLES.get(word, "bold"))


def value(of: Any) -> str:
    """Return a fact's value as it is printed."""
    if of is None:
        return "-"
    if isinstance(of, bool):
        return "yes" if of else "no"
    if isinstance(of, (list, tuple)):
        return ", ".join(value(one) for one in of) or "-"
    if isinstance(of, dict):
        return strict_json.encode(of)
    return printable(str(of))


def span(seconds: float) -> str:
    """Return a length of time as people say it: `42s`, `5m 12s`, `3h 5m`, `2d 4h`."""
    whole = int(seconds)
    for unit_s, unit, lower_s, lower in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= unit_s:
            return f"{whole // unit_s}{unit} {whole % unit_s // lower_s}{lower}"
    return f"{whole}s"


def open_what_is_closed() -> None:
    """Point closed standard descriptors at nothing, as when a command is started with `>&-`.

    Otherwise the next file that is opened, a lock or a socket, would take the number, and be
    written to as standard output.
    """
    if sys.stdin is not None and sys.stdout is not None and sys.stderr is not None:
        return
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115


def say(line: str) -> None:
    """Print a line to standard output.  The command ends when that cannot be done.

    A terminal gets nothing from it but text and colours, whatever the line's maker forgot.
    """
    try:
        sys.stdout.write(line_for_stream(line, sys.stdout) + "\n")
    except BrokenPipeError:
        raise
    except OSError as error:  # no error of what the command does: not for who handles those
        raise SystemExit(unwritable(error)) from error


def complain(line: str) -> None:
    """Print a line to standard error, behind the output.  The command ends when the output was lost."""
    lost = flush()
    sys.stderr.write(line_for_stream(line, sys.stderr) + "\n")
    sys.stderr.flush()
    if lost is not None:
        raise SystemExit(lost)


def say_json(fields: Mapping[str, Any] | list[Any]) -> None:
    """Print a JSON value on one line."""
    say(strict_json.encode(fields))


def flush() -> int | None:
    """Write out the printed lines; return an exit code when that cannot be done."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return reader_gone()
    except OSError as error:
        return unwritable(error)
    return None


def unwritable(error: OSError) -> int:
    """Say that the output is lost, and return the exit code."""
    _discard_the_rest()
    complain(f"cannot write the output: {error.strerror}")
    return FAILED


def reader_gone() -> int:
    """Return the exit code for when nobody reads our output any more (`daemonry logs | head`).

    That is not our failure; 141 is what a shell would report for SIGPIPE.
    """
    _discard_the_rest()
    return 141


def end_with_the_reader(end: Callable[[int], object] = os._exit) -> None:
    """Have this process end as soon as nobody can read its output, also while it has none.

    For what prints as things happen: the next may never come, and `| head -1` waits for us to end.

    Args:
        end: ends it with the exit code, called in a thread; by default at once, which tidies up nothing but
            the process's own descriptors.
    """
    import threading

    threading.Thread(target=_end_when_unread, args=(end,), name="reader-watch", daemon=True).start()


def _end_when_unread(end: Callable[[int], object]) -> None:
    import select

    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):
        return  # it is closed, or nothing that a reader could leave
    for _, found in poll.poll():
        if found & (select.POLLERR | select.POLLHUP):
            end(reader_gone())


def _discard_the_rest() -> None:
    # Python would complain at exit about output that it could not write.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
