"""Runs one side of one contender, as a process of its own.

    play.py serve MODULE PATH
    play.py load MODULE CLIENT PATH PER_CALL CONNECTIONS SECONDS SERVER_PID

Owns how the load is made, the same for all: up to `PROCESSES` processes, forked after the imports,
with the connections shared out among them, one thread (or task, for an asyncio client) for each.
Every connection makes one call before the time runs.  Prints one line of JSON:

    calls       how many were answered; of a client whose calls have parts, such as a stream, how many parts
    seconds     how long the slowest process took
    p50_us      the median time of a call, in microseconds
    p99_us, p999_us
                the times that 99 and 99.9 of 100 calls do not exceed
    client_us   CPU time of the clients per call, in microseconds
    server_us   CPU time of the server per call, in microseconds; null where it cannot be read
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import question

PROCESSES: Final = 8
# Where a client is asynchronous, the loop is the fastest that there is.
ASYNC: Final = "Async"

Times = list[int]


class Turn:
    """What one process of the load does.

    Args:
        client: the contender's class of clients.
        path: the server's socket.
        per_call: connect anew for each call.
        seconds: how long to go on.
    """

    def __init__(self, client: Any, path: str, per_call: bool, seconds: float) -> None:
        self.client = client
        self.path = path
        self.per_call = per_call
        self.seconds = seconds

    def run(self, connections: int, wait: Callable[[], None]) -> dict[str, Any]:
        """Connect, wait to be told, call until the time is over."""
        times: Times = []
        if self.client.__name__ == ASYNC:
            import uvloop

            began_s, cpu_s = uvloop.run(self._run_tasks(connections, wait, times))
        else:
            began_s, cpu_s = self._run_threads(connections, wait, times)
        return {
            "calls": len(times),
            "seconds": time.perf_counter() - began_s,
            "p50_us": statistics.median(times) / 1000,
            "p99_us": _quantile(times, 0.99) / 1000,
            "p999_us": _quantile(times, 0.999) / 1000,
            "cpu_s": time.process_time() - cpu_s,
        }

    def _run_threads(self, connections: int, wait: Callable[[], None], times: Times) -> tuple[float, float]:
        clients = [self._ready() for _ in range(connections)]
        wait()
        began = time.perf_counter(), time.process_time()
        end_ns = time.perf_counter_ns() + int(self.seconds * 1e9)
        one = self._connect_and_call if self.per_call else self._call
        others = [
            threading.Thread(target=one, args=(client, end_ns, times), daemon=True) for client in clients[1:]
        ]
        for thread in others:
            thread.start()
        one(clients[0], end_ns, times)
        for thread in others:
            thread.join()
        return began

    def _ready(self) -> Any:
        client = self.client(self.path)
        _check(client, client.call())
        return client

    def _call(self, client: Any, end_ns: int, times: Times) -> None:
        call, clock, mine = client.call, time.perf_counter_ns, Times()
        at_ns = clock()
        while at_ns < end_ns:
            call()
            then_ns = clock()
            mine.append(then_ns - at_ns)
            at_ns = then_ns
        times += mine

    def _connect_and_call(self, _client: Any, end_ns: int, times: Times) -> None:
        make, path, clock = self.client, self.path, time.perf_counter_ns
        at_ns = clock()
        while at_ns < end_ns:
            client = make(path)
            client.call()
            client.close()
            then_ns = clock()
            times.append(then_ns - at_ns)
            at_ns = then_ns

    async def _run_tasks(
        self, connections: int, wait: Callable[[], None], times: Times
    ) -> tuple[float, float]:
        clients = [await self.client.connect(self.path) for _ in range(connections)]
        for client in clients:
            _check(client, await client.call())
        wait()
        began = time.perf_counter(), time.process_time()
        end_ns = time.perf_counter_ns() + int(self.seconds * 1e9)
        await asyncio.gather(*(self._call_async(client, end_ns, times) for client in clients))
        return began

    async def _call_async(self, client: Any, end_ns: int, times: Times) -> None:
        clock = time.perf_counter_ns
        at_ns = clock()
        while at_ns < end_ns:
            if self.per_call:
                new = await self.client.connect(self.path)
                await new.call()
                new.close()
            else:
                await client.call()
            then_ns = clock()
            times.append(then_ns - at_ns)
            at_ns = then_ns


def _quantile(times: Times, share: float) -> int:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _check(client: Any, reply: Any) -> None:
    if hasattr(client, "check"):
        if not client.check(reply):
            raise SystemExit(f"another answer came back: {reply!r}"[:200])
        return
    told = (
        {name: getattr(reply, name) for name in question.answer()}
        if hasattr(reply, question.FIRST_FIELD)
        else dict(reply)
    )
    if told != question.answer():
        raise SystemExit(f"another answer came back: {reply!r}")


def load(client: Any, path: str, per_call: bool, connections: int, seconds: float, server: int) -> None:
    """Make the load and print what came of it."""
    processes = min(PROCESSES, connections)
    ready_in, ready_out = os.pipe()
    go_in, go_out = os.pipe()
    results = []
    for number in range(processes):
        share = connections // processes + (number < connections % processes)
        result_in, result_out = os.pipe()
        results.append(result_in)
        if os.fork() == 0:
            os.close(go_out)

            def wait() -> None:
                os.write(ready_out, b"r")
                os.read(go_in, 1)

            try:
                done = Turn(client, path, per_call, seconds).run(share, wait)
            except BaseException as error:  # noqa: BLE001  # of whatever kind: it is told and ends this process
                done = {"error": f"{type(error).__name__}: {error}"}
            os.write(result_out, json.dumps(done).encode())
            os._exit(0)
        os.close(result_out)
    os.close(ready_out)
    for _ in range(processes):
        os.read(ready_in, 1)  # empty once all that are left have failed
    before_s = cpu_of(server)
    os.close(go_out)
    found = [json.loads(os.read(result, 4096)) for result in results]
    after_s = cpu_of(server)
    for one in found:
        if "error" in one:
            raise SystemExit(one["error"])
    parts = getattr(client, "PARTS", 1)
    calls = sum(one["calls"] for one in found) * parts
    print(
        json.dumps(
            {
                "calls": calls,
                "seconds": max(one["seconds"] for one in found),
                **{
                    name: statistics.mean(one[name] for one in found) / parts
                    for name in ("p50_us", "p99_us", "p999_us")
                },
                "client_us": sum(one["cpu_s"] for one in found) / calls * 1e6,
                "server_us": None if before_s is None else (after_s - before_s) / calls * 1e6,
            }
        )
    )


def cpu_of(pid: int) -> float | None:
    """Return the CPU time that a process has used, in seconds; None where no clock tells."""
    try:
        # Linux, clock_getcpuclockid(3): the clock of a process is made from its id.
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return None


def main() -> None:
    """Play."""
    words = sys.argv[1:]
    contender = importlib.import_module(words[1])
    if words[0] == "serve":
        contender.serve(words[2])
        return
    client = getattr(contender, words[2])
    path, per_call, connections, seconds, server = words[3:]
    load(client, path, per_call == "1", int(connections), float(seconds), int(server))


if __name__ == "__main__":
    main()
