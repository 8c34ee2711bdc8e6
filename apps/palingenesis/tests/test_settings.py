"""The configuration's keys: what may be said, what is said back, and the file that `init` writes."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from daemonry import load_config
from daemonry.daemon.config import compare
from daemonry.errors import ConfigError
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
        ("monitoring.debounce_ms = 9", "monitoring.debounce_ms: expected `int` >= 10"),
        ("monitoring.debounce_ms = 2001", "monitoring.debounce_ms: expected `int` <= 2000"),
        ("monitoring.debounce_ms = '1'", "monitoring.debounce_ms: expected `int`, got `str`"),
        ("monitoring.poll_interval_secs = -1", "monitoring.poll_interval_secs: expected `int` >= 0"),
        ("monitoring.session_dir = 'x'", "monitoring: session_dir must be an absolute path"),
        ('monitoring.session_dir = "/a\\u0000"', "monitoring: session_dir has a NUL byte"),
        ("daemon.socket_path = 'x.sock'", "daemon: socket_path must be an absolute path"),
        ("daemon.log_level = 'loud'", "daemon.log_level: invalid enum value 'loud'"),
        ("daemon.http_port = 0", "daemon.http_port: expected `int` >= 1"),
        ("monitoring.debounce = 1", "monitoring.debounce: is not known: did you mean 'debounce_ms'?"),
        ("[monitorin]", "monitorin: is not known: did you mean 'monitoring'?"),
        ("[monitoring", "not TOML"),
    ],
)
def test_a_bad_file_is_told_with_file_key_and_reason(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text)
    assert str(raised.value).startswith(f"{tmp_path}/config.toml: {complaint}")
    assert "\n" not in str(raised.value)


def test_keys_of_the_original_are_accepted_and_told(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        """
        [daemon]
        http_enabled = true
        pid_file = "/x.pid"
        [monitoring]
        assistants = ["opencode"]
        [resume]
        max_retries = 9
        base_delay_secs = 20
        [notifications.ntfy]
        topic = "x"
        """,
    )
    assert [sentence.split()[0] for sentence in without_effect(settings)] == [
        "daemon.pid_file",
        "daemon.http_enabled",
        "monitoring.assistants",
        "resume.base_delay_secs",
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
