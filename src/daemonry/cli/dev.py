"""`daemonry dev`: a daemon for its developer, restarted on save, with its calls and its log in the terminal.

Owns the rounds: bring the daemon up with the code as it is, show its calls and its log until a file
changes, exchange it.  The exchange is `daemonry upgrade`'s, so calls that are under way come to their
end, and the old process is shown until then.  The program is imported in other processes only: an error
there is shown, and the next save awaited.
"""

from __future__ import annotations

import asyncio
import os
import signal
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
    from collections.abc import AsyncIterator, Coroutine

_POLL_S: Final = 0.3
_OWN: Final = ("org.daemonry.", "org.varlink.service.")

_Stamps = dict[str, tuple[int, int] | None]


def dev(target: str, options: tuple[str, ...]) -> int:
    """Run a daemon for its developer until a signal ends it, stop the daemon, and return the exit code.

    Args:
        target: its module or file.
        options: those of its start.
    """
    os.environ["DAEMONRY_DEV"] = "1"
    if target.endswith(".py"):
        target = os.path.abspath(target)
    output.end_with_the_reader(lambda _: os.kill(os.getpid(), signal.SIGTERM))
    shows = _Shows()
    try:
        asyncio.run(_rounds(target, options, shows))
    except (KeyboardInterrupt, asyncio.CancelledError):
        pass
    finally:
        stopped = _stop(shows.name)
    return stopped


async def _rounds(target: str, options: tuple[str, ...], shows: _Shows) -> None:
    """Restart the daemon whenever its files change, without end."""
    _end_by_signals()
    # Looked at before the start: what is saved while the new process imports it may not be what it has.
    seen = _stamps(_seed_of(target))
    try:
        while True:
            if await _up(target, options, shows) and (files := await _files(shows.name)):
                seen = {**_stamps(files), **{path: seen[path] for path in files if path in seen}}
            changed = await _changed(seen)
            output.say(output.styled(f"{_clock()} {_names(changed)} changed: restarting", "bold"))
            seen = _stamps(seen)
    finally:
        await shows.end()


async def _up(target: str, options: tuple[str, ...], shows: _Shows) -> bool:
    """Start or exchange the daemon, and show it; False if that failed, which has been shown then."""
    words = (sys.executable, "-m", "daemonry", "upgrade", target, "--json", *options)
    process = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE)
    try:
        out, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    try:
        fields = strict_json.decode_object(out.decode(errors="replace"))
    except errors.BadFrame:
        return False
    if process.returncode != exit_codes.DONE:
        output.say(output.styled(f"{_clock()} waiting for the next save", "dim"))
        return False
    name, pid = str(fields["name"]), fields["pid"]
    where = printable(str(fields["endpoint"]))
    output.say(output.styled(f"{_clock()} {name}: {fields['result']} at {where} (pid {pid})", "bold"))
    shows.begin(name, pid)
    return True


def _end_by_signals() -> None:
    """Have an editor's stop button and a terminal that is closed cancel this task, as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def _stop(name: str) -> int:
    if not name:
        return exit_codes.DONE
    return subprocess.run([sys.executable, "-m", "daemonry", "stop", name], check=False).returncode


# --- files ----------------------------------------------------------------------------------------


def _seed_of(target: str) -> list[str]:
    """Return the files to look at while the daemon has not told which it has."""
    if target.endswith(".py"):
        return [target]
    path = target.partition(":")[0].replace(".", os.sep)
    return [f"{path}.py", os.path.join(path, "__init__.py")]


async def _files(name: str) -> list[str]:
    if not name:
        return []
    try:
        async with await AsyncClient.connect(Instance.named(name).endpoint()) as client:
            files = (await client.call("org.daemonry.Debug.Code")).get("files")
    except (errors.DaemonryError, OSError):
        return []
    return [str(one) for one in files] if isinstance(files, list) else []


async def _changed(before: _Stamps) -> list[str]:
    async for _ in _wakes(list(before)):
        changed = differing(before, _stamps(before))
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


class _Shows:
    """The screen: the calls of each process that has not ended, and one log.

    Attributes:
        name: the daemon's, "" until it has been up.
    """

    def __init__(self) -> None:
        self.name = ""
        self._pid: object = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._log: asyncio.Task[None] | None = None

    def begin(self, name: str, pid: object) -> None:
        """Show the calls of a new process.  An older one is shown until its last call has ended."""
        instance = Instance.named(name)
        if name != self.name:
            if self._log is not None:
                self._log.cancel()
            self._log = self._keep(_show_log(instance))
        self.name, self._pid = name, pid
        self._keep(self._show_calls(instance, pid))

    async def end(self) -> None:
        """Show nothing more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _keep(self, show: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(show)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _show_calls(self, instance: Instance, pid: object) -> None:
        """Print calls and replies until the process ends."""
        try:
            async with await AsyncClient.connect(instance.endpoint()) as client:
                async for event in client.stream("org.daemonry.Control.Tap", {"payloads": True}):
                    if not str(event.get("method", "")).startswith(_OWN):
                        replaced = pid != self._pid
                        output.say(line_of(event) + output.styled(" (old code)", "dim") * replaced)
                        sys.stdout.flush()
        except (errors.DaemonryError, OSError) as error:
            if instance.lock_held() is False:
                reason = printable(str(error))
                output.say(output.styled(f"{_clock()} {instance.name} has ended: {reason}", "bad"))


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
