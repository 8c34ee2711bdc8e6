"""Owned children: what they are given, how they end, and that they never outlive their owner (hard case 21).

The owner of most tests is a process of its own, so that it can be killed at a chosen moment.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from daemonry.errors import DeadlineExceeded
from daemonry.process import sweep
from daemonry.process.lifeline import spawn_owned
from daemonry.testing import wait_until
from daemonry.testing.leftovers import processes_marked

LONG = ("sleep", "60")


@pytest.fixture
def owned():
    """`spawn_owned`, whose children are ended with the test."""
    started = []

    def spawn(*words, **options):
        started.append(spawn_owned(words, **options))
        return started[-1]

    yield spawn
    for one in started:
        with one:
            one.kill()


@pytest.fixture
def owner(sandbox):
    """A function that runs a script as an owner and returns its process, once it has said `ready`."""
    processes = []

    def run(script):
        head = (
            "import os, signal, subprocess, sys, threading, time\n"
            "from daemonry.process import lifeline\n"
            "from daemonry.process.lifeline import spawn_owned\n"
            f"BOX = {str(sandbox.path)!r}\n"
            "WAIT = 'while :; do sleep 0.01; done'\n"
        )
        process = sandbox.popen(sys.executable, "-c", head + script, stderr=None)
        processes.append(process)
        process.told = process.stdout.readline().split()
        return process

    yield run
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def wait_gone(sandbox):
    """Return when everything that ran in the sandbox is gone."""
    wait_until(lambda: not processes_marked(str(sandbox.path)), what="nothing is left")


def kill(process):
    process.kill()
    process.wait()


# --- what a child is given ----------------------------------------------------------------------


def test_it_gets_what_it_is_given_and_nothing_else(owned, tmp_path):
    """Exactly the environment, whatever names it has, and no descriptor."""
    child = owned(
        sys.executable,
        "-c",
        "import os; print(sorted(os.environ), os.listdir('/proc/self/fd'), os.getcwd())",
        env={"odd.name-1": "x", "LC_ALL": "C.UTF-8"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
    )
    said = child.stdout.read().decode()
    # The last one is the listing of the directory itself.
    assert said == f"['DAEMONRY_OWNED', 'LC_ALL', 'odd.name-1'] ['0', '1', '2', '3'] {tmp_path}\n"
    assert child.wait() == 0


def test_it_reads_nothing_and_has_a_process_group_without_being_its_leader(owned):
    child = owned(
        "sh", "-c", "read -r x; echo $?; cat /proc/$$/stat; echo $DAEMONRY_OWNED", stdout=subprocess.PIPE
    )
    code, stat, mark = child.stdout.read().decode().split("\n")[:3]
    assert code == "1"
    assert int(stat.rpartition(")")[2].split()[2]) == child.group != child.pid
    assert mark == child.mark


def children_of_this_process():
    found = set()
    for thread in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{thread}/children") as file:
            found.update(file.read().split())
    return found


def test_what_cannot_be_started_is_told_as_the_system_tells_it_and_leaves_nothing(tmp_path):
    before, children_before = os.listdir("/proc/self/fd"), children_of_this_process()
    with pytest.raises(FileNotFoundError):
        spawn_owned([tmp_path / "none"])
    (tmp_path / "text").write_text("no program")
    with pytest.raises(PermissionError):
        spawn_owned([tmp_path / "text"])
    with pytest.raises(NotADirectoryError):
        spawn_owned(["true"], cwd=tmp_path / "text")
    assert os.listdir("/proc/self/fd") == before
    assert children_of_this_process() <= children_before, "no watcher either"


# --- how a child ends ---------------------------------------------------------------------------


def test_its_end_is_told_as_a_code_or_a_signal(owned):
    assert owned("sh", "-c", "exit 7").wait() == 7
    assert owned("sh", "-c", "kill -KILL $$").wait(10) == -signal.SIGKILL
    child = owned(*LONG)
    assert child.poll() is None
    assert child.terminate() == child.poll() == child.wait(0) == -signal.SIGTERM


def test_waiting_ends_at_its_deadline_and_does_nothing_to_the_child(owned):
    child = owned(*LONG)
    with pytest.raises(DeadlineExceeded, match="sleep"):
        child.wait(0.01)
    assert child.poll() is None


def test_who_does_not_obey_is_killed_after_its_time(owned):
    child = owned("sh", "-c", "trap '' TERM; echo; while :; do sleep 60; done", stdout=subprocess.PIPE)
    child.stdout.readline()
    assert child.terminate(0.05) == -signal.SIGKILL


def test_what_a_child_leaves_in_its_group_ends_with_it(owned):
    child = owned("sh", "-c", "sleep 60 & echo $!", stdout=subprocess.PIPE)
    left = int(child.stdout.readline())
    assert child.wait() == 0
    wait_until(lambda: not sweep.belonging(0, child.mark), what="it is gone")
    assert not os.path.exists(f"/proc/{left}/exe")


def test_what_left_the_group_and_outlived_the_child_is_ended_when_it_is_asked_for(owned):
    script = "import subprocess; subprocess.Popen(['sleep', '60'], start_new_session=True)"
    child = owned(sys.executable, "-c", script)
    assert child.wait() == 0
    assert len(sweep.belonging(0, child.mark)) == 1
    assert child.end_strays() == set()
    assert not sweep.belonging(0, child.mark)


def test_a_child_that_left_its_group_is_reached_all_the_same(owned):
    left = "import os, time; os.setsid(); print(flush=True); time.sleep(60)"
    for end in ("terminate", "kill"):
        child = owned(sys.executable, "-c", left, stdout=subprocess.PIPE)
        child.stdout.readline()
        assert os.getsid(child.pid) == child.pid
        assert getattr(child, end)() == (-signal.SIGTERM if end == "terminate" else -signal.SIGKILL)


def test_a_child_whose_watcher_was_killed_is_told_and_can_be_ended(owned):
    child = owned(*LONG)
    assert child.is_guarded()
    os.kill(child.group, signal.SIGKILL)
    wait_until(lambda: not child.is_guarded())
    assert child.poll() is None
    assert child.terminate() == -signal.SIGTERM


# A shell that ends at once, and what it runs, which takes its time.
SHELL_AND_SLOW = """
(trap 'sleep {1}; echo > {0}; exit' TERM; echo up; while :; do sleep 0.01; done) &
exec sleep 60
"""


def test_those_whose_parent_ends_first_have_the_same_time(owned, tmp_path):
    """Asked to end, a shell is gone before what it runs has finished (process-compose has lost data so)."""
    child = owned("sh", "-c", SHELL_AND_SLOW.format(tmp_path / "done", 0.3), stdout=subprocess.PIPE)
    child.stdout.readline()
    assert child.terminate() == -signal.SIGTERM
    assert (tmp_path / "done").exists()
    child = owned("sh", "-c", SHELL_AND_SLOW.format(tmp_path / "late", 60), stdout=subprocess.PIPE)
    child.stdout.readline()
    assert child.terminate(0.1) == -signal.SIGTERM
    assert not (tmp_path / "late").exists()
    assert not sweep.belonging(0, child.mark)


def test_a_stopped_child_ends_when_it_is_asked_to(owned):
    child = owned(*LONG)
    os.kill(child.pid, signal.SIGSTOP)
    assert child.terminate(30) == -signal.SIGTERM


def test_everything_is_reaped_and_closed_and_asking_again_is_no_error(owned):
    before, children_before = os.listdir("/proc/self/fd"), children_of_this_process()
    with owned(*LONG, stdout=subprocess.PIPE) as child:
        child.send_signal(signal.SIGUSR1)
    assert child.wait() == -signal.SIGUSR1
    child.send_signal(signal.SIGTERM)
    assert child.kill() == child.terminate() == -signal.SIGUSR1
    assert os.listdir("/proc/self/fd") == before
    assert children_of_this_process() <= children_before
    assert "ended with -10" in repr(child)


def test_several_tasks_and_threads_may_wait_for_one_end(owned):
    child = owned(*LONG)

    async def wait_all():
        waits = [asyncio.create_task(child.wait_ended()) for _ in range(3)]
        threads = [asyncio.create_task(asyncio.to_thread(child.wait, 30)) for _ in range(3)]
        await asyncio.sleep(0)
        os.kill(child.pid, signal.SIGINT)
        return await asyncio.gather(*waits, *threads)

    assert asyncio.run(wait_all()) == [-signal.SIGINT] * 6
    assert asyncio.run(child.wait_ended()) == -signal.SIGINT


def test_a_cancelled_wait_leaves_the_child_and_no_descriptor(owned):
    child = owned(*LONG)

    async def give_up():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(child.wait_ended(), 0.01)
        return os.listdir("/proc/self/fd")

    async def before():
        return os.listdir("/proc/self/fd")

    assert len(asyncio.run(give_up())) == len(asyncio.run(before()))
    assert child.poll() is None


# --- how it ends when its owner does ---------------------------------------------------------------


def test_kill_9_of_the_owner_ends_the_child_by_its_own_clean_up(owner, sandbox):
    """It is asked first: SIGTERM, and time to remove its files."""
    process = owner("""
