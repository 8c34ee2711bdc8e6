"""From a vx.toml to actions: one compilation for each source, then an archive or a program.

Owns the command lines.  Pure: a manifest, the files that its patterns found, and tools in; a plan out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from vx import digests
from vx.project.action import DEPS_DIR, OUT_DIR, Action, Need, Plan, Tool, Unit
from vx.project.c_manifest import PROGRAM, CManifest, CTarget
from vx.project.errors import ProjectInvalid, Unsupported

C_ENDINGS = (".c",)
CXX_ENDINGS = (".cc", ".cpp", ".cxx", ".C")


class CTools(msgspec.Struct, frozen=True):
    """What C is compiled with.

    Attributes:
        cc: the compiler for C, which also links.
        cxx: the one for C++; None where there is none, which matters only when it is needed.
        ar: what makes archives.
        triple: the platform that is compiled for.
    """

    cc: Tool
    cxx: Tool | None
    ar: Tool | None
    triple: str


def plan(
    manifest: CManifest,
    directory: str,
    sources: Mapping[str, Sequence[str]],
    tools: CTools,
    profile: str,
    flags: Sequence[str] = (),
) -> Plan:
    """Return the actions of a build.

    Args:
        manifest: what is built.
        directory: the project's, absolute.
        sources: the files of each target, relative to it.
        tools: by what.
        profile: dev or release.
        flags: further options for the compiler (CFLAGS).

    Raises:
        ProjectInvalid: a target has no sources.
        Unsupported: a source is in another language, or a tool for it is not there.
    """
    actions: dict[str, Action] = {}
    finished: dict[str, Need] = {}
    for name, target in manifest.targets.items():
        if not sources[name]:
            raise ProjectInvalid(
                "vx.toml", f"targets.{name}.sources match no file: {', '.join(target.sources)}"
            )
        objects = []
        for source in sources[name]:
            action = _compilation(target, source, tools, [*manifest.profile_flags[profile], *flags])
            actions[action.id] = action
            tag = digests.of_bytes(source.encode())[:8]
            objects.append(Need(action.id, action.outputs[0], f"{DEPS_DIR}/{tag}-{_stem(source)}.o"))
        last = _ending(
            target, objects, [finished[one] for one in _all_needs(manifest, target)], tools, sources[name]
        )
        actions[last.id] = last
        finished[name] = Need(last.id, last.outputs[0], f"{DEPS_DIR}/lib{name}.a")
    return Plan(manifest.name, directory, directory, tools.triple, profile, tuple(actions.values()))


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


def _compilation(target: CTarget, source: str, tools: CTools, profile_flags: Sequence[str]) -> Action:
    compiler = _compiler(source, tools)
    output = f"{OUT_DIR}/{_stem(source)}.o"
    dep_file = f"{OUT_DIR}/{_stem(source)}.d"
    options = {
        "profile": [*profile_flags],
        "flags": [*target.flags],
        "defines": [f"-D{one}" for one in target.defines],
        "include": [f"-I{one}" for one in target.include],
    }
    words = [word for some in options.values() for word in some]
    return Action(
        id=f"{target.name} {source}",
        title=source,
        tool=compiler,
        kind="cc",
        # -MD and not -MMD: a system header that changes is a change, too.
        arguments=(*words, "-fdiagnostics-color=always", "-MD", "-MF", dep_file, "-c", source, "-o", output),
        parts={
            "compiler": compiler.identity,
            "source": source,
            **{name: " ".join(some) for name, some in options.items()},
        },
        outputs=(output,),
        sources=Unit(source, target.include),
        dep_files=(dep_file,),
    )


def _ending(
    target: CTarget, objects: list[Need], libraries: list[Need], tools: CTools, sources: Sequence[str]
) -> Action:
    if target.kind != PROGRAM:
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
    linker = tools.cxx if any(one.endswith(CXX_ENDINGS) for one in sources) and tools.cxx else tools.cc
    output = f"{OUT_DIR}/{target.name}"
    needs = (*objects, *libraries)
    return Action(
        id=f"{target.name} program",
        title=f"{target.name} (program)",
        tool=linker,
        kind="step",
        arguments=("-o", output, *(one.path for one in needs), *target.link_flags),
        parts={"linker": linker.identity, "flags": " ".join(target.link_flags)},
        outputs=(output,),
        needs=needs,
        places={output: target.name},
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
