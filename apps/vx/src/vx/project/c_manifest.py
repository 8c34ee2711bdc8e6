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

Owns the file's form.  Pure.  A key that is not known is refused, with those that are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from vx.project import c_flags
from vx.project.errors import ProjectInvalid, Unsupported

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


def read(path: str, table: Mapping[str, Any]) -> CManifest:
    """Return what a vx.toml says.

    Raises:
        ProjectInvalid: it says nothing that can be built.
    """
    _known(path, "", table, ("project", "targets", "profile"))
    project = _table(path, "project", table.get("project", {}))
    _known(path, "project.", project, ("name",))
    name = project.get("name")
    if not isinstance(name, str) or not name:
        raise ProjectInvalid(path, "project.name is missing")
    given = _table(path, "targets", table.get("targets", {}))
    targets = {called: _target(path, called, fields) for called, fields in given.items()}
    if not targets:
        raise ProjectInvalid(path, "has no target: write [targets.NAME]")
    return CManifest(name, _in_order(path, targets), _profiles(path, table.get("profile", {})))


def _target(path: str, name: str, fields: Any) -> CTarget:
    where = f"targets.{name}"
    fields = _table(path, where, fields)
    if not name or not all(char.isalnum() or char in "-_.+" for char in name) or name.startswith("."):
        raise ProjectInvalid(path, f"{name!r} cannot be a target's name")
    texts = ("sources", "include", "defines", "flags", "link-flags", "needs")
    _known(path, f"{where}.", fields, ("kind", *texts))
    kind = fields.get("kind", PROGRAM)
    if kind not in (PROGRAM, STATIC_LIBRARY):
        raise ProjectInvalid(path, f"{where}.kind is {kind!r}, neither {PROGRAM!r} nor {STATIC_LIBRARY!r}")
    lists = {key: _texts(path, f"{where}.{key}", fields.get(key, [])) for key in texts}
    if not lists["sources"]:
        raise ProjectInvalid(path, f"{where}.sources is missing")
    for folder in (*lists["include"], *lists["sources"]):
        if folder.startswith("/") or ".." in folder.split("/"):
            raise ProjectInvalid(path, f"{where}: {folder!r} is outside the project")
    _refuse(path, where, c_flags.first_refused(lists["flags"]))
    _refuse(path, where, c_flags.first_refused_of_link(lists["link-flags"]))
    return CTarget(name, kind, *(lists[key] for key in texts))


def _refuse(path: str, where: str, flag: str | None) -> None:
    if flag is not None:
        advice = "folders belong in `include`" if flag.startswith(_FOLDERS) else _OWN_FLAGS
        raise Unsupported(path, f"the flag {flag!r} in {where}", advice)


def _profiles(path: str, table: Any) -> dict[str, tuple[str, ...]]:
    given = _table(path, "profile", table)
    _known(path, "profile.", given, tuple(_DEFAULT_FLAGS))
    flags = dict(_DEFAULT_FLAGS)
    for name, fields in given.items():
        where = f"profile.{name}"
        _known(path, f"{where}.", _table(path, where, fields), ("flags",))
        flags[name] = _texts(path, f"{where}.flags", fields.get("flags", []))
        _refuse(path, where, c_flags.first_refused(flags[name]))
    return flags


def _in_order(path: str, targets: Mapping[str, CTarget]) -> dict[str, CTarget]:
    ordered: dict[str, CTarget] = {}

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ProjectInvalid(path, f"targets need each other in a circle: {' -> '.join((*above, name))}")
        for needed in targets[name].needs:
            if needed not in targets:
                raise ProjectInvalid(path, f"targets.{name}.needs {needed!r}, which is no target")
            if targets[needed].kind != STATIC_LIBRARY:
                raise ProjectInvalid(path, f"targets.{name}.needs {needed!r}, which is no {STATIC_LIBRARY}")
            add(needed, (*above, name))
        ordered.setdefault(name, targets[name])

    for name in targets:
        add(name, ())
    return ordered


def _known(path: str, where: str, table: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    for key in table:
        if key not in keys:
            raise ProjectInvalid(path, f"{where}{key} is not known; there are {', '.join(keys)}")


def _table(path: str, where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ProjectInvalid(path, f"[{where}] is no table")
    return value


def _texts(path: str, where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ProjectInvalid(path, f"{where} is no list of strings")
    return tuple(value)
