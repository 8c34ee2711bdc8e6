"""The definition of a daemon: its name, its version, its work, and its answers to commands.

Owns the object that a program writes down.  It is made in every process of the program, in the
quick `status` command as well as in the daemon itself, so making it imports nothing heavy;
only `run` does.

    from daemonry import Daemon

    daemon = Daemon("ticker", version="1.0")
    ticks = 0

    @daemon.work
    async def tick(run):
        global ticks
        while True:
            await run.wait_running()
            ticks += 1
            await asyncio.sleep(1)

    @daemon.status
    def fields():
        return {"ticks": ticks}

    if __name__ == "__main__":
        daemon.main()
"""

from __future__ import annotations

import os
import sys

from daemonry.daemon import hooks
from daemonry.errors import TargetInvalid
from daemonry.limits import DRAIN_TIMEOUT_S
from daemonry.process.place import Place, check_name, config_path
from daemonry.process.program.launching import is_frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from typing import Any, TypeVar

    from daemonry.daemon.context import Run
    from daemonry.daemon.http_settings import Http
    from daemonry.daemon.served import Servable
    from daemonry.daemon.versions import Versions
    from daemonry.service.server.bounds import Bounds

    Work = Callable[[Run], Awaitable[None] | None]
    Setup = Callable[[Run], Awaitable[None] | None]
    Status = Callable[[], Mapping[str, Any]]
    WholeStatus = Callable[[Mapping[str, Any]], Mapping[str, Any]]
    Hook = Callable[[], Awaitable[None] | None]
    ReloadHook = Callable[[Any], Awaitable[None] | None]

    AnyWork = TypeVar("AnyWork", bound=Work)
    AnyService = TypeVar("AnyService", bound=Servable)
    AnySetup = TypeVar("AnySetup", bound=Setup)
    AnyStatus = TypeVar("AnyStatus", bound=Status)
    AnyWholeStatus = TypeVar("AnyWholeStatus", bound=WholeStatus)
    AnyHook = TypeVar("AnyHook", bound=Hook)
    AnyReloadHook = TypeVar("AnyReloadHook", bound=ReloadHook)


