"""Connecting to a Unix socket: what each refusal means, and that no wait lasts for ever."""

import errno
import os
import socket
import subprocess
import time

import pytest

from daemonry import clock
from daemonry.errors import (
    AccessDenied,
    ConnectError,
    DeadlineExceeded,
    EndpointInvalid,
    NotListening,
    StaleSocket,
)
from daemonry.process import platform
from daemonry.transport import unix_connect
from daemonry.transport.connect import connect, listen, try_connect
from daemonry.transport.endpoint import Endpoint
from daemonry.transport.unix import is_live

PATIENT_S = 10.0


def leave_stale(path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


@pytest.fixture
def busy(socket_path):
    """A raw listener whose backlog is full: the kernel answers EAGAIN to whoever comes next."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(socket_path))
        listener.listen(0)
        first.connect(str(socket_path))
        yield listener


@pytest.mark.parametrize("make", ["nothing", "missing directory", "file as directory", "dangling link"])
def test_where_no_socket_is_nobody_listens(make, tmp_path):
    path = {
        "nothing": tmp_path / "x.sock",
        "missing directory": tmp_path / "none/x.sock",
        "file as directory": tmp_path / "file/x.sock",
        "dangling link": tmp_path / "link",
    }[make]
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(NotListening, match="there is no socket") as absent:
        connect(f"unix:{path}")
    assert absent.value.errno in (errno.ENOENT, errno.ENOTDIR)
    assert absent.value.path == str(path)
    assert try_connect(f"unix:{path}") is None


@pytest.mark.parametrize("make", ["file", "directory", "link to a file"])
def test_what_is_not_a_socket_is_not_called_a_stale_one(make, tmp_path):
    """Fact F3: the kernel refuses all of these with the same ECONNREFUSED."""
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "link to a file").symlink_to(tmp_path / "file")
    with pytest.raises(NotListening, match="the file there is not a socket"):
        connect(f"unix:{tmp_path / make}")


def test_a_socket_that_nobody_answers_is_stale(socket_path):
    """Requirement M6: the file is there, the daemon is not."""
    leave_stale(socket_path)
    with pytest.raises(StaleSocket) as stale:
        connect(f"unix:{socket_path}")
    assert stale.value.path == str(socket_path)
    assert stale.value.errno == errno.ECONNREFUSED
    assert try_connect(f"unix:{socket_path}") is None


def test_a_socket_that_is_bound_but_not_listening_answers_nobody(socket_path):
    with socket.socket(socket.AF_UNIX) as half:
        half.bind(str(socket_path))
        with pytest.raises(StaleSocket):
            connect(f"unix:{socket_path}")


def test_a_name_without_a_file_that_nobody_holds(socket_path):
    with pytest.raises(NotListening):
        connect(f"unix:@{socket_path.name}")


def test_a_socket_of_another_kind_is_told_in_the_systems_words(socket_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(str(socket_path))
        with pytest.raises(ConnectError, match=r"cannot connect to .*rotocol") as wrong:
            connect(f"unix:{socket_path}")
    assert wrong.value.errno == errno.EPROTOTYPE
    assert not isinstance(wrong.value, (NotListening, StaleSocket))


def test_a_loop_of_links_is_told_in_the_systems_words(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(ConnectError, match="cannot connect"):
        connect(f"unix:{tmp_path / 'a'}")


# --- a busy daemon (facts F6, fault 39) -----------------------------------------------------------


@pytest.mark.usefixtures("busy")
def test_a_full_backlog_is_a_busy_daemon_and_not_an_absent_one(socket_path):
    """Python's own `settimeout` raises at once here, and asyncio reports success."""
    for use in (connect, try_connect):
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded) as late:
            use(f"unix:{socket_path}", 0.05)
        assert 0.05 <= time.monotonic() - started < PATIENT_S
        assert (late.value.phase, late.value.ran, late.value.timeout_s) == ("connect", "no", 0.05)


@pytest.mark.usefixtures("busy")
def test_another_users_full_backlog_is_refused_and_not_waited_for(root, socket_path):
    """Who squats a socket and accepts nobody cannot be asked who they are; the file says it."""
    os.chown(socket_path, 65534, 65534)
    with pytest.raises(AccessDenied, match="user 65534's, and takes no connection"):
        connect(f"unix:{socket_path}", PATIENT_S)
    with pytest.raises(DeadlineExceeded):
        connect(f"unix:{socket_path}", 0.05)


@pytest.mark.usefixtures("busy")
def test_a_deadline_that_came_is_not_its_own_cause(socket_path):
    """A logger that walks the chain of causes would never come to its end."""
    with pytest.raises(DeadlineExceeded) as late:
        connect(f"unix:{socket_path}", 0.0)
    assert late.value.__cause__ is not late.value


