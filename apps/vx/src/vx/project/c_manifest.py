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
    pkg-config = ["zlib >= 1.2"]    # packages that pkg-config knows
    force-include = ["config.h"]    # headers before each source (`-include`)
    generated = ["version"]         # commands whose outputs are compiled, or found by #include
    version-script = "hello.map"    # of a shared library: which symbols it shows
    linker-script = "hello.ld"      # in place of the linker's own (`-T`)
    file-flags = { "src/x.c" = ["-O3"] }    # for one source, behind all others

    [commands.version]
    command = ["sh", "version.sh", "%{out}/version.h"]  # `%{NAME}` is a program of this project
    inputs = ["version.sh", "VERSION"]      # patterns: its inputs
    outputs = ["version.h"]                 # its outputs, in %{out}

    [tests.says-hello]                      # what `vx test` runs
    command = ["%{hello}", "tests/in.txt"]  # passed if it ends with 0
    inputs = ["tests/*"]

    [install]                               # what `vx install` puts, by the folder below its prefix
    bin = ["hello"]                         # targets, outputs of commands (`version/version.h`), or files
    "share/man/man1" = ["doc/*.1"]

    [profile.release]
    flags = ["-O3"]                 # instead of -O2; of dev, instead of -O0 -g

Owns the file's form.  Pure.  A key that is not known is refused, with the nearest that is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
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

# In a command's words: where its outputs go.
OUT: Final = "out"
_NAMED: Final = re.compile(r"%\{([^{}]+)\}")
_PACKAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*( *(=|<|>|<=|>=|!=) *[0-9A-Za-z_.:~+-]+)?")
_SCRIPTS: Final = ("version-script", "linker-script")
# Folders of headers that a vx.toml may name by their absolute paths: the system's, and nobody's home.
_SYSTEM: Final = ("/usr/", "/opt/")
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
    packages: tuple[str, ...] = ()
    force_include: tuple[str, ...] = ()
    linker_script: str = ""


class CCommand(msgspec.Struct, frozen=True):
    """One command, or one test, which has no outputs: see the module."""

    name: str
    command: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    generated: tuple[str, ...]

    @property
    def programs(self) -> list[str]:
        """The targets whose programs its words name."""
        found = dict.fromkeys(name for word in self.command for name in _NAMED.findall(word))
        return [name for name in found if name != OUT]


class CManifest(msgspec.Struct, frozen=True):
    """A vx.toml.

    Attributes:
        name: of the project.
        targets: by name.
        profile_flags: by profile.
        commands: by name, each after those whose outputs it is given.
        tests: by name.
        install: names of what goes below a prefix, by folder; None for the usual.
    """

    name: str
    targets: dict[str, CTarget]
    profile_flags: dict[str, tuple[str, ...]]
    commands: dict[str, CCommand] = {}
    tests: dict[str, CCommand] = {}
    install: dict[str, tuple[str, ...]] | None = None


def read(source: ConfigText) -> CManifest:
    """Return what a vx.toml says.

    Raises:
        ProjectInvalid: it says nothing that can be built.
    """
    table = source.values
    _known(source, (), table, ("project", "targets", "profile", "commands", "tests", "install"))
    project = _table(source, ("project",), table.get("project", {}))
    _known(source, ("project",), project, ("name",))
    name = project.get("name")
    if not isinstance(name, str) or not name:
        raise invalid(source, ("project", "name"), "is missing" if name is None else "must be a name")
    given = _table(source, ("targets",), table.get("targets", {}))
    targets = {called: _target(source, called, fields) for called, fields in given.items()}
    if not targets:
        raise invalid(source, (), "has no target: write [targets.NAME]")
    commands = _commands(source, "commands", table.get("commands", {}))
    tests = _commands(source, "tests", table.get("tests", {}), commands)
    for called, target in targets.items():
        _known_commands(source, ("targets", called), target.generated, commands)
        _known_needs(source, target, targets)
    for kind, some in (("commands", commands), ("tests", tests)):
        for called, command in some.items():
            _known_programs(source, (kind, called, "command"), command, targets)
    manifest = CManifest(
        name,
        targets,
        _profiles(source, table.get("profile", {})),
        commands,
        tests,
        _install(source, table.get("install")),
    )
    _refuse_circles(source, manifest)
    return manifest


