"""The calls of cass and rhea: the typed interfaces, and the values that pass.

Owns the contracts and nothing that fulfils them.

A digest is BLAKE3's 256 bits as 64 lower-case hexadecimal digits (`vx.digests`); a key has the same
form and is made by the caller: to the store it is a name.  Descriptors pass only over Unix
sockets that nobody forwards, and at most `MAX_FDS` beside one message: `vx.cass_client` asks in pieces,
and moves bytes by `Send` and `Receive` where none arrives.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final, Literal

import msgspec

from daemonry import CallError, Fd, Interface, Upgrade, method
from vx import digests

# Descriptors beside one message: daemonry's own bound.
MAX_FDS: Final = 16

# In a manifest's note: the key that its reader asks for next.
NEXT: Final = "next"


def is_sendable(name: str) -> bool:
    """Whether a name is UTF-8; no other can be sent, and compilers do not see its file."""
    return name.isprintable() or not any("\ud800" <= char <= "\udfff" for char in name)


# --- cass: values ---------------------------------------------------------------------------------


class Blob(msgspec.Struct, frozen=True):
    """Content in the store, and its name where it is used.

    Attributes:
        name: a relative path, or whatever the owner of a manifest calls it.
        digest: of the content.
        size: in bytes.
        executable: whether it is given the mode 0555 instead of 0444.
    """

    name: str
    digest: str
    size: int
    executable: bool = False


class Manifest(msgspec.Struct, frozen=True):
    """The blobs under a key.

    Attributes:
        blobs: what the key stands for; while one is not in the store, the manifest is not found.
        note: anything else that its owner wants to find again: texts and whole numbers, a few kilobytes.
        grows: it may be replaced by another one that grows: a list that gets longer.  Any other is written
            once, for what a key stands for does not change.
    """

    blobs: list[Blob] = []
    note: dict[str, Any] = {}
    grows: bool = False


def next_key(manifest: Manifest) -> str | None:
    """Return the key that a manifest's reader asks for next, if its note names one."""
    key = manifest.note.get(NEXT)
    return key if isinstance(key, str) and digests.is_digest(key) else None


class Damage(msgspec.Struct, frozen=True):
    """A file of the store whose content has changed: set aside, and missing from then on.

    Attributes:
        kind: blob or manifest.
        name: its digest or key.
        reason: the fault, in words.
        kept_at: where the damaged file is now.
    """

    kind: Literal["blob", "manifest"]
    name: str
    reason: str
    kept_at: str


class Missing(msgspec.Struct, frozen=True):
    """Which of the digests asked for the store does not have.

    Attributes:
        digests: those, in the order asked.
        damaged: those of them that were there and were damaged.
    """

    digests: list[str] = []
    damaged: list[Damage] = []


class Lookup(msgspec.Struct, frozen=True):
    """Which keys have a manifest whose blobs are all in the store.

    Attributes:
        found: the manifests by key; a key that is not there is a miss.  Those that come along, too.
        damaged: damage found on the way, which may be why a key is not there.
        contents: of the short blobs of manifests that grow, by their digests: no further call reads them.
        left: keys that were asked for and are there, for whose manifests one reply has no room.
    """

    found: dict[str, Manifest] = {}
    damaged: list[Damage] = []
    contents: dict[str, bytes] = {}
    left: list[str] = []


class Held(msgspec.Struct, frozen=True):
    """Nothing that is used from now on is removed by `gc`, until this stream ends.

    Attributes:
        since_s: since when, as seconds since 1970.
    """

    since_s: float


class Verified(msgspec.Struct, frozen=True):
    """How far a check of the whole store is, or something that it found.

    Attributes:
        blobs: checked so far.
        manifests: checked so far.
        size: read so far, in bytes.
        damaged: the damage, if this is about one.
        done: whether this is the last.
    """

    blobs: int
    manifests: int
    size: int
    damaged: Damage | None = None
    done: bool = False


class Collected(msgspec.Struct, frozen=True):
    """What a `gc` did, or would do.

    Attributes:
        removed: blobs and manifests that went.
        removed_bytes: their size.
        kept_bytes: the size of the rest.
        held: blobs and manifests that would have gone, had no build held them.
    """

    removed: int
    removed_bytes: int
    kept_bytes: int
    held: int


