"""After kill -9 of the supervisor: what ends, what is adopted, and that the next `up` works, always."""

import os
import signal
import subprocess
import sys
import time

import pytest

from daemonry.home import service_record
from daemonry.process import platform
from daemonry.process.identity import Identity
from daemonry.testing import wait_until
from daemonry.testing.leftovers import processes_marked

COUNTS = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"]
ADOPT = {"orphan": '"adopt"', "ready": '{ output = "^1$" }'}


def services_of(shop):
    """The processes that run there, less supervisors and watchers."""
    found = processes_marked(str(shop.sandbox.path))
    return [one for one in found if "daemonry" not in one and "sweep.py" not in one]


def test_services_end_when_their_supervisor_is_killed(shop, service):
    """By their own cleaning up where they have one, and all that they have started."""
    cleans = "trap 'echo > cleaned; exit' TERM; setsid sleep 600 & echo up; while :; do sleep 0.01; done"
    shop.write(service("a", ["sh", "-c", cleans], ready='{ output = "up" }') + service("b"))
    shop.up()
    shop.kill_supervisor()
    shop.wait_nothing()
    assert (shop.path / "cleaned").exists()
    assert "ready" in shop.up().out


@pytest.mark.slow
def test_no_service_outlives_its_supervisor_by_more_than_a_second(shop, service, late_s):
    """Neither one that does not heed its signal, nor what it has started in a session of its own."""
    deaf = "trap '' TERM; setsid sleep 600 & echo up; while :; do read -t 600 _ <> pipe; done"
    words = ["bash", "-c", f"test -p pipe || mkfifo pipe; {deaf}"]
    shop.write(service("a", words, ready='{ output = "up" }'))
    rounds_s = []
    while not rounds_s or (min(rounds_s) > 0 and len(rounds_s) < 3):
        shop.up()
        pids = [int(one.split()[0]) for one in services_of(shop)]
        assert len(pids) == 2
        rounds_s.append(late_s(shop.supervisor(), pids))
        shop.wait_nothing()
    assert min(rounds_s) <= 0, rounds_s
    shop.up()
    shop.down()


def test_one_that_may_outlive_its_supervisor_is_adopted(shop, service):
    """The same process, and no line of what it wrote meanwhile is lost.

    It pauses for the kill: what a supervisor has read and not yet written dies with it (docs/homes.md).
    """
    pauses = "test $i != 5 || until test -e go; do sleep 0.01; done"
    counts = ["sh", "-c", f"i=0; while :; do i=$((i+1)); echo $i; {pauses}; sleep 0.02; done"]
    shop.write(service("a", counts, **ADOPT) + service("b"))
    shop.up()
    before = shop.ps()
    wait_until(lambda: len(shop.written("a")) == 5)
    shop.kill_supervisor()
    (shop.path / "go").touch()
    wait_until(lambda: len(services_of(shop)) == 2, what="only the adopted one is left, and its sleep")
    done = shop.up()
    after = shop.ps()
    assert after["a"]["pid"] == before["a"]["pid"]
    assert after["b"]["pid"] != before["b"]["pid"]
    assert f"a  ready: adopted (pid {after['a']['pid']})" in done.out
    count = len(shop.written("a"))
    wait_until(lambda: len(shop.written("a")) > count + 5)
    numbers = [int(line) for line in shop.written("a")]
    assert numbers == list(range(1, len(numbers) + 1))


def test_what_a_killed_supervisor_was_writing_goes_with_the_next_up(shop, service):
    """One that lives, in whatever process, keeps its file."""
    with subprocess.Popen(["true"]) as ended:
        pass
    dead, living = (f"{shop.home.path('a', 'json')}.{pid}.1.tmp" for pid in (ended.pid, os.getpid()))
    shop.write(service("a"))
    shop.up()
    shop.down()
    for path in (dead, living):
        with open(path, "w"):
            pass
    shop.up()
    assert (os.path.exists(dead), os.path.exists(living)) == (False, True)
    shop.down()
    os.unlink(living)


