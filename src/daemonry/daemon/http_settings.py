"""Where a daemon, or a home, is reached by HTTP, and what its program adds to the page.

Owns the settings and their checks.  They are made in every process of a program, in the quick commands
as well, so that making them imports nothing; serving by them is `daemonry.http`'s.
"""

from __future__ import annotations

from daemonry import faults
from daemonry.spelling import did_you_mean
from daemonry.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Final

# What an operator may say for a daemon whose program does not: `on`, or the address of a port.
VARIABLE: Final = "DAEMONRY_HTTP"
# The second word that a port beyond loopback needs.
BEYOND_VARIABLE: Final = "DAEMONRY_HTTP_BEYOND_LOOPBACK"

_MAX_PORT: Final = 65535
_OFF: Final = ("", "off", "no", "0")


class Part(Value):
    """What a program adds to the page: one ES module, and one endpoint that the module asks.

    Args:
        name: its name in addresses: letters, digits and `-`.
        title: what people read.
        module: the path of the ES module; it exports `mount(element, page)` (see docs/http.md).
        data: returns what `GET /v1/parts/NAME` answers, as JSON has it; may be `async`.

    Raises:
        ArgumentInvalid: the name cannot be one.
    """

    __slots__ = ("data", "module", "name", "title")
    data: Callable[[], Any]
    module: str
    name: str
    title: str

    def __init__(self, name: str, title: str, module: str, data: Callable[[], Any]) -> None:
        if not name or not name.isascii() or not name.replace("-", "").isalnum():
            raise faults.ArgumentInvalid(
                "Part(name)", f"{name!r} has other characters than letters, digits and '-'"
            )
        self._set(data=data, module=module, name=name, title=title)


class Http(Value):
    """HTTP for one daemon: on its own socket, and on a port where one is named.

    Args:
        port: a TCP port in addition to the daemon's socket; 0 for one that the system chooses, None for none.
        bind: the address of that port.
        hosts: further names that a client may give as `Host` on the port, without a port.
        beyond_loopback: has to be true where `bind` is not a loopback address.  Tokens and all else cross
            such a network in the clear.
        parts: what the program adds to the page.
        on: whether it is on without the operator's word; with False, these settings count once
            DAEMONRY_HTTP turns HTTP on.
        routes: `module:function` that is given the `daemonry.http.kit.Host` and returns a list of the
            program's own Starlette routes; imported with the first request.

    Raises:
        ArgumentInvalid: the port is out of range, or the address is beyond loopback and nobody said so twice.
    """

    __slots__ = ("beyond_loopback", "bind", "hosts", "on", "parts", "port", "routes")
    beyond_loopback: bool
    bind: str
    hosts: tuple[str, ...]
    on: bool
    parts: tuple[Part, ...]
    port: int | None
    routes: str

    def __init__(
        self,
        *,
        port: int | None = None,
        bind: str = "127.0.0.1",
        hosts: Iterable[str] = (),
        beyond_loopback: bool = False,
        on: bool = True,
        parts: Iterable[Part] = (),
        routes: str = "",
    ) -> None:
        if port is not None and (isinstance(port, bool) or not 0 <= port <= _MAX_PORT):
            raise faults.ArgumentInvalid("Http(port)", f"{port!r} is not a port: 0 to {_MAX_PORT}")
        if not is_loopback(bind) and not beyond_loopback:
            raise faults.ArgumentInvalid(
                "Http(bind)",
                f"{bind} is beyond loopback: every machine that reaches it may try to connect, and can read "
                f"traffic on its way; to allow that, set beyond_loopback=True ({BEYOND_VARIABLE}=yes)",
            )
        self._set(
            beyond_loopback=beyond_loopback,
            bind=bind,
            hosts=tuple(hosts),
            on=on,
            parts=tuple(parts),
            port=port,
            routes=routes,
        )

    def at(self, found: Http) -> Http:
        """Return these settings with the port of others."""
        return Http(
            port=found.port,
            bind=found.bind,
            hosts=(*self.hosts, *found.hosts),
            beyond_loopback=found.beyond_loopback,
            parts=self.parts,
            routes=self.routes,
        )


def is_loopback(address: str) -> bool:
    """Whether an address is reached from this machine only."""
    if address in ("localhost", "::1"):
        return True
    parts = address.split(".")
    return len(parts) == 4 and parts[0] == "127" and all(one.isdigit() and int(one) < 256 for one in parts)


def of_environment(environ: Mapping[str, str]) -> Http | None:
    """Return what an operator says in variables: `on`, a port, or ADDRESS:PORT; None for nothing.

    Raises:
        ArgumentInvalid: the variable says something else.
    """
    said = environ.get(VARIABLE, "").strip()
    if said.lower() in _OFF:
        return None
    return of_text(said, VARIABLE, beyond_loopback=environ.get(BEYOND_VARIABLE, "").strip().lower() == "yes")


def of_text(said: str, where: str, *, beyond_loopback: bool = False) -> Http:
    """Return what `on`, a port, or ADDRESS:PORT means.

    Raises:
        ArgumentInvalid: `where` says something else.
    """
    if said.lower() in ("on", "yes"):
        return Http()
    address, _, digits = said.rpartition(":")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 5:
        near = did_you_mean(said, ("on", "off"), "it takes")
        raise faults.ArgumentInvalid(where, f"{said!r} is not an address such as 127.0.0.1:7654 ({near})")
    bind = address.strip("[]") or "127.0.0.1"
    return Http(port=int(digits), bind=bind, beyond_loopback=beyond_loopback)
