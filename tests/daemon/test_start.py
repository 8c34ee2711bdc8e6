"""Starting in the background: the caller learns at once that it is ready, or the real reason.

Hard cases 3 and 6.
"""

import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from daemonry import start
from daemonry.daemon.recipe import Recipe, remembered
from daemonry.errors import NotReadyInTime, StartFailed
from daemonry.process import lock, platform
from daemonry.testing import wait_until

# "At once", on a machine that is busy with other tests; the default timeout is 60 s.
AT_ONCE_S = 10.0


def start_failing(probe, body, *options, code=1):
    """Start a daemon that fails and return what was told; nothing of it may be left."""
    probe.write(body)
    before_s = time.monotonic()
    failed = probe.sandbox.daemonry("start", probe.program, *options)
    assert time.monotonic() - before_s < AT_ONCE_S
    assert (failed.code, failed.out) == (code, "")
    assert not probe.instance.lock_held()
    assert not lock.is_held(probe.place.start_lock_path)
    assert probe.instance.record() is None
    assert probe.cli("status") == (3, "probe: not running\n", ""), "told twice"
    return failed.err


# --- ready ----------------------------------------------------------------------------------------


def test_it_is_ready_when_start_returns(probe):
    program = probe.write(
        "@daemon.setup\nasync def setup(run):\n    await asyncio.sleep(0.2)\n    note('set up')\n"
    )
    started = probe.sandbox.daemonry("start", program)
    assert probe.noted("set up") == ""
    status = probe.instance.status()
    told = f"probe: ready at unix:{probe.place.socket_path} (pid {status['pid']})\n"
    assert started == (0, told, "")
    assert (status["state"], status["version"]) == ("running", "1.0")


@pytest.mark.parametrize("captured", ["out=$({})", "out=$({} 2>&1)", "{} | cat", "{} 2>&1 | cat > caught"])
def test_a_shell_that_captures_the_output_goes_on_at_once(probe, captured):
    """Hard case 3: a daemon that kept the caller's pipe open would hold the shell until it ends."""
    command = captured.format(f"{sys.executable} -m daemonry start {probe.write()}")
    done = probe.sandbox.run("bash", "-c", f"{command}; echo went on", timeout_s=AT_ONCE_S)
    assert done.code == 0
    assert done.out.endswith("went on\n")
    assert probe.instance.status()["state"] == "running"


def test_nothing_of_the_caller_is_kept(probe):
    """Fault 23: of all that the caller has open, only what is meant for the daemon gets there."""
    read_end, write_end = os.pipe()
    try:
        os.set_inheritable(write_end, True)
        program = probe.write()
        words = (sys.executable, "-m", "daemonry", "start", program)
        with probe.sandbox.popen(*words, pass_fds=[write_end]) as starting:
            assert starting.wait(AT_ONCE_S) == 0
    finally:
        os.close(write_end)
    os.set_blocking(read_end, False)
    assert os.read(read_end, 1) == b"", "the daemon has our pipe"
    os.close(read_end)
    fds = f"/proc/{probe.instance.pid()}/fd"
    assert os.readlink(f"{fds}/0") == "/dev/null"
    assert {os.readlink(f"{fds}/{fd}") for fd in (1, 2)} == {probe.place.crash_path}


