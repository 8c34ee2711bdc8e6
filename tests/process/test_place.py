"""Where a daemon's files are: the same answer for the daemon and everyone who looks (fault 33)."""

import os
import pwd
import subprocess
import sys

import pytest

from daemonry.errors import TargetInvalid, UnsafePath
from daemonry.process import place
from daemonry.process.place import (
    Place,
    check_name,
    config_path,
    host_id,
    registry_dir,
    runtime_dir,
    state_dir,
)

NOBODY = 65534
VARIABLES = ("HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home, no other variable, and no /run/user directory."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(os, "lstat", without_run_user(os.lstat))
    return tmp_path / "home"


def without_run_user(lstat):
    def look(path, **options):
        if str(path).startswith("/run/user"):
            raise FileNotFoundError(path)
        return lstat(path, **options)

    return look


# --- the runtime directory ------------------------------------------------------------------------


def fallback(name="ticker"):
    return f"/tmp/{name}-{os.geteuid()}"


def test_the_users_runtime_directory_is_used(home, tmp_path, monkeypatch):
    """Requirements P13, P15, M3."""
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", f"{tmp_path}/run/")
    assert runtime_dir("ticker") == f"{tmp_path}/run/ticker"
    assert Place.of("ticker").socket_path == f"{tmp_path}/run/ticker/ticker.sock"


@pytest.mark.parametrize(
    "found", ["unset", "empty", "relative", "missing", "open", "a file", "a link", "dangling"]
)
@pytest.mark.usefixtures("home")
def test_a_runtime_directory_that_is_not_ours_alone_is_not_used(tmp_path, monkeypatch, found):
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "file").touch(mode=0o600)
    (tmp_path / "link").symlink_to(run)
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    monkeypatch.chdir(tmp_path)
    value = {
        "unset": None,
        "empty": "",
        "relative": "run",
        "missing": f"{tmp_path}/missing",
        "open": f"{tmp_path}/open",
        "a file": f"{tmp_path}/file",
        "a link": f"{tmp_path}/link",
        "dangling": f"{tmp_path}/dangling",
    }[found]
    if value is not None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", value)
    assert runtime_dir("ticker") == fallback()


@pytest.mark.usefixtures("home", "root")
def test_the_runtime_directory_of_another_user_is_not_used(tmp_path, monkeypatch):
    """After `su` the variable still names the other's (hard case 12)."""
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    os.chown(run, NOBODY, NOBODY)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(run))
    assert runtime_dir("ticker") == fallback()


def test_without_the_variable_the_systems_directory_is_used(tmp_path, monkeypatch):
    """Cron and ssh set no variable; the place must be that of the desktop all the same."""
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    lstat = os.lstat
    real = f"/run/user/{os.geteuid()}"
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(os, "lstat", lambda path: lstat(run if path == real else path))
    assert runtime_dir("ticker") == f"{real}/ticker"


def test_a_variable_of_the_programs_own_is_taken_as_given(home, monkeypatch):
    """It is checked when it is used; here it only says where."""
    monkeypatch.setenv("TICKER_RUNTIME", "/somewhere/else/")
    assert runtime_dir("ticker") == "/somewhere/else"
    monkeypatch.setenv("TICKER_RUNTIME", "/")
    assert runtime_dir("ticker") == "/"
    monkeypatch.setenv("TICKER_RUNTIME", "")
    assert runtime_dir("ticker") == fallback()


# --- state and configuration ----------------------------------------------------------------------


def test_state_and_configuration_are_in_the_home(home):
    assert state_dir("ticker") == f"{home}/.local/state/ticker"
    assert config_path("ticker") == f"{home}/.config/ticker/config.toml"
    assert registry_dir() == f"{home}/.local/state/daemonry/{host_id()}"


def test_the_variables_of_the_desktop_move_them(home, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/state/")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/config")
    assert state_dir("ticker") == "/state/ticker"
    assert config_path("ticker") == "/config/ticker/config.toml"
    assert registry_dir().startswith("/state/daemonry/")


@pytest.mark.parametrize("value", ["", "relative/state"])
def test_a_desktop_variable_that_is_not_absolute_is_ignored(home, monkeypatch, value):
    """The XDG base directory specification asks for that."""
    monkeypatch.setenv("XDG_STATE_HOME", value)
    assert state_dir("ticker") == f"{home}/.local/state/ticker"


@pytest.mark.parametrize(
    ("name", "variable", "ask"),
    [
        ("ticker", "TICKER_STATE", state_dir),
        ("my-app.v2", "MY_APP_V2_STATE", state_dir),
        ("ticker", "TICKER_CONFIG", config_path),
        ("ticker", "TICKER_RUNTIME", runtime_dir),
    ],
)
def test_the_programs_own_variables_come_first(home, monkeypatch, name, variable, ask):
    monkeypatch.setenv(variable, "/given")
    assert ask(name) == "/given"
    monkeypatch.setenv(variable, "given")
    with pytest.raises(UnsafePath, match=f"given: {variable} must be an absolute path"):
        ask(name)


