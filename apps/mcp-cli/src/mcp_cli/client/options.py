"""The options that every command knows, taken out of a command line wherever they stand.

Owns telling ours from a tool's.  Behind `call SERVER/TOOL` words belong to the tool, except these
options and what belongs to them; a tool's parameter of the same name is given as `json=...`, and
behind `--` every word is the tool's.

On the path of every warm call: no argparse.
"""

from __future__ import annotations

import os

import daemonry
from mcp_cli.names import PROTOCOLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_cli.output.printer import Printer

AUTO = "auto"
REQUIRE = "require"
DIRECT = "direct"

NO_DAEMON = "MCP_NO_DAEMON"


class Options:
    """The options of one command line.

    Attributes:
        answer: what `--answer` says: the answers to a server's questions, or None.
        check: whether arguments are checked before they are sent.
        detach: whether a call is left to the daemon.
        config: what `-c` says, or None.
        fields: the paths of the fields of a result that are printed; "" for all.
        max_chars: how much of a result's text is printed; 0 for all.
        json: whether JSON is printed, with the outcome; `printer` does.
        mode: `AUTO`, `REQUIRE` or `DIRECT`.
        protocol: the revision of the protocol that a server has to speak; "" for the configured one.
        quiet: no progress, no log, no notes.
        raw: whether the server's own JSON is printed, to the byte; `printer` does.
        schema: the file with the tool's definition that a call asks to be the same, or None.
        save_dir: where images and other files are saved, or None for a directory of their own.
        stdio: the command of a one-off server, or None.
        timeout_s: how long a server may be silent; None for the configuration's.
        url: where a one-off server is, or None.
        verbose: more.
    """

    __slots__ = (
        "_printer",
        "answer",
        "check",
        "config",
        "detach",
        "fields",
        "json",
        "max_chars",
        "mode",
        "protocol",
        "quiet",
        "raw",
        "save_dir",
        "schema",
        "stdio",
        "timeout_s",
        "url",
        "verbose",
    )

    def __init__(self) -> None:
        self.answer: str | None = None
        self.check = True
        self.config: str | None = None
        self.detach = False
        self.fields = ""
        self.json = False
        self.max_chars = 0
        self.mode = ""
        self.protocol = ""
        self.quiet = False
        self.raw = False
        self.save_dir: str | None = None
        self.schema: str | None = None
        self.stdio: str | None = None
        self.timeout_s: float | None = None
        self.url: str | None = None
        self.verbose = False
        self._printer: Printer | None = None

    @property
    def printer(self) -> Printer:
        """What prints, in the form that was chosen; made at its first use."""
        if self._printer is None:
            from mcp_cli.output.printer import printer_of

            self._printer = printer_of(json=self.json, raw=self.raw, save_dir=self.save_dir)
            if self.fields or self.max_chars:
                from mcp_cli.output.selected import Selected

                paths = tuple(one.strip() for one in self.fields.split(",") if one.strip())
                self._printer = Selected(self._printer, paths, self.max_chars)
        return self._printer

    @property
    def one_off(self) -> bool:
        """Whether the command line itself gives the server."""
        return self.stdio is not None or self.url is not None


_FLAGS = ("--json", "--raw", "--quiet", "--verbose", "--no-check", "--detach")
_MODES = {"--no-daemon": DIRECT, "--require-daemon": REQUIRE, "--auto-daemon": AUTO}
_VALUES = {
    "--answer": "answer",
    "--fields": "fields",
    "--max-chars": "max_chars",
    "-c": "config",
    "--config": "config",
    "--timeout": "timeout",
    "--protocol": "protocol",
    "--stdio": "stdio",
    "--url": "url",
    "--save-dir": "save_dir",
    "--schema": "schema",
}


def take(arguments: list[str], environment: Mapping[str, str]) -> tuple[Options, list[str], list[str]]:
    """Return the options, the other words, and the words behind `--`.

    Raises:
        ArgumentInvalid: an option has no value, or one that cannot be.
    """
    options = Options()
    words: list[str] = []
    behind: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if word == "--":
            behind = list(rest)
        elif word[:1] != "-":
            words.append(word)
        elif word in _FLAGS:
            _set_flag(options, word)
        elif word in _MODES:
            _set_mode(options, word)
        elif (name := _VALUES.get(word.partition("=")[0])) is not None:
            option, equals, value = word.partition("=")
            given = value if equals else next(rest, None)
            if given is None:
                raise daemonry.errors.ArgumentInvalid(option, "needs a value")
            _set_value(options, option, name, given)
        else:
            words.append(word)
    if not options.mode:
        options.mode = DIRECT if is_on(environment.get(NO_DAEMON, "")) else AUTO
    if options.stdio is not None and options.url is not None:
        raise daemonry.errors.ArgumentInvalid("--stdio", "cannot be given with --url")
    return options, words, behind


def is_on(text: str) -> bool:
    """Whether an environment variable's value says yes: anything but nothing, 0, false and no."""
    return text.lower() not in ("", "0", "false", "no", "off")


def _set_flag(options: Options, word: str) -> None:
    if word == "--no-check":
        options.check = False
    else:
        setattr(options, word[2:], True)


def _set_mode(options: Options, word: str) -> None:
    mode = _MODES[word]
    if options.mode and options.mode != mode:
        raise daemonry.errors.ArgumentInvalid(
            word, "only one of --auto-daemon, --require-daemon, --no-daemon"
        )
    options.mode = mode


def _set_value(options: Options, option: str, name: str, value: str) -> None:
    if name != "timeout":
        if not value:
            raise daemonry.errors.ArgumentInvalid(option, "needs a value")
        if name == "protocol" and value not in PROTOCOLS:
            raise daemonry.errors.ArgumentInvalid(value, f"is not one of {', '.join(PROTOCOLS)}")
        if name == "max_chars" and not (value.isascii() and value.isdecimal() and int(value)):
            raise daemonry.errors.ArgumentInvalid(value, "must be a number of characters above 0")
        setattr(options, name, int(value) if name == "max_chars" else value)
        return
    from daemonry.cli import kit

    limit_s = kit.seconds(value)
    if limit_s is None:
        raise daemonry.errors.ArgumentInvalid(value, "is not a number of seconds above 0")
    options.timeout_s = limit_s


def environment() -> Mapping[str, str]:
    """Return the caller's environment."""
    return os.environ
