"""The text dialect: one command a connection, one line back.

`COMMANDS` is the table of its words: what each asks of a daemon's state, what form its answer has, and which
verb of the command line sends it.  A server, a client, the command line and the page are made from it.

Owns the words, the replies, and where a command's line ends.  Reads and writes nothing: bytes
come in through `CommandReader.receive_data`, and what to do comes out of `next_event`.  The
format is that of the original palingenesis server (its story 1.6), kept to the byte; STOP, PING,
VERSION, HELP and the note after `OK:` are ours.

Nothing that a peer sent is ever repeated raw: it goes through `printable` first.
"""

from __future__ import annotations

from daemonry import faults, strict_json
from daemonry.limits import MAX_COMMAND_BYTES, MAX_ECHO_CHARS
from daemonry.terminal_text import printable
from daemonry.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

STATUS: Final = "STATUS"
PING: Final = "PING"
STOP: Final = "STOP"

# The original's words for "it is so already"; a client takes them for success.
ALREADY_PAUSED: Final = "Daemon already paused"
NOT_PAUSED: Final = "Daemon is not paused"


class CommandSpec(Value):
    """What there is to know of one word.

    Attributes:
        word: the word that is sent.
        help: its effect, in a line, for the command line's help.
        method: of the daemon's state, which is asked; "" where the server itself has the answer.
        form: the kind of its `Reply` when it succeeds: "status", "ok" or "text".
        answers: that form, for a page.
        says: the text, where it is always the same.
        verb: of the command line, if there is one.
        done: what the verb prints when it is done; "" prints the answer.
        so_already: the refusal that means that it is so already, if there is one.
        already: what the verb prints then.
        idempotent: whether it may be sent again after a connection broke, because twice changes nothing.
    """

    __slots__ = (
        "already",
        "answers",
        "done",
        "form",
        "help",
        "idempotent",
        "method",
        "says",
        "so_already",
        "verb",
        "word",
    )
    word: str
    help: str
    method: str
    form: str
    answers: str
    says: str
    verb: str
    done: str
    so_already: str
    already: str
    idempotent: bool

    def __init__(  # noqa: PLR0913, PLR0917  # a row of a table, whose fields are named
        self,
        already: str = "",
        answers: str = "`OK`, or `ERR: reason`",
        done: str = "",
        form: str = "ok",
        help: str = "",  # noqa: A002  # as in every table of commands
        idempotent: bool = False,
        method: str = "",
        says: str = "",
        so_already: str = "",
        verb: str = "",
        word: str = "",
    ) -> None:
        self._set(already=already, answers=answers, done=done, form=form, help=help, idempotent=idempotent)
        self._set(method=method, says=says, so_already=so_already, verb=verb, word=word)


_TABLE: Final = (
    CommandSpec(
        word=STATUS,
        help="show the daemon's status",
        answers="one JSON object",
        method="get_status",
        form="status",
        verb="status",
        idempotent=True,
    ),
    CommandSpec(
        word="PAUSE",
        help="stop the daemon's work; it keeps answering requests",
        method="pause",
        verb="pause",
        done="paused",
        so_already=ALREADY_PAUSED,
        already="already paused",
    ),
    CommandSpec(
        word="RESUME",
        help="let a paused daemon work again",
        method="resume",
        verb="resume",
        done="running",
        so_already=NOT_PAUSED,
        already="not paused",
    ),
    CommandSpec(
        word="RELOAD",
        help="read the configuration again",
        answers="`OK`, `OK: note`, or `ERR: reason`",
        method="reload_config",
        verb="reload",
        done="reloaded",
    ),
    CommandSpec(
        word=STOP,
        help="stop the daemon",
        answers="`OK`, as its end begins",
        method="stop",
        verb="stop",
        done="stopped",
    ),
    CommandSpec(
        word=PING,
        help="check that the daemon answers",
        answers="`PONG`",
        form="text",
        says="PONG",
        verb="ping",
        done="answers",
        idempotent=True,
    ),
    CommandSpec(
        word="VERSION",
        help="show the program's version",
        answers="the version",
        method="version",
        form="text",
        idempotent=True,
    ),
    CommandSpec(
        word="STACKS",
        help="show the stacks of threads and tasks, to the daemon's own user on this machine",
        answers="one JSON object",
        method="get_stacks",
        form="status",
        idempotent=True,
    ),
    CommandSpec(
        word="HELP",
        help="list the words",
        answers="the words of this table, with blanks between them",
        form="text",
        idempotent=True,
    ),
)
COMMANDS: Final = {spec.word: spec for spec in _TABLE}
# Answered to a process of the daemon's own user, by the system's word; over TCP to nobody.
OWN_USER_ONLY: Final = frozenset(("STACKS",))


def own_answer(spec: CommandSpec) -> str:
    """Return the text that a server answers by itself: a fixed one, or all words."""
    return spec.says or " ".join(COMMANDS)


