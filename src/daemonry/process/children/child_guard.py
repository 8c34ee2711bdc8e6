"""A guard: one process that ends all children of this one, however this one ends.

    guard = ChildGuard(reaper)
    place = guard.enter(mark)               # before the child is there
    guard.born(place, group, start_time)    # as soon as it is
    guard.leave(place)                      # when it has ended, and left nothing

`lifeline` has a watcher for each child, which is right for a few.  A supervisor with hundreds has one
guard: a shell that reads a pipe whose other end only this process has, and a table, which both share.
Entering a child is one write into the table and wakes nobody.  When this process ends, also by SIGKILL,
the kernel closes the pipe; the guard then ends what the table names by one look at all processes (see
`sweep`): SIGTERM, and after the grace SIGKILL.

Each child leads a process group.  One that was being started when this process was killed is found by its
mark: the pipe is still open in it until it is about to become its program.

Owns the guard's start, its table, and starting another one where somebody has killed it.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from typing import Final

from daemonry.limits import OWNED_GRACE_S
from daemonry.process import sweep
from daemonry.process.children.reaping import Reaper
from daemonry.process.forks import not_for_children
from daemonry.process.program import launching

logger: logging.Logger = logging.getLogger("daemonry.home")

# Signals to all processes of a terminal or a group are for others.
_NOT_FOR_GUARD: Final[tuple[str, ...]] = ("HUP", "INT", "QUIT", "ALRM", "TERM", "USR1", "USR2", "PIPE")

# $1 the table's descriptor, $2 the session, $3 the grace, then the words by which `sweep` runs.  The second
# half is for when these do not start any more.
_GUARD: Final = f"""
trap '' {" ".join(_NOT_FOR_GUARD)}
read -r _
table=$1 session=$2 grace=$3
shift 3
"$@" table "$table" "$session" "$grace" || while read -r group _; do
    test "${{group:-0}}" -gt 0 && kill -s KILL -- "-$group"
done <"/dev/fd/$table"
"""

# "GROUP START_TIME MARK": two numbers of up to 20 digits and 16 characters.  Written at once, each is
# whole whenever this process is killed.
_ROW_BYTES: Final = 64
_BLANK: Final = b" " * (_ROW_BYTES - 1) + b"\n"


class ChildGuard:
    """Ends this process's children when it ends.  For the thread that runs the loop.

    Args:
        reaper: collects the guard, if somebody kills it.
        session: a session of which every process is this one's to end, or 0.
        grace_s: the time between SIGTERM and SIGKILL once this process has died, in seconds.
    """

    def __init__(self, reaper: Reaper, session: int = 0, grace_s: float = OWNED_GRACE_S) -> None:
        self._reaper = reaper
        self._words = (str(session), f"{grace_s:g}")
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = -1
        self._table = -1
        self._rows: dict[int, bytes] = {}
        self._free: list[int] = []
        not_for_children(self)

    def __repr__(self) -> str:
        return f"<ChildGuard {self.pid or 'not started'} of {len(self._rows)} children>"

    @property
    def pid(self) -> int:
        """The guard's process id; 0 where none is needed yet."""
        return 0 if self._process is None else self._process.pid

    def enter(self, mark: str) -> int:
        """Enter a child that is about to be started, and return its place in the table.

        Raises:
            OSError: there is no guard, and none can be started; the child must not be.
        """
        if self._table < 0:
            self._table = _new_table()
        if self._process is None:
            self._start()
        place = self._free.pop() if self._free else len(self._rows)
        self._write(place, f"0 0 {mark}".encode())
        return place

    def born(self, place: int, group: int, start_time: int) -> None:
        """Enter a child's process group, and when its leader was started, in the system's units."""
        mark = self._rows[place].split()[2].decode()
        self._write(place, f"{group} {start_time} {mark}".encode())

    def leave(self, place: int) -> None:
        """Forget a child that has ended and left nothing.  Twice is not an error."""
        if self._rows.pop(place, None) is not None:
            os.pwrite(self._table, _BLANK, place * _ROW_BYTES)
            self._free.append(place)

    def close(self) -> None:
        """End the guard, which has nothing to do any more; where it has, it waits for our end."""
        if self._process is None or self._rows:
            return
        self._process.kill()
        self._process.wait()
        self._process = None
        self.drop_in_child()

    def drop_in_child(self) -> None:
        """Let go of the lifeline, which must not keep the children of a dead parent alive."""
        for fd in (self._lifeline, self._table):
            if fd >= 0:
                os.close(fd)
        self._lifeline = self._table = -1

    def _write(self, place: int, row: bytes) -> None:
        os.pwrite(self._table, row.ljust(_ROW_BYTES - 1) + b"\n", place * _ROW_BYTES)
        self._rows[place] = row

    def _start(self) -> None:
        far, self._lifeline = os.pipe()
        sweeping = launching.script_words(sweep.__file__, launching.SWEEP)
        words = [str(self._table), *self._words, *sweeping]
        # Without our own mark: who ends us would otherwise end it before it has done its work.
        environment = launching.environment(os.environ)
        environment.pop(sweep.MARK_VARIABLE, None)
        blocked = {getattr(signal, f"SIG{name}") for name in _NOT_FOR_GUARD}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)  # of this thread, for its child
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "daemonry-guard", *words],
                stdin=far,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=environment,
                pass_fds=(self._table,),
                process_group=0,
            )
        except BaseException:
            os.close(self._lifeline)
            self._lifeline = -1
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(far)
        self._reaper.watch(self._process.pid, self._collect)

    def _collect(self) -> None:
        """Start another guard, with the same table, in the place of one that somebody has killed."""
        if self._process is None or self._process.poll() is None:
            return
        self._process = None
        os.close(self._lifeline)
        self._lifeline = -1
        logger.warning("the guard of the services was killed; starting another one")
        try:
            self._start()
        except OSError as error:
            logger.error("services would outlive a killed supervisor: no guard: %s", error)


def _new_table() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("daemonry-guard", os.MFD_CLOEXEC)
    import tempfile  # with all kinds of archives, for systems that are not Linux

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
