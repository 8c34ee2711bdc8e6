"""A home up and down: order, restarts, giving up, hooks, environment, and what `down` leaves."""

import os
import platform
import re
import resource
import signal
import subprocess
import sys

import pytest

from daemonry.testing import wait_until


def sh(text):
    return ["sh", "-c", text]


# --- up, down -----------------------------------------------------------------------------------


def test_up_returns_when_all_are_ready_and_down_leaves_nothing(shop, service):
    shop.write(service("b", needs='["a"]') + service("a"))
    done = shop.up()
    assert [line.split()[:2] for line in done.out.splitlines()] == [
        ["a", "ready"],
        ["b", "ready"],
        ["shop:", "up"],
    ]
    assert (done.err, shop.home.is_up()) == ("", True)
    done = shop.down()
    assert done.out.split("\n") == ["b  stopped", "a  stopped", "shop: down", ""]
    shop.wait_nothing()
    # What is for reading stays, and the lock's file, which is never removed.
    assert sorted(os.listdir(shop.path)) == ["a.log", "b.log", "home.lock", "home.log", "home.toml"]


def test_up_again_and_down_again_say_so(shop, service):
    shop.write(service("a"))
    assert shop.cli("down").out == "shop: not up\n"
    shop.up()
    pid = shop.pid("a")
    done = shop.cli("up")
    assert (done.code, done.out) == (0, f"shop: already up (pid {shop.supervisor()})\n")
    assert shop.pid("a") == pid
    shop.down()
    assert (shop.cli("ps").code, shop.cli("ps").out) == (3, "shop: not up\n")


def test_of_many_who_start_a_home_at_once_one_does(shop, service):
    shop.write(service("a"))
    words = ["-m", "daemonry", "up", "--home", str(shop.path)]
    starts = [shop.sandbox.popen(sys.executable, *words) for _ in range(5)]
    said = [start.communicate(timeout=60)[0] for start in starts]
    assert [start.returncode for start in starts] == [0] * 5
    assert sum("already up" in one for one in said) == 4
    assert sum("started (pid" in one for one in shop.events("a")) == 1


def test_up_of_a_home_that_is_coming_up_returns_when_it_is_ready(shop, service):
    slow = sh("while ! test -e go; do sleep 0.02; done; echo here; exec sleep 600")
    shop.write(service("a", slow, ready='{ output = "here" }'))
    words = [sys.executable, "-m", "daemonry", "up", "--home", str(shop.path)]
    first = shop.sandbox.popen(*words)
    wait_until(lambda: shop.events("a"), what="it starts")
    second = shop.sandbox.popen(*words)
    third = shop.cli("up", "--timeout", "0.5")
    assert (third.code, third.out) == (5, "")
    assert (first.poll(), second.poll()) == (None, None)
    (shop.path / "go").touch()
    assert "shop: up" in first.communicate(timeout=60)[0]
    assert second.communicate(timeout=60)[0] == f"shop: already up (pid {shop.supervisor()})\n"
    assert (first.returncode, second.returncode) == (0, 0)


def test_up_of_a_home_that_is_not_all_up_says_so(shop, service):
    shop.write(service("a", sh("exit 3"), restart='"never"') + service("b"))
    assert shop.cli("up").code == 1
    again = shop.cli("up")
    assert (again.code, again.out) == (1, "")
    assert again.err.startswith("shop: already up, but not all of it: a (failed); ")
    told = shop.cli("up", "--json")
    assert (told.code, told.json()["ok"]) == (1, False)


@pytest.mark.parametrize("how", ["down", "kill"])
def test_up_of_a_home_that_ends_meanwhile_says_so(shop, service, how):
    shop.write(service("a", ready='{ output = "never" }'))
    up = shop.sandbox.popen(sys.executable, "-m", "daemonry", "up", "--home", str(shop.path))
    wait_until(lambda: shop.cli("ps").code == 0, what="it answers")
    if how == "down":
        shop.down()
    else:
        shop.kill_supervisor()
    _, told = up.communicate(timeout=60)
    assert up.returncode == 1
    assert told == (
        f"shop: start failed (services): the supervisor has ended meanwhile; {shop.path}/home.log tells why\n"
    )
    shop.wait_nothing()
    shop.sandbox.daemonry("up", "--home", str(shop.path), "--timeout", "1")
    shop.down()


