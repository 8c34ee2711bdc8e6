"""A call that an exception of a signal's handler ends, such as Ctrl-C, at any of its steps."""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncIterator, Callable
from types import FrameType
from typing import Any

import pytest

from daemonry import Client, Interface, errors

NAME = "org.example.interrupted"


class Interrupted(BaseException):
    """As a handler raises it."""


class Served(Interface, name=NAME):
    """The interface that is called."""

    def echo(self, text: str) -> str:
        return text

    def nothing(self) -> None:
        """Return nothing."""

    def fail(self, text: str) -> str:
        raise ValueError(text)

    async def count(self, first: int) -> AsyncIterator[int]:
        for number in range(first, first + 3):
            yield number


SHAPES: dict[str, Callable[[Client, Any], Any]] = {
    "a call": lambda client, _: client.call(f"{NAME}.Echo", {"text": "x"}),
    "a typed call": lambda _, proxy: proxy.echo("x"),
    "a typed call that fails": lambda _, proxy: proxy.fail("x"),
    "a oneway call": lambda client, _: client.oneway(f"{NAME}.Nothing", {}),
    "a stream": lambda client, _: list(client.stream(f"{NAME}.Count", {"first": 1})),
    "a typed stream": lambda _, proxy: list(proxy.count(1)),
    "the end of a typed stream": lambda _, proxy: next(proxy.count(1)),
}


def raise_at(step: int) -> Callable[[FrameType, str, Any], Any]:
    """Return a trace function that raises at one line of the library, counted from the first that runs."""
    lines = itertools.count()

    def trace(frame: FrameType, event: str, _arg: Any) -> Any:
        if "/daemonry/" not in frame.f_code.co_filename:
            return None
        if event == "line" and next(lines) == step:
            sys.settrace(None)
            raise Interrupted
        return trace

    return trace


# Where the new socket is nobody's yet, the collector closes it, and says so.
@pytest.mark.filterwarnings("ignore:.*unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("shape", SHAPES)
def test_the_client_goes_on_wherever_a_call_was_interrupted(serving_once: Any, shape: str) -> None:
    """Each later call gets its own answer: on another connection where the old one is not at rest."""
    endpoint = serving_once(Served()).endpoint
    with Client.connect(endpoint) as client:
        proxy = client.proxy(Served)
        check(client, proxy, 0)
        steps = 0
        while interrupted(lambda: SHAPES[shape](client, proxy), steps):
            steps += 1
            check(client, proxy, steps)
    assert steps > 2  # of the native part's call four, of a stream hundreds


def interrupted(act: Callable[[], Any], step: int) -> bool:
    """Whether an act had that many steps."""
    before = sys.gettrace()
    try:
        sys.settrace(raise_at(step))
        act()
    except Interrupted:
        return True
    except errors.Failed:
        pass
    finally:
        sys.settrace(before)
    return False


def check(client: Client, proxy: Any, step: int) -> None:
    """Make a call of each kind."""
    assert list(client.stream(f"{NAME}.Count", {"first": step})) == [
        {"result": step + more} for more in range(3)
    ]
    client.oneway(f"{NAME}.Nothing", {})
    assert list(proxy.count(step)) == [step, step + 1, step + 2]
    assert client.call(f"{NAME}.Echo", {"text": f"call {step}"}, timeout_s=10) == {"result": f"call {step}"}
    assert proxy.echo(f"echo {step}") == f"echo {step}"
    with pytest.raises(errors.Failed, match=f"fail {step}"):
        proxy.fail(f"fail {step}")
