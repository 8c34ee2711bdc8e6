"""The tries of all processes of this user, by account: `scouts.json` beside the account's sessions.

Owns the file and its lock.  The daemon and each `palingenesis run` begin tries of their own; here they see
those of the others.  What may begin is decided by `turns`.  The file is about now: one that is damaged is
begun anew.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from daemonry import open_regular, read_regular, write_atomically
from palingenesis import names_json
from palingenesis.evidence import processes
from palingenesis.resume import shared_place, turns
from palingenesis.resume.turns import Claim, Limit, Wait

MAX_BYTES: Final = 2**20
MAX_KEPT: Final = 1_000
# The lock is held for one small file; a process that was stopped with it holds up nobody for longer.
LOCK_WAIT_S: Final = 2.0
_POLL_S: Final = 0.02


class Busy(Exception):
    """Another process has the lock for too long."""


class _Turns(msgspec.Struct, frozen=True):
    claims: tuple[Claim, ...] = ()
    limits: tuple[Limit, ...] = ()


class Scouts:
    """The files of all accounts.

    Args:
        state_dir: for accounts of which the directory is not known, or cannot be written.
    """

    def __init__(self, state_dir: str) -> None:
        self._state_dir = state_dir

    def claim(self, account: str, key: str, since_s: float) -> Wait | None:
        """Take the turn of an account for a session, or return until when it has to wait.

        Args:
            account: whose limit it is under.
            key: the session.
            since_s: when its try was decided on.
        """
        pid = os.getpid()
        wanted = Claim(account, key, time.time(), pid, processes.start_of(pid))
        try:
            with self._locked(account) as path:
                kept = _read(path)
                wait = turns.wait_for_others(kept.claims, kept.limits, wanted, since_s, _lives)
                if wait is None:
                    _write(path, [*_others(kept, account, key), wanted], kept.limits)
                return wait
        except (Busy, OSError) as error:
            return Wait(wanted.began_s + turns.ASK_AGAIN_S, f"whose turn it is cannot be seen: {error}")

    def belongs_to(self, account: str, key: str, pid: int, *, is_scout: bool = True) -> None:
        """Note the process of a try that has begun."""
        start = processes.start_of(pid)

        def changed(claim: Claim | None) -> Claim:
            began_s = time.time() if claim is None else claim.began_s
            return Claim(account, key, began_s, pid, start, is_scout)

        self._change(account, key, changed)

    def let_others(self, account: str, key: str, limit_until_s: float | None = None) -> None:
        """The model has answered, or the try is over; where it met a limit, that holds for its account."""

        def changed(claim: Claim | None) -> Claim | None:
            return None if claim is None else msgspec.structs.replace(claim, is_scout=False)

        limit = None if limit_until_s is None else Limit(account, limit_until_s, time.time())
        self._change(account, key, changed, limit)

    def _change(
        self,
        account: str,
        key: str,
        changed: Callable[[Claim | None], Claim | None],
        limit: Limit | None = None,
    ) -> None:
        """Write what becomes of a session's claim; where that cannot be, others wait a little longer."""
        with contextlib.suppress(Busy, OSError), self._locked(account) as path:
            kept = _read(path)
            mine = next((one for one in kept.claims if (one.account, one.key) == (account, key)), None)
            claim = changed(mine)
            limits = [one for one in kept.limits if limit is None or one.account != account]
            claims = [*_others(kept, account, key), *filter(None, [claim])]
            _write(path, claims, [*limits, *filter(None, [limit])])

    @contextlib.contextmanager
    def _locked(self, account: str) -> Iterator[str]:
        """Hold the lock of an account's file, and give its path."""
        place = self._place(account)
        lock = os.path.join(place, "scouts.lock")
        fd = open_regular(lock, os.O_RDWR | os.O_CREAT)
        try:
            deadline_s = time.monotonic() + LOCK_WAIT_S
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline_s:
                        raise Busy(f"{lock} is held") from None
                    time.sleep(_POLL_S)
            yield os.path.join(place, "scouts.json")
        finally:
            os.close(fd)

    def _place(self, account: str) -> str:
        """Return the directory of an account's file: beside its sessions, where all can see it."""
        sessions = account.partition(":")[2]
        if os.path.isabs(sessions):
            with contextlib.suppress(OSError):
                place = shared_place.place_in(sessions)
                if os.access(place, os.W_OK):
                    return place
        return self._state_dir


def _read(path: str) -> _Turns:
    try:
        return names_json.decode(read_regular(path, MAX_BYTES), _Turns)
    except (FileNotFoundError, ValueError):
        return _Turns()
    except OSError as error:
        if error.errno == errno.EFBIG:
            return _Turns()
        raise


def _write(path: str, claims: Iterable[Claim], limits: Iterable[Limit]) -> None:
    kept, ahead = turns.still_of_use(claims, limits, time.time())
    told = _Turns(tuple(kept[-MAX_KEPT:]), tuple(ahead[-MAX_KEPT:]))
    write_atomically(path, names_json.encode(told), mode=0o600)


def _others(kept: _Turns, account: str, key: str) -> list[Claim]:
    return [one for one in kept.claims if (one.account, one.key) != (account, key)]


def _lives(claim: Claim) -> bool:
    return bool(claim.start) and processes.start_of(claim.pid) == claim.start
