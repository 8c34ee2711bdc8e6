"""The process that holds a terminal: it outlives the window, and goes on with the program after a limit.

Owns the loop and its order: output goes to the window first and to the screen then.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from palingenesis.evidence.terminals import Terminal
from palingenesis.terminal import frames, keys
from palingenesis.terminal.course import Course
from palingenesis.terminal.pty import Modes, TerminalProgram
from palingenesis.terminal.screen import Screen
from palingenesis.terminal.store import TerminalStore
from palingenesis.terminal.windows import Size, Window, Windows

# Typed bytes that the program has not read, before the window has to wait.
MAX_TYPED_BYTES: Final = 256 * 2**10
# How long to wait for a program's output after its end, if another process keeps its terminal open.
DRAIN_S: Final = 0.5
TICK_S: Final = 0.5
MAX_SCREEN_CHARS: Final = 32_000
# Rows or columns of a window; more is not a window's size.
MAX_CELLS: Final = 2_000


class Holder:
    """Holds one terminal, from its first program to its end.

    Args:
        store: where its record is.
        terminal: its first record.
        environment: of its programs.
        modes: of its user's terminal.
        first: the connection of the window that began it.
        size: the size of that window.
        course: what follows when the program stops.
    """

    def __init__(
        self,
        store: TerminalStore,
        terminal: Terminal,
        environment: Mapping[str, str],
        modes: Modes | None,
        first: socket.socket,
        size: Size,
        course: Course,
    ) -> None:
        self._store = store
        self._terminal = terminal
        self._environment = environment
        self._modes = modes
        self._course = course
        self._size = size
        self._screen = Screen(size[0], size[1])
        self._windows = Windows(store.listen(terminal.name), self)
        self._program: TerminalProgram | None = None
        self._typed = bytearray()
        self._closed_until_s = 0.0  # nobody has the terminal open: it is looked at again later
        self._waiting_status: int | None = None
        self._status: int | None = None
        self._windows.take(Window(first), size)

    # --- the loop -------------------------------------------------------------------------------

    def run(self) -> None:
        """Hold it until it is over."""
        try:
            self._start(list(self._terminal.argv))
            while self._status is None or self._windows.has_unread:
                self._turn()
        finally:
            self._end()

    def _turn(self) -> None:
        with selectors.DefaultSelector() as selector:
            self._register(selector)
            timeout_s = 0.0 if self._screen.is_behind else TICK_S
            ready = selector.select(timeout_s)
        for key, mask in ready:
            key.data(mask)
        if not ready and self._screen.is_behind:
            self._screen.step()
        self._account()

    def _register(self, selector: selectors.BaseSelector) -> None:
        self._windows.register(selector, may_type=len(self._typed) < MAX_TYPED_BYTES)
        selector.register(self._course.notices, selectors.EVENT_READ, lambda _: self._course.take_notices())
        program = self._program
        if program is None:
            return
        if program.reports >= 0:
            selector.register(program.reports, selectors.EVENT_READ, lambda _: self._on_report())
        if program.master >= 0 and time.monotonic() >= self._closed_until_s:
            mask = selectors.EVENT_READ if self._windows.keeps_up else 0
            mask |= selectors.EVENT_WRITE if self._typed else 0
            if mask:
                selector.register(program.master, mask, self._on_program)

    # --- the program ----------------------------------------------------------------------------

    def _start(self, words: list[str]) -> None:
        environment = {**self._environment, "PALINGENESIS_TERMINAL": self._terminal.name}
        self._typed.clear()
        try:
            self._program = TerminalProgram(words, self._terminal.cwd, environment, self._modes, self._size)
        except OSError as error:
            self._say(f"{words[0]} cannot be started: {error.strerror}")
            self._finish(127 << 8)
            return
        self._course.begun(self._program.owns)
        self._tell(state="running", why="", at_s=0.0)

    def _on_program(self, mask: int) -> None:
        if self._program is None:
            return
        if mask & selectors.EVENT_WRITE and self._typed:
            del self._typed[: self._program.write(bytes(self._typed[:4096]))]
        if mask & selectors.EVENT_READ and self._windows.keeps_up:
            self._take_output()

    def _take_output(self) -> bool:
        """Take its output; return whether there may be more."""
        assert self._program is not None
        data = self._program.read()
        self._closed_until_s = time.monotonic() + TICK_S if data is None else 0.0
        if data:
            self._show(data)
        return data is not None

    def _show(self, data: bytes) -> None:
        self._windows.show(data)
        self._screen.feed(data)

    def _on_report(self) -> None:
        program = self._program
        if program is None:
            return
        before = program.stopped
        program.take_reports()
        if program.stopped and not before:
            self._drain(0.05)
            self._windows.send(frames.STOPPED, bytes([program.stopped]))
        if program.status is not None:
            self._program_ended(program)

    def _program_ended(self, program: TerminalProgram) -> None:
        self._drain(DRAIN_S)
        program.close()
        self._program = None
        status = program.status
        assert status is not None
        if program.start_error:
            self._say(f"{self._terminal.argv[0]} cannot be started: {os.strerror(program.start_error)}")
            self._finish((126 if program.start_error == 13 else 127) << 8)
            return
        self._waiting_status = status
        self._course.ended(status)

    def _drain(self, seconds: float) -> None:
        """Take its output so far."""
        assert self._program is not None
        deadline_s = time.monotonic() + seconds
        while self._take_output() and time.monotonic() < deadline_s:
            time.sleep(0.002)

    # --- what follows ---------------------------------------------------------------------------

    def _account(self) -> None:
        """Do what the course says."""
        self._windows.drop_silent()
        if self._status is not None:
            return
        told = self._course.next_order(self._program is not None)
        if told.session and told.session != self._terminal.session:
            self._tell(session=told.session)
        if told.say:
            self._say(told.say)
        if told.wait_until_s:
            self._tell(state="waiting", why=told.why, at_s=told.wait_until_s)
        if told.end_program and self._program is not None:
            self._program.signal(told.end_program)
        if told.words:
            self._start(told.words)
        elif told.is_over:
            code = told.code
            self._finish(self._waiting_status or 0 if code is None else code << 8)

    def _say(self, words: str) -> None:
        self._show(b"\x1b[0m\r\n" + f"palingenesis: {words}\r\n".encode("utf-8", "replace"))

    def _finish(self, status: int) -> None:
        self._status = status
        self._windows.send(frames.ENDED, json.dumps({"status": status}).encode())

    def _end(self) -> None:
        """Leave nothing but, where no window got it, the exit status."""
        status = self._status
        if self._program is not None:
            self._program.close()
        told = self._windows.close() and status is not None
        self._store.remove(self._terminal.name, "sock")
        if told:
            self._store.remove(self._terminal.name, "json", "lock")
        else:
            screen = self._screen.text()[-MAX_SCREEN_CHARS:]
            self._tell(state="ended", status=status if status is not None else 1 << 8, screen=screen)
            self._store.remove(self._terminal.name, "lock")
        self._course.close()

    def _tell(self, **changes: Any) -> None:
        self._terminal = msgspec.structs.replace(self._terminal, **changes)
        with contextlib.suppress(OSError):  # a full disk ends no program
            self._store.write(self._terminal)

    # --- as its windows need it -----------------------------------------------------------------

    def drawn(self) -> bytes:
        """Return what draws the screen in an empty window."""
        return self._screen.drawn()

    def attached(self, size: Size | None) -> None:
        """Take note of the window that shows it, or that none does."""
        if size is not None:
            self._resize(size)
        self._tell(attached=size is not None)

    def attached_later(self) -> None:
        """Have the program draw itself; one that a former window left stopped goes on."""
        if self._program is not None:
            if self._program.stopped:
                self._program.go_on()
            self._program.redraw()

    def caught_up(self) -> None:
        """Have the program draw itself; one that is stopped does so when it goes on."""
        if self._program is not None:
            self._program.redraw()

    def take(self, kind: bytes, data: bytes) -> None:
        """Take a message of the window."""
        if kind == frames.INPUT:
            self._type(data)
        elif kind == frames.SIZE and (size := frames.size_of(data)):
            self._resize(size)
        elif kind == frames.SIGNAL and data and self._program is not None:
            self._course.typed()
            self._program.signal(data[0])
        elif kind == frames.CONTINUE and self._program is not None:
            self._program.go_on()

    def _resize(self, size: Size) -> None:
        if not (0 < size[0] <= MAX_CELLS and 0 < size[1] <= MAX_CELLS):
            return
        self._size = size
        self._screen.resize(size[0], size[1])
        if self._program is not None:
            self._program.resize(size)

    def _type(self, data: bytes) -> None:
        if keys.by_a_person(data):
            self._course.typed()
        if self._program is not None:
            self._typed += data
        elif self._course.is_waiting:
            self._course.key(data)
