"""A program that is started by our own fork and exec is as one that `subprocess` has started."""

import json
import subprocess
import sys

import pytest

# Told as JSON on its standard output: all that a process has from its starter.
LOOK = """
import json, os, signal
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
fds = {}
for fd in os.listdir("/proc/self/fd"):
    try:
        fds[fd] = [os.readlink("/proc/self/fd/" + fd).split(":[")[0], os.get_inheritable(int(fd))]
    except OSError:
        pass  # the directory itself
print(json.dumps(dict(
    session=os.getsid(0) == os.getpid(), group=os.getpgrp() == os.getpid(), cwd=os.getcwd(), fds=fds,
    signals={name: status[name] for name in ("SigBlk", "SigIgn", "SigPnd", "ShdPnd")},
    umask=status["Umask"], read=os.read(0, 10).decode(), env=dict(os.environ),
)), flush=True)
"""
# A starter that is unusual in what a child could have of it.
START = """
import os, signal, sys
from signal import SIG_BLOCK, pthread_sigmask
if {with_subprocess}:
    import subprocess
os.umask(0o27)
os.set_inheritable(os.open("/dev/null", os.O_RDONLY), True)
pass_fd, lost = os.pipe()
signal_seen = []
signal.signal(signal.SIGUSR1, lambda *_: signal_seen.append(1))
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
pthread_sigmask(SIG_BLOCK, [signal.SIGHUP])
from daemonry.process.spawn import launch
output = os.open({output!r}, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
pid = launch([sys.executable, "-c", {look!r}], dict(A="1", B="\\udcff"), (pass_fd,), output)
assert os.waitpid(pid, 0) == (pid, 0)
mask = pthread_sigmask(SIG_BLOCK, [])
assert mask == {{signal.SIGHUP}}, mask
assert ("subprocess" in sys.modules) == {with_subprocess}
assert len(os.listdir("/proc/self/fd")) == {open_fds}
"""


def run(code, **options):
    # `signal` loads enum, and neither threading nor subprocess.
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, **options)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def seen(tmp_path, *, with_subprocess):
    output = tmp_path / f"seen{with_subprocess}"
    open_fds = 3 + 1 + 2 + 1 + 1  # the streams, the inherited one, the pipe, the output, and the list itself
    run(
        START.format(with_subprocess=with_subprocess, output=str(output), look=LOOK, open_fds=open_fds),
        stdin=subprocess.DEVNULL,
    )
    return json.loads(output.read_text())


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_it_is_as_subprocess_starts_it(tmp_path):
    ours, theirs = (seen(tmp_path, with_subprocess=one) for one in (False, True))
    for one in (ours, theirs):  # the same file, but for its name
        for stream in ("1", "2"):
            one["fds"][stream][0] = one["fds"][stream][0].removesuffix("True").removesuffix("False")
    assert ours == theirs
    assert ours["session"]
    assert ours["group"]
    assert ours["cwd"] == "/"
    assert ours["env"] == {"A": "1", "B": "\udcff"} | {
        k: v for k, v in ours["env"].items() if k == "LC_CTYPE"
    }
    assert len(ours["fds"]) == 4


FAILS = """
import os, sys
from daemonry.process.program import fork_exec
before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
for path in ({missing!r}, {not_executable!r}):
    assert fork_exec.is_simple(path, (3,))
    try:
        fork_exec.start([path], {{}}, (), 1)
    except OSError as error:
        print(type(error).__name__, error.filename)
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    print("no child is left")
after = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
assert len(before) == len(after)
"""


def test_what_cannot_be_executed_is_told_and_nothing_is_left(tmp_path):
    missing, plain = tmp_path / "missing", tmp_path / "plain"
    plain.write_text("no program")
    told = run(FAILS.format(missing=str(missing), not_executable=str(plain)))
    assert told.splitlines() == [
        f"FileNotFoundError {missing}",
        f"PermissionError {plain}",
        "no child is left",
    ]


SIMPLE = """
import sys
from daemonry.process.program.fork_exec import is_simple
print([is_simple("/bin/sh", (3, 4)), is_simple("sh", (3, 4)), is_simple("/bin/sh", (1, 4))])
import _thread
lock = _thread.allocate_lock()
lock.acquire()
started = _thread.allocate_lock()
started.acquire()
def wait():
    started.release()
    lock.acquire()
_thread.start_new_thread(wait, ())
started.acquire()
print(is_simple("/bin/sh", (3, 4)))
lock.release()
import threading
print(is_simple("/bin/sh", (3, 4)))
"""


def test_it_is_left_to_subprocess_where_more_is_going_on():
    assert run(SIMPLE).splitlines() == ["[True, False, False]", "False", "False"]


KILLED = """
import os, signal, sys, time
from daemonry.process.program import fork_exec
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"a handler of the starter ran"))
# As the fork returns in the child a signal waits for it.
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))
try:
    pid = fork_exec.start(["/bin/sh", "-c", "exit 7"], {}, (), 1)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
except OSError as error:
    print(error)
"""


def test_a_signal_between_the_two_runs_no_handler_of_the_starter():
    """It ends the child by what it means for a new program."""
    assert run(KILLED) == f"{-15}\n"