def test_what_needs_nothing_of_each_other_starts_at_the_same_time(shop, service):
    """Each waits for the other: one after the other they would never be ready."""
    meet = "touch {0}; until [ -e {1} ]; do sleep 0.01; done; echo met; exec sleep 600"
    ready = '{ output = "met", timeout = "20s" }'
    shop.write(
        service("a", sh(meet.format("a.here", "b.here")), ready=ready)
        + service("b", sh(meet.format("b.here", "a.here")), ready=ready)
    )
    shop.up()
    assert {name: one["state"] for name, one in shop.ps().items()} == {"a": "ready", "b": "ready"}


def test_nobody_starts_before_all_that_it_needs_is_ready(shop, service):
    """And they are stopped in reverse, one waiting for the other."""
    slow = (
        "trap 'sleep 0.2; echo $0 >> order; exit' TERM; sleep 0.2; echo ready; while :; do sleep 0.01; done"
    )
    needs = {"a": "[]", "b": '["a"]', "c": '["a"]', "d": '["b", "c"]'}
    shop.write(
        "".join(
            service(name, ["sh", "-c", slow, name], needs=needed, ready='{ output = "ready" }')
            for name, needed in reversed(needs.items())
        )
    )
    shop.up()
    lines = shop.events()
    at = {
        name: next(i for i, line in enumerate(lines) if line.startswith(f"{name}: ready")) for name in needs
    }
    assert at["a"] < min(at["b"], at["c"]) < max(at["b"], at["c"]) < at["d"]
    shop.down()
    order = (shop.path / "order").read_text().split()
    assert (order[0], order[3], sorted(order)) == ("d", "a", ["a", "b", "c", "d"])


def test_one_that_fails_is_told_with_its_reason_and_last_words_and_the_others_go_on(shop, service):
    shop.write(
        service("good")
        + service("bad", sh("echo no oil; exit 3"), restarts_max=1, restart_delay='"10ms"')
        + service("after", needs='["bad"]')
    )
    done = shop.cli("up")
    assert done.code == 1
    assert "bad    failed: given up after 1 restart within 60 s: exited with 3\n" in done.out
    assert done.err.startswith(
        "    bad: no oil\nshop: up, but not all of it: bad (failed), after (waiting); "
    )
    found = shop.ps()
    assert [found[name]["state"] for name in ("good", "bad", "after")] == ["ready", "failed", "waiting"]
    assert found["after"]["note"] == "waits for bad (failed)"


def test_the_last_words_of_another_time_are_not_told(shop, service):
    """One that waits has not run: what its log ends with is not the reason for anything."""
    broken = sh("test ! -e broken || exit 3; exec sleep 600")
    keys = {"restart": '"never"', "ready": '{ output = "here" }'}
    shop.write(service("bad", sh("echo here; " + broken[2]), **keys) + service("after", needs='["bad"]'))
    shop.up()
    shop.down()
    (shop.path / "broken").touch()
    shop.write(service("bad", broken, **keys) + service("after", needs='["bad"]'))
    done = shop.cli("up")
    assert done.err.startswith("shop: up, but not all of it: bad (failed), after (waiting); ")


def test_what_is_wrong_in_the_file_is_told_before_anything_starts(shop, service):
    shop.write(service("a", needs='["b"]') + service("b", needs='["a"]'))
    done = shop.cli("up")
    assert (done.code, done.out) == (1, "")
    assert done.err == f"{shop.path}/home.toml:4:1: services.a.needs: a cycle: a -> b -> a\n"
    shop.write(service("a") + service("b", ["none-such"]))
    done = shop.cli("up")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "services.b.command: 'none-such' is in none of" in done.err
    assert os.listdir(shop.path) == ["home.toml"]


def test_a_place_that_cannot_be_a_home_is_told(shop, service):
    shop.write(service("a"))
    (shop.path / "home.sock").write_text("mine")
    done = shop.cli("up")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "home.sock" in done.err
    assert (shop.path / "home.sock").read_text() == "mine"
    assert not shop.home.is_up()
    done = shop.sandbox.daemonry("up", "--home", str(shop.path / "none"))
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "name a home with --home DIR" in done.err


@pytest.mark.parametrize(
    ("name", "stage"), [("home.crash", "spawn"), ("home.json", "record"), ("a.log", "logs")]
)
def test_a_file_that_cannot_be_written_is_told_with_its_path(shop, service, name, stage):
    shop.write(service("a"))
    if stage == "spawn":
        (shop.path / name).symlink_to("none/such")
    else:
        (shop.path / name).mkdir()
        (shop.path / name / "mine").touch()
    done = shop.cli("up")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert done.err.startswith(f"shop: start failed ({stage}): {shop.path}/{name}: ")
    assert "Errno" not in done.err
    assert not shop.home.is_up()
    shop.wait_nothing()


