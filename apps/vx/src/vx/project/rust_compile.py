"""One crate as an action: the compiler's command line, its outputs, and the parts of its key.

Owns rustc's options, which follow cargo's way where there is a choice.  Which crates there are, and their
dependencies, is `rust_plan`'s and `vx.cargo`'s.  Pure.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from vx.project import link_search
from vx.project.action import DEPS_DIR, OUT_DIR, Action, Need, ScriptUse, Tool, Tree, as_file
from vx.project.environment import BOOTSTRAP
from vx.project.errors import Unsupported
from vx.project.link_search import Link

# Of these a linker makes the last step.
_LINKED: Final = frozenset(("bin", "cdylib", "dylib", "proc-macro"))
# For these the code of their dependencies is generated, and may be optimised as a whole.
_WHOLE: Final = frozenset(("bin", "cdylib", "staticlib", "dylib", "proc-macro"))


class RustTools(msgspec.Struct, frozen=True):
    """What Rust is compiled with.

    Attributes:
        rustc: the compiler.
        linker: the linker.
        triple: the platform that is compiled for.
        link: how it links.
        sysroot: the folder of the compiler's own files; "" where that is not known.
        env: variables that say where to look for libraries.
        processor: what `target-cpu=native` stands for; "" where nobody asks.
        bootstrap: RUSTC_BOOTSTRAP; "" where it is not set.
    """

    rustc: Tool
    linker: Tool
    triple: str
    link: Link = Link()
    sysroot: str = ""
    env: dict[str, str] = {}
    processor: str = ""
    bootstrap: str = ""


class Crate(msgspec.Struct, frozen=True):
    """A crate that is compiled.

    Attributes:
        id, title: of the action.
        name: as Rust has it.
        edition: of the language.
        root_file: relative to the source root.
        crate_types: the kinds of its outputs.
        tag: tells it from other crates of its name.
        options: for the compiler, each set under the name that `explain` gives it.
        flags: the caller's own (RUSTFLAGS), the last ones.
        sources: which files it may read.
        env: variables.
        cwd: where the compiler runs, relative to the source root; "." for the root.
        externs: the crates that it uses: its name for each, and the file.
        needs: outputs of other actions, by the actions' ids.
        target: the platform, where the compiler needs that option.
        platform: the same, always.
        harness: whether it is compiled as a program that runs its tests.
        scripts: build scripts that have a say in it.
        placed_as: the name under which the user finds a program; None where nothing is put for the user.
        reads_all: whether it may read any of its files and variables without a word: a procedural macro does.
    """

    id: str
    title: str
    name: str
    edition: str
    root_file: str
    crate_types: tuple[str, ...]
    tag: str
    options: dict[str, list[str]]
    flags: tuple[str, ...]
    sources: Tree
    env: dict[str, str]
    cwd: str
    externs: tuple[tuple[str, str], ...] = ()
    needs: dict[tuple[str, str], Need] = {}
    target: str = ""
    platform: str = ""
    harness: bool = False
    scripts: tuple[ScriptUse, ...] = ()
    placed_as: str | None = None
    reads_all: bool = False

    @property
    def is_program(self) -> bool:
        """Whether a program is made of it."""
        return self.harness or self.crate_types == ("bin",)

    @property
    def links(self) -> bool:
        """Whether a linker runs."""
        return self.harness or bool(_LINKED & set(self.crate_types))


def is_whole(crate_types: Sequence[str]) -> bool:
    """Whether a crate's output has all code that it needs, and nothing is linked with it later."""
    return bool(_WHOLE & set(crate_types)) and not {"lib", "rlib"} & set(crate_types)


def feature_options(features: Iterable[str]) -> list[str]:
    """Return the options that turn features on."""
    return [word for one in sorted(features) for word in ("--cfg", f'feature="{one}"')]


def known_cfgs(features: Iterable[str]) -> list[str]:
    """Return the options that name the conditions a source may ask for, with all features there are."""
    values = ", ".join(f'"{one}"' for one in sorted(features))
    return ["--check-cfg", "cfg(docsrs,test)", "--check-cfg", f"cfg(feature, values({values}))"]


