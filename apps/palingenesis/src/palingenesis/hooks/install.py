"""The commands `hooks install`, `hooks remove` and `hooks status`.

Owns the order: read, decide, show, ask, keep a backup, write.  A file that cannot be understood is left as
it is, and so is one that changes meanwhile.
"""

from __future__ import annotations

import difflib
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from daemonry import write_atomically
from daemonry.cli import kit
from palingenesis.agents.profile import place
from palingenesis.definition import daemon
from palingenesis.hooks import script
from palingenesis.hooks.agents import AGENTS
from palingenesis.hooks.settings_text import CannotBeRead, events_with, with_hooks, without_hooks

MAX_SETTINGS_BYTES: Final = 4 * 2**20


class InstallRefused(Exception):
    """It was not done; its words say why, and name the file."""


class AgentSettings(NamedTuple):
    """An agent's settings file.

    Attributes:
        agent: whose.
        path: where it is, links followed: a file that is kept elsewhere stays there.
        data: its content; None where there is no file.
        mode: its permissions.
    """

    agent: str
    path: str
    data: bytes | None
    mode: int

    @property
    def text(self) -> str:
        """Its content.

        Raises:
            Refused: it is not UTF-8.
        """
        try:
            return (self.data or b"").decode("utf-8")
        except UnicodeDecodeError as error:
            raise InstallRefused(
                f"{self.path}: byte {error.start + 1} is not UTF-8; nothing was changed"
            ) from None


class SettingsChange(NamedTuple):
    """A planned change of a settings file.

    Attributes:
        settings: as it is.
        data: as it is to be; None for no file.
        backup: a copy of the file as it was without hooks; None to leave an earlier copy.
    """

    settings: AgentSettings
    data: bytes | None
    backup: bytes | None = None


def run(verb: str, agents: Sequence[str], *, yes: bool) -> int:
    """Do `hooks VERB AGENTS`, and return the exit code.

    Args:
        verb: "install", "remove" or "status".
        agents: which; none for all whose directory is there.
        yes: whether a difference is written without asking.
    """
    code = kit.DONE
    for agent in agents or [one for one in AGENTS if _is_here(one)]:
        try:
            done = _status(agent) if verb == "status" else _change(verb, agent, yes)
        except (InstallRefused, OSError) as error:
            words = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
            kit.complain(f"palingenesis: {kit.printable(words)}")
            done = kit.FAILED
        code = code or done
    if not agents and not any(map(_is_here, AGENTS)):
        kit.say(f"no agent with hooks is here; known are {', '.join(AGENTS)}")
    return code


def _change(verb: str, agent: str, yes: bool) -> int:
    settings = _read(agent)
    try:
        change = _installed(settings) if verb == "install" else _removed(settings)
    except CannotBeRead as error:
        raise InstallRefused(f"{settings.path}: {error}; nothing was changed") from None
    if change is None:
        kit.say(f"{agent}: {'hooks are installed already' if verb == 'install' else 'there are no hooks'}")
        return kit.DONE
    for line in _difference(change):
        kit.say(line)
    if not yes and not _agreed():
        kit.complain("palingenesis: nothing was changed; --yes writes it")
        return kit.FAILED
    _write(change)
    kit.say(f"{agent}: hooks {'installed' if verb == 'install' else 'removed'}")
    if verb == "install" and AGENTS[agent].note:
        kit.say(f"{agent}: {AGENTS[agent].note}")
    return kit.DONE


def _status(agent: str) -> int:
    settings = _read(agent)
    try:
        there = events_with(settings.text, script.command(_state_dir(), agent))
    except CannotBeRead as error:
        raise InstallRefused(f"{settings.path}: {error}") from None
    missing = [event for event in AGENTS[agent].events if event not in there]
    if not there:
        kit.say(f"{agent}: no hooks in {kit.printable(settings.path)}")
    elif missing:
        kit.say(f"{agent}: hooks, but not for {', '.join(missing)}: `hooks install` puts them in")
    else:
        kit.say(f"{agent}: hooks in {kit.printable(settings.path)}")
    return kit.DONE


