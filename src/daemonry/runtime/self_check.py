"""What the watchdog's thread looks at several times a second, whatever the loop does.

Owns the duties: the standby's tick, a drain that hangs, the crash file's size, and our own lock file
and record, which somebody may remove.  When they are done is `watchdog`'s.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from daemonry import clock
from daemonry.errors import DaemonryError
from daemonry.limits import DRAIN_GRACE_S, PROGRAM_CHECK_S, SOCKET_CHECK_S
from daemonry.process import crash_file
from daemonry.runtime.program_gone import ProgramWatch
from daemonry.runtime.shutdown import announce_end
from daemonry.service.server.code_position import frame_of, where

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
        self._crash_file_check_at_s = 0.0
        self._files_check_at_s = 0.0
        self._files_troubled = False
        self._program = ProgramWatch(request.program_files)
        self._program_check_at_s = 0.0

    @property
    def duties(self) -> tuple[Callable[[float], None], ...]:
        """What to call at each tick, with the seconds that it may take."""
        return (
            self._tick_standby,
            self._watch_drain,
            self._cap_crash_file,
            self._restore_files,
            self._watch_program,
        )

    def _tick_standby(self, timeout_s: float) -> None:
        if self._plane.closed:
            self._plane.standby.refuse_all(also_at_listener=False)
        else:
            self._plane.standby.tick(timeout_s)

    def _watch_drain(self, timeout_s: float) -> None:
        if not self._state.stopping.is_set() and not self._plane.closed:
            return
        now_s = clock.monotonic()
        if self._end_at_s is None:
            self._end_at_s = now_s + self._drain_timeout_s + DRAIN_GRACE_S
            announce_end(self._listening)  # a stuck loop does not
        elif now_s >= self._end_at_s:
            logger.error("the end hangs, held up by %s; ending at once", self._where_stuck())
            self._end_at_once(EXIT_HUNG)

    def _where_stuck(self) -> str:
        return ", ".join(self._state.held_up_by() or _waited_for_threads()) or self._plane.standby.stuck_at()

    def _cap_crash_file(self, timeout_s: float) -> None:
        now_s = clock.monotonic()
        if not self._foreground and now_s >= self._crash_file_check_at_s:
            self._crash_file_check_at_s = now_s + _CRASH_FILE_CHECK_S
            if crash_file.cap(self._place.crash_path):
                logger.warning("the crash file was full and has been cut")

    def _watch_program(self, timeout_s: float) -> None:
        now_s = clock.monotonic()
        if now_s < self._program_check_at_s or self._state.stopping.is_set():
            return
        self._program_check_at_s = now_s + PROGRAM_CHECK_S
        gone = self._program.gone(now_s)
        if gone:
            logger.warning("the program is gone (%s): ending", gone)
            self._state.stop()

    def _restore_files(self, timeout_s: float) -> None:
        now_s = clock.monotonic()
        if now_s < self._files_check_at_s:
            return
        self._files_check_at_s = now_s + SOCKET_CHECK_S
        try:
            self._publication.restore()
            self._files_troubled = False
        except (OSError, DaemonryError) as error:
            if not self._files_troubled:
                logger.error("the lock file or the record is gone and cannot be made again: %s", error)
            self._files_troubled = True


def _waited_for_threads() -> list[str]:
    """Return the threads that the interpreter waits for before it ends, and where they are."""
    return [
        f"thread {thread.name} at {where(frame_of(thread.ident))}"
        for thread in threading.enumerate()
        if not thread.daemon and thread is not threading.main_thread()
    ]