def test_an_adopted_one_is_supervised_like_any_other(shop, service):
    shop.write(service("a", COUNTS, restart_delay='"10ms"', **ADOPT))
    shop.up()
    shop.kill_supervisor()
    wait_until(lambda: not shop.home.is_up())
    shop.up()
    before = shop.pid("a")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: shop.ps()["a"]["restarts"] == 1 and shop.ps()["a"]["state"] == "ready")
    assert shop.pid("a") != before
    shop.down()
    shop.wait_nothing()


def test_it_can_be_stopped_and_adopted_again_and_again(shop, service):
    shop.write(service("a", COUNTS, **ADOPT))
    shop.up()
    pid = shop.pid("a")
    for _ in range(3):
        shop.kill_supervisor()
        wait_until(lambda: not shop.home.is_up())
        shop.up()
        assert shop.pid("a") == pid
    assert "a  stopped" in shop.down().out
    shop.wait_nothing()


def test_one_whose_command_has_changed_meanwhile_is_ended_and_started(shop, service):
    shop.write(service("a", COUNTS, **ADOPT))
    shop.up()
    before = shop.pid("a")
    shop.kill_supervisor()
    wait_until(lambda: not shop.home.is_up())
    shop.write(service("a", [*COUNTS, "changed"], **ADOPT))
    shop.up()
    assert shop.pid("a") != before
    shells = [one for one in services_of(shop) if " -c " in one]  # a copy too, before it becomes `sleep`
    assert all(one.endswith(" changed") for one in shells)
    assert str(shop.pid("a")) in [one.split()[0] for one in shells]


@pytest.mark.parametrize("change", ["gone", "not to be adopted"])
def test_one_that_nobody_wants_any_more_is_ended(shop, service, change):
    shop.write(service("a", COUNTS, **ADOPT))
    shop.up()
    shop.kill_supervisor()
    wait_until(lambda: not shop.home.is_up())
    shop.write(service("b") if change == "gone" else service("a"))
    shop.up()
    wait_until(lambda: len(services_of(shop)) == 1)


def test_a_stranger_with_its_number_is_not_adopted_and_not_touched(shop, service):
    """A pid alone proves nothing: another process has it by now."""
    shop.write(service("a", COUNTS, **ADOPT))
    shop.up()
    path = shop.home.path("a", "json")
    record = next(one for one in service_record.read_all(str(shop.path)) if one.service == "a")
    shop.kill_supervisor()
    wait_until(lambda: not shop.home.is_up())
    os.kill(record.pid, signal.SIGKILL)
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        mine = Identity.of_this_process()
        started = platform.start_time(stranger.pid)
        forged = Identity(mine.boot_id, stranger.pid, mine.pid_namespace, started)
        service_record.write(path, record.of(forged, record.started_at))
        shop.up()
        assert shop.pid("a") != stranger.pid
        shop.down()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("text", ["", "{", '{"service":"a"}', '{"service":"a","mark":"","made_of":""}', "[]"])
def test_a_damaged_record_is_in_nobodys_way(shop, service, text):
    shop.write(service("a"))
    (shop.path / "a.json").write_text(text)
    (shop.path / "package.json").write_text('{"name": "mine"}')
    shop.up()
    shop.down()
    assert (shop.path / "package.json").read_text() == '{"name": "mine"}'


def guards_of(shop):
    """The process ids of a home's guard: none while there is none, and a killed one's for a moment."""
    found = processes_marked(str(shop.sandbox.path))
    return {int(one.split()[0]) for one in found if "daemonry-guard" in one}


def guard_of(shop):
    """The process id of a home's only guard, once it is the only one."""
    (guard,) = wait_until(lambda: len(found := guards_of(shop)) == 1 and found)
    return guard


def test_a_guard_that_somebody_kills_is_replaced_and_the_new_one_knows_all(shop, service):
    shop.write(service("a") + service("b"))
    shop.up()
    before = guard_of(shop)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: guards_of(shop) - {before}, what="there is another guard")
    assert guard_of(shop) != before
    shop.kill_supervisor()
    shop.wait_nothing()
    shop.up()


def test_many_services_have_one_guard_and_two_descriptors_each_at_most(shop, service):
    shop.write(service("a"))
    shop.up()
    one = len(os.listdir(f"/proc/{shop.supervisor()}/fd"))
    shop.write("".join(service(name) for name in "abcdefghijk"))
    shop.cli("reload")
    wait_until(lambda: [each["state"] for each in shop.ps().values()] == ["ready"] * 11)
    descriptors = f"/proc/{shop.supervisor()}/fd"
    wait_until(lambda: len(os.listdir(descriptors)) <= one + 2 * 10, what="`ps` has hung up")
    assert guard_of(shop)