# --- texts to write -------------------------------------------------------------------------------


def _installed(settings: AgentSettings) -> SettingsChange | None:
    text, command, events = settings.text, script.command(_state_dir(), settings.agent), _events(settings)
    there = events_with(text, command)
    if set(there) >= set(events):
        return None
    before = without_hooks(text, command) if there else text
    try:
        data = with_hooks(before, events, command).encode()
    except UnicodeEncodeError:
        elsewhere = "is not UTF-8: set PALINGENESIS_STATE to a directory whose name is"
        raise InstallRefused(f"{_state_dir()}, where the hook would be, {elsewhere}") from None
    # An empty file differs from a missing one: removal brings back the one that there was.
    return SettingsChange(settings, data, backup=None if settings.data is None else before.encode())


def _removed(settings: AgentSettings) -> SettingsChange | None:
    """Return the change that takes hooks out: the very file of before, or where others edited it, theirs."""
    text, command = settings.text, script.command(_state_dir(), settings.agent)
    if not events_with(text, command):
        return None
    backup = _read_or_none(_backup_path(settings.agent))
    before = "" if backup is None else backup.decode("utf-8", "replace")
    if with_hooks(before, _events(settings), command) == text:
        return SettingsChange(settings, backup)
    return SettingsChange(settings, without_hooks(text, command).encode())


def _events(settings: AgentSettings) -> tuple[str, ...]:
    return AGENTS[settings.agent].events


def _difference(change: SettingsChange) -> Iterator[str]:
    path = kit.printable(change.settings.path)
    before, after = (
        (data or b"").decode("utf-8").splitlines() for data in (change.settings.data, change.data)
    )
    for line in difflib.unified_diff(before, after, path, path, lineterm="", n=2):
        yield kit.printable(line)
    if change.data is None:
        yield f"{path}: removed, as it was not there before"


def _agreed() -> bool:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    print("Write this? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


# --- files ----------------------------------------------------------------------------------------


def _read(agent: str) -> AgentSettings:
    path = _path(agent)
    if not os.path.isdir(os.path.dirname(path)):
        raise InstallRefused(f"{agent} is not here: there is no {os.path.dirname(path)}")
    path = os.path.realpath(path)
    data = _read_or_none(path)
    mode = 0o600 if data is None else stat.S_IMODE(os.stat(path).st_mode)
    return AgentSettings(agent, path, data, mode)


def _write(change: SettingsChange) -> None:
    settings = change.settings
    if _read_or_none(settings.path) != settings.data:
        raise InstallRefused(f"{settings.path} has changed meanwhile; nothing was written")
    if change.data is None:
        os.unlink(settings.path)
        return
    script.write(_state_dir())
    kept = _backup_path(settings.agent)
    if change.backup is not None:
        write_atomically(kept, change.backup)
    elif settings.data is None and os.path.exists(kept):
        os.unlink(kept)
    write_atomically(settings.path, change.data, mode=settings.mode)
    os.chmod(settings.path, settings.mode)


def _read_or_none(path: str) -> bytes | None:
    """Return the content of a regular file; None where there is none.

    Raises:
        Refused: it is not a regular file, or too long.
        OSError: it cannot be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):  # before `open`, which names a directory by its number
            raise InstallRefused(f"{path} is not a regular file")
        with open(fd, "rb", closefd=False) as file:
            data = file.read(MAX_SETTINGS_BYTES + 1)
    finally:
        os.close(fd)
    if len(data) > MAX_SETTINGS_BYTES:
        raise InstallRefused(f"{path} is longer than {MAX_SETTINGS_BYTES} bytes")
    return data


def _path(agent: str) -> str:
    path = place(AGENTS[agent].settings, os.environ)
    if not path:
        raise InstallRefused(f"{agent}: HOME is not set")
    return path


def _is_here(agent: str) -> bool:
    try:
        return os.path.isdir(os.path.dirname(_path(agent)))
    except InstallRefused:
        return False


def _state_dir() -> str:
    return daemon.place().state_path


def _backup_path(agent: str) -> str:
    return os.path.join(script.directory(_state_dir()), f"{agent}.before")
