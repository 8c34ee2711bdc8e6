"""From a vx.toml to actions: one compilation for each source, then an archive or a program.

Owns the command lines.  Pure: a manifest, the files that its patterns found, and tools in; a plan out.
"""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Callable, Mapping, Sequence

import msgspec

from vx import digests
from vx.project import link_search
from vx.project.action import (
    DEPS_DIR,
    GENERATED_DIR,
    OUT_DIR,
    Action,
    Need,
    Plan,
    Tool,
    TranslationUnit,
    Tree,
    as_file,
)
from vx.project.c_compilations import Compilations, Group, Made
from vx.project.c_includes import Folders
from vx.project.c_manifest import (
    PROGRAM,
    SHARED_LIBRARY,
    STATIC_LIBRARY,
    CCommand,
    CManifest,
    CTarget,
    all_needs,
)
from vx.project.c_steps import command_action, program_path
from vx.project.errors import ProjectInvalid, Unsupported
from vx.project.link_search import Link
from vx.project.pkg_config import LinkedPackage

C_ENDINGS = (".c", ".S")
CXX_ENDINGS = (".cc", ".cpp", ".cxx", ".C")
SOURCE_ENDINGS = (*C_ENDINGS, *CXX_ENDINGS)
# Options that a target has only if it says so; a part of the key for those alone.
_NEWER = ("packages", "force-include", "file flags")
# These have a file read before the source.
_READ_FIRST = ("-include", "--include", "-imacros", "--imacros")


class CTools(msgspec.Struct, frozen=True):
    """What C is compiled with.

    Attributes:
        cc: the compiler for C, which also links.
        cxx: the one for C++; None where there is none, which matters only when it is needed.
        ar: what makes archives.
        triple: the platform that is compiled for.
        search: tells which folders a compiler searches by itself, for a language (`c`, `cc`) and options.
        link: tells how a compiler links, for a language and options.
        native: tells what `native` stands for in options.
        env: variables that say where to look for headers and libraries.
        program: returns a program on the PATH, for a command; None where there is none.
        package: tells what compiling and linking with packages takes, as pkg-config says.
    """

    cc: Tool
    cxx: Tool | None
    ar: Tool | None
    triple: str
    search: Callable[[Tool, str, Sequence[str]], Folders] = lambda _tool, _language, _words: Folders()
    link: Callable[[Tool, str, Sequence[str]], Link] = lambda _tool, _language, _words: Link()
    native: Callable[[Tool, Sequence[str]], str] = lambda _tool, _words: ""
    env: dict[str, str] = {}
    program: Callable[[str], Tool | None] = lambda _name: None
    package: Callable[[Sequence[str]], LinkedPackage] = lambda _names: LinkedPackage()


class Flags(msgspec.Struct, frozen=True):
    """Further options that the caller gives, in variables.

    Attributes:
        c: for C (CPPFLAGS, CFLAGS).
        cxx: for C++ (CPPFLAGS, CXXFLAGS).
        link: for linking (LDFLAGS).
    """

    c: tuple[str, ...] = ()
    cxx: tuple[str, ...] = ()
    link: tuple[str, ...] = ()


def plan(  # noqa: PLR0913  # the request, in its parts
    manifest: CManifest,
    directory: str,
    sources: Mapping[str, Sequence[str]],
    tools: CTools,
    profile: str,
    flags: Flags = Flags(),  # noqa: B008  # frozen
    *,
    tests: Sequence[str] = (),
    earlier: Compilations | None = None,
) -> Plan:
    """Return the actions of a build.

    Args:
        manifest: the project's.
        directory: the project's, absolute.
        sources: the files of each target, relative to it.
        tools: by what.
        profile: dev or release.
        flags: further options that the caller gives.
        tests: the names of the tests that are run, too.
        earlier: of the plans of this project and profile before this one.

    Raises:
        ProjectInvalid: a target has no sources.
        Unsupported: a source is in another language, or a tool for it is not there.
    """
    planner = _CPlanner(manifest, sources, tools, profile, flags, earlier or Compilations())
    for name in manifest.commands:
        planner.command(name)
    for name in manifest.targets:
        planner.target(name)
    for name in tests:
        planner.test(name)
    return Plan(manifest.name, directory, directory, tools.triple, profile, tuple(planner.actions.values()))


