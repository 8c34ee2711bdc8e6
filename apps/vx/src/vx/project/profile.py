"""Build profiles, dev and release: their keys, their defaults, and the compiler options they come to.

Owns cargo's rules for them (the profiles chapter of the Cargo book).  Pure.  A key that is not
known is refused by name: it would change the result and nobody would see why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from daemonry.typed_toml import ConfigText, dotted
from vx.project.errors import invalid, unsupported

DEV: Final = "dev"
RELEASE: Final = "release"

_DEBUG: Final[Mapping[Any, str]] = {
    "none": "0",
    "line-tables-only": "line-tables-only",
    "line-directives-only": "line-directives-only",
    "limited": "1",
    "full": "2",
    0: "0",
    1: "1",
    2: "2",
}
_STRIP: Final[Mapping[Any, str]] = {"none": "none", "debuginfo": "debuginfo", "symbols": "symbols"}
_OPT: Final = ("0", "1", "2", "3", "s", "z")
_LTO: Final = ("off", "thin", "fat")


class BuildProfile(msgspec.Struct, frozen=True):
    """One profile.

    Attributes:
        opt_level: 0 to 3, s or z.
        debug: the level of debug information, as `-C debuginfo` has it.
        strip: what the linker leaves out; "" for what follows from `debug`.
        debug_assertions, overflow_checks: whether they are compiled in; the optimisation does not say so.
        lto: `off`, `thin` or `fat`; "" for the compiler's default.
        panic: `unwind` or `abort`.
        codegen_units: None for the compiler's default.
        rpath: whether programs find shared libraries beside them.
    """

    opt_level: str
    debug: str
    debug_assertions: bool
    overflow_checks: bool
    strip: str = ""
    lto: str = ""
    panic: str = "unwind"
    codegen_units: int | None = None
    rpath: bool = False


DEFAULTS: Final[Mapping[str, BuildProfile]] = {
    DEV: BuildProfile("0", "2", debug_assertions=True, overflow_checks=True),
    RELEASE: BuildProfile("3", "0", debug_assertions=False, overflow_checks=False),
}


def profiles_of(source: ConfigText, table: Mapping[str, Any]) -> dict[str, BuildProfile]:
    """Return dev and release as a manifest's [profile] table has them.

    Raises:
        Unsupported: a key of theirs is not known.
        ProjectInvalid: a value cannot be one.
    """
    return {name: _read(source, name, table.get(name, {})) for name in (DEV, RELEASE)}


def rustc_options(profile: BuildProfile, *, executable: bool) -> list[str]:
    """Return the compiler options of a profile.

    Args:
        profile: the profile.
        executable: whether this is a program, or another thing that is linked at the end.
    """
    optimised = profile.opt_level != "0"
    options = [f"opt-level={profile.opt_level}"] if optimised else []
    if profile.debug != "0":
        options.append(f"debuginfo={profile.debug}")
    # What the compiler takes from the option before it needs no word.
    for name, value, follows in (
        ("debug-assertions", profile.debug_assertions, not optimised),
        ("overflow-checks", profile.overflow_checks, profile.debug_assertions),
    ):
        if value is not follows:
            options.append(f"{name}={'on' if value else 'off'}")
    if profile.panic == "abort":
        options.append("panic=abort")
    if profile.codegen_units is not None:
        options.append(f"codegen-units={profile.codegen_units}")
    options += _link_options(profile, executable=executable)
    return [word for option in options for word in ("-C", option)]


def _link_options(profile: BuildProfile, *, executable: bool) -> list[str]:
    if profile.lto in ("thin", "fat"):
        options = [f"lto={profile.lto}"] if executable else []
    else:
        options = ["embed-bitcode=no", *(["lto=off"] if profile.lto == "off" else [])]
    strip = profile.strip or ("debuginfo" if profile.debug == "0" else "none")
    if strip != "none":
        options.append(f"strip={strip}")
    return [*options, "rpath"] if profile.rpath else options


def _read(source: ConfigText, name: str, table: Any) -> BuildProfile:
    if not isinstance(table, dict):
        raise invalid(source, ("profile", name), "must be a table")
    changed: dict[str, Any] = {}
    for key, value in table.items():
        if key == "incremental":
            continue  # how it is compiled, not what comes out
        reader = _READERS.get(key)
        if reader is None:
            raise unsupported(source, ("profile", name, key), dotted(("profile", name, key)))
        try:
            changed[key.replace("-", "_")] = reader(value)
        except (KeyError, TypeError, ValueError):
            raise invalid(source, ("profile", name, key), f"cannot be {value!r}") from None
    return msgspec.structs.replace(DEFAULTS[name], **changed)


def _one_of(*values: str) -> Any:
    def read(value: Any) -> str:
        if str(value) not in values:
            raise ValueError
        return str(value)

    return read


def _debug(value: Any) -> str:
    if isinstance(value, bool):
        return "2" if value else "0"
    return _DEBUG[value]


def _strip(value: Any) -> str:
    if isinstance(value, bool):
        return "symbols" if value else "none"
    return _STRIP[value]


def _lto(value: Any) -> str:
    if isinstance(value, bool):
        return "fat" if value else ""
    if value not in _LTO:
        raise ValueError
    return str(value)


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _units(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError
    return value


_READERS: Final[Mapping[str, Any]] = {
    "opt-level": _one_of(*_OPT),
    "debug": _debug,
    "strip": _strip,
    "debug-assertions": _bool,
    "overflow-checks": _bool,
    "lto": _lto,
    "panic": _one_of("unwind", "abort"),
    "codegen-units": _units,
    "rpath": _bool,
}