def test_nothing_of_the_daemon_reaches_its_children(probe):
    """Sockets, locks and the log are the daemon's own, and so is what started it."""
    probe.sandbox.env |= {"LISTEN_FDS": "1", "LISTEN_PID": "1", "NOTIFY_SOCKET": "/x", "MINE": "kept"}
    body = """
import subprocess

@daemon.setup
def setup(run):
    note("child", subprocess.check_output(["sh", "-c", "env; echo; ls /proc/self/fd; pwd; umask"], text=True))
"""
    probe.start(body, 'environment=("MINE",)')
    env, _, rest = probe.noted("child").partition("\n\n")
    names = {line.partition("=")[0] for line in env.splitlines()}
    assert "MINE" in names
    assert not names & {"LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "DAEMONRY_BOOT"}
    *fds, cwd, umask = rest.split()
    assert fds in (["0", "1", "2", "3"], ["0", "1", "2"])  # 3 is the directory that `ls` reads
    assert cwd == "/"
    assert umask == "0077"


def test_the_stages_are_told_as_they_begin(probe):
    told = []
    program = probe.write()
    recipe = Recipe((), "", sys.executable, f"{program}:daemon")
    os.environ["DAEMONRY_SANDBOX"] = str(probe.sandbox.path)
    try:
        record = start(probe.place, recipe, progress=told.append)
    finally:
        del os.environ["DAEMONRY_SANDBOX"]
    assert told == ["spawn", "directories", "lock", "config", "bind", "setup"]
    assert record == probe.instance.record()
    assert record.identity.alive()
    assert remembered(probe.place) == recipe


def test_a_second_start_says_already_running(probe):
    instance = probe.start()
    assert probe.cli("start") == (0, f"probe: already running (pid {instance.pid()})\n", "")


def test_a_foreground_run_says_what_it_does_and_ends_on_a_signal(probe):
    with probe.foreground() as process:
        assert f"INFO ready at unix:{probe.place.socket_path} (pid {process.pid})" in probe.stderr()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    assert probe.stderr().splitlines()[-1].endswith("INFO stopped (drained)")


def test_one_that_was_only_ever_run_in_the_foreground_is_started_by_its_name(probe):
    with probe.foreground() as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    started = probe.cli("start")
    assert started.out == f"probe: ready at unix:{probe.place.socket_path} (pid {probe.instance.pid()})\n"
    assert probe.cli("stop").code == 0


def test_a_foreground_run_leaves_the_options_of_the_background_alone(probe):
    """The same program is tried out in a terminal, and started again as it was."""
    probe.start("", "", "--log-level", "debug")
    assert probe.cli("stop").code == 0
    before = Path(probe.place.start_path).read_text(encoding="utf-8")
    assert "debug" in before
    with probe.foreground():
        assert Path(probe.place.start_path).read_text(encoding="utf-8") == before


def test_a_daemon_that_no_other_process_can_find_runs_in_the_foreground_all_the_same(probe):
    body = "made = daemon\ndel daemon\nmade.main(['run'])\n"
    with probe.sandbox.popen(sys.executable, probe.write(body)) as process:
        wait_until(lambda: probe.instance.liveness().answer == "serving")
        wait_until(lambda: probe.instance.status()["state"] == "running")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=10)
    assert "it cannot be started by its name: " in said or Path(probe.place.start_path).exists()
    assert "INFO stopped (drained)" in said


# --- failed: the stage, one line, at once ---------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("1 / 0\n", "it cannot be imported: ZeroDivisionError: division by zero (PROGRAM:1)"),
        ("def (\n", "it cannot be imported: SyntaxError: "),
        (
            "import nosuch\n",
            "it cannot be imported: ModuleNotFoundError: No module named 'nosuch' (PROGRAM:1)",
        ),
        ("", "no Daemon is defined there"),
        (
            "from daemonry import Daemon\na = Daemon('a')\nb = Daemon('b')\n",
            "several Daemons are defined there: add :a or :b",
        ),
    ],
)
def test_a_program_that_cannot_be_used_is_told_without_a_start(sandbox, program, told):
    path = sandbox.write("broken.py", program)
    for verb in ("start", "run", "restart"):
        failed = sandbox.daemonry(verb, path)
        assert (failed.code, failed.out) == (2, "")
        assert failed.err.startswith(f"'{path}' names no daemon: {told.replace('PROGRAM', str(path))}")
        assert failed.err.count("\n") == 1
    assert not (sandbox.path / "home/.local").exists(), "something was begun"


