"""One method of a daemon as a typed function: `client.remote(Counter.add)(1)`.

A proxy has the type of its interface class, so a type checker sees each method as the class declares it:
over a blocking client that is true of a `def`, over an asyncio client of an `async def` and of a stream.
Python's type system cannot say "all methods of this class, with other results" (docs/decisions.md, 260).
It can for a single function, and `remote` does: any method, over any client, with the parameters of its
declaration and the result that the caller gets.

Owns the types; the call is the proxy's.
"""

from __future__ import annotations

from daemonry.service.client.engine import CALL_TIMEOUT_S

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator
    from typing import Any, Concatenate, ParamSpec, TypeVar, final, overload

    from daemonry.service.interface.handler import Context, Upgrade
    from daemonry.transport.stream import Stream

    P = ParamSpec("P")
    R = TypeVar("R")

    @final
    class Nobody:
        """A type that nobody names: a first parameter that takes it takes anything, a `Context` too."""


class BlockingRemote:
    """`remote`, for a client that blocks."""

    __slots__ = ()

    if TYPE_CHECKING:

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, Nobody, ...], Any], *, timeout_s: float = ...
        ) -> Any: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, Context, P], AsyncIterator[R]], *, timeout_s: float = ...
        ) -> Callable[P, Generator[R, None, None]]: ...

        @overload
        def remote(
            self,
            method: Callable[Concatenate[Any, Context, P], Coroutine[Any, Any, Upgrade[R]]],
            *,
            timeout_s: float = ...,
        ) -> Callable[P, tuple[R, Stream]]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, Context, P], Upgrade[R]], *, timeout_s: float = ...
        ) -> Callable[P, tuple[R, Stream]]: ...

        @overload
        def remote(
            self,
            method: Callable[Concatenate[Any, Context, P], Coroutine[Any, Any, R]],
            *,
            timeout_s: float = ...,
        ) -> Callable[P, R]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, Context, P], R], *, timeout_s: float = ...
        ) -> Callable[P, R]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, P], AsyncIterator[R]], *, timeout_s: float = ...
        ) -> Callable[P, Generator[R, None, None]]: ...

        @overload
        def remote(
            self,
            method: Callable[Concatenate[Any, P], Coroutine[Any, Any, Upgrade[R]]],
            *,
            timeout_s: float = ...,
        ) -> Callable[P, tuple[R, Stream]]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, P], Upgrade[R]], *, timeout_s: float = ...
        ) -> Callable[P, tuple[R, Stream]]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], *, timeout_s: float = ...
        ) -> Callable[P, R]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, P], R], *, timeout_s: float = ...
        ) -> Callable[P, R]: ...

        def remote(self, method: Callable[..., Any], *, timeout_s: float = ...) -> Callable[..., Any]:
            """Return one method of the daemon as a function, with the types that the caller gets."""
    else:

        def remote(self, method: Callable[..., Any], *, timeout_s: float = CALL_TIMEOUT_S) -> Any:
            """Return one method of the daemon as a function, with the types that the caller gets.

            Args:
                method: a method of an interface class: `Counter.add`.  Its `Context`, if it takes one,
                    is not the caller's to give; type checkers know that where it comes first.
                timeout_s: as `proxy`.

            Raises:
                TypeError: it is not a method of an interface.
            """
            return _bound(self, method, timeout_s)


class AsyncRemote:
    """`remote`, for a client of asyncio."""

    __slots__ = ()

    if TYPE_CHECKING:

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, Nobody, ...], Any], *, timeout_s: float = ...
        ) -> Any: ...

        @overload
        def remote(  # type: ignore[overload-overlap]  # the first that fits is meant
            self, method: Callable[Concatenate[Any, Context, P], AsyncIterator[R]], *, timeout_s: float = ...
        ) -> Callable[P, AsyncGenerator[R, None]]: ...

        @overload
        def remote(
            self,
            method: Callable[Concatenate[Any, Context, P], Coroutine[Any, Any, Upgrade[R]]],
            *,
            timeout_s: float = ...,
        ) -> Callable[P, Coroutine[Any, Any, tuple[R, Socket, bytes]]]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, Context, P], Upgrade[R]], *, timeout_s: float = ...
        ) -> Callable[P, Coroutine[Any, Any, tuple[R, Socket, bytes]]]: ...

        @overload
        def remote(
            self,
            method: Callable[Concatenate[Any, Context, P], Coroutine[Any, Any, R]],
            *,
            timeout_s: float = ...,
        ) -> Callable[P, Coroutine[Any, Any, R]]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, Context, P], R], *, timeout_s: float = ...
        ) -> Callable[P, Coroutine[Any, Any, R]]: ...

        @overload
        def remote(  # type: ignore[overload-overlap]  # the first that fits is meant
            self, method: Callable[Concatenate[Any, P], AsyncIterator[R]], *, timeout_s: float = ...
        ) -> Callable[P, AsyncGenerator[R, None]]: ...

        @overload
        def remote(
            self,
            method: Callable[Concatenate[Any, P], Coroutine[Any, Any, Upgrade[R]]],
            *,
            timeout_s: float = ...,
        ) -> Callable[P, Coroutine[Any, Any, tuple[R, Socket, bytes]]]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, P], Upgrade[R]], *, timeout_s: float = ...
        ) -> Callable[P, Coroutine[Any, Any, tuple[R, Socket, bytes]]]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], *, timeout_s: float = ...
        ) -> Callable[P, Coroutine[Any, Any, R]]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, P], R], *, timeout_s: float = ...
        ) -> Callable[P, Coroutine[Any, Any, R]]: ...

        def remote(self, method: Callable[..., Any], *, timeout_s: float = ...) -> Callable[..., Any]:
            """Return one method of the daemon as a function, with the types that the caller gets."""
    else:

        def remote(self, method: Callable[..., Any], *, timeout_s: float = CALL_TIMEOUT_S) -> Any:
            """Return one method of the daemon as a function, with the types that the caller gets.

            Args:
                method: a method of an interface class: `Counter.add`.  Its `Context`, if it takes one,
                    is not the caller's to give; type checkers know that where it comes first.
                timeout_s: as `proxy`.

            Raises:
                TypeError: it is not a method of an interface.
            """
            return _bound(self, method, timeout_s)


def _bound(client: Any, method: Callable[..., Any], timeout_s: float) -> Any:
    from daemonry.service.interface.owner import owner_of

    kind, name = owner_of(method)
    return getattr(client.proxy(kind, timeout_s=timeout_s), name)
