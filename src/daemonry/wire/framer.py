"""Finding frames in whatever pieces their bytes come: each ends with a NUL, and none is too long.

Owns the bytes that were fed and not taken.  What a frame means is the codec's.
"""

from __future__ import annotations

from daemonry import faults
from daemonry.wire.varlink import MAX_FRAME_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_NUL = b"\0"


class Framer:
    """Finds frames in whatever pieces their bytes come.

    Feed it with `receive_data`, and ask `next_frame` until it says None.  Linear in time however
    the bytes are cut: each is looked at once and moved at most a few times.  Holds bytes that were fed
    and not taken; its feeder keeps that within bounds by asking after every piece.

    Args:
        limit_bytes: the longest frame that is taken, without its NUL.
    """

    __slots__ = ("_buffer", "_closed", "_limit_bytes", "_searched", "_start", "_too_large")

    @property
    def is_empty(self) -> bool:
        """Whether nothing was fed that was not taken."""
        return not self._buffer

    def __init__(self, limit_bytes: int = MAX_FRAME_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._buffer: bytes | bytearray = b""
        self._start = 0  # where the next frame begins in the buffer
        self._searched = 0  # up to here there is no NUL behind `_start`
        self._closed = False
        self._too_large = False

    @property
    def buffered_bytes(self) -> int:
        """The bytes that were fed and not taken."""
        return len(self._buffer) - self._start

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
        if not self._searched and type(buffer) is bytes:
            # One read, one frame: the common case, in one step.
            frame, end, rest = buffer.partition(_NUL)
            if end and not rest and len(frame) <= self._limit_bytes:
                self._buffer = b""
                return frame
        return self._next_of_several() if buffer or self._too_large else None

    def answer_each(self, answer: Callable[[bytes], Any], most_bytes: int) -> tuple[list[bytes], Any]:
        """Take whole frames as long as each is answered at once.

        Args:
            answer: is given a frame with its NUL, and returns its reply as bytes; anything else for a frame
                that stays here and is the next one.
            most_bytes: of replies, beyond which no further frame is answered.

        Returns:
            The replies, and the other thing that `answer` returned; None for no such thing.
        """
        replies: list[bytes] = []
        buffer, start, searched = self._buffer, self._start, self._searched
        end = -1 if self._closed else buffer.find(_NUL, searched)
        if end < 0:
            return replies, None
        if type(buffer) is not bytes:
            # Parts of bytes are copied once; and there is a whole frame, so no byte is copied often.
            self._buffer = buffer = _copy(buffer, start, len(buffer))
            end -= start
            self._start = start = 0
        other = None
        try:
            while end >= 0 and most_bytes >= 0 and end - start <= self._limit_bytes:
                reply = answer(buffer[start : end + 1])
                if type(reply) is not bytes:
                    other = reply
                    break
                replies.append(reply)
                most_bytes -= len(reply)
                start = end + 1
                end = buffer.find(_NUL, start)
        finally:
            if self._buffer is buffer:  # and was not closed meanwhile
                self._start = self._searched = start
                if start == len(buffer):
                    self._empty()
        return replies, other

    def read_each(self, read: Callable[[bytes], Any]) -> list[Any]:
        """Take whole frames as long as each can be read, and return what was read.

        Args:
            read: is given a frame with its NUL; returns NotImplemented for one that stays the next one.
        """
        results: list[Any] = []
        buffer, start = self._buffer, self._start
        end = -1 if self._closed else buffer.find(_NUL, self._searched)
        if end < 0:
            return results
        if type(buffer) is not bytes:
            self._buffer = buffer = _copy(buffer, start, len(buffer))
            end -= start
            self._start = start = 0
        try:
            while 0 <= end - start <= self._limit_bytes:
                result = read(buffer[start : end + 1])
                if result is NotImplemented:
                    break
                results.append(result)
                start = end + 1
                end = buffer.find(_NUL, start)
        finally:
            self._start = self._searched = start
            if start == len(buffer):
                self._empty()
        return results

    def take_rest(self) -> bytes:
        """Return the bytes that were fed and not taken, and hold nothing any more."""
        rest = _copy(self._buffer, self._start, len(self._buffer))
        self._empty()
        return rest

    def close(self) -> None:
        """Drop the bytes that are held, and all that are fed from now on."""
        self._empty()
        self._closed = True

    def _next_of_several(self) -> bytes | None:
        buffer = self._buffer
        end = buffer.find(_NUL, self._searched)
        length = (end if end >= 0 else len(buffer)) - self._start
        if self._too_large or length > self._limit_bytes:
            self._too_large = True
            self.close()
            raise faults.FrameTooLarge(self._limit_bytes)
        if end < 0:
            self._searched = len(buffer)
            return None
        frame = _copy(buffer, self._start, end)
        self._start = self._searched = end + 1
        if end + 1 == len(buffer):
            self._empty()
        return frame

    def _append(self, data: bytes) -> None:
        if self._closed:
            return
        # Cut the taken bytes once they are the larger part, so that no byte is moved often.
        if type(self._buffer) is bytes:
            self._buffer = bytearray(memoryview(self._buffer)[self._start :])
            self._cut_off(self._start)
        elif self._start > len(self._buffer) // 2:
            del self._buffer[: self._start]  # type: ignore[union-attr]  # not bytes: see above
            self._cut_off(self._start)
        self._buffer += data

    def _cut_off(self, count_bytes: int) -> None:
        self._searched -= count_bytes
        self._start = 0

    def _empty(self) -> None:
        self._buffer = b""
        self._start = self._searched = 0


def _copy(buffer: bytes | bytearray, start: int, end: int) -> bytes:
    if type(buffer) is bytes:
        return buffer[start:end]
    with memoryview(buffer) as view, view[start:end] as part:
        return bytes(part)
