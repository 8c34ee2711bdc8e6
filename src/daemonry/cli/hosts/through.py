"""A command on another machine without a process there: a daemon's socket answers it alone.

    --host box status adder                 by the socket's word STATUS

For the minute after such a command of the same daemon, see `daemonry.transport.ssh_socket`, and between two
daemonries of the same version, so that both print the same.  Owns the choice; whoever gets None from here has
the command run there as a whole.
"""

from __future__ import annotations

from daemonry import faults
from daemonry.cli.hosts import words as host_words
from daemonry.clock import Deadline
from daemonry.daemon.instance import Instance
from daemonry.limits import REQUEST_TIMEOUT_S
from daemonry.service.client import text as client
from daemonry.transport import ssh, ssh_words
from daemonry.transport.stream import Stream
from daemonry.version import __version__
from daemonry.wire import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Self

    from daemonry.transport.endpoint import Endpoint
    from daemonry.transport.ssh_note import FarNote
    from daemonry.transport.ssh_socket import Route
    from daemonry.wire.text import TextReply

_STATUS: Final = f"{text.STATUS}\n".encode()
_WORDS: Final = {spec.verb: spec for spec in text.COMMANDS.values() if spec.verb}


class Answering(Instance):
    """The daemon, as a command of this machine sees it; it is asked on a connection that is made already.

    Args:
        endpoint: where it is.
        far: what the last command found there.
        stream: the connection; None where it has answered already.
        reply: the answer, if there is one.
    """

    __slots__ = ("_far", "_reply", "_stream")

    def __init__(
        self,
        endpoint: Endpoint,
        far: ssh_words.FarSocket,
        stream: Stream | None = None,
        reply: TextReply | None = None,
    ) -> None:
        super().__init__(None, endpoint)
        self.name: str = endpoint.target
        self._stream = stream
        self._far = far
        self._reply = reply

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._stream is not None:
            self._stream.close()

    def pid(self) -> int | None:
        """Return the process that was found there by the last command."""
        return self._far.pid

    def environment_differs(self) -> list[str]:
        """Return what the last command found to differ there."""
        return [] if self._far.differs == ssh_words.NOTHING else self._far.differs.split(",")

    def request(self, word: str, timeout_s: float = REQUEST_TIMEOUT_S) -> TextReply:
        """Return the reply that there is already; else send the command."""
        if self._reply is None:
            assert self._stream is not None
            return client.ask(self._stream, word, Deadline(timeout_s), self._described())
        return self._reply

    def has_answered(self, word: str) -> bool:
        """Ask a harmless word; say whether there was an answer."""
        try:
            self._reply = self.request(word)
        except (faults.ConnectionLost, faults.DeadlineExceeded):
            return False
        return True


def answering(host: str, words: list[str]) -> Answering | None:
    """Return the daemon that a command asks by a word, where it answers through a kept connection; else None.

    It is the process that the last command found: the files of another one may have something to say about
    its predecessor.  A harmless word has been asked already.

    Args:
        host: the machine, as `--host` names it.
        words: the command and the words that follow it.

    Raises:
        ArgumentInvalid: `host` names no machine.
    """
    name = host_words.daemon_of(words)
    if name is None:
        return None
    endpoint = host_words.daemon_at(host, name)
    route = ssh.route_to(endpoint)
    note = _note(route)
    if route is None or note is None:
        return None
    spec = _WORDS[words[0]]
    if spec.word == text.STATUS:
        reply = _status(route.ask(note, REQUEST_TIMEOUT_S, _STATUS), note)
        return None if reply is None else Answering(endpoint, note.far, reply=reply)
    sock = route.connect_to(note, REQUEST_TIMEOUT_S, _STATUS, lambda line: _status(line, note) is not None)
    if sock is None:
        return None
    found = Answering(endpoint, note.far, Stream(sock, endpoint.bare))
    if spec.idempotent and not found.has_answered(spec.word):
        found.close()
        return None
    return found


def _status(line: bytes | None, note: FarNote) -> TextReply | None:
    """Return an answer to STATUS, if it is that of the process that a note tells of."""
    if line is None:
        return None
    try:
        reply = text.read_reply(line)
    except faults.BadFrame:
        return None
    return reply if (reply.fields or {}).get("pid") == note.far.pid else None


def _note(route: Route | None) -> FarNote | None:
    """Return a note by a command of our version, which has looked into the files."""
    note = None if route is None else route.note()
    if note is None or note.far.version != __version__ or not note.far.pid:
        return None
    return None if note.far.differs == ssh_words.UNKNOWN else note
