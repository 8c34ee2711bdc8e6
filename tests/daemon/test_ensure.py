"""Get or spawn: connect, wait, start or refuse, and each of it once."""

import asyncio
import os
import pickle
import socket
import sys

import pytest

import daemonry
from daemonry import errors
from daemonry.testing import wait_until

PROGRAM = """
import os
from daemonry import Interface
class Who(Interface, name="org.example.who"):
    def pid(self) -> int:
        return os.getpid()
    def env(self, name: str) -> str:
        return os.environ.get(name, "")
daemon.serve(Who())
"""

FAILING = """
@daemon.setup
def set_up(run):
    raise OSError("no disk today")
"""

# In the daemon alone, and not in the clients that import the program too.
COUNTED = """
if sys.argv[1:2] == ["run"]:
    note("started", "x")
"""

KILLED_AT = """
import os, sys
import daemonry
def kill_at(stage):
    if stage == sys.argv[2]:
        os.kill(os.getpid(), 9)
daemonry.ensure(sys.argv[1], on_stage=kill_at)
"""

CLIENT = """
import os, sys
import daemonry
os.write(0, b"x")  # here, and waiting for the others
sys.stdin.read()
with daemonry.ensure(sys.argv[1], timeout=60) as client:
    print(client.call("org.example.who.Pid")["result"])
"""


@pytest.fixture(autouse=True)
def as_in_the_sandbox(probe, monkeypatch):
    """The test's own process is a client like those that it starts."""
    monkeypatch.setenv("DAEMONRY_SANDBOX", str(probe.sandbox.path))
    monkeypatch.delitem(sys.modules, "probe", raising=False)
    yield
    sys.modules.pop("probe", None)


def pid_of(client):
    return client.call("org.example.who.Pid")["result"]


def test_one_that_is_absent_is_started_and_the_stages_are_told(probe):
    stages = []
    with daemonry.ensure(str(probe.write(PROGRAM)), on_stage=stages.append) as client:
        assert pid_of(client) == probe.instance.pid()
    assert stages == ["spawn", "directories", "lock", "config", "bind", "setup"]


def test_one_that_serves_is_connected_to(probe):
    probe.start(PROGRAM)
    stages = []
    with daemonry.ensure("probe", on_stage=stages.append) as client:
        assert pid_of(client) == probe.instance.pid()
    assert stages == []


def test_a_name_is_started_as_it_was_the_last_time(probe):
    probe.start(PROGRAM)
    before = probe.instance.pid()
    probe.cli("stop")
    with daemonry.ensure("probe") as client:
        assert pid_of(client) not in (before, None)


def test_asyncio_has_the_same(probe):
    async def ask():
        client = await daemonry.ensure_async(str(probe.write(PROGRAM)))
        try:
            return await client.call("org.example.who.Pid")
        finally:
            client.close()

    assert asyncio.run(ask())["result"] == probe.instance.pid()


def test_require_starts_nothing_and_says_how_to(probe):
    program = probe.write(PROGRAM)
    with pytest.raises(errors.NotRunning, match=f"daemonry start {program}"):
        daemonry.ensure(str(program), mode="require")
    assert probe.instance.lock_held() is False


def test_require_does_not_wait_for_what_cannot_be_told(probe):
    """As with the home of somebody else: what may not be looked at does not show by waiting."""
    program = probe.write(PROGRAM)
    os.makedirs(probe.place.life_lock_path)  # cannot be opened as a lock, by root either
    with pytest.raises(errors.AccessDenied, match="cannot find out whether"):
        daemonry.ensure(str(program), mode="require", timeout=5)


def test_supervised_waits_for_who_starts_it(probe):
    program = probe.write(PROGRAM)
    with pytest.raises(errors.NotRunning, match=r"nobody started it within 0\.2 s"):
        daemonry.ensure(str(program), mode="supervised", timeout=0.2)
    starting = probe.sandbox.popen(sys.executable, "-m", "daemonry", "start", program)
    with daemonry.ensure(str(program), mode="supervised") as client:
        assert pid_of(client) == probe.instance.pid()
    assert starting.wait(30) == 0
    starting.communicate()