class _CPlanner:
    """Plans each command and target once, after what it needs; no circle is among them."""

    def __init__(
        self,
        manifest: CManifest,
        sources: Mapping[str, Sequence[str]],
        tools: CTools,
        profile: str,
        flags: Flags,
        earlier: Compilations,
    ) -> None:
        self._earlier = earlier
        self.actions: dict[str, Action] = {}
        self._manifest = manifest
        self._sources = sources
        self._tools = tools
        self._profile = profile
        self._flags = flags
        self._made: dict[str, tuple[Need, ...]] = {}
        self._finished: dict[str, Need] = {}

    def command(self, name: str) -> tuple[Need, ...]:
        """Return what a command makes."""
        if name not in self._made:
            action = self._step(self._manifest.commands[name], is_test=False)
            installed = {one for some in (self._manifest.install or {}).values() for one in some}
            places = {one: path for one in action.outputs if (path := made_path(one)) in installed}
            self.actions[action.id] = msgspec.structs.replace(action, places=places)
            self._made[name] = tuple(Need(action.id, one, one) for one in action.outputs)
        return self._made[name]

    def test(self, name: str) -> None:
        """Plan a test."""
        self._step(self._manifest.tests[name], is_test=True)

    def _step(self, command: CCommand, *, is_test: bool) -> Action:
        needs = [need for one in command.generated for need in self.command(one)]
        for name in command.programs:
            needs.append(msgspec.structs.replace(self.target(name), path=program_path(name), runs=True))
            # A program finds shared libraries beside itself.
            for one in all_needs(self._manifest.targets, self._manifest.targets[name]):
                library = self.target(one)
                if library.path.endswith(".so"):
                    needs.append(msgspec.structs.replace(library, path=program_path(_base(library.path))))
        program = self._tools.program(command.command[0])
        action = command_action(command, program, tuple(dict.fromkeys(needs)), is_test=is_test)
        self.actions[action.id] = action
        return action

    def target(self, name: str) -> Need:
        """Return what a target makes."""
        if name not in self._finished:
            target = self._manifest.targets[name]
            given = tuple(need for one in target.generated for need in self.command(one))
            objects, languages = self._objects(target, given)
            last = self._ending(target, objects, languages, given)
            self.actions[last.id] = last
            self._finished[name] = Need(last.id, last.outputs[0], f"{DEPS_DIR}/{file_of(target)}")
        return self._finished[name]

    def _objects(self, target: CTarget, given: tuple[Need, ...]) -> tuple[list[Need], list[str]]:
        own = [need.path for need in given if need.path.endswith(SOURCE_ENDINGS)]
        all_sources = [*self._sources[target.name], *own]
        if not all_sources:
            raise ProjectInvalid(
                "vx.toml", f"targets.{target.name}.sources match no file: {', '.join(target.sources)}"
            )
        flags, objects = self._flags, []
        package = self._tools.package(target.packages) if target.packages else LinkedPackage()
        groups: dict[tuple[str, ...], Group] = {}
        for source in all_sources:
            more = flags.cxx if source.endswith(CXX_ENDINGS) else flags.c
            profile_flags = (*self._manifest.profile_flags[self._profile], *more)
            alone = target.file_flags.get(source, ())
            key = (source.rpartition(".")[2], *alone)
            if key not in groups:
                shared = _settings(target, source, self._tools, profile_flags, alone, package.compiles, given)
                basis = (shared, given, target.include, self._tools.env)
                make = functools.partial(_compiled, target, self._tools, shared, given)
                groups[key] = self._earlier.group((target.name, *key), basis, make)
            action, need = groups[key].of(source)
            self.actions[action.id] = action
            objects.append(need)
        return objects, all_sources

    def _ending(
        self, target: CTarget, objects: list[Need], sources: Sequence[str], given: tuple[Need, ...]
    ) -> Action:
        if target.kind == STATIC_LIBRARY:
            return _archive(target, objects, self._tools)
        needed = all_needs(self._manifest.targets, target)
        libraries = [self.target(one) for one in needed]
        has_cxx = any(one.endswith(CXX_ENDINGS) for one in sources) and self._tools.cxx is not None
        # What a static library says of linking is for those that link with it.
        static = [one for name in needed if (one := self._manifest.targets[name]).kind == STATIC_LIBRARY]
        packages = tuple(dict.fromkeys(name for one in (target, *static) for name in one.packages))
        more = self._tools.package(packages).links if packages else ()
        last = (*(word for one in static for word in one.link_flags), *more, *self._flags.link)
        in_circle = any(one.name in all_needs(self._manifest.targets, one) for one in static)
        parts = _Linked(tuple(objects), tuple(libraries), has_cxx=has_cxx, in_circle=in_circle)
        return _link(target, parts, self._tools, last, given)


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def file_of(target: CTarget) -> str:
    """Return what a target's file is called."""
    ending = {PROGRAM: "", STATIC_LIBRARY: ".a", SHARED_LIBRARY: ".so"}[target.kind]
    return target.name if target.kind == PROGRAM else f"lib{target.name}{ending}"


def made_path(output: str) -> str:
    """Return how an `[install]` names what a command makes: the command's name, and the output's."""
    return output.removeprefix(f"{GENERATED_DIR}/")


