"""The control plane: what each command of the text dialect asks of a daemon.

Owns asking the state by the dialect's table, and what an exception there becomes.  Knows no sockets.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

from daemonry.errors import DaemonryError
from daemonry.transport.credentials import Peer
from daemonry.wire import text
from daemonry.wire.text import CommandSpec, TextCommand, TextReply

logger: logging.Logger = logging.getLogger("daemonry.control")


class ControlState(Protocol):
    """What a server asks of the daemon behind it; anything with these methods will do.

    The methods are those of the dialect's table; a word whose method is missing is answered with an error.

    Each may return its result or an awaitable of it.  To refuse, raise an exception: its text is
    the reply to the sender.
    """

    def get_status(self) -> Mapping[str, Any] | Awaitable[Mapping[str, Any]]:
        """Return the fields of STATUS, in their order."""

    def pause(self) -> None | Awaitable[None]:
        """Stop working, go on answering."""

    def resume(self) -> None | Awaitable[None]:
        """Work again."""

    def reload_config(self) -> str | None | Awaitable[str | None]:
        """Read the configuration again; return a note for the sender, if there is one."""


class StoppableState(ControlState, Protocol):
    """The further functions that a daemon offers."""

    def stop(self) -> None:
        """Begin to stop; return at once."""

    def version(self) -> str:
        """Return the program's version."""


def answer(command: TextCommand, peer: Peer, state: ControlState) -> TextReply | Awaitable[TextReply]:
    """Return the reply to a command, or an awaitable of it where the state takes its time.

    Never raises: what the state raises becomes `ERR: message`.
    """
    spec = text.COMMANDS[command.word]
    if command.word in text.OWN_USER_ONLY and not peer.is_own_user:
        return TextReply.error(text.PERMISSION_DENIED)
    try:
        result = _ask(spec, state)
        if not inspect.isawaitable(result):
            return _reply(spec, result)
    except Exception as error:  # noqa: BLE001  # a state may raise anything; the sender learns of it
        return refusal(command, error)
    return _answer_later(command, spec, result)


async def _answer_later(command: TextCommand, spec: CommandSpec, result: Awaitable[Any]) -> TextReply:
    try:
        return _reply(spec, await result)
    except Exception as error:  # noqa: BLE001
        return refusal(command, error)


def _ask(spec: CommandSpec, state: ControlState) -> Any:
    if not spec.method:
        return text.own_answer(spec)
    method = getattr(state, spec.method, None)
    if method is None:
        raise NotImplementedError(f"{spec.word} is not supported by this daemon")
    return method()


def _reply(spec: CommandSpec, result: Any) -> TextReply:
    if spec.form == "status":
        return TextReply.status(dict(result))
    if spec.form == "text":
        return TextReply.text(str(result))
    return TextReply.ok(result if isinstance(result, str) else "")


def refusal(command: TextCommand, error: Exception) -> TextReply:
    """Return a sentence about an exception for the sender; unexpected ones are logged with their trace."""
    if not isinstance(error, (DaemonryError, NotImplementedError)):
        logger.error("%s failed", command.word, exc_info=error)
    return TextReply.error(str(error) or type(error).__name__)


def encoded(reply: TextReply) -> bytes:
    """Return the line to send; a status that JSON has no form for becomes `ERR: reason`.

    Never raises: it is called where nobody is left to tell the sender anything else.
    """
    try:
        return reply.to_text().encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        logger.error("the status cannot be sent: %s", error)
        return TextReply.error(f"the status cannot be sent: {error}").to_text().encode("utf-8")
