"""`palingenesis mcp serve` and `mcp config`: palingenesis as a server of the Model Context Protocol.

Owns the registration with the official SDK (extra `mcp`), and the snippets for agents.  What the tools do is
`mcp_tools`'s.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any, Final

from daemonry.cli import kit
from daemonry.errors import DaemonryError
from palingenesis import NAME, __version__, mcp_tools

_INSTRUCTIONS: Final = (
    "palingenesis keeps coding sessions alive. Ask when your usage limit resets, ask to be resumed later, "
    "and write down the next step before your context is full: a new session begins from it."
)
AGENTS: Final = ("claude", "codex", "gemini", "opencode")


def serve() -> int:
    """Serve on standard input and output until the client closes them."""
    try:
        from mcp.server.mcpserver import MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
    except ImportError:
        kit.complain("palingenesis: mcp serve needs the SDK: pip install 'palingenesis[mcp]'")
        return kit.FAILED
    cwd = os.getcwd()

    async def answer(called: Callable[..., dict[str, Any]], *words: str) -> dict[str, Any]:
        try:
            return await asyncio.to_thread(called, *words)
        except (mcp_tools.CannotAnswer, DaemonryError) as error:
            raise ToolError(str(error)) from None

    server = MCPServer(NAME, instructions=_INSTRUCTIONS, version=__version__)

    @server.tool()
    async def status(session: str = "") -> dict[str, Any]:
        """Say how coding sessions of this machine stand: at work, stopped and why, scheduled, done.

        Args:
            session: its id, or the beginning of it; all of the last days, if not given.
        """
        return await answer(mcp_tools.status, session)

    @server.tool()
    async def when_does_my_limit_reset(session: str = "") -> dict[str, Any]:
        """Say when the usage limit of a session resets: `resets_at_s` (epoch) and `seconds_left`.

        Args:
            session: its id; the newest of this directory, if not given.
        """
        return await answer(mcp_tools.when_does_my_limit_reset, session, cwd)

    @server.tool()
    async def schedule_resume(after: str, session: str = "") -> dict[str, Any]:
        """Have this session resumed later, once its turn has ended and its process is gone.

        Args:
            after: how much later: 90s, 30m, 5h, 2d; 8 days at most.
            session: its id; the newest of this directory, if not given.
        """
        return await answer(mcp_tools.schedule_resume, after, session, cwd)

    @server.tool()
    async def write_next_step(text: str) -> dict[str, Any]:
        """Write Next-step.md in this directory: what is done, what comes next, what to watch out for.

        Args:
            text: Markdown, at most 12,000 characters; it replaces the present text.
        """
        return await answer(mcp_tools.write_next_step, text, cwd)

    server.run("stdio")
    return kit.DONE


def config(agent: str | None) -> int:
    """Print what an agent's configuration needs to start the server."""
    if agent is not None and agent not in AGENTS:
        kit.complain(f"palingenesis: {kit.printable(repr(agent))} is not known: {', '.join(AGENTS)}")
        return kit.USAGE
    command = shutil.which(sys.argv[0]) or shutil.which(NAME) or NAME
    command = os.path.abspath(command) if os.path.exists(command) else command
    if agent == "codex":
        kit.say(f'[mcp_servers.{NAME}]\ncommand = {json.dumps(command)}\nargs = ["mcp", "serve"]')
        return kit.DONE
    if agent == "opencode":
        local = {"type": "local", "command": [command, "mcp", "serve"], "enabled": True}
        kit.say(json.dumps({"mcp": {NAME: local}}, indent=2))
        return kit.DONE
    kit.say(json.dumps({"mcpServers": {NAME: {"command": command, "args": ["mcp", "serve"]}}}, indent=2))
    return kit.DONE
