"""`vx build`: asks aether, and shows its answers.

Owns the request and the output at the end.  One connection, one call.  On the path of every
build: no asyncio, no msgspec, no argparse.
"""

from __future__ import annotations

import errno
import os

import daemonry
from daemonry import Client
from daemonry.cli import kit
from vx import __version__, home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from vx.cli.progress import Progress

_METHOD = "org.daemonry.vx.Aether.Build"
_OTHER_VERSION = "org.daemonry.vx.Aether.OtherVersion"
_CONNECT_TIMEOUT_S = 5.0
# Until a build tells its first event: the project is read before, and another build of it may be waited for.
_FIRST_EVENT_S = 600.0
_TEXTS = ("title", "text", "outcome", "run")
_NUMBERS = ("total", "done", "cached", "executed", "duration_ms", "passed", "code", "success")
# Of one variable; an exported shell function or a list of all of a system's packages says nothing of a build.
_MAX_VALUE_CHARS = 32 * 1024


class BuildArguments:
    """The words of the command line.

    Attributes:
        parameters: of the call, as far as the command line tells them.
        json: whether the result is printed as JSON.
        spawn: whether aether may be started.
        die_with_parent: whether an aether that is started ends with this command.
        quiet: whether only diagnostics and errors are shown.
        directory: where the project is; "" for the present directory.
    """

    __slots__ = ("die_with_parent", "directory", "json", "parameters", "quiet", "spawn")

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {}
        self.json = False
        self.spawn = True
        self.die_with_parent = False
        self.quiet = False
        self.directory = ""


def parse(arguments: list[str]) -> BuildArguments | None:
    """Return the arguments, or None where a fuller parser has to look."""
    asked = BuildArguments()
    for argument in arguments:
        if argument in ("--release", "-r"):
            asked.parameters["release"] = True
        elif argument == "--no-spawn":
            asked.spawn = False
        elif argument == "--die-with-parent":
            asked.die_with_parent = True
        elif argument == "--json":
            asked.json = True
        elif argument in ("--quiet", "-q"):
            asked.quiet = True
        else:
            return None
    return asked


def perform(asked: BuildArguments) -> int:
    """Build, and return the exit code."""
    try:
        parameters = parameters_of(asked)
        return built(asked, parameters, finished)
    except BrokenPipeError:  # the reader of our output is gone: `kit.guarded` knows that
        raise
    except (home.HomeInvalid, daemonry.errors.DaemonryError, OSError) as error:
        from vx.cli.failures import told

        return told(error)


def call_of(method: str) -> str:
    """Return the full name of one of aether's methods."""
    return f"org.daemonry.vx.Aether.{method.capitalize()}"


def parameters_of(asked: BuildArguments) -> dict[str, Any]:
    """Return what a build is asked for with."""
    umask = os.umask(0o022)
    os.umask(umask)
    return {
        "directory": _directory(asked),
        "version": __version__,
        "environment": {name: value for name, value in os.environ.items() if _can_be_sent(name, value)},
        "umask": umask,
        **asked.parameters,
    }


def _can_be_sent(name: str, value: str) -> bool:
    if len(value) > _MAX_VALUE_CHARS:
        return False
    try:
        (name + value).encode()
    except UnicodeEncodeError:
        return False
    return True


def _directory(asked: BuildArguments) -> str:
    try:
        directory = os.path.abspath(asked.directory) if asked.directory else os.getcwd()
        directory.encode()
    except FileNotFoundError as error:
        raise FileNotFoundError(error.errno, "is gone", "the present directory") from None
    except UnicodeEncodeError:
        raise OSError(
            84, "its name is not UTF-8, and cannot be sent", kit.printable(repr(directory))
        ) from None
    # A project above is not what a name that is wrong means.
    if asked.directory and not os.path.isdir(directory):
        raise NotADirectoryError(errno.ENOTDIR, "is not a directory", kit.printable(directory))
    return directory


def built(
    asked: BuildArguments, parameters: dict[str, Any], end: Callable[[BuildArguments, dict[str, Any]], int]
) -> int:
    """Build, and return what `end` makes of the last event: the exit code.

    Raises:
        As `Client.stream`, `reach`.
    """
    try:
        client = Client.connect(home.endpoint(home.AETHER), _CONNECT_TIMEOUT_S)
    except (daemonry.errors.ConnectError, OSError):
        client = _brought_up(asked)
    broken_off = False
    with client:
        try:
            return _follow(client, asked, parameters, end)
        except daemonry.errors.CallFailed as error:
            if not _may_be_another_next(error):
                raise
            broken_off = isinstance(error, daemonry.errors.Draining) and error.ran == "maybe"
        except daemonry.errors.ConnectionLost:
            pass  # it ended as we came, and said nothing yet; to build twice does no harm
    # It was ending, not ready yet, or of another version: whoever brings it up sees to that.
    with _successor(asked) if broken_off else _brought_up(asked) as client:
        return _follow(client, asked, parameters, end)


