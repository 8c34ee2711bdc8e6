"""A job before it runs, and after: its command line, its environment, its files; and the files that it read.

Owns the rules, and decides; making directories and running is done by `scratch` and `service`.

    scratch directory/
      root/     inputs, read-only, with one time for all of them; the folders of the outputs; where it runs
      tmp/      HOME and TMPDIR

A job sees no variable but these, and those that it declares, which win.  They are the same on every
machine, except the two that name the scratch directory.

Out of its reach: nothing keeps a command from reading an absolute path, the clock or the
network.  A compiler lists its inputs, and `undeclared` has those outside the root; of other
commands nothing is known.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from vx import digests
from vx.interfaces import Job, JobInvalid, is_sendable
from vx.reproducible import JOB_ENVIRONMENT

ROOT_MARK: Final = "%{root}"

# The options that keep the root's path out of the outputs.
_REMAP: Final[Mapping[str, str]] = {
    "rustc": "--remap-path-prefix={root}={to}",
    "cc": "-ffile-prefix-map={root}={to}",
    "step": "",
}

# Linux takes 128 KiB for one argument and at least 2 MiB for all; a build of 10,000 objects fits.
MAX_FILES: Final = 100_000
MAX_TITLE_CHARS: Final = 200
# A large crate with optimisation takes minutes on a slow machine; a compiler that hangs, for ever.
JOB_TIMEOUT_S: Final = 3600.0


class JobPlan(NamedTuple):
    """A job that can be run.

    Attributes:
        job: as it was asked for.
        folders: to make, relative to the root; those above first.
        timeout_s: after which it is killed.
        title: its name for people.
    """

    job: Job
    folders: list[str]
    timeout_s: float
    title: str

    @property
    def writable(self) -> list[str]:
        """The directories below which it may write, relative to the root, which is ""; beside its TMPDIR.

        A compiler's inputs are the store's own files, and a procedural macro is the project's code in it.
        """
        job = self.job
        if job.tool == "step":
            return [""]
        outputs = [posixpath.dirname(one) for one in (*job.outputs, *job.dep_files)]
        return list(dict.fromkeys([*outputs, *job.output_dirs]))

    def command(self, root: str) -> list[str]:
        """Return the words to execute, for a root."""
        program, *arguments = self.job.command
        if not program.startswith("/"):
            program = f"{root}/{program}"
        remap = _REMAP[self.job.tool].format(root=root, to=self.job.remap_to)
        words = [word.replace(ROOT_MARK, root) for word in arguments]
        return [program, *([remap] if remap else ()), *words]

    def environment(self, root: str, tmp: str) -> dict[str, str]:
        """Return all variables."""
        declared = {name: value.replace(ROOT_MARK, root) for name, value in self.job.env.items()}
        return {**JOB_ENVIRONMENT, "HOME": tmp, "TMPDIR": tmp, **declared}


def plan(job: Job) -> JobPlan:
    """Return how a job is run.

    Raises:
        JobInvalid: it cannot be run as it is described.
    """
    _check_command(job)
    _check_inputs(job)
    named = {
        "outputs": job.outputs,
        "output_dirs": job.output_dirs,
        "dep_files": job.dep_files,
        "folders": job.folders,
    }
    for field, paths in named.items():
        for path in paths:
            _check_path(path, field)
    if job.cwd:
        _check_path(job.cwd, "cwd")
    _check_environment(job.env)
    if job.timeout_s is not None and not 0 < job.timeout_s <= JOB_TIMEOUT_S:
        raise JobInvalid(
            reason=f"timeout_s is {job.timeout_s:g}; it is above 0 and at most {JOB_TIMEOUT_S:g}"
        )
    files = [one.path for one in job.inputs]
    _check_no_file_is_a_folder(files, [*job.outputs, *job.output_dirs, *job.dep_files, *job.folders, job.cwd])
    clash = set(files).intersection([*job.outputs, *job.dep_files, *job.folders])
    if clash:
        raise JobInvalid(reason=f"{min(clash)!r} is both an input and an output")
    return JobPlan(job, _folders(job, files), job.timeout_s or JOB_TIMEOUT_S, _title(job))


def _check_command(job: Job) -> None:
    if not job.command:
        raise JobInvalid(reason="command is empty")
    if any("\0" in word for word in job.command):
        raise JobInvalid(reason="a word of command has a NUL in it")
    program = job.command[0]
    if program.startswith("/"):
        return
    if not any(one.path == program and one.executable for one in job.inputs):
        raise JobInvalid(
            reason=f"the program {program!r} is neither an absolute path nor an executable input"
        )


def _check_inputs(job: Job) -> None:
    if len(job.inputs) > MAX_FILES:
        raise JobInvalid(reason=f"{len(job.inputs)} inputs; at most {MAX_FILES}")
    seen: set[str] = set()
    for one in job.inputs:
        _check_path(one.path, "inputs")
        if one.path in seen:
            raise JobInvalid(reason=f"two inputs are called {one.path!r}")
        seen.add(one.path)
        if not digests.is_digest(one.digest):
            raise JobInvalid(reason=f"the input {one.path!r} has no digest but {one.digest[:80]!r}")


def _check_path(path: str, field: str) -> None:
    if not path or path.startswith("/") or "\0" in path or posixpath.normpath(path) != path:
        raise JobInvalid(reason=f"{field}: {path!r} is not a plain relative path")
    if path in (".", "..") or path.startswith("../"):
        raise JobInvalid(reason=f"{field}: {path!r} is not below the root")
    # Two names that are not UTF-8 differ in their bytes only, which JSON does not carry.
    if not is_sendable(path):
        raise JobInvalid(reason=f"{field}: {path!r} is not UTF-8")


def _check_environment(env: Mapping[str, str]) -> None:
    for name, value in env.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise JobInvalid(reason=f"env: {name!r} cannot be a variable")


def _check_no_file_is_a_folder(files: Iterable[str], others: Iterable[str]) -> None:
    known = set(files)
    for path in [*known, *others]:
        above = posixpath.dirname(path)
        while above:
            if above in known:
                raise JobInvalid(reason=f"{above!r} is an input and cannot hold {path!r}")
            above = posixpath.dirname(above)


def _folders(job: Job, files: Iterable[str]) -> list[str]:
    wanted = {posixpath.dirname(path) for path in (*files, *job.outputs, *job.dep_files)}
    wanted.update(job.output_dirs)
    wanted.update(job.folders)
    wanted.add(job.cwd)
    for folder in list(wanted):
        above = posixpath.dirname(folder)
        while above and above not in wanted:
            wanted.add(above)
            above = posixpath.dirname(above)
    return sorted(wanted - {""})


def _title(job: Job) -> str:
    title = job.title or posixpath.basename(job.command[0])
    return "".join(char if char.isprintable() else " " for char in title)[:MAX_TITLE_CHARS]


def reads(paths: Iterable[str], root: str, cwd: str, tmp: str) -> list[str]:
    """Return the files that it read: relative to the root, or absolute outside it; sorted, each once.

    Args:
        paths: as the compiler wrote them.
        root: the job's root, absolute.
        cwd: where it ran, relative to the root.
        tmp: for files between one program and the next, which are not inputs.
    """
    found = set()
    for path in paths:
        absolute = posixpath.normpath(posixpath.join(root, cwd, path))
        if absolute.startswith(f"{tmp}/"):
            continue
        inside = absolute.startswith(f"{root}/")
        found.add(absolute[len(root) + 1 :] if inside else absolute)
    return sorted(found)
