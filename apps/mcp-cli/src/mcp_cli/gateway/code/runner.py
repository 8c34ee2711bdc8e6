"""Running a client's program: its process, its calls, its time and its output.

The process is `program`'s; it ends with all that it started when its time is over, when the client cancels,
and when the gateway goes.  Owns the bounds that are kept from outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from daemonry import Owned, errors, spawn_owned
from mcp_cli.gateway.code import program
from mcp_cli.gateway.faults import for_model
from mcp_cli.pool import processes

DEFAULT_S: Final = 60
MAX_S: Final = 600
# A model reads this much; of more the beginning and the end are kept.
MAX_OUTPUT_BYTES: Final = 64 << 10
MAX_REQUEST_BYTES: Final = 16 << 20
MAX_PROGRAM_BYTES: Final = 1 << 20
# At a time, of all clients of one gateway.
MOST_RUNNING: Final = 4
# Its whole environment, with a home and a directory of its own.
PASSED: Final = ("LANG", "LC_ALL", "LC_CTYPE", "PATH", "TZ")
# The program's process looks for modules where this one does, whatever its environment and directory are.
_START: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1])\n"
    "from mcp_cli.gateway.code import program\n"
    "program.run(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), isolated=sys.argv[5] == 'isolated')\n"
)
_PROBE: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1])\n"
    "from mcp_cli.gateway.code import program\n"
    "sys.exit(0 if program.without_network() else 1)\n"
)

Call = Callable[[str, str, str], Awaitable[str]]


class RunOutcome(NamedTuple):
    """How a program ended.

    Attributes:
        text: its output, and how it ended if that was not well.
        failed: whether it ended badly.
    """

    text: str
    failed: bool


@functools.cache
def isolates() -> bool:
    """Whether a program here gets no network; asks the system once, which takes a process's time."""
    words = [*_python(_PROBE)]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _python(script: str) -> list[str]:
    return [sys.executable, "-I", "-c", script, json.dumps([one for one in sys.path if one])]


class Runner:
    """The programs of one gateway."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(MOST_RUNNING)

    async def run(self, code: str, modules: Mapping[str, str], call: Call, limit_s: int) -> RunOutcome:
        """Run a program to its end.

        Args:
            code: its text.
            modules: of the package `tools`, the text of each by its name.
            call: calls a tool.
            limit_s: how long it may take, the calls included.

        Raises:
            OSError: it cannot be started.
        """
        async with self._turns:
            isolated = await asyncio.to_thread(isolates)
            directory = await asyncio.to_thread(_written, code, modules)
            try:
                return await _ran(directory, call, limit_s, isolated=isolated)
            finally:
                await asyncio.shield(asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True))


def _written(code: str, modules: Mapping[str, str]) -> str:
    """Write a program and its modules into a directory, and return it."""
    directory = tempfile.mkdtemp(prefix="mcp-cli-program-")
    os.mkdir(os.path.join(directory, "tools"))
    texts = {os.path.join("tools", f"{name}.py"): text for name, text in modules.items()}
    for name, text in {**texts, os.path.join("tools", "__init__.py"): "", program.FILE: code}.items():
        with open(os.path.join(directory, name), "w", encoding="utf-8", errors="surrogatepass") as file:
            file.write(text)
    return directory


async def _ran(directory: str, call: Call, limit_s: int, *, isolated: bool) -> RunOutcome:
    ours, theirs = socket.socketpair()
    words = [*_python(_START), directory, str(theirs.fileno()), str(limit_s), "isolated" if isolated else "-"]
    env = {name: os.environ[name] for name in PASSED if name in os.environ}
    env |= {"HOME": directory, "TMPDIR": directory, "PYTHONIOENCODING": "utf-8:backslashreplace"}
    start = functools.partial(
        spawn_owned, words, env=env, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        pass_fds=[theirs.fileno()],
    )  # fmt: skip
    starting = asyncio.get_running_loop().run_in_executor(None, start)
    try:
        with theirs:
            child = await asyncio.shield(starting)
    except BaseException:
        ours.close()
        starting.add_done_callback(lambda done: done.exception() or done.result().kill())
        raise
    output = _Output()
    followed: list[asyncio.Task[None]] = []
    try:
        async with asyncio.timeout(limit_s):
            followed.append(asyncio.create_task(_serve_calls(ours, call)))
            followed.append(asyncio.create_task(output.follow(child)))
            code: int | None = await child.wait_ended()
    except TimeoutError:
        code = None
    finally:
        await asyncio.shield(asyncio.to_thread(processes.end_all, child))
        if len(followed) == 2:  # the last of its output is in the pipe still
            await asyncio.wait(followed[1:], timeout=1.0)
        for task in followed:
            task.cancel()
        ours.close()
    return _outcome(output.text, code, limit_s)


def _outcome(printed: str, code: int | None, limit_s: int) -> RunOutcome:
    if code == 0:
        return RunOutcome(printed, failed=False)
    if code is None:
        why = f"it took longer than {limit_s} s, and was killed"
    elif code == program.NETWORK_LEFT:
        why = "it was not run: its network could not be taken away"
    elif code == -24:  # SIGXCPU
        why = f"it used more than {limit_s} s of CPU time, and was killed"
    elif code < 0:
        why = f"it was killed by signal {-code}"
    else:
        why = f"exit code {code}"
    between = "" if not printed or printed.endswith("\n") else "\n"
    return RunOutcome(f"{printed}{between}[the program failed: {why}]", failed=True)


async def _serve_calls(ours: socket.socket, call: Call) -> None:
    """Make the calls of a program until it has gone."""
    ours.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=ours, limit=MAX_REQUEST_BYTES)
    try:
        with contextlib.suppress(ConnectionError, ValueError):  # gone, or a line that is too long
            while line := await reader.readline():
                writer.write(json.dumps(await _answer(line, call)).encode() + b"\n")
                await writer.drain()
    finally:
        writer.close()


async def _answer(line: bytes, call: Call) -> dict[str, str]:
    try:
        asked = json.loads(line)
        return {
            "result": await call(str(asked["server"]), str(asked["tool"]), json.dumps(asked["arguments"]))
        }
    except errors.CallFailed as error:
        return {"error": for_model(error) or str(error)}
    except errors.DaemonryError as error:
        return {"error": str(error)}
    except (ValueError, TypeError, KeyError) as error:
        return {"error": f"the call cannot be read: {error!r}"}


class _Output:
    """A program's output: its beginning and its end, where there is too much."""

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""
        self._lost = 0

    async def follow(self, child: Owned) -> None:
        """Read all that a program prints."""
        assert child.stdout is not None
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), child.stdout
        )
        try:
            while part := await reader.read(1 << 16):
                self._take(part)
        finally:
            transport.close()

    def _take(self, part: bytes) -> None:
        room = MAX_OUTPUT_BYTES * 3 // 4 - len(self._head)
        self._head += part[:room] if room > 0 else b""
        rest = self._tail + part[max(room, 0) :]
        self._tail = rest[-(MAX_OUTPUT_BYTES // 4) :]
        self._lost += len(rest) - len(self._tail)

    @property
    def text(self) -> str:
        """The output that is kept."""
        between = f"\n[{self._lost} bytes are left out]\n".encode() if self._lost else b""
        return (self._head + between + self._tail).decode("utf-8", "replace")
