"""Directories for sockets, locks and logs: made for us alone, or refused with the reason (fault 12)."""

import os
import stat
import subprocess
import tempfile

import pytest

from daemonry.errors import UnsafePath
from daemonry.process.private_dir import ensure_private, ensure_unwritable_by_others

NOBODY = 65534
BOTH = pytest.mark.parametrize("ensure", [ensure_private, ensure_unwritable_by_others])


@pytest.fixture
def place(tmp_path):
    tmp_path.chmod(0o700)
    return tmp_path / "d"


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def refused(ensure, path):
    with pytest.raises(UnsafePath) as error:
        ensure(os.fspath(path))
    assert "\n" not in str(error.value)
    return error.value


@BOTH
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_what_is_missing_is_made_for_us_alone(place, ensure, umask):
    """Fact F18: `makedirs(mode=0o700)` gives its mode to the last directory only."""
    before = os.umask(umask)
    try:
        ensure(str(place / "a/b"))
    finally:
        os.umask(before)
    assert [mode_of(path) for path in (place, place / "a", place / "a/b")] == [0o700] * 3
    ensure(str(place / "a/b"))


@BOTH
def test_a_directory_of_ours_alone_is_taken_as_it_is(place, ensure):
    place.mkdir(mode=0o700)
    ensure(str(place))
    assert mode_of(place) == 0o700


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o750, 0o755, 0o770, 0o777, 0o1777])
def test_a_private_directory_is_open_to_nobody(place, mode):
    """And it is not repaired: the user may have meant another directory."""
    place.mkdir()
    place.chmod(mode)
    error = refused(ensure_private, place)
    assert error.reason == f"is open to others (mode {mode:04o}): chmod 700 it"
    assert mode_of(place) == mode


@pytest.mark.parametrize(
    ("mode", "good"), [(0o755, True), (0o1777, True), (0o1775, True), (0o770, False), (0o702, False)]
)
def test_a_users_directory_may_be_read_but_not_rearranged_by_others(place, mode, good):
    place.mkdir()
    place.chmod(mode)
    if good:
        ensure_unwritable_by_others(str(place))
    else:
        assert (
            refused(ensure_unwritable_by_others, place).reason
            == f"can be written by others (mode {mode:04o})"
        )


@pytest.mark.usefixtures("root")
def test_a_directory_of_another_user_is_refused(place):
    """Fact F18: in /tmp anybody may have made it first."""
    place.mkdir(mode=0o700)
    os.chown(place, NOBODY, NOBODY)
    assert refused(ensure_private, place).reason == f"belongs to user {NOBODY}, not to 0"
    assert refused(ensure_unwritable_by_others, place).reason == f"belongs to user {NOBODY}"


@pytest.fixture
def roots_directory():
    """A directory of root's that others may enter.

    Below `tmp_path` is none: each start of a pytest, another one's too, closes the directory above it.
    """
    with tempfile.TemporaryDirectory(prefix="dmn-") as directory:
        os.chmod(directory, 0o755)
        yield directory


def test_roots_directory_will_do_for_a_path_that_a_user_gave(as_nobody, roots_directory):
    """/run and /tmp are root's."""
    script = """
for ensure in (ensure_unwritable_by_others, ensure_private):
    try:
        print(ensure(sys.argv[1]))
    except UnsafePath as error:
        print(error.reason)
"""
    imports = "from daemonry.errors import UnsafePath\nfrom daemonry.process.private_dir import *"
    told = subprocess.check_output(as_nobody(script, roots_directory, imports=imports), text=True)
    assert told.splitlines() == ["None", f"belongs to user 0, not to {NOBODY}"]


def test_a_link_is_no_private_directory(place):
    """Whoever made the link chooses where our socket goes."""
    target = place.parent / "target"
    target.mkdir(mode=0o700)
    place.symlink_to(target)
    assert refused(ensure_private, place).reason == "is a symbolic link"
    ensure_unwritable_by_others(str(place))


@BOTH
def test_a_dangling_link_is_refused_and_nothing_is_made_behind_it(place, ensure):
    place.symlink_to(place.parent / "gone")
    refused(ensure, place)
    assert not (place.parent / "gone").exists()


def test_a_loop_of_links_is_refused(place):
    place.symlink_to(place)
    assert refused(ensure_private, place).reason == "is a symbolic link"
    assert "symbolic links" in refused(ensure_unwritable_by_others, place).reason


@BOTH
@pytest.mark.parametrize("below", ["", "/sub", "/sub/sub"])
def test_a_file_in_the_way_is_refused_and_kept(place, ensure, below):
    place.write_text("precious")
    assert refused(ensure, f"{place}{below}").reason == "is not a directory"
    assert place.read_text() == "precious"


@BOTH
def test_a_name_that_cannot_be_one_is_refused(place, ensure):
    assert refused(ensure, f"{place}/{'n' * 300}").reason.endswith("File name too long")
    assert "embedded null" in refused(ensure, f"{place}/a\0b").reason


@BOTH
def test_a_directory_that_another_process_makes_meanwhile_is_checked_like_any_other(
    place, ensure, monkeypatch
):
    mkdir = os.mkdir

    def second(path, mode):
        mkdir(path, 0o777)
        os.chmod(path, 0o777)
        mkdir(path, mode)

    monkeypatch.setattr(os, "mkdir", second)
    assert "others" in refused(ensure, place).reason


@BOTH
def test_a_directory_that_vanishes_as_soon_as_it_is_made_is_told(place, ensure, monkeypatch):
    mkdir = os.mkdir
    monkeypatch.setattr(os, "mkdir", lambda path, mode: (mkdir(path, mode), os.rmdir(path)))
    assert refused(ensure, place).reason == "No such file or directory"


def test_a_directory_that_may_not_be_entered_is_told(as_nobody, tmp_path):
    tmp_path.chmod(0o700)
    script = """
try:
    ensure_private(sys.argv[1])
except UnsafePath as error:
    print(error.reason)
"""
    imports = "from daemonry.errors import UnsafePath\nfrom daemonry.process.private_dir import *"
    told = subprocess.check_output(as_nobody(script, tmp_path / "d", imports=imports), text=True)
    assert told == "Permission denied\n"


def test_a_relative_path_is_made_where_we_are(place, monkeypatch):
    monkeypatch.chdir(place.parent)
    ensure_private("r/s")
    assert mode_of(place.parent / "r/s") == 0o700


def test_a_read_only_disk_is_told(on_tiny_disk):
    """Fault 17: the message names the directory that could not be made."""
    told = on_tiny_disk(
        """
from daemonry.errors import UnsafePath
from daemonry.process.private_dir import ensure_private
make_read_only()
try:
    ensure_private(disk + "/a/b")
except UnsafePath as error:
    print(str(error).replace(disk, "DISK"))
ensure_private(disk)
"""
    )
    assert told == "DISK/a: cannot be made: Read-only file system\n"
