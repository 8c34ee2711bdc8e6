"""A proxy's calls by the native part against the same calls in Python, whatever comes as a reply.

    PYTHONPATH=DIR-WITH-daemonry_native python fuzz/native_client.py [SECONDS [SEED]]

Each call is made twice, on a connection of its own: what was sent, the result or the error, and the state
of the connection and of its client behind it have to be the same.  Its peer is a script: the reply, whole,
mutated, in pieces, with strays behind it, or none, stands in the socket before the call is made.

Prints a line of counts; a difference is an AssertionError with the call and the reply.
"""

from __future__ import annotations

import json
import random
import socket
import sys
import time
from contextlib import suppress
from typing import Any

import msgspec
from native_calls import Trial

from daemonry import CallError, DaemonryError, Interface
from daemonry.native_calls import calls as native_calls
from daemonry.service.client import native_way, proxy, signatures
from daemonry.service.client.blocking import Client
from daemonry.transport.stream import Stream

TIMEOUT_S = 20.0
# Longer than the socket holds, so that a part of a call is sent and the far end has to read.
LONG = "x" * 70_000


class Full(CallError):
    """A declared error."""

    at: int


class Entry(msgspec.Struct):
    """What a method returns."""

    name: str
    size: int


class Asked(Interface, name="org.example.asked", errors=(Full,)):
    """Methods of each way to write and to read."""

    def nothing(self) -> None:
        """Return nothing."""

    def one_entry(self) -> Entry:
        """Return a Struct."""
        raise NotImplementedError

    def more_entries(self, names: list[str]) -> list[Entry]:
        """Return Structs in a field."""
        raise NotImplementedError

    def text(self, text: str, size: int = 3) -> str:
        """Return a plain value."""
        raise NotImplementedError

    def either(self, data: bytes) -> dict[str, list[int]]:
        """Take what has no form."""
        raise NotImplementedError


# By name: arguments that fit more or less, and the fields of a reply that fit.
CALLS: dict[str, tuple[list[tuple[Any, ...]], list[dict[str, Any]]]] = {
    "nothing": ([(), (1,)], [{}, {"a": 1}]),
    "one_entry": ([(), ("x",)], [{"name": "é", "size": 2**62}, {"name": "a", "size": 2**64}, {"name": "a"}]),
    "more_entries": (
        [(["a", 'b"'],), ([],), (["\0"],), (["\ud800"],), (5,), ()],
        [{"result": [{"name": "a\n", "size": 1}] * 3}, {"result": []}, {"result": [{"name": 1}]}],
    ),
    "text": (
        [("a", 1), ("a",), ("", 2**63), (LONG, 1), ("é\\", -1), ("a", True), (None, 1)],
        [
            {"result": "ok"},
            {"result": LONG},
            {"result": 'q"\\\u2028'},
            {"result": None},
            {"result": "a", "b": 1},
        ],
    ),
    "either": (
        [(b"a",), (b"",), (1.5,)],
        [{"result": {"a": [1, 2]}}, {"result": {}}, {"result": {"a": [None]}}],
    ),
}
ERRORS: list[dict[str, Any]] = [
    {"error": "org.example.asked.Full", "parameters": {"at": 3}},
    {"error": "org.example.asked.Full", "parameters": {"at": "x"}},
    {"error": "org.varlink.service.InvalidParameter", "parameters": {"parameter": "text"}},
    {"error": "org.daemonry.Control.Paused", "parameters": {}},
    {"error": "", "parameters": {}},
]