def test_direct_serves_in_this_process_and_leaves_no_file(probe):
    with daemonry.ensure(str(probe.write(PROGRAM)), mode="direct") as client:
        assert pid_of(client) == os.getpid()
        with pytest.raises(errors.MethodNotFound):
            client.call("org.example.who.Nothing")
    assert probe.instance.lock_held() is False
    assert probe.left() == []


def test_a_pickled_client_finds_or_starts_its_daemon_by_itself(probe):
    with daemonry.ensure(str(probe.write(PROGRAM)), versions=daemonry.Versions.any()) as client:
        first = pid_of(client)
        copied = pickle.loads(pickle.dumps(client))
        assert pid_of(copied) == first
        daemonry.stop(probe.instance)
        again = pickle.loads(pickle.dumps(copied))
        assert pid_of(again) == probe.instance.pid() != first
        copied.close()
        again.close()


def test_a_pickled_asyncio_client_does_too(probe):
    async def pickled():
        async with await daemonry.ensure_async(str(probe.write(PROGRAM))) as client:
            return pickle.dumps(client)

    async def use(dumped):
        async with pickle.loads(dumped) as client:
            return (await client.call("org.example.who.Pid"))["result"]

    assert asyncio.run(use(asyncio.run(pickled()))) == probe.instance.pid()


def test_a_client_of_this_process_is_not_pickled_and_says_why(probe):
    client = daemonry.ensure(str(probe.write(PROGRAM)), mode="direct")
    with client, pytest.raises(TypeError, match="in this process: it has this one connection"):
        pickle.dumps(client)


def test_a_start_that_fails_tells_the_reason(probe):
    with pytest.raises(errors.StartFailed, match="no disk today") as failed:
        daemonry.ensure(str(probe.write(FAILING)))
    assert failed.value.stage == "setup"


def test_one_that_is_setting_up_is_waited_for(probe):
    program = probe.write(
        PROGRAM + "@daemon.setup\nasync def set_up(run):\n    note('setup')\n    await wait_told('go')\n"
    )
    starting = probe.sandbox.popen(sys.executable, "-m", "daemonry", "start", program)
    wait_until(lambda: probe.noted("setup") is not None, 20, "setup")
    with pytest.raises(errors.DeadlineExceeded):
        daemonry.ensure("probe", timeout=0.3)
    probe.tell("go")
    with daemonry.ensure("probe") as client:
        assert pid_of(client) == probe.instance.pid()
    assert starting.wait(30) == 0
    starting.communicate()


def race(probe, count, body=PROGRAM):
    program = probe.write(body + COUNTED)
    ours, theirs = socket.socketpair()
    racers = [probe.sandbox.popen(sys.executable, "-c", CLIENT, program, stdin=theirs) for _ in range(count)]
    theirs.close()
    with ours:
        for _ in racers:
            assert ours.recv(1) == b"x"
    answers = [racer.communicate(timeout=300) for racer in racers]
    return [racer.returncode for racer in racers], answers


@pytest.mark.parametrize(
    "count",
    [
        8,
        pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
    ],
)
def test_of_many_at_once_one_starts_and_all_are_served(probe, count):
    codes, answers = race(probe, count)
    assert codes == [0] * count, {err for _, err in answers}
    assert {out for out, _ in answers} == {f"{probe.instance.pid()}\n"}
    assert probe.noted("started") == "x"


def test_of_many_who_want_one_that_cannot_start_few_try_and_all_are_told_why(probe):
    codes, answers = race(probe, 8, FAILING)
    assert codes == [1] * 8
    assert all("no disk today" in err for _, err in answers)
    assert len(probe.noted("started")) <= 3
    assert probe.instance.lock_held() is False


STAGES = ("spawn", "directories", "lock", "config", "bind", "setup")


