"""Finding frames in whatever pieces their bytes come: each ends with a NUL, and none is too long.

Owns the bytes that were fed and not taken.  What a frame means is the codec's.
"""

from __future__ import annotations

from daemonry import faults
from daemonry.limits import LOOKED_UP_BYTES
from daemonry.wire.varlink import MAX_FRAME_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Final

_NUL = b"\0"
# Parts from here on are kept as they are.
_PART_BYTES = 4096
# So much is cut into frames at once; what is behind a frame that is not taken is cut again.
_CUT_BYTES: Final = 2048
# From here on one step for all frames is worth its start; up to so many bytes they are looked at again.
FEW_FRAMES: Final = 4
_RUN_BYTES: Final = 1 << 18
# From here on malloc takes an object's memory from the system, and gives it back with the object.
LONG_BYTES: Final = 128 << 10
_KEPT_BYTES: Final = 4 << 20
_kept: list[bool] = []


def keep_pages() -> None:
    """Have malloc keep the memory of long messages for the next ones: up to 8 MiB, from now on.

    To get a page from the system takes longer than to fill it.  glibc keeps free memory at the end of its
    heap up to twice the longest block that it had from the system by itself, mallopt(3); so it is asked for
    one, which is never touched.  Elsewhere, and where the environment sets glibc's bounds, this does nothing.
    """
    if not _kept:
        _kept.append(True)
        bytes(_KEPT_BYTES)


