"""Binding a Unix socket never takes a live one; closing removes what was bound, and only that.

Requirements P6, P7, P14, M4, V8, V9, T5; hard cases 4, 12 and 13; faults 12 to 14, 16 and 17.
"""

import errno
import fcntl
import os
import socket
import stat
import subprocess
import sys

import pytest

from daemonry import clock
from daemonry.errors import SocketBindError, UnsafePath
from daemonry.process import platform
from daemonry.testing import wait_until
from daemonry.transport import unix
from daemonry.transport.connect import connect, listen
from daemonry.transport.endpoint import Endpoint

PATIENT_S = 10.0
NOBODY = 65534


@pytest.fixture
def here(tmp_path):
    """The path of a socket in a directory that is ours alone."""
    tmp_path.chmod(0o700)
    return tmp_path / "x.sock"


def leave_stale(path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def answers(path):
    return unix.is_live(Endpoint.unix(str(path)))


def snapshot(path):
    """What lies at a path, so that a test can tell that it was left alone."""
    found = os.lstat(path)
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns


# --- what may be in the way ---------------------------------------------------------------------


def a_file(path):
    path.write_text("precious")


def a_directory(path):
    path.mkdir()
    (path / "file").touch()


def a_fifo(path):
    os.mkfifo(path)


def a_dangling_link(path):
    path.symlink_to(path.parent / "gone")


def a_link_to_a_file(path):
    (path.parent / "target").write_text("precious")
    path.symlink_to(path.parent / "target")


def a_link_to_a_stale_socket(path):
    leave_stale(path.parent / "target")
    path.symlink_to(path.parent / "target")


FOREIGN = {
    a_file: "a regular file",
    a_directory: "a directory",
    a_fifo: "a named pipe",
    a_dangling_link: "a symbolic link",
    a_link_to_a_file: "a symbolic link",
    a_link_to_a_stale_socket: "a symbolic link",
}


@pytest.mark.parametrize("leftovers", ["refuse", "replace"])
def test_a_stale_socket_is_removed_with_a_warning(here, leftovers):
    """Requirements P6, V8: what a crash left behind is in nobody's way."""
    leave_stale(here)
    told = []
    with listen(f"unix:{here}", leftovers=leftovers, warn=told.append), connect(f"unix:{here}"):
        assert told == [f"removing the stale socket {here}"]
    assert not os.path.lexists(here)


@pytest.mark.parametrize("leftovers", ["refuse", "replace"])
def test_a_live_socket_is_never_removed(here, leftovers):
    """Facts F7, F9; the originals' second bug: a second start stole the first one's socket."""
    told = []
    with listen(f"unix:{here}") as live:
        before = snapshot(here)
        with pytest.raises(SocketBindError, match="another process listens there"):
            listen(f"unix:{here}", leftovers=leftovers, warn=told.append)
        assert snapshot(here) == before
        with connect(f"unix:{here}"):
            live.accept(PATIENT_S)[0].close()
    assert told == []


@pytest.mark.parametrize("leftovers", ["refuse", "replace"])
def test_a_busy_socket_is_a_live_one(here, leftovers):
    """Hard case 2: a full backlog is an answer."""
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as first:
        busy.bind(str(here))
        busy.listen(0)
        first.connect(str(here))
        with pytest.raises(SocketBindError, match="another process listens there"):
            listen(f"unix:{here}", leftovers=leftovers)
        assert here.is_socket()


@pytest.mark.parametrize("make", FOREIGN)
def test_a_foreign_file_is_refused_at_a_path_that_a_user_gave(here, make):
    make(here)
    before = snapshot(here)
    told = []
    with pytest.raises(
        SocketBindError, match=f"there is {FOREIGN[make]}, which is not ours to remove"
    ) as refused:
        listen(f"unix:{here}", warn=told.append)
    assert refused.value.path == str(here)
    assert snapshot(here) == before
    assert told == []


@pytest.mark.parametrize("make", [make for make in FOREIGN if make is not a_directory])
def test_a_foreign_file_is_replaced_with_a_warning_in_a_directory_that_is_ours_alone(here, make):
    """S001's own test has a plain file at the socket's name; contradiction 3 of SEEDS.md."""
    make(here)
    told = []
    with listen(f"unix:{here}", leftovers="replace", warn=told.append):
        assert told == [f"replacing {FOREIGN[make]} at {here}"]
        assert answers(here)
    assert not os.path.lexists(here)


@pytest.mark.parametrize("make", [a_link_to_a_file, a_link_to_a_stale_socket])
def test_what_a_replaced_link_pointed_to_stays(here, make):
    make(here)
    before = snapshot(here.parent / "target")
    listen(f"unix:{here}", leftovers="replace").close()
    assert snapshot(here.parent / "target") == before


def test_a_directory_is_never_replaced(here):
    a_directory(here)
    with pytest.raises(SocketBindError, match="a directory"):
        listen(f"unix:{here}", leftovers="replace")
    assert (here / "file").exists()


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("leftovers", ["refuse", "replace"])
def test_a_socket_of_another_user_is_never_removed(here, leftovers):
    """Fact F18: in /tmp anybody may have been there first."""
    leave_stale(here)
    os.chown(here, NOBODY, NOBODY)
    with pytest.raises(SocketBindError, match=f"there is a socket of user {NOBODY}"):
        listen(f"unix:{here}", leftovers=leftovers)
    assert here.is_socket()


def test_a_link_to_a_live_socket_is_not_followed(here):
    """Replacing the link must not end the daemon behind it, nor be mistaken for it."""
    target = here.parent / "target.sock"
    with listen(f"unix:{target}"):
        here.symlink_to(target)
        with pytest.raises(SocketBindError, match="a symbolic link"):
            listen(f"unix:{here}")
        with listen(f"unix:{here}", leftovers="replace"):
            assert here.is_socket()
        assert answers(target)


def test_a_device_is_named_as_one(here, root):
    os.mknod(here, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    with pytest.raises(SocketBindError, match="there is a device"):
        listen(f"unix:{here}")


# --- a leftover that cannot be removed (requirement T5) -------------------------------------------


def test_a_leftover_that_cannot_be_removed_is_warned_about_and_bind_says_why(as_nobody, tmp_path):
    """A stale socket of ours in a directory that we may not write: root's, for instance."""
    for above in (tmp_path, *tmp_path.parents[:-2]):
        above.chmod(0o755)
    path = tmp_path / "x.sock"
    leave_stale(path)
    os.chown(path, NOBODY, NOBODY)
    script = """
try:
    listen(sys.argv[1], warn=lambda told: print("warning:", told))
except SocketBindError as error:
    print("error:", error.cause)
"""
    told = subprocess.check_output(as_nobody(script, f"unix:{path}", imports=IMPORTS), text=True)
    assert told.splitlines() == [
        f"warning: removing the stale socket {path}",
        f"warning: could not remove {path}: Permission denied",
        "error: the file there could not be removed",
    ]
    assert path.is_socket()


def test_bind_says_what_is_in_the_way_when_nobody_answers_there(here, monkeypatch):
    leave_stale(here)
    told = []
    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", _not_permitted)
        with pytest.raises(SocketBindError, match="the file there could not be removed"):
            listen(f"unix:{here}", warn=told.append)
    assert told[-1] == f"could not remove {here}: Operation not permitted"
    assert here.is_socket()


def _not_permitted(path):
    raise OSError(errno.EPERM, "Operation not permitted")


IMPORTS = """
import daemonry.errors
from daemonry.errors import *
from daemonry.process import platform, private_dir
from daemonry.transport import unix
from daemonry.transport.connect import connect, listen
"""


def test_bind_is_tried_although_removing_failed(here, monkeypatch):
    """Whoever else removed the file meanwhile did our work: only bind knows whether the path is free."""
    leave_stale(here)
    unlink = os.unlink

    def unlink_and_complain(path):
        unlink(path)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "unlink", unlink_and_complain)
    told = []
    with listen(f"unix:{here}", warn=told.append):
        assert told[-1] == f"could not remove {here}: Input/output error"
        assert answers(here)
        monkeypatch.undo()


def test_a_leftover_that_another_removed_first_is_no_trouble(here, monkeypatch):
    leave_stale(here)
    unlink = os.unlink

    def unlink_second(path):
        unlink(path)
        unlink(path)

    monkeypatch.setattr(os, "unlink", unlink_second)
    told = []
    with listen(f"unix:{here}", warn=told.append):
        assert len(told) == 1
        monkeypatch.undo()


def test_a_path_that_is_taken_between_look_and_bind_is_told_as_live(here, monkeypatch):
    """Somebody who takes no lock may be faster; bind itself never takes what is there."""
    bind_private = platform.bind_private
    other = socket.socket(socket.AF_UNIX)

    def late(sock, address):
        other.bind(str(here))
        other.listen()
        bind_private(sock, address)

    monkeypatch.setattr(platform, "bind_private", late)
    with other:
        with pytest.raises(SocketBindError, match="another process listens there"):
            listen(f"unix:{here}")
        assert answers(here)


# --- the directory --------------------------------------------------------------------------------


@pytest.mark.parametrize("leftovers", ["refuse", "replace"])
def test_missing_directories_are_made_for_us_alone(here, leftovers):
    """Requirements M4, P14, V9."""
    path = here.parent / "a/b/x.sock"
    umask = os.umask(0)
    try:
        with listen(f"unix:{path}", leftovers=leftovers):
            assert [mode_of(path.parent), mode_of(path.parent.parent)] == [0o700, 0o700]
    finally:
        os.umask(umask)


def test_the_mode_of_a_users_directory_is_left_as_it_is(here):
    """The original chmodded whatever directory it was given: /tmp/x.sock would have closed /tmp."""
    here.parent.chmod(0o755)
    listen(f"unix:{here}").close()
    assert mode_of(here.parent) == 0o755


@pytest.mark.parametrize(
    ("leftovers", "mode", "told"),
    [
        ("replace", 0o755, "is open to others"),
        ("replace", 0o777, "is open to others"),
        ("refuse", 0o777, "can be written by others"),
        ("refuse", 0o775, "can be written by others"),
    ],
)
def test_a_directory_in_which_others_could_exchange_the_socket_is_refused(here, leftovers, mode, told):
    """Fault 12."""
    here.parent.chmod(mode)
    with pytest.raises(UnsafePath, match=told):
        listen(f"unix:{here}", leftovers=leftovers)
    assert not os.path.lexists(here)


def test_a_sticky_directory_will_do_for_a_users_path(here):
    here.parent.chmod(0o1777)
    with listen(f"unix:{here}") as listener:
        assert listener.endpoint.path == str(here)
        assert stat.S_ISSOCK(os.lstat(here).st_mode)


def test_who_removes_and_binds_waits_for_who_does_so_now(here, monkeypatch):
    """The lock on the directory makes look, remove and bind one step for all who keep to it."""
    holder = os.open(here.parent, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    slept = []

    def sleep(delay_s):
        slept.append(delay_s)
        if len(slept) == 3:
            fcntl.flock(holder, fcntl.LOCK_UN)

    monkeypatch.setattr(clock, "sleep", sleep)
    with listen(f"unix:{here}"):
        assert len(slept) == 3
    os.close(holder)


def test_a_directory_that_stays_locked_is_told(here, monkeypatch):
    """A holder that was stopped in the middle must not make us wait for ever."""
    now_s = [0.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(clock, "sleep", lambda delay_s: now_s.__setitem__(0, now_s[0] + delay_s))
    holder = os.open(here.parent, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with pytest.raises(SocketBindError, match="is locked by another process"):
        listen(f"unix:{here}")
    os.close(holder)
    assert 4.9 < now_s[0] < 5.1


def test_a_directory_that_cannot_be_locked_is_used_without(here, monkeypatch):
    """Some network file systems lock no directories; the daemon's life lock still protects it."""

    def no_locks(fd, kind):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with listen(f"unix:{here}"):
        assert answers(here)
    assert not here.exists()


def test_a_name_that_no_file_can_have_is_told(here):
    with pytest.raises(SocketBindError, match="File name too long"):
        listen(f"unix:{here.parent}/{'n' * 300}")


def test_binding_needs_the_directory(here):
    """`listen` makes it; whoever binds directly has made sure of it."""
    with pytest.raises(SocketBindError, match="its directory: No such file"):
        unix.UnixListener.bind(Endpoint.unix(f"{here.parent}/none/x.sock"))


def test_a_read_only_disk_is_told_as_one(on_tiny_disk):
    """Fault 17."""
    told = on_tiny_disk(
        """
from daemonry.errors import DaemonryError
from daemonry.transport.connect import listen
make_read_only()
for path in ("/x.sock", "/made/x.sock"):
    try:
        listen("unix:" + disk + path)
    except DaemonryError as error:
        print(str(error).replace(disk, "DISK"))
"""
    )
    assert told.splitlines() == [
        "cannot listen at DISK/x.sock: Read-only file system",
        "DISK/made: cannot be made: Read-only file system",
    ]


def test_a_disk_without_room_for_a_file_is_told_as_one(on_tiny_disk):
    """Fact F23: a socket needs no blocks, but an inode."""
    told = on_tiny_disk(
        """
from daemonry.errors import DaemonryError
from daemonry.transport.connect import listen
fill()
listen("unix:" + disk + "/full.sock").close()
try:
    for number in range(100):
        open(f"{disk}/{number}", "x").close()
except OSError:
    pass
try:
    listen("unix:" + disk + "/x.sock")
except DaemonryError as error:
    print(str(error).replace(disk, "DISK"))
"""
    )
    assert told == "cannot listen at DISK/x.sock: No space left on device\n"


# --- the mode, from birth -------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o177])
def test_a_socket_is_born_for_its_owner_alone(here, umask, monkeypatch):
    """Fault 14, fact F1: no moment between bind and a later chmod, and no umask that counts."""
    bind_private = platform.bind_private
    born = []

    def look(sock, address):
        bind_private(sock, address)
        born.append(mode_of(here))

    monkeypatch.setattr(platform, "bind_private", look)
    before = os.umask(umask)
    try:
        with listen(f"unix:{here}"):
            assert (born, mode_of(here)) == ([0o600], 0o600)
            assert os.umask(umask) == umask
    finally:
        os.umask(before)


@pytest.mark.slow
def test_nobody_gets_in_while_a_socket_is_made(as_nobody, tmp_path):
    """Fact F2: who connects before a chmod stays connected.  Another user tries, all the time."""
    for above in (tmp_path, *tmp_path.parents[:-2]):
        above.chmod(0o755)
    path = tmp_path / "x.sock"
    script = """
tries = refused = 0
print("ready", flush=True)
while not select.select([0], [], [], 0)[0]:
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(sys.argv[1])
            print("got in", flush=True)
        except PermissionError:
            refused += 1
        except OSError:
            pass
print("refused" if refused else "never tried")
"""
    with subprocess.Popen(
        as_nobody(script, path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as intruder:
        assert intruder.stdout.readline() == "ready\n"
        before = os.umask(0)
        try:
            for _ in range(2000):
                listen(f"unix:{path}").close()
        finally:
            os.umask(before)
        told, _ = intruder.communicate("end")
    assert told == "refused\n"


# --- closing --------------------------------------------------------------------------------------


def test_closing_removes_the_file(here):
    """Requirement P7."""
    listener = listen(f"unix:{here}")
    assert listener.file_is_ours()
    listener.close()
    assert not os.path.lexists(here)


def test_closing_twice_does_not_remove_the_next_ones_file(here):
    listener = listen(f"unix:{here}")
    listener.close()
    with listen(f"unix:{here}"):
        listener.close()
        assert answers(here)


def test_closing_after_the_file_was_deleted_is_no_error(here):
    listener = listen(f"unix:{here}")
    here.unlink()
    assert not listener.file_is_ours()
    listener.close()


def test_closing_after_the_directory_was_deleted_is_no_error(here):
    path = here.parent / "d/x.sock"
    listener = listen(f"unix:{path}")
    path.unlink()
    path.parent.rmdir()
    assert not listener.file_is_ours()
    listener.close()


@pytest.mark.parametrize("make", [a_file, a_directory, a_fifo, a_dangling_link, leave_stale])
def test_closing_leaves_what_another_has_put_there(here, make):
    """The originals' first bug: clean-up removed the path, whatever was there by then."""
    with listen(f"unix:{here}") as listener:
        os.rename(here, here.parent / "away")  # not deleted, so that its inode is not handed out again
        make(here)
        before = snapshot(here)
        assert not listener.file_is_ours()
    assert snapshot(here) == before


@pytest.mark.parametrize("make", [a_file, a_directory, a_fifo, a_dangling_link])
def test_closing_leaves_what_has_inherited_the_inode_number(here, make):
    """ext4 gives a new file the number of the one deleted last; device and number prove nothing."""
    with listen(f"unix:{here}") as listener:
        here.unlink()
        make(here)
        found = os.lstat(here)
        listener._file = (found.st_dev, found.st_ino)  # as ext4 would have it
        assert not listener.file_is_ours()
    assert os.path.lexists(here)


@pytest.mark.parametrize("inode", ["another", "the same"])
def test_closing_leaves_anothers_live_socket(here, inode):
    with listen(f"unix:{here}") as first:
        here.unlink()
        with listen(f"unix:{here}") as second:
            if inode == "the same":
                found = os.lstat(here)
                first._file = (found.st_dev, found.st_ino)
            first.close()
            assert answers(here)
            with connect(f"unix:{here}"):
                second.accept(PATIENT_S)[0].close()


def test_closing_leaves_a_socket_that_was_moved_elsewhere(here):
    moved = here.parent / "moved.sock"
    with listen(f"unix:{here}"):
        here.rename(moved)
    assert moved.is_socket()


def test_a_file_that_cannot_be_removed_is_left_behind(here, monkeypatch):
    """Closing is the end of everything: it has nobody to complain to."""
    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", _not_permitted)
        listen(f"unix:{here}").close()
    assert here.is_socket()


def test_an_abandoned_path_is_left_alone(here):
    listener = listen(f"unix:{here}")
    listener.abandon()
    assert listener.closed
    assert here.is_socket()
    listener.close()
    assert here.is_socket()


def test_a_start_that_fails_leaves_the_live_daemon_reachable(here):
    """In another process, which then ends with all its finalizers and exit handlers."""
    script = """
import sys
from daemonry.service.server.server import Server
Server(sys.argv[1], leftovers="replace").bind()
"""
    with listen(f"unix:{here}") as live:
        failed = subprocess.run(
            [sys.executable, "-c", script, f"unix:{here}"], capture_output=True, text=True, check=False
        )
        assert "SocketBindError" in failed.stderr
        assert failed.returncode == 1
        with connect(f"unix:{here}"):
            live.accept(PATIENT_S)[0].close()


def test_what_a_killed_process_left_is_stale(here):
    """Fault 9: `kill -9`, then start: works, with one line about the stale socket."""
    script = """
import signal, sys
from daemonry.transport.connect import listen
listener = listen(sys.argv[1])
print("listening", flush=True)
signal.pause()
"""
    words = [sys.executable, "-c", script, f"unix:{here}"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout.readline() == "listening\n"
        assert answers(here)
        killed.kill()
    assert here.is_socket()
    told = []
    with listen(f"unix:{here}", warn=told.append):
        assert told == [f"removing the stale socket {here}"]


FORKING = """
import os, sys
from daemonry.transport.connect import connect, listen
path = sys.argv[1]
listener = listen(path)
hold, release = os.pipe()
alive, lives = os.pipe()
child = os.fork()
if child == 0:
    os.close(release)
    os.write(lives, b"x")
    {child}
os.read(alive, 1)
{parent}
"""


def fork_and(here, child, parent):
    script = FORKING.format(child=child, parent=parent)
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, f"unix:{here}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("ending", ["listener.close(); os._exit(0)", "sys.exit(0)"])
def test_a_forked_child_that_ends_leaves_its_parents_socket(here, ending):
    parent = "os.waitpid(child, 0); print(os.path.exists(path[5:])); connect(path).close(); listener.close()"
    assert fork_and(here, ending, parent) == ["True"]
    assert not here.exists()


def test_a_forked_child_does_not_keep_the_socket_alive(here):
    """Fault 20, fact F26: CLOEXEC does not help against fork without exec.

    A worker of `multiprocessing` that outlives its daemon would answer for it, by silence, and
    every later start would find the place taken.
    """
    child = "os.read(hold, 1); os._exit(0)"
    parent = "listener.close(); print(os.path.exists(path[5:])); os.close(release); os.waitpid(child, 0)"
    assert fork_and(here, child, parent) == ["False"]


def test_after_a_parents_death_its_forked_child_does_not_hold_the_place(here):
    script = FORKING.format(
        child="print('forked', flush=True); os.read(0, 1); os._exit(0)",
        parent="os.waitpid(child, 0)",
    )
    with subprocess.Popen(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, f"unix:{here}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as daemon:
        assert daemon.stdout.readline() == "forked\n"
        daemon.kill()
        daemon.wait(PATIENT_S)
        assert wait_until(lambda: not answers(here))
        with listen(f"unix:{here}"):
            assert answers(here)