def refused(source: ConfigText) -> list[ProjectInvalid]:
    """Return what `read` would refuse of flags, all of it; other faults are `read`'s to tell."""
    found: list[ProjectInvalid] = []
    for name, fields in _tables(source.values.get("targets")):
        where = ("targets", name)
        found += _refusals(source, (*where, "flags"), fields.get("flags"), c_flags.refused)
        found += _refusals(source, (*where, "link-flags"), fields.get("link-flags"), c_flags.refused_of_link)
        own = fields.get("file-flags")
        for path, words in own.items() if isinstance(own, dict) else ():
            found += _refusals(source, (*where, "file-flags", path), words, c_flags.refused)
    for name, fields in _tables(source.values.get("profile")):
        found += _refusals(source, ("profile", name, "flags"), fields.get("flags"), c_flags.refused)
    return found


def _tables(table: Any) -> list[tuple[str, dict[str, Any]]]:
    given = table.items() if isinstance(table, dict) else ()
    return [(name, fields) for name, fields in given if isinstance(fields, dict)]


def _refusals(
    source: ConfigText, where: KeyPath, flags: Any, judge: Callable[[Sequence[str]], Iterable[str]]
) -> list[ProjectInvalid]:
    if not isinstance(flags, list) or not all(isinstance(one, str) for one in flags):
        return []
    return [_refusal(source, where, tuple(flags), one) for one in judge(flags)]


def _commands(
    source: ConfigText, kind: str, table: Any, above: Mapping[str, CCommand] | None = None
) -> dict[str, CCommand]:
    found: dict[str, CCommand] = {}
    for name, given in _table(source, (kind,), table).items():
        where = (kind, name)
        fields = _table(source, where, given)
        _check_name(source, where, name)
        keys = ("command", "inputs", "outputs", "generated")
        needed = ("command", "outputs") if above is None else ("command",)
        _known(source, where, fields, tuple(one for one in keys if above is None or one != "outputs"))
        lists = {key: _texts(source, (*where, key), fields.get(key, [])) for key in keys}
        for key in needed:
            if not lists[key]:
                raise invalid(source, (*where, key), "is missing")
        if "/" in lists["command"][0]:
            raise invalid(
                source,
                (*where, "command", 0),
                "is not a program on the PATH: write sh, python3, %{TARGET}, ...",
            )
        _check_inside(source, where, ("inputs", "outputs"), lists)
        # Each after those that it names: so there is no circle.
        _known_commands(source, where, lists["generated"], found if above is None else above)
        found[name] = CCommand(name, *(lists[key] for key in keys))
    return found


def _known_programs(
    source: ConfigText, where: KeyPath, command: CCommand, targets: Mapping[str, CTarget]
) -> None:
    for name in command.programs:
        if name not in targets:
            hint = did_you_mean(name, (*targets, OUT), "there are")
            raise invalid(source, where, f"%{{{name}}} is not a target: {hint}")
        if targets[name].kind != PROGRAM:
            raise invalid(source, where, f"%{{{name}}} is not a program")


def _known_needs(source: ConfigText, target: CTarget, targets: Mapping[str, CTarget]) -> None:
    for number, needed in enumerate(target.needs):
        where = ("targets", target.name, "needs", number)
        if needed not in targets:
            hint = did_you_mean(needed, targets, "there are")
            raise invalid(source, where, f"{needed!r} is not a target: {hint}")
        if targets[needed].kind == PROGRAM:
            raise invalid(source, where, f"{needed!r} is not a library")
        if needed == target.name:
            raise invalid(source, where, f"{needed!r} needs itself")


def _install(source: ConfigText, table: Any) -> dict[str, tuple[str, ...]] | None:
    if table is None:
        return None
    where = ("install",)
    found = {
        folder: _texts(source, (*where, folder), names)
        for folder, names in _table(source, where, table).items()
    }
    _check_inside(source, where, tuple(found), found)
    for folder in found:
        if folder.startswith("/") or ".." in folder.split("/"):
            raise invalid(source, (*where, folder), f"{folder!r} must be a folder below the prefix")
    return found


