"""What a program's own command line is made of, where `Daemon.main` is not enough.

    guarded         runs a command; what it raises becomes one line and an exit code
    leave           ends the process, after a quick command at once
    Options, parse  the options that every quick command knows, read without argparse
    perform         does one quick command: status, ping, pause, resume, reload, stop
    tell_crash      tells of the last crash, if nobody has yet
    fail            prints an error and returns its exit code
    seconds         reads a number of seconds
    say, say_json, complain, span, value, printable
                    print facts: a line, JSON, an error; a length of time, a value, foreign text
    ALREADY_PAUSED, NOT_PAUSED
                    what a daemon answers when it is so already

Owns nothing but the list: these are the names that programs may rely on.  On the path of the quick
commands, as all that it names.
"""

from __future__ import annotations

from daemonry.cli.main import guarded, leave
from daemonry.cli.output import complain, say, say_json, span, value
from daemonry.cli.quick import Options, fail, parse, perform, seconds, tell_crash
from daemonry.wire.text import ALREADY_PAUSED, NOT_PAUSED, printable

__all__ = [
    "ALREADY_PAUSED",
    "NOT_PAUSED",
    "Options",
    "complain",
    "fail",
    "guarded",
    "leave",
    "parse",
    "perform",
    "printable",
    "say",
    "say_json",
    "seconds",
    "span",
    "tell_crash",
    "value",
]