def test_a_service_without_its_environment_ends_with_its_killed_supervisor(shop, service):
    """Neither mark nor child of anybody's: it is known by its group."""
    shop.write(
        service("a", ["env", "-i", "sh", "-c", "sleep 600 & echo up; wait"], ready='{ output = "up" }')
    )
    shop.up()
    pid = shop.pid("a")
    shop.kill_supervisor()
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), what="it has ended")
    shop.up()


def test_what_even_the_guard_could_not_end_is_ended_by_the_next_up(shop, service):
    """Somebody killed it before the supervisor, which could not start another one."""
    shop.write(service("a"))
    shop.up()
    before = shop.pid("a")
    os.kill(shop.supervisor(), signal.SIGSTOP)
    os.kill(guard_of(shop), signal.SIGKILL)
    shop.kill_supervisor()
    wait_until(lambda: not shop.home.is_up())
    assert len(services_of(shop)) == 1
    shop.up()
    assert shop.pid("a") != before
    assert len(services_of(shop)) == 1


# Kills itself when it comes to a stage, or to the Nth writing of a service's record.
KILLED_AT = """
import os, signal, sys
from daemonry.home import keeper, service_files
from daemonry.process import readiness
from daemonry.home.run import process_run
from daemonry.cli.main import run
stage, _, number = sys.argv[1].partition(" ")
left = [int(number or 1)]

def killing(real):
    def wrapped(*args, **options):
        found = real(*args, **options)
        if stage in ("record", "start", "ready") or args[1] == stage:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
        return found
    return wrapped

if stage == "record":
    service_files.ServiceFiles.write = killing(service_files.ServiceFiles.write)
elif stage == "start":
    process_run.start = killing(process_run.start)
elif stage == "ready":
    keeper.Keeper._hook = killing(keeper.Keeper._hook)
else:
    readiness.Reporter.enter = killing(readiness.Reporter.enter)
sys.exit(run(["up", "--foreground", "--home", sys.argv[2]]))
"""


STAGES = ("lock", "config", "leftovers", "bind", "services", "record 1", "start 1", "record 2", "ready 1")
# One that ends with its supervisor has one record, one that may outlive it three.
LATER = {"end": ("start 2", "ready 2"), "adopt": ("record 3", "record 4", "start 2", "ready 2", "record 6")}


@pytest.mark.parametrize(
    ("stage", "orphan"), [(stage, orphan) for orphan in LATER for stage in (*STAGES, *LATER[orphan])]
)
def test_killed_at_any_stage_of_up_the_next_up_works(shop, service, stage, orphan):
    keys = {"orphan": f'"{orphan}"', "ready": '{ output = "here" }'}
    shop.write(service("a", **keys) + service("b", needs='["a"]', **keys))
    killed = shop.sandbox.popen(sys.executable, "-c", KILLED_AT, stage, str(shop.path))
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    shop.up()
    wait_until(lambda: len(services_of(shop)) == 2, what="each service runs once")
    shop.down()
    shop.wait_nothing()
    assert sorted(one for one in os.listdir(shop.path) if not one.endswith((".log", ".toml"))) == [
        "home.lock"
    ]


@pytest.mark.parametrize("rounds", [3, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_killed_at_any_moment_the_next_up_works(shop, service, rounds):
    shop.write(service("a") + service("b", needs='["a"]') + service("c", COUNTS, **ADOPT))
    for number in range(rounds):
        process = shop.foreground()
        if number:
            time.sleep(0.8 * number / rounds)  # the moment that is tried
        process.kill()
        process.communicate()
        shop.up()
        names = [one.split()[1] for one in services_of(shop)]
        wait_until(lambda: sum("600" in one for one in services_of(shop)) == 2, what=f"each once: {names}")
        assert [one["state"] for one in shop.ps().values()] == ["ready"] * 3
        shop.kill_supervisor() if number % 2 else shop.down()
    wait_until(lambda: not shop.home.is_up())
    shop.up()
    shop.down()
    shop.wait_nothing()
