"""A job of rhea as an Action for other machines' workers, and what came of it.

A worker has compilers and headers of its own.  So the command is a small shell script around the job's: it
compares the compiler with ours first (`identity_script` prints the same, or nothing runs), and lists the
digests of the headers outside its directory that the compiler read.  Our compiler's digest is in the Action,
so no result of another compiler is found under it.

Only compilations go to workers: what a linker or another command reads there, nobody tells.  Owns the script,
the messages, and reading the list.  Pure.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from vx.interfaces import Job
from vx.remote.digest_functions import DigestFunction, RemoteDigest
from vx.remote.failures import RemoteFailed
from vx.remote.protos import remote_execution_pb2 as reapi
from vx.reproducible import JOB_ENVIRONMENT

ROOT_MARK: Final = "%{root}"
# A worker may have its inputs in `/` itself, which is no prefix to know a path by.
ROOT_FOLDER: Final = "root"
# Where the script writes its list of files; an output as the others.
SEEN: Final = ".vx-remote/seen"
TMP: Final = ".vx-remote/tmp"
MAX_SEEN_BYTES: Final = 4 << 20
# The exit code of the script where the compiler is another.
OTHER_COMPILER: Final = 117

# The parts of a compiler that decide about its outputs.  gcc's driver is a small program that runs others.
# A program with a build ID, the SHA-1 that the linker made of its content (a note, in either byte order), is
# known by its first and last page and its size: to hash cc1 and cc1plus, 70 MB, takes longer than most
# compilations.  Any other file is hashed whole.
_IDENTITY: Final = """\
tool=%(tool)s
content() {
  case $(od -An -v -tx1 -N4096 < "$1" | tr -d ' \\n') in
  (*040000001400000003000000474e5500* | *000000040000001400000003474e5500*)
    { wc -c < "$1"; head -c 4096 < "$1"; tail -c 4096 < "$1"; } | sha256sum ;;
  (*) sha256sum < "$1" ;;
  esac
}
{
if [ %(kind)s = rustc ]; then
  "$tool" -vV; content "$tool"; cd "$("$tool" --print sysroot)/lib" && wc -c *.so
else
  "$tool" --version; content "$tool"
  for part in cc1 cc1plus as; do
    path=$("$tool" -print-prog-name=$part) && path=$(command -v "$path") && content "$path"
  done
fi
} 2>/dev/null
"""

_SCRIPT: Final = """\
ROOT=$PWD
mkdir -p %(folders)s
export HOME="$ROOT/%(tmp)s" TMPDIR="$ROOT/%(tmp)s"
is=$( (%(identity)s) | sha256sum | cut -c1-64)
if [ "$is" != "$VX_COMPILER" ]; then echo "vx: another compiler: $is" >&2; exit %(other)d; fi
%(exports)s
cd "$ROOT/%(cwd)s" || exit 1
%(command)s
status=$?
cd "$ROOT"
{
  echo "$ROOT"
  cat %(dep_files)s /dev/null | tr -d '\\\\' | tr ' ' '\\n' | grep '^/' | sed 's/:$//' | sort -u |
  {
    while read -r path; do
      [ -f "$path" ] && set -- "$@" "$path"
      if [ $# -ge 256 ]; then sha256sum "$@"; set --; fi
    done
    if [ $# -gt 0 ]; then sha256sum "$@"; fi
  }
} > %(seen)s
exit $status
"""


class RemoteAction(NamedTuple):
    """An Action and its parts.

    Attributes:
        digest: its name.
        blobs: it, its command and its directories.
    """

    digest: RemoteDigest
    blobs: dict[RemoteDigest, bytes]


class Seen(NamedTuple):
    """The list that the script wrote.

    Attributes:
        root: the directory in which the job ran.
        files: SHA-256 of the files outside it that the compiler lists.
    """

    root: str
    files: dict[str, str]


def goes_there(job: Job) -> bool:
    """Whether a job may run on a worker."""
    if job.tool not in ("cc", "rustc") or not job.dep_files or job.output_dirs or job.marks:
        return False
    if not job.command[0].startswith("/") or any(one.marked for one in job.inputs):
        return False
    # A program that rustc makes is linked: by what, it does not tell.
    return job.tool == "cc" or all(one.endswith((".rlib", ".rmeta", ".d")) for one in job.outputs)


def identity_script(job: Job) -> str:
    """Return the script that prints what tells a job's compiler from others."""
    return _IDENTITY % {"tool": shlex.quote(job.command[0]), "kind": job.tool}


def script(job: Job, folders: Iterable[str]) -> str:
    """Return the script that runs a job on a worker.

    Args:
        job: it.
        folders: to make, relative to the root.
    """
    program, *arguments = job.command
    remap = {"rustc": "--remap-path-prefix=%{root}=", "cc": "-ffile-prefix-map=%{root}="}[job.tool]
    words = [program, remap + job.remap_to, *arguments]
    made = {*folders, posixpath.dirname(SEEN), TMP, *map(posixpath.dirname, [*job.outputs, *job.dep_files])}
    return _SCRIPT % {
        "folders": " ".join(shlex.quote(one) for one in sorted(made - {""})),
        "tmp": TMP,
        "identity": identity_script(job),
        "other": OTHER_COMPILER,
        "exports": "\n".join(
            f"export {name}={_quoted(value)}" for name, value in sorted(job.env.items()) if _is_name(name)
        ),
        "cwd": job.cwd.replace('"', ""),
        "command": " ".join(_quoted(word) for word in words),
        "dep_files": " ".join(shlex.quote(one) for one in job.dep_files),
        "seen": SEEN,
    }


def action(
    job: Job,
    folders: Iterable[str],
    inputs: Mapping[str, RemoteDigest],
    compiler: str,
    platform: Mapping[str, str],
    timeout_s: float,
    function: DigestFunction,
) -> RemoteAction:
    """Return the Action for a job.

    Args:
        job: it.
        folders: to make, relative to the root.
        inputs: the names there of its inputs, by their paths.
        compiler: SHA-256 of what `identity_script` prints here.
        platform: which workers may run it.
        timeout_s: after which it is killed.
        function: names blobs.
    """
    command = reapi.Command(arguments=["/bin/sh", "-c", script(job, folders)], working_directory=ROOT_FOLDER)
    outputs = sorted({*job.outputs, *job.dep_files, SEEN})
    command.output_paths.extend(outputs)
    command.output_files.extend(outputs)  # for servers of before 2.1
    for name, value in sorted({**JOB_ENVIRONMENT, "VX_COMPILER": compiler}.items()):
        command.environment_variables.add(name=name, value=value)
    made = reapi.Action()
    for name, value in sorted(platform.items()):
        command.platform.properties.add(name=name, value=value)
        made.platform.properties.add(name=name, value=value)
    blobs: dict[RemoteDigest, bytes] = {}
    runs = {one.path for one in job.inputs if one.executable}
    inside = _directory(inputs, runs, blobs, function)
    above = reapi.Directory()
    child = above.directories.add(name=ROOT_FOLDER)
    child.digest.hash, child.digest.size_bytes = inside
    made.input_root_digest.CopyFrom(_kept(above, blobs, function))
    made.command_digest.CopyFrom(_kept(command, blobs, function))
    made.timeout.seconds = max(1, round(timeout_s))
    told = _kept(made, blobs, function)
    return RemoteAction(RemoteDigest(told.hash, told.size_bytes), blobs)


def seen(data: bytes) -> Seen:
    """Return what the script wrote.

    Raises:
        RemoteFailed: it is not the script's.
    """
    first, *lines = data.decode("utf-8", "surrogateescape").split("\n")
    files = {}
    for line in lines:
        digest, gap, path = line.partition("  ")
        if line and (not gap or len(digest) != 64 or not path.startswith("/")):
            raise RemoteFailed("a worker's list of files cannot be read")
        if line:
            files[path] = digest
    if not first.startswith("/"):
        raise RemoteFailed("a worker's list of files cannot be read")
    return Seen(first, files)


def _directory(
    files: Mapping[str, RemoteDigest],
    runs: set[str],
    blobs: dict[RemoteDigest, bytes],
    function: DigestFunction,
    above: str = "",
) -> RemoteDigest:
    """Return the name of a directory's message; it and those below it are put into `blobs`."""
    below: dict[str, dict[str, RemoteDigest]] = {}
    message = reapi.Directory()
    for path, digest in sorted(files.items()):
        name, slash, rest = path.partition("/")
        if slash:
            below.setdefault(name, {})[rest] = digest
        else:
            node = message.files.add(name=name, is_executable=f"{above}{path}" in runs)
            node.digest.hash, node.digest.size_bytes = digest
    for name, inside in sorted(below.items()):
        child = message.directories.add(name=name)
        found = _directory(inside, runs, blobs, function, f"{above}{name}/")
        child.digest.hash, child.digest.size_bytes = found
    told = _kept(message, blobs, function)
    return RemoteDigest(told.hash, told.size_bytes)


def _kept(
    message: reapi.Directory | reapi.Command | reapi.Action,
    blobs: dict[RemoteDigest, bytes],
    function: DigestFunction,
) -> reapi.Digest:
    data = message.SerializeToString(deterministic=True)
    digest = function.of(data)
    blobs[digest] = data
    return reapi.Digest(hash=digest.hash, size_bytes=digest.size)


def _quoted(word: str) -> str:
    """Return a word for the shell, with the root's path in the place of its mark."""
    return '"$ROOT"'.join(shlex.quote(part) if part else "" for part in word.split(ROOT_MARK)) or "''"


def _is_name(name: str) -> bool:
    return name.isascii() and name.isidentifier()
