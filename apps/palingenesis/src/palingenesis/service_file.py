"""`palingenesis install` and `uninstall`: the daemon as a service of its user's service manager.

Owns the text of the unit (systemd.service(5)) and of the property list (launchd.plist(5)), and where they go.
It writes a file and says what to run; it starts and enables nothing by itself.
"""

from __future__ import annotations

import os
import plistlib
import shutil
import sys
from collections.abc import Mapping
from typing import Final

from daemonry import load_config, write_atomically
from daemonry.cli import kit
from palingenesis import NAME
from palingenesis.agents.known import configured
from palingenesis.definition import daemon
from palingenesis.path_text import shown
from palingenesis.service_environment import CannotCarry, carried, keys_left
from palingenesis.settings import Settings

LABEL: Final = f"org.{NAME}.daemon"
_LINGER: Final = "/var/lib/systemd/linger"


def unit(program: str, environment: Mapping[str, str]) -> str:
    """Return the systemd unit of a user.

    Args:
        program: the command's absolute path.
        environment: the variables that the daemon gets: PATH, in which the agents are found, and more.
    """
    variables = "\n".join(f"Environment={_word(f'{name}={value}')}" for name, value in environment.items())
    return f"""\
[Unit]
Description=palingenesis: keeps AI coding sessions alive
Documentation=https://github.com/daemonry/daemonry

[Service]
Type=notify
ExecStart={_word(program)} daemon start --foreground
ExecReload={_word(program)} daemon reload
{variables}
Restart=on-failure
RestartSec=5
# The agents that it resumes outlive it: a stop or an upgrade ends none of them.
KillMode=process

[Install]
WantedBy=default.target
"""


def _word(text: str) -> str:
    """Return a word as a unit file has it: quoted, with nothing that systemd replaces."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def property_list(program: str, environment: Mapping[str, str]) -> bytes:
    """Return the launchd property list of a user."""
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": [program, "daemon", "start", "--foreground"],
            "EnvironmentVariables": dict(environment),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "AbandonProcessGroup": True,
        }
    )


def install(*, show: bool, platform: str = sys.platform) -> int:
    """Write the service file and say what to run; with `show`, print it only.

    Raises:
        ConfigError: the configuration, whose agents may name variables, cannot be used.
        OSError: it cannot be written.
    """
    program = shutil.which(sys.argv[0]) or shutil.which(NAME)
    if program is None:
        kit.complain("palingenesis: where its command is, is not known: it is not in PATH")
        return kit.FAILED
    program = os.path.abspath(program)
    if any(sign in program for sign in "\"'\\\n") or not _is_utf8(program):
        kit.complain("palingenesis: systemd takes no quotes, backslashes and line ends in a program's path")
        return kit.FAILED
    config_path = daemon.config_path()
    agents = configured(load_config(config_path, Settings), config_path)
    try:
        variables = carried(os.environ, agents.values())
    except CannotCarry as error:
        kit.complain(f"palingenesis: {error}: the service cannot have it")
        return kit.FAILED
    is_darwin = platform == "darwin"
    data = property_list(program, variables) if is_darwin else unit(program, variables).encode()
    if show:
        kit.say(data.decode().rstrip("\n"))
        return kit.DONE
    target = _target(platform)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    write_atomically(os.path.realpath(target), data, mode=0o644)
    kit.say(f"{kit.printable(shown(target))}: written")
    for name, value in variables.items():
        kit.say(f"with {name}={kit.printable(value)}")
    for name in keys_left(os.environ):
        kit.say(f"without {name}, as it is a secret: {_where_secrets_go(platform)}")
    for line in _next_steps(platform, target):
        kit.say(line)
    return kit.DONE


def uninstall(platform: str = sys.platform) -> int:
    """Remove the service file."""
    target = _target(platform)
    try:
        os.unlink(target)
    except FileNotFoundError:
        kit.say(f"{kit.printable(shown(target))}: not there")
        return kit.DONE
    kit.say(f"{kit.printable(shown(target))}: removed")
    if platform != "darwin":
        kit.say(f"then: systemctl --user disable --now {NAME}; systemctl --user daemon-reload")
    return kit.DONE


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


def _where_secrets_go(platform: str) -> str:
    if platform == "darwin":
        return "an agent that needs it is to have it in its own settings"
    return f"an agent that needs it gets it by `systemctl --user edit {NAME}`"


def _target(platform: str) -> str:
    home = os.path.expanduser("~")
    if platform == "darwin":
        return os.path.join(home, "Library/LaunchAgents", f"{LABEL}.plist")
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    return os.path.join(config, "systemd/user", f"{NAME}.service")


def _next_steps(platform: str, target: str) -> list[str]:
    if platform == "darwin":
        return [f"then: launchctl bootstrap gui/{os.getuid()} {target}"]
    steps = [f"then: systemctl --user daemon-reload && systemctl --user enable --now {NAME}"]
    user = os.environ.get("USER") or os.environ.get("LOGNAME") or str(os.getuid())
    if not os.path.exists(os.path.join(_LINGER, user)):
        steps.append(f"to have it run while you are logged out: loginctl enable-linger {kit.printable(user)}")
    return steps