TIMEOUT: Final = "Connection timeout"
PERMISSION_DENIED: Final = "Permission denied"


class TextCommand(Value):
    """One word of the dialect.

    Attributes:
        word: one of `COMMANDS`.
    """

    __slots__ = ("word",)
    word: str

    def __init__(self, word: str) -> None:
        self._set(word=word)

    @classmethod
    def parse(cls, line: str) -> TextCommand | None:
        """Return the command that a line holds, whatever its case and surrounding blanks."""
        word = line.strip().upper()
        return cls(word) if word in COMMANDS else None

    def to_text(self) -> str:
        """Return the line that is sent."""
        return self.word + "\n"


class TextReply(Value):
    """What a daemon answers.

    Attributes:
        kind: "ok", "error", "status" or "text".
        message: the note after OK, the reason after ERR, or the text; "" for a status.
        fields: the status object; None for the other kinds.
    """

    __slots__ = ("fields", "kind", "message")
    kind: str
    message: str
    fields: Mapping[str, Any] | None

    def __init__(self, fields: Mapping[str, Any] | None, kind: str, message: str) -> None:
        self._set(fields=fields, kind=kind, message=message)

    @classmethod
    def ok(cls, note: str = "") -> TextReply:
        """It was done; `note` is for the sender."""
        return cls(None, "ok", note)

    @classmethod
    def error(cls, message: str) -> TextReply:
        """It was not done, and why.  Lines and controls in `message` are folded when it is sent."""
        return cls(None, "error", message)

    @classmethod
    def status(cls, fields: Mapping[str, Any]) -> TextReply:
        """The daemon's status, in the order of its fields."""
        return cls(fields, "status", "")

    @classmethod
    def text(cls, message: str) -> TextReply:
        """An answer that is plain text."""
        return cls(None, "text", message)

    def to_text(self) -> str:
        """Return the line that is sent, with its end."""
        if self.kind == "status":
            return strict_json.encode(self.fields) + "\n"
        message = printable(self.message)
        if self.kind == "error":
            return f"ERR: {message}\n"
        if self.kind == "ok":
            return f"OK: {message}\n" if message else "OK\n"
        return message + "\n"

    @classmethod
    def parse(cls, line: str) -> TextReply:
        """Return the reply that a line holds.

        Raises:
            BadFrame: the line starts like a status and is not a JSON object.
        """
        line = line.rstrip("\r\n")
        if line.startswith("{"):
            return cls.status(strict_json.decode_object(line))
        if line == "OK":
            return cls.ok()
        if line.startswith("OK: "):
            return cls.ok(line[4:])
        if line.startswith("ERR: "):
            return cls.error(line[5:])
        return cls.text(line)


class CommandReader:
    """Finds the one command of a connection in whatever pieces its bytes come.

    Feed it with `receive_data` (`b""` is end of file) and ask `next_event` after each piece.
    Holds at most `MAX_COMMAND_BYTES` and the last piece.
    """

    CLOSED: Final = "closed"

    __slots__ = ("_buffer", "_ended")

    def __init__(self) -> None:
        self._buffer = b""
        self._ended = False

    def receive_data(self, data: bytes) -> None:
        """Take the next bytes; `b""` says that the peer will send no more."""
        if not data:
            self._ended = True
        elif len(self._buffer) <= MAX_COMMAND_BYTES:
            self._buffer += data

    def next_event(self) -> TextCommand | TextReply | str | None:
        """Return what the bytes so far mean.

        Returns:
            A `Command` to execute; a `Reply` that refuses what came; `CLOSED` when the peer left
            without a word; None while more bytes are needed.  A last line without its end counts.
        """
        line, newline, _ = self._buffer.partition(b"\n")
        if len(line) > MAX_COMMAND_BYTES:
            return TextReply.error(f"Command too long: the limit is {MAX_COMMAND_BYTES} bytes")
        if not newline and not self._ended:
            return None
        if not newline and not line:
            return self.CLOSED
        return _understand(line)


def _understand(line: bytes) -> TextCommand | TextReply:
    try:
        text = line.decode("utf-8").strip()
    except UnicodeDecodeError:
        return TextReply.error("Command is not UTF-8")
    if printable(text) != text:
        return TextReply.error("Command has control characters in it")
    command = TextCommand.parse(text)
    if command is None:
        return TextReply.error(f"Unknown command: {printable(text, MAX_ECHO_CHARS)}")
    return command


def read_reply(data: bytes) -> TextReply:
    """Return the reply in all that a daemon sent.

    Raises:
        BadFrame: the bytes are not a whole line, not UTF-8, or a broken status.
    """
    line, newline, _ = data.partition(b"\n")
    if not newline:
        raise faults.BadFrame("the answer ends in the middle of a line")
    try:
        return TextReply.parse(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise faults.BadFrame("the answer is not UTF-8") from None
