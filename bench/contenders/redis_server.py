"""redis-server over its Unix socket: a server in C; its client is bare Python sockets that look at nothing.

The five fields are a string that was set beforehand, and GET is the call.
"""

from __future__ import annotations

import os
import shutil
import sys

from question import PIPELINED, REPLY_FRAME, answer
from threads import Connection

_CALL = b"*2\r\n$3\r\nGET\r\n$6\r\nstatus\r\n"
_VALUE = REPLY_FRAME[:-1]
_REPLY = b"$%d\r\n%s\r\n" % (len(_VALUE), _VALUE)


def serve(path: str) -> None:
    """Be redis-server, without a port and without files."""
    program = shutil.which("redis-server")
    if program is None:
        sys.exit("there is no redis-server (Debian: apt install redis-server)")
    settings = {
        "--port": "0",
        "--unixsocket": path,
        "--save": "",
        "--appendonly": "no",
        "--loglevel": "warning",
    }
    os.execv(program, [program, *(word for pair in settings.items() for word in pair)])


class Client(Connection):
    """One connection."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.sendall(b"*3\r\n$3\r\nSET\r\n$6\r\nstatus\r\n" + _REPLY)
        self.recv(65536)

    def call(self) -> object:
        """Ask, and wait for the answer."""
        self.sendall(_CALL)
        return answer() if self.recv(65536) == _REPLY else None


class Pipelined(Client):
    """Many calls ahead of their replies."""

    PARTS = PIPELINED

    def call(self) -> object:
        """Ask all, and wait for all answers."""
        self.sendall(_CALL * PIPELINED)
        left = len(_REPLY) * PIPELINED
        while left > 0:
            left -= len(self.recv(1 << 17))
        return left

    def check(self, reply: object) -> bool:
        """Whether a reply is the right one."""
        return reply == 0