def test_a_place_that_comes_free_is_taken_inside_the_deadline(busy, socket_path, monkeypatch):
    """The daemon accepts while we sleep between two attempts: the next attempt gets in."""
    slept = []

    def sleep_while_the_daemon_works(delay_s):
        slept.append(delay_s)
        if len(slept) == 3:
            busy.accept()[0].close()

    monkeypatch.setattr(clock, "sleep", sleep_while_the_daemon_works)
    with connect(f"unix:{socket_path}", PATIENT_S):
        pass
    assert len(slept) == 3
    assert slept == sorted(slept)


@pytest.mark.parametrize("timeout_s", [None, PATIENT_S])
def test_attempts_are_spread_out(busy, socket_path, monkeypatch, timeout_s):
    """Waiting for a stopped daemon must not take a CPU: few attempts, never more than 50 ms apart."""
    slept = []

    def sleep(delay_s):
        slept.append(delay_s)
        if len(slept) == 100:
            busy.accept()[0].close()

    monkeypatch.setattr(clock, "sleep", sleep)
    connect(f"unix:{socket_path}", timeout_s).close()
    assert max(slept) <= 0.05
    assert sum(slept) > 4.0


def test_no_descriptor_is_left_after_any_failure(busy, socket_path, tmp_path):
    def descriptors():
        return set(os.listdir("/proc/self/fd"))

    deep = tmp_path / ("d" * 150)
    deep.mkdir()
    before = descriptors()
    for path in (socket_path, tmp_path / "none", deep / "none.sock", tmp_path):
        for timeout_s in (0.0, 0.001):
            with pytest.raises((NotListening, DeadlineExceeded)):
                connect(f"unix:{path}", timeout_s)
    assert descriptors() == before


# --- denied is not dead (hard case 5) -------------------------------------------------------------

TRY_CONNECT = """
try:
    connect(sys.argv[1])
except AccessDenied as error:
    print("denied", error.errno, error)
"""
IMPORTS = """
import daemonry.errors
from daemonry.errors import AccessDenied
from daemonry.process import platform
from daemonry.transport.connect import connect
import daemonry.transport.unix_connect
"""


def test_a_socket_that_another_user_may_not_open_is_denied(as_nobody, tmp_path):
    tmp_path.chmod(0o700)
    with listen(f"unix:{tmp_path}/x.sock"):
        told = subprocess.check_output(
            as_nobody(TRY_CONNECT, f"unix:{tmp_path}/x.sock", imports=IMPORTS), text=True
        )
    assert told.startswith(f"denied {errno.EACCES} access denied to {tmp_path}/x.sock: ")


SQUAT = """
with socket.socket(socket.AF_UNIX) as squatter:
    squatter.bind(sys.argv[1].replace("@", "\\0"))
    squatter.listen()
    os.path.exists(sys.argv[1]) and os.chmod(sys.argv[1], 0o777)
    print("listening", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["in /tmp", "without a file"])
@pytest.mark.parametrize("way", ["SO_PEERCRED", "platform"])
def test_a_daemon_of_another_user_is_not_ours(as_nobody, socket_path, kind, way, monkeypatch):
    """Fault 12, fact F18: whoever was there first would answer for us, and hear what we say."""
    if way == "platform":
        monkeypatch.delattr(unix_connect._socket, "SO_PEERCRED")
    path = str(socket_path) if kind == "in /tmp" else f"@{socket_path.name}"
    words = as_nobody(SQUAT, path)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as squatter:
        assert squatter.stdout.readline() == "listening\n"
        for use in (connect, try_connect):
            with pytest.raises(
                AccessDenied, match=f"access denied to {path}: user 65534 listens there"
            ) as denied:
                use(f"unix:{path}", PATIENT_S)
            assert denied.value.errno is None
            assert denied.value.__cause__ is None
        assert is_live(Endpoint.unix(path))
        squatter.stdin.close()


@pytest.mark.parametrize(
    ("us", "them", "allowed"), [(1000, 1000, True), (1000, 0, True), (1000, 1001, False)]
)
def test_our_own_daemon_and_roots_are_whom_we_talk_to(socket_path, monkeypatch, us, them, allowed):
    monkeypatch.delattr(unix_connect._socket, "SO_PEERCRED")
    with listen(f"unix:{socket_path}"):
        monkeypatch.setattr(platform, "peer_of", lambda sock: (1, them, them))
        monkeypatch.setattr(os, "geteuid", lambda: us)
        if allowed:
            connect(f"unix:{socket_path}").close()
        else:
            with pytest.raises(AccessDenied):
                connect(f"unix:{socket_path}")
        monkeypatch.undo()


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES])
def test_a_sandbox_that_forbids_it_is_not_an_absent_daemon(number):
    """Seatbelt and seccomp answer EPERM where the file's mode would allow."""
    error = unix_connect._why_not(Endpoint.unix("/run/x.sock"), OSError(number, os.strerror(number)))
    assert isinstance(error, AccessDenied)
    assert not isinstance(error, (NotListening, StaleSocket))


