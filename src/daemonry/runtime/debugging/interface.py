"""The interface org.daemonry.Debug: which code a daemon runs, its stacks, a console, a debugger.

Owns who may ask: a process of the daemon's own user, by the system's word.  Over TCP nobody may, with or
without a token, and nobody else's root.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import msgspec

from daemonry.errors import PermissionDenied
from daemonry.runtime.debugging import stacks
from daemonry.runtime.debugging.debugger import debug_loop
from daemonry.runtime.fingerprint import Code
from daemonry.service.interface.declare import Interface, method
from daemonry.service.interface.handler import Context, Upgrade
from daemonry.service.server.dispatch import DEBUG


class CodeState(msgspec.Struct):
    """The files that a daemon has imported, without the installed ones; and those that changed since."""

    files: list[str]
    changed: list[str]


class Stacks(msgspec.Struct):
    """The stacks of threads and tasks; `left_out` did not fit."""

    stacks: list[dict[str, Any]]
    left_out: int


class Debug(Interface, name=DEBUG):
    """Looking into the daemon, for its own user on this machine."""

    def __init__(self, code: Code, names: Callable[[], dict[str, Any]]) -> None:
        self._code = code
        self._names = names

    @method(reads=True)
    async def code(self, context: Context) -> CodeState:
        """Return which files the daemon runs on, and which of them are others now."""
        _check(context)
        return CodeState(self._code.own_files(), self._code.changed())

    @method(reads=True)
    async def stacks(self, context: Context) -> Stacks:
        """Return the stacks of the daemon's threads and asyncio tasks."""
        _check(context)
        return Stacks(**stacks.of_process(asyncio.get_running_loop()))

    async def console(self, context: Context) -> Upgrade[None]:
        """Give the connection to a Python console in the daemon."""
        _check(context)
        from daemonry.runtime.debugging.console import DaemonConsole  # `code` is for who debugs

        console = DaemonConsole(asyncio.get_running_loop(), self._names())

        def speak(sock: socket.socket, early: bytes) -> None:
            console.serve(sock, early)

        return Upgrade(None, speak)

    async def debugger(self, context: Context) -> Upgrade[None]:
        """Stop the loop, and give the connection to a debugger there."""
        _check(context)
        loop = asyncio.get_running_loop()

        def speak(sock: socket.socket, early: bytes) -> None:
            debug_loop(loop, sock)

        return Upgrade(None, speak)


def _check(context: Context) -> None:
    if not context.peer.is_own_user:
        raise PermissionDenied("org.varlink.service.PermissionDenied")