class StoreStats(msgspec.Struct, frozen=True):
    """The store in numbers.

    Attributes:
        path: its directory.
        blobs: how many there are.
        manifests: how many there are.
        size: of both, in bytes.
        max_size: beyond which the least recently used go.
        holds: builds that hold their files.
        quarantined: damaged files set aside.
    """

    path: str
    blobs: int
    manifests: int
    size: int
    max_size: int
    holds: int
    quarantined: int


class RemoteBlob(msgspec.Struct, frozen=True):
    """A blob as a remote server names it: its hash there, and its size in bytes."""

    hash: str
    size: int


class SharedState(msgspec.Struct, frozen=True):
    """The shared cache behind the store.

    Attributes:
        url: where it is; "" where there is none.
        failures: how often it failed so far.
        reasons: of the failures since the number that was given, each once.
        skipped: how many questions it was not asked so far, for half a minute after it failed.
    """

    url: str = ""
    failures: int = 0
    reasons: list[str] = []
    skipped: int = 0


# --- cass: errors ---------------------------------------------------------------------------------


class BlobMissing(CallError):
    """Blobs that were asked for are not in the store; nothing was given.

    Put them, or make them again.  Those in `damaged` were there and were set aside just now.
    """

    digests: list[str]
    damaged: list[Damage]


class NameInvalid(CallError):
    """A digest or a key is not 64 lower-case hexadecimal digits, or a manifest cannot be kept."""

    name: str
    reason: str


class KeyTaken(CallError):
    """Another content stands under these keys, and stays; none of the new manifests is kept.

    Get the present ones and use them.
    """

    keys: list[str]


class StoreFull(CallError):
    """The disk, or a quota, has no room; the unfinished file is gone without a trace."""

    path: str
    reason: str


class StoreTrouble(CallError):
    """The store's directory cannot be read or written."""

    path: str
    reason: str


class RemoteLost(CallError):
    """The remote server behind the store cannot be used: the blobs are where they were.

    The reason is "" where an earlier failure has told it.
    """

    reason: str


class Cass(
    Interface,
    name="org.daemonry.vx.Cass",
    errors=(BlobMissing, NameInvalid, KeyTaken, StoreFull, StoreTrouble, RemoteLost),
):
    """The content-addressed store: blobs by their digests, manifests by keys.

    A blob that it says is there has been read and found whole in this run of the store, and is not removed
    while a hold that began before is held.
    """

    @method(reads=True)
    async def missing(self, digests: list[str]) -> Missing:
        """Return which of these blobs are not there; the others count as used now."""
        raise NotImplementedError

    @method(reads=True)
    async def arrived(self, file: Fd) -> bool:
        """Return True: the descriptor came with the message.

        Asked before others are sent: a socket that somebody forwards (`ssh -L`) is a Unix socket, too, and
        descriptors are lost on its way, which is an error of this call.
        """
        raise NotImplementedError

    @method(idempotent=True)
    async def put(self, files: list[Fd]) -> list[str]:
        """Keep the content of files (at most 16), read from their beginnings; return their digests.

        A pipe or socket is read to its end.
        """
        raise NotImplementedError

    @method(reads=True)
    async def get(self, digests: list[str]) -> list[Fd]:
        """Return the store's own files (at most 16), open for reading, in this order.

        All or none: `BlobMissing` names every one that is not there.  Read them by `os.pread`, or
        rewind: two of them may be one blob, each has its own position.
        """
        raise NotImplementedError

    @method(idempotent=True)
    async def put_manifests(self, manifests: dict[str, Manifest]) -> None:
        """Keep manifests under their keys, each of which is written once.

        `KeyTaken`, and nothing is kept, when one is there with other blobs, unless both `grows`.  With the
        same blobs the first stays, and one that could not be found any more makes room.
        `BlobMissing`, and nothing is kept, when one names a blob that is not there.
        """
        raise NotImplementedError

    @method(reads=True)
    async def get_manifests(self, keys: list[str]) -> Lookup:
        """Return the manifests of these keys whose blobs are all there; all of it counts as used now."""
        raise NotImplementedError

    @method(reads=True)
    async def get_shared(self, keys: list[str]) -> Lookup:
        """Return the manifests that the shared cache has under these keys, whatever stands here.

        For lists that grow: another machine's may be longer.  Their blobs are here by then.
        """
        raise NotImplementedError

    @method(reads=True)
    async def shared(self, since: int = 0) -> SharedState:
        """Return how the shared cache is, and why it failed after its failure number `since`."""
        raise NotImplementedError

    @method(idempotent=True)
    async def push(self, digests: list[str]) -> list[RemoteBlob]:
        """Have the remote server keep blobs of the store; return their names there, in this order."""
        raise NotImplementedError

    @method(idempotent=True)
    async def pull(self, blobs: list[RemoteBlob]) -> list[str]:
        """Keep blobs of the remote server, verified; return their digests here, in this order."""
        raise NotImplementedError

    def hold(self) -> AsyncIterator[Held]:
        """Protect all files used from now on from being removed, for as long as this stream is open.

        One value comes, when the hold is there.  A build holds from its first question to its end.
        """
        raise NotImplementedError

    def verify(self) -> AsyncIterator[Verified]:
        """Read the whole store again; set damaged files aside, and report each."""
        raise NotImplementedError

    @method(idempotent=True)
    async def gc(self, max_bytes: int | None = None, dry_run: bool = False) -> Collected:
        """Remove the least recently used until the store is this small; by default, its usual bound."""
        raise NotImplementedError

    @method(reads=True)
    async def stats(self) -> StoreStats:
        """Return the store in numbers."""
        raise NotImplementedError

    @method(reads=True)
    async def send(self, digest: str) -> Upgrade[Blob]:
        """Send a blob's bytes behind the reply, and close; for connections without descriptors."""
        raise NotImplementedError

    async def receive(self, size: int) -> Upgrade[None]:
        """Take `size` bytes behind the reply, and answer with the digest and a line end.

        For connections without descriptors.  Closed without an answer: nothing was kept.
        """
        raise NotImplementedError