def test_a_start_without_descriptors_for_all_logs_leaves_no_socket(shop, service):
    """The logs that are open take the descriptors by which the socket is removed."""
    shop.write("".join(service(f"s{number}") for number in range(60)))
    limited = [*sh('ulimit -n 40; exec "$@"'), "sh", sys.executable, "-m", "daemonry"]
    done = shop.sandbox.run(*limited, "up", "--home", str(shop.path))
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert re.match(rf"shop: start failed \(logs\): {shop.path}/s\d+\.log: Too many open files$", done.err)
    left = {one for one in os.listdir(shop.path) if not re.match(r"s\d+\.log$", one)}
    assert left == {"home.lock", "home.log", "home.toml"}
    assert shop.down().out == "shop: not up\n"


# Its server cannot be loaded, once its services run.
FAILS_LATE = """
import errno, os, sys, time

class Fails:
    def find_spec(self, name, path=None, target=None):
        if name == "daemonry.home.serving.home_server":
            while not os.path.exists({begun!r}):
                time.sleep(0.01)
            raise OSError(errno.EMFILE, "Too many open files", "a module")

if "DAEMONRY_BOOT" in os.environ:
    sys.meta_path.insert(0, Fails())
"""


def test_a_start_that_fails_late_stops_what_it_has_started(shop, service):
    site = shop.sandbox.path / "site"
    site.mkdir()
    begun = shop.path / "begun"
    (site / "sitecustomize.py").write_text(FAILS_LATE.format(begun=str(begun)))
    shop.sandbox.env["PYTHONPATH"] = str(site)
    ends = sh("trap 'rm begun; exit 0' TERM; touch begun; while :; do sleep 0.01; done")
    shop.write(service("a", ends) + service("b", start='"on_demand"'))
    done = shop.cli("up")
    assert (done.code, done.out) == (1, "")
    assert done.err == "shop: start failed (services): a module: Too many open files\n"
    assert shop.events("a")[-1] == "stopped"
    left = {one for one in os.listdir(shop.path) if not one.endswith(".log")}
    assert left == {"home.lock", "home.toml"}
    shop.wait_nothing()


@pytest.mark.parametrize("how", ["down", "signal"])
def test_a_home_goes_down_when_nothing_can_be_written_any_more(shop, service, how):
    """As on a full disk: the record cannot say that it is ending."""
    shop.write(service("a") + service("b", needs='["a"]'))
    shop.up()
    supervisor = shop.supervisor()
    _, hard = resource.prlimit(supervisor, resource.RLIMIT_FSIZE)
    resource.prlimit(supervisor, resource.RLIMIT_FSIZE, (0, hard))
    if how == "down":
        assert shop.down().out.endswith("shop: down\n")
    else:
        os.kill(supervisor, signal.SIGTERM)
    shop.wait_free()
    shop.wait_nothing()


def test_one_that_is_needed_through_a_job_that_is_done_stops_last(shop, service):
    stays = sh("trap 'sleep 0.3; exit 0' TERM; echo here; while :; do sleep 0.05; done")
    shop.write(
        service("store", stays, ready='{ output = "here" }')
        + service("fill", ["true"], needs='["store"]', restart='"never"')
        + service("web", stays, needs='["fill"]', ready='{ output = "here" }')
    )
    shop.up()
    told = [line.split()[0] for line in shop.down().out.splitlines()]
    assert told.index("web") < told.index("store")


def test_json_tells_the_same(shop, service):
    shop.write(service("a"))
    told = shop.up("--json").json()
    assert (told["ok"], told["services"][0]["state"]) == (True, "ready")
    assert shop.cli("up", "--json").json()["result"] == "already up"
    assert shop.cli("restart", "a", "--json").json()["result"] == "restarted"
    assert shop.cli("down", "--json").json() == {"ok": True, "name": "shop", "result": "down"}


# --- an end, and what is done about it ---------------------------------------------------------


