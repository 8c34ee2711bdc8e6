"""A server that crashes and leaves a child with its pipes: the call ends, and does not wait for the child."""

from __future__ import annotations

import asyncio
import sys

import pytest

from mcp_cli.protocol import interfaces as api

LEAVES_A_CHILD = """
import json, os, subprocess, sys
answers = {
    "initialize": {
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "x", "version": "1"},
    },
    "tools/list": {"tools": [{"name": "pay", "inputSchema": {"type": "object"}}]},
}
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
        server = api.Server(name="x", fingerprint="1", command=sys.executable, args=["-c", LEAVES_A_CHILD])
        async with pools.of(server) as pool, asyncio.timeout(30):
            with pytest.raises(api.MaybeRan) as raised:
                await pools.events_of(pool, "pay", server="x")
            assert "exited with code 3" in raised.value.reason

    asyncio.run(work())