@pytest.mark.parametrize("value", [None, ""])
def test_without_home_the_password_database_is_asked(home, monkeypatch, value):
    """Cron and containers start with little; an empty HOME must not put state into `/.local`."""
    if value is None:
        monkeypatch.delenv("HOME")
    else:
        monkeypatch.setenv("HOME", value)
    expected = pwd.getpwuid(os.getuid()).pw_dir.rstrip("/")
    assert state_dir("ticker") == f"{expected}/.local/state/ticker"


def test_home_may_be_the_root(home, monkeypatch):
    monkeypatch.setenv("HOME", "/")
    assert state_dir("ticker") == "/.local/state/ticker"


def test_a_relative_home_is_told(home, monkeypatch):
    monkeypatch.setenv("HOME", "home")
    with pytest.raises(UnsafePath, match="HOME is 'home', which is not an absolute path: set HOME or"):
        state_dir("ticker")


@pytest.mark.usefixtures("root")
def test_a_user_whom_nobody_knows_is_told_in_one_line():
    """A container run with `--user 12345` has neither HOME nor an entry."""
    script = """
import os, sys
import daemonry.errors, pwd
from daemonry.process import place
os.setresuid(12345, 12345, 12345)
for ask in (place.Place.of, place.config_path):
    try:
        ask("ticker")
    except daemonry.errors.UnsafePath as error:
        print(error)
"""
    told = subprocess.check_output([sys.executable, "-c", script], env={}, text=True)
    assert told.splitlines() == [
        "~: no home directory is known: set HOME or XDG_STATE_HOME",
        "~: no home directory is known: set HOME or XDG_CONFIG_HOME",
    ]


# --- the files --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("home")
def test_every_file_has_its_place():
    ticker = Place("/state/host", "ticker", "/run/ticker")
    assert ticker.life_lock_path == "/state/host/ticker.lock"
    assert ticker.start_lock_path == "/state/host/ticker.start.lock"
    assert ticker.record_path == "/state/host/ticker.json"
    assert ticker.start_path == "/state/host/ticker.start.json"
    assert ticker.log_path == "/state/host/ticker.log"
    assert ticker.crash_path == "/state/host/ticker.crash"
    assert ticker.crash_note_path == "/state/host/ticker.crash.note"
    assert ticker.socket_path == "/run/ticker/ticker.sock"


def test_a_place_is_the_same_whoever_asks(home):
    assert Place.of("ticker") == Place.of("ticker")
    assert Place.of("ticker").host_dir == f"{home}/.local/state/ticker/{host_id()}"
    assert Place.of("ticker") != Place.of("tocker")


def test_nothing_is_made_by_asking(home):
    Place.of("ticker")
    registry_dir()
    assert not home.exists()


# --- names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "ticker", "My-App_2.0", "0", "x" * 64, "a..b"])
def test_a_name_can_be_a_file_name(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "cannot be empty"),
        ("a/b", "cannot have a slash"),
        ("../etc", "cannot have a slash"),
        ("a\\b", "cannot have a slash"),
        (".", "starts with a letter or a digit"),
        ("..", "starts with a letter or a digit"),
        ("-rf", "starts with a letter or a digit"),
        ("_x", "starts with a letter or a digit"),
        ("a b", "cannot have ' ' in it"),
        ("a\nb", r"cannot have '\\n' in it"),
        ("a\0b", r"cannot have '\\x00' in it"),
        ("\x1b[31m", r"cannot have '\\x1b' in it"),
        ("ü", "cannot have 'ü' in it"),
        ("\u0661", "cannot have"),
        ("x" * 65, "has at most 64 characters"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused_with_the_reason(name, reason):
    with pytest.raises(TargetInvalid, match=reason) as refused:
        check_name(name)
    assert str(refused.value).isprintable()
    with pytest.raises(TargetInvalid):
        Place.of(name)


# --- the host ---------------------------------------------------------------------------------------


def machine_id(monkeypatch, content):
    """Let /etc/machine-id hold `content`; None for no such file."""
    real_open = os.open

    def look(path, flags, *rest):
        if path != "/etc/machine-id":
            return real_open(path, flags, *rest)
        if content is None:
            raise FileNotFoundError(path)
        read_end, write_end = os.pipe()
        os.write(write_end, content)
        os.close(write_end)
        return read_end

    monkeypatch.setattr(place.os, "open", look)


def test_hosts_that_share_a_home_are_told_apart(monkeypatch):
    """And the whole id stays on its machine, as machine-id(5) asks."""
    machine_id(monkeypatch, b"0123456789abcdef0123456789abcdef\n")
    assert host_id() == "0123456789ab"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"not an id\n"])
def test_without_a_machine_id_the_hosts_name_tells(monkeypatch, content):
    machine_id(monkeypatch, content)
    assert host_id() == os.uname().nodename


def test_a_host_without_a_name_is_a_host_too(monkeypatch):
    machine_id(monkeypatch, None)

    class Nameless:
        nodename = ""

    monkeypatch.setattr(os, "uname", Nameless)
    assert host_id() == "localhost"
    Nameless.nodename = "a/b"
    assert host_id() == "a_b"
