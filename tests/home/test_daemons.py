"""A daemon of daemonry that is a service of a home: one daemon, whoever asks and wherever from."""

import json
import os
import signal
import sys

import pytest

from daemonry.process import homes
from daemonry.testing import wait_until
from daemonry.testing.leftovers import processes_marked

PROGRAM = """\
import asyncio, os, daemonry

class KV(daemonry.Interface, name="org.example.kv"):
    def __init__(self):
        self.count = 0

    def incr(self) -> int:
        self.count += 1
        return self.count

    def pid(self) -> int:
        return os.getpid()

    async def slow(self) -> int:
        open(os.environ["DAEMONRY_SANDBOX"] + "/called", "w").close()
        while not os.path.exists(os.environ["DAEMONRY_SANDBOX"] + "/go"):
            await asyncio.sleep(0.01)
        return os.getpid()

daemon = daemonry.Daemon(
    "kvd",
    version=VERSION,
    idle_timeout_s=float(os.environ.get("KVD_IDLE", "0")) or None,
    environment=("DAEMONRY_SANDBOX",),
)
daemon.serve(KV())
if __name__ == "__main__":
    daemon.main()
"""

# Prints the pid of the daemon that answers.
PID = """\
import sys; sys.path.insert(0, {where!r})
import daemonry, kvd
with daemonry.ensure(kvd.daemon, {options}) as client:
    print(client.proxy(kvd.KV).pid())
"""
IDLE = {"environment": '{ KVD_IDLE = "0.3" }'}


class Kvd:
    """The program `kvd.py` in the sandbox, as the service `cache` of the home `shop`."""

    def __init__(self, shop, service):
        self.shop = shop
        self.sandbox = shop.sandbox
        self._service = service
        self.program("1.0")

    def program(self, version):
        return self.sandbox.write("kvd.py", PROGRAM.replace("VERSION", repr(version)))

    def home(self, **keys):
        command = [sys.executable, str(self.sandbox.path / "kvd.py"), "run"]
        keys = {"ready": "{ message = true }", **keys}
        self.shop.write(self._service("cache", command, **keys))
        return self.shop

    def words(self, options=""):
        return [sys.executable, "-c", PID.format(where=str(self.sandbox.path), options=options)]

    def ensure(self, options=""):
        """Have a process of its own ask the daemon for its pid, and return that."""
        done = self.sandbox.run(*self.words(options))
        assert done.code == 0, done
        return int(done.out)

    def processes(self):
        """The pids of the processes that are the daemon."""
        pids = {int(line.split()[0]) for line in processes_marked(str(self.sandbox.path))}
        return {pid for pid in pids if self.is_daemon(pid)}

    def is_daemon(self, pid):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            return False
        return any(word.endswith((b"kvd.py", b"kvd:daemon", b"kvd.py:daemon")) for word in words) and (
            b"run" in words
        )

    def wait_state(self, state):
        wait_until(lambda: self.shop.ps()["cache"]["state"] == state, what=f"cache is {state}")

    def xdg(self, name):
        """Set the XDG variables of what runs from now on; "" for the sandbox's own."""
        self.sandbox.env.pop("XDG_STATE_HOME", None)
        self.sandbox.env["XDG_RUNTIME_DIR"] = str(self.sandbox.path / "run")
        if name:
            for kind in ("state", "run"):
                (self.sandbox.path / name / kind).mkdir(parents=True, mode=0o700, exist_ok=True)
            self.sandbox.env["XDG_STATE_HOME"] = str(self.sandbox.path / name / "state")
            self.sandbox.env["XDG_RUNTIME_DIR"] = str(self.sandbox.path / name / "run")


@pytest.fixture
def kvd(shop, service):
    kvd = Kvd(shop, service)
    env = dict(shop.sandbox.env)
    yield kvd
    shop.sandbox.env = env
    shop.cli("down", "--timeout", "20")
    for name in ("", "a", "b"):  # what a test has started outside of the home, wherever
        kvd.xdg(name)
        shop.sandbox.daemonry("stop", "kvd")


# --- one place ----------------------------------------------------------------------------------


