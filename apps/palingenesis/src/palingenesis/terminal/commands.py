"""The commands `run`, `attach`, `detach` and `terminals`.

Owns their checks, their output and their exit codes.  `run` is the window of a terminal that
another process holds, which is made here; without a terminal it passes the program's output on.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NoReturn

from daemonry import load_config, open_regular
from daemonry.cli import kit
from palingenesis.agents.known import configured
from palingenesis.agents.profile import Profile
from palingenesis.definition import daemon
from palingenesis.evidence import processes, quota, terminals
from palingenesis.evidence.terminals import Terminal
from palingenesis.here import here
from palingenesis.resume.schedule import Delays
from palingenesis.resume.scouts import Scouts
from palingenesis.settings import Settings
from palingenesis.terminal import frames, screen
from palingenesis.terminal.client import WindowClient, end_as
from palingenesis.terminal.course import Agent, Course
from palingenesis.terminal.look import Look
from palingenesis.terminal.next_step import Allowance
from palingenesis.terminal.permit import Permit
from palingenesis.terminal.raw import RawTerminal, size_of
from palingenesis.terminal.reservation import Reservation
from palingenesis.terminal.store import NameInUse, TerminalStore, is_name
from palingenesis.terminal.words import agent_of

# What a shell ends with when a program is not there, or cannot be run.
_NOT_THERE, _NOT_RUN = 127, 126
TALK_S: Final = 10.0


def run(words: Sequence[str], name: str | None, budget_s: float | None, detach_key: str | None) -> int:
    """Run a program in a terminal that outlives this window, and return its exit code.

    Raises:
        ConfigError: the configuration cannot be used.
        OSError: the terminal cannot be made, or this directory is gone.
    """
    words = list(words)
    if name is not None and not is_name(name):
        return _misused(f"{name!r} is not a name of a terminal: up to 64 letters, digits, '.', '_' and '-'")
    key = _key(detach_key)
    if key is None:
        return _misused(f"{detach_key!r} is not a key: give it as ^] or ^\\")
    if shutil.which(words[0]) is None:
        there = os.path.exists(words[0]) and "/" in words[0]
        shown = kit.printable(words[0]) or "''"
        kit.complain(f"palingenesis: {shown}: {'cannot be run' if there else 'not found'}")
        return _NOT_RUN if there else _NOT_THERE
    cwd = here()
    settings = load_config(daemon.config_path(), Settings)
    profiles = configured(settings, daemon.config_path())
    store = TerminalStore(daemon.place().state_path)
    agent = agent_of(words, profiles)
    base = name or os.path.basename(words[0])
    try:
        taken, lock = (base, store.take(base)) if name else store.take_free(base if is_name(base) else "run")
    except NameInUse:
        kit.complain(f"palingenesis: a terminal {base} is there: palingenesis attach {base} shows it")
        return kit.FAILED
    allowance = _allowance(settings, budget_s)
    terminal = Terminal(taken, agent, tuple(words), cwd, 0, "", allowance.began_s)

    def course() -> Course:
        known = _agent(agent, profiles[agent], words, settings, store.state_dir) if agent else None
        return Course(words, terminal.cwd, known, allowance, store.state_dir)

    if os.isatty(0) and os.isatty(1):
        return _in_terminal(store, terminal, lock, key, course)
    from palingenesis.terminal.headless import Headless

    return end_as(Headless(store, terminal, profiles[agent] if agent else None, course()).run())


def _allowance(settings: Settings, budget_s: float | None) -> Allowance:
    given = settings.resume
    delays = Delays(float(given.base_delay_secs), float(given.max_delay_secs), given.jitter)
    return Allowance(time.time(), budget_s, given.max_retries, delays)


def _agent(name: str, profile: Profile, words: Sequence[str], settings: Settings, state_dir: str) -> Agent:
    look = Look(name, profile, os.environ, words, here())
    ask = partial(quota.ask, profile, dict(os.environ), here())
    reservation = Reservation(float(settings.resume.silence_secs))
    permit = Permit(Scouts(state_dir), look.account, name, ask, reservation)
    return Agent(name, profile, look, settings.resume.backup_count, permit)


def _misused(why: str) -> int:
    kit.complain(f"palingenesis: {kit.printable(why)}")
    return kit.USAGE


def _key(text: str | None) -> bytes | None:
    """Return the byte of a key such as `^]`; b"" for none, None for a word that names no key."""
    if text is None:
        return b""
    if len(text) == 2 and text[0] == "^" and "@" <= text[1].upper() <= "_":
        return bytes([ord(text[1].upper()) & 0x1F])
    return None


# --- in a terminal --------------------------------------------------------------------------------


def _in_terminal(
    store: TerminalStore, terminal: Terminal, lock: int, key: bytes, course: Callable[[], Course]
) -> int:
    ours, its = socket.socketpair()
    modes, size = RawTerminal(0).modes, size_of(0)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        ours.close()
        _hold(store, terminal, its, lock, lambda held: _holder(store, held, modes, its, size, course()))
    its.close()
    os.close(lock)
    os.waitpid(child, 0)
    return WindowClient(ours, terminal.name, key).run()


def _holder(
    store: TerminalStore,
    terminal: Terminal,
    modes: list[object],
    connection: socket.socket,
    size: tuple[int, int, int, int],
    course: Course,
) -> None:
    from palingenesis.terminal.holder import Holder

    environment = {name: value for name, value in os.environ.items() if name not in ("LINES", "COLUMNS")}
    Holder(store, terminal, environment, modes, connection, size, course).run()


def _hold(
    store: TerminalStore,
    terminal: Terminal,
    connection: socket.socket,
    lock: int,
    hold: Callable[[Terminal], None],
) -> NoReturn:
    """Become the process that holds a terminal: of no terminal itself, and nobody's child."""
    code = 1
    try:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        _detach_streams(store.path(terminal.name, "log"), {connection.fileno(), lock})
        pid = os.getpid()
        held = Terminal(
            terminal.name, terminal.agent, terminal.argv, terminal.cwd, pid, processes.start_of(pid),
            terminal.began_s,
        )  # fmt: skip
        hold(held)
        code = 0
    except BaseException:  # noqa: BLE001  # the log is all that can tell it
        import traceback

        traceback.print_exc()
        with contextlib.suppress(OSError):
            sys.stderr.flush()
    finally:
        with contextlib.suppress(OSError):
            if os.path.getsize(store.path(terminal.name, "log")) == 0:
                store.remove(terminal.name, "log")
        os._exit(code)


