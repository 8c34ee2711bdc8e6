"""`mcp-cli call`: one tool call, the command that is to cost no more than it must.

Owns its words, and the warm way: the configuration is remembered, the daemon is there and knows the
server, so one connection and one call do it.  Where any of that is not so, `session` does it in full.
"""

from __future__ import annotations

import os
import sys

import daemonry
from daemonry.cli import kit
from mcp_cli.client.options import DIRECT, Options, environment
from mcp_cli.client.tool_call import ToolCall, answered
from mcp_cli.config import cache, search
from mcp_cli.names import CALL, GRACE_S, NOT_CONFIGURED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    Events = Generator[dict[str, Any], None, None]

MAX_ARGUMENT_BYTES = 16 << 20
WAIT_BEFORE_HINT_S = 3.0


def run(options: Options, words: list[str], behind: list[str]) -> int:
    """Do `mcp-cli call WORDS` and return the exit code."""
    asked = asked_of(options, words, behind)
    if options.detach:
        return _detached(options, asked)
    events = None
    if options.mode != DIRECT and not options.one_off:
        events = _warm(options, asked)
    if events is None:
        return _in_full(options, asked)
    from mcp_cli.cli import events as follow

    try:
        return follow.result(events, options, asked.server, asked.tool)
    except daemonry.errors.CallFailed as error:
        # Nothing ran: the daemon does not know the server yet, or is just about to end.
        ending = isinstance(error, daemonry.errors.Draining) and error.ran == "no"
        if error.error == NOT_CONFIGURED or ending:
            return _in_full(options, asked)
        return _failed(error, options, asked)
    except daemonry.errors.ConnectionLost as error:
        return _in_full(options, asked) if error.ran == "no" else _failed(error, options, asked)
    except (daemonry.errors.IpcError, KeyboardInterrupt) as error:
        return _failed(error, options, asked)


def _warm(options: Options, asked: ToolCall) -> Events | None:
    """Return the call's events if all that it needs is at hand, else None.  Nothing is sent yet."""
    known = _known(options, asked.server)
    if known is None:
        if not kit.is_continued():
            return None
        # The configuration was changed just now, and the native launcher has sent the call before.
        from mcp_cli.config.model import DEFAULT_TIMEOUT_S

        known = cache.CachedServer("", DEFAULT_TIMEOUT_S)
    from mcp_cli.client import connect

    client = connect.try_connect()
    if client is None:
        return None
    limit_s = options.timeout_s or known.timeout_s
    fingerprint = cache.held_to(options.protocol, known.fingerprint)
    parameters = asked.parameters(options, fingerprint, answered(options))
    return connect.watched(client.stream(CALL, parameters, idle_s=limit_s + GRACE_S), client)


def _known(options: Options, server: str) -> cache.CachedServer | None:
    surroundings = environment()
    try:
        found = search.find(options.config, surroundings)
    except OSError:
        return None
    return cache.lookup(found, server, surroundings) if found is not None else None


def _in_full(options: Options, asked: ToolCall) -> int:
    from mcp_cli.cli import events as follow
    from mcp_cli.client.session import Session

    try:
        with Session(options) as session:
            return session.retried(
                lambda: follow.result(session.call(asked), options, asked.server, asked.tool)
            )
    except (daemonry.errors.DaemonryError, KeyboardInterrupt) as error:
        return _failed(error, options, asked)


def _detached(options: Options, asked: ToolCall) -> int:
    from mcp_cli.cli import tasks

    try:
        return tasks.detach(options, asked)
    except (daemonry.errors.DaemonryError, KeyboardInterrupt) as error:
        return _failed(error, options, asked)


def _failed(error: BaseException, options: Options, asked: ToolCall) -> int:
    from mcp_cli.client import failures

    return failures.tell(error, options, asked.server, asked.tool)


# --- words ------------------------------------------------------------------------------------


def asked_of(options: Options, words: list[str], behind: list[str]) -> ToolCall:
    """Return the call that the words behind `call` stand for.

    Raises:
        ArgumentInvalid: no tool is named, or standard input or a file does not hold the arguments.
    """
    server, tool, rest = target_of(options, words or words + behind)
    given = rest + behind if words else rest
    if not given:
        return ToolCall(server, tool, _from_pipe(), [])
    first = given[0]
    if len(given) == 1:
        if first == "-":
            return ToolCall(server, tool, _read_all(0, "standard input"), [])
        if first[:1] == "@" and len(first) > 1:
            return ToolCall(server, tool, _from_file(first[1:]), [])
        if first.lstrip()[:1] in ("{", "["):
            return ToolCall(server, tool, first, [])
    return ToolCall(server, tool, "", given)


def target_of(options: Options, words: list[str]) -> tuple[str, str, list[str]]:
    """Return server, tool and the other words of `SERVER/TOOL ...` or `SERVER TOOL ...`.

    Raises:
        ArgumentInvalid: a part is missing.
    """
    if not words:
        raise daemonry.errors.ArgumentInvalid("call", "needs a tool: mcp-cli call SERVER/TOOL key=value ...")
    first = words[0]
    server, slash, tool = first.partition("/")
    if slash:
        if server and tool:
            return server, tool, words[1:]
        raise daemonry.errors.ArgumentInvalid(first, "is not SERVER/TOOL")
    if options.one_off:
        return "server", first, words[1:]
    if len(words) < 2 or words[1][:1] in ("-", "{", "@") or "=" in words[1]:
        server, dot, tool = first.partition("(")[0].partition(".")
        meant = f"did you mean {server}/{tool} key=value ...?" if server and dot and tool else ""
        raise daemonry.errors.ArgumentInvalid(
            first,
            f"names no tool: {meant or 'mcp-cli call SERVER/TOOL ... or mcp-cli call SERVER TOOL ...'}",
        )
    return first, words[1], words[2:]


def _from_pipe() -> str:
    """Return what a pipe or a file at standard input holds, "" where there is neither."""
    try:
        kind = os.fstat(0).st_mode & 0o170000
    except OSError:
        return ""
    # A pipe, a file, a socket; not a terminal, not /dev/null.
    if kind not in (0o010000, 0o100000, 0o140000):
        return ""
    if kind != 0o100000:
        _say_waiting()
    return _read_all(0, "standard input")


def _say_waiting() -> None:
    """Tell a user who gave no arguments and left standard input open that the command reads it."""
    from select import select

    if not select([0], [], [], WAIT_BEFORE_HINT_S)[0]:
        sys.stderr.write("reading the arguments from standard input; give {} for none, or </dev/null\n")
        sys.stderr.flush()


def _from_file(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe is not waited for, but
    except OSError as error:
        raise daemonry.errors.ArgumentInvalid(f"@{path}", f"cannot be read: {error.strerror}") from None
    try:
        os.set_blocking(fd, True)  # read to its end where somebody writes to it
        return _read_all(fd, path)
    finally:
        os.close(fd)


def _read_all(fd: int, name: str) -> str:
    pieces: list[bytes] = []
    size = 0
    try:
        while piece := os.read(fd, 1 << 16):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_ARGUMENT_BYTES:
                raise daemonry.errors.ArgumentInvalid(name, f"is longer than {MAX_ARGUMENT_BYTES} bytes")
    except OSError as error:
        raise daemonry.errors.ArgumentInvalid(name, f"cannot be read: {error.strerror}") from None
    try:
        return b"".join(pieces).decode("utf-8").strip()
    except UnicodeDecodeError:
        raise daemonry.errors.ArgumentInvalid(name, "is not UTF-8") from None
