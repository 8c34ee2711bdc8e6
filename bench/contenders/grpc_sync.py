"""grpcio: its server with a thread pool, its blocking client, protobuf messages made at run time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from question import answer

_FIELDS = descriptor_pb2.FieldDescriptorProto


def _messages() -> tuple[Any, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="bench.proto", package="bench", syntax="proto3")
    file.message_type.add(name="Ask")
    status = file.message_type.add(name="Status")
    for number, (name, value) in enumerate(answer().items(), 1):
        kind = _FIELDS.TYPE_STRING if isinstance(value, str) else _FIELDS.TYPE_INT64
        status.field.add(name=name, number=number, type=kind, label=_FIELDS.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made = (pool.FindMessageTypeByName(f"bench.{name}") for name in ("Ask", "Status"))
    ask, reply = (message_factory.GetMessageClass(one) for one in made)
    return ask, reply


_Ask, _Status = _messages()


def _status(_asked: Any, _context: Any) -> Any:
    return _Status(**answer())


def serve(path: str) -> None:
    """Answer, for ever."""
    server = grpc.server(ThreadPoolExecutor(8))
    handler = grpc.unary_unary_rpc_method_handler(_status, _Ask.FromString, _Status.SerializeToString)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("bench.Bench", {"Status": handler}),)
    )
    server.add_insecure_port(f"unix:{path}")
    server.start()
    server.wait_for_termination()


class Client:
    """One channel, which is not shared with others of the process."""

    def __init__(self, path: str) -> None:
        self._channel = grpc.insecure_channel(f"unix:{path}", [("grpc.use_local_subchannel_pool", 1)])
        self._ask = self._channel.unary_unary(
            "/bench.Bench/Status", _Ask.SerializeToString, _Status.FromString
        )

    def call(self) -> object:
        """Ask, and wait for the answer."""
        reply = self._ask(_Ask())
        return {name: getattr(reply, name) for name in _NAMES}

    def close(self) -> None:
        """End the connection."""
        self._channel.close()


_NAMES = tuple(answer())
