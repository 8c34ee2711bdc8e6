"""A Python console in the daemon, over a connection that was given away.

Owns reading statements and printing their results.  Statements run in the connection's thread; `await`
runs on the daemon's loop.  What other threads print meanwhile goes where it always did.
"""

from __future__ import annotations

import ast
import asyncio
import code
import inspect
import socket
import sys
import threading
from types import CodeType, FunctionType
from typing import IO, Any, Final

_BANNER: Final = (
    "Console in {name} (pid {pid}): `daemon`, `run`, `loop` and the served interfaces are there;"
    " `await` runs on the loop.  End with Ctrl-D.\n"
)


class _ThreadOutput:
    """Standard output that sends the text of one thread to that thread's own file.

    Args:
        others: what all other threads write to.
    """

    def __init__(self, others: Any) -> None:
        self._others = others
        self._files: dict[int, IO[str]] = {}

    def attach(self, file: IO[str]) -> None:
        self._files[threading.get_ident()] = file

    def detach(self) -> None:
        self._files.pop(threading.get_ident(), None)

    def write(self, text: str) -> int:
        return int(self._mine().write(text))

    def flush(self) -> None:
        try:
            self._mine().flush()
        except OSError:
            pass  # the console's user is gone

    def __getattr__(self, name: str) -> Any:
        return getattr(self._others, name)

    def _mine(self) -> Any:
        return self._files.get(threading.get_ident(), self._others)


class DaemonConsole(code.InteractiveConsole):
    """One console.

    Args:
        loop: the daemon's loop, on which `await` runs.
        names: what statements may use.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, names: dict[str, Any]) -> None:
        super().__init__({"__name__": "__console__", "loop": loop, "asyncio": asyncio, **names})
        self._loop = loop
        self._reads: Any = None
        self._file: Any = None
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

    def serve(self, sock: socket.socket, early: bytes) -> None:
        """Read and run statements until the connection ends."""
        import os

        # Two files: a single one loses its read-ahead when it writes.
        with (
            sock.makefile("r", encoding="utf-8", errors="replace") as self._reads,
            sock.makefile("w", encoding="utf-8", errors="backslashreplace") as self._file,
        ):
            name = getattr(self.locals.get("daemon"), "name", "the daemon")
            output = _outputs()
            for one in output:
                one.attach(self._file)
            try:
                self.interact(_BANNER.format(name=name, pid=os.getpid()), "")
            except (OSError, ValueError):
                pass  # the other end is gone
            finally:
                for one in output:
                    one.detach()

    def raw_input(self, prompt: str = "") -> str:
        """Return the next line."""
        self.write(prompt)
        line: str = self._reads.readline()
        if not line:
            raise EOFError
        return line.rstrip("\r\n")

    def write(self, data: str) -> None:
        """Send text."""
        self._file.write(data)
        self._file.flush()

    def runcode(self, code: CodeType) -> None:
        """Run a statement; one with `await` in it on the loop."""
        try:
            function = FunctionType(code, self.locals)
            result = function()
            if inspect.iscoroutine(result):
                asyncio.run_coroutine_threadsafe(self._on_loop(result), self._loop).result()
        except SystemExit:
            self.write("The console does not end the daemon: run.stop() does.\n")
        except BaseException:  # noqa: BLE001  # whatever a statement raises is shown
            self.showtraceback()
        sys.stdout.flush()

    async def _on_loop(self, coroutine: Any) -> None:
        outputs = _outputs()
        for one in outputs:
            one.attach(self._file)
        try:
            await coroutine
        finally:
            for one in outputs:
                one.detach()


def _outputs() -> tuple[_ThreadOutput, _ThreadOutput]:
    if not isinstance(sys.stdout, _ThreadOutput):
        sys.stdout = _ThreadOutput(sys.stdout)
    if not isinstance(sys.stderr, _ThreadOutput):
        sys.stderr = _ThreadOutput(sys.stderr)
    return sys.stdout, sys.stderr
