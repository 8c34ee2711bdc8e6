"""The interface org.varlink.certification, from both sides, for trying any implementation of Varlink.

    python certification.py --varlink=unix:/tmp/certification.sock              the server
    python certification.py --client --varlink=unix:/tmp/certification.sock     the client

A client starts with `Start` and gives each method what the one before replied; the server compares
what it is given with what it should be.  The client ends with "Certification passed".
"""

import argparse
import math
import secrets
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from daemonry import CallError, Client, Context, Daemon, DaemonryError, Interface, method


class Four(TypedDict):
    """One value of each simple type."""

    bool: bool
    int: int
    float: float
    string: str


class Pair(TypedDict):
    """A struct without a name."""

    first: int
    second: str


class Anon(TypedDict):
    """Another one."""

    foo: bool
    bar: bool


@dataclass
class Nested:
    """Called `Interface` by others; what a type is called is not sent."""

    anon: Anon
    foo: list[dict[str, Literal["foo", "bar", "baz"]] | None] | None = None


@dataclass
class MyType:
    """One value of each type that is made of others."""

    object: Any
    enum: Literal["one", "two", "three"]
    struct: Pair
    array: list[str]
    dictionary: dict[str, str]
    stringset: set[str]
    interface: Nested
    nullable: str | None = None
    nullable_array_struct: list[Pair] | None = None


FOUR = Four(bool=False, int=2, float=math.pi, string="a lot of string")
MAP = {"foo": "Foo", "bar": "Bar"}
SET = {"one", "two", "three"}
MYTYPE = MyType(
    object={"method": "org.varlink.certification.Test09", "parameters": {"map": MAP}},
    enum="two",
    struct=Pair(first=1, second="2"),
    array=["one", "two", "three"],
    dictionary=MAP,
    stringset=SET,
    interface=Nested(
        foo=[None, {"foo": "foo", "bar": "bar"}, None, {"one": "foo", "two": "bar"}],
        anon=Anon(foo=True, bar=False),
    ),
)
REPLIES = [f"Reply number {n}" for n in range(1, 11)]
ORDER = ["start", *(f"test{n:02}" for n in range(1, 12)), "end"]


class ClientIdError(CallError):
    """No such client, or it has ended."""


class CertificationError(CallError):
    """A value, or the order of the calls, is not what it should be."""

    wants: Any
    got: Any


class Certification(Interface, name="org.varlink.certification", errors=(ClientIdError, CertificationError)):
    """Interface to test varlink implementations against."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    @method(reply="client_id")
    def start(self) -> str:
        """Return a new client's id; the next call is Test01."""
        client_id = secrets.token_hex(16)
        self._next[client_id] = 1
        return client_id

    @method(reply="bool")
    def test01(self, client_id: str) -> bool:
        """Nothing in, a bool out."""
        self._check(client_id, 1, None, None)
        return True

    @method(reply="int")
    def test02(self, client_id: str, bool_: bool) -> int:
        """A bool in, an int out."""
        self._check(client_id, 2, bool_, True)
        return 1

    @method(reply="float")
    def test03(self, client_id: str, int_: int) -> float:
        """An int in, a float out."""
        self._check(client_id, 3, int_, 1)
        return 1.0

    @method(reply="string")
    def test04(self, client_id: str, float_: float) -> str:
        """A float in, a string out."""
        self._check(client_id, 4, float_, 1.0)
        return "ping"

    def test05(self, client_id: str, string: str) -> Four:
        """A string in, one of each out."""
        self._check(client_id, 5, string, "ping")
        return FOUR

    @method(reply="struct")
    def test06(self, client_id: str, bool_: bool, int_: int, float_: float, string: str) -> Four:
        """One of each in, the same as a struct out."""
        self._check(client_id, 6, Four(bool=bool_, int=int_, float=float_, string=string), FOUR)
        return FOUR

    @method(reply="map")
    def test07(self, client_id: str, struct: Four) -> dict[str, str]:
        """A struct in, a map out."""
        self._check(client_id, 7, struct, FOUR)
        return MAP

    @method(reply="set")
    def test08(self, client_id: str, map_: dict[str, str]) -> set[str]:
        """A map in, a set of strings out."""
        self._check(client_id, 8, map_, MAP)
        return SET

    @method(reply="mytype")
    def test09(self, client_id: str, set_: set[str]) -> MyType:
        """A set in, a type made of all others out."""
        self._check(client_id, 9, sorted(set_), sorted(SET))
        return MYTYPE

    @method(reply="string")
    async def test10(self, client_id: str, mytype: MyType) -> AsyncIterator[str]:
        """Returns more than one reply with "continues"."""
        self._check(client_id, 10, mytype, MYTYPE)
        for reply in REPLIES:
            yield reply

    @method(oneway=True)
    def test11(self, context: Context, client_id: str, last_more_replies: list[str]) -> None:
        """Must be called as "oneway"."""
        self._check(client_id, 11, [context.oneway, *last_more_replies], [True, *REPLIES])

    @method(reply="all_ok")
    def end(self, client_id: str) -> bool:
        """Return whether all was as it should be."""
        self._check(client_id, 12, None, None)
        del self._next[client_id]
        return True

    def _check(self, client_id: str, step: int, got: object, wants: object) -> None:
        if client_id not in self._next:
            raise ClientIdError
        if self._next[client_id] != step:
            raise CertificationError(wants=ORDER[self._next[client_id]], got=ORDER[step])
        if got != wants:
            raise CertificationError(wants=wants, got=got)
        self._next[client_id] = step + 1


def run_client(address: str) -> None:
    """Call each method with what the one before replied."""
    with Client.connect(address) as client:
        peer = client.proxy(Certification)
        me = peer.start()
        bool_ = peer.test01(me)
        int_ = peer.test02(me, bool_)
        float_ = peer.test03(me, int_)
        string = peer.test04(me, float_)
        four = peer.test05(me, string)
        struct = peer.test06(me, four["bool"], four["int"], four["float"], four["string"])
        map_ = peer.test07(me, struct)
        set_ = peer.test08(me, map_)
        mytype = peer.test09(me, set_)
        replies = list(peer.test10(me, mytype))
        peer.test11(last_more_replies=replies, client_id=me)
        if not peer.end(me):
            raise SystemExit("End: not all is ok")
    print("Certification passed")


def main() -> None:
    """Be what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--client", action="store_true", help="call, instead of being called")
    parser.add_argument("--varlink", required=True, metavar="ADDRESS", help="unix:/path or tcp:host:port")
    arguments = parser.parse_args()
    if arguments.client:
        try:
            run_client(arguments.varlink)
        except DaemonryError as error:
            sys.exit(f"Certification failed: {error}")
    else:
        daemon = Daemon(
            "certification", version="1", endpoint=arguments.varlink, target="certification:daemon"
        )
        daemon.serve(Certification())
        daemon.main(["run"])


if __name__ == "__main__":
    main()