def test_a_program_that_fails_to_import_only_in_the_daemon_is_told(probe):
    """Its surroundings differ from the caller's: the stage is `import`, and the line is named."""
    told = start_failing(probe, "if os.getcwd() == '/':\n    raise RuntimeError('not here')\n")
    line = len(probe.program.read_text().splitlines())
    assert told == (
        f"probe: start failed (import): '{probe.program}:daemon' names no daemon: "
        f"it cannot be imported: RuntimeError: not here ({probe.program}:{line})\n"
    )


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_setup_that_raises_is_told_with_its_trace(probe, kind):
    told = start_failing(probe, f"@daemon.setup\n{kind} setup(run):\n    raise KeyError('no such luck')\n")
    first, *trace = told.splitlines()
    assert first == "probe: start failed (setup): KeyError: 'no such luck'"
    assert trace[0] == "    Traceback (most recent call last):"
    assert re.fullmatch(rf'      File "{probe.program}", line \d+, in setup', trace[1]), (
        "the program's own part only"
    )
    assert trace[-1] == "    KeyError: 'no such luck'"
    assert probe.logged("start failed (setup): KeyError: 'no such luck'")


def test_a_setup_that_refuses_is_told_in_one_line(probe):
    """`Refused` is the program's way to say no on purpose: a trace would explain nothing."""
    told = start_failing(
        probe, "@daemon.setup\ndef setup(run):\n    raise Refused('the cellar is\\nlocked')\n"
    )
    assert told == "probe: start failed (setup): the cellar is locked\n"


WITH_SETTINGS = """
import dataclasses

@dataclasses.dataclass
class Settings:
    every_s: float = 1.0

daemon.config_type = Settings
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("evry_s = 1\n", "1:1: evry_s: is not known: did you mean 'every_s'?"),
        ("every_s = 'x'\n", "1:1: every_s: expected `float`, got `str`"),
        ("every_s = \n", "1:11: not TOML: invalid value"),
    ],
)
def test_a_broken_configuration_is_told_as_file_place_key_reason(probe, text, reason):
    config = probe.sandbox.write("my.toml", text)
    told = start_failing(probe, WITH_SETTINGS, "--config", str(config))
    assert told == f"probe: start failed (config): {config}:{reason}\n"


def test_an_endpoint_that_another_program_uses_is_told(probe):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        endpoint = f"tcp:127.0.0.1:{other.getsockname()[1]}"
        told = start_failing(probe, f"daemon.endpoint = '{endpoint}'\n")
    assert told == f"probe: start failed (bind): cannot listen at {endpoint}: Address already in use\n"


def test_an_endpoint_that_is_none_is_told(probe):
    told = start_failing(probe, "daemon.endpoint = 'nowhere'\n")
    assert told.startswith("probe: start failed (bind): 'nowhere' is not an endpoint: ")
    assert told.count("\n") == 1


def test_a_process_that_was_killed_is_told_by_its_signal(probe):
    told = start_failing(probe, "@daemon.setup\ndef setup(run):\n    os.kill(os.getpid(), 9)\n")
    assert told == "probe: start failed (setup): the process was killed by SIGKILL\n"
    probe.bury()


def test_a_process_that_ended_is_told_by_its_status_and_last_words(probe):
    body = """
@daemon.setup
def setup(run):
    print("the last words", file=sys.stderr, flush=True)
    os._exit(7)
"""
    told = start_failing(probe, body).splitlines()
    assert told[:2] == [
        "probe: start failed (setup): the process ended with status 7 before it was ready",
        "    the last words",
    ]
    probe.bury()


CRASH = """
import ctypes

def fall(steps):
    return fall(steps - 1) if steps else ctypes.string_at(0)

@daemon.setup
def setup(run):
    fall(60)
"""


def test_a_crash_in_c_is_told_with_where_it_was(probe):
    """The interpreter's own report goes to the crash file; its beginning is shown, however deep the stack."""
    told = start_failing(probe, CRASH)
    assert told.startswith("probe: start failed (setup): the process was killed by SIGSEGV\n")
    assert "    Fatal Python error: Segmentation fault\n" in told
    assert f'File "{probe.program}", line ' in told
    probe.bury()


def test_an_interpreter_that_is_gone_is_told(probe):
    """A virtual environment that was removed since the daemon was started last."""
    recipe = Recipe((), "", "/nowhere/bin/python", f"{probe.write()}:daemon")
    told = "probe: start failed (spawn): /nowhere/bin/python: No such file or directory"
    with pytest.raises(StartFailed) as failed:
        start(probe.place, recipe)
    assert str(failed.value) == told
    assert probe.cli("start") == (1, "", f"{told}\n")