class Proxies:
    """Makes calls, and compares what becomes of them.

    Args:
        seed: of their course.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._trial = Trial(native_calls, seed)
        self._kinds = (_proxies_of(native_way.short_calls(Client)), _proxies_of(None))
        self.counts = dict.fromkeys(("calls", "results", "errors", "in one step"), 0)

    def run_one(self) -> None:
        """Compare a call."""
        chosen = self._random
        name = chosen.choice(list(CALLS))
        arguments, fields = CALLS[name]
        args, kwargs = chosen.choice(arguments), {}
        if args and name == "text" and chosen.random() < 0.2:
            args, kwargs = args[1:], {"text": args[0]}
        reply, more = self._reply(fields)
        native, python = (self._outcome(kind, name, args, kwargs, reply, more) for kind in self._kinds)
        assert native == python, (name, args, kwargs, reply, more, native, python)
        self.counts["calls"] += 1
        self.counts["results" if native[0] == "result" else "errors"] += 1
        self.counts["in one step"] += native[0] == "result" and reply.endswith(b"\0")

    def _reply(self, fields: list[dict[str, Any]]) -> tuple[bytes, list[bytes]]:
        """Return what comes at once, and what comes behind it, in pieces."""
        chosen, kind = self._random, self._random.random()
        message = chosen.choice(ERRORS) if kind < 0.2 else {"parameters": chosen.choice(fields)}
        if chosen.random() < 0.05:
            message["continues"] = True
        gaps = chosen.choice([(",", ":"), (",", ":"), (", ", ": ")])
        frame = json.dumps(message, ensure_ascii=chosen.random() < 0.3, separators=gaps).encode(
            "utf-8", "replace"
        )
        if chosen.random() < 0.3 and len(frame) < 1000:
            frame = self._trial._mutated(frame)  # noqa: SLF001  # of the same fuzzer
        whole, way = frame + b"\0", chosen.random()
        if way < 0.1:
            return whole[: chosen.randrange(len(whole))], []
        if way < 0.2:
            return whole + chosen.choice([b"x", b"\0", whole, b"{"]), []
        if way < 0.3:
            cut = chosen.randrange(len(whole))
            return whole[:cut], [whole[cut:]]
        return whole, []

    def _outcome(
        self,
        kind: type[Any],
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        reply: bytes,
        more: list[bytes],
    ) -> tuple[Any, ...]:
        near, far = socket.socketpair()
        with far:
            client = Client(Stream(near, "fuzz"))
            asked = proxy.proxy_of(kind, client, TIMEOUT_S)
            for _ in range(2):  # so that its socket has the timeout
                far.sendall(b'{"parameters":{}}\0')
                asked.nothing()
            link = client._free[0]  # noqa: SLF001  # its only one
            assert link.stream.counted_s == TIMEOUT_S
            for piece in (reply, *more):
                far.sendall(piece)
            far.shutdown(socket.SHUT_WR)
            try:
                result = getattr(asked, name)(*args, **kwargs)
                outcome = "result", repr(result)
            except (DaemonryError, TypeError) as error:
                outcome = type(error).__name__, str(error), getattr(error, "ran", None)
            talk = link.talk
            state = talk.at_rest, talk.buffered_bytes, link.is_open, len(client._free), client.closed  # noqa: SLF001
            sent = b""
            with suppress(BlockingIOError, ConnectionResetError):
                while piece := far.recv(1 << 20, socket.MSG_DONTWAIT):
                    sent += piece
            client.close()
        return (*outcome, state, sent)


def _proxies_of(short_of: Any) -> type[Any]:
    def wrap(converter: proxy.Converter, method: Any) -> Any:
        if short_of is None:
            converter.exchange = None
        return proxy._wrap_blocking(converter, method, short_of or _none)  # noqa: SLF001  # of one process, both

    return proxy.proxy_class(Asked, {}, wrap, signatures.blocking_result)


def _none(_converter: proxy.Converter) -> None:
    """Make no short call."""


def main() -> None:
    """Compare for a while."""
    if native_calls is None:
        raise SystemExit("daemonry_native is not installed, or DAEMONRY_PURE is set")
    given = sys.argv[1:]
    proxies = Proxies(int(given[1]) if len(given) > 1 else 1)
    end_s = time.monotonic() + float(given[0] if given else 60)
    while time.monotonic() < end_s:
        proxies.run_one()
    print(", ".join(f"{name} {count:,}" for name, count in proxies.counts.items()))


if __name__ == "__main__":
    main()
