"""The base of small frozen values: equality, hash and repr from `__slots__`.

Owns that and nothing else.  It stands where a frozen dataclass would, because importing
`dataclasses` (and `re`, `inspect` behind it) costs more than a whole `status` command may.
"""

from __future__ import annotations


class Value:
    """A frozen value whose identity is its slots, in their order.

    Subclasses name `__slots__` and set them in `__init__` through `_set`.
    """

    __slots__: tuple[str, ...] = ()

    def _set(self, **fields: object) -> None:
        put = object.__setattr__
        for name, value in fields.items():
            put(self, name, value)

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in type(self).__slots__)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: cannot delete {name!r}")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), *self._values()))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in type(self).__slots__)
        return f"{type(self).__name__}({fields})"

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), self._values()
