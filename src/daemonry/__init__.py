"""daemonry: a local daemon for a command-line tool, done right, in ten lines.

Write one:

    Daemon          its name, work, status and hooks; `daemon.main()` is its whole command line
    Run             what the hooks are given
    RESTART         marks a configuration field that takes effect at the next start
    Refused         raised by a hook to say no

Reach one:

    Instance        a daemon seen from outside: status, commands, liveness
    Endpoint        where one is reached: `Endpoint.parse("unix:/run/x.sock")`
    Http, Part      HTTP for a daemon, and what its program adds to the page (docs/http.md)
    Liveness        serving, busy, absent or denied, with the evidence
    ensure, ensure_async
                    a connected client of it, started first if it is not there; Versions says what
                    becomes of one of another version
    start, stop     start it in the background and know that it is ready; stop it and know that it is gone

Serve and connect without a daemon around it:

    Server          binds, answers the text dialect, cleans up
    Stream, Listener, connect, try_connect, listen
    Command, Reply  the text dialect's values

Typed calls, over Varlink:

    Interface, CallError, method, Context
                    a class with typed methods is an interface: serve it, or call it by a proxy
    Upgrade, Fd     a reply behind which the connection is another protocol's; a descriptor that is passed
    Client, AsyncClient, Pool
                    call a daemon: by names, or by a typed proxy
    Pipeline, AsyncPipeline, PendingCall, AsyncPendingCall
                    many calls sent ahead of their replies on one connection: `client.pipeline()`

Children that end with this process, however it ends:

    spawn_owned, Owned

Small things that programs built on it need:

    Place           where a daemon's files are; `host_id()` tells machines apart that share a home
    pick_environment
                    variables of the caller's that a call is to carry
    write_atomically, open_regular, read_regular
                    files of the program's own, whatever somebody has put at their paths
    keep_token      the token in a file that only this user can read, made if there is none
    load_config     TOML to a typed value
    daemonry.typed_toml
                    TOML tables, and errors that name the file, the line and the column of a key
    daemonry.spelling
                    the nearest of some names, and "did you mean"
    daemonry.home.policy
                    what becomes of a process that has ended: restarted after a growing wait, left, given up
    daemonry.cli.kit
                    the parts of a command line, for a program with words of its own
    daemonry.cli.grammar, parser, completion
                    its commands as a table, and the parser, help and shell completion made from that
    daemonry.cli.terminal
                    widths, tables, a bar, a line that is written over, and foreign text made safe

Every error is in `daemonry.errors`.  Names are imported when they are used: `import daemonry`
itself costs next to nothing, and the path of the quick commands loads neither asyncio nor logging.
"""

# No `from __future__`: it is a module too, and each quick command would load it.
import os as _os
import sys as _sys

# With the annotation jedi, which completes in editors and notebooks, looks into the block below.
TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from typing import Any

    from daemonry import errors as errors
    from daemonry.app import Daemon as Daemon
    from daemonry.daemon.config import RESTART as RESTART
    from daemonry.daemon.config import load_config as load_config
    from daemonry.daemon.context import Run as Run
    from daemonry.daemon.http_settings import Http as Http
    from daemonry.daemon.http_settings import Part as Part
    from daemonry.daemon.instance import Instance as Instance
    from daemonry.daemon.liveness import Liveness as Liveness
    from daemonry.daemon.versions import Versions as Versions
    from daemonry.errors import DaemonryError as DaemonryError
    from daemonry.errors import Refused as Refused
    from daemonry.launch.ensure import ensure as ensure
    from daemonry.launch.ensure import ensure_async as ensure_async
    from daemonry.launch.start import start as start
    from daemonry.launch.stop import stop as stop
    from daemonry.process.atomic_file import write_atomically as write_atomically
    from daemonry.process.environment import pick_environment as pick_environment
    from daemonry.process.lifeline import Owned as Owned
    from daemonry.process.lifeline import spawn_owned as spawn_owned
    from daemonry.process.place import Place as Place
    from daemonry.process.place import host_id as host_id
    from daemonry.process.regular_file import open_regular as open_regular
    from daemonry.process.regular_file import read_regular as read_regular
    from daemonry.process.token_file import keep_token as keep_token
    from daemonry.service.client.async_pending_call import AsyncPendingCall as AsyncPendingCall
    from daemonry.service.client.async_pipeline import AsyncPipeline as AsyncPipeline
    from daemonry.service.client.asynchronous import AsyncClient as AsyncClient
    from daemonry.service.client.blocking import Client as Client
    from daemonry.service.client.pending_call import PendingCall as PendingCall
    from daemonry.service.client.pipeline import Pipeline as Pipeline
    from daemonry.service.client.pool import Pool as Pool
    from daemonry.service.interface.declare import CallError as CallError
    from daemonry.service.interface.declare import Interface as Interface
    from daemonry.service.interface.declare import method as method
    from daemonry.service.interface.handler import Context as Context
    from daemonry.service.interface.handler import Upgrade as Upgrade
    from daemonry.service.server.server import Server as Server
    from daemonry.transport.ancillary import Fd as Fd
    from daemonry.transport.connect import connect as connect
    from daemonry.transport.connect import listen as listen
    from daemonry.transport.connect import try_connect as try_connect
    from daemonry.transport.endpoint import Endpoint as Endpoint
    from daemonry.transport.stream import Listener as Listener
    from daemonry.transport.stream import Stream as Stream
    from daemonry.version import __version__ as __version__
    from daemonry.wire import text as _text

    Command = _text.TextCommand
    Reply = _text.TextReply

