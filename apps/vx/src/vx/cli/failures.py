"""Errors as one line and an exit code.

Owns the sentences for what can go wrong between `vx` and its services; the codes are daemonry's.
"""

from __future__ import annotations

import os

import daemonry
from daemonry.cli import kit
from vx import __version__, home

_PREFIX = "org.daemonry.vx.Aether."
_FAILED = 1
_USAGE = 2
_DENIED = 4
_UNKNOWN_OUTCOME = 6


class AetherLost(daemonry.errors.DaemonryError):
    """aether went away in the middle of a call."""


class AetherStopped(daemonry.errors.DaemonryError):
    """Somebody ended aether in the middle of a build."""


def told(error: Exception) -> int:
    """Print an error, one line, and return its exit code."""
    if isinstance(error, home.HomeInvalid):
        kit.complain(f"vx: {error}")
        return _USAGE
    if isinstance(error, (AetherLost, AetherStopped, daemonry.errors.ConnectionLost)):
        kit.complain(f"vx: {_how_it_was_lost(error)}")
        return _UNKNOWN_OUTCOME
    if isinstance(error, daemonry.errors.NotRunning):
        hint = "without --no-spawn it would be started"
        return kit.fail(daemonry.errors.NotRunning("aether", hint), program="vx")
    if isinstance(error, daemonry.errors.VersionMismatch):
        kit.complain(f"vx: {error}: without --no-spawn it would be replaced")
        return _FAILED
    if isinstance(error, daemonry.errors.CallFailed) and error.error.startswith(_PREFIX):
        kit.complain(f"vx: {kit.printable(_sentence(error))}")
        return _FAILED
    if isinstance(error, daemonry.errors.StartFailed):
        kit.complain(f"vx: {kit.printable(str(error))}; its log is {home.log_path(home.AETHER)}")
        return _FAILED
    if isinstance(error, daemonry.errors.ConnectionRefused) and not home.endpoint(home.AETHER).local:
        hint = f"VX_AETHER names {error.path}, which is not started from here"
        return kit.fail(daemonry.errors.NotRunning("aether", hint), program="vx")
    if isinstance(error, daemonry.errors.EndpointInvalid):
        return kit.fail(error, program=f"vx{_variable_of(error.text)}")
    if isinstance(error, daemonry.errors.DaemonryError):
        return kit.fail(error, program="vx")
    assert isinstance(error, OSError)
    where = error.filename or home.home_dir()
    kit.complain(f"vx: {kit.printable(os.fsdecode(where))}: {error.strerror or error}")
    return _DENIED if isinstance(error, PermissionError) else _FAILED


def _variable_of(endpoint: str) -> str:
    """Return the variable that holds an endpoint, for a sentence's front; nothing where none does."""
    names = [f"VX_{one.upper()}" for one in home.SERVICES]
    return next((f": {name}" for name in names if os.environ.get(name, "").strip() == endpoint), "")


def _how_it_was_lost(error: daemonry.errors.DaemonryError) -> str:
    if isinstance(error, AetherStopped):
        return "aether was stopped in the middle of this build"
    return f"aether died, and the request with it ({error}); its log is {home.log_path(home.AETHER)}"


def _sentence(error: daemonry.errors.CallFailed) -> str:
    kind, fields = error.error.removeprefix(_PREFIX), error.parameters
    if kind == "OtherVersion":
        return (
            f"aether of {home.home_dir()} is vx {fields.get('version')}, and this is vx {__version__}: use"
            " that one, or end it with `vx kill`, or choose another VX_HOME"
        )
    if kind == "ServiceDied":
        return f"{fields.get('service')} died: {fields.get('reason')}; its log is {fields.get('log')}"
    return str(error)


def home_trouble() -> str | None:
    """Return why the home cannot keep files; None where nothing speaks against it."""
    path = home.home_dir()
    try:
        if os.path.lexists(path) and not os.path.isdir(path):
            return f"{path}: VX_HOME is not a directory"
    except (OSError, ValueError) as error:
        return f"{path}: {error}"
    return None
