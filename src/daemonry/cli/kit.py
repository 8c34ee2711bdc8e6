"""What a program's own command line is made of, and the quick commands, which are made of it too.

    command         runs a program's command line, here or on another machine
    interruptible   has Ctrl-C raise KeyboardInterrupt, where the program let it end the process
    is_continued    whether the native launcher has sent the command's call already
    guarded         runs a command; an exception becomes one line and an exit code
    leave           ends the process, after a quick command at once
    Options, parse  the options that every quick command knows, read without argparse
    perform         does one quick command: status, ping, pause, resume, reload, stop
    tell_crash      tells of the last crash, if nobody has yet
    fail            prints an error and returns its exit code
    seconds         reads a number of seconds
    say, say_json, complain, span, value, printable
                    print facts: a line, JSON, an error; a length of time, a value, foreign text
    DONE, FAILED, USAGE, NOT_RUNNING, DENIED, NO_ANSWER, UNKNOWN_OUTCOME
                    the exit codes, without the errors that mean them
    ALREADY_PAUSED, NOT_PAUSED
                    what a daemon answers when it is so already

These are the names that programs may rely on.

Owns the quick commands' output, and the way out of the process for all commands: an exception
becomes one line and an exit code.  One connection, one line, and out: no asyncio, no logging, no
third-party module, no argparse.  Anything beyond the plain form of a command (`--help`, an option
that is not known) is `full`'s.
"""

from __future__ import annotations

import gc
import os
import sys

from daemonry import bundle, faults
from daemonry.cli import output
from daemonry.cli.output import (
    DENIED,
    DONE,
    FAILED,
    NO_ANSWER,
    NOT_RUNNING,
    UNKNOWN_OUTCOME,
    USAGE,
    complain,
    say,
    say_json,
    span,
    value,
)
from daemonry.limits import REQUEST_TIMEOUT_S
from daemonry.terminal_text import printable, shown
from daemonry.wire import text
from daemonry.wire.text import ALREADY_PAUSED, NOT_PAUSED

