"""The configuration: its keys, their types, ranges and defaults.

Owns what a configuration file may say.  Reading it is the library's, and so are errors about
keys that are not known.  Keys of the original that do nothing here yet are accepted, so that its
files can be used, and told by `without_effect`, so that nobody relies on them.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from daemonry import RESTART
from daemonry.typed_toml import KeyPath, error_in
from palingenesis.clock_hours import hours_of

_Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
# Below 10 ms the watcher would wake up a hundred times a second for nothing; 2 s is also how long
# it may take to end.
_DebounceMs = Annotated[int, msgspec.Meta(ge=10, le=2000)]
_PollSecs = Annotated[int, msgspec.Meta(ge=0, le=86400)]
_SilenceSecs = Annotated[int, msgspec.Meta(ge=5, le=86400)]
_Tries = Annotated[int, msgspec.Meta(ge=1, le=100)]
_Backups = Annotated[int, msgspec.Meta(ge=0, le=1000)]
_Minutes = Annotated[int, msgspec.Meta(ge=0, le=1440)]
_Bound = Annotated[int, msgspec.Meta(ge=0, le=100_000)]
_DetectSecs = Annotated[int, msgspec.Meta(ge=1, le=86400)]


def _check_path(key: str, path: str) -> None:
    if "\0" in path:
        raise ValueError(f"{key} has a NUL byte in it")
    if not path.startswith(("/", "~")):
        raise ValueError(f"{key} must be an absolute path, or start with ~/: {path!r}")


def _is_loopback(address: str) -> bool:
    try:
        return address == "localhost" or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


class DaemonSettings(msgspec.Struct, frozen=True):
    """The table `[daemon]`.

    Attributes:
        log_level: the least that is logged.
        socket_path: the socket's path; "" for the usual one.
        http_enabled, http_port, http_bind: whether and where HTTP is answered on a port.
        http_beyond_loopback: has to be true as well where `http_bind` is not a loopback address.
    """

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    socket_path: Annotated[str, RESTART] = ""
    pid_file: str = ""
    log_file: str = ""
    http_enabled: Annotated[bool, RESTART] = False
    http_port: Annotated[_Port, RESTART] = 7654
    http_bind: Annotated[str, RESTART] = "127.0.0.1"
    http_beyond_loopback: Annotated[bool, RESTART] = False

    def __post_init__(self) -> None:
        if self.socket_path:
            _check_path("socket_path", self.socket_path)
        if self.http_enabled and not self.http_beyond_loopback and not _is_loopback(self.http_bind):
            raise ValueError(
                f"http_bind = {self.http_bind!r} is beyond loopback: if that is meant, set "
                "http_beyond_loopback = true as well"
            )


class Monitoring(msgspec.Struct, frozen=True):
    """The table `[monitoring]`.

    Attributes:
        session_dir: the directory of the session files, absolute or from `~`.
        debounce_ms: how long a file must be left alone before its change counts.
        poll_interval_secs: how often to look at all files as well; 0 for never.
    """

    session_dir: str = "~/.opencode"
    debounce_ms: _DebounceMs = 100
    poll_interval_secs: _PollSecs = 0
    assistants: list[str] = []
    auto_detect: bool = True
    auto_detect_interval_secs: _DetectSecs = 300

    def __post_init__(self) -> None:
        _check_path("session_dir", self.session_dir)


class Resume(msgspec.Struct, frozen=True):
    """The table `[resume]`.

    Attributes:
        enabled: whether stopped sessions are resumed.
        silence_secs: a resumed run that writes nothing for so long is a failed try.
        max_retries: tries without progress, until a session is given up.
        backup_count: backups of the records of full sessions that are kept.
        base_delay_secs: how long the next try waits after the first that brought nothing.
        max_delay_secs: what that is doubled up to, from try to try.
        jitter: whether times differ between sessions by up to ten seconds.
    """

    enabled: bool = True
    silence_secs: _SilenceSecs = 600
    max_retries: _Tries = 10
    backup_count: _Backups = 10
    base_delay_secs: _DetectSecs = 30
    max_delay_secs: _DetectSecs = 300
    jitter: bool = True


class Notices(msgspec.Struct, frozen=True):
    """The table `[notices]`.

    Attributes:
        urls: the receivers, as addresses of apprise.
        quiet_hours: hours without notices, as "22:00-07:00".
        digest_minutes: notices within so many minutes are one message.
    """

    urls: list[str] = []
    quiet_hours: str = ""
    digest_minutes: _Minutes = 0

    def __post_init__(self) -> None:
        hours_of(self.quiet_hours)


class Holding(msgspec.Struct, frozen=True):
    """The table `[holding]`; a project's `.palingenesis.toml` can only lower it.

    Attributes:
        requests_per_minute: a session that sends more is held; 0 for no bound.
        errors_per_minute: a session is held of which more end with an error, or break off, or half as many in
            a row within ten seconds; 0 for no bound.
        same_error_times: a session that fails so often with the same words is given up; 0 for no bound.
        resumes_per_day: runs that are begun for one session in 24 hours; 0 for no bound.
        quiet_hours: when no run is begun, as "22:00-07:00".
    """

    requests_per_minute: _Bound = 60
    errors_per_minute: _Bound = 5
    same_error_times: _Bound = 5
    resumes_per_day: _Bound = 0
    quiet_hours: str = ""

    def __post_init__(self) -> None:
        hours_of(self.quiet_hours)


class Settings(msgspec.Struct, frozen=True):
    """The whole file.  The tables after `notices` are the original's, and do nothing yet."""

    daemon: DaemonSettings = DaemonSettings()
    monitoring: Monitoring = Monitoring()
    agents: dict[str, dict[str, Any]] = {}
    resume: Resume = Resume()
    holding: Holding = msgspec.field(default_factory=Holding)
    notices: Notices = msgspec.field(default_factory=Notices)
    notifications: dict[str, Any] = {}
    bot: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    opencode: dict[str, Any] = {}
    mcp: dict[str, Any] = {}
    otel: dict[str, Any] = {}


