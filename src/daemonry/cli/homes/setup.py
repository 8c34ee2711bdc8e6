"""`daemonry import`, `schema`, `install` and `uninstall`: commands run once for a home or a daemon.

Owns reading and writing the files, and telling the service manager.  Their text is `home.imports`'s,
`home.home_toml.form`'s and `home.unit_files`'s.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Final

from daemonry.cli import exit_codes, kit, output
from daemonry.errors import ArgumentInvalid, ConfigError, DaemonryError, TargetInvalid, UnsafePath
from daemonry.home import unit_files
from daemonry.home.home import Home
from daemonry.home.home_toml.home_file import load
from daemonry.home.imports import home_text, pm2, process_compose, procfile, supervisord
from daemonry.home.imports.home_text import Draft, ImportInvalid
from daemonry.home.names import FILE_NAME
from daemonry.home.unit_files import LoginCommand
from daemonry.limits import MAX_CONFIG_BYTES
from daemonry.process.atomic_file import write_atomically
from daemonry.process.regular_file import read_regular
from daemonry.terminal_text import printable

# Which files are meant, by their names.
_READERS: Final[tuple[tuple[str, Callable[[str], Draft]], ...]] = (
    (r"Procfile.*", procfile.read),
    (r".*supervisor.*\.(?:conf|ini)|.*\.ini", supervisord.read),
    (r"process-compose.*\.ya?ml|.*\.ya?ml", process_compose.read),
    (r".*\.json|.*ecosystem.*", pm2.read),
)
_MANAGER_TIMEOUT_S: Final = 20.0


def perform(verb: str, options: argparse.Namespace) -> int:
    """Perform one of these commands, and return its exit code."""
    do = {"import": _import, "schema": _schema, "install": _install, "uninstall": _uninstall}
    try:
        return do[verb](options)
    except BrokenPipeError:
        raise
    except (DaemonryError, OSError) as error:
        return kit.fail(error, getattr(options, "json", False))


# --- import, schema -----------------------------------------------------------------------------


def _import(options: argparse.Namespace) -> int:
    name = os.path.basename(options.file)
    read = next((read for pattern, read in _READERS if re.fullmatch(pattern, name)), None)
    if read is None:
        known = "Procfile, supervisord.conf, process-compose.yaml, ecosystem.config.json"
        raise ArgumentInvalid("FILE", f"{printable(name)} must be named as one of {known}")
    try:
        draft = read(read_regular(options.file, MAX_CONFIG_BYTES).decode())
    except (ImportInvalid, UnicodeDecodeError) as error:
        raise ConfigError(options.file, "", printable(str(error))) from None
    text = home_text.to_toml(draft, name)
    if options.print:
        output.say(text.rstrip("\n"))
        return exit_codes.DONE
    directory = os.path.abspath(os.path.expanduser(options.home or os.path.dirname(options.file) or "."))
    path = os.path.join(directory, FILE_NAME)
    if os.path.lexists(path) and not options.force:
        raise UnsafePath(path, "is there already: --force replaces it, --print shows what would be written")
    os.makedirs(directory, mode=0o700, exist_ok=True)
    write_atomically(path, text.encode(), durable=True)
    for note in draft.notes:
        output.complain(printable(note))
    count = len(draft.services)
    output.say(f"{path}: {count} service{'' if count == 1 else 's'}, {len(draft.notes)} notes")
    try:
        load(directory)
    except ConfigError as error:
        output.complain(f"to be put right before `up`: {printable(str(error))}")
    return exit_codes.DONE


def _schema(options: argparse.Namespace) -> int:
    from daemonry.home.home_toml.form import schema

    del options
    output.say(json.dumps(schema(), indent=2))
    return exit_codes.DONE


# --- install ------------------------------------------------------------------------------------


def _job(options: argparse.Namespace, *, to_remove: bool = False) -> LoginCommand:
    if (options.home is None) == (options.target is None):
        raise ArgumentInvalid("DAEMON", "one of a daemon's name and --home DIR")
    if options.home is not None:
        home = Home(options.home) if to_remove else Home.find(options.home)
        if not to_remove:
            load(home.directory)
        name = f"daemonry-home-{_plain(home.directory.strip('/'))}"
        words: tuple[str, ...] = ("up", "--foreground", "--home", home.directory)
        about, socket_path = f"the home {home.directory}, by daemonry", ""
    else:
        from daemonry.cli.target import instance_of, is_endpoint, is_program
        from daemonry.daemon.recipe import needed

        if is_endpoint(options.target):
            raise ArgumentInvalid("DAEMON", "an endpoint names no program: give the daemon's name or file")
        instance = instance_of(options.target)
        target = options.target
        if instance.place is not None and not (to_remove or is_program(target)):
            needed(instance.place)
        if is_program(target):
            target = _absolute(target)
        name = f"daemonry-{_plain(instance.name)}"
        words, about = ("run", target), f"the daemon {instance.name}, by daemonry"
        socket_path = instance.place.socket_path if instance.place is not None else ""
    directory = _launchd_dir() if _is_launchd(options) else _systemd_dir()
    path = os.path.join(directory, f"{name}.plist" if _is_launchd(options) else f"{name}.service")
    return LoginCommand(name, about, words, sys.executable, socket_path, path)


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text)


def _is_launchd(options: argparse.Namespace) -> bool:
    return bool(options.manager == "launchd" if options.manager else sys.platform == "darwin")


def _systemd_dir() -> str:
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return os.path.join(config, "systemd", "user")


def _launchd_dir() -> str:
    return os.path.expanduser("~/Library/LaunchAgents")


def _texts(job: LoginCommand, options: argparse.Namespace) -> dict[str, str]:
    if _is_launchd(options):
        return {job.path: unit_files.plist(job)}
    found = {job.path: unit_files.service_unit(job)}
    if job.socket_path:
        found[job.path.removesuffix("service") + "socket"] = unit_files.socket_unit(job)
    return found


def _install(options: argparse.Namespace) -> int:
    job = _job(options)
    texts = _texts(job, options)
    if options.print:
        output.say("\n".join(f"# {path}\n{text}" for path, text in texts.items()).rstrip("\n"))
        return exit_codes.DONE
    for path, text in texts.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_atomically(path, text.encode(), durable=True)
        output.say(f"{path}: written")
    units = [os.path.basename(path) for path in texts]
    if _is_launchd(options):
        return _told([["launchctl", "load", "-w", job.path]])
    # A daemon that nobody needs at login is started by its socket.
    start = [unit for unit in units if unit.endswith(".socket")] or units
    code = _told([_systemctl("daemon-reload"), _systemctl("enable", "--now", *start)])
    if not _lingers():
        output.complain(
            "it starts at login and ends at the last logout; for one that stays: loginctl enable-linger"
        )
    return code


def _uninstall(options: argparse.Namespace) -> int:
    try:
        job = _job(options, to_remove=True)
    except TargetInvalid:
        paths = _units_of(options)  # the program is gone, and its units may be there
        if not paths:
            raise
    else:
        paths = [path for path in _texts(job, options) if os.path.lexists(path)]
        if not paths:
            output.say(f"{job.name}: not installed")
            return exit_codes.DONE
    units = [os.path.basename(path) for path in paths]
    if _is_launchd(options):
        for path in paths:
            _told([["launchctl", "unload", "-w", path]], quietly=True)
    else:
        _told([_systemctl("disable", "--now", *units)], quietly=True)
    for path in paths:
        os.unlink(path)
        output.say(f"{path}: removed")
    if not _is_launchd(options):
        _told([_systemctl("daemon-reload")], quietly=True)
    return exit_codes.DONE


def _units_of(options: argparse.Namespace) -> list[str]:
    """Return the units that run the program of this text."""
    directory, kind = (_launchd_dir(), "plist") if _is_launchd(options) else (_systemd_dir(), "service")
    found: list[str] = []
    for path in sorted(glob.glob(os.path.join(glob.escape(directory), f"daemonry-*.{kind}"))):
        try:
            text = read_regular(path, MAX_CONFIG_BYTES).decode(errors="replace")
        except (OSError, DaemonryError):
            continue  # none of ours
        if unit_files.runs(text, _absolute(options.target)):
            beside = f"{path.removesuffix('.service')}.socket"
            found += [path, *([beside] if kind == "service" and os.path.lexists(beside) else [])]
    return found


def _absolute(target: str) -> str:
    """Return a program as its unit has it."""
    return os.path.abspath(target) if ".py" in target else target


def _systemctl(*words: str) -> list[str]:
    return ["systemctl", "--user", *words]


def _told(commands: list[list[str]], *, quietly: bool = False) -> int:
    """Run commands of the service manager; where it cannot be reached, say which are left to do."""
    for at, words in enumerate(commands):
        reason = _failure(words)
        if reason and quietly:
            return exit_codes.DONE
        if reason:
            output.complain(
                printable(f"the service manager cannot be reached ({reason}); once it can be, run:")
            )
            for left in commands[at:]:
                output.complain(f"    {' '.join(left)}")
            return exit_codes.DONE
    return exit_codes.DONE


def _failure(words: list[str]) -> str:
    if shutil.which(words[0]) is None:
        return f"there is no {words[0]}"
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", timeout=_MANAGER_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_MANAGER_TIMEOUT_S:g} s"
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def _lingers() -> bool:
    return os.path.exists(f"/var/lib/systemd/linger/{os.environ.get('USER', '')}")
