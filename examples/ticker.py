"""A daemon in ten lines: it counts seconds, and stops counting while it is paused."""

import asyncio

from daemonry import Daemon

daemon = Daemon("ticker", version="1.0")
ticks = 0


@daemon.work
async def tick(run):
    global ticks
    while True:
        await run.wait_running()
        ticks += 1
        await asyncio.sleep(1)


@daemon.status
def fields():
    return {"ticks": ticks}


if __name__ == "__main__":
    daemon.main()