class Daemon:
    """A daemon's definition.

    Each hook is registered by a method that can also be used as a decorator, and may be a plain
    or an `async` function; those of STATUS are plain.  Plain `work` runs in a thread of its own; the
    other plain hooks run on the daemon's loop and should be quick.  A function that cannot be called
    as its hook is refused where it is registered: TypeError, with its file and line.

    Args:
        name: letters, digits, `-`, `_`, `.`; names its files, socket and variables.
        version: the program's version, for people and the VERSION command.
        config: the type of its configuration, if it has one, or its name as `module:Type`, which
            spares the quick commands its import (see `daemonry.daemon.config`).
        endpoint: where it listens; by default a Unix socket in its runtime directory.
        drain_timeout_s: how long work may take to end after a stop was asked, in seconds.
        environment: the variables that it takes from its starter, in addition to the usual ones (see
            `daemonry.process.environment`): `NAME`, or `NAME*` for all that begin so, `*` for all.
        idle_timeout_s: end when nobody has needed it for this long, in seconds: no call, stream or
            subscription, and no job marked by `run.busy()`.  None for never.
        limits: what its clients may do (see `daemonry.service.server.bounds`); the defaults if not given.
        place: where its files are, as a function of nothing that gives a `Place`, asked in each
            process; the usual place of its name if not given.  Variables that it
            depends on must be the same in the daemon: name them in `environment`.
        target: how a new process finds this object, as `module:attribute` or `/file.py:attribute`;
            worked out from where the object was made if it is not given.
        versions: what `ensure` does about a running daemon of another version; by default
            `Versions.newer_wins()`.
        show_errors: whether callers get the text of an exception that a handler raised and its
            interface does not declare; the log has it in any case, and callers get the type.
        slow_call_s: log calls of async and blocking methods that take at least so long, in seconds, with
            where the time went; None for none.
        tracing: make an OpenTelemetry span of each call of its methods, and pass its trace on with the
            calls that it makes itself.  It needs the extra `otel`, and an SDK that the program configures.
        http: True to answer HTTP on its socket too, an `Http` to say more, or a function of the
            configuration that returns either.  It needs the extra `http`.

    Raises:
        TargetInvalid: the name cannot be one.
    """

    def __init__(  # noqa: PLR0913  # each is a keyword
        self,
        name: str,
        *,
        version: str = "0",
        config: type | str | None = None,
        endpoint: str | None = None,
        drain_timeout_s: float = DRAIN_TIMEOUT_S,
        environment: Iterable[str] = (),
        idle_timeout_s: float | None = None,
        limits: Bounds | None = None,
        place: Callable[[], Place] | None = None,
        target: str | None = None,
        versions: Versions | None = None,
        show_errors: bool = True,
        slow_call_s: float | None = None,
        tracing: bool = False,
        http: Http | bool | Callable[[Any], Http | bool | None] | None = None,
    ) -> None:
        self.name: str = check_name(name)
        self.version = version
        self.config_type = config
        self.endpoint = endpoint
        self.drain_timeout_s = drain_timeout_s
        self.environment: tuple[str, ...] = tuple(environment)
        self.idle_timeout_s = idle_timeout_s
        self.limits = limits
        self.show_errors = show_errors
        self.slow_call_s = slow_call_s
        self.tracing = tracing
        self.http = http
        self.works: list[Work] = []
        self.setups: list[Setup] = []
        self.services: list[Servable] = []
        self.status_hook: Status | None = None
        self.whole_status_hook: WholeStatus | None = None
        self.pause_hook: Hook | None = None
        self.resume_hook: Hook | None = None
        self.reload_hook: ReloadHook | None = None
        self.stop_hook: Hook | None = None
        self._place = place
        self._versions = versions
        self._target = target
        self._made_in = sys._getframe(1).f_globals  # noqa: SLF001  # documented, in spite of its name

    def setup(self, hook: AnySetup) -> AnySetup:
        """Register the hook that runs once, in the daemon, before it is ready.

        The starter of the daemon gets the error that it raises.  It may register further hooks.
        """
        hooks.check("setup", hook, "run")
        self.setups.append(hook)
        return hook

    def work(self, hook: AnyWork) -> AnyWork:
        """Register what the daemon is for; several are done side by side.

        When one ends, the daemon ends; when one raises, it ends as failed.  Once a stop was
        asked, an `async` one is cancelled and a plain one finds `run.stopping` true.
        """
        hooks.check("work", hook, "run")
        self.works.append(hook)
        return hook

    def status(self, hook: AnyStatus) -> AnyStatus:
        """Register the hook that returns further fields of STATUS."""
        hooks.check("status", hook)
        self.status_hook = hook
        return hook

    def whole_status(self, hook: AnyWholeStatus) -> AnyWholeStatus:
        """Register what turns the usual fields into all that STATUS has.

        It is given what the daemon knows by itself.  The fields that need a look at the disk
        (`code_changed`, `config_changed`, `config_fingerprint`) are not among them.
        """
        hooks.check("whole_status", hook, "fields")
        self.whole_status_hook = hook
        return hook

    def on_pause(self, hook: AnyHook) -> AnyHook:
        """Register the hook that runs before the daemon pauses; raising `Refused` keeps it running."""
        hooks.check("on_pause", hook)
        self.pause_hook = hook
        return hook

    def on_resume(self, hook: AnyHook) -> AnyHook:
        """Register the hook that runs before the daemon resumes; raising `Refused` keeps it paused."""
        hooks.check("on_resume", hook)
        self.resume_hook = hook
        return hook

    def on_reload(self, hook: AnyReloadHook) -> AnyReloadHook:
        """Register the hook that gets the new configuration before it counts; raising keeps the old one."""
        hooks.check("on_reload", hook, "config")
        self.reload_hook = hook
        return hook

    def on_stop(self, hook: AnyHook) -> AnyHook:
        """Register the hook that runs when the drain begins, before work is cancelled."""
        hooks.check("on_stop", hook)
        self.stop_hook = hook
        return hook

    def serve(self, implementation: AnyService) -> AnyService:
        """Answer the calls of an interface's implementation; at the latest in a setup hook.

        Args:
            implementation: an object of an `Interface`; or what makes one, called without arguments in each
                run of the daemon, behind its setup hooks: the class itself, or a function annotated with
                the class that it returns.  A test in direct mode then shares no state with the next, and
                a client's process makes none.  `@daemon.serve` above the class does.

        Raises:
            NotDescribable: a method's type has no form in the interface language, or names a type that is not
                there; the message begins with the method's file and line.
            TypeError: it is of another kind, or its maker cannot be called without arguments.
            ValueError: its interface is served already.
        """
        from daemonry.daemon import served

        try:
            served.add(self.services, implementation)
        except (TypeError, ValueError) as error:
            raise error.with_traceback(None) from None  # the mistake is the program's, and so is the trace
        return implementation

    def place(self) -> Place:
        """Return where its files are, for this user and environment.

        Raises:
            UnsafePath: as `Place.of`.
        """
        if self._place is not None:
            return self._place()
        if self._versions is not None and self._versions.kind == "side by side":
            return Place.of(self.name).beside(self.version)
        return Place.of(self.name)

    @property
    def versions(self) -> Versions:
        """What `ensure` does about a running daemon of another version."""
        if self._versions is None:
            from daemonry.daemon.versions import Versions

            self._versions = Versions.newer_wins()
        return self._versions

    def config_path(self) -> str:
        """Return its configuration file's usual path."""
        return config_path(self.name)

    def target(self) -> str:
        """Return how a new process finds this object.

        Raises:
            TargetInvalid: it is not an attribute of the module that it was made in.
        """
        if self._target is not None:
            return self._target
        names = [name for name, value in self._made_in.items() if value is self]
        if not names:
            raise TargetInvalid(self.name, "the Daemon must be a global of its module, or be given a target")
        return f"{_importable(self._made_in)}:{names[0]}"

    def source_path(self) -> str:
        """Return the file of the module that this object was made in; "" where there is none."""
        path = self._made_in.get("__file__")
        return os.path.abspath(path) if isinstance(path, str) else ""

    def import_path(self) -> str:
        """Return the directory that a new process has to look for its module in; "" for none.

        The one that this process found it in.  Not one of installed packages: there the new process
        looks anyway, and in front of the standard library they would hide parts of it.
        """
        module = str(self._made_in["__name__"])
        path = str(self._made_in.get("__file__") or "")
        if not path or FILE_MARK in self._made_in:
            return ""
        spec = self._made_in.get("__spec__")
        if module == "__main__":
            if spec is None:  # a script, found by its path
                return ""
            module = str(spec.name)
        directory = os.path.dirname(os.path.abspath(path))
        for _ in range(module.count(".") + (os.path.basename(path) == "__init__.py")):
            directory = os.path.dirname(directory)
        return "" if os.path.basename(directory) in ("site-packages", "dist-packages") else directory

    def __repr__(self) -> str:
        return f"Daemon({self.name!r}, version={self.version!r})"


# Set by the command line in a module that it loaded from a file: how to find it again.
FILE_MARK = "__daemonry_file__"


def _importable(module: Mapping[str, Any]) -> str:
    spec = module.get("__spec__")
    if FILE_MARK in module:
        return str(module[FILE_MARK])
    if module["__name__"] != "__main__":
        return str(module["__name__"])
    if spec is not None:  # python -m package.module
        return str(spec.name)
    if is_frozen():  # its file is in the program
        return "__main__"
    if module.get("__file__") in (None, "<stdin>"):
        raise TargetInvalid(
            "__main__", "a Daemon typed into an interpreter cannot be started in the background: use a file"
        )
    return os.path.abspath(str(module["__file__"]))
