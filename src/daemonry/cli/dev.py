"""`daemonry dev`: a daemon for its developer, restarted on save, with its calls and its log in the terminal.

Owns the rounds: bring the daemon up with the code as it is, show its calls and its log until a file
changes, exchange it.  The exchange is `daemonry upgrade`'s, so calls that are under way come to their
end.  The program is imported in other processes only: an error there is shown, and the next save awaited.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from daemonry import errors, strict_json
from daemonry.cli import exit_codes, output
from daemonry.cli.tap import line_of
from daemonry.daemon.instance import Instance
from daemonry.process import log_reader
from daemonry.service.client.asynchronous import AsyncClient
from daemonry.terminal_text import printable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_POLL_S: Final = 0.3
_OWN: Final = ("org.daemonry.", "org.varlink.service.")

_Stamps = dict[str, tuple[int, int] | None]


def dev(target: str, options: tuple[str, ...]) -> int:
    """Run a daemon for its developer until interrupted, and return the exit code.

    Args:
        target: its module or file.
        options: those of its start.
    """
    os.environ["DAEMONRY_DEV"] = "1"
    if target.endswith(".py"):
        target = os.path.abspath(target)
    output.end_with_the_reader()
    name = ""
    try:
        while True:
            name = _up(target, options) or name
            changed = asyncio.run(_round(name, _seed_of(target)))
            output.say(output.styled(f"{_clock()} {_names(changed)} changed: restarting", "bold"))
    except KeyboardInterrupt:
        return _stop(name)


def _up(target: str, options: tuple[str, ...]) -> str:
    """Start or exchange the daemon; return its name, "" if that failed, which has been shown then."""
    words = [sys.executable, "-m", "daemonry", "upgrade", target, "--json", *options]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    try:
        fields = strict_json.decode_object(done.stdout)
    except errors.BadFrame:
        return ""
    if done.returncode != exit_codes.DONE:
        output.say(output.styled(f"{_clock()} waiting for the next save", "dim"))
        return ""
    name = str(fields["name"])
    where = printable(str(fields["endpoint"]))
    output.say(
        output.styled(f"{_clock()} {name}: {fields['result']} at {where} (pid {fields['pid']})", "bold")
    )
    return name


def _stop(name: str) -> int:
    if not name:
        return exit_codes.DONE
    return subprocess.run([sys.executable, "-m", "daemonry", "stop", name], check=False).returncode


async def _round(name: str, seed: list[str]) -> list[str]:
    """Show what the daemon does until its files change; return which did."""
    instance = Instance.named(name) if name else None
    shows: list[asyncio.Task[None]] = []
    files = seed
    if instance is not None:
        files = await _files(instance) or seed
        shows = [asyncio.create_task(_show_calls(instance)), asyncio.create_task(_show_log(instance))]
    try:
        return await _changed(files)
    finally:
        for show in shows:
            show.cancel()
        await asyncio.gather(*shows, return_exceptions=True)


# --- files ----------------------------------------------------------------------------------------


def _seed_of(target: str) -> list[str]:
    """Return the files to look at while the daemon has not told which it has."""
    if target.endswith(".py"):
        return [target]
    path = target.partition(":")[0].replace(".", os.sep)
    return [f"{path}.py", os.path.join(path, "__init__.py")]


async def _files(instance: Instance) -> list[str]:
    try:
        async with await AsyncClient.connect(instance.endpoint()) as client:
            files = (await client.call("org.daemonry.Debug.Code")).get("files")
    except (errors.DaemonryError, OSError):
        return []
    return [str(one) for one in files] if isinstance(files, list) else []


async def _changed(files: list[str]) -> list[str]:
    before = _stamps(files)
    async for _ in _wakes(files):
        changed = differing(before, _stamps(files))
        if changed:
            return changed
    return []


async def _wakes(files: list[str]) -> AsyncIterator[None]:
    """Yield when files may have changed: at once by watchfiles, where it is installed, else now and then."""
    folders = _folders(files)
    try:
        from watchfiles import awatch
    except ImportError:
        while True:
            yield None
            await asyncio.sleep(_POLL_S)
    yield None
    async for _ in awatch(*folders, recursive=False, step=50, debounce=400):
        yield None


def _folders(files: Iterable[str]) -> list[str]:
    folders = {os.path.dirname(os.path.abspath(path)) for path in files}
    return sorted(folder for folder in folders if os.path.isdir(folder))


def _stamps(files: Iterable[str]) -> _Stamps:
    found: _Stamps = {}
    for path in files:
        try:
            seen = os.stat(path)
            found[path] = seen.st_mtime_ns, seen.st_size
        except OSError:
            found[path] = None
    return found


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the files that are others now, and there: an editor may take one away for a moment."""
    return [path for path, stamp in now.items() if stamp is not None and stamp != before.get(path)]


# --- its calls and its log ---------------------------------------------------------------------------------


async def _show_calls(instance: Instance) -> None:
    """Print calls and replies until the daemon ends."""
    try:
        async with await AsyncClient.connect(instance.endpoint()) as client:
            async for event in client.stream("org.daemonry.Control.Tap", {"payloads": True}):
                if not str(event.get("method", "")).startswith(_OWN):
                    output.say(line_of(event))
                    sys.stdout.flush()
    except (errors.DaemonryError, OSError) as error:
        if instance.lock_held() is False:
            output.say(output.styled(f"{_clock()} {instance.name} has ended: {printable(str(error))}", "bad"))


async def _show_log(instance: Instance) -> None:
    assert instance.place is not None
    follower = log_reader.Follower(instance.place.log_path, log_reader.last(1))
    try:
        while True:
            for line in follower.lines():
                output.say(log_reader.as_text(log_reader.parsed(line)))
            sys.stdout.flush()
            await asyncio.sleep(_POLL_S)
    finally:
        follower.close()


def _names(paths: list[str]) -> str:
    return ", ".join(printable(os.path.basename(path), 80) for path in paths[:3])


def _clock() -> str:
    return time.strftime("%H:%M:%S")
