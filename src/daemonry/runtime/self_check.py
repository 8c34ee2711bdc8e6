"""What the watchdog's thread looks at, whatever the loop does, and what calls for each look.

Owns the duties: the standby's turn, a drain that hangs, the crash file's size, our own lock file and record,
which somebody may remove, the socket file, and the program's own files.  What waits, and runs them, is
`watchdog`.

Nothing is looked at by the clock in a daemon that has nothing to do.  A client that comes calls for the
standby; the system's notices of changed files call for the files; the end calls for everything.  While
something is amiss, or where there are no notices, the clock does.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from daemonry import clock
from daemonry.errors import DaemonryError
from daemonry.limits import DRAIN_GRACE_S, GUARDIAN_TICK_S, PROGRAM_CHECK_S, SOCKET_CHECK_S
from daemonry.process import crash_file
from daemonry.runtime.looks import DueLook, earliest
from daemonry.runtime.program_gone import ProgramWatch
from daemonry.runtime.shutdown import announce_end
from daemonry.runtime.watchdog import Wait
from daemonry.service.server.code_position import frame_of, where
from daemonry.transport.file_watch import PathWatch

if TYPE_CHECKING:
    from daemonry.runtime.control_plane import ControlPlane
    from daemonry.runtime.shutdown import ImmediateEnd
    from daemonry.runtime.stage_results import Listening

logger: logging.Logger = logging.getLogger("daemonry.daemon")

# sysexits.h: an internal software error.  The guardian ends a process that cannot end by itself.
EXIT_HUNG: Final = 70
_CRASH_FILE_CHECK_S: Final = 5.0


class SelfCheck:
    """The watchdog's duties for one daemon.

    Args:
        listening: the daemon.
        plane: its control plane.
        end_at_once: ends the process with an exit code.
    """

    def __init__(self, listening: Listening, plane: ControlPlane, end_at_once: ImmediateEnd) -> None:
        request = listening.prepared.request
        self._place = request.place
        self._foreground = request.foreground
        self._drain_timeout_s = request.daemon.drain_timeout_s
        self._listening = listening
        self._state = listening.prepared.state
        self._publication = listening.publication
        self._plane = plane
        self._end_at_once = end_at_once
        self._end_at_s: float | None = None
        self._client_due_s: float | None = None
        self._files_troubled = False
        self._program = ProgramWatch(request.program_files)
        self._notices = PathWatch()
        self._listener_changed = False
        self._rearm = DueLook(self._watch_files, SOCKET_CHECK_S)
        self._files = DueLook(self._restore_files, SOCKET_CHECK_S)
        self._socket = DueLook(self._look_at_socket, SOCKET_CHECK_S)
        self._gone = DueLook(self._watch_program, PROGRAM_CHECK_S)
        self._crash = DueLook(self._cap_crash_file, _CRASH_FILE_CHECK_S)
        self._looks = (self._rearm, self._files, self._socket, self._gone, self._crash)
        self._rearm.call_for(SOCKET_CHECK_S)  # not while it comes up

    def look(self, ready: frozenset[int]) -> Wait:
        """Do the duties that are due, and return the next wait."""
        self._look_at_clients(ready)
        if self._state.stopping.is_set() or self._plane.closed:
            self._watch_drain()
        if self._notices.fileno() in ready:
            self._take_notices()
        if self._listener_changed:
            self._listener_changed = False
            self._rearm.call_for()
        now_s = clock.monotonic()
        for look in self._looks:
            look.run_if_due(now_s)
        due_s = earliest(self._client_due_s, *(look.due_at_s for look in self._looks))
        timeout_s = None if due_s is None else max(0.0, due_s - clock.monotonic())
        notices = self._notices.fileno()
        fds = (notices,) if notices >= 0 else ()
        return Wait(timeout_s, fds, self._listener_fd() if self._client_due_s is None else -1)

    def _listener_fd(self) -> int:
        listener = self._listening.server.listener
        return -1 if listener is None else listener.fileno()

    # --- clients, and the end -----------------------------------------------------------------------

    def _look_at_clients(self, ready: frozenset[int]) -> None:
        """Have the standby look once somebody has waited for a while, and go on until nobody waits."""
        now_s, standby = clock.monotonic(), self._plane.standby
        if self._client_due_s is None and self._listener_fd() in ready:
            self._client_due_s = now_s
        if self._plane.closed:
            standby.refuse_all(also_at_listener=False)
            self._client_due_s = now_s + GUARDIAN_TICK_S
        elif self._client_due_s is None:
            if not standby.is_quiet or self._state.stopping.is_set():
                self._client_due_s = now_s + GUARDIAN_TICK_S
        elif now_s >= self._client_due_s:
            standby.tick(GUARDIAN_TICK_S)
            goes_on = not standby.is_quiet or self._state.stopping.is_set()
            wait_s = GUARDIAN_TICK_S if standby.stuck_for_s is None else 0.0
            self._client_due_s = clock.monotonic() + wait_s if goes_on else None

    def _watch_drain(self) -> None:
        now_s = clock.monotonic()
        if self._end_at_s is None:
            self._end_at_s = now_s + self._drain_timeout_s + DRAIN_GRACE_S
            announce_end(self._listening)  # a stuck loop does not
        elif now_s >= self._end_at_s:
            logger.error("the end hangs, held up by %s; ending at once", self._where_stuck())
            self._end_at_once(EXIT_HUNG)

    def _where_stuck(self) -> str:
        return ", ".join(self._state.held_up_by() or _waited_for_threads()) or self._plane.standby.stuck_at()

    # --- files --------------------------------------------------------------------------------------

    def _take_notices(self) -> None:
        elsewhere, written = self._notices.take()
        if elsewhere:
            for look in (self._rearm, self._files, self._socket, self._gone):
                look.call_for()
        if written:
            self._crash.call_for()

    def note_listener(self) -> None:
        """Take note that the listener and its file may be other ones, for the next look; from any thread."""
        self._listener_changed = True

    def _watch_files(self) -> bool:
        """Watch the files that there are now; all looks that follow see what changed before."""
        place, socket_path = self._place, self._listening.server.path
        own = {place.life_lock_path, place.record_path}
        socket = {socket_path} if socket_path is not None and socket_path.startswith("/") else set()
        program = set(self._program.paths)
        crash = "" if self._foreground else place.crash_path
        unwatched = self._notices.arm(own | socket | program, crash)
        self._files.by_clock = bool(unwatched & own)
        self._socket.by_clock = bool(unwatched & socket)
        self._gone.by_clock = bool(unwatched & program)
        self._crash.by_clock = crash in unwatched
        for look in self._looks[1:]:
            look.call_for()
        # A missing file has no notices: once it is back, it is watched again.
        return bool(unwatched)

    def _look_at_socket(self) -> bool:
        loop, calls = self._state.loop, self._listening.server.file_calls
        if loop is not None and calls is not None:
            try:
                loop.call_soon_threadsafe(calls.set)
            except RuntimeError:
                pass  # closed: the daemon is ending
        return False

    def _cap_crash_file(self) -> bool:
        if not self._foreground and crash_file.cap(self._place.crash_path):
            logger.warning("the crash file was full and has been cut")
        return False

    def _watch_program(self) -> bool:
        if self._state.stopping.is_set():
            return False
        gone = self._program.gone(clock.monotonic())
        if gone:
            logger.warning("the program is gone (%s): ending", gone)
            self._state.stop()
        return self._program.is_missing

    def _restore_files(self) -> bool:
        try:
            was_well = self._publication.restore()
            self._files_troubled = False
        except (OSError, DaemonryError) as error:
            if not self._files_troubled:
                logger.error("the lock file or the record is gone and cannot be made again: %s", error)
            self._files_troubled = True
            return True
        if not was_well:
            self._rearm.call_for()  # the new file has no watch yet
        return not was_well


def _waited_for_threads() -> list[str]:
    """Return the threads that the interpreter waits for before it ends, and where they are."""
    return [
        f"thread {thread.name} at {where(frame_of(thread.ident))}"
        for thread in threading.enumerate()
        if not thread.daemon and thread is not threading.main_thread()
    ]