# --- long paths (hard case 14, fault 18) ----------------------------------------------------------


def path_of(directory, length):
    """A socket's path of so many bytes, deep under `directory`."""
    name = "x.sock"
    missing = length - len(os.fsencode(directory)) - len(name) - 1
    while missing > 0:
        piece = min(missing - 1, 200)
        if missing - 1 - piece == 1:
            piece -= 1
        directory /= "d" * piece
        missing -= piece + 1
    directory.mkdir(parents=True, exist_ok=True)
    assert len(os.fsencode(directory / name)) == length
    return directory / name


@pytest.mark.parametrize("length", [102, 103, 104, 106, 107, 108, 109, 200, 1000, 3000])
def test_a_path_of_any_length_can_be_listened_at_and_connected_to(length, tmp_path_factory):
    """The kernel's limit is 107 bytes; longer ones go through the directory's descriptor."""
    path = path_of(tmp_path_factory.mktemp("l"), length)
    with listen(f"unix:{path}") as listener:
        assert path.is_socket()
        assert listener.endpoint.path == str(path)
        with connect(f"unix:{path}", PATIENT_S):
            listener.accept(PATIENT_S)[0].close()
    assert not path.exists()


def test_a_long_path_is_told_apart_from_a_missing_and_a_stale_one(tmp_path):
    deep = tmp_path / ("d" * 150)
    deep.mkdir()
    with pytest.raises(NotListening):
        connect(f"unix:{deep}/x.sock")
    leave_stale_fd = os.open(deep, os.O_RDONLY)
    leave_stale(f"/proc/self/fd/{leave_stale_fd}/x.sock")
    os.close(leave_stale_fd)
    with pytest.raises(StaleSocket, match=r"x\.sock is there"):
        connect(f"unix:{deep}/x.sock")
    with pytest.raises(NotListening):
        connect(f"unix:{deep}/no/x.sock")


@pytest.mark.parametrize("use", [connect, listen])
@pytest.mark.parametrize("path", ["/tmp/" + "n" * 120, "@" + "n" * 107, "@" + "n" * 500])
def test_a_name_that_no_detour_shortens_is_refused_with_both_lengths(use, path):
    with pytest.raises(EndpointInvalid, match=rf"it is {len(path)} bytes long, and the limit here is 107"):
        use(f"unix:{path}")


def test_length_is_counted_in_bytes(tmp_path):
    """A path of 80 characters can be far over the limit."""
    path = tmp_path / ("ü" * 60)
    path.mkdir()
    with listen(f"unix:{path}/x.sock"), connect(f"unix:{path}/x.sock"):
        pass
    with pytest.raises(EndpointInvalid, match="the limit here is 107"):
        connect(f"unix:{tmp_path}/{'ü' * 60}")


def test_where_there_is_no_detour_the_error_names_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "HAS_FD_PATHS", False)
    monkeypatch.setattr(platform, "UNIX_PATH_MAX", 103)
    deep = tmp_path / ("d" * 150)
    deep.mkdir()
    with pytest.raises(EndpointInvalid, match=r"bytes long, and the limit here is 103"):
        connect(f"unix:{deep}/x.sock")


def test_where_there_are_no_names_without_a_file_the_error_says_so(monkeypatch):
    monkeypatch.setattr(platform, "HAS_ABSTRACT_SOCKETS", False)
    with pytest.raises(EndpointInvalid, match="exist on Linux only"):
        connect("unix:@name")


def test_a_name_that_is_not_utf8_can_be_used(socket_path):
    path = os.fsdecode(os.fsencode(socket_path) + b"\xff")
    with listen(f"unix:{path}"), connect(f"unix:{path}"):
        assert os.path.exists(path)


def test_a_file_that_goes_away_while_we_look_is_absent(socket_path, monkeypatch):
    """Refused, then removed by its owner: the daemon ended between our two looks."""
    leave_stale(socket_path)
    lstat = os.lstat
    monkeypatch.setattr(os, "lstat", lambda path: (os.unlink(path), lstat(path)))
    with pytest.raises(NotListening):
        unix_connect.connect(Endpoint.unix(str(socket_path)), 0.0)
