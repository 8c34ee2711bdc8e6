"""What a daemon serves: implementations of interfaces, and what makes new ones for each run.

Owns telling the two apart, and the implementations of one run.  What a setup hook serves belongs to its
run, so that a daemon that is served twice in one process (direct mode) begins from nothing each time.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar, get_type_hints

from daemonry.service.interface.declare import Interface, described, place_of

Servable = Interface | Callable[[], Interface]
Kind = TypeVar("Kind", bound=Interface)

# The list of the run whose setup hooks are at work here, and the program's own list that it began as.
_setting_up: Final[ContextVar[tuple[list[Servable], list[Servable]] | None]] = ContextVar(
    "_setting_up", default=None
)


def add(services: list[Servable], one: Servable) -> None:
    """Add to what a daemon serves, or, in a setup hook, to what its run serves.

    Raises:
        NotDescribable, TypeError, ValueError: as `Daemon.serve`.
    """
    setting_up = _setting_up.get()
    if setting_up is not None and setting_up[1] is services:
        services = setting_up[0]
    name = described(interface_of(one)).name
    if any(interface_of(other).interface_name == name for other in services):
        raise ValueError(f"the interface {name} is served already")
    services.append(one)


def interface_of(one: Servable) -> type[Interface]:
    """Return the class of an implementation, or of what its maker makes.

    Raises:
        TypeError: it is neither, or the maker cannot be called without arguments.
    """
    if isinstance(one, Interface):
        return type(one)
    kind: Any = one.func if isinstance(one, functools.partial) else one
    if not isinstance(kind, type) and callable(kind):
        kind = get_type_hints(kind).get("return")
    if not isinstance(kind, type) or not issubclass(kind, Interface):
        raise TypeError(
            f"{_where(one)}an Interface's object, its class, or a function annotated with the class that it "
            f"returns can be served, and not {one!r}"
        )
    try:
        inspect.signature(one).bind()
    except TypeError as error:
        raise TypeError(
            f"{_where(one)}{kind.__name__} is made in each run without arguments: {error}"
        ) from None
    return kind


def _where(one: Any) -> str:
    place = place_of(one) if callable(one) else ""
    return f"{place}: " if place else ""


class Services:
    """The implementations of one run: made when first asked for, each once.

    Args:
        served: what the program serves.
    """

    def __init__(self, served: list[Servable]) -> None:
        self._program = served
        self._served = list(served)
        self._made: dict[type[Interface], Interface] = {}

    @contextmanager
    def setting_up(self) -> Iterator[None]:
        """Have what the program serves within belong to this run."""
        token = _setting_up.set((self._served, self._program))
        try:
            yield
        finally:
            _setting_up.reset(token)

    def all(self) -> Iterable[Interface]:
        """Return an implementation of everything that is served."""
        return [self._implementation(one) for one in self._served]

    def get(self, kind: type[Kind]) -> Kind:
        """Return the implementation of a class, or of an interface that it implements.

        Raises:
            LookupError: there is none.
        """
        for one in self._served:
            if issubclass(interface_of(one), kind):
                found = self._implementation(one)
                assert isinstance(found, kind)
                return found
        raise LookupError(f"{kind.__name__} is not served")

    def _implementation(self, one: Servable) -> Interface:
        if isinstance(one, Interface):
            return one
        kind = interface_of(one)
        if kind not in self._made:
            self._made[kind] = one()
        return self._made[kind]
