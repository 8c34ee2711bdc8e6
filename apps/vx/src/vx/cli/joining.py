"""`vx-rhea join URL`: this machine as a worker of a REAPI farm, in the foreground until SIGTERM.

Owns the lines and the exit codes.  Its words are `join_words`'s; what a worker does is `vx.rhea.worker`'s.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import platform
import signal
import sys
from typing import TYPE_CHECKING

import msgspec

import daemonry
from daemonry.cli import kit
from vx import digests, home
from vx.cli import remote_options
from vx.remote import settings as remote_settings
from vx.remote.settings import RemoteSettings
from vx.rhea import settings

if TYPE_CHECKING:
    from vx.remote.protos import bots_pb2
    from vx.rhea.worker.session import FarmSession

_FAILED, _USAGE, _DENIED, _NO_ANSWER = 1, 2, 4, 5


def join(options: argparse.Namespace) -> int:
    """Do what `vx-rhea join ...` does and return its exit code."""
    # gRPC's own lines about a connection say what ours say.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        remote = _settings(options)
        places = (
            settings.job_limit({settings.VARIABLE: options.jobs}, "--jobs")
            if options.jobs
            else settings.job_limit()
        )
        off = _sandbox_off()
        remote_settings.require_grpc()
        os.makedirs(home.home_dir(), mode=0o700, exist_ok=True)
        lock = _locked(f"{home.home_dir()}/worker-{digests.of_bytes(options.url.encode())[:8]}.lock")
    except (home.HomeInvalid, daemonry.Refused) as error:
        _complain(str(error))
        return _USAGE
    if lock is None:
        _complain(f"a worker of this home has joined {options.url} already")
        return _FAILED
    try:
        return asyncio.run(_join(options, remote, places, off))
    finally:
        os.close(lock)


async def _join(options: argparse.Namespace, remote: RemoteSettings, places: int, off: str) -> int:
    from vx.remote.server import Server
    from vx.rhea.commands import become_subreaper
    from vx.rhea.scratch import Scratches
    from vx.rhea.worker.action import ActionRunner
    from vx.rhea.worker.session import FarmRefuses, FarmSession, FarmSilent

    become_subreaper()
    name = options.name or _name()
    farm, storage = Server(remote.execute, remote), Server(remote.cache, remote)
    runner = ActionRunner(storage, name, Scratches(f"{home.home_dir()}/worker"), off, places)
    if off:
        _say(f"commands are neither watched nor confined: {off}")
    session = FarmSession(farm, storage, runner, _bot(name, places, remote.platform), places, _say)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _leave, session, options.drain)
    try:
        await runner.commands.start()
        await session.run(options.timeout)
    except FarmRefuses as error:
        code, reason = error.args
        if code == "UNIMPLEMENTED":
            reason = f"it has no Bots service, by which workers join ({reason})"
        _complain(f"{remote.execute} does not take this worker: {reason}")
        return _DENIED if code in ("UNAUTHENTICATED", "PERMISSION_DENIED") else _FAILED
    except FarmSilent:
        _complain(f"{remote.execute} gave no answer for {options.timeout:g} s")
        return _NO_ANSWER
    finally:
        runner.close()
        farm.rpc.close()
        storage.rpc.close()
    _say(f"left {remote.execute}: {session.done} done, {session.dropped} dropped")
    return 0


def _leave(session: FarmSession, drain_s: float) -> None:
    """Leave; asked a second time, at once."""
    session.leave(0.0 if session.is_leaving else drain_s)


def _settings(options: argparse.Namespace) -> RemoteSettings:
    """Return the settings, with the farm in `execute` and its storage in `cache`.

    Raises:
        Refused: one is wrong.
    """
    if remote_settings.target_of(options.url) is None:
        raise daemonry.Refused(f"{options.url!r} is neither grpc://HOST:PORT nor grpcs://HOST:PORT")
    found = remote_options.loaded(options)
    # The user's own cache is the farm's storage only where the farm is the user's, too.
    storage = options.remote_cache or (found.cache if found.execute == options.url else "")
    return msgspec.structs.replace(found, execute=options.url, cache=storage or options.url)


def _sandbox_off() -> str:
    from vx.rhea import sandbox

    return sandbox.why_not() if settings.is_sandbox_wanted() else f"{settings.SANDBOX_VARIABLE} is off"


def _name() -> str:
    """Return a name that this home has again after a restart, so that the farm ends its old session."""
    return f"{platform.node() or 'worker'}-{digests.of_bytes(home.home_dir().encode())[:8]}"


def _bot(name: str, places: int, offered: dict[str, str]) -> bots_pb2.BotSession:
    from vx.remote.protos import bots_pb2

    bot = bots_pb2.BotSession(bot_id=name, status=bots_pb2.OK)
    device = bot.worker.devices.add(handle=name)
    machine = platform.machine()
    usual = {"OSFamily": platform.system().lower(), "ISA": {"x86_64": "x86-64"}.get(machine, machine)}
    for key, value in sorted({**usual, **offered}.items()):
        device.properties.add(key=key, value=value)
    bot.worker.configs.add(key="capacity", value=str(places))
    return bot


def _locked(path: str) -> int | None:
    """Return a lock that no other process has; None where one has it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def _say(text: str) -> None:
    kit.say(f"vx-rhea: {kit.printable(text)}")
    sys.stdout.flush()


def _complain(text: str) -> None:
    kit.complain(f"vx-rhea: {kit.printable(text)}")
