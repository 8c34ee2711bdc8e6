"""The bases of written clients: one call, one stream, and the errors of the interface.

As light as a call by name: what is imported here, that has imported.
"""

from __future__ import annotations

from daemonry import faults
from daemonry.stubs.convert import TIMEOUT_S, declared, given, result

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping
    from typing import Any, ClassVar, TypeVar

    from daemonry.service.client.asynchronous import AsyncClient
    from daemonry.service.client.blocking import Client
    from daemonry.service.client.pool import Pool
    from daemonry.stubs.convert import Read

    T = TypeVar("T")


class BlockingStub:
    """The methods of one interface, over a client.

    Args:
        client: a connected client; its owner closes it.
        timeout_s: for each call, in seconds; of a stream, for the first value.
    """

    __slots__ = ("_client", "_timeout_s")

    _errors: ClassVar[Mapping[str, Callable[[Mapping[str, Any]], Any]]] = {}

    def __init__(self, client: Client, *, timeout_s: float = TIMEOUT_S) -> None:
        self._client = client
        self._timeout_s = timeout_s

    def _call(self, method: str, parameters: dict[str, Any], read: Read[T], *, idempotent: bool = False) -> T:
        try:
            fields = self._client.call(
                method, given(parameters), timeout_s=self._timeout_s, idempotent=idempotent
            )
        except faults.CallFailed as error:
            raise declared(error, self._errors) from None
        return result(method, fields, read)

    def _stream(self, method: str, parameters: dict[str, Any], read: Read[T]) -> Generator[T, None, None]:
        replies = self._client.stream(method, given(parameters), first_s=self._timeout_s)
        try:
            for fields in replies:
                yield result(method, fields, read)
        except faults.CallFailed as error:
            raise declared(error, self._errors) from None
        finally:
            replies.close()


class AsyncStub:
    """The methods of one interface, over a client of asyncio.

    Args:
        client: a connected client, or a pool; its owner closes it.
        timeout_s: for each call, in seconds; of a stream, for the first value.
    """

    __slots__ = ("_client", "_timeout_s")

    _errors: ClassVar[Mapping[str, Callable[[Mapping[str, Any]], Any]]] = {}

    def __init__(self, client: AsyncClient | Pool, *, timeout_s: float = TIMEOUT_S) -> None:
        self._client = client
        self._timeout_s = timeout_s

    async def _call(
        self, method: str, parameters: dict[str, Any], read: Read[T], *, idempotent: bool = False
    ) -> T:
        try:
            fields = await self._client.call(
                method, given(parameters), timeout_s=self._timeout_s, idempotent=idempotent
            )
        except faults.CallFailed as error:
            raise declared(error, self._errors) from None
        return result(method, fields, read)

    async def _stream(
        self, method: str, parameters: dict[str, Any], read: Read[T]
    ) -> AsyncGenerator[T, None]:
        replies = self._client.stream(method, given(parameters), first_s=self._timeout_s)
        try:
            async for fields in replies:
                yield result(method, fields, read)
        except faults.CallFailed as error:
            raise declared(error, self._errors) from None
        finally:
            await replies.aclose()