def compile_action(crate: Crate, tools: RustTools) -> Action:
    """Return the action that compiles a crate."""
    cwd = crate.cwd or "."
    outputs = outputs_of(crate)
    out = posixpath.relpath(OUT_DIR, cwd)
    links = crate.links
    tells = links and bool(tools.link.told_by)
    told = f"{crate.name}.link.d"
    suffix = "" if crate.is_program else f"-{crate.tag}"
    arguments = [
        "--crate-name", crate.name, f"--edition={crate.edition}",
        as_file(posixpath.relpath(crate.root_file, cwd)),
        "--error-format=json", "--json=diagnostic-rendered-ansi",
        *(["--test"] if crate.harness
          else [word for one in crate.crate_types for word in ("--crate-type", one)]),
        "--emit=dep-info,link",
        *(word for words in crate.options.values() for word in words),
        "-C", f"metadata={crate.tag}",
        *(["-C", f"extra-filename={suffix}"] if suffix else []),
        "--out-dir", out,
        *(["--target", crate.target] if crate.target else []),
        *(["-C", "linker=%{helper}"] if links else []),
        *(["-L", f"dependency={posixpath.relpath(DEPS_DIR, cwd)}"] if crate.needs else []),
        *(word for name, file in crate.externs for word in ("--extern", _extern(name, file, cwd))),
        *crate.flags,
        *(["-C", f"link-arg={tools.link.told_by}{out}/{told}"] if tells else []),
        *_own_name(crate, outputs),
    ]  # fmt: skip
    return Action(
        id=crate.id,
        title=crate.title,
        tool=tools.rustc,
        helper=tools.linker if links else None,
        kind="rustc",
        arguments=tuple(arguments),
        parts=_parts(crate, tools),
        outputs=tuple(outputs),
        env=crate.env,
        cwd="" if cwd == "." else cwd,
        sources=crate.sources,
        needs=tuple(crate.needs.values()),
        dep_files=(
            f"{OUT_DIR}/{crate.name}{suffix}.d",
            *((f"{OUT_DIR}/{told}",) if tells else ()),
        ),
        tells=tells or not links,
        libraries=(
            *link_search.folders_named(crate.flags),
            *(tools.link.folders if links else ()),
        ),
        linked=tuple(link_search.libraries_named(crate.flags)),
        files=tuple(link_search.files_named(crate.flags)),
        known=(tools.sysroot,) if tools.sysroot else (),
        machine=tools.link.files if links else (),
        places=_places(crate, outputs),
        scripts=crate.scripts,
        reads_all=crate.reads_all,
    )


def _own_name(crate: Crate, outputs: Mapping[str, str]) -> list[str]:
    """Return the options that name a dylib as the user finds it, for the programs that are linked with it.

    rustc names it by its file, which here has a tag.
    """
    if "dylib" not in crate.crate_types or "so" not in outputs.values():
        return []
    return ["-C", f"link-arg=-Wl,-soname,lib{crate.name}.so"]


def outputs_of(crate: Crate) -> dict[str, str]:
    """Return the outputs, each with its ending: `rlib`, `so`, ...; "" for a program."""
    windows, wasm = "-windows" in crate.platform, crate.platform.startswith("wasm")
    program = ".exe" if windows else ".wasm" if wasm else ""
    if crate.is_program:
        return {f"{OUT_DIR}/{crate.name}{program}": program}
    shared = "dll" if windows else "dylib" if "-apple-" in crate.platform else "wasm" if wasm else "so"
    static = "lib" if "-windows-msvc" in crate.platform else "a"
    endings = {
        "lib": "rlib",
        "rlib": "rlib",
        "staticlib": static,
        **dict.fromkeys(("cdylib", "dylib", "proc-macro"), shared),
    }
    lib = "" if windows or wasm else "lib"
    found = {}
    for one in crate.crate_types:
        if one not in endings:
            raise Unsupported(crate.title, f"the crate type {one!r}")
    for ending in dict.fromkeys(endings[one] for one in crate.crate_types):
        prefix = "lib" if ending == "rlib" else lib
        found[f"{OUT_DIR}/{prefix}{crate.name}-{crate.tag}.{ending}"] = ending
    return found


def _places(crate: Crate, outputs: Mapping[str, str]) -> dict[str, str]:
    if crate.placed_as is None:
        return {}
    if crate.is_program:
        return {path: crate.placed_as + ending for path, ending in outputs.items()}
    # The name that the user finds is without the tag.
    return {path: posixpath.basename(path).replace(f"-{crate.tag}.", ".") for path in outputs}


def _extern(name: str, file: str, cwd: str) -> str:
    return f"{name}={posixpath.relpath(file, cwd)}" if file else name


def _parts(crate: Crate, tools: RustTools) -> dict[str, str]:
    linked = {"linker": tools.linker.identity, "tool chain": tools.link.identity, **tools.env}
    own = ("CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH")
    variables = (f"{name}={value}" for name, value in sorted(crate.env.items()) if name not in own)
    return {
        "compiler": tools.rustc.identity,
        **(linked if crate.links else {}),
        **({"processor": tools.processor} if tools.processor else {}),
        **({BOOTSTRAP: tools.bootstrap} if tools.bootstrap else {}),
        "platform": crate.platform or tools.triple,
        "edition": crate.edition,
        "crate": f"{crate.name} {' '.join(crate.crate_types)} {crate.root_file}",
        **{name: " ".join(words) for name, words in crate.options.items()},
        "flags": " ".join(crate.flags),
        **({"variables": "\n".join(variables)} if crate.reads_all else {}),
    }