def _located(path: str, given: Sequence[Need]) -> str:
    """Return where a file is that a target names: an output of its commands, or a file of the project."""
    for need in given:
        if need.path.startswith(f"{GENERATED_DIR}/") and need.path.split("/", 3)[-1] == path:
            return need.path
    return path


class _Settings(msgspec.Struct, frozen=True):
    """What the compilations of one target and language have in common."""

    compiler: Tool
    words: tuple[str, ...]
    parts: dict[str, str]
    folders: Folders
    files: tuple[str, ...]
    machine: tuple[str, ...]
    forced: tuple[str, ...]
    macros: tuple[str, ...]


def _settings(
    target: CTarget,
    source: str,
    tools: CTools,
    profile_flags: Sequence[str],
    alone: Sequence[str],
    packages: Sequence[str],
    given: Sequence[Need],
) -> _Settings:
    compiler = _compiler(source, tools)
    forced = tuple(_located(one, given) for one in target.force_include)
    generated = [f"-I{GENERATED_DIR}/{one}" for one in target.generated]
    options = {
        "profile": [*profile_flags],
        "flags": [*(["-fPIC"] if target.kind == SHARED_LIBRARY else []), *target.flags],
        "defines": [f"-D{one}" for one in target.defines],
        "include": [*generated, *(f"-I{one}" for one in target.include)],
        "packages": [*packages],
        "force-include": [word for one in forced for word in ("-include", one)],
        "file flags": [*alone],
    }
    words = tuple(word for some in options.values() for word in some)
    language = "cc" if source.endswith(CXX_ENDINGS) else "c"
    parts = {
        "compiler": compiler.identity,
        **{name: " ".join(some) for name, some in options.items() if some or name not in _NEWER},
        **_surroundings(compiler, tools, language, words),
    }
    folders = _folders(words, tools.search(compiler, language, words))
    files = tuple(link_search.files_named(words))
    machine = tools.link(compiler, language, words).files
    first, macros = tuple(_read_first(words)), tuple(_macro_names(words))
    return _Settings(compiler, words, parts, folders, files, machine, first, macros)


def _compiled(
    target: CTarget, tools: CTools, settings: _Settings, given: tuple[Need, ...], source: str
) -> Made:
    """Return a source's compilation, and its object as others need it."""
    action = _compilation(target, source, tools, settings, given)
    tag = digests.of_bytes(source.encode())[:8]
    return action, Need(action.id, action.outputs[0], f"{DEPS_DIR}/{tag}-{_stem(source)}.o")


def _compilation(
    target: CTarget, source: str, tools: CTools, settings: _Settings, given: tuple[Need, ...]
) -> Action:
    output = f"{OUT_DIR}/{_stem(source)}.o"
    dep_file = f"{OUT_DIR}/{_stem(source)}.d"
    # -MD and not -MMD: a system header that changes is a change, too.
    last = ("-fdiagnostics-color=always", "-MD", "-MF", dep_file, "-c", as_file(source), "-o", output)
    return Action(
        id=f"{target.name} {source}",
        title=source,
        tool=settings.compiler,
        kind="cc",
        arguments=(*settings.words, *last),
        parts={**settings.parts, "source": source},
        outputs=(output,),
        env=tools.env,
        sources=TranslationUnit(source, target.include, settings.folders, settings.forced, settings.macros),
        needs=given,
        files=settings.files,
        machine=settings.machine,
        dep_files=(dep_file,),
    )


def _surroundings(tool: Tool, tools: CTools, language: str, words: Sequence[str]) -> dict[str, str]:
    """Return the parts of a key that are not options and files: programs, folders, the processor."""
    native = tools.native(tool, words)
    return {
        "tool chain": tools.link(tool, language, words).identity,
        **({"processor": native} if native else {}),
        **tools.env,
    }


def _read_first(words: Sequence[str]) -> list[str]:
    """Return the names of files that options have a compiler read before the source, the user's own too."""
    found = []
    for number, word in enumerate(words):
        if word in _READ_FIRST and number + 1 < len(words):
            found.append(words[number + 1])
        elif joined := next((one for one in _READ_FIRST if word.startswith(one) and word != one), ""):
            found.append(word.removeprefix(joined).removeprefix("="))
    return found


def _macro_names(words: Sequence[str]) -> list[str]:
    """Return the names that macros of options stand for, if they are of files: `-DX=<x.h>`, `-D X="x.h"`."""
    values = [word.partition("=")[2] for word in words]
    return [one[1:-1] for one in values if len(one) > 2 and one[0] + one[-1] in ('""', "<>")]


