"""What only Linux has, against Linux itself, and with procfs gone."""

import builtins
import os
import socket
import stat
import subprocess
import sys

import pytest

from daemonry.limits import UNIX_PATH_MAX_LINUX
from daemonry.process import platform, platform_linux

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux's own file")


@pytest.fixture
def without_procfs(monkeypatch):
    real_open = builtins.open

    def no_proc(path, *rest, **options):
        if str(path).startswith("/proc"):
            raise FileNotFoundError(path)
        return real_open(path, *rest, **options)

    monkeypatch.setattr(builtins, "open", no_proc)
    monkeypatch.setattr(os, "readlink", no_proc)


def test_the_names_are_the_same_on_every_platform():
    """Requirement M9: what a platform file lacks would fail only there."""
    from daemonry.process import platform_darwin

    for name in platform.__all__:
        assert hasattr(platform_linux, name), name
        assert hasattr(platform_darwin, name), name


def test_linux_is_chosen_on_linux():
    assert platform.start_time is platform_linux.start_time


def test_a_process_with_a_treacherous_name_has_its_start_time(tmp_path):
    """Field 2 of /proc/PID/stat is the name, which may have blanks and brackets in it."""
    program = tmp_path / "x) R 1 1 (y"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"]) as child, open(f"/proc/{child.pid}/stat") as file:
        assert "x) R 1 1 (y" in file.read()
        started = platform_linux.start_time(child.pid)
        child.kill()
    ticks = os.sysconf("SC_CLK_TCK")
    with open("/proc/uptime") as file:
        assert abs(float(file.read().split()[0]) - started / ticks) < 60


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1, 2**40])
def test_what_is_no_process_has_no_start_time(pid):
    assert platform_linux.start_time(pid) is None


def test_without_procfs_nothing_is_known(without_procfs):
    assert platform_linux.start_time(os.getpid()) is None
    assert platform_linux.boot_id() == ""
    assert platform_linux.pid_namespace() == ""


def test_the_boot_has_an_id_that_stays():
    assert platform_linux.boot_id() == platform_linux.boot_id()
    assert len(platform_linux.boot_id()) == 36
    assert platform_linux.pid_namespace().startswith("pid:[")


def test_the_limit_is_the_kernels(tmp_path, monkeypatch):
    """F5: one byte more, and Python itself refuses, with an error that has no number."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as fits, socket.socket(socket.AF_UNIX) as not_any_more:
        fits.bind("x" * UNIX_PATH_MAX_LINUX)
        with pytest.raises(OSError, match="too long") as refused:
            not_any_more.bind("y" * (UNIX_PATH_MAX_LINUX + 1))
    assert refused.value.errno is None
    assert UNIX_PATH_MAX_LINUX == platform_linux.UNIX_PATH_MAX


def test_a_directorys_descriptor_is_a_path(tmp_path, monkeypatch):
    assert platform_linux.HAS_FD_PATHS
    fd = os.open(tmp_path, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{fd}/x.sock")
    os.close(fd)
    assert (tmp_path / "x.sock").is_socket()


def test_a_listening_socket_can_be_asked_for(socket_path):
    assert platform_linux.HAS_ACCEPTCONN
    assert socket.SO_ACCEPTCONN == platform_linux.SO_ACCEPTCONN
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(socket_path))
        assert not sock.getsockopt(socket.SOL_SOCKET, platform_linux.SO_ACCEPTCONN)
        sock.listen()
        assert sock.getsockopt(socket.SOL_SOCKET, platform_linux.SO_ACCEPTCONN)


def test_names_without_a_file_exist(socket_path):
    assert platform_linux.HAS_ABSTRACT_SOCKETS
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("\0" + socket_path.name)


@pytest.mark.parametrize("umask", [0, 0o022, 0o177])
def test_a_private_socket_is_born_private(socket_path, umask):
    before = os.umask(umask)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            platform_linux.bind_private(sock, str(socket_path))
            assert stat.S_IMODE(socket_path.lstat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_the_peer_is_who_connected_and_who_listened(socket_path):
    """F11: as they were at connect() and at listen()."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(socket_path))
        listener.listen()
        client.connect(str(socket_path))
        us = (os.getpid(), os.geteuid(), os.getegid())
        server, _ = listener.accept()
        with server:
            assert [platform_linux.peer_of(client), platform_linux.peer_of(server)] == [us, us]


def test_a_peer_without_a_process_in_our_numbering_is_nought():
    """F13: a client outside our pid namespace, and any that cannot be told."""
    with socket.socket(socket.AF_UNIX) as alone:
        assert platform_linux.peer_of(alone)[0] == 0
