"""What waits for a client is sent in its order, however it was put there."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from daemonry.service.server.varlink.outbox import Outbox
from daemonry.transport import ancillary
from daemonry.transport.ancillary import Fd

LONG = b"a" * (1 << 20)


class Owner:
    def __init__(self):
        self.sent = asyncio.Event()

    def all_sent(self):
        self.sent.set()

    def went_on(self):
        pass

    def lost(self):
        raise AssertionError("nobody left")

    stalled = lost


async def everything(sock, count):
    """Read so many bytes, and the descriptors beside them by where they came."""
    data, came = b"", []
    while len(data) < count:
        await asyncio.sleep(0)
        try:
            piece, fds = ancillary.receive(sock)
        except BlockingIOError:
            continue
        came += [(len(data), fd) for fd in fds]
        data += piece
    return data, came


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("with_fd", [True, False])
def test_a_long_reply_goes_before_those_behind_it(at_once, with_fd):
    async def go():
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.setblocking(False)
            owner = Owner()
            out = Outbox(asyncio.get_running_loop(), ours, 30.0, owner)
            if at_once:
                assert not out.send_at_once(LONG)
            else:
                out.add(LONG)
                assert len(out) == len(LONG)
            waiting = len(out)
            held = []
            if with_fd:
                read, write = os.pipe()
                os.close(write)
                held = [Fd(read)]
            out.add(b"bc", held)
            out.add(LONG)
            assert len(out) == waiting + 2 + len(LONG)
            out.write()
            data, came = await everything(theirs, 2 * len(LONG) + 2)
            await asyncio.wait_for(owner.sent.wait(), 30)
            assert data == LONG + b"bc" + LONG
            assert not out
            assert len(came) == len(held)
            for at, fd in came:
                assert at <= len(LONG) + 1
                fd.close()

    asyncio.run(go())


def test_nothing_is_left_behind_a_clear():
    async def go():
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            out = Outbox(asyncio.get_running_loop(), ours, 30.0, Owner())
            assert not out.send_at_once(LONG)
            out.clear()
            assert len(out) == 0
            assert not out.waits

    asyncio.run(go())
