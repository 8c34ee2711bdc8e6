"""From a vx.toml to actions: one compilation for each source, then an archive or a program.

Owns the command lines.  Pure: a manifest, the files that its patterns found, and tools in; a plan out.
"""

from __future__ import annotations

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
    Tree,
    Unit,
    as_file,
)
from vx.project.c_includes import Folders
from vx.project.c_manifest import PROGRAM, SHARED_LIBRARY, STATIC_LIBRARY, CCommand, CManifest, CTarget
from vx.project.errors import ProjectInvalid, Unsupported
from vx.project.link_search import Link

C_ENDINGS = (".c", ".S")
CXX_ENDINGS = (".cc", ".cpp", ".cxx", ".C")
SOURCE_ENDINGS = (*C_ENDINGS, *CXX_ENDINGS)


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


def plan(
    manifest: CManifest,
    directory: str,
    sources: Mapping[str, Sequence[str]],
    tools: CTools,
    profile: str,
    flags: Flags = Flags(),  # noqa: B008  # frozen
) -> Plan:
    """Return the actions of a build.

    Args:
        manifest: the project's.
        directory: the project's, absolute.
        sources: the files of each target, relative to it.
        tools: by what.
        profile: dev or release.
        flags: further options that the caller gives.

    Raises:
        ProjectInvalid: a target has no sources.
        Unsupported: a source is in another language, or a tool for it is not there.
    """
    actions: dict[str, Action] = {}
    made: dict[str, tuple[Need, ...]] = {}
    for command in manifest.commands.values():
        action = _command(command, made, tools)
        actions[action.id] = action
        made[command.name] = tuple(Need(action.id, one, one) for one in action.outputs)
    finished: dict[str, Need] = {}
    for name, target in manifest.targets.items():
        given = tuple(need for one in target.generated for need in made[one])
        own = [need.path for need in given if need.path.endswith(SOURCE_ENDINGS)]
        all_sources = [*sources[name], *own]
        if not all_sources:
            raise ProjectInvalid(
                "vx.toml", f"targets.{name}.sources match no file: {', '.join(target.sources)}"
            )
        objects = []
        settings: dict[tuple[str, ...], _Settings] = {}
        for source in all_sources:
            more = flags.cxx if source.endswith(CXX_ENDINGS) else flags.c
            profile_flags = (*manifest.profile_flags[profile], *more)
            alone = target.file_flags.get(source, ())
            key = (source.rpartition(".")[2], *alone)
            if key not in settings:
                settings[key] = _settings(target, source, tools, profile_flags, alone)
            action = _compilation(target, source, tools, settings[key], given)
            actions[action.id] = action
            tag = digests.of_bytes(source.encode())[:8]
            objects.append(Need(action.id, action.outputs[0], f"{DEPS_DIR}/{tag}-{_stem(source)}.o"))
        libraries = [finished[one] for one in _all_needs(manifest, target)]
        last = _ending(target, objects, libraries, tools, all_sources, flags.link)
        actions[last.id] = last
        finished[name] = Need(last.id, last.outputs[0], f"{DEPS_DIR}/{_file_of(target)}")
    return Plan(manifest.name, directory, directory, tools.triple, profile, tuple(actions.values()))


def _file_of(target: CTarget) -> str:
    """Return what a target's file is called."""
    ending = {PROGRAM: "", STATIC_LIBRARY: ".a", SHARED_LIBRARY: ".so"}[target.kind]
    return target.name if target.kind == PROGRAM else f"lib{target.name}{ending}"


def _command(command: CCommand, made: Mapping[str, tuple[Need, ...]], tools: CTools) -> Action:
    name, *arguments = command.command
    tool = tools.program(name)
    if tool is None:
        raise Unsupported("vx.toml", f"the command {command.name} without {name!r}", "it is not on the PATH")
    folder = f"{GENERATED_DIR}/{command.name}"
    return Action(
        id=f"{command.name} command",
        title=f"{command.name} (command)",
        tool=tool,
        kind="step",
        arguments=tuple(one.replace("%{out}", folder) for one in arguments),
        parts={"program": tool.identity},
        outputs=tuple(f"{folder}/{one}" for one in command.outputs),
        # No pattern would mean all files.
        sources=Tree("", command.inputs) if command.inputs else None,
        needs=tuple(need for one in command.generated for need in made[one]),
        silent=True,
    )


