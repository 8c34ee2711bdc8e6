"""The stacks of a process: every thread's, and every asyncio task's, as plain values.

Owns reading them, from any thread, also while the loop is stuck; bounded, for one reply carries them.
"""

from __future__ import annotations

import asyncio
import linecache
import sys
import threading
from types import FrameType
from typing import Any, Final

# One reply has to fit a socket's buffer (212,992 bytes on Linux): the standby thread sends it at once.
_MOST_STACKS: Final = 100
_MOST_FRAMES: Final = 40
_MOST_BYTES: Final = 120_000
_MOST_LINE_CHARS: Final = 200
# Of a stack with no frame of the program.
_FRAMES_OF_OURS: Final = 3
_NOT_THE_USERS: Final = sys.stdlib_module_names | {"daemonry", "uvloop", "__main__"}


def of_process(loop: asyncio.AbstractEventLoop | None) -> dict[str, Any]:
    """Return the stacks of this process's threads, and of a loop's tasks.

    Returns:
        `stacks`, each with `kind` ("thread" or "task"), `name` and `frames`, the innermost last, each a
        list of file, line, function and the line's text; and `left_out`, how many did not fit.
    """
    found = _threads() + (_tasks(loop) if loop is not None else [])
    taken: list[dict[str, Any]] = []
    size_bytes = 0
    for one in found[:_MOST_STACKS]:
        size_bytes += len(repr(one))
        if size_bytes > _MOST_BYTES:
            break
        taken.append(one)
    return {"stacks": taken, "left_out": len(found) - len(taken)}


def _threads() -> list[dict[str, Any]]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    here = threading.get_ident()
    frames = sys._current_frames()  # noqa: SLF001  # documented, in spite of its name
    main = threading.main_thread().ident
    ordered = sorted(frames.items(), key=lambda one: one[0] != main)
    return [
        _stack("thread", names.get(ident) or f"thread {ident}", _outwards(frame))
        for ident, frame in ordered
        if ident != here or here == main  # not the thread that answers beside a stuck loop
    ]


def _tasks(loop: asyncio.AbstractEventLoop) -> list[dict[str, Any]]:
    try:
        tasks = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    except RuntimeError:  # tasks came and went all the time
        return []
    return [_stack("task", task.get_name(), _awaited(task.get_coro())) for task in tasks if not task.done()]


def _outwards(frame: FrameType | None) -> list[FrameType]:
    frames: list[FrameType] = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames[::-1]


def _awaited(waiting: Any) -> list[FrameType]:
    """Return the frames of a suspended coroutine, down to the one that it waits in."""
    frames: list[FrameType] = []
    while waiting is not None and len(frames) < _MOST_FRAMES:
        frame = _first(waiting, "cr_frame", "ag_frame", "gi_frame")
        if frame is not None:
            frames.append(frame)
        waiting = _first(waiting, "cr_await", "ag_await", "gi_yieldfrom")
    return frames


def _first(owner: Any, *names: str) -> Any:
    return next((getattr(owner, name) for name in names if hasattr(owner, name)), None)


def _stack(kind: str, name: str, frames: list[FrameType]) -> dict[str, Any]:
    frames = _from_the_program_on(frames)[-_MOST_FRAMES:]
    return {"kind": kind, "name": name, "frames": [_line(frame) for frame in frames]}


def _from_the_program_on(frames: list[FrameType]) -> list[FrameType]:
    """Return the frames from the first one of the program's own code; the innermost, where there is none."""
    for number, frame in enumerate(frames):
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] not in _NOT_THE_USERS:
            return frames[number:]
    return frames[-_FRAMES_OF_OURS:]


def _line(frame: FrameType) -> list[Any]:
    code = frame.f_code
    text = linecache.getline(code.co_filename, frame.f_lineno, frame.f_globals).strip()
    return [code.co_filename, frame.f_lineno, code.co_name, text[:_MOST_LINE_CHARS]]
