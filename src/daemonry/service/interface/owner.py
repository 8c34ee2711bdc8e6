"""Which interface a method belongs to: `Counter.add` says `Counter` and `"add"`.

A function does not know its class, so each interface notes it when it is made.  A method that two interfaces
share by inheritance belongs to neither alone: that is an error, and never a guess.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

_OWNER = "__daemonry_owner__"


def note_methods(kind: type[Any]) -> None:
    """Note a class as the owner of the public functions in its own body."""
    for name, function in vars(kind).items():
        if isinstance(function, FunctionType) and not name.startswith("_"):
            setattr(function, _OWNER, (kind, name))


def owner_of(method: Any) -> tuple[type[Any], str]:
    """Return the interface class of a method, and the method's name in it.

    Raises:
        TypeError: it is not a method of an interface, or of more than one.
    """
    found = getattr(method, _OWNER, None)
    if found is None or not isinstance(method, FunctionType):
        raise TypeError(f"expected a method of an Interface class, such as Counter.add, got {method!r}")
    kind, name = found
    names = {kind.interface_name, *_other_names(kind, name, method)}
    if len(names) > 1:
        shared = " and ".join(sorted(names))
        raise TypeError(f"{method.__qualname__} is a method of {shared}: call it by a proxy of one of them")
    return kind, name


def _other_names(kind: type[Any], name: str, method: Any) -> set[str]:
    found: set[str] = set()
    for other in kind.__subclasses__():
        if getattr(other, name, None) is method:
            found |= {other.interface_name, *_other_names(other, name, method)}
    return found - {""}
