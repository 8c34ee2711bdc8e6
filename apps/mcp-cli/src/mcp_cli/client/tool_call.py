"""A tool call as it was typed, and what of the server's words reaches the person who typed it.

Owns the parameters that are sent for it, and the decision which of a server's questions and log lines are
wanted; `questions` asks them.  On the path of every warm call.
"""

from __future__ import annotations

import sys

from mcp_cli.names import ELICITATION, SAMPLING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mcp_cli.client.options import Options


class ToolCall:
    """A tool call as it was typed.

    Attributes:
        arguments: a JSON object as text, or "" where `words` hold them.
        server: the server's name.
        tool: the tool's.
        words: `key=value` and the like.
    """

    __slots__ = ("arguments", "server", "tool", "words")

    def __init__(self, server: str, tool: str, arguments: str, words: list[str]) -> None:
        self.server = server
        self.tool = tool
        self.arguments = arguments
        self.words = words

    def parameters(self, options: Options, fingerprint: str, answers: list[str]) -> dict[str, Any]:
        """Return what `Call` is given.

        Raises:
            ArgumentInvalid: the file of `--schema` has no schema of the tool.
        """
        fields: dict[str, Any] = {
            "server": self.server,
            "fingerprint": fingerprint,
            "tool": self.tool,
            "logs": wants_logs(options),
            "answers": answers,
        }
        if self.words:
            fields["words"] = self.words
        else:
            fields["arguments"] = self.arguments or "{}"
        if options.timeout_s is not None:
            fields["timeout_s"] = options.timeout_s
        if not options.check:
            fields["check"] = False
        if options.schema is not None:
            from mcp_cli.client import schema_pin

            fields["pin"] = schema_pin.read(options.schema, self.tool)
        return fields


def wants_logs(options: Options) -> bool:
    """Whether progress and log lines are shown: on a terminal, or where asked for."""
    return not options.quiet and (options.verbose or sys.stderr.isatty())


def answered(options: Options) -> list[str]:
    """Return the methods that are answered: those that `--answer` or a person at a terminal can.

    Raises:
        ArgumentInvalid: `--answer` is not an answer.
    """
    if options.answer is not None:
        from mcp_cli.client.given_answers import GivenAnswers

        GivenAnswers(options.answer)  # which complains before anything is sent
        return [ELICITATION, SAMPLING]
    if options.printer.for_programs or options.quiet:
        return []
    if sys.stdin is None or not sys.stdin.isatty() or not sys.stderr.isatty():
        return []
    return [ELICITATION, SAMPLING]
