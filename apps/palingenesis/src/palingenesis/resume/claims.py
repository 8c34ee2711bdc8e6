"""The claims of a session: `.palingenesis/ID.NUMBER/` beside its record, one directory for each try.

Owns the files.  A claim is written in full under another name and takes its own by rename(2), which only one
process can do: the name is that of a directory that is not empty.  So there is no lock that could be left
behind, and a claim is there as a whole or not at all.  In it are

    claim.json      who tries what
    begun           the gate: the run makes this file before it becomes the agent, with its number; as a
                    directory, it is made by others, and the run can never begin
    ended.json      what became of it, once its process has accounted for it

What a claim means for the next one is decided by `claim_rules`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
import sys
import time
import uuid
from typing import Final

from daemonry import read_regular, write_atomically
from palingenesis import names_json
from palingenesis.evidence import processes
from palingenesis.resume import shared_place
from palingenesis.resume.claim_rules import ClaimEnd, KnownClaim, Lives, Outcome, SessionClaim

MARK_VARIABLE: Final = "PALINGENESIS_RUN"
MAX_BYTES: Final = 64 * 2**10
# Claims of sessions that nobody tries any more, and what a killed process left unfinished.
KEEP_S: Final = 30 * 86400.0
UNFINISHED_S: Final = 3600.0
_UNFINISHED: Final = ".new-"
_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def machine() -> str:
    """Return what names the place where processes are numbered: a machine, or a container on it."""
    try:
        named = read_regular("/etc/machine-id", 256).decode("ascii", "replace").strip()
    except OSError:
        named = ""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = sys.platform
    return f"{named or os.uname().nodename}/{space}"


def last(path: str, session_id: str) -> KnownClaim | None:
    """Return the latest claim of a session; None for no claim yet.

    Args:
        path: the session's record.
        session_id: the session's id.

    Raises:
        OSError: the place of claims cannot be read, or is another user's.
    """
    directory = _directory_of(path)
    if not os.path.lexists(shared_place.path_in(directory)):
        return None
    place = shared_place.place_in(directory)
    number = max(_numbers(place, session_id), default=0)
    if not number:
        return None
    return _known(os.path.join(place, f"{_name(session_id)}.{number}"), number)


def take(path: str, session_id: str, claim: SessionClaim, after: KnownClaim | None) -> str:
    """Make the claim that follows another one, and return its gate; "" where somebody else was first.

    Raises:
        OSError: it cannot be written.
    """
    place = shared_place.place_in(_directory_of(path))
    number = 1 if after is None else after.number + 1
    target = os.path.join(place, f"{_name(session_id)}.{number}")
    unfinished = os.path.join(place, f"{_UNFINISHED}{uuid.uuid4().hex}")
    os.mkdir(unfinished, 0o700)
    try:
        write_atomically(os.path.join(unfinished, "claim.json"), names_json.encode(claim), mode=0o600)
        os.rename(unfinished, target)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return ""
        raise
    if max(_numbers(place, session_id), default=0) != number:  # this process slept meanwhile
        shutil.rmtree(target, ignore_errors=True)
        return ""
    _sweep(place, session_id, number)
    return os.path.join(target, "begun")


def refuse(gate: str) -> bool:
    """Refuse a run its beginning; return whether that is so: False where it has begun."""
    try:
        os.mkdir(gate, 0o700)
    except FileExistsError:
        return os.path.isdir(gate)
    return True


def begin_here(gate: str) -> bool:
    """Begin a run in this process; return whether it may: False where another has refused that."""
    try:
        fd = os.open(gate, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return False
    try:
        os.write(fd, f"{os.getpid()}\n".encode())
    finally:
        os.close(fd)
    return True


def end(gate: str, outcome: Outcome, continued_by: str = "") -> None:
    """Note what became of a claim; where that cannot be, others find out by its processes."""
    told = names_json.encode(ClaimEnd(outcome, continued_by))
    with contextlib.suppress(OSError):
        write_atomically(os.path.join(os.path.dirname(gate), "ended.json"), told, mode=0o600)


def gate_of(path: str, session_id: str, known: KnownClaim) -> str:
    """Return the gate of a known claim."""
    place = shared_place.path_in(_directory_of(path))
    return os.path.join(place, f"{_name(session_id)}.{known.number}", "begun")


def is_marked(pid: int, token: str) -> bool:
    """Whether a process has a run's mark; True where environments cannot be seen on this system."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return f"{MARK_VARIABLE}={token}".encode() in file.read(2**20).split(b"\0")
    except OSError:
        return not os.path.isdir("/proc/self")