child = spawn_owned(["sh", "-c", f"trap 'echo > {BOX}/cleaned; exit' TERM; echo ready; " + WAIT])
child.wait()
""")
    kill(process)
    wait_gone(sandbox)
    assert (sandbox.path / "cleaned").exists()


def test_nothing_outlives_the_owner_by_more_than_a_second(owner, sandbox, late_s):
    """Neither what ignores SIGTERM, nor a grandchild, nor a daemon, nor one that was stopped."""

    def round_s():
        process = owner("""
daemons = "setsid sh -c 'setsid sleep 60 & setsid sleep 60'"
spawn_owned(["sh", "-c", f"trap '' TERM; sleep 60 & {daemons} & sleep 60"])
spawn_owned(["sh", "-c", "kill -STOP $$"])
spawn_owned(["sh", "-c", "setsid -f sleep 60; echo ready; exec sleep 60"]).wait()
""")
        wait_until(lambda: sum(one.split()[1:] == ["sleep", "60"] for one in there()) == 4 + 2)
        pids = {int(one.split()[0]) for one in there()} - {process.pid}
        return late_s(process.pid, pids)

    def there():
        return processes_marked(str(sandbox.path))

    rounds_s = []
    while not rounds_s or (min(rounds_s) > 0 and len(rounds_s) < 3):
        rounds_s.append(round_s())
    assert min(rounds_s) <= 0, rounds_s


def test_what_it_writes_in_its_last_moments_does_not_end_it(owner, sandbox):
    """Nobody reads its output any more, which would be SIGPIPE before it has cleaned up."""
    process = owner("""