@pytest.mark.parametrize("of_up", ["", "a"])
@pytest.mark.parametrize("of_caller", ["", "a", "b"])
def test_whatever_xdg_variables_are_set_there_is_one_daemon(kvd, of_up, of_caller):
    kvd.xdg(of_up)
    kvd.home().up()
    pid = kvd.shop.pid("cache")
    kvd.xdg(of_caller)
    assert kvd.ensure() == pid
    status = kvd.sandbox.daemonry("status", "kvd", "--json").json()
    assert (status["pid"], status["home"], status["service"]) == (pid, str(kvd.shop.path), "cache")
    assert (
        kvd.sandbox.run(sys.executable, kvd.sandbox.path / "kvd.py", "status", "--json").json()["pid"] == pid
    )
    assert "kvd" in kvd.sandbox.daemonry("ps", "--names").out.split()
    assert kvd.processes() == {pid}


@pytest.mark.slow
def test_variables_that_change_from_one_up_to_the_next_do_not_matter(kvd):
    for of_up, of_caller in (("a", "b"), ("b", ""), ("", "a")):
        kvd.xdg(of_up)
        kvd.home().up()
        pid = kvd.shop.pid("cache")
        kvd.xdg(of_caller)
        assert kvd.ensure() == pid
        kvd.shop.down()
        assert kvd.processes() == set()


def test_a_place_that_a_variable_of_its_own_gives_is_another_daemon(kvd):
    """Who says KVD_STATE means that directory, and nothing that a home has elsewhere."""
    kvd.home().up()
    pid = kvd.shop.pid("cache")
    kvd.sandbox.env["KVD_STATE"] = str(kvd.sandbox.path / "mine")
    kvd.sandbox.env["KVD_RUNTIME"] = str(kvd.sandbox.path / "mine-run")
    other = kvd.ensure()
    assert other != pid
    assert kvd.sandbox.daemonry("stop", "kvd").out == "kvd: stopped\n"
    assert kvd.shop.pid("cache") == pid


@pytest.mark.parametrize("ready", ["message", "socket"])
def test_a_home_takes_over_the_daemon_that_ran_before_it(kvd, ready):
    """By the hand-over: a call that the old one has accepted is answered by it."""
    before = kvd.ensure()
    words = ["call", "kvd", "org.example.kv.Slow"]
    call = kvd.sandbox.popen(sys.executable, "-m", "daemonry", *words)
    wait_until((kvd.sandbox.path / "called").exists, what="the call runs")
    kvd.home(ready=f"{{ {ready} = true }}").up()
    pid = kvd.shop.pid("cache")
    assert kvd.ensure() == pid != before
    (kvd.sandbox.path / "go").touch()
    out, err = call.communicate(timeout=60)
    assert (json.loads(out), err) == ({"result": before}, "")
    wait_until(lambda: kvd.processes() == {pid}, what="the old one has ended")


def test_a_home_refuses_to_run_beside_one_with_other_variables(kvd):
    kvd.xdg("a")
    outside = kvd.ensure()
    kvd.xdg("")
    kvd.home(restarts_max="0")
    done = kvd.shop.cli("up")
    assert done.code == 1
    assert "runs outside of this home, with other XDG variables" in done.err + str(kvd.shop.events("cache"))
    assert kvd.processes() == {outside}
    assert kvd.shop.ps()["cache"]["state"] == "failed"


def test_nobody_becomes_a_homes_daemon_beside_it(kvd):
    kvd.home(**IDLE).up()
    kvd.wait_state("idle")
    kvd.xdg("b")
    done = kvd.sandbox.run(sys.executable, kvd.sandbox.path / "kvd.py", "run")
    assert done.code == 1
    assert f"the service cache of the home {kvd.shop.path}; start it there" in done.err
    assert kvd.processes() == set()


def test_what_a_service_starts_is_not_the_service(kvd, service):
    """A daemon that some service has ensured is no part of the home, and outlives it."""
    ask = kvd.sandbox.write("ask.py", kvd.words()[-1])
    script = f"{sys.executable} {ask} && exec sleep 600"
    kvd.shop.write(service("shell", ["sh", "-c", script], ready='{ output = "." }'))
    kvd.shop.up()
    assert homes.claims(str(kvd.shop.path)) == {}
    pid = kvd.ensure()
    kvd.shop.down()
    assert kvd.ensure() == pid


# --- its socket ---------------------------------------------------------------------------------


