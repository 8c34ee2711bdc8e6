"""Actions: what a build consists of, each one run of one tool, whatever the language.

Owns the values only.  Paths are relative to the project's source root, under which the tool sees
them too: a checkout at another place gives the same actions.  Pure.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from vx.project.c_includes import Folders

# Where a tool finds outputs of other actions, and puts its own; no source is looked for there.
DEPS_DIR: Final = ".vx/deps"
OUT_DIR: Final = ".vx/out"
# What commands make, each below its name, is found there by those that need it.
GENERATED_DIR: Final = ".vx/gen"
# Where commands and tests find the project's own programs.
PROGRAMS_DIR: Final = ".vx/programs"
# What build scripts write, each in a folder of its own.
SCRIPTS_DIR: Final = ".vx/scripts"
# Where crates are that are not the project's, each by its name and version.
CRATES_DIR: Final = ".crates"


class Tool(msgspec.Struct, frozen=True):
    """A program that actions run.

    Attributes:
        path: where it is; not part of any key.
        identity: what tells it from another version of it; part of the keys.
        name: for people: `rustc 1.80.1`.
    """

    path: str
    identity: str
    name: str


class Tree(msgspec.Struct, frozen=True, tag="tree"):
    """Sources: the files below a directory, less hidden ones and other packages.

    Attributes:
        directory: the directory; "" for the root itself.
        patterns: of those that count, relative to it; empty for all.
        origin: where the files are, absolute, if they are not in the project: a crate of a registry, whose
            `directory` is only a name, the same on every machine.  Of such a one all files count.
    """

    directory: str
    patterns: tuple[str, ...] = ()
    origin: str = ""


class TranslationUnit(msgspec.Struct, frozen=True, tag="unit"):
    """Sources: one C file and the files that it may include.

    Attributes:
        path: the file.
        include: the project's folders that are searched.
        folders: all that are searched, in their order.
        forced: names of files that options have read before it (`-include`, `-imacros`), as they are written.
        macros: names that a macro of an option may stand for (`-DCONFIG="x.h"`).
    """

    path: str
    include: tuple[str, ...] = ()
    folders: Folders = Folders()
    forced: tuple[str, ...] = ()
    macros: tuple[str, ...] = ()


class Need(msgspec.Struct, frozen=True):
    """An output of another action.

    Attributes:
        action: the other's id.
        output: which one.
        path: where the tool finds it.
        runs: whether it is a program that the tool runs.
    """

    action: str
    output: str
    path: str
    runs: bool = False


class ScriptUse(msgspec.Struct, frozen=True):
    """A build script whose words change another action.

    Attributes:
        action: the id of its run.
        role: `own`: of the same package, `linked`: of a package that is linked in, `metadata`: of one that
            another script depends on.
        out_dir: where its files are, relative to the root.
        links: the native library that its package stands for (`package.links`); "" for none.
        places: for which of the package's targets: `lib`, `bin`, `bin:NAME`, `cdylib`, `test`, ...
    """

    action: str
    role: Literal["own", "linked", "metadata"]
    out_dir: str
    links: str = ""
    places: tuple[str, ...] = ()


class Action(msgspec.Struct, frozen=True):
    """One run of one tool.

    Attributes:
        id: tells it from the others of its project; the same in every checkout.
        title: for people.
        tool: the program that runs.
        helper: another program that it runs: the linker.
        kind: how rhea keeps its own paths out of the result, and how its diagnostics are read.
        arguments: its arguments; `%{helper}` stands for the helper's path.
        parts: the parts of the key that are not files, each under the name that `explain` gives it.
        env: variables.  Those that the tool says that it reads are part of the key, no others.
        cwd: where it runs.
        sources: which files it may read; None for outputs of other actions alone.
        needs: outputs of other actions that it reads.
        outputs: its outputs.
        dep_files: where it lists the files that it read.
        tells: whether it says all that it read; what does not is run each time.
        silent: whether it does not report its reads elsewhere, so that the sandbox has to.
        libraries: folders in which it looks for libraries, absolute, in their order.
        linked: libraries that options name; those that a source names are looked for, too.
        files: absolute paths that its options name.
        known: folders whose content the tool's identity tells: not looked at again.
        machine: files whose content the tool's identity tells: programs that it runs, and their libraries.
        places: where outputs are put for the user, relative to the build directory.
        scripts: build scripts that have a say in it; their words are added when they are known.
        output_dir: a directory of which every file is an output; "" for none.
        reads_all: whether it may read any of its sources without a word: a procedural macro does.
        is_test: whether it makes nothing, and only may fail: the others go on then.
    """

    id: str
    title: str
    tool: Tool
    kind: Literal["rustc", "cc", "step", "script"]
    arguments: tuple[str, ...]
    parts: dict[str, str]
    outputs: tuple[str, ...]
    helper: Tool | None = None
    env: dict[str, str] = {}
    cwd: str = ""
    sources: Tree | TranslationUnit | None = None
    needs: tuple[Need, ...] = ()
    dep_files: tuple[str, ...] = ()
    tells: bool = True
    silent: bool = False
    libraries: tuple[str, ...] = ()
    linked: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    machine: tuple[str, ...] = ()
    places: dict[str, str] = {}
    scripts: tuple[ScriptUse, ...] = ()
    output_dir: str = ""
    reads_all: bool = False
    is_test: bool = False

    @property
    def asks(self) -> bool:
        """Whether it is a program of the project's own, which may do otherwise where a file is there."""
        return self.silent or self.kind == "script"

    @property
    def after(self) -> list[str]:
        """The ids of the actions that come before it."""
        return [*(need.action for need in self.needs), *(one.action for one in self.scripts)]

    def command(self) -> list[str]:
        """Return the command line."""
        helper = self.helper.path if self.helper is not None else ""
        return [self.tool.path, *(word.replace("%{helper}", helper) for word in self.arguments)]


