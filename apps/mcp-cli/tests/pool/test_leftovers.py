"""What a server leaves behind: a child with its pipes, children in sessions of their own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mcp_cli.protocol import interfaces as api

ANSWERS = """
import json, os, subprocess, sys
answers = {
    "initialize": {
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "x", "version": "1"},
    },
    "tools/list": {"tools": [{"name": "pay", "inputSchema": {"type": "object"}}]},
    "ping": {},
}
"""

LEAVES_A_CHILD = """
for line in sys.stdin:
    asked = json.loads(line)
    if asked.get("method") == "tools/call":
        subprocess.Popen(["sleep", "600"])
        os._exit(3)
    if "id" in asked:
        found = answers.get(asked["method"])
        end = {"result": found} if found else {"error": {"code": -32601, "message": "no"}}
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **end}), flush=True)
"""


def test_a_crash_ends_the_call_though_a_child_holds_the_pipes(pools):
    async def work() -> None:
        server = api.Server(
            name="x", fingerprint="1", command=sys.executable, args=["-c", ANSWERS + LEAVES_A_CHILD]
        )
        async with pools.of(server) as pool, asyncio.timeout(30):
            with pytest.raises(api.MaybeRan) as raised:
                await pools.events_of(pool, "pay", server="x")
            assert "exited with code 3" in raised.value.reason

    asyncio.run(work())


PARENT = """
null = subprocess.DEVNULL
child = subprocess.Popen(["sleep", "600"], start_new_session=True, stdin=null, stdout=null, stderr=null)
with open(sys.argv[1], "a") as file:
    file.write(f"{child.pid} ")
for line in sys.stdin:
    asked = json.loads(line)
    if asked.get("method") == "tools/call":
        sys.exit(3)
    if "id" in asked:
        found = answers.get(asked["method"])
        end = {"result": found} if found is not None else {"error": {"code": -32601, "message": "no"}}
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **end}), flush=True)
"""


@pytest.mark.parametrize("crashes", [False, True])
def test_a_child_in_a_session_of_its_own_ends_with_its_server(
    pools, tmp_path: Path, alive: Callable[[int], bool], crashes: bool
) -> None:
    """Such are browsers and watchers; the server itself ends well, at the end of its input, or crashes."""
    said = tmp_path / "pids"
    server = api.Server(
        name="x",
        fingerprint="1",
        command=sys.executable,
        args=["-c", ANSWERS + PARENT, str(said)],
        protocol="2025-06-18",
    )

    async def work() -> None:
        async with pools.of(server) as pool, asyncio.timeout(30):
            if crashes:
                with pytest.raises(api.MaybeRan):
                    await pools.events_of(pool, "pay", server="x")
            else:
                assert (await pool.ping("x", "1")).ms >= 0
        assert [pid for pid in map(int, said.read_text().split()) if alive(pid)] == []

    asyncio.run(work())