def _detach_streams(log: str, kept: set[int]) -> None:
    import signal

    nothing = os.open(os.devnull, os.O_RDWR)
    written = open_regular(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for fd, source in ((0, nothing), (1, written), (2, written)):
        os.dup2(source, fd)
    os.close(nothing)
    os.close(written)
    for name in os.listdir("/dev/fd"):  # of the caller; a pipe that stays open makes somebody wait
        fd = int(name)
        if fd > 2 and fd not in kept:
            with contextlib.suppress(OSError):
                os.close(fd)
    # A window that is gone is seen by its connection; the shell's signals are its window's.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)


# --- attach, detach, terminals --------------------------------------------------------------------


def attach(name: str | None, detach_key: str | None) -> int:
    """Show a terminal in this window."""
    store = TerminalStore(daemon.place().state_path)
    key = _key(detach_key)
    if key is None:
        return _misused(f"{detach_key!r} is not a key: give it as ^] or ^\\")
    found = _chosen(store, name)
    if found is None:
        return kit.FAILED
    if found.state == "ended" or not found.lives:
        return _last_words(store, found)
    if found.headless:
        kit.complain(f"palingenesis: {found.name} has no terminal: its output went elsewhere")
        return kit.FAILED
    if not (os.isatty(0) and os.isatty(1)):
        kit.complain("palingenesis: attach needs a terminal")
        return kit.FAILED
    if os.environ.get("PALINGENESIS_TERMINAL") == found.name:
        kit.complain(f"palingenesis: this is {found.name} already")
        return kit.FAILED
    hello = {"verb": "attach", "size": size_of(0)}
    try:
        connection = store.connect(found.name, TALK_S)
        connection.sendall(frames.frame(frames.HELLO, json.dumps(hello).encode()))
        connection.recv(1, socket.MSG_PEEK)  # its screen, which comes first
    except OSError as error:
        return _no_answer(found.name, error)
    connection.settimeout(None)
    if not screen.is_possible():
        kit.complain("palingenesis: without the extra `terminal` the screen shows only later output")
    return WindowClient(connection, found.name, key).run()


def _last_words(store: TerminalStore, found: Terminal) -> int:
    """Show how a terminal ended that nobody looked at, once."""
    store.remove(found.name, "json", "lock", "sock", "log")
    if found.state != "ended":
        kit.complain(f"palingenesis: {found.name} is gone: the process that held it was killed")
        return kit.FAILED
    for line in found.screen.splitlines():
        kit.say(kit.printable(line))
    kit.say(f"palingenesis: {found.name} has ended")
    return end_as(found.status or 0)


def _chosen(store: TerminalStore, name: str | None) -> Terminal | None:
    known = list(terminals.all_of(store.state_dir))
    if name is not None:
        found = next((one for one in known if one.name == name), None)
        if found is None:
            names = ", ".join(one.name for one in known) or "there is none"
            kit.complain(f"palingenesis: no terminal {kit.printable(repr(name))}: {names}")
        return found
    if len(known) == 1:
        return known[0]
    names = ", ".join(one.name for one in known)
    kit.complain(f"palingenesis: which one? {names}" if known else "palingenesis: no terminal is held")
    return None


def detach(name: str | None) -> int:
    """Take the window from a terminal, whose program goes on."""
    store = TerminalStore(daemon.place().state_path)
    found = _chosen(store, name or os.environ.get("PALINGENESIS_TERMINAL"))
    if found is None:
        return kit.FAILED
    try:
        with store.connect(found.name, TALK_S) as connection:
            connection.sendall(frames.frame(frames.HELLO, b'{"verb": "detach"}'))
            decoder = frames.Decoder()
            while data := connection.recv(65536):
                for kind, content in decoder.feed(data):
                    if kind == frames.DETACHED:
                        kit.say(f"{found.name}: {'detached' if content == b'yes' else 'already detached'}")
                        return kit.DONE
    except OSError as error:
        return _no_answer(found.name, error)
    kit.complain(f"palingenesis: {found.name} has ended")
    return kit.FAILED


def _no_answer(name: str, error: OSError) -> int:
    if isinstance(error, TimeoutError):
        kit.complain(f"palingenesis: {name} does not answer within {TALK_S:g} s")
        return kit.NO_ANSWER
    kit.complain(f"palingenesis: {name} does not answer: {error.strerror or error}")
    return kit.FAILED


def show(*, as_json: bool) -> int:
    """Print the terminals, one a line."""
    found = list(terminals.all_of(TerminalStore(daemon.place().state_path).state_dir))
    if as_json:
        kit.say_json({"terminals": [_fields(one) for one in found]})
        return kit.DONE
    if not found:
        kit.say("no terminal is held")
    for one in found:
        words = kit.printable(" ".join(one.argv))
        kit.say(f"{one.name}: {_state(one)}; {words[:100]}")
    return kit.DONE


def _state(one: Terminal) -> str:
    if one.state == "ended":
        return f"ended with {end_code(one.status or 0)}"
    if not one.lives:
        return "gone: the process that held it was killed"
    place = "headless" if one.headless else "attached" if one.attached else "detached"
    if one.state == "waiting":
        left_s = max(0, int(one.at_s - time.time()))
        return f"{place}, waiting ({kit.printable(one.why)}): goes on in {kit.span(left_s)}"
    return f"{place}, running"


def end_code(status: int) -> int:
    """Return the exit code of a status, as a shell tells it."""
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _fields(one: Terminal) -> dict[str, object]:
    return {
        "name": one.name,
        "agent": one.agent,
        "session": kit.printable(one.session),
        "argv": [kit.printable(word) for word in one.argv],
        "cwd": kit.printable(one.cwd),
        "pid": one.pid if one.lives else None,
        "state": one.state if one.lives or one.state == "ended" else "gone",
        "attached": one.attached,
        "headless": one.headless,
        "why": kit.printable(one.why),
        "due_at_s": one.at_s or None,
        "exit_code": end_code(one.status) if one.status is not None else None,
    }