class Plan(msgspec.Struct, frozen=True):
    """All actions of a build.

    Attributes:
        name: of the project, for people.
        project_dir: the directory that has the manifest; `.vx` is there.
        root: the source root, absolute.
        platform: the target triple.
        profile: dev or release.
        actions: each after those that it needs.
        variables: of the caller, for a source to read (`option_env!`); one that is read is part of the key.
        origins: where the files of each folder of `CRATES_DIR` are.
        vendored: digests of what vendored crates are compared with, by directory.
    """

    name: str
    project_dir: str
    root: str
    platform: str
    profile: str
    actions: tuple[Action, ...]
    variables: dict[str, str] = {}
    origins: dict[str, str] = {}
    vendored: dict[str, str] = {}

    def absolute(self, path: str) -> str:
        """Return where a file is that an action knows by a path."""
        if path.startswith("/"):
            return path
        if path.startswith(f"{CRATES_DIR}/"):
            crate = "/".join(path.split("/", 2)[:2])
            if crate in self.origins:
                return self.origins[crate] + path[len(crate) :]
        return f"{self.root}/{path}"

    @property
    def build_dir(self) -> str:
        """Where outputs are put."""
        return f"{self.project_dir}/.vx/build/{self.platform}/{self.profile}"


def located(root: str, sources: Tree | TranslationUnit | None, path: str) -> str:
    """Return where a file is that an action knows by a path."""
    if path.startswith("/"):
        return path
    if isinstance(sources, Tree) and sources.origin and path.startswith(f"{sources.directory}/"):
        return sources.origin + path[len(sources.directory) :]
    return f"{root}/{path}" if path else root


def named(root: str, sources: Tree | TranslationUnit | None, path: str) -> str:
    """Return the path by which an action knows a file, absolute for one elsewhere."""
    if isinstance(sources, Tree) and sources.origin and path.startswith(f"{sources.origin}/"):
        return sources.directory + path[len(sources.origin) :]
    return path.removeprefix(f"{root}/")


def as_file(path: str) -> str:
    """Return a source's path as an argument that no tool takes for an option, nor for a file of options."""
    return f"./{path}" if path.startswith(("-", "@")) else path
