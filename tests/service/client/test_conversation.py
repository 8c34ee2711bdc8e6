"""A client's side of a connection: what the end of what it reads means."""

import socket
import threading

import pytest

from daemonry import Client, errors
from daemonry.service.client.conversation import Conversation
from daemonry.wire import varlink
from daemonry.wire.varlink import Call


def under_way():
    conversation = Conversation(lambda: varlink, "unix:/run/x.sock")
    conversation.frame(Call("org.example.Go"))
    return conversation


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"ERR: Permission denied\n", errors.AccessDenied),
        (b"ERR: Too many connections\n", errors.Overloaded),
        (b"ERR: Too many connections of this user\n", errors.Overloaded),
        (b"ERR: Connection timeout\n", errors.ConnectionLost),
    ],
)
@pytest.mark.parametrize("cut", [1, 5, 100])
def test_a_refusal_in_the_other_dialect_is_understood(said, kind, cut):
    """A server looks at who comes in before it reads a byte, so that it cannot know the dialect."""
    conversation = under_way()
    conversation.receive(said[:cut])
    if said[cut:]:
        conversation.receive(said[cut:])
    assert conversation.next_reply() is None
    with pytest.raises(kind) as caught:
        conversation.receive(b"")
    assert caught.value.ran == "no"


@pytest.mark.parametrize("said", [b"ERR: hm\n", b"OK\n", b"\xff"])
def test_other_words_are_no_reply(said):
    conversation = under_way()
    conversation.receive(said)
    conversation.receive(b"")
    with pytest.raises(errors.BadFrame):
        conversation.next_reply()


def test_a_reply_that_is_cut_may_have_run():
    conversation = under_way()
    conversation.receive(b'{"parameters":{"a')
    with pytest.raises(errors.ConnectionLost) as caught:
        conversation.receive(b"")
    assert caught.value.ran == "maybe"


def test_a_client_whom_the_daemon_does_not_let_in_is_told_so(socket_path):
    def refuse():
        with listener.accept()[0] as peer:
            peer.recv(1000)
            peer.sendall(b"ERR: Permission denied\n")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_path))
        listener.listen()
        thread = threading.Thread(target=refuse)
        thread.start()
        with Client.connect(f"unix:{socket_path}") as client, pytest.raises(errors.AccessDenied):
            client.call("org.example.Go")
        thread.join(10)
    assert not thread.is_alive()