_HOMES = {
    "__version__": "daemonry.version",
    "AsyncClient": "daemonry.service.client.asynchronous",
    "AsyncPendingCall": "daemonry.service.client.async_pending_call",
    "AsyncPipeline": "daemonry.service.client.async_pipeline",
    "CallError": "daemonry.service.interface.declare",
    "Client": "daemonry.service.client.blocking",
    "Command": "daemonry.wire.text:TextCommand",
    "Context": "daemonry.service.interface.handler",
    "Daemon": "daemonry.app",
    "DaemonryError": "daemonry.errors",
    "Endpoint": "daemonry.transport.endpoint",
    "Fd": "daemonry.transport.ancillary",
    "Http": "daemonry.daemon.http_settings",
    "Instance": "daemonry.daemon.instance",
    "Listener": "daemonry.transport.stream",
    "Interface": "daemonry.service.interface.declare",
    "Liveness": "daemonry.daemon.liveness",
    "Owned": "daemonry.process.lifeline",
    "Part": "daemonry.daemon.http_settings",
    "PendingCall": "daemonry.service.client.pending_call",
    "Pipeline": "daemonry.service.client.pipeline",
    "Place": "daemonry.process.place",
    "Pool": "daemonry.service.client.pool",
    "RESTART": "daemonry.daemon.config",
    "Refused": "daemonry.errors",
    "Reply": "daemonry.wire.text:TextReply",
    "Run": "daemonry.daemon.context",
    "Server": "daemonry.service.server.server",
    "Stream": "daemonry.transport.stream",
    "Upgrade": "daemonry.service.interface.handler",
    "Versions": "daemonry.daemon.versions",
    "connect": "daemonry.transport.connect",
    "ensure": "daemonry.launch.ensure",
    "ensure_async": "daemonry.launch.ensure",
    "host_id": "daemonry.process.place",
    "listen": "daemonry.transport.connect",
    "method": "daemonry.service.interface.declare",
    "pick_environment": "daemonry.process.environment",
    "open_regular": "daemonry.process.regular_file",
    "read_regular": "daemonry.process.regular_file",
    "load_config": "daemonry.daemon.config",
    "spawn_owned": "daemonry.process.lifeline",
    "start": "daemonry.launch.start",
    "stop": "daemonry.launch.stop",
    "try_connect": "daemonry.transport.connect",
    "keep_token": "daemonry.process.token_file",
    "write_atomically": "daemonry.process.atomic_file",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> "Any":
    if name == "errors":
        # Programs say `daemonry.errors.X`: errors are loaded when there is one.
        return __import__("daemonry.errors", fromlist=["__name__"])
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'daemonry' has no attribute {name!r}")
    module, _, attribute = home.partition(":")
    if name in ("Daemon", "ensure"):  # a program, whose command may be a quick one
        __import__("daemonry.bundle", fromlist=["__name__"]).use()
    value = getattr(__import__(module, fromlist=["__name__"]), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_FROZEN = (
    getattr(_sys, "frozen", False)
    or "__compiled__" in globals()
    # Nuitka's, with daemonry as bytecode: `process.program.launching` says the same.
    or getattr(getattr(_sys.modules.get("__main__"), "__compiled__", None), "standalone", False)
)
# Started again to be the daemon, or to end what a dead owner left, from here on.
if _FROZEN and ("DAEMONRY_BOOT" in _os.environ or "daemonry-sweep" in _sys.argv[1:2]):
    from daemonry.cli import frozen as _frozen

    _frozen.take_over()