def test_its_socket_in_the_home_leads_to_it(kvd):
    kvd.home(ready='{ socket = true, timeout = "20s" }').up()
    pid = kvd.shop.pid("cache")
    path = str(kvd.shop.path / "cache.sock")
    assert kvd.sandbox.daemonry("call", path, "org.example.kv.Pid").json() == {"result": pid}
    assert kvd.ensure() == pid
    assert kvd.sandbox.daemonry("status", "kvd", "--json").json()["pid"] == pid
    kvd.shop.down()
    assert not os.path.lexists(path)


def test_its_log_is_in_the_home(kvd):
    """With every kind of readiness: the message is no start in the background."""
    kvd.home().up()
    assert any("ready at unix:" in line for line in kvd.shop.written("cache"))


# --- idle ---------------------------------------------------------------------------------------


def test_an_idle_end_is_a_state_from_which_whoever_asks_brings_it_back(kvd):
    kvd.home(**IDLE, restart='"always"').up()
    kvd.wait_state("idle")
    done = kvd.sandbox.daemonry("status", "kvd")
    assert (done.code, done.out.split(" (")[0]) == (3, "kvd: idle")
    assert kvd.sandbox.daemonry("status", "kvd", "--json").json() == {
        "state": "idle",
        "name": "kvd",
        "home": str(kvd.shop.path),
        "service": "cache",
    }
    assert kvd.shop.cli("up").code == 0
    assert kvd.ensure() > 0
    assert sum("started (pid" in one for one in kvd.shop.events("cache")) == 2
    assert sum("ready at" in one for one in kvd.shop.written("cache")) == 2
    kvd.wait_state("idle")
    assert kvd.sandbox.daemonry("start", "kvd").code == 0
    kvd.shop.down()
    assert kvd.processes() == set()


@pytest.mark.slow
def test_of_twenty_who_want_an_idle_one_at_once_all_get_the_same(kvd):
    kvd.home(environment='{ KVD_IDLE = "1" }').up()
    for of_caller in ("", "b"):
        kvd.wait_state("idle")
        kvd.xdg(of_caller)
        asks = [kvd.sandbox.popen(*kvd.words()) for _ in range(10)]
        kvd.xdg("a")
        asks += [kvd.sandbox.popen(*kvd.words()) for _ in range(10)]
        said = [ask.communicate(timeout=120) for ask in asks]
        assert [ask.returncode for ask in asks] == [0] * 20, said
        started = [one for one in kvd.shop.events("cache") if one.startswith("started (pid")]
        assert {f"started (pid {out.strip()})" for out, _ in said} <= set(started[1:])
    assert len(kvd.processes()) <= 1


def test_an_idle_one_is_started_by_who_waits_for_a_supervisor_and_not_by_who_must_not_start(kvd):
    kvd.home(**IDLE).up()
    kvd.wait_state("idle")
    done = kvd.sandbox.run(*kvd.words('mode="require"'))
    assert "NotRunning" in done.err
    assert "starts it when it is needed" in done.err
    assert kvd.shop.ps()["cache"]["state"] == "idle"
    assert kvd.ensure('mode="supervised"') > 0


def test_while_the_home_goes_down_a_client_waits_and_starts_its_own(kvd, service):
    """`down` ends what the home runs; it does not forbid the program to whoever wants it then."""
    kvd.home(**IDLE)
    trap = "trap 'touch ended; while ! test -e leave; do sleep 0.05; done; exit 0' TERM"
    stubborn = ["sh", "-c", f"{trap}; echo here; while :; do sleep 0.05; done"]
    text = (kvd.shop.path / "home.toml").read_text()
    (kvd.shop.path / "home.toml").write_text(
        text + service("slow", stubborn, ready='{ output = "here" }', stop_timeout='"60s"')
    )
    kvd.shop.up()
    kvd.wait_state("idle")
    down = kvd.sandbox.popen(sys.executable, "-m", "daemonry", "down", "--home", kvd.shop.path)
    wait_until((kvd.shop.path / "ended").exists, what="the home goes down")
    ask = kvd.sandbox.popen(*kvd.words())
    (kvd.shop.path / "leave").touch()
    out, err = ask.communicate(timeout=60)
    assert (ask.returncode, err) == (0, "")
    assert down.wait(60) == 0
    down.communicate()
    assert kvd.processes() == {int(out)}
    assert kvd.shop.events("cache").count("idle (nobody needed it; it starts again when somebody does)") == 1


