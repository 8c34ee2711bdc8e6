"""vx.toml: a C or C++ project: its targets, their sources, include folders and flags.

    [project]
    name = "hello"

    [targets.hello]
    kind = "program"                # or "static-library"; a program if left out
    sources = ["src/*.c"]           # patterns; `**` for any folders between
    include = ["include"]           # folders, relative to this file
    defines = ["LIMIT=3"]
    flags = ["-Wall"]               # for the compiler
    link-flags = ["-lm"]            # for the linker
    needs = ["util"]                # other targets, static libraries, to link with

    [profile.release]
    flags = ["-O3"]                 # instead of -O2; of dev, instead of -O0 -g

Owns the file's form.  Pure.  A key that is not known is refused, with the nearest that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from daemonry.errors import ConfigError
from daemonry.spelling import did_you_mean
from daemonry.typed_toml import ConfigText, KeyPath, dotted
from vx.project import c_flags
from vx.project.errors import ProjectInvalid, invalid, unsupported

PROGRAM: Final = "program"
STATIC_LIBRARY: Final = "static-library"

_FOLDERS: Final = ("-I", "-iquote", "-isystem", "-idirafter")
_OWN_FLAGS: Final = "it is not known to write nothing; CFLAGS and LDFLAGS take any, for they are your own"
_DEFAULT_FLAGS: Final = {"dev": ("-O0", "-g"), "release": ("-O2",)}


class CTarget(msgspec.Struct, frozen=True):
    """One target: see the module."""

    name: str
    kind: str
    sources: tuple[str, ...]
    include: tuple[str, ...]
    defines: tuple[str, ...]
    flags: tuple[str, ...]
    link_flags: tuple[str, ...]
    needs: tuple[str, ...]


class CManifest(msgspec.Struct, frozen=True):
    """A vx.toml.

    Attributes:
        name: of the project.
        targets: by name, each after those that it needs.
        profile_flags: by profile.
    """

    name: str
    targets: dict[str, CTarget]
    profile_flags: dict[str, tuple[str, ...]]


def read(source: ConfigText) -> CManifest:
    """Return what a vx.toml says.

    Raises:
        ProjectInvalid: it says nothing that can be built.
    """
    table = source.values
    _known(source, (), table, ("project", "targets", "profile"))
    project = _table(source, ("project",), table.get("project", {}))
    _known(source, ("project",), project, ("name",))
    name = project.get("name")
    if not isinstance(name, str) or not name:
        raise invalid(source, ("project", "name"), "is missing" if name is None else "is no name")
    given = _table(source, ("targets",), table.get("targets", {}))
    targets = {called: _target(source, called, fields) for called, fields in given.items()}
    if not targets:
        raise invalid(source, (), "has no target: write [targets.NAME]")
    return CManifest(name, _in_order(source, targets), _profiles(source, table.get("profile", {})))


def _target(source: ConfigText, name: str, fields: Any) -> CTarget:
    where = ("targets", name)
    fields = _table(source, where, fields)
    if not name or not all(char.isalnum() or char in "-_.+" for char in name) or name.startswith("."):
        raise invalid(source, where, f"{name!r} cannot be a target's name")
    texts = ("sources", "include", "defines", "flags", "link-flags", "needs")
    _known(source, where, fields, ("kind", *texts))
    kind = fields.get("kind", PROGRAM)
    if kind not in (PROGRAM, STATIC_LIBRARY):
        raise invalid(source, (*where, "kind"), f"{kind!r} is neither {PROGRAM!r} nor {STATIC_LIBRARY!r}")
    lists = {key: _texts(source, (*where, key), fields.get(key, [])) for key in texts}
    if not lists["sources"]:
        raise invalid(source, (*where, "sources"), "is missing")
    for key in ("include", "sources"):
        for number, folder in enumerate(lists[key]):
            if folder.startswith("/") or ".." in folder.split("/"):
                raise invalid(source, (*where, key, number), f"{folder!r} is outside the project")
    _refuse(source, (*where, "flags"), lists["flags"], c_flags.first_refused(lists["flags"]))
    _refuse(
        source,
        (*where, "link-flags"),
        lists["link-flags"],
        c_flags.first_refused_of_link(lists["link-flags"]),
    )
    return CTarget(name, kind, *(lists[key] for key in texts))


def _refuse(source: ConfigText, where: KeyPath, flags: tuple[str, ...], refused: str | None) -> None:
    if refused is not None:
        advice = "folders belong in `include`" if refused.startswith(_FOLDERS) else _OWN_FLAGS
        place = (*where, flags.index(refused)) if refused in flags else where
        raise unsupported(source, place, f"the flag {refused!r} in {dotted(where[:-1])}", advice)


def _profiles(source: ConfigText, table: Any) -> dict[str, tuple[str, ...]]:
    given = _table(source, ("profile",), table)
    _known(source, ("profile",), given, tuple(_DEFAULT_FLAGS))
    flags = dict(_DEFAULT_FLAGS)
    for name, fields in given.items():
        where = ("profile", name)
        _known(source, where, _table(source, where, fields), ("flags",))
        flags[name] = _texts(source, (*where, "flags"), fields.get("flags", []))
        _refuse(source, (*where, "flags"), flags[name], c_flags.first_refused(flags[name]))
    return flags


def _in_order(source: ConfigText, targets: Mapping[str, CTarget]) -> dict[str, CTarget]:
    ordered: dict[str, CTarget] = {}

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            circle = " -> ".join((*above, name))
            raise invalid(
                source, ("targets", name, "needs"), f"targets need each other in a circle: {circle}"
            )
        for number, needed in enumerate(targets[name].needs):
            where = ("targets", name, "needs", number)
            if needed not in targets:
                raise invalid(
                    source, where, f"{needed!r} is no target: {did_you_mean(needed, targets, 'there are')}"
                )
            if targets[needed].kind != STATIC_LIBRARY:
                raise invalid(source, where, f"{needed!r} is no {STATIC_LIBRARY}")
            add(needed, (*above, name))
        ordered.setdefault(name, targets[name])

    for name in targets:
        add(name, ())
    return ordered


def _known(source: ConfigText, where: KeyPath, table: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    try:
        source.refuse_unknown(table, keys, where)
    except ConfigError as error:
        raise ProjectInvalid.of(error) from None


def _table(source: ConfigText, where: KeyPath, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(source, where, "is no table")
    return value


def _texts(source: ConfigText, where: KeyPath, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise invalid(source, where, "is no list of strings")
    return tuple(value)
