"""Locks that live as long as their holder: exclusion, handing over, asking, and no fork that keeps one.

Facts F10 and F26; hard cases 1 and 15.
"""

import errno
import fcntl
import os
import subprocess
import sys
import threading

import pytest

from daemonry import clock
from daemonry.clock import Deadline
from daemonry.errors import UnsafePath
from daemonry.process.lock import Lock, Passed, is_given_shared, is_held, wait_released
from daemonry.testing import wait_until

HOLDER = """
import sys
from daemonry.process.lock import Lock
lock = Lock.try_take(sys.argv[1])
print("took" if lock else "refused", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "x.lock")


@pytest.fixture
def holder(path):
    """Another process that holds the lock until its standard input ends."""
    words = [sys.executable, "-c", HOLDER, path]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "took\n"
        yield process
        process.stdin.close()


def taken_elsewhere(path):
    """Whether another process can take the lock now."""
    done = subprocess.run(
        [sys.executable, "-c", HOLDER, path], input="", capture_output=True, text=True, check=True
    )
    return done.stdout == "took\n"


def test_a_lock_excludes_other_processes_until_it_is_released(path):
    lock = Lock.try_take(path)
    assert not taken_elsewhere(path)
    lock.release()
    assert taken_elsewhere(path)


def test_a_lock_excludes_a_second_holder_in_the_same_process(path):
    """POSIX locks would not: they belong to the process and vanish at any close (fact F10)."""
    lock = Lock.try_take(path)
    assert Lock.try_take(path) is None
    os.close(os.open(path, os.O_RDWR))
    assert Lock.try_take(path) is None
    lock.release()


def test_a_lock_ends_with_its_holder_however_it_ends(path, holder):
    """Hard case 4: nothing has to be cleaned up after `kill -9`."""
    assert is_held(path)
    assert Lock.try_take(path) is None
    holder.kill()
    holder.wait(10)
    lock = Lock.try_take(path)
    assert lock is not None
    lock.release()


def test_the_file_stays_when_the_lock_goes(path):
    """A lock on a removed file excludes nobody: the next one would lock a new file."""
    lock = Lock.try_take(path)
    before = os.stat(path).st_ino
    lock.release()
    assert os.stat(path).st_ino == before
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_lock_whose_file_was_removed_or_replaced_knows_it(path):
    """Another could lock a new file of that name: a daemon that notices can end, or take the place again."""
    lock = Lock.try_take(path)
    assert lock.file_is_there()
    os.rename(path, path + ".away")
    assert not lock.file_is_there()
    with open(path, "w"):
        assert not lock.file_is_there()
    os.replace(path + ".away", path)
    assert lock.file_is_there()
    lock.release()


def test_releasing_twice_does_not_close_what_has_the_number_now(path):
    lock = Lock.try_take(path)
    fd = lock.fd
    lock.release()
    other = os.open(os.devnull, os.O_RDONLY)
    os.dup2(other, fd)
    lock.release()
    lock.forget()
    assert os.path.samestat(os.fstat(fd), os.stat(os.devnull)), "closed, though it was no longer the lock's"
    os.close(fd)
    if other != fd:
        os.close(other)


def test_a_lock_is_not_inherited_by_accident(path):
    lock = Lock.try_take(path)
    assert not os.get_inheritable(lock.fd)
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    lock.release()
    assert is_held(path) is False
    child.kill()
    child.wait()


# --- handing over ---------------------------------------------------------------------------------


def test_below_a_file_nobody_holds_a_lock(path):
    with open(path, "w"):
        assert is_held(f"{path}/lock") is False


def test_a_lock_that_was_handed_to_a_child_is_held_by_both_and_ends_with_the_last(path):
    """The start lock passes to the daemon without an instant in which nobody holds it."""
    lock = Lock.try_take(path)
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[lock.fd])
    lock.forget()
    assert is_held(path)
    assert Lock.try_take(path) is None
    child.communicate(b"")
    assert is_held(path) is False


def test_a_release_counts_for_all_to_whom_the_lock_was_handed(path):
    lock = Lock.try_take(path)
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[lock.fd])
    lock.release()
    assert is_held(path) is False
    child.communicate(b"")


def test_a_forked_child_drops_the_lock(path):
    """Fault 20: a worker of `multiprocessing` must not keep a dead daemon alive."""
    script = """