# --- rhea: values ---------------------------------------------------------------------------------


class Input(msgspec.Struct, frozen=True):
    """A file that a job may read.

    Attributes:
        path: where it is put, relative to the job's root.
        digest: its content, in the store.
        executable: whether it may be run.
        marked: whether it is an output of a job that `marks`: the root's path is put where its mark is.
    """

    path: str
    digest: str
    executable: bool = False
    marked: bool = False


class Job(msgspec.Struct, frozen=True):
    """A command, and all that it may see.

    It runs in an empty directory, the root, where its inputs are put (read-only) and the folders of
    its outputs are made.  `%{root}` in `command` and `env` stands for the root's absolute path;
    relative paths do without.  The environment is `env` and a few fixed variables (`vx.rhea.job`),
    nothing of rhea's own.

    Attributes:
        command: the program and its arguments; the program is an absolute path, or an input's path.
        inputs: the files that it may read, on top of the compiler's own and the system's.
        outputs: files that it must make, as relative paths.
        output_dirs: directories of which every file is kept; they are made, and may stay empty.
        env: variables.
        cwd: where it runs, relative to the root.
        tool: `rustc` and `cc` get the option that keeps the root's path out of their outputs.
        remap_to: what stands in its place in debug information.
        dep_files: files, relative to the root, in which the compiler lists its inputs (make's format).
        timeout_s: after which it is killed; None for rhea's own bound.
        title: what `status` calls it.
        marks: whether text in `output_dirs` that has the root's path in it is kept with a mark in its place,
            so that it can be used below another root.
        watch_looks: whether `sought` has the paths, too, at which it only looked (stat, access).
        folders: directories that are there, on top of those of inputs and outputs.
    """

    command: list[str]
    inputs: list[Input] = []
    outputs: list[str] = []
    output_dirs: list[str] = []
    env: dict[str, str] = {}
    cwd: str = ""
    tool: Literal["rustc", "cc", "step"] = "step"
    remap_to: str = "/vx"
    dep_files: list[str] = []
    timeout_s: float | None = None
    title: str = ""
    marks: bool = False
    watch_looks: bool = False
    folders: list[str] = []


class Started(msgspec.Struct, frozen=True):
    """The job has a place and its process runs."""

    pid: int
    waited_ms: int


class Output(msgspec.Struct, frozen=True):
    """A piece of the job's output; bytes that are not UTF-8, and NUL, are replaced by U+FFFD."""

    stream: Literal["stdout", "stderr"]
    text: str


