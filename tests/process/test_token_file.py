"""The token's file: whose it is and who can read it decides whether it is used."""

import os

import pytest

from daemonry.errors import UnsafePath
from daemonry.process import token_file

TOKEN = "0123456789abcdef" * 4


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "x.token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return path


def test_a_made_token_is_read_again_and_is_nobody_elses(tmp_path):
    path = str(tmp_path / "x.token")
    first = token_file.make(path)
    assert token_file.read(path) == first
    assert len(first) == 64
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert token_file.make(path) != first


def test_one_is_made_with_its_mode_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        token_file.make(str(tmp_path / "x"))
    finally:
        os.umask(before)
    assert os.stat(tmp_path / "x").st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o602, 0o604])
def test_one_that_others_could_read_or_write_is_refused(path, mode):
    path.chmod(mode)
    with pytest.raises(UnsafePath, match=f"open to others \\(mode {mode:04o}\\): chmod 600 it"):
        token_file.read(str(path))


@pytest.mark.parametrize("mode", [0o644, 0o620])
def test_an_old_one_that_others_could_read_is_named_when_it_is_replaced(path, mode):
    path.chmod(mode)
    told = []
    assert token_file.make(str(path), told.append) != TOKEN
    was = f"{path} was open to others (mode {mode:04o})"
    assert told == [f"{was}: a new token is made, and the old one is no longer accepted"]
    assert os.stat(path).st_mode & 0o777 == 0o600
    token_file.make(str(path), told.append)
    assert len(told) == 1


def test_a_link_is_not_followed(path, tmp_path):
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(UnsafePath, match="the token's file is a symbolic link"):
        token_file.read(str(tmp_path / "link"))


def test_a_named_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(UnsafePath, match="is a FIFO and not a regular file"):
        token_file.read(str(tmp_path / "pipe"))


def test_a_directory_and_nothing_at_all_are_told(tmp_path):
    with pytest.raises(UnsafePath, match="is a directory and not a regular file"):
        token_file.read(str(tmp_path))
    with pytest.raises(UnsafePath, match="cannot be read: No such file"):
        token_file.read(str(tmp_path / "none"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_file_is_refused(path):
    os.chown(path, 65534, -1)
    with pytest.raises(UnsafePath, match="belongs to user 65534"):
        token_file.read(str(path))


@pytest.mark.parametrize("text", ["", "short", "a b" * 20, "x" * 257, "\u00e9" * 40, TOKEN + "\n" + TOKEN])
def test_what_is_no_token_is_refused(path, text):
    """One that is short could be found by trying from a MAC."""
    path.write_text(text)
    with pytest.raises(UnsafePath, match="holds no token"):
        token_file.read(str(path))


def test_one_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(UnsafePath, match="the token cannot be written"):
        token_file.make(str(tmp_path / "none/x"))
    token_file.remove(str(tmp_path / "none/x"))


def test_one_that_is_kept_is_made_once(tmp_path):
    path = str(tmp_path / "kept")
    first = token_file.keep_token(path)
    assert token_file.keep_token(path) == token_file.read(path) == first
    assert os.listdir(tmp_path) == ["kept"]
    with pytest.raises(UnsafePath, match="cannot be written"):
        token_file.keep_token(str(tmp_path / "none/kept"))


def test_of_two_makers_the_first_counts_for_both(tmp_path, monkeypatch):
    path = str(tmp_path / "kept")
    first = token_file.keep_token(path)
    monkeypatch.setattr(token_file.os.path, "lexists", lambda _path: False)  # as the second saw it
    assert token_file.keep_token(path) == first
    assert os.listdir(tmp_path) == ["kept"]