class Framer:
    """Finds frames in whatever pieces their bytes come.

    Feed it with `receive_data`, and ask `next_frame` until it says None.  Linear in time however
    the bytes are cut: each is looked at and moved at most a few times.  Holds bytes that were fed
    and not taken; its feeder keeps that within bounds by asking after every piece.

    Args:
        limit_bytes: the longest frame that is taken, without its NUL.
    """

    __slots__ = (
        "_buffer",
        "_closed",
        "_limit_bytes",
        "_parts",
        "_parts_bytes",
        "_parts_end",
        "_searched",
        "_start",
        "_too_large",
    )

    @property
    def is_empty(self) -> bool:
        """Whether nothing was fed that was not taken."""
        return not self._buffer

    def __init__(self, limit_bytes: int = MAX_FRAME_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._buffer = b""  # not empty while there are parts
        self._start = 0  # where the next frame begins in the buffer
        self._searched = 0  # up to here there is no NUL behind `_start`
        # What came behind the buffer: a long frame's parts are put together once, when its end is there.
        self._parts: list[bytes | bytearray] = []
        self._parts_bytes = 0
        self._parts_end = False  # whether there is a NUL in them
        self._closed = False
        self._too_large = False

    @property
    def buffered_bytes(self) -> int:
        """The bytes that were fed and not taken."""
        return len(self._buffer) - self._start + self._parts_bytes

    def receive_data(self, data: bytes) -> None:
        """Take the next bytes; they are kept, not copied, where they can be."""
        if self._buffer or self._closed or type(data) is not bytes:
            self._append(data)
        else:
            self._buffer = data

    def next_frame(self, data: bytes = b"") -> bytes | None:
        """Return the next whole frame without its NUL, or None until more bytes are fed.

        An empty frame is `b""`, which is not None: compare with `is None`.

        Args:
            data: bytes that come first through `receive_data`; in one step where they can.

        Raises:
            FrameTooLarge: a frame is longer than the limit, ended or not.  The stream has no point
                to restart from, so every later call raises again, and further bytes are dropped.
        """
        if data:
            if self._buffer or self._closed or type(data) is not bytes:
                self._append(data)
            else:
                self._buffer = data
        buffer = self._buffer
        if not self._searched and not self._parts:
            # One read, one frame: the common case, in one step.
            frame, end, rest = buffer.partition(_NUL)
            if end and not rest and len(frame) <= self._limit_bytes:
                self._buffer = b""
                return frame
        return self._next_of_several() if buffer or self._too_large else None

    def answer_each(
        self,
        answer: Callable[[bytes], Any],
        most_bytes: int,
        ready: Mapping[bytes, Callable[[], Any]],
    ) -> tuple[list[bytes], Any]:
        """Take whole frames as long as each is answered at once.

        Args:
            answer: is given a frame with its NUL, and returns its reply as bytes; anything else for a frame
                that stays here and is the next one.
            most_bytes: of replies, beyond which no further frame is answered.
            ready: answers the short frames that it has, as `answer` would.

        Returns:
            The replies, and the other thing that `answer` returned; None for no such thing.
        """
        replies: list[bytes] = []
        end = -1 if self._closed else self._end()
        if end < 0:
            return replies, None
        buffer, start, longest = self._buffer, self._start, self._limit_bytes + 1
        frames = [buffer[start : end + 1]]
        try:
            while frames:
                for frame in frames:
                    if most_bytes < 0 or len(frame) > longest:
                        return replies, None
                    found = ready.get(frame) if len(frame) <= LOOKED_UP_BYTES else None
                    reply = answer(frame) if found is None else found()
                    if type(reply) is not bytes:
                        return replies, reply
                    replies.append(reply)
                    most_bytes -= len(reply)
                    start += len(frame)
                frames = _next_frames(buffer, start)
        finally:
            if self._buffer is buffer:  # and was not closed meanwhile
                self._take_up_to(start)
        return replies, None

    def read_each(self, read: Callable[[bytes], Any]) -> list[Any]:
        """Take whole frames as long as each can be read, and return what was read.

        Args:
            read: is given a frame with its NUL; returns NotImplemented for one that stays the next one.
        """
        results: list[Any] = []
        end = -1 if self._closed else self._end()
        if end < 0:
            return results
        buffer, start, longest = self._buffer, self._start, self._limit_bytes + 1
        frames = [buffer[start : end + 1]]
        try:
            while frames:
                for frame in frames:
                    result = NotImplemented if len(frame) > longest else read(frame)
                    if result is NotImplemented:
                        return results
                    results.append(result)
                    start += len(frame)
                frames = _next_frames(buffer, start)
        finally:
            self._take_up_to(start)
        return results

    def whole_frames(self) -> bytes:
        """Return the frames whose ends have come, each with its NUL, to be read in one step; or none of them.

        None where more came than may be looked at again, should that step fail, or one may be too long.
        They stay until `take` takes them.
        """
        if self.buffered_bytes > min(_RUN_BYTES, self._limit_bytes) or self._closed or self._end() < 0:
            return b""
        buffer = self._buffer
        end = buffer.rfind(_NUL) + 1
        return buffer[self._start : end]

    def take(self, count_bytes: int) -> None:
        """Take so many bytes of what `whole_frames` returned: frames that are whole."""
        self._take_up_to(self._start + count_bytes)

    def take_rest(self) -> bytes:
        """Return the bytes that were fed and not taken, and hold nothing any more."""
        rest = _joined(self._buffer[self._start :], *self._parts)
        self._empty()
        return rest

    def close(self) -> None:
        """Drop the bytes that are held, and all that are fed from now on."""
        self._empty()
        self._closed = True

    def _next_of_several(self) -> bytes | None:
        end = self._end()
        length = end - self._start if end >= 0 else self.buffered_bytes
        if self._too_large or length > self._limit_bytes:
            self._too_large = True
            self.close()
            raise faults.FrameTooLarge(self._limit_bytes)
        if end < 0:
            return None
        frame = self._buffer[self._start : end]
        self._take_up_to(end + 1)
        return frame

    def _end(self) -> int:
        """Return where the next frame ends in the buffer, -1 for nowhere: its end has not come."""
        buffer, start = self._buffer, self._start
        end = buffer.find(_NUL, self._searched)
        if end < 0:
            self._searched = searched = len(buffer)
            if self._parts_end:
                self._buffer = _joined(buffer[start:], *self._parts)
                self._drop_parts()
                self._start, self._searched = 0, searched - start
                end = self._buffer.find(_NUL, self._searched)
        return end

    def _take_up_to(self, start: int) -> None:
        """Have the next frame begin there in the buffer."""
        if start < len(self._buffer):
            self._start = self._searched = start
        else:
            self._buffer = b""
            self._start = self._searched = 0
            if self._parts:
                self._buffer = _joined(*self._parts)
                self._drop_parts()

    def _append(self, data: bytes) -> None:
        if self._closed:
            return
        data = bytes(data)  # which its feeder may use again; bytes are not copied
        if not self._buffer:
            self._buffer = data
            return
        # Cut the taken bytes once they are the larger part, so that no byte is moved often.
        start, parts = self._start, self._parts
        if start > len(self._buffer) // 2:
            self._buffer = self._buffer[start:]
            self._searched -= start
            self._start = 0
        # An object for each of many short ones would be longer than they are.
        if len(data) >= _PART_BYTES:
            parts.append(data)
        elif parts and type(parts[-1]) is bytearray:
            parts[-1] += data
        else:
            parts.append(bytearray(data))
        self._parts_bytes += len(data)
        if self._parts_bytes >= LONG_BYTES:
            keep_pages()
        self._parts_end = self._parts_end or _NUL in data

    def _drop_parts(self) -> None:
        self._parts = []
        self._parts_bytes = 0
        self._parts_end = False

    def _empty(self) -> None:
        self._buffer = b""
        self._start = self._searched = 0
        self._drop_parts()


def _next_frames(buffer: bytes, start: int) -> list[bytes]:
    """Return whole frames that begin there, each with its NUL: several short ones, or a long one.

    To find and cut out each takes three times as long.
    """
    if start == len(buffer):
        return []
    frames = [frame + _NUL for frame in buffer[start : start + _CUT_BYTES].split(_NUL)[:-1]]
    if not frames:
        end = buffer.find(_NUL, start + _CUT_BYTES)
        return [buffer[start : end + 1]] if end >= 0 else []
    return frames


def _joined(*parts: bytes | bytearray) -> bytes:
    return b"".join(parts)
