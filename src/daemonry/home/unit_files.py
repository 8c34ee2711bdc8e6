"""Units that start a daemon or a home at login: for systemd (systemd.unit(5)) and launchd (launchd.plist(5)).

Owns their text.  Writing them, and telling the service manager, is `cli.homes.setup`'s.

A unit names the interpreter that it was made with.  If that is gone, because its virtual environment was
moved or daemonry was uninstalled, the unit looks for a `daemonry` that runs, on the PATH and in
~/.local/bin; if there is none, it says so, with what to remove, and ends without a failure, so that
nobody restarts it for ever.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

# $0 the interpreter, $1 what to say when nothing is installed any more; behind them daemonry's words.
# Nothing is installed: to systemd an end before READY=1 is a failure, which it would restart.
# A command is tried, not looked for: a moved virtual environment has one without its interpreter.
_START = (
    "python=$0; gone=$1; shift; "
    '"$python" -c "import daemonry" 2>/dev/null && exec "$python" -m daemonry "$@"; '
    'for one in daemonry "$HOME/.local/bin/daemonry"; do '
    '"$one" --version >/dev/null 2>&1 && exec "$one" "$@"; done; '
    'echo "$gone" >&2; systemd-notify --ready 2>/dev/null; '
)


class LoginCommand(NamedTuple):
    """A command that is started at login.

    Attributes:
        name: the unit's name, without its kind.
        about: a description, for people.
        words: the words of `daemonry` that run it in the foreground.
        python: the interpreter.
        socket_path: where systemd listens for it; "" where it makes its sockets itself.
        path: where the unit is written.
    """

    name: str
    about: str
    words: tuple[str, ...]
    python: str
    socket_path: str
    path: str

    @property
    def command(self) -> tuple[str, ...]:
        """The whole command."""
        gone = f"daemonry is not installed any more: remove {self.path}, or run daemonry install again"
        # A connection still waits there, for which systemd would start the unit again.
        close = f"systemctl --user --no-block stop {self.name}.socket 2>/dev/null; "
        start = f"{_START}{close if self.socket_path else ''}exit 0"
        return ("/bin/sh", "-c", start, self.python, gone, *self.words)


def service_unit(job: LoginCommand) -> str:
    """Return the text of its .service unit."""
    sockets = f"Requires={job.name}.socket\nAfter={job.name}.socket\n" if job.socket_path else ""
    return f"""\
# Made by `daemonry install`; `daemonry uninstall` removes it.
[Unit]
Description={_escaped(job.about)}
{sockets}
[Service]
Type=notify
NotifyAccess=all
ExecStart={_quoted(job.command)}
ExecReload=/bin/kill -HUP $MAINPID
WatchdogSec=30
Restart=on-failure
RestartSec=1
KillMode=mixed
TimeoutStopSec=120
Delegate=yes

[Install]
WantedBy=default.target
"""


def socket_unit(job: LoginCommand) -> str:
    """Return the text of its .socket unit."""
    return f"""\
# Made by `daemonry install`; `daemonry uninstall` removes it.
[Unit]
Description=Socket of {_escaped(job.about)}

[Socket]
ListenStream={_escaped(job.socket_path)}
SocketMode=0600
DirectoryMode=0700
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
"""


def plist(job: LoginCommand) -> str:
    """Return the text of its property list for launchd."""
    words = "\n".join(f"    <string>{escape(word)}</string>" for word in job.command)
    return f"""\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- Made by daemonry install; daemonry uninstall removes it. -->
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>{escape(job.name)}</string>
  <key>ProgramArguments</key>
  <array>
{words}
  </array>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <dict>
    <key>SuccessfulExit</key>
    <false/>
  </dict>
  <key>ProcessType</key>
  <string>Background</string>
</dict>
</plist>
"""


def runs(text: str, target: str) -> bool:
    """Whether the text of a unit, as written here, runs the program `target`."""
    if text.startswith("# Made by `daemonry install`"):
        starts = [line for line in text.splitlines() if line.startswith("ExecStart=")]
        return any(line.endswith(f" {_quoted(('run', target))}") for line in starts)
    words = "".join(f"    <string>{escape(word)}</string>\n" for word in ("run", target))
    return "<!-- Made by daemonry install;" in text and f"{words}  </array>\n" in text


def _quoted(words: Sequence[str]) -> str:
    return " ".join(_word(word) for word in words)


def _word(word: str) -> str:
    """Quote a word for a command line of systemd.syntax(7): `$` and `%` are doubled."""
    if word and shlex.quote(word) == word and "%" not in word:
        return word
    plain = _escaped(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{plain}"'


def _escaped(text: str) -> str:
    return text.replace("%", "%%").replace("\n", " ")