class Done(msgspec.Struct, frozen=True):
    """The job has ended by itself, or its time was over.

    Attributes:
        exit_code: of the process; minus the signal's number where a signal ended it.
        timed_out: whether it was killed because its time was over.
        outputs: its outputs, in the store by now; empty unless the exit code is 0.
        stdout: all that it wrote there, as a blob; None for nothing.
        stderr: all that it wrote there, as a blob; None for nothing.
        cut_bytes: the size of its output beyond the part that is kept.
        reads: what its dep files say that it read: relative to the root, or absolute where it is
            outside; sorted, each once.
        undeclared: those of `reads` that lie outside the root.  Whether that is in order is the caller's to
            judge: a system header is (its content belongs into the next key), a source file is not.
        env_reads: the variables that its dep files say that it read (rustc), with None where not set.
        wall_ms: how long it ran.
        cpu_ms: the processor time of it and its children.
        max_rss_kib: the largest of them.
        opened: the files outside the root that it opened or ran, absolute; None where nobody can watch.
        opened_inside: the files below the root that it opened, relative to it.
        opened_folders: the directories that it opened: relative if below the root, else absolute.
        sought: the paths at which it looked for something and nothing is, likewise.
        refused: the files that it opened to write where it may not, likewise; the first few.
        root: where it ran: its output may have this path in it.
        remote: the server whose worker ran it; "" for here.
        not_there: why it ran here although it should have run there; "" for no reason to tell.
    """

    exit_code: int
    timed_out: bool
    outputs: list[Blob]
    stdout: Blob | None
    stderr: Blob | None
    cut_bytes: int
    reads: list[str]
    undeclared: list[str]
    env_reads: dict[str, str | None]
    wall_ms: int
    cpu_ms: int
    max_rss_kib: int
    opened: list[str] | None = None
    opened_inside: list[str] = []
    opened_folders: list[str] = []
    sought: list[str] = []
    refused: list[str] = []
    root: str = ""
    remote: str = ""
    not_there: str = ""


class JobEvent(msgspec.Struct, frozen=True):
    """One of these: `started` once, any number of `output`, `done` as the last."""

    started: Started | None = None
    output: Output | None = None
    done: Done | None = None


class RheaStats(msgspec.Struct, frozen=True):
    """Rhea in numbers, since it started.

    Attributes:
        limit: jobs that run at the same time.
        running: how many do.
        waiting: how many wait for a place.
        finished: that ended by themselves with 0.
        failed: that ended otherwise.
        cancelled: whose caller went away.
        titles: of the running ones.
        sandbox_off: why jobs are not watched; "" where they are.
    """

    limit: int
    running: int
    waiting: int
    finished: int
    failed: int
    cancelled: int
    titles: list[str]
    sandbox_off: str = ""


# --- rhea: errors ---------------------------------------------------------------------------------


class JobInvalid(CallError):
    """The job cannot be run as it is described; nothing ran."""

    reason: str


class ToolMissing(CallError):
    """The program cannot be started; nothing ran."""

    program: str
    reason: str


class InputsMissing(CallError):
    """The store does not have these inputs (any more); nothing ran.  Put them, or make them again."""

    digests: list[str]


class OutputsMissing(CallError):
    """The command said that it succeeded, and did not make these outputs."""

    names: list[str]


class StoreLost(CallError):
    """The store does not answer; the job did not run, or its outputs are not kept."""

    endpoint: str
    reason: str


class ScratchFull(CallError):
    """The disk, or a quota, has no room for the job's inputs or outputs."""

    path: str
    reason: str


class RunnerLost(CallError):
    """The process that runs the commands died, and the command with it.  The next job gets a new one."""

    reason: str


class Rhea(
    Interface,
    name="org.daemonry.vx.Rhea",
    errors=(
        JobInvalid,
        ToolMissing,
        InputsMissing,
        OutputsMissing,
        StoreFull,
        StoreLost,
        ScratchFull,
        RunnerLost,
    ),
):
    """Runs commands that see their declared inputs only, several at once."""

    def run(self, job: Job) -> AsyncIterator[JobEvent]:
        """Run a job.  When the stream is left, or the caller is gone, it and its children are killed."""
        raise NotImplementedError

    @method(reads=True)
    async def stats(self) -> RheaStats:
        """Return rhea in numbers."""
        raise NotImplementedError
