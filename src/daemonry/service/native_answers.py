"""Calls that are answered at once by the optional native part: see `native/calls/answer.h`.

Owns the table of methods that the native part has.  All that it does not take goes to functions of
`dispatch`: to the one that answers in Python before anything ran, to those that judge behind the handler.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any, Self

from daemonry.limits import LOOKED_UP_BYTES
from daemonry.native_calls import calls as native_calls
from daemonry.service.interface.declare import Method
from daemonry.wire.fast_varlink import native_framer
from daemonry.wire.typed_reply import native_call_reader
from daemonry.wire.varlink import PARAMETERS_HEAD

# As in `dispatch`, which uses this; the results are passed on.
Ready = Callable[[], Any]
Answer = Callable[..., Any]
# Of a method: its gate, None where it is always open; the watchers of calls; what judges a result; what an
# exception comes to.
Around = tuple[Callable[[], Any] | None, set[Any], Callable[[Any], Any], Callable[[BaseException], Any]]


class NativeAnswers:
    """What the native part answers, of one server.

    Args:
        ready: what answers calls without arguments, by their frames; filled by its owner.
        in_python: answers every other.

    Attributes:
        answer: answers a call, as `in_python`.
    """

    def __init__(self, ready: dict[bytes, Ready], in_python: Callable[[bytes], Any]) -> None:
        self._heads: dict[bytes, tuple[Callable[[bytes], Any], Answer]] = {}
        self._made: list[Any] = []
        table = native_calls.Table(ready, self._heads, PARAMETERS_HEAD, LOOKED_UP_BYTES, in_python)
        self.answer: Callable[[bytes], Any] = table.answer

    @classmethod
    def of(cls, ready: dict[bytes, Ready], in_python: Callable[[bytes], Any]) -> Self | None:
        """Return them, made of the same; None without the native part."""
        return None if native_calls is None else cls(ready, in_python)

    def made_ready(
        self, method: Method, function: Callable[..., Any], in_python: Answer, around: Around, most_bytes: int
    ) -> Answer:
        """Return what answers the calls of one method, which is not a coroutine's; it may be `in_python`.

        Args:
            method: the method.
            function: its handler.
            in_python: answers what cannot be answered here, before anything ran.
            around: see there.
            most_bytes: how long a reply may be.
        """
        if method.names and not _takes_by_place(function, method.names):
            return in_python
        gate, watchers, judge, failed = around
        write = native_framer(method.reply, method.reply_field)
        made: Answer = native_calls.Ready(
            in_python, gate, watchers, function, write, judge, failed, most_bytes
        )
        self._made.append(made)
        return made

    def serve(self, method: Method, head: bytes, answer: Answer) -> None:
        """Have calls of a method that begin with `head` answered so, where they are read here."""
        if method.names and method.read_parameters is None:
            read = native_call_reader(method.parameters, head)
            if read is not None:
                self._heads[head] = read, answer

    @property
    def begun(self) -> int:
        """How many calls went through a gate here."""
        return sum(one.begun for one in self._made)

    def bound_replies(self, most_bytes: int) -> None:
        """Bound the length of replies from now on."""
        for one in self._made:
            one.most_bytes = most_bytes


def _takes_by_place(function: Callable[..., Any], names: list[str]) -> bool:
    """Whether a handler gives its parameters these names, in this order, and takes them by place."""
    if type(function) is not MethodType or type(function.__func__) is not FunctionType:
        return False
    code = function.__func__.__code__
    taken = code.co_varnames[1 : code.co_argcount]
    return code.co_posonlyargcount <= 1 and list(taken[: len(names)]) == names