import os, sys
from daemonry.process.lock import Lock, is_held
lock = Lock.try_take(sys.argv[1])
hold, release = os.pipe()
alive, lives = os.pipe()
child = os.fork()
if child == 0:
    os.close(release)
    lock.release()
    os.write(lives, b"x")
    os.read(hold, 1)
    os._exit(0)
os.read(alive, 1)
print(is_held(sys.argv[1]))
lock.forget()
print(is_held(sys.argv[1]))
os.close(release)
os.waitpid(child, 0)
"""
    words = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, path]
    assert subprocess.check_output(words, text=True).split() == ["True", "False"]


# --- waiting --------------------------------------------------------------------------------------


def test_a_free_lock_is_taken_without_waiting(path, monkeypatch):
    monkeypatch.setattr(clock, "sleep", pytest.fail)
    lock = Lock.take(path, Deadline(0.0))
    assert lock is not None
    lock.release()


@pytest.mark.usefixtures("holder")
def test_waiting_for_a_lock_ends_at_the_deadline(path):
    assert Lock.take(path, Deadline(0.02)) is None
    assert wait_released(path, Deadline(0.02)) is False


def test_whoever_waits_gets_the_lock_when_it_comes_free(path, monkeypatch):
    held = Lock.try_take(path)
    slept = []

    def sleep(delay_s):
        slept.append(delay_s)
        if len(slept) == 4:
            held.release()

    monkeypatch.setattr(clock, "sleep", sleep)
    Lock.take(path, Deadline(60.0)).release()
    assert len(slept) == 4
    assert max(slept) <= 0.05


def test_whoever_waits_for_the_end_learns_of_it(path, monkeypatch):
    held = Lock.try_take(path)
    monkeypatch.setattr(clock, "sleep", lambda delay_s: held.release())
    assert wait_released(path, Deadline(60.0))


def test_an_end_at_the_last_moment_counts(path, monkeypatch):
    held = Lock.try_take(path)
    now_s = [0.0]

    def sleep(delay_s):
        now_s[0] += 1000.0
        held.release()

    monkeypatch.setattr(clock, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(clock, "sleep", sleep)
    assert wait_released(path, Deadline(1.0))


# --- asking ---------------------------------------------------------------------------------------


def test_asking_tells_and_changes_nothing(path, holder):
    for _ in range(50):
        assert is_held(path)
    assert not taken_elsewhere(path)
    holder.communicate("")
    assert is_held(path) is False


def test_asking_does_not_make_the_file(path):
    assert is_held(path) is False
    assert not os.path.exists(path)


def test_two_who_ask_at_once_do_not_see_each_other(path):
    """Asking takes a shared lock for a moment; one who asks while it is held must not say `held`."""
    Lock.try_take(path).release()
    with open(path, "rb+") as asker:
        fcntl.flock(asker, fcntl.LOCK_SH)
        assert is_held(path) is False


def test_where_it_cannot_be_told_it_is_not_told(path, tmp_path, monkeypatch):
    """None is neither yes nor no: only a free lock allows a start."""
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "dir").mkdir()
    assert is_held(str(tmp_path / "link")) is None
    assert is_held(str(tmp_path / "dir")) is None
    Lock.try_take(path).release()
    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", _no_locks)
        assert is_held(path) is None
        assert wait_released(path, Deadline(0.0)) is False


def _no_locks(fd, kind):
    raise OSError(errno.ENOLCK, "No locks available")


# --- what cannot be locked ------------------------------------------------------------------------


@pytest.mark.parametrize("make", ["link", "directory", "missing directory"])
def test_what_cannot_be_a_lock_file_is_refused(tmp_path, make):
    (tmp_path / "target").touch()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "directory").mkdir()
    with pytest.raises(UnsafePath, match="cannot be opened"):
        Lock.try_take(str(tmp_path / make.replace("missing ", "missing/")))


def test_where_locks_do_not_work_is_told_and_nothing_stays_open(path, monkeypatch):
    """Hard case 17: some network file systems have none."""
    monkeypatch.setattr(fcntl, "flock", _no_locks)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(UnsafePath, match="cannot be locked: No locks available"):
        Lock.try_take(path)
    assert os.listdir("/proc/self/fd") == before


def test_a_refusal_in_the_words_of_nfs_is_a_refusal(path, monkeypatch):
    """There, flock is a byte-range lock, and EACCES means that another holds it (fact F10)."""

    def denied(fd, kind):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(fcntl, "flock", denied)
    assert Lock.try_take(path) is None


@pytest.mark.slow
def test_of_many_who_try_at_once_exactly_one_holds(path):
    """And the others are told at once, never made to wait."""
    words = [sys.executable, "-c", HOLDER, path]
    for _ in range(5):
        tries = [
            subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(6)
        ]
        told = [one.stdout.readline() for one in tries]
        assert sorted(told) == ["refused\n"] * 5 + ["took\n"]
        for one in tries:
            one.communicate("")
    assert wait_until(lambda: is_held(path) is False)


def in_forked_child(ask):
    """Return what a child that was forked without exec gets for an answer."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write_fd, str(ask()).encode())
        os._exit(0)
    os.close(write_fd)
    os.waitpid(pid, 0)
    with open(read_fd, encoding="ascii") as answer:
        return answer.read()