def test_after_a_supervisor_was_killed_while_it_was_idle_there_is_one_again(kvd):
    kvd.home(**IDLE).up()
    kvd.wait_state("idle")
    kvd.shop.kill_supervisor()
    kvd.shop.wait_free()
    assert "shop" not in kvd.sandbox.daemonry("ps").out
    outside = kvd.ensure()
    kvd.shop.up()
    wait_until(lambda: outside not in kvd.processes(), what="the one outside has made way")
    assert kvd.ensure() not in {0, outside}
    assert sum("started (pid" in one for one in kvd.shop.events("cache")) >= 2


def test_one_that_outlived_its_supervisor_is_found_and_not_started_again(kvd):
    kvd.home(orphan='"adopt"').up()
    pid = kvd.shop.pid("cache")
    kvd.shop.kill_supervisor()
    kvd.shop.wait_free()
    kvd.xdg("b")
    assert kvd.ensure() == pid
    assert "supervisor gone" in kvd.sandbox.daemonry("ps").out
    kvd.xdg("")
    kvd.shop.up()
    assert kvd.shop.pid("cache") == pid


# --- by hand ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["the command", "its socket"])
def test_one_that_was_stopped_stays_stopped_until_somebody_wants_it(kvd, how):
    """The supervisor does not fight, whatever the restart policy."""
    kvd.home(restart='"always"', restart_delay='"50ms"').up()
    if how == "the command":
        assert kvd.sandbox.daemonry("stop", "kvd").out == "kvd: stopped\n"
    else:
        kvd.sandbox.daemonry("call", "kvd", "org.daemonry.Control.Stop")
    kvd.wait_state("stopped")
    assert kvd.sandbox.daemonry("status", "kvd").out.startswith("kvd: stopped (")
    assert sum("started (pid" in one for one in kvd.shop.events("cache")) == 1
    assert kvd.ensure() == kvd.shop.pid("cache")


def test_a_signal_by_hand_is_left_to_the_restart_policy(kvd):
    kvd.home(restart='"always"', restart_delay='"50ms"').up()
    pid = kvd.shop.pid("cache")
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: (one := kvd.shop.ps()["cache"])["state"] == "ready" and one["pid"] != pid)


@pytest.mark.parametrize("verb", ["restart", "upgrade"])
@pytest.mark.slow
def test_it_is_restarted_and_upgraded_by_its_home(kvd, verb):
    kvd.home().up()
    before = kvd.shop.pid("cache")
    kvd.program("1.1")
    done = kvd.sandbox.daemonry(verb, "kvd", "--json")
    assert done.code == 0, done
    pid = kvd.shop.pid("cache")
    assert done.json()["pid"] == pid != before
    assert kvd.sandbox.daemonry("status", "kvd", "--json").json()["version"] == "1.1"
    assert kvd.processes() == {pid}


def test_a_newer_client_has_the_home_replace_it(kvd):
    kvd.home().up()
    before = kvd.shop.pid("cache")
    kvd.program("1.1")
    asks = [kvd.sandbox.popen(*kvd.words()) for _ in range(5)]
    said = [ask.communicate(timeout=120) for ask in asks]
    pid = kvd.shop.pid("cache")
    assert {int(out) for out, _ in said} == {pid}, said
    assert pid != before
    assert sum("started (pid" in one for one in kvd.shop.events("cache")) == 2


@pytest.mark.slow
def test_where_the_home_has_no_newer_one_the_client_is_refused_and_it_is_not_restarted_again(kvd):
    kvd.home().up()
    newer = kvd.words().copy()
    newer[-1] = newer[-1].replace("import daemonry, kvd", "import daemonry, kvd; kvd.daemon.version = '2.0'")
    for _ in range(3):
        done = kvd.sandbox.run(*newer)
        assert "VersionMismatch" in done.err
    assert "the home's command still runs 1.0" in done.err
    assert sum("started (pid" in one for one in kvd.shop.events("cache")) == 2


