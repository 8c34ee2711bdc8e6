"""What runs in a thread, for a future: exceptions of generators come out of it as from a coroutine.

A future takes no StopIteration: asyncio logs a TypeError, and the future is never done.  GeneratorExit out of
a future ends the coroutine that awaits it as if somebody closed it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def called(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function, and return its result.

    Raises:
        RuntimeError: it raised StopIteration, as `next` of an iterator that has ended, or GeneratorExit;
            PEP 479 has the same for coroutines.
    """
    try:
        return function(*args, **kwargs)
    except (StopIteration, GeneratorExit) as error:
        raise RuntimeError(f"a function in a thread raised {type(error).__name__}") from error
