"""Telling a client, in the dialect that it speaks, that nothing that it sent was run.

Owns the last words to a connection of which nothing was read.  A client that has called gets an error of
the control interface, and may try again; any other a line of text, which our own clients understand as
well: they come here when they have not spoken yet.
"""

from __future__ import annotations

from _socket import MSG_DONTWAIT
from _socket import socket as Socket
from typing import TYPE_CHECKING, Final

from daemonry.service.server.control import encoded
from daemonry.service.server.held import HeldConnection, peek
from daemonry.service.server.text_connection import finish
from daemonry.wire import dialect, varlink
from daemonry.wire.text import TextReply

if TYPE_CHECKING:
    from daemonry.errors import CallFailed

TOO_MANY: Final = "Too many connections"
DRAINING: Final = "org.daemonry.Control.Draining"
OVERLOADED: Final = "org.daemonry.Control.Overloaded"


def has_called(sock: Socket) -> bool:
    """Say whether the first bytes of a connection that was not read are a call's."""
    head = peek(sock)
    return bool(head) and dialect.detect(head or b"") == dialect.VARLINK


def refuse(sock: Socket, error: CallFailed, line: str = "") -> None:
    """Refuse what a client sent, unread, and close its connection.

    Args:
        sock: the connection; it does not block.
        error: the error for a client that has sent a call.
        line: the line for any other; "" for none.
    """
    data = b""
    if has_called(sock):
        data = varlink.encode_reply(varlink.Reply(error.parameters, error=error.error)) + b"\0"
    elif line:
        data = encoded(TextReply.error(line))
    try:
        if data:
            sock.send(data, MSG_DONTWAIT)  # it takes all of it: nothing was sent before
        finish(sock)
    except OSError:
        pass  # the client is gone
    sock.close()


def refuse_held(connection: HeldConnection, error: CallFailed) -> None:
    """As `refuse`, for a connection that was held; one that owes a proof gets no word."""
    if connection.owes_proof:
        connection.sock.close()
    else:
        refuse(connection.sock, error)
