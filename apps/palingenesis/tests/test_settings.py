"""The configuration's keys: what may be said, what is said back, and the file that `init` writes."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from daemonry import load_config
from daemonry.daemon.config import compare
from daemonry.errors import ConfigError
from palingenesis.agents.known import configured
from palingenesis.default_config import TEXT
from palingenesis.settings import (
    DaemonSettings,
    Monitoring,
    Settings,
    session_dir,
    socket_path,
    with_effect,
    without_effect,
)


def load(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return load_config(str(path), Settings)


def test_the_defaults_are_the_originals() -> None:
    settings = Settings()
    assert settings.monitoring.session_dir == "~/.opencode"
    assert settings.monitoring.debounce_ms == 100
    assert settings.daemon.log_level == "info"
    assert list(without_effect(settings)) == []


def test_the_default_file_says_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, TEXT) == Settings()


def test_the_default_file_names_every_key_with_an_effect_and_its_default(tmp_path: Path) -> None:
    told = load(tmp_path, re.sub(r"(?m)^#(?=\w+ = )", "", TEXT))
    assert told == Settings()
    named = set(re.findall(r"(?m)^#(\w+) = ", TEXT))
    assert named == {key for table in with_effect(Settings()).values() for key in table}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("monitoring.debounce_ms = 9", "1:12: monitoring.debounce_ms: expected `int` >= 10"),
        ("monitoring.debounce_ms = 2001", "1:12: monitoring.debounce_ms: expected `int` <= 2000"),
        ("monitoring.debounce_ms = '1'", "1:12: monitoring.debounce_ms: expected `int`, got `str`"),
        ("monitoring.poll_interval_secs = -1", "1:12: monitoring.poll_interval_secs: expected `int` >= 0"),
        ("monitoring.session_dir = 'x'", "1:1: monitoring: session_dir must be an absolute path"),
        ('monitoring.session_dir = "/a\\u0000"', "1:1: monitoring: session_dir has a NUL byte"),
        ("daemon.socket_path = 'x.sock'", "1:1: daemon: socket_path must be an absolute path"),
        ("daemon.log_level = 'loud'", "1:8: daemon.log_level: invalid enum value 'loud'"),
        (
            "[daemon]\nhttp_enabled = true\nhttp_bind = '0.0.0.0'",
            "1:2: daemon: http_bind = '0.0.0.0' is beyond loopback: if that is meant, set",
        ),
        ("daemon.http_port = 0", "1:8: daemon.http_port: expected `int` >= 1"),
        ("monitoring.debounce = 1", "1:12: monitoring.debounce: is not known: did you mean 'debounce_ms'?"),
        ("[monitorin]", "1:2: monitorin: is not known: did you mean 'monitoring'?"),
        ("[monitoring", "1:12: not TOML"),
    ],
)
def test_a_bad_file_is_told_with_file_key_and_reason(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text)
    assert str(raised.value).startswith(f"{tmp_path}/config.toml:{complaint}")
    assert "\n" not in str(raised.value)


NOT_KEYS = """\
# [agents.mine]
[monitoring]
session_dir = '''/
[agents.mine]
reader = 1
'''
[agents.mine]
"""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("\treadr = 1", "8:2: agents.mine.readr: is not known: did you mean 'reader'?"),
        ("# reader = 1\nreader = 1", "9:1: agents.mine.reader: expected `str`, got `int`"),
        ("errors = { \"é\" = 'tea' }", "8:12: agents.mine.errors.\"é\": invalid enum value 'tea'"),
        (
            "signs = [\n {pattern = 'é', reason = 'tea'}]",
            "9:18: agents.mine.signs[0].reason: invalid enum value",
        ),
        ("sessions = ['x/*.md']", "7:9: agents.mine: a place must be absolute"),
        ("enabled = 'no'", "8:1: agents.mine.enabled: must be true or false"),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_an_agent_that_cannot_be_used_is_told_with_its_place(
    tmp_path: Path, text: str, complaint: str, line_end: str
) -> None:
    """Not that of the comment above it, nor that of the text of another value."""
    path = tmp_path / "config.toml"
    path.write_text((NOT_KEYS + text).replace("\n", line_end), newline="")
    settings = load_config(str(path), Settings)
    with pytest.raises(ConfigError) as raised:
        configured(settings, str(path))
    assert str(raised.value).startswith(f"{path}:{complaint}")


def test_a_place_under_no_known_home_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("# session_dir = 1\n[daemon]\n[monitoring]\nsession_dir = '~nobody-of-that-name/x'")
    settings = load_config(str(path), Settings)
    with pytest.raises(ConfigError) as raised:
        session_dir(settings.monitoring, str(path))
    assert str(raised.value).startswith(f"{path}:4:1: monitoring.session_dir: no home directory is known")


def test_keys_of_the_original_are_accepted_and_told(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        """
        [daemon]
        log_file = "/x.log"
        pid_file = "/x.pid"
        [monitoring]
        assistants = ["opencode"]
        [resume]
        max_retries = 9
        [notifications.ntfy]
        topic = "x"
        """,
    )
    assert [sentence.split()[0] for sentence in without_effect(settings)] == [
        "daemon.pid_file",
        "daemon.log_file",
        "monitoring.assistants",
        "notifications",
    ]


def test_every_key_either_does_something_or_is_told_not_to() -> None:
    everything = msgspec.structs.asdict(Settings())
    assert set(everything) - set(with_effect(Settings())) == {
        "notifications", "bot", "metrics", "opencode", "mcp", "otel",
    }  # fmt: skip


def test_only_the_socket_needs_a_restart() -> None:
    changed = Settings(
        daemon=DaemonSettings(log_level="debug", socket_path="/s"),
        monitoring=Monitoring(session_dir="/d", debounce_ms=10, poll_interval_secs=1),
    )
    assert compare(Settings(), changed).restart == ["daemon.socket_path"]


def test_paths_are_made_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert session_dir(Monitoring(session_dir="~/a/../b/"), "c") == "/home/me/b"
    assert socket_path(DaemonSettings(socket_path="~/s.sock"), "c") == "/home/me/s.sock"
    assert socket_path(DaemonSettings(), "c") is None


def test_a_home_that_is_not_known_is_told() -> None:
    with pytest.raises(ConfigError, match=r"^c: monitoring\.session_dir: no home directory is known for"):
        session_dir(Monitoring(session_dir="~nobody-of-that-name/x"), "c")
