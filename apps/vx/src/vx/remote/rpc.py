"""Calls of a server: one channel, and each call with a deadline, headers, and an error in one line.

Owns the channel, its TLS, and what counts as a failure that another try may mend.  No keep-alive pings: a
server may answer those by GOAWAY; every call has a deadline in their place.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Generic, NamedTuple, TypeVar

import grpc
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from google.protobuf.message import Message

from daemonry import open_regular
from daemonry.cli.kit import printable
from vx.remote.credentials import Credentials
from vx.remote.failed_connections import in_words
from vx.remote.failures import RemoteFailed
from vx.remote.protos import bytestream_pb2
from vx.remote.protos import remote_execution_pb2 as reapi
from vx.remote.settings import RemoteSettings, target_of

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)

# More than the 4 MiB that a server sends by default; beyond it an answer is refused.
MAX_MESSAGE_BYTES: Final = 16 << 20
# A connection that was closed by GOAWAY is made again by the next call.
_TRIES: Final = 2
_AGAIN_S: Final = 0.1
_MAX_REASON_CHARS: Final = 200

_REAPI: Final = "/build.bazel.remote.execution.v2"


class Method(NamedTuple, Generic[Request, Reply]):
    """A method of a service.

    Attributes:
        path: its full name.
        request: the type of its requests.
        reply: the type of its replies.
    """

    path: str
    request: type[Request]
    reply: type[Reply]


CAPABILITIES: Final = Method(
    f"{_REAPI}.Capabilities/GetCapabilities", reapi.GetCapabilitiesRequest, reapi.ServerCapabilities
)
FIND_MISSING: Final = Method(
    f"{_REAPI}.ContentAddressableStorage/FindMissingBlobs",
    reapi.FindMissingBlobsRequest,
    reapi.FindMissingBlobsResponse,
)
BATCH_UPDATE: Final = Method(
    f"{_REAPI}.ContentAddressableStorage/BatchUpdateBlobs",
    reapi.BatchUpdateBlobsRequest,
    reapi.BatchUpdateBlobsResponse,
)
BATCH_READ: Final = Method(
    f"{_REAPI}.ContentAddressableStorage/BatchReadBlobs",
    reapi.BatchReadBlobsRequest,
    reapi.BatchReadBlobsResponse,
)
GET_RESULT: Final = Method(
    f"{_REAPI}.ActionCache/GetActionResult", reapi.GetActionResultRequest, reapi.ActionResult
)
UPDATE_RESULT: Final = Method(
    f"{_REAPI}.ActionCache/UpdateActionResult", reapi.UpdateActionResultRequest, reapi.ActionResult
)
EXECUTE: Final = Method(f"{_REAPI}.Execution/Execute", reapi.ExecuteRequest, operations_pb2.Operation)
WAIT: Final = Method(
    f"{_REAPI}.Execution/WaitExecution", reapi.WaitExecutionRequest, operations_pb2.Operation
)
CANCEL: Final = Method(
    "/google.longrunning.Operations/CancelOperation",
    operations_pb2.CancelOperationRequest,
    empty_pb2.Empty,
)
READ: Final = Method(
    "/google.bytestream.ByteStream/Read", bytestream_pb2.ReadRequest, bytestream_pb2.ReadResponse
)
WRITE: Final = Method(
    "/google.bytestream.ByteStream/Write", bytestream_pb2.WriteRequest, bytestream_pb2.WriteResponse
)


class Rpc:
    """A server, as one channel reaches it.

    Args:
        url: where.
        settings: headers and TLS.

    Raises:
        RemoteFailed: a certificate cannot be read.
    """

    def __init__(self, url: str, settings: RemoteSettings) -> None:
        self.url = url
        self.credentials = Credentials(url, settings.headers, settings.credential_helper)
        self._settings = settings
        self._lock = threading.Lock()
        self._made: grpc.Channel | None = None

    def unary(self, method: Method[Request, Reply], request: Request, timeout_s: float) -> Reply:
        """Return the answer to a request, which may be sent twice.

        Raises:
            RemoteFailed: it did not come.
        """
        for left in reversed(range(_TRIES)):
            call = self._channel().unary_unary(method.path, _bytes_of, method.reply.FromString)
            try:
                return call(request, timeout=timeout_s, metadata=self.credentials.metadata())
            except grpc.RpcError as error:
                failed = self.failure(error)
                if not left or failed.code not in ("UNAVAILABLE", "UNAUTHENTICATED"):
                    raise failed from None
            time.sleep(_AGAIN_S)
        raise AssertionError("the last try returns or raises")

    def begun(self, method: Method[Request, Reply], request: Request, timeout_s: float) -> Any:
        """Return a call whose answer is returned by `answer`; it can be cancelled."""
        call = self._channel().unary_unary(method.path, _bytes_of, method.reply.FromString)
        return call.future(request, timeout=timeout_s, metadata=self.credentials.metadata())

    def answer(self, call: Any) -> Any:
        """Return the answer of a call that was begun.

        Raises:
            RemoteFailed: it did not come; its code is CANCELLED where the call was cancelled.
        """
        try:
            return call.result()
        except grpc.FutureCancelledError:
            raise RemoteFailed("it was cancelled here", "CANCELLED") from None
        except grpc.RpcError as error:
            raise self.failure(error) from None

    def streamed(self, method: Method[Request, Reply], request: Request, timeout_s: float) -> Any:
        """Return a call whose answers are iterated over, by `answers`; it can be cancelled."""
        call = self._channel().unary_stream(method.path, _bytes_of, method.reply.FromString)
        return call(request, timeout=timeout_s, metadata=self.credentials.metadata())

    def answers(self, call: Iterable[Reply]) -> Iterator[Reply]:
        """Yield the answers of a call.

        Raises:
            RemoteFailed: they end with an error.
        """
        try:
            yield from call
        except grpc.RpcError as error:
            raise self.failure(error) from None

    def sent(self, method: Method[Request, Reply], requests: Iterator[Request], timeout_s: float) -> Reply:
        """Return the answer to a stream of requests.

        Raises:
            RemoteFailed: it did not come.
        """
        call = self._channel().stream_unary(method.path, _bytes_of, method.reply.FromString)
        try:
            return call(requests, timeout=timeout_s, metadata=self.credentials.metadata())
        except grpc.RpcError as error:
            raise self.failure(error) from None

    def failure(self, error: grpc.RpcError) -> RemoteFailed:
        """Return the error for one of gRPC's."""
        call: Any = error  # all that a channel raises are calls, too
        code = str(call.code().name)
        details = str(call.details())
        if code == "UNAUTHENTICATED":
            self.credentials.forget()
        details = in_words(details, tls=self.url.startswith("grpcs:"))
        told = printable(details.partition("\n")[0], _MAX_REASON_CHARS)
        return RemoteFailed(f"{code}: {told}" if told else code, code)

    def close(self) -> None:
        """Close the channel; calls under way are cancelled."""
        with self._lock:
            if self._made is not None:
                self._made.close()
                self._made = None

    def _channel(self) -> grpc.Channel:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> grpc.Channel:
        target = target_of(self.url)
        assert target is not None, "the settings were checked"
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            # A server that comes back is used within seconds.
            ("grpc.max_reconnect_backoff_ms", 5000),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.enable_http_proxy", 0),
        ]
        if not target.tls:
            return grpc.insecure_channel(target.name, options=options)
        settings = self._settings
        certificates = [
            _content(path) for path in (settings.tls_ca, settings.tls_key, settings.tls_certificate)
        ]
        return grpc.secure_channel(target.name, grpc.ssl_channel_credentials(*certificates), options=options)


def _content(path: str) -> bytes | None:
    if not path:
        return None
    try:
        with open(open_regular(path), "rb") as file:
            return file.read(1 << 20)
    except OSError as error:
        raise RemoteFailed(f"{path}: {error.strerror}") from None


_bytes_of: Callable[[Message], bytes] = lambda message: message.SerializeToString(deterministic=True)  # noqa: E731