def test_a_daemon_without_a_name_of_its_own_cannot_be_started(sandbox):
    """The new process would not find it."""
    path = sandbox.write(
        "hidden.py", "from daemonry import Daemon\nd = {1: Daemon('x')}\nd[1].main(['start'])\n"
    )
    failed = sandbox.run(sys.executable, path)
    assert failed.code == 2
    assert (
        failed.err == "'x' names no daemon: the Daemon must be a global of its module, or be given a target\n"
    )


# --- slow -----------------------------------------------------------------------------------------

UNTIL_TOLD = """
@daemon.setup
async def setup(run):
    note("in setup")
    await wait_told("go on")
"""


def in_setup(probe):
    wait_until(lambda: probe.noted("in setup") is not None, what="in setup")


def test_one_that_is_not_ready_in_time_is_left_to_go_on(probe):
    late = probe.sandbox.daemonry("start", probe.write(UNTIL_TOLD), "--timeout", "1.2")
    in_setup(probe)
    pid = probe.instance.pid()
    assert (late.code, late.out) == (5, "")
    assert re.fullmatch(rf"probe: not ready within 1\.2 s \(still in '\w+', pid {pid}\)\n", late.err)
    assert probe.cli("status").out.startswith("probe: starting\n")
    probe.tell("go on")
    wait_until(lambda: probe.instance.status()["state"] == "running")
    assert probe.instance.pid() == pid


def test_a_second_start_waits_until_the_first_one_is_ready(probe):
    """`already running` from one that then fails would send its caller to nobody."""
    program = probe.write(UNTIL_TOLD)
    starts = [probe.sandbox.popen(sys.executable, "-m", "daemonry", "start", program)]
    in_setup(probe)
    starts.append(probe.sandbox.popen(sys.executable, "-m", "daemonry", "start", program))
    late = probe.sandbox.daemonry("start", program, "--timeout", "0.3")
    assert late == (5, "", "no answer from another start of probe within 0.3 s (lock)\n")
    assert [process.poll() for process in starts] == [None, None]
    probe.tell("go on")
    outs = [process.communicate(timeout=20) for process in starts]
    pid = probe.instance.pid()
    assert [process.returncode for process in starts] == [0, 0]
    assert outs == [
        (f"probe: ready at unix:{probe.place.socket_path} (pid {pid})\n", ""),
        (f"probe: already running (pid {pid})\n", ""),
    ]


def test_when_the_first_start_fails_the_second_one_tries(probe):
    body = """
@daemon.setup
async def setup(run):
    note("in setup")
    await wait_told("go on")
    if not told("failed"):
        note("failed")
        raise Refused("not the first time")
"""
    program = probe.write(body)
    first = probe.sandbox.popen(sys.executable, "-m", "daemonry", "start", program)
    in_setup(probe)
    second = probe.sandbox.popen(sys.executable, "-m", "daemonry", "start", program)
    probe.tell("go on")
    assert first.communicate(timeout=20)[1] == "probe: start failed (setup): not the first time\n"
    out, err = second.communicate(timeout=20)
    assert (second.returncode, err) == (0, "")
    assert out == f"probe: ready at unix:{probe.place.socket_path} (pid {probe.instance.pid()})\n"


def test_not_ready_in_time_carries_what_is_known(probe):
    os.environ["DAEMONRY_SANDBOX"] = str(probe.sandbox.path)
    try:
        with pytest.raises(NotReadyInTime) as caught:
            start(
                probe.place,
                Recipe((), "", sys.executable, f"{probe.write(UNTIL_TOLD)}:daemon"),
                timeout_s=1.2,
            )
    finally:
        del os.environ["DAEMONRY_SANDBOX"]
    in_setup(probe)
    assert caught.value.stage in ("spawn", "directories", "lock", "config", "bind", "setup")
    assert caught.value.pid == probe.instance.pid()
    probe.tell("go on")
    wait_until(lambda: probe.instance.status()["state"] == "running")