__all__ = [
    "ALREADY_PAUSED",
    "DENIED",
    "DONE",
    "FAILED",
    "NOT_PAUSED",
    "NOT_RUNNING",
    "NO_ANSWER",
    "UNKNOWN_OUTCOME",
    "USAGE",
    "Options",
    "command",
    "complain",
    "fail",
    "guarded",
    "interruptible",
    "is_continued",
    "leave",
    "parse",
    "perform",
    "printable",
    "say",
    "say_json",
    "seconds",
    "span",
    "tell_crash",
    "value",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn

    from daemonry.daemon.instance import Instance
    from daemonry.process.homes import Owner

# Python looks for cycles after 700 new objects: a sixth of a quick command's instructions, and it has none.
# Work that goes on for long still has them collected.
_OBJECTS_TO_COLLECT = 20_000
_BY_VERB = {spec.verb: spec for spec in text.COMMANDS.values() if spec.verb}
VERBS = tuple(_BY_VERB)


class Options:
    """The options of a command.

    Attributes:
        force: kill what does not stop in time.
        json: print JSON.
        timeout_s: how long it may take, in seconds; None for the command's own default.
    """

    __slots__ = ("force", "json", "timeout_s")

    def __init__(self, *, json: bool = False, force: bool = False, timeout_s: float | None = None) -> None:
        self.json: bool = json
        self.force: bool = force
        self.timeout_s: float | None = timeout_s


def parse(arguments: list[str]) -> tuple[list[str], Options] | None:
    """Return the plain words and the options, or None where a fuller parser has to look."""
    words: list[str] = []
    options = Options()
    rest = iter(arguments)
    for argument in rest:
        if argument == "--json":
            options.json = True
        elif argument == "--timeout":
            limit_s = seconds(next(rest, ""))
            if limit_s is None:
                return None
            options.timeout_s = limit_s
        elif argument.startswith("-"):
            return None
        else:
            words.append(argument)
    return words, options


def seconds(digits: str) -> float | None:
    """Return the number of seconds that an option says, or None where it says none above 0."""
    try:
        number = float(digits)
    except ValueError:
        return None
    return number if 0 < number < 1e9 else None


def perform(verb: str, instance: Instance, options: Options) -> int:
    """Do one quick command and return its exit code."""
    try:
        code = _status(instance, options) if verb == "status" else _command(verb, instance, options)
    except faults.NotRunning as error:
        tell_crash(instance, gone=True)
        return _not_running(verb, instance, options, error)
    except faults.DaemonryError as error:
        return fail(error, options.json)
    tell_crash(instance, gone=verb == "stop")
    return code


def _status(instance: Instance, options: Options) -> int:
    fields = instance.status(options.timeout_s or REQUEST_TIMEOUT_S)
    differs = instance.environment_differs()
    if differs:
        fields = {**fields, "environment_differs": differs}
    if options.json:
        say_json(fields)
    else:
        _say_status(instance, fields)
    return DONE


def _say_status(instance: Instance, fields: Mapping[str, Any]) -> None:
    say(f"{printable(instance.name)}: {output.state(str(fields.get('state', 'serving')))}")
    for name, told in fields.items():
        if name == "state":
            continue
        if name == "uptime_secs" and isinstance(told, (int, float)):
            say(f"  uptime: {span(told)}")
        else:
            say(f"  {value(name)}: {value(told)}")


def _command(verb: str, instance: Instance, options: Options) -> int:
    if verb == "stop":
        return _stop(instance, options)
    spec = _BY_VERB[verb]
    try:
        reply = instance.command(spec.word, options.timeout_s or REQUEST_TIMEOUT_S)
    except faults.CommandFailed as error:
        if not spec.so_already or error.message != spec.so_already:
            raise
        return _done(instance, options, spec.already)
    if spec.form == "text":
        return _done(instance, options, spec.done or value(reply.message))
    return _done(instance, options, spec.done, reply.message)


def _stop(instance: Instance, options: Options) -> int:
    from daemonry.launch.stop import stop

    told = ""

    def progress(held_up_by: str) -> None:
        nonlocal told
        if held_up_by != told:
            told = held_up_by
            complain(f"{instance.name}: stopping, held up by {printable(held_up_by)}")

    stop(instance, timeout_s=options.timeout_s, force=options.force, progress=progress)
    return _done(instance, options, _BY_VERB["stop"].done)


def _done(instance: Instance, options: Options, what: str, note: str = "") -> int:
    if options.json:
        fields: dict[str, Any] = {"ok": True, "name": instance.name, "result": what}
        say_json({**fields, "note": note} if note else fields)
    else:
        say(printable(f"{instance.name}: {what}"))
        if note:
            say(f"  {value(note)}")
    return DONE


def _not_running(verb: str, instance: Instance, options: Options, error: faults.NotRunning) -> int:
    if verb == "stop":  # already so
        return _done(instance, options, "not running")
    if verb != "status":
        return fail(error, options.json)
    from daemonry.process import homes

    owner = homes.owner_of(instance.place) if instance.place is not None else None
    if owner is not None:
        _say_absent_in_home(instance, options, owner)
    elif options.json:
        say_json({"state": "absent", "name": instance.name})
    else:
        say(printable(str(error)))
    return NOT_RUNNING


def _say_absent_in_home(instance: Instance, options: Options, owner: Owner) -> None:
    from daemonry.launch import of_home

    state = of_home.state(owner, options.timeout_s or REQUEST_TIMEOUT_S)
    if options.json:
        say_json({"state": state, "name": instance.name, "home": owner.home, "service": owner.service})
    else:
        name, where = printable(instance.name), printable(str(owner))
        say(f"{name}: {output.state(state)} ({where}, which starts it when it is needed)")


def tell_crash(instance: Instance, *, gone: bool) -> None:
    """Print the report of the last crash, if nobody has seen it yet."""
    place = instance.place
    if place is None or not (gone or os.path.exists(place.crash_note_path)):
        return
    from daemonry.daemon import crash_report

    note = (crash_report.note_if_crashed if gone else crash_report.take_note)(place)
    if note is not None:
        complain(note)


def fail(error: faults.DaemonryError | OSError, as_json: bool = False, program: str = "") -> int:
    """Print an error, one line, and return its exit code.

    Args:
        error: the error.
        as_json: whether it is printed as JSON, too.
        program: what the line begins with, if anything: whose error it is.
    """
    from daemonry.cli.exit_codes import code_of

    code = code_of(error)
    message = printable(reason(error))
    if as_json:
        say_json({"ok": False, "error": message, "kind": type(error).__name__, "exit_code": code})
    complain(f"{program}: {message}" if program else message)
    for note in getattr(error, "__notes__", ()):
        for line in str(note).split("\n"):
            complain("    " + shown(line))
    return code


def reason(error: faults.DaemonryError | OSError) -> str:
    """Return what an error says, without the number that Python puts before the system's own words."""
    if isinstance(error, faults.DaemonryError) or not error.strerror:
        return str(error)
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    try:
        os.getcwd()
    except FileNotFoundError:
        return "the working directory was removed: change to another one"
    return error.strerror


def command(
    program: str,
    arguments: list[str],
    run: Callable[[list[str]], int],
    *,
    leading: bool = False,
    reads_input: tuple[str, ...] = (),
    at_terminal: tuple[str, ...] = (),
) -> int:
    """Run a program's command line and return its exit code, also where it raises an error that we know.

    With `--host HOST`, or `$DAEMONRY_HOST`, it runs on that machine, through the user's ssh.

    Args:
        program: the program's name, by which other machines know it too.
        arguments: the words behind it.
        run: runs them here.
        leading: whether `--host` counts as the first word only: the later ones may be anything.
        reads_input: the commands that read standard input, such as "mcp serve"; `-` as a word means it too.
        at_terminal: the commands that need a terminal, if there is one; "" for the program without words.
    """
    bundle.serve(run.__module__.partition(".")[0])
    sys.argv[0] = sys.argv[0].removesuffix("-python")  # its name where the native launcher has its place
    if arguments[:1] == ["_answered"]:
        from daemonry.cli.native import answered

        return guarded(lambda: answered.run(arguments[1:], run))
    if arguments[:1] == ["_continued"]:
        from daemonry.cli.native import continued

        return guarded(lambda: continued.run(arguments[1:], run))
    if "DAEMONRY_BOOT" not in os.environ:  # a daemon lives long
        gc.set_threshold(_OBJECTS_TO_COLLECT)
    if "DAEMONRY_HOST" in os.environ or arguments[:1] == ["_far"] or any(map(_is_host, arguments)):
        return guarded(lambda: _elsewhere(program, arguments, run, leading, reads_input, at_terminal))
    return guarded(lambda: run(arguments))


def _is_host(word: str) -> bool:
    return word.startswith("--host")


def _elsewhere(
    program: str,
    arguments: list[str],
    run: Callable[[list[str]], int],
    leading: bool,
    reads_input: tuple[str, ...],
    at_terminal: tuple[str, ...],
) -> int:
    from daemonry.cli.hosts import words

    if arguments[:1] == [words.FAR]:
        from daemonry.cli.hosts import far

        return far.run(arguments[1:], run)
    if "DAEMONRY_BOOT" in os.environ:  # a daemon that this machine starts
        return run(arguments)
    host, rest = words.split(arguments, os.environ, leading=leading)
    if not host:
        return run(rest)
    if program == "daemonry" and words.daemon_of(rest) is not None:
        from daemonry.cli.hosts import through

        instance = through.answering(host, rest)
        if instance is not None:
            with instance:
                return perform(rest[0], instance, Options(json="--json" in rest))
    from daemonry.cli.hosts import near

    interruptible()  # and end the ssh
    try:
        return near.run_at(host, program, rest, reads_input=reads_input, at_terminal=at_terminal)
    except faults.DaemonryError as error:
        return fail(error, program == "daemonry" and words.asks_for_json(rest))


def guarded(command: Callable[[], int]) -> int:
    """Run a command and return its exit code, also where it raises an error that we know."""
    output.open_what_is_closed()
    try:
        code = command()
    except BrokenPipeError:
        return output.reader_gone()
    except (faults.DaemonryError, OSError) as error:
        code = fail(error)
    except KeyboardInterrupt:
        code = 130  # 128 + SIGINT, as a shell would report it
    except SystemExit as error:  # argparse, after --help or wrong usage
        if not isinstance(error.code, int):
            raise
        code = error.code
    return output.flush() or code


def is_continued() -> bool:
    """Whether the native launcher has sent this command's call, so that it must not be sent again."""
    connecting = sys.modules.get("daemonry.transport.connect")
    return connecting is not None and bool(connecting.STARTED)


def interruptible() -> None:
    """Have Ctrl-C raise KeyboardInterrupt; a program may have let it end the process while it imports."""
    import _signal as signal  # type: ignore[import-not-found]  # `signal` costs an enum or two

    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_nothing_left = False


def nothing_left_to_end() -> None:
    """Have `leave` end the process at once: no thread runs, and nothing waits for the interpreter's end."""
    global _nothing_left  # noqa: PLW0603  # a process ends once
    _nothing_left = True


def leave(code: int) -> NoReturn:
    """End the process with an exit code.

    After a quick command at once: taking the interpreter apart would cost as much as the command.  So also
    after one that has said that nothing is left to end (`nothing_left_to_end`).
    """
    if "threading" in sys.modules and not _nothing_left:  # not a quick command
        raise SystemExit(code)
    code = output.flush() or code
    complete_bundle()
    os._exit(code)


def complete_bundle() -> None:
    """Write the bundle of the quick commands' modules, if this was such a command and had to do without."""
    lacking = bundle.lacking()
    if lacking is not None:
        from daemonry import bundle_writing

        bundle_writing.write(lacking)