def test_a_crash_is_restarted(shop, service):
    shop.write(service("a", restart_delay='"10ms"'))
    shop.up()
    before = shop.ps()["a"]
    os.kill(before["pid"], signal.SIGSEGV)
    after = wait_until(lambda: (one := shop.ps()["a"])["restarts"] and one["state"] == "ready" and one)
    assert (after["restarts"], after["last_exit"]) == (1, "was killed by SIGSEGV")
    assert after["pid"] != before["pid"]


@pytest.mark.parametrize(
    ("restart", "code", "state", "starts"),
    [
        ("on-failure", 0, "done", 1),
        ("never", 0, "done", 1),
        ("never", 1, "failed", 1),
        ("on-failure", 1, "failed", 3),
        ("always", 0, "failed", 3),
    ],
)
def test_the_policy_decides_after_an_end(shop, service, restart, code, state, starts):
    keys = {"restart": f'"{restart}"', "restarts_max": 2, "restart_delay": '"10ms"'}
    shop.write(service("a", sh(f"exit {code}"), **keys))
    assert shop.cli("up").code == (0 if state == "done" else 1)
    assert shop.ps()["a"]["state"] == state
    assert sum("started (pid" in one for one in shop.events("a")) == starts


def test_who_needs_one_that_is_done_starts(shop, service):
    """Work that is done once, before others start."""
    shop.write(
        service("setup", sh("echo x > made"))
        + service("a", sh("cat made && exec sleep 600"), needs='["setup"]')
    )
    shop.up()
    assert shop.written("a") == ["x"]
    assert shop.ps()["setup"]["state"] == "done"


def test_what_cannot_be_started_any_more_is_given_up_with_the_reason(shop, service):
    run = shop.path / "run"
    run.write_text("#!/none\n")
    run.chmod(0o755)
    shop.write(service("a", ["./run"], restarts_max=0))
    done = shop.cli("up")
    reason = "the interpreter in its first line is not there"
    assert f"given up: cannot be started: {run}: {reason}" in done.out
    run.unlink()
    assert f"cannot be started: {run}: No such file or directory" in shop.cli("restart", "a").err


def test_a_directory_that_is_gone_is_named_and_not_the_program(shop, service):
    there = shop.path / "there"
    there.mkdir()
    shop.write(service("a", directory='"there"', restarts_max=0))
    shop.up()
    there.rmdir()
    assert (
        f"cannot be started: its directory {there}: No such file or directory" in shop.cli("restart", "a").err
    )


def test_restart_stops_one_and_starts_it_and_leaves_the_others(shop, service):
    shop.write(service("a") + service("b", needs='["a"]') + service("bad", sh("exit 1"), restart='"never"'))
    shop.cli("up")
    before = shop.ps()
    done = shop.cli("restart", "a")
    after = shop.ps()
    assert (done.code, done.out) == (0, f"a: ready (pid {after['a']['pid']})\n")
    assert after["a"]["pid"] != before["a"]["pid"]
    assert after["b"]["pid"] == before["b"]["pid"]
    done = shop.cli("restart", "bad")
    assert (done.code, done.err) == (1, "bad: given up: exited with 1\n")
    done = shop.cli("restart", "c")
    assert (done.code, done.err) == (2, "there is no service 'c': there are a, bad, b\n")


# --- how they end -------------------------------------------------------------------------------


def test_each_is_asked_by_its_own_signal_and_killed_after_its_time(shop, service):
    deaf = "trap '' TERM; echo ready; while :; do sleep 0.01; done"
    kind = "trap 'echo bye; exit 0' INT; echo ready; while :; do sleep 0.01; done"
    ready = '{ output = "ready" }'
    shop.write(
        service("deaf", sh(deaf), ready=ready, stop_timeout='"100ms"')
        + service("kind", sh(kind), ready=ready, stop_signal='"INT"')
    )
    shop.up()
    out = shop.down().out
    assert "deaf  stopped (was killed by SIGKILL)" in out
    assert "kind  stopped\n" in out
    assert shop.written("kind") == ["ready", "bye"]


def test_what_a_shell_runs_has_its_time_too(shop, service):
    """A shell ends at once when it is asked to; what it runs may have something to write."""
    runs = (
        "(trap 'sleep 0.3; echo > done; exit' TERM; echo up; while :; do sleep 0.01; done) & exec sleep 600"
    )
    shop.write(service("a", sh(runs), ready='{ output = "up" }'))
    shop.up()
    shop.down()
    assert (shop.path / "done").exists()