def test_setup_can_begin_paused(probe):
    """For a daemon that was paused when it ended last."""
    body = """
@daemon.setup
def setup(run):
    run.start_paused()

@daemon.work
async def work(run):
    await run.wait_running()
    note("worked")
    await asyncio.sleep(600)
"""
    instance = probe.start(body)
    assert instance.status()["state"] == "paused"
    assert probe.noted("worked") is None
    instance.command("RESUME")
    wait_until(lambda: probe.noted("worked") is not None)


# --- children that were forked --------------------------------------------------------------------

FORKS = """
import multiprocessing

def child():
    note("child runs")
    time.sleep(600)

@daemon.setup
def setup(run):
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    note("child pid", str(process.pid))
"""


def end(pid):
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: platform.start_time(pid) is None, what="the child has ended")


def test_a_forked_child_does_not_keep_a_dead_daemon_alive(probe):
    """F10, F26, fault 20: it has copies of the lock and of the socket, and must let go of both."""
    instance = probe.start(FORKS)
    child = int(wait_until(lambda: probe.noted("child pid")))
    wait_until(lambda: probe.noted("child runs") is not None)
    try:
        killed = instance.pid()
        probe.kill()
        status = probe.cli("status")
        assert (status.code, status.out) == (3, "probe: not running\n")
        started = probe.cli("start")
        assert (started.code, started.err) == (0, "")
        assert instance.status()["pid"] not in (killed, child)
        os.kill(child, 0)
    finally:
        end(child)
    end(int(probe.noted("child pid").removeprefix(str(child))))


def test_a_forked_child_ends_on_the_signal_that_multiprocessing_sends(probe):
    """It inherits handlers that leave a note for a guardian which it does not have."""
    body = FORKS.replace("target=child)", "target=child, daemon=True)")
    instance = probe.start(body)
    child = int(wait_until(lambda: probe.noted("child pid")))
    wait_until(lambda: probe.noted("child runs") is not None)
    assert probe.cli("stop", "--timeout", "10") == (0, "probe: stopped\n", "")
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert instance.lock_held() is False
    assert probe.left() == []


def test_a_forked_child_that_ends_takes_nothing_with_it(probe):
    """What runs at the end of a forked process, finalizers of the parent's objects too, must not clean up."""
    body = """
@daemon.setup
def setup(run):
    if os.fork() == 0:
        sys.exit(0)
    os.wait()
"""
    instance = probe.start(body)
    assert instance.status()["state"] == "running"
    assert instance.record() is not None
    assert not probe.logged("start failed")


def test_a_forked_child_does_not_keep_the_starter_waiting(probe):
    """It has a copy of the pipe on which the starter waits for the daemon's end."""
    body = (
        FORKS
        + """
@daemon.setup
async def die(run):
    await wait_told("child runs")
    os._exit(3)
"""
    )
    told = start_failing(probe, body)
    end(int(probe.noted("child pid")))
    assert told.startswith(
        "probe: start failed (setup): the process ended with status 3 before it was ready\n"
    )
    probe.bury()


def test_the_traces_of_a_failed_start_do_not_trouble_the_next_one(probe):
    start_failing(probe, "@daemon.setup\ndef setup(run):\n    raise OSError('once')\n")
    probe.write()
    started = probe.sandbox.daemonry("start", probe.program)
    assert (started.code, started.err) == (0, "")
    assert re.fullmatch(r"probe: ready at \S+ \(pid \d+\)\n", started.out)


@pytest.mark.parametrize(
    "words", [("-",), ("-i", "-q"), ("-c", "PROGRAM")], ids=["input", "prompt", "command"]
)
def test_a_daemon_without_a_file_is_not_started(sandbox, words):
    """Typed at a prompt, piped in, or given by -c: no other process could find it."""
    program = 'import daemonry\ndaemon = daemonry.Daemon("probe")\ndaemonry.ensure(daemon)\n'
    words = [program if word == "PROGRAM" else word for word in words]
    done = sandbox.run(sys.executable, *words, stdin=program)
    told = done.err.splitlines()
    assert any(line.endswith("cannot be started in the background: use a file") for line in told), told
