"""What the library takes for a call without sockets, in CPU time: call written, answered, reply read.

    scripts/bench shapes    with PYTHON's daemonry, pure, and native where `daemonry_native` is installed

Each number is the least of fifteen measurements of one thread's CPU time, which other work disturbs
little.  Beside it stands what msgspec alone takes to encode and decode both messages' values, and pickle.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONTENDERS = Path(__file__).resolve().parent / "contenders"
# By name: the method, its arguments, how often it is measured at once, and how often its value is sent.
SHAPES: dict[str, tuple[str, tuple[Any, ...], int, int]] = {
    "two arguments": ("status_of", ("abc", 3), 1500, 1),
    "a list of 20 Structs": ("rows", (20,), 200, 1),
    "1 KiB of text, there and back": ("echo", ("x" * 1024,), 1000, 2),
    "64 KiB of text, there and back": ("echo", ("x" * 65536,), 50, 2),
    "1 MiB of text, there and back": ("echo", ("x" * (1 << 20),), 3, 2),
    "10,000 integers, there and back": ("numbers", (list(range(10_000)),), 5, 2),
}


def least_us(act: Callable[[], object], times: int) -> float:
    """Return the CPU time of an action in microseconds."""
    least = float("inf")
    for _ in range(15):
        began = time.thread_time()
        for _ in range(times):
            act()
        least = min(least, (time.thread_time() - began) / times)
    return least * 1e6


def measure() -> None:
    """Print a line for each shape, of the daemonry that this process has."""
    sys.path.insert(0, str(CONTENDERS))
    import msgspec
    from ours import Bench

    from daemonry.native_calls import calls as native
    from daemonry.service.client.proxy import Converter
    from daemonry.service.interface.declare import described
    from daemonry.service.server.dispatch import Calls

    where, served, bench = described(Bench), Calls(), Bench()
    served.serve(bench)
    methods = {method.python_name: method for method in where.methods.values()}
    title = "pure" if native is None else "native"
    for name, (python_name, args, times, sent) in SHAPES.items():
        converter = Converter(where, methods[python_name], getattr(Bench, python_name))
        frame = converter.write(args) or b""
        reply: Any = served.answer_at_once(frame)
        value = converter.read(reply)
        encode = msgspec.json.Encoder().encode
        decode = msgspec.json.Decoder(list[type(value[0])] if type(value) is list else type(value)).decode
        encoded, pickled, handler = encode(value), pickle.dumps(value), getattr(bench, python_name)
        parts = [
            least_us(lambda: converter.write(args), times),  # noqa: B023  # called at once
            least_us(lambda: served.answer_at_once(frame), times),  # noqa: B023
            least_us(lambda: converter.read(reply), times),  # noqa: B023
        ]
        alone = least_us(lambda: (encode(value), decode(encoded)), times) * sent  # noqa: B023
        alone += least_us(lambda: handler(*args), times)  # noqa: B023
        peer = least_us(lambda: (pickle.dumps(value), pickle.loads(pickled)), times) * sent  # noqa: B023
        cells = " | ".join(f"{part:,.1f}" for part in (*parts, sum(parts), alone, peer))
        print(f"| {name}, {title} | {cells} |", flush=True)


def main() -> int:
    """Measure both, each in a process of its own."""
    if sys.argv[1:] == ["here"]:
        measure()
        return 0
    print(
        "| shape | write us | answer us | read us | all us | msgspec and the handler us | pickle us |",
        flush=True,
    )
    print("| --- |" + " ---: |" * 6, flush=True)
    for pure in ("1", ""):
        environment = {**os.environ, "DAEMONRY_PURE": pure}
        subprocess.run([sys.executable, __file__, "here"], env=environment, check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