@pytest.mark.parametrize("stage", STAGES)
def test_a_client_that_is_killed_as_it_starts_one_leaves_a_way_for_the_next(probe, stage):
    program = probe.write(PROGRAM + COUNTED)
    killed = probe.sandbox.run(sys.executable, "-c", KILLED_AT, program, stage)
    assert killed.code == -9
    with daemonry.ensure(str(program)) as client:
        assert pid_of(client) == probe.instance.pid()
    assert probe.noted("started") == "x"  # what the killed one had begun came up by itself


def test_a_live_one_costs_no_import_of_what_starts(probe):
    probe.start(PROGRAM)
    script = "import sys, daemonry\ndaemonry.ensure('probe').close()\nprint(*sys.modules)"
    loaded = set(probe.sandbox.run(sys.executable, "-c", script).out.split())
    heavy = {"asyncio", "logging", "subprocess", "json", "re", "socket", "typing", "daemonry.launch.start"}
    assert not loaded & heavy
    assert "daemonry.launch.ensure" in loaded


def test_a_place_of_the_programs_own(probe, tmp_path):
    home = tmp_path / "home"
    place = (
        f"place=lambda: Place.in_directory({str(home)!r}, 'probe', sock={str(tmp_path / 'x' / 'p.sock')!r})"
    )
    program = probe.sandbox.write(
        "probe.py",
        f"from daemonry import Daemon, Place\ndaemon = Daemon('probe', {place})\n" + PROGRAM,
    )
    with daemonry.ensure(str(program)) as client:
        assert client.peer == f"unix:{tmp_path}/x/p.sock"
    assert (home / "probe.log").exists()
    with daemonry.ensure("probe") as client:  # by the list of daemons
        pid = pid_of(client)
    assert pid > 0
    assert probe.sandbox.daemonry("stop", program).code == 0
    assert not (tmp_path / "x" / "p.sock").exists()


def test_a_directory_that_others_can_write_is_refused(probe, tmp_path):
    home = tmp_path / "open"
    home.mkdir()
    home.chmod(0o777)
    program = probe.sandbox.write(
        "probe.py",
        "from daemonry import Daemon, Place\n"
        f"daemon = Daemon('probe', place=lambda: Place.in_directory({str(home)!r}, 'probe'))\n",
    )
    with pytest.raises(errors.UnsafePath, match="chmod go-w"):
        daemonry.ensure(str(program))


def test_the_environment_takes_values(probe):
    with daemonry.ensure(str(probe.write(PROGRAM)), env={"COLOR": "green"}) as client:
        assert client.call("org.example.who.Env", {"name": "COLOR"}) == {"result": "green"}


def test_a_program_that_lives_long_collects_no_zombies(probe):
    """The daemons that it started are its children, and one that has ended waits to be reaped."""
    program = str(probe.write(PROGRAM))
    pids = []
    for _ in range(3):
        with daemonry.ensure(program) as client:
            pids.append(pid_of(client))
        assert probe.cli("stop").code == 0
    left = [pid for pid in pids[:-1] if os.path.exists(f"/proc/{pid}")]
    assert left == []


PLACED = """
import os
from daemonry import Daemon, Place
daemon = Daemon("probe", place=lambda: Place.in_directory(os.environ.get("VX_HOME", "/nowhere"), "probe"){})
"""


def test_a_place_that_the_daemon_cannot_know_is_told_and_nothing_runs_elsewhere(probe, monkeypatch, tmp_path):
    monkeypatch.setenv("VX_HOME", str(tmp_path))
    program = str(probe.sandbox.write("probe.py", PLACED.format("")))
    with pytest.raises(errors.StartFailed, match=r"starter looks at .*/probe.json: name the variables"):
        daemonry.ensure(program)
    sys.modules.pop("probe")
    probe.sandbox.write("probe.py", PLACED.format(', environment=("VX_HOME",)'))
    daemonry.ensure(program).close()
    assert (tmp_path / "probe.sock").exists()
    assert (
        probe.sandbox.run(
            "env", f"VX_HOME={tmp_path}", sys.executable, "-m", "daemonry", "stop", program
        ).code
        == 0
    )