def test_nothing_of_a_service_outlives_it(shop, service):
    """Neither a grandchild, nor one in a session of its own, nor one that made itself a daemon."""
    family = "sleep 600 & setsid sleep 600 & setsid -f sh -c 'setsid -f sleep 600; sleep 600'; sleep 600"
    shop.write(service("a", sh(family)) + service("b", sh(family + " & exit 0")))
    shop.up()
    shop.down()
    shop.wait_nothing()


def test_what_a_service_leaves_when_it_crashes_is_gone_before_it_is_started_again(shop, service):
    leaver = "pgrep -f 'sleep 60[1]' -P 1 -c; setsid -f sleep 601; echo left; sleep 0.3; kill -KILL $$"
    shop.write(service("a", sh(leaver), restarts_max=2, restart_delay='"10ms"'))
    shop.cli("up")
    wait_until(lambda: shop.ps()["a"]["state"] == "failed")
    shop.wait_event("a", "given up")
    left = subprocess.run(["pgrep", "-f", "sleep 601"], capture_output=True, check=False)
    assert left.stdout == b""


def test_a_second_signal_ends_at_once(shop, service):
    deaf = "trap '' TERM; echo ready; while :; do sleep 0.01; done"
    shop.write(service("a", sh(deaf), ready='{ output = "ready" }', stop_timeout='"1h"'))
    shop.up()
    shop.kill_supervisor(signal.SIGTERM)
    shop.wait_event("home", "SIGTERM: stopping")
    assert shop.home.is_up()
    assert shop.ps()["a"]["state"] == "stopping"
    shop.kill_supervisor(signal.SIGTERM)
    shop.wait_free()
    shop.wait_nothing()


def test_up_waits_for_a_home_that_is_going_down(shop, service):
    slow = "trap 'sleep 1; exit' TERM; echo ready; while :; do sleep 0.01; done"
    shop.write(service("a", sh(slow), ready='{ output = "ready" }'))
    shop.up()
    first = shop.supervisor()
    shop.kill_supervisor(signal.SIGTERM)
    wait_until(lambda: shop.home.record().draining)
    assert "ready" in shop.up().out
    assert shop.supervisor() != first


def test_a_signal_while_it_starts_is_not_lost(shop, service):
    """A home that is told to end before its services are ready ends, and starts no more of them."""
    shop.write(service("a", ready='{ output = "never" }') + service("b", needs='["a"]'))
    process = shop.foreground()
    shop.wait_event("a", "started")
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert not os.path.exists(shop.home.path("b", "log")) or not shop.written("b")


# --- hooks, environment -------------------------------------------------------------------------


def test_hooks_run_on_ready_fail_and_stop(shop, service):
    hook = '["sh", "-c", "echo $DAEMONRY_SERVICE $DAEMONRY_EVENT $DAEMONRY_REASON >> told"]'
    hooks = {"on_ready": hook, "on_fail": hook, "on_stop": hook}
    shop.write(service("good", **hooks) + service("bad", sh("exit 4"), restart='"never"', **hooks))
    shop.cli("up")
    shop.down()
    told = (shop.path / "told").read_text().splitlines()
    assert sorted(told) == [
        "bad fail given up: exited with 4",
        "good ready",
        "good stop was killed by SIGTERM",
    ]


def test_a_hook_that_fails_is_told_in_the_log_and_changes_nothing(shop, service):
    shop.write(service("a", on_ready='["sh", "-c", "echo in vain; exit 9"]'))
    shop.up()
    shop.wait_event("a", "the hook on ready exited with 9")
    assert "in vain" in shop.events("a")
    assert shop.ps()["a"]["state"] == "ready"


