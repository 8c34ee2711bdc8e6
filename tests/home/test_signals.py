"""Signals of a supervisor that come faster than it reads them."""

from __future__ import annotations

import subprocess
import sys

# Each `kill` of the process itself is delivered before it returns, and the loop reads none meanwhile.
FLOOD = """
import asyncio, os, signal
from types import SimpleNamespace
from daemonry.home.signals import HomeSignals

said = []

async def reload():
    said.append("reload")

def stop():
    fleet.ending = True
    said.append("stop")

async def main():
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    HomeSignals(
        fleet,
        SimpleNamespace(reap=lambda: said.append("reap")),
        stop,
        lambda: (said.append("kill"), over.set()),
        reload,
    ).listen(loop)
    await asyncio.sleep(0)
    for _ in range(5000):
        os.kill(os.getpid(), signal.SIGCHLD)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGTERM):
        os.kill(os.getpid(), number)
    async with asyncio.timeout(20):
        await over.wait()
        while "reload" not in said:
            await asyncio.sleep(0.01)

fleet = SimpleNamespace(ending=False)
asyncio.run(main())
print(" ".join(said))
"""


def test_a_flood_of_ended_children_takes_no_other_signal_along() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FLOOD], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "SIGTERM again: killing what is left\n"), done
    assert done.stdout.split() == ["reap", "reap", "stop", "kill", "reload"]
