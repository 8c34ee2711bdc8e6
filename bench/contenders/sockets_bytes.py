"""Bare Python sockets that send fixed bytes and look at none: what Python itself costs, and no product."""

from __future__ import annotations

from question import CALL_FRAME, PIPELINED, REPLY_FRAME, answer
from threads import Connection, serve_in_threads


def serve(path: str) -> None:
    """Answer whatever comes, a thread for each connection."""

    def converse(connection: Connection) -> None:
        while data := connection.recv(65536):
            connection.sendall(REPLY_FRAME * data.count(b"\0"))

    serve_in_threads(path, converse)


class Client(Connection):
    """One connection."""

    def call(self) -> object:
        """Send the question's bytes and wait for some."""
        self.sendall(CALL_FRAME)
        return answer() if self.recv(65536) else None


class Pipelined(Client):
    """Many calls ahead of their replies."""

    PARTS = PIPELINED

    def call(self) -> object:
        """Send all questions, and read as many bytes as their answers have."""
        self.sendall(CALL_FRAME * PIPELINED)
        left = len(REPLY_FRAME) * PIPELINED
        while left > 0:
            left -= len(self.recv(1 << 17))
        return left

    def check(self, reply: object) -> bool:
        """Whether a reply is the right one."""
        return reply == 0


class PipelinedValues(Pipelined):
    """Many calls ahead of their replies, each decoded: the least that Python does."""

    def __init__(self, path: str) -> None:
        import msgspec
        from ours import Report

        super().__init__(path)
        reply = msgspec.defstruct("Reply", [("parameters", Report)])
        self._decode = msgspec.json.Decoder(reply).decode

    def call(self) -> object:
        """Send all questions, and decode each answer."""
        self.sendall(CALL_FRAME * PIPELINED)
        pieces, count = [], 0
        while count < PIPELINED:
            pieces.append(self.recv(1 << 17))
            count += pieces[-1].count(b"\0")
        decode = self._decode
        return [decode(frame).parameters for frame in b"".join(pieces).split(b"\0")[:-1]]

    def check(self, reply: object) -> bool:
        """Whether a reply is the right one."""
        return isinstance(reply, list) and len(reply) == PIPELINED