def _known_commands(
    source: ConfigText, where: KeyPath, names: tuple[str, ...], known: Mapping[str, Any]
) -> None:
    for number, name in enumerate(names):
        if name not in known:
            hint = did_you_mean(name, known, "there are") if known else "write [commands.NAME] above it"
            raise invalid(source, (*where, "generated", number), f"{name!r} is not a command: {hint}")


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
    more = ("generated", "pkg-config", "force-include", *_SCRIPTS, "file-flags")
    _known(source, where, fields, ("kind", *texts, *more))
    kind = fields.get("kind", PROGRAM)
    if kind not in KINDS:
        raise invalid(source, (*where, "kind"), f"{kind!r} is not one of {', '.join(map(repr, KINDS))}")
    lists = {key: _texts(source, (*where, key), fields.get(key, [])) for key in texts}
    generated = _texts(source, (*where, "generated"), fields.get("generated", []))
    if not lists["sources"] and not generated:
        raise invalid(source, (*where, "sources"), "is missing")
    inside = {**lists, "include": tuple(one for one in lists["include"] if not _is_of_system(one))}
    inside["force-include"] = _texts(source, (*where, "force-include"), fields.get("force-include", []))
    _check_inside(source, where, ("include", "sources", "force-include"), inside)
    packages = _packages(source, (*where, "pkg-config"), fields.get("pkg-config", []))
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
    scripts = {}
    for key in _SCRIPTS:
        scripts[key] = fields.get(key, "")
        if not isinstance(scripts[key], str):
            raise invalid(source, (*where, key), "must be a path")
        _check_inside(source, where, (key,), {key: (scripts[key],)})
        if scripts[key] and (kind == STATIC_LIBRARY or (key == "version-script" and kind == PROGRAM)):
            raise invalid(source, (*where, key), f"is not for a {kind}")
    return CTarget(
        name,
        kind,
        sources=lists["sources"],
        include=lists["include"],
        defines=lists["defines"],
        flags=lists["flags"],
        link_flags=lists["link-flags"],
        needs=lists["needs"],
        generated=generated,
        version_script=scripts["version-script"],
        file_flags=own,
        packages=packages,
        force_include=inside["force-include"],
        linker_script=scripts["linker-script"],
    )


def _packages(source: ConfigText, where: KeyPath, given: Any) -> tuple[str, ...]:
    packages = _texts(source, where, given)
    for number, one in enumerate(packages):
        if not _PACKAGE.fullmatch(one):
            raise invalid(
                source, (*where, number), f"{one!r} is not a package: write NAME, or NAME >= VERSION"
            )
    return packages


def _is_of_system(folder: str) -> bool:
    return folder.startswith(_SYSTEM) and ".." not in folder.split("/")


def _refuse(source: ConfigText, where: KeyPath, flags: tuple[str, ...], refused: str | None) -> None:
    if refused is not None:
        raise _refusal(source, where, flags, refused)


def _refusal(source: ConfigText, where: KeyPath, flags: tuple[str, ...], refused: str) -> ProjectInvalid:
    advice = "folders belong in `include`" if refused.startswith(_FOLDERS) else _OWN_FLAGS
    place = (*where, flags.index(refused)) if refused in flags else where
    return unsupported(source, place, f"the flag {refused!r} in {dotted(where[:-1])}", advice)


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


def _refuse_circles(source: ConfigText, manifest: CManifest) -> None:
    """Refuse what needs itself.  Static libraries may need each other: nothing is linked into them."""

    def below(node: tuple[str, str]) -> list[tuple[str, str]]:
        kind, name = node
        if kind == "commands":
            command = manifest.commands[name]
            return [
                *(("commands", one) for one in command.generated),
                *(("targets", one) for one in command.programs),
            ]
        target = manifest.targets[name]
        own = [("commands", one) for one in target.generated]
        return own if target.kind == STATIC_LIBRARY else [*own, *(("targets", one) for one in linked(target))]

    def linked(target: CTarget) -> list[str]:
        return all_needs(manifest.targets, target)

    done: set[tuple[str, str]] = set()

    def visit(node: tuple[str, str], above: tuple[tuple[str, str], ...]) -> None:
        if node in above:
            circle = " -> ".join(name for _, name in (*above[above.index(node) :], node))
            key = "needs" if node[0] == "targets" else "command"
            raise invalid(source, (*node, key), f"targets need each other in a circle: {circle}")
        if node not in done:
            for one in below(node):
                visit(one, (*above, node))
            done.add(node)

    for name in manifest.targets:
        visit(("targets", name), ())


def all_needs(targets: Mapping[str, CTarget], target: CTarget) -> list[str]:
    """Return what a target links with: each library before those that it needs, as linkers read them."""
    found: list[str] = []

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            return
        if name in found:
            found.remove(name)
        found.append(name)
        for below in targets[name].needs:
            add(below, (*above, name))

    for name in target.needs:
        add(name, ())
    return found


def _known(source: ConfigText, where: KeyPath, table: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    try:
        source.refuse_unknown(table, keys, where)
    except ConfigError as error:
        raise ProjectInvalid.of(error) from None


def _table(source: ConfigText, where: KeyPath, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(source, where, "must be a table")
    return value


def _texts(source: ConfigText, where: KeyPath, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise invalid(source, where, "must be a list of strings")
    return tuple(value)