def _all_needs(manifest: CManifest, target: CTarget) -> list[str]:
    """Return what a target links with: each library before those that it needs, as linkers read them."""
    found: list[str] = []

    def add(name: str) -> None:
        if name in found:
            found.remove(name)
        found.append(name)
        for below in manifest.targets[name].needs:
            add(below)

    for name in target.needs:
        add(name)
    return found


class _Settings(msgspec.Struct, frozen=True):
    """What the compilations of one target and language have in common."""

    compiler: Tool
    words: tuple[str, ...]
    parts: dict[str, str]
    folders: Folders
    files: tuple[str, ...]
    machine: tuple[str, ...]


def _settings(
    target: CTarget, source: str, tools: CTools, profile_flags: Sequence[str], alone: Sequence[str]
) -> _Settings:
    compiler = _compiler(source, tools)
    generated = [f"-I{GENERATED_DIR}/{one}" for one in target.generated]
    options = {
        "profile": [*profile_flags],
        "flags": [*(["-fPIC"] if target.kind == SHARED_LIBRARY else []), *target.flags],
        "defines": [f"-D{one}" for one in target.defines],
        "include": [*generated, *(f"-I{one}" for one in target.include)],
        "file flags": [*alone],
    }
    words = tuple(word for some in options.values() for word in some)
    language = "cc" if source.endswith(CXX_ENDINGS) else "c"
    parts = {
        "compiler": compiler.identity,
        **{name: " ".join(some) for name, some in options.items() if some or name != "file flags"},
        **_surroundings(compiler, tools, language, words),
    }
    folders = _folders(words, tools.search(compiler, language, words))
    files = tuple(link_search.files_named(words))
    return _Settings(compiler, words, parts, folders, files, tools.link(compiler, language, words).files)


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
        sources=Unit(source, target.include, settings.folders),
        needs=given,
        files=settings.files,
        machine=settings.machine,
        dep_files=(dep_file,),
    )


def _surroundings(tool: Tool, tools: CTools, language: str, words: Sequence[str]) -> dict[str, str]:
    """Return the parts of a key that are no options and files: programs, folders, the processor."""
    native = any(one.endswith("=native") for one in words)
    return {
        "tool chain": tools.link(tool, language, words).identity,
        **({"processor": tools.native(tool, words)} if native else {}),
        **tools.env,
    }


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
    return Folders(tuple(plain), tuple(dict.fromkeys(named["-iquote"])), own.missing)


def _ending(
    target: CTarget,
    objects: list[Need],
    libraries: list[Need],
    tools: CTools,
    sources: Sequence[str],
    flags: Sequence[str],
) -> Action:
    if target.kind == STATIC_LIBRARY:
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
    has_cxx = any(one.endswith(CXX_ENDINGS) for one in sources) and tools.cxx is not None
    linker = tools.cxx if has_cxx and tools.cxx is not None else tools.cc
    language = "cc" if has_cxx else "c"
    name = _file_of(target)
    output = f"{OUT_DIR}/{name}"
    dep_file = f"{OUT_DIR}/{target.name}.link.d"
    needs = (*objects, *libraries)
    shared = any(one.path.endswith(".so") for one in libraries)
    script = target.version_script
    words = (
        *(("-shared", f"-Wl,-soname,{name}") if target.kind == SHARED_LIBRARY else ()),
        *((f"-Wl,--version-script={script}",) if script else ()),
        # Built beside each other, so found beside each other.
        *(("-Wl,-rpath,$ORIGIN",) if shared else ()),
        *target.link_flags,
        *flags,
    )
    link = tools.link(linker, language, words)
    tell = (f"{link.told_by}{dep_file}",) if link.told_by else ()
    return Action(
        id=f"{target.name} {'program' if target.kind == PROGRAM else 'shared library'}",
        title=f"{target.name} (program)" if target.kind == PROGRAM else name,
        tool=linker,
        kind="step",
        arguments=("-o", output, *(one.path for one in needs), *words, *tell),
        parts={
            "linker": linker.identity,
            "flags": " ".join(words),
            **_surroundings(linker, tools, language, words),
        },
        outputs=(output,),
        env=tools.env,
        sources=Tree("", (script,)) if script else None,
        needs=needs,
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