_NOT_YET = "this version does not do that yet"
_WITHOUT_EFFECT = {
    "daemon.pid_file": "there is no pid file; `palingenesis daemon status` tells the pid",
    "daemon.log_file": "the log is in the state directory; `palingenesis logs` shows it",
    "monitoring.assistants": _NOT_YET,
    "monitoring.auto_detect": _NOT_YET,
    "monitoring.auto_detect_interval_secs": _NOT_YET,
    "notifications": "notices are in the table [notices]",
    "bot": _NOT_YET,
    "metrics": _NOT_YET,
    "opencode": _NOT_YET,
    "mcp": _NOT_YET,
    "otel": _NOT_YET,
}


def without_effect(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each key that is set, and does nothing."""
    defaults = Settings()
    for key, reason in _WITHOUT_EFFECT.items():
        if _value(settings, key) != _value(defaults, key):
            yield f"{key} has no effect: {reason}"


def with_effect(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the keys that do something and their values, by table."""
    return {
        name: {key: value for key, value in table.items() if f"{name}.{key}" not in _WITHOUT_EFFECT}
        for name, table in msgspec.to_builtins(settings).items()
        if name not in _WITHOUT_EFFECT
    }


def _value(settings: Settings, key: str) -> Any:
    found: Any = settings
    for name in key.split("."):
        found = getattr(found, name)
    return found


def session_dir(monitoring: Monitoring, config_path: str) -> str:
    """Return the absolute path of the directory to watch.

    Raises:
        ConfigError: it is under a home directory that is not known.
    """
    return _expanded(monitoring.session_dir, config_path, ("monitoring", "session_dir"))


def socket_path(settings: DaemonSettings, config_path: str) -> str | None:
    """Return the absolute path of the socket, or None for the usual one.

    Raises:
        ConfigError: it is under a home directory that is not known.
    """
    given = settings.socket_path
    return _expanded(given, config_path, ("daemon", "socket_path")) if given else None


def _expanded(path: str, config_path: str, key: KeyPath) -> str:
    found = os.path.expanduser(path)
    if not found.startswith("/"):
        raise error_in(config_path, key, f"no home directory is known for {path!r}")
    return os.path.normpath(found)
