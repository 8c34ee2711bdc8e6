"""One method of a daemon as a typed function in a pipeline: `pipeline.remote(Counter.add)(1).result()`.

Owns the types, as `remote` does for clients: a function with the parameters of the method's declaration that
returns the call whose result is the method's.  A method that streams, upgrades or passes descriptors cannot
be called so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daemonry.service.interface.owner import owner_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import Concatenate, NoReturn, ParamSpec, TypeVar, overload

    from daemonry.service.client.async_pending_call import AsyncPendingCall
    from daemonry.service.client.pending_call import PendingCall
    from daemonry.service.client.remote import Nobody
    from daemonry.service.interface.handler import Context, Upgrade

    P = ParamSpec("P")
    R = TypeVar("R")


class PipelinedRemote:
    """`remote`, for a pipeline that blocks."""

    __slots__ = ()

    if TYPE_CHECKING:

        @overload
        def remote(self, method: Callable[Concatenate[Any, Nobody, ...], Any], /) -> Any: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, Context, P], AsyncIterator[R]], /
        ) -> Callable[P, NoReturn]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, Context, P], Coroutine[Any, Any, Upgrade[R]]], /
        ) -> Callable[P, NoReturn]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, Context, P], Upgrade[R]], /
        ) -> Callable[P, NoReturn]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, Context, P], Coroutine[Any, Any, R]], /
        ) -> Callable[P, PendingCall[R]]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, Context, P], R], /
        ) -> Callable[P, PendingCall[R]]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, P], AsyncIterator[R]], /
        ) -> Callable[P, NoReturn]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, P], Coroutine[Any, Any, Upgrade[R]]], /
        ) -> Callable[P, NoReturn]: ...

        @overload
        def remote(self, method: Callable[Concatenate[Any, P], Upgrade[R]], /) -> Callable[P, NoReturn]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
        ) -> Callable[P, PendingCall[R]]: ...

        @overload
        def remote(self, method: Callable[Concatenate[Any, P], R], /) -> Callable[P, PendingCall[R]]: ...

        def remote(self, method: Callable[..., Any], /) -> Callable[..., Any]:
            """Return one method of the daemon as a function, with the type of its call."""
    else:

        def remote(self, method: Callable[..., Any], /) -> Any:
            """Return one method of the daemon as a function, with the type of its call.

            Args:
                method: a method of an interface class: `Counter.add`.

            Raises:
                TypeError: no interface has this method.
            """
            return _bound(self, method)


class AsyncPipelinedRemote:
    """`remote`, for a pipeline of asyncio."""

    __slots__ = ()

    if TYPE_CHECKING:

        @overload
        def remote(self, method: Callable[Concatenate[Any, Nobody, ...], Any], /) -> Any: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, Context, P], AsyncIterator[R]], /
        ) -> Callable[P, NoReturn]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, Context, P], Coroutine[Any, Any, Upgrade[R]]], /
        ) -> Callable[P, NoReturn]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, Context, P], Upgrade[R]], /
        ) -> Callable[P, NoReturn]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, Context, P], Coroutine[Any, Any, R]], /
        ) -> Callable[P, AsyncPendingCall[R]]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, Context, P], R], /
        ) -> Callable[P, AsyncPendingCall[R]]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, P], AsyncIterator[R]], /
        ) -> Callable[P, NoReturn]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, P], Coroutine[Any, Any, Upgrade[R]]], /
        ) -> Callable[P, NoReturn]: ...

        @overload
        def remote(self, method: Callable[Concatenate[Any, P], Upgrade[R]], /) -> Callable[P, NoReturn]: ...

        @overload
        def remote(
            self, method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
        ) -> Callable[P, AsyncPendingCall[R]]: ...

        @overload
        def remote(self, method: Callable[Concatenate[Any, P], R], /) -> Callable[P, AsyncPendingCall[R]]: ...

        def remote(self, method: Callable[..., Any], /) -> Callable[..., Any]:
            """Return one method of the daemon as a function, with the type of its call."""
    else:

        def remote(self, method: Callable[..., Any], /) -> Any:
            """Return one method of the daemon as a function, with the type of its call.

            Args:
                method: a method of an interface class: `Counter.add`.

            Raises:
                TypeError: no interface has this method.
            """
            return _bound(self, method)


def _bound(pipeline: Any, method: Callable[..., Any]) -> Any:
    kind, name = owner_of(method)
    return getattr(pipeline.proxy(kind), name)
