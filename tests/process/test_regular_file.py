"""A regular file is opened at once; anything else is told, and left as it is."""

import errno
import os
import socket
import stat

import pytest

from daemonry.process.regular_file import NotRegular, is_regular, open_regular, read_regular


def _link(path):
    target = path.with_name("target")
    target.write_text("mine")
    path.symlink_to(target)


def _socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def _device(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root can make a device")


KINDS = {
    "a FIFO": os.mkfifo,
    "a directory": os.mkdir,
    "a symbolic link": _link,
    "a socket": _socket,
    "a device": _device,
}
FLAGS = [
    os.O_RDONLY,
    os.O_RDWR,
    os.O_RDWR | os.O_CREAT,
    os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
]


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_regular_file_is_told_and_left_alone(tmp_path, kind, flags):
    path = tmp_path / "x"
    KINDS[kind](path)
    before = os.lstat(path)
    with pytest.raises(NotRegular) as refused:
        open_regular(str(path), flags)
    assert str(refused.value) == f"{path}: is {kind} and not a regular file"
    assert (refused.value.errno, refused.value.filename) == (errno.EINVAL, str(path))
    assert os.lstat(path).st_mtime_ns == before.st_mtime_ns
    assert not is_regular(str(path))


def test_a_fifo_that_is_read_or_written_by_another_is_no_file_either(tmp_path):
    """Then opening it does not fail, and what is written to it would be gone."""
    path = str(tmp_path / "x")
    os.mkfifo(path)
    other = os.open(path, os.O_RDWR)
    with pytest.raises(NotRegular):
        open_regular(path, os.O_WRONLY)
    with pytest.raises(NotRegular):
        read_regular(path, 10)
    os.close(other)


def test_a_file_is_made_read_and_cut_as_open_does(tmp_path):
    path = str(tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        open_regular(path)
    fd = open_regular(path, os.O_WRONLY | os.O_CREAT)
    assert (stat.S_IMODE(os.fstat(fd).st_mode), os.get_inheritable(fd), os.get_blocking(fd)) == (
        0o600,
        False,
        True,
    )
    os.write(fd, b"abc")
    os.close(fd)
    assert read_regular(path, 3) == b"abc"
    assert is_regular(path)
    os.close(open_regular(path, os.O_WRONLY | os.O_TRUNC))
    assert read_regular(path, 3) == b""


def test_more_than_may_be_is_an_error_and_not_read(tmp_path):
    path = tmp_path / "x"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="holds more than 10 bytes") as refused:
        read_regular(str(path), 10)
    assert refused.value.errno == errno.EFBIG