def _folders(words: Sequence[str], own: Folders) -> Folders:
    """Return all folders that a compiler searches, in their order: those of options before its own."""
    named = {"-I": [], "-iquote": []}  # type: dict[str, list[str]]
    for number, word in enumerate(words):
        for option, found in named.items():
            if word == option and number + 1 < len(words):
                found.append(posixpath.normpath(words[number + 1]))
            elif word.startswith(option) and word != option:
                found.append(posixpath.normpath(word[len(option) :]))
    # One that is named, and the compiler's own, stays in the latter's place.
    first = [one for one in dict.fromkeys(named["-I"]) if one not in own.angled]
    plain = ["" if one == "." else one for one in (*first, *own.angled)]
    return Folders(tuple(plain), tuple(dict.fromkeys(named["-iquote"])), own.missing, own.opens)


def _archive(target: CTarget, objects: Sequence[Need], tools: CTools) -> Action:
    if tools.ar is None:
        raise Unsupported("vx.toml", f"the library {target.name} without `ar`", "install binutils")
    output = f"{OUT_DIR}/lib{target.name}.a"
    return Action(
        id=f"{target.name} library",
        title=f"lib{target.name}.a",
        tool=tools.ar,
        kind="step",
        # D: without times and owners, so that the same objects give the same archive.
        arguments=("rcsD", output, *(one.path for one in objects)),
        parts={"archiver": tools.ar.identity},
        outputs=(output,),
        needs=tuple(objects),
        places={output: f"lib{target.name}.a"},
    )


class _Linked(msgspec.Struct, frozen=True):
    """The files of a link.

    Attributes:
        objects: of the target itself.
        libraries: of the project, each before those that it needs.
        has_cxx: whether the compiler for C++ links.
        in_circle: whether static libraries need each other.
    """

    objects: tuple[Need, ...]
    libraries: tuple[Need, ...]
    has_cxx: bool
    in_circle: bool

    def words(self) -> list[str]:
        """Return the files, as the linker is given them."""
        names = [one.path for one in self.libraries]
        group = ["-Wl,--start-group", *names, "-Wl,--end-group"] if self.in_circle else names
        return [*(one.path for one in self.objects), *group]


def _link(
    target: CTarget, linked: _Linked, tools: CTools, flags: Sequence[str], given: Sequence[Need]
) -> Action:
    linker = tools.cxx if linked.has_cxx and tools.cxx is not None else tools.cc
    language = "cc" if linked.has_cxx else "c"
    name = file_of(target)
    output = f"{OUT_DIR}/{name}"
    dep_file = f"{OUT_DIR}/{target.name}.link.d"
    shared = any(one.path.endswith(".so") for one in linked.libraries)
    script, linker_script = (_located(one, given) for one in (target.version_script, target.linker_script))
    scripts = [one for one in (script, linker_script) if one]
    words = (
        *(("-shared", f"-Wl,-soname,{name}") if target.kind == SHARED_LIBRARY else ()),
        *((f"-Wl,--version-script={script}",) if script else ()),
        *((f"-Wl,-T,{linker_script}",) if linker_script else ()),
        # Found beside each other, as they are built, and from `bin` in `lib`, as they are installed.
        *(("-Wl,-rpath,$ORIGIN:$ORIGIN/../lib",) if shared else ()),
        *target.link_flags,
        *flags,
    )
    # How it links is asked with an empty program, for which the project's own script is nothing.
    probed = tuple(one for one in words if not one.startswith("-Wl,-T,"))
    link = tools.link(linker, language, probed)
    tell = (f"{link.told_by}{dep_file}",) if link.told_by else ()
    own = tuple(one for one in scripts if not one.startswith(f"{GENERATED_DIR}/"))
    return Action(
        id=f"{target.name} {'program' if target.kind == PROGRAM else 'shared library'}",
        title=f"{target.name} (program)" if target.kind == PROGRAM else name,
        tool=linker,
        kind="step",
        arguments=("-o", output, *linked.words(), *words, *tell),
        parts={
            "linker": linker.identity,
            "flags": " ".join(words),
            **_surroundings(linker, tools, language, probed),
        },
        outputs=(output,),
        env=tools.env,
        sources=Tree("", own) if own else None,
        needs=(*linked.objects, *linked.libraries, *(one for one in given if one.path in scripts)),
        dep_files=(dep_file,) if tell else (),
        tells=bool(tell),
        libraries=(*link_search.folders_named(words), *link.folders),
        files=tuple(link_search.files_named(words)),
        machine=link.files,
        places={output: name},
    )


def _compiler(source: str, tools: CTools) -> Tool:
    if source.endswith(C_ENDINGS):
        return tools.cc
    if source.endswith(CXX_ENDINGS):
        if tools.cxx is None:
            raise Unsupported(
                "vx.toml", f"{source} without a C++ compiler", "install g++ or clang, or set CXX"
            )
        return tools.cxx
    known = ", ".join((*C_ENDINGS, *CXX_ENDINGS))
    raise Unsupported("vx.toml", f"the source {source}", f"those known end with {known}")


def _stem(source: str) -> str:
    return source.rpartition("/")[2].rpartition(".")[0]