def test_nothing_of_the_supervisors_secrets_reaches_a_service(shop, service):
    shop.sandbox.env["SECRET"] = "hidden"
    shop.sandbox.env["ALLOWED"] = "yes"
    keys = {"inherit": '["ALLOWED"]', "environment": '{ OWN = "1" }'}
    shop.write(service("a", sh("env; exec sleep 600"), **keys))
    shop.up()
    found = dict(line.partition("=")[::2] for line in shop.written("a"))
    assert found["DAEMONRY_SOCKET"] == str(shop.path / "a.sock")
    assert (found["ALLOWED"], found["OWN"]) == ("yes", "1")
    known = {"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "PWD", "DAEMONRY_SANDBOX", "DAEMONRY_OWNED"}
    known |= {"DAEMONRY_SOCKET", "DAEMONRY_HOME", "DAEMONRY_SERVICE", "ALLOWED", "OWN"}
    known |= {"XDG_RUNTIME_DIR"}  # where its user's files are is no secret
    assert set(found) <= known


def test_a_service_has_no_descriptors_of_the_supervisor(shop, service):
    """Another service's pipe, or the lock, would be held by it for ever."""
    shop.write(service("a", sh("ls /proc/self/fd; exec sleep 600")) + service("b"))
    shop.up()
    assert wait_until(lambda: len(shop.written("a")) >= 4 and shop.written("a")) == ["0", "1", "2", "3"]


# --- logs ---------------------------------------------------------------------------------------


def test_logs_hold_what_was_written_to_output_and_error_in_its_order(shop, service):
    shop.write(service("a", sh("echo 1; echo 2 >&2; printf 3; exec sleep 600")) + service("b"))
    shop.up()
    shop.down()
    assert shop.written("a") == ["1", "2", "3"]
    both = shop.cli("logs", "--tail", "0").out
    assert "b | " in both
    alone = shop.cli("logs", "a", "--tail", "2").out.splitlines()
    assert [line.split(maxsplit=1)[1] for line in alone] == ["3", "* stopped"]
    done = shop.cli("logs", "c")
    assert (done.code, done.err) == (2, "SERVICE: there is no service 'c': there are a, b\n")


def test_a_log_is_rotated_by_size_and_nothing_is_lost(shop, service):
    count = 400
    loop = f"i=0; while [ $i -lt {count} ]; do echo line $i; i=$((i+1)); done; exec sleep 600"
    shop.write(service("a", sh(loop)), head="log_bytes = 8192\n")
    shop.up()
    wait_until(lambda: f"line {count - 1}" in shop.written("a"))
    assert os.path.exists(shop.home.path("a", "log.1"))
    assert max(os.path.getsize(shop.path / name) for name in os.listdir(shop.path) if "a.log" in name) <= 8192
    written = shop.written("a")
    assert written == [f"line {number}" for number in range(count - len(written), count)]


def test_following_shows_what_is_written(shop, service):
    shop.write(service("a", sh("while :; do cat told 2>/dev/null && rm told; sleep 0.01; done")))
    shop.up()
    import sys

    words = ["-m", "daemonry", "logs", "a", "-f", "--home", str(shop.path)]
    follower = shop.sandbox.popen(sys.executable, *words)
    assert "started" in follower.stdout.readline()
    (shop.path / "told.new").write_text("now\n")
    (shop.path / "told.new").rename(shop.path / "told")
    while "now" not in (line := follower.stdout.readline()):
        assert line
    follower.terminate()
    follower.communicate()


def test_a_line_without_end_is_cut_and_control_characters_are_shown_as_such(shop, service):
    endless = "head -c 200000 /dev/zero | tr '\\0' x; printf '\\033[31mred\\n'; echo end; exec sleep 600"
    shop.write(service("a", sh(endless)))
    shop.up()
    wait_until(lambda: "end" in shop.written("a"))
    assert "\x1b" not in shop.cli("logs", "--tail", "0").out


# --- idle ---------------------------------------------------------------------------------------


# epoll_wait, epoll_pwait, epoll_pwait2 (syscalls(2)) with the fourth argument that means no timeout.
FOR_EVER = {
    "x86_64": {232: 0xFFFF_FFFF, 281: 0xFFFF_FFFF, 441: 0},
    "aarch64": {22: 0xFFFF_FFFF, 441: 0},
}


def calls_of(pid):
    """The system calls that a process is in: number and fourth argument of each (proc_pid_syscall(5))."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/syscall") as file:
            words = file.read().split()
        yield (int(words[0]), int(words[4], 16) & 0xFFFF_FFFF) if len(words) > 4 else (-1, 0)


def test_an_idle_supervisor_sleeps(shop, service):
    """It waits without a timeout, and sees all the same that its socket file was removed."""
    waits = FOR_EVER.get(platform.machine())
    if waits is None:
        pytest.skip("the numbers of this machine's system calls are not known here")
    shop.write("".join(service(name) for name in "abcde"))
    shop.up()
    try:
        list(calls_of(shop.supervisor()))
    except OSError:
        pytest.skip("the system does not show in which call a process waits")
    wait_until(
        lambda: set(calls_of(shop.supervisor())) <= set(waits.items()),
        what="each thread waits for descriptors alone",
    )
    os.unlink(shop.home.path("home", "sock"))
    wait_until(lambda: shop.cli("ps").code == 0, what="it listens there again")