def _directory_of(path: str) -> str:
    """Return where a record really is: links may lead several homes to it."""
    return os.path.dirname(os.path.realpath(path))


def _name(session_id: str) -> str:
    if _PLAIN_ID.fullmatch(session_id):
        return session_id
    digest = hashlib.blake2b(session_id.encode("utf-8", "surrogateescape"), digest_size=16)
    return f"_{digest.hexdigest()}"


def _numbers(place: str, session_id: str) -> list[int]:
    name = _name(session_id)
    found = (one.rpartition(".") for one in os.listdir(place))
    return [int(number) for before, _, number in found if before == name and number.isdecimal()]


def _known(directory: str, number: int) -> KnownClaim:
    claim = _claim(directory)
    is_begun = is_void = False
    run_pid = 0
    gate = os.path.join(directory, "begun")
    with contextlib.suppress(OSError):
        mode = os.lstat(gate).st_mode
        is_void, is_begun = stat.S_ISDIR(mode), not stat.S_ISDIR(mode)
    with contextlib.suppress(OSError, ValueError):
        run_pid = int(read_regular(gate, 32)) if is_begun else 0
    ended: ClaimEnd | None = None
    with contextlib.suppress(OSError, ValueError):
        ended = names_json.decode(read_regular(os.path.join(directory, "ended.json"), MAX_BYTES), ClaimEnd)
    owner = _lives(claim, claim.pid, claim.start)
    run = owner
    if run_pid and not claim.in_terminal and owner is not Lives.UNKNOWN:
        is_there = _is_this_boot(claim) and processes.start_of(run_pid) and is_marked(run_pid, claim.token)
        run = Lives.YES if is_there else Lives.NO
    return KnownClaim(number, claim, is_begun, is_void, ended, owner, run, run_pid)


def _claim(directory: str) -> SessionClaim:
    """Return a claim's content; where that cannot be read, one of which nothing is known."""
    path = os.path.join(directory, "claim.json")
    try:
        return names_json.decode(read_regular(path, MAX_BYTES), SessionClaim)
    except (OSError, ValueError):
        changed_s = os.stat(directory).st_mtime if os.path.isdir(directory) else 0.0
        return SessionClaim("", os.path.basename(directory), "", changed_s, "", "", 0, "")


def _is_this_boot(claim: SessionClaim) -> bool:
    return claim.boot == processes.boot_id()


def _lives(claim: SessionClaim, pid: int, start: str) -> Lives:
    if claim.machine != machine():
        return Lives.UNKNOWN
    lives = _is_this_boot(claim) and bool(start) and processes.start_of(pid) == start
    return Lives.YES if lives else Lives.NO


def _sweep(place: str, session_id: str, number: int) -> None:
    """Remove a session's earlier claims, those that nobody looks at any more, and unfinished ones."""
    name, now_s = _name(session_id), time.time()
    for one in os.listdir(place):
        before, _, count = one.rpartition(".")
        path = os.path.join(place, one)
        try:
            age_s = now_s - os.lstat(path).st_mtime
        except OSError:
            continue
        is_earlier = before == name and count.isdecimal() and int(count) < number
        is_left = one.startswith(_UNFINISHED) and age_s > UNFINISHED_S
        is_old = before != name and count.isdecimal() and age_s > KEEP_S
        if is_earlier or is_left or is_old:
            shutil.rmtree(path, ignore_errors=True)


def new_claim(session: str, token: str, stop: str, *, in_terminal: bool = False) -> SessionClaim:
    """Return a claim of this process, made now."""
    pid = os.getpid()
    return SessionClaim(
        session, token, stop, time.time(), processes.boot_id(), machine(), pid, processes.start_of(pid),
        in_terminal,
    )  # fmt: skip
