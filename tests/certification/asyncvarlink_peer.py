"""The certification interface on asyncvarlink, whose own script for it is not in its wheel.

python asyncvarlink_peer.py PATH              the server; says "ready"
python asyncvarlink_peer.py --client PATH     the client; ends with "Certification passed"
"""

# ruff: noqa: A002, D106, N802  # the parameters' and methods' names are the interface's

import asyncio
import math
import sys
from collections.abc import AsyncIterator
from typing import Any, Literal, TypedDict

from asyncvarlink import (
    TypedVarlinkErrorReply,
    VarlinkClientProtocol,
    VarlinkInterface,
    VarlinkInterfaceProxy,
    VarlinkInterfaceRegistry,
    VarlinkInterfaceServerProtocol,
    connect_unix_varlink,
    create_unix_server,
    varlinkmethod,
)
from asyncvarlink.serviceinterface import VarlinkServiceInterface


class Four(TypedDict):
    bool: bool
    int: int
    float: float
    string: str


class Pair(TypedDict):
    first: int
    second: str


class Anon(TypedDict):
    foo: bool
    bar: bool


class Nested(TypedDict):
    foo: list[dict[str, Literal["foo", "bar", "baz"]] | None] | None
    anon: Anon


class MyType(TypedDict):
    object: Any
    enum: Literal["one", "two", "three"]
    struct: Pair
    array: list[str]
    dictionary: dict[str, str]
    stringset: set[str]
    nullable: str | None
    nullable_array_struct: list[Pair] | None
    interface: Nested


FOUR = {"bool": False, "int": 2, "float": math.pi, "string": "a lot of string"}
MAP = {"foo": "Foo", "bar": "Bar"}
SET = {"one", "two", "three"}
MYTYPE = {
    "object": {"method": "org.varlink.certification.Test09", "parameters": {"map": MAP}},
    "enum": "two",
    "struct": {"first": 1, "second": "2"},
    "array": ["one", "two", "three"],
    "dictionary": MAP,
    "stringset": SET,
    "nullable": None,
    "nullable_array_struct": None,
    "interface": {
        "foo": [None, {"foo": "foo", "bar": "bar"}, None, {"one": "foo", "two": "bar"}],
        "anon": {"foo": True, "bar": False},
    },
}
REPLIES = [f"Reply number {n}" for n in range(1, 11)]


class CertificationError(TypedVarlinkErrorReply, interface="org.varlink.certification"):
    class Parameters:
        wants: str
        got: str


def check(client_id, got, wants):
    if client_id != "me" or got != wants:
        raise CertificationError(wants=repr(wants), got=repr(got))


class Certification(VarlinkInterface, name="org.varlink.certification"):
    errors = (CertificationError,)

    @varlinkmethod(return_parameter="client_id")
    def Start(self) -> str:
        return "me"

    @varlinkmethod(return_parameter="bool")
    def Test01(self, *, client_id: str) -> bool:
        check(client_id, None, None)
        return True

    @varlinkmethod(return_parameter="int")
    def Test02(self, *, client_id: str, bool: bool) -> int:
        check(client_id, bool, True)
        return 1

    @varlinkmethod(return_parameter="float")
    def Test03(self, *, client_id: str, int: int) -> float:
        check(client_id, int, 1)
        return 1.0

    @varlinkmethod(return_parameter="string")
    def Test04(self, *, client_id: str, float: float) -> str:
        check(client_id, float, 1.0)
        return "ping"

    @varlinkmethod
    def Test05(self, *, client_id: str, string: str) -> Four:
        check(client_id, string, "ping")
        return FOUR

    @varlinkmethod(return_parameter="struct")
    def Test06(self, *, client_id: str, bool: bool, int: int, float: float, string: str) -> Four:
        check(client_id, {"bool": bool, "int": int, "float": float, "string": string}, FOUR)
        return FOUR

    @varlinkmethod(return_parameter="map")
    def Test07(self, *, client_id: str, struct: Four) -> dict[str, str]:
        check(client_id, struct, FOUR)
        return MAP

    @varlinkmethod(return_parameter="set")
    def Test08(self, *, client_id: str, map: dict[str, str]) -> set[str]:
        check(client_id, map, MAP)
        return SET

    @varlinkmethod(return_parameter="mytype", allow_foreign=True)
    def Test09(self, *, client_id: str, set: set[str]) -> MyType:
        check(client_id, set, SET)
        return MYTYPE

    @varlinkmethod(return_parameter="string", allow_foreign=True)
    async def Test10(self, *, client_id: str, mytype: MyType) -> AsyncIterator[str]:
        check(client_id, mytype, MYTYPE)
        for reply in REPLIES:
            yield reply

    @varlinkmethod
    def Test11(self, *, client_id: str, last_more_replies: list[str]) -> None:
        self.given = last_more_replies

    @varlinkmethod(return_parameter="all_ok")
    def End(self, *, client_id: str) -> bool:
        check(client_id, self.given, REPLIES)
        return True


async def call(path):
    transport, protocol = await connect_unix_varlink(VarlinkClientProtocol, path)
    peer = VarlinkInterfaceProxy(protocol, Certification)
    me = (await peer.Start())["client_id"]
    found = await peer.Test01(client_id=me)
    for name in ("Test02", "Test03", "Test04", "Test05", "Test06", "Test07", "Test08", "Test09"):
        found = await getattr(peer, name)(client_id=me, **found)
    replies = [reply["string"] async for reply in peer.Test10(client_id=me, **found)]
    await peer.Test11.oneway(client_id=me, last_more_replies=replies)
    assert (await peer.End(client_id=me))["all_ok"]
    transport.close()
    print("Certification passed")


async def serve(path):
    registry = VarlinkInterfaceRegistry()
    registry.register_interface(VarlinkServiceInterface("asyncvarlink", "test", "1", "", registry))
    registry.register_interface(Certification())
    server = await create_unix_server(lambda: VarlinkInterfaceServerProtocol(registry), path)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(call(sys.argv[2]) if sys.argv[1] == "--client" else serve(sys.argv[1]))