@pytest.mark.parametrize("verb", ["down", "restart", "reload"])
def test_a_call_that_it_has_accepted_is_answered_before_it_ends(kvd, verb):
    kvd.home().up()
    pid = kvd.shop.pid("cache")
    words = ["call", "kvd", "org.example.kv.Slow"]
    call = kvd.sandbox.popen(sys.executable, "-m", "daemonry", *words)
    wait_until((kvd.sandbox.path / "called").exists, what="the call runs")
    kvd.home(environment='{ OTHER = "1" }')
    more = ["cache"] if verb == "restart" else []
    ends = kvd.sandbox.popen(sys.executable, "-m", "daemonry", verb, "--home", kvd.shop.path, *more)
    wait_until(
        lambda: any("draining" in one for one in kvd.shop.written("cache")), what="it drains", timeout_s=60.0
    )
    (kvd.sandbox.path / "go").touch()
    out, err = call.communicate(timeout=60)
    assert (json.loads(out), err) == ({"result": pid}, "")
    assert ends.wait(60) == 0
    ends.communicate()


# --- the list -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_ps_shows_homes_and_their_services_as_one_tree(kvd, shop, service):
    kvd.home().up()
    others = []
    for name in ("one", "two"):
        path = kvd.sandbox.path / name
        path.mkdir()
        (path / "home.toml").write_text('inherit = ["DAEMONRY_SANDBOX"]\n' + service("a") + service("b"))
        assert kvd.sandbox.daemonry("up", "--home", path).code == 0
        others.append(path)
    alone = kvd.sandbox.write("alone.py", "import daemonry\ndaemon = daemonry.Daemon('alone')\n")
    kvd.sandbox.start(alone)
    rows = kvd.sandbox.daemonry("ps", "--json").json()
    assert [(row["kind"], row["name"], row["state"]) for row in rows] == [
        ("daemon", "alone", "running"),
        ("home", "one", "up"),
        ("home", "shop", "up"),
        ("home", "two", "up"),
    ]
    services = [[(one["name"], one["daemon"], one["state"]) for one in row["services"]] for row in rows[1:]]
    assert services[0] == services[2] == [("a", None, "ready"), ("b", None, "ready")]
    assert services[1] == [("cache", "kvd", "ready")]
    lines = kvd.sandbox.daemonry("ps").out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "NAME",
        "alone",
        "one (home)",
        "|- a",
        "`- b",
        "shop (home)",
        "`- cache (kvd)",
        "two (home)",
        "|- a",
        "`- b",
    ]
    for path in others:
        assert kvd.sandbox.daemonry("down", "--home", path).code == 0
    rows = kvd.sandbox.daemonry("ps", "--json").json()
    assert [row["name"] for row in rows] == ["alone", "shop"]
    shop.kill_supervisor()
    shop.wait_free()
    wait_until(lambda: kvd.processes() == set(), what="its daemon has ended with it")
    rows = kvd.sandbox.daemonry("ps", "--json").json()
    assert [row["name"] for row in rows] == ["alone"]
    os.unlink(shop.path / "home.sock")  # which the next supervisor would have done


# --- the supervisor -----------------------------------------------------------------------------


def test_a_supervisor_is_a_service_of_varlink_like_every_daemon(kvd):
    kvd.home().up()
    path = str(kvd.shop.path / "home.sock")
    info = kvd.sandbox.daemonry("call", path, "org.varlink.service.GetInfo").json()
    assert (info["vendor"], info["product"]) == ("daemonry", "home shop")
    assert {"org.varlink.service", "org.daemonry.Home", "org.daemonry.Control"} <= set(info["interfaces"])
    described = kvd.sandbox.daemonry("describe", path, "org.daemonry.Home")
    assert (described.code, "method Start(service: string)" in described.out) == (0, True)
    offered = kvd.sandbox.daemonry("_complete", "call", path, "org.daemonry.Home.Re").out.split()
    names = ("Reload", "Replace", "Restart", "RestartSeveral")
    assert offered == [f"org.daemonry.Home.{name}" for name in names]
    done = kvd.sandbox.daemonry("call", path, "org.daemonry.Control.Pause")
    assert (done.code, "a home is not paused" in done.err) == (1, True)


def test_what_a_supervisor_is_asked_can_be_watched(kvd):
    kvd.home().up()
    path = str(kvd.shop.path / "home.sock")
    tap = kvd.sandbox.popen(sys.executable, "-m", "daemonry", "tap", path, "--json")
    seen = []
    while not any("Services" in line for line in seen):
        kvd.shop.ps()
        seen.append(tap.stdout.readline())
    tap.terminate()
    tap.communicate()
