"""daemonry: a local daemon for a command-line tool, done right, in ten lines.

Write one:

    Daemon          its name, work, status and hooks; `daemon.main()` is its whole command line
    Run             what the hooks are given
    RESTART         marks a configuration field that takes effect at the next start
    Refused         raised by a hook to say no

Reach one:

    Instance        a daemon seen from outside: status, commands, liveness
    Endpoint        where one is reached: `Endpoint.parse("unix:/run/x.sock")`
    Liveness        serving, busy, absent or denied, with the evidence
    start, stop     start it in the background and know that it is ready; stop it and know that it is gone

Serve and connect without a daemon around it:

    Server          binds, answers the text dialect, cleans up
    Stream, Listener, connect, try_connect, listen
    Command, Reply  the text dialect's values

Small things that programs built on it need:

    Place           where a daemon's files are
    write_atomically
    load_config     TOML to a typed value

Every error is in `daemonry.errors`.  Names are imported when they are used: `import daemonry`
itself costs next to nothing, and the path of the quick commands loads neither asyncio nor logging.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from daemonry import errors as errors
    from daemonry.daemon.config import RESTART as RESTART
    from daemonry.daemon.config import load as load_config  # noqa: F401
    from daemonry.daemon.definition import Daemon as Daemon
    from daemonry.daemon.instance import Instance as Instance
    from daemonry.daemon.liveness import Liveness as Liveness
    from daemonry.daemon.run import Run as Run
    from daemonry.daemon.start import start as start
    from daemonry.daemon.stop import stop as stop
    from daemonry.errors import DaemonryError as DaemonryError
    from daemonry.errors import Refused as Refused
    from daemonry.process.atomic_file import write_atomically as write_atomically
    from daemonry.process.place import Place as Place
    from daemonry.service.server import Server as Server
    from daemonry.transport.connect import connect as connect
    from daemonry.transport.connect import listen as listen
    from daemonry.transport.connect import try_connect as try_connect
    from daemonry.transport.endpoint import Endpoint as Endpoint
    from daemonry.transport.stream import Listener as Listener
    from daemonry.transport.stream import Stream as Stream
    from daemonry.wire.text import Command as Command
    from daemonry.wire.text import Reply as Reply

_HOMES = {
    "Command": "daemonry.wire.text",
    "Daemon": "daemonry.daemon.definition",
    "DaemonryError": "daemonry.errors",
    "Endpoint": "daemonry.transport.endpoint",
    "Instance": "daemonry.daemon.instance",
    "Listener": "daemonry.transport.stream",
    "Liveness": "daemonry.daemon.liveness",
    "Place": "daemonry.process.place",
    "RESTART": "daemonry.daemon.config",
    "Refused": "daemonry.errors",
    "Reply": "daemonry.wire.text",
    "Run": "daemonry.daemon.run",
    "Server": "daemonry.service.server",
    "Stream": "daemonry.transport.stream",
    "connect": "daemonry.transport.connect",
    "listen": "daemonry.transport.connect",
    "load_config": "daemonry.daemon.config:load",
    "start": "daemonry.daemon.start",
    "stop": "daemonry.daemon.stop",
    "try_connect": "daemonry.transport.connect",
    "write_atomically": "daemonry.process.atomic_file",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name == "errors":
        # The quick commands say `daemonry.errors.X`: errors are loaded when there is one.
        return __import__("daemonry.errors", fromlist=["_"])
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'daemonry' has no attribute {name!r}")
    module, _, attribute = home.partition(":")
    value = getattr(__import__(module, fromlist=["_"]), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