def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_a_lock_that_is_being_passed_on_is_kept_by_a_child_of_the_thread_that_passes_it(path):
    """As where gevent's `subprocess` forks; the child of another thread would keep it for ever."""
    lock = Lock.try_take(path)
    with Passed((lock.fd,)):
        assert in_forked_child(lambda: is_open(lock.fd)) == "True"
        answers = []
        other = threading.Thread(target=lambda: answers.append(in_forked_child(lambda: is_open(lock.fd))))
        other.start()
        other.join()
        assert answers == ["False"]
    assert in_forked_child(lambda: is_open(lock.fd)) == "False"
    lock.release()


# --- a user's own file ----------------------------------------------------------------------------


@pytest.fixture
def given(tmp_path):
    (tmp_path / "given").write_text("a user's own")
    return str(tmp_path / "given")


def test_a_file_is_shared_as_long_as_one_shares_it(given):
    first, second = Lock.share_given(given), Lock.share_given(given)
    first.forget()
    assert is_given_shared(given)
    second.forget()
    assert not is_given_shared(given)
    assert os.listdir(os.path.dirname(given)) == ["given"]


def test_who_has_a_file_alone_does_not_share_it(given):
    """`flock home.toml daemonry down` is no start that could be waited for."""
    alone = os.open(given, os.O_RDONLY)
    fcntl.flock(alone, fcntl.LOCK_EX)
    assert not is_given_shared(given)
    assert Lock.share_given(given) is None
    os.close(alone)


def test_one_who_asks_keeps_nobody_from_sharing(given, monkeypatch):
    """It has the file alone for an instant."""
    alone = os.open(given, os.O_RDONLY)
    fcntl.flock(alone, fcntl.LOCK_EX)
    monkeypatch.setattr(clock, "sleep", lambda _: fcntl.flock(alone, fcntl.LOCK_UN))
    shared = Lock.share_given(given)
    assert shared is not None
    shared.forget()
    os.close(alone)


def test_what_is_not_there_is_not_shared_and_not_made(tmp_path):
    for path in (tmp_path / "absent", tmp_path / "absent" / "below"):
        assert Lock.share_given(str(path)) is None
        assert not is_given_shared(str(path))
    assert list(tmp_path.iterdir()) == []


def test_a_fifo_in_its_place_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    shared = Lock.share_given(str(tmp_path / "fifo"))
    assert is_given_shared(str(tmp_path / "fifo"))
    shared.release()


def test_a_file_system_without_locks_of_such_files_does_without(given, monkeypatch):
    """As over NFS, where only what is open for writing can be locked."""

    def refuse(fd, kind):
        raise OSError(errno.EBADF, "Bad file descriptor")

    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    monkeypatch.setattr(fcntl, "flock", refuse)
    assert Lock.share_given(given) is None
    assert not is_given_shared(given)
    assert not before or set(os.listdir("/proc/self/fd")) == before