def _successor(asked: BuildArguments) -> Client:
    """Return a client of the aether that took over; who ended it for good does not want it back."""
    from vx.cli.bring_up import reach
    from vx.cli.failures import AetherStopped

    try:
        return reach(spawn=False, quiet=asked.quiet)
    except daemonry.errors.NotRunning as error:
        raise AetherStopped("it was stopped") from error


def _may_be_another_next(error: daemonry.errors.CallFailed) -> bool:
    kinds = (daemonry.errors.Draining, daemonry.errors.InterfaceNotFound)
    return isinstance(error, kinds) or error.error == _OTHER_VERSION


def _brought_up(asked: BuildArguments) -> Client:
    from vx.cli.bring_up import reach

    return reach(spawn=asked.spawn, quiet=asked.quiet, die_with_parent=asked.die_with_parent)


def _follow(
    client: Client,
    asked: BuildArguments,
    parameters: dict[str, Any],
    end: Callable[[BuildArguments, dict[str, Any]], int],
) -> int:
    progress: Progress | None = None
    heard = False
    reasons: list[str] = []
    lists_reasons = asked.parameters.get("why_not")
    try:
        for event in client.stream(_METHOD, parameters, first_s=_FIRST_EVENT_S):
            heard = True
            if event.get("kind") == "finished":
                if progress is not None:
                    progress.close()
                return _why_not(asked, event, reasons) if lists_reasons else end(asked, event)
            _check(event)
            if lists_reasons:
                reasons.append(event.get("text", ""))
                continue
            if progress is None:
                from vx.cli.progress import Progress

                progress = Progress(quiet=asked.quiet)
            progress.show(event)
    except daemonry.errors.ConnectionLost as error:
        if not heard:
            raise
        raise _lost(str(error)) from error
    finally:
        if progress is not None:
            progress.close()
    raise _lost("it ended the build without a word")


def _check(event: dict[str, Any]) -> None:
    """Return if an event has what is shown of it.

    Raises:
        RemoteProtocolError: it has not: whoever listens at aether's socket may send anything.
    """
    outputs = event.get("outputs", [])
    texts = [event.get("kind"), *(event.get(name, "") for name in _TEXTS)]
    numbers = [event.get(name, 0) for name in _NUMBERS]
    if (
        not isinstance(outputs, list)
        or not all(isinstance(one, str) for one in [*texts, *outputs])
        or not all(isinstance(one, int) for one in numbers)
    ):
        raise daemonry.errors.RemoteProtocolError(f"the reply to {_METHOD} does not fit")


def _lost(reason: str) -> Exception:
    from vx.cli.failures import AetherLost

    return AetherLost(reason)


def finished(asked: BuildArguments, event: dict[str, Any]) -> int:
    """Print how a build ended; return the exit code."""
    success = event.get("success", False)
    if not success or not (asked.json or asked.quiet):
        _check(event)
    if asked.json:
        kit.say_json(_fields(event))
    if not success:
        kit.complain(f"vx: {kit.printable(event.get('text', ''))}")
        return int(event.get("code", 0)) or 1
    if not asked.json and not asked.quiet:
        kit.say(_summary(event))
        for path in event.get("outputs", ()):
            kit.say(f"  output: {kit.printable(_relative(path))}")
    return 0


def _why_not(asked: BuildArguments, event: dict[str, Any], reasons: list[str]) -> int:
    _check(event)
    success = event.get("success", False)
    if not success and not reasons:
        kit.complain(f"vx: {kit.printable(event.get('text', ''))}")
    if asked.json:
        kit.say_json({"ok": success, "reasons": reasons})
    else:
        for reason in reasons or (["vx builds all of it"] if success else []):
            kit.say(kit.printable(reason, 10_000))
    return 0 if success else 1


def _fields(event: dict[str, Any]) -> dict[str, Any]:
    """Return the object of `--json`; fields that the event left out have their defaults."""
    return {
        "ok": event.get("success", False),
        "project": event.get("title", ""),
        "total": event.get("total", 0),
        "cached": event.get("cached", 0),
        "executed": event.get("executed", 0),
        "duration_ms": event.get("duration_ms", 0),
        "run": event.get("run", ""),
        "outputs": event.get("outputs", []),
        "passed": event.get("passed", 0),
        "error": event.get("text", ""),
    }


def _summary(event: dict[str, Any]) -> str:
    executed, total = event.get("executed", 0), event.get("total", 0)
    name = kit.printable(event.get("title", ""))
    took = f"{event.get('duration_ms', 0) / 1000:.2f} s"
    passed = event.get("passed", 0)
    if passed:
        how = f"{executed} of {total} actions executed" if executed else "cached"
        return f"{name}: {passed} test{'s' * (passed != 1)} passed ({how}, {took})"
    if not executed:
        return f"{name}: cached, nothing to build ({total} action{'s' * (total != 1)}, {took})"
    return f"{name}: built in {took} ({executed} executed, {event.get('cached', 0)} cached)"


def _relative(path: str) -> str:
    here = os.getcwd()
    return path[len(here) + 1 :] if path.startswith(here + "/") else path