far, near = os.pipe()
trap = f"trap 'echo bye; echo ended >&2; echo > {BOX}/cleaned; exit' TERM; echo up; {WAIT}"
child = spawn_owned(["sh", "-c", trap], stdout=near, stderr=near, held_fds=(far,))
os.read(far, 2)
print("ready", flush=True)
child.wait()
""")
    kill(process)
    wait_gone(sandbox)
    assert (sandbox.path / "cleaned").exists()


@pytest.mark.parametrize("how", ["return", "raise SystemExit(3)", "os._exit(1)", "os.abort()"])
def test_any_end_of_the_owner_is_an_end(owner, sandbox, how):
    process = owner(f"""
def end():
    spawn_owned(["sleep", "60"])
    print("ready", flush=True)
    {how}
end()
""")
    process.wait()
    wait_gone(sandbox)


def test_the_end_of_the_thread_that_spawned_is_not_the_end_of_the_owner(owner, sandbox):
    """The parent-death signal would kill the child here."""
    process = owner("""
found = []
thread = threading.Thread(target=lambda: found.append(spawn_owned(["sleep", "60"])))
thread.start(); thread.join()
print("ready", found[0].pid, flush=True)
found[0].wait()
""")
    task = f"/proc/{process.pid}/task"
    wait_until(lambda: len(os.listdir(task)) == 1, what="the thread is gone")
    assert os.path.exists(f"/proc/{process.told[1]}/exe")
    kill(process)
    wait_gone(sandbox)


def test_an_owner_that_dies_before_its_child_is_born_leaves_nothing(owner, sandbox):
    process = owner("""
