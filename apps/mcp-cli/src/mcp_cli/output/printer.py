"""The form of a command's output, chosen once: for people, as JSON, or as the server's own bytes.

Owns the three forms of each kind of answer:

    tool_result     what a tool answered
    result          what a server answered to another question: a resource, a prompt, values
    definition      what a server says of one of its tools, to the byte
    document        JSON that holds texts of servers, to the byte
    facts           facts that this program knows itself
    failure         why a command failed; the line on standard error is `client.failures`'s
    remark          remarks for people only

The output for people is handed in as a function, which prints it; JSON as one that returns it, so that
nothing is made that is not printed.  On the path of every warm call.
"""

from __future__ import annotations

import sys

from daemonry.cli import kit
from daemonry.cli.terminal import end_of_line, for_stream, json_for_stream, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeAlias

    Show: TypeAlias = Callable[[], None]
    from mcp_cli.output.selected import Selected

    Printer: TypeAlias = "People | Json | Raw | Selected"


def printer_of(*, json: bool, raw: bool, save_dir: str | None) -> Printer:
    """Return the printer for a command's options.

    Args:
        json: whether `--json` was given.
        raw: whether `--raw` was given; it counts where a server's own JSON is printed.
        save_dir: where images and other files are saved, or None for a directory of their own.
    """
    form = Json() if json else People(save_dir)
    return Raw(form) if raw else form


class People:
    """Text for people.

    Args:
        save_dir: where images and other files are saved, or None for a directory of their own.

    Attributes:
        for_programs: whether a program reads the output, so that nobody is there to answer questions.
        prints_failures: whether a failure is printed to standard output, too.
    """

    for_programs = False
    prints_failures = False

    def __init__(self, save_dir: str | None) -> None:
        self._save_dir = save_dir

    def tool_result(self, final: Mapping[str, Any], text: str, server: str, tool: str) -> None:
        """Print a tool's result, to standard error where it is a failure.

        Args:
            final: the last event of the call, as `interfaces.Event` fields.
            text: the result's JSON, as the server sent it.
            server: the server's name.
            tool: the tool's.
        """
        is_error = bool(final.get("is_error"))
        stream = sys.stderr if is_error else sys.stdout
        words = final.get("text", "")
        # JSON is laid out for people, which is not for the quick way.
        if final.get("plain") and not (words[:1] in ("[", "{") and stream.isatty()):
            write(end_of_line(for_stream(words, stream)), stream)
            return
        from mcp_cli.output import render

        render.show(text, self._save_dir, f"{server}-{tool}", is_error=is_error)

    def result(self, text: str, show: Show) -> None:
        """Print what a server answered: for programs `text`, its JSON."""
        del text
        show()

    def definition(self, text: str, show: Show) -> None:
        """Print what a server says of one of its tools: for programs `text`, its JSON."""
        del text
        show()

    def document(self, made: Callable[[], str], show: Show) -> None:
        """Print a document that holds JSON of servers: for programs what `made` returns."""
        del made
        show()

    def facts(self, made: Callable[[], Mapping[str, Any]], show: Show) -> None:
        """Print facts of this program: for programs what `made` returns."""
        del made
        show()

    def failure(self, made: Callable[[], str]) -> None:
        """Print a failure for programs: what `made` returns."""

    def remark(self, show: Show) -> None:
        """Print remarks for people only."""
        show()


class Json:
    """JSON, with the outcome."""

    for_programs = True
    prints_failures = True

    def tool_result(self, final: Mapping[str, Any], text: str, server: str, tool: str) -> None:
        """Print a tool's result with its outcome; a failure's text goes to standard error, too."""
        broken = final.get("schema_error")
        is_error = bool(final.get("is_error"))
        extra = _schema_error(broken) if broken else ""
        failed = "true" if is_error else "false"
        self._print(f'{{"outcome":"done","is_error":{failed}{extra},"result":{text}}}')
        if is_error:
            _complain(final, server, tool)

    def result(self, text: str, show: Show) -> None:
        """Print a server's answer with its outcome."""
        del show
        self._print(f'{{"outcome":"done","result":{text}}}')

    def definition(self, text: str, show: Show) -> None:
        """Print the server's JSON."""
        del show
        self._print(text)

    def document(self, made: Callable[[], str], show: Show) -> None:
        """Print the document."""
        del show
        self._print(made())

    def facts(self, made: Callable[[], Mapping[str, Any]], show: Show) -> None:
        """Print the facts."""
        del show
        kit.say_json(made())

    def failure(self, made: Callable[[], str]) -> None:
        """Print the failure."""
        self._print(made())

    def remark(self, show: Show) -> None:
        """Print nothing."""

    def _print(self, text: str) -> None:
        _say_json(text)


class Raw:
    """A server's own JSON, to the byte.

    Args:
        form: the form of all that is not a server's own.
    """

    for_programs = True

    def __init__(self, form: People | Json) -> None:
        self._form = form
        self.prints_failures = form.prints_failures
        self.document = form.document
        self.facts = form.facts
        self.failure = form.failure
        self.remark = form.remark

    def tool_result(self, final: Mapping[str, Any], text: str, server: str, tool: str) -> None:
        """Print a tool's result; a failure's text goes to standard error, too."""
        _say_json(text)
        if final.get("is_error"):
            _complain(final, server, tool)

    def result(self, text: str, show: Show) -> None:
        """Print a server's answer."""
        del show
        _say_json(text)

    def definition(self, text: str, show: Show) -> None:
        """Print the server's JSON."""
        del show
        _say_json(text)


def say_line(text: str) -> None:
    """Print one line to standard output, which may hold foreign text."""
    write(for_stream(text, sys.stdout).replace("\n", " ") + "\n", sys.stdout)


def complain_line(text: str) -> None:
    """Print foreign text to standard error."""
    write(for_stream(text, sys.stderr) + "\n", sys.stderr)


def _say_json(text: str) -> None:
    write(json_for_stream(text, sys.stdout) + "\n", sys.stdout)


def _complain(final: Mapping[str, Any], server: str, tool: str) -> None:
    sys.stdout.flush()
    words = final.get("text") or f"{server}/{tool}: failed"
    write(end_of_line(for_stream(words, sys.stderr)), sys.stderr)


def _schema_error(broken: str) -> str:
    import json

    return f',"schema_error":{json.dumps(broken)}'
