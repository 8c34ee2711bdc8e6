"""vx.toml: a C or C++ project: its targets, their sources, include folders and flags.

    [project]
    name = "hello"

    [targets.hello]
    kind = "program"                # or "static-library", "shared-library"; a program if left out
    sources = ["src/*.c"]           # patterns; `**` for any folders between
    include = ["include"]           # folders, relative to this file
    defines = ["LIMIT=3"]
    flags = ["-Wall"]               # for the compiler
    link-flags = ["-lm"]            # for the linker
    needs = ["util"]                # other targets, libraries, to link with
    generated = ["version"]         # commands whose outputs are compiled, or found by #include
    version-script = "hello.map"    # of a shared library: which symbols it shows
    file-flags = { "src/x.c" = ["-O3"] }    # for one source, behind all others

    [commands.version]
    command = ["sh", "version.sh", "%{out}/version.h"]
    inputs = ["version.sh", "VERSION"]      # patterns: its inputs
    outputs = ["version.h"]                 # its outputs, in %{out}

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
SHARED_LIBRARY: Final = "shared-library"
KINDS: Final = (PROGRAM, STATIC_LIBRARY, SHARED_LIBRARY)

_FOLDERS: Final = ("-I", "-iquote", "-isystem", "-idirafter")
_OWN_FLAGS: Final = "it is not known to write nothing; CFLAGS and LDFLAGS are your own, and take others"
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
    generated: tuple[str, ...] = ()
    version_script: str = ""
    file_flags: dict[str, tuple[str, ...]] = {}


class CCommand(msgspec.Struct, frozen=True):
    """One command: see the module."""

    name: str
    command: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    generated: tuple[str, ...]


class CManifest(msgspec.Struct, frozen=True):
    """A vx.toml.

    Attributes:
        name: of the project.
        targets: by name, each after those that it needs.
        profile_flags: by profile.
        commands: by name, each after those whose outputs it is given.
    """

    name: str
    targets: dict[str, CTarget]
    profile_flags: dict[str, tuple[str, ...]]
    commands: dict[str, CCommand] = {}


def read(source: ConfigText) -> CManifest:
    """Return what a vx.toml says.

    Raises:
        ProjectInvalid: it says nothing that can be built.
    """
    table = source.values
    _known(source, (), table, ("project", "targets", "profile", "commands"))
    project = _table(source, ("project",), table.get("project", {}))
    _known(source, ("project",), project, ("name",))
    name = project.get("name")
    if not isinstance(name, str) or not name:
        raise invalid(source, ("project", "name"), "is missing" if name is None else "is no name")
    given = _table(source, ("targets",), table.get("targets", {}))
    targets = {called: _target(source, called, fields) for called, fields in given.items()}
    if not targets:
        raise invalid(source, (), "has no target: write [targets.NAME]")
    commands = _commands(source, table.get("commands", {}))
    for called, target in targets.items():
        _known_commands(source, ("targets", called), target.generated, commands)
    return CManifest(name, _in_order(source, targets), _profiles(source, table.get("profile", {})), commands)


def _commands(source: ConfigText, table: Any) -> dict[str, CCommand]:
    found: dict[str, CCommand] = {}
    for name, given in _table(source, ("commands",), table).items():
        where = ("commands", name)
        fields = _table(source, where, given)
        _check_name(source, where, name)
        keys = ("command", "inputs", "outputs", "generated")
        _known(source, where, fields, keys)
        lists = {key: _texts(source, (*where, key), fields.get(key, [])) for key in keys}
        for key in ("command", "outputs"):
            if not lists[key]:
                raise invalid(source, (*where, key), "is missing")
        if "/" in lists["command"][0]:
            raise invalid(source, (*where, "command", 0), "is no program on the PATH: write sh, python3, ...")
        _check_inside(source, where, ("inputs", "outputs"), lists)
        # Each after those that it names: so there is no circle.
        _known_commands(source, where, lists["generated"], found)
        found[name] = CCommand(name, *(lists[key] for key in keys))
    return found


def _known_commands(
    source: ConfigText, where: KeyPath, names: tuple[str, ...], known: Mapping[str, Any]
) -> None:
    for number, name in enumerate(names):
        if name not in known:
            hint = did_you_mean(name, known, "there are") if known else "write [commands.NAME] above it"
            raise invalid(source, (*where, "generated", number), f"{name!r} is no command: {hint}")


def _check_name(source: ConfigText, where: KeyPath, name: str) -> None:
    if not name or not all(char.isalnum() or char in "-_.+" for char in name) or name.startswith("."):
        raise invalid(source, where, f"{name!r} cannot be a target's name")


def _check_inside(
    source: ConfigText, where: KeyPath, keys: tuple[str, ...], lists: Mapping[str, tuple[str, ...]]
) -> None:
    for key in keys:
        for number, path in enumerate(lists[key]):
            if path.startswith("/") or ".." in path.split("/"):
                raise invalid(source, (*where, key, number), f"{path!r} is outside the project")


def _target(source: ConfigText, name: str, fields: Any) -> CTarget:
    where = ("targets", name)
    fields = _table(source, where, fields)
    _check_name(source, where, name)
    texts = ("sources", "include", "defines", "flags", "link-flags", "needs")
    _known(source, where, fields, ("kind", *texts, "generated", "version-script", "file-flags"))
    kind = fields.get("kind", PROGRAM)
    if kind not in KINDS:
        raise invalid(source, (*where, "kind"), f"{kind!r} is none of {', '.join(map(repr, KINDS))}")
    lists = {key: _texts(source, (*where, key), fields.get(key, [])) for key in texts}
    generated = _texts(source, (*where, "generated"), fields.get("generated", []))
    if not lists["sources"] and not generated:
        raise invalid(source, (*where, "sources"), "is missing")
    _check_inside(source, where, ("include", "sources"), lists)
    _refuse(source, (*where, "flags"), lists["flags"], c_flags.first_refused(lists["flags"]))
    _refuse(
        source,
        (*where, "link-flags"),
        lists["link-flags"],
        c_flags.first_refused_of_link(lists["link-flags"]),
    )
    own = {}
    for path, words in _table(source, (*where, "file-flags"), fields.get("file-flags", {})).items():
        own[path] = _texts(source, (*where, "file-flags", path), words)
        _refuse(source, (*where, "file-flags", path), own[path], c_flags.first_refused(own[path]))
    script = fields.get("version-script", "")
    if not isinstance(script, str):
        raise invalid(source, (*where, "version-script"), "is no path")
    _check_inside(source, where, ("version-script",), {"version-script": (script,)})
    if script and kind != SHARED_LIBRARY:
        raise invalid(source, (*where, "version-script"), f"is for a {SHARED_LIBRARY}")
    listed = [lists[key] for key in texts]
    return CTarget(name, kind, *listed, generated, script, own)  # type: ignore[arg-type, call-arg]


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
            if targets[needed].kind == PROGRAM:
                raise invalid(source, where, f"{needed!r} is no library")
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