real = subprocess.Popen
def popen(words, **options):
    if words[0] == "sleep":
        print("ready", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return real(words, **options)
subprocess.Popen = popen
spawn_owned(["sleep", "60"])
""")
    process.wait()
    wait_gone(sandbox)


def test_a_child_that_is_born_after_its_owners_death_finds_no_group_to_join(owner, sandbox):
    """What stands between fork and exec when the owner is killed goes on; it must not become its program."""
    owner("""
real = subprocess.Popen
def popen(words, **options):
    if words[0] != "sleep":
        return real(words, **options)
    far, near = os.pipe()
    if os.fork():
        os.close(far)
        print("ready", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(near)
    os.read(far, 1)  # the owner has died
    while os.path.exists(f"/proc/{options['process_group']}"):
        time.sleep(0.001)
    try:
        os.setpgid(0, options["process_group"])
    except PermissionError:
        open(f"{BOX}/refused", "w").close()
    os._exit(0)
subprocess.Popen = popen
spawn_owned(["sleep", "60"])
""").wait()
    wait_until((sandbox.path / "refused").exists)
    wait_gone(sandbox)


def test_a_child_that_joins_in_the_last_moment_is_ended(owner, sandbox):
    """It joined while the watcher was at work: not seen by its first look."""
    owner("""
real = subprocess.Popen
def popen(words, **options):
    if words[0] != "sleep":
        return real(words, **options)
    far, near = os.pipe()
    if os.fork():
        os.close(far)
        print("ready", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(near)
    os.read(far, 1)
    os.setpgid(0, options["process_group"])
    os.execvpe("sleep", ["sleep", "60"], {**os.environ, "DAEMONRY_OWNED": ""})
subprocess.Popen = popen
spawn_owned(["sleep", "60"])
""").wait()
    wait_gone(sandbox)


def test_a_forked_child_of_the_owner_does_not_keep_the_lifeline(owner, sandbox):
    process = owner("""
child = spawn_owned(["sleep", "60"])
if os.fork() == 0:
    print("ready", os.getpid(), flush=True)
    child.kill()  # not its child: nothing happens
    time.sleep(60)
    os._exit(0)
print("alive", child.poll(), flush=True)
time.sleep(60)
""")
    worker = process.told[1] if process.told[0] == "ready" else process.stdout.readline().split()[1]
    kill(process)
    wait_until(lambda: [one.split()[0] for one in processes_marked(str(sandbox.path))] == [worker])
    os.kill(int(worker), signal.SIGKILL)
    wait_gone(sandbox)


def test_owners_that_are_owned_pass_the_end_on(owner, sandbox):
    """A watcher does not end with its owner's owner before it has done its work."""
    inner = """
import signal, sys
from daemonry.process.lifeline import spawn_owned
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = spawn_owned(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 60; done"])
child.wait()
"""
    process = owner(f"spawn_owned([sys.executable, '-c', {inner!r}]).wait()")
    kill(process)
    wait_gone(sandbox)


# What a slow machine does to it, by builtins alone: a shell that forks looks after signals itself.
STARTS_SLOWLY = "i=0; while [ $i -lt 500000 ]; do i=$((i+1)); done"


@pytest.mark.parametrize("late", ["", STARTS_SLOWLY], ids=["in time", "still starting"])
def test_signals_to_the_group_are_not_for_the_watcher(owner, sandbox, late):
    process = owner(
        f"lifeline._WATCHER = {late!r} + lifeline._WATCHER"
        """
ignored = ["HUP", "INT", "QUIT", "ALRM", "TERM", "USR1", "USR2", "PIPE"]
trap = f"trap '' {' '.join(ignored)}; echo; {WAIT}"
child = spawn_owned(["sh", "-c", trap], stdout=subprocess.PIPE)
child.stdout.readline()
for name in ignored:
    child.send_signal(getattr(signal, "SIG" + name))
print("ready", flush=True)
child.wait()
"""
    )
    kill(process)
    wait_gone(sandbox)


def test_without_the_interpreter_the_group_is_ended_all_the_same(owner, sandbox):
    """An upgrade may have removed it."""
    process = owner("""
sys.executable = "/none"
spawn_owned(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 60; done"]).wait()
""")
    kill(process)
    wait_gone(sandbox)


FROZEN = """#!{python}
import os, sys
# As PyInstaller's loader of one file: a process between whoever started it and the program.
if os.environ.get("LOADED") != str(os.getppid()):
    os.environ["LOADED"] = str(os.getpid())
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(os.spawnv(os.P_NOWAIT, __file__, sys.argv), 0)[1]))
sys.frozen = True
sys.executable = __file__
import daemonry
assert sys.argv == [__file__, "own"], sys.argv
from daemonry import spawn_owned
stubborn = "trap '' TERM; while :; do sleep 60; done"
cleaning = "trap 'echo > cleaned; exit' TERM; setsid -f sleep 60; echo ready; while :; do sleep 0.01; done"
spawn_owned(["sh", "-c", stubborn])
spawn_owned(["sh", "-c", cleaning]).wait()
"""


def test_in_a_frozen_program_the_program_itself_sweeps(sandbox):
    """`sys.executable` is the program there, and runs no file; what left the group is found as well."""
    program = sandbox.write("app", FROZEN.format(python=sys.executable))
    program.chmod(0o700)
    process = sandbox.popen(program, "own")
    try:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    finally:
        ours = [one.split() for one in processes_marked(str(sandbox.path)) if one.endswith("app own")]
        (inner,) = {int(words[0]) for words in ours} - {process.pid}
        os.kill(inner, signal.SIGKILL)
        process.communicate()
    wait_gone(sandbox)
    assert (sandbox.path / "cleaned").exists()


def test_a_process_is_found_at_each_moment_of_an_exec(owned, sandbox):
    """Between its new memory and its new environment it seems to have none: two looks of 5,000 met that."""
    program = sandbox.path / "again.sh"
    program.write_text('exec /bin/sh "$0"\n')
    child = owned("/bin/sh", str(program))
    wait_until(lambda: sweep.belongs(child.pid, 0, child.mark))
    assert [sweep.belongs(child.pid, 0, child.mark) for _ in range(20_000)] == [True] * 20_000


def test_a_process_without_variables_is_told_at_once():
    """Also one of the kernel's, which has no memory at all."""
    with subprocess.Popen(LONG, env={}) as process:
        try:
            wait_until(lambda: Path(f"/proc/{process.pid}/cmdline").read_bytes().startswith(b"sleep"))
            begin_s = time.monotonic()
            for _ in range(100):
                assert sweep.environment_of(process.pid) == [b""]
            assert time.monotonic() - begin_s < 100 * 50 * 0.001  # no look waited for an exec to end
        finally:
            process.kill()


def test_another_process_with_the_number_is_left_alone(owned):
    """A process is looked at again when it is pinned, and must bear the mark or be in the group."""
    stranger = subprocess.Popen(LONG, process_group=0)
    try:
        child = owned(*LONG)
        assert sweep.belonging(0, child.mark) == {child.pid}
        assert sweep.end(0, child.mark, 5.0) == set()
        assert child.wait(0) == -signal.SIGTERM
        assert sweep.belonging(stranger.pid, "") == {stranger.pid}
        assert sweep.belonging(stranger.pid, "") - frozenset([stranger.pid]) == set()
        assert sweep.end(stranger.pid, "", 0.01, frozenset([stranger.pid])) == set()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("rounds", [5, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_kill_9_at_any_moment_leaves_nothing(owner, sandbox, rounds):
    for number in range(rounds):
        process = owner("""
print("ready", flush=True)
for _ in range(20):
    spawn_owned(["sh", "-c", "sleep 60 & sleep 60"])
""")
        delay_s = 0.04 * number / rounds
        threading.Timer(delay_s, process.kill).start()
        process.wait()
        wait_gone(sandbox)


def test_the_watcher_is_small(owned):
    """A shell, and none of our libraries, for as long as nothing happens."""
    child = owned(*LONG)
    with open(f"/proc/{child.group}/status") as file:
        resident_kb = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    assert resident_kb < 4096
