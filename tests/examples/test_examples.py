"""Each example is run as its text says: through its own command line, and as a program of `daemonry`."""

import sys
from pathlib import Path

import pytest

from daemonry.testing import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"
DAEMONS = {
    name: EXAMPLES / f"{name}.py" for name in ("adder", "counter", "diskwatch", "jobd", "kvd", "ticker")
}
FMTD = EXAMPLES / "fmtd.py"


def test_every_example_has_its_test():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*DAEMONS, "certification", "fmtd"}


@pytest.mark.parametrize("name", DAEMONS)
def test_it_lives_a_life_by_its_own_commands(sandbox, name):
    def own(*words):
        return sandbox.run(sys.executable, DAEMONS[name], *words)

    assert own("status") == (3, f"{name}: not running\n", "")
    started = own("start")
    assert (started.code, started.err) == (0, "")
    assert started.out.startswith(f"{name}: ready at ")
    assert own("status").out.startswith(f"{name}: running\n")
    assert own("pause").out == f"{name}: paused\n"
    assert own("resume").out == f"{name}: running\n"
    assert own("reload").out == f"{name}: reloaded\n"
    assert own("restart").code == 0
    assert own("logs", "--tail", "1").out.startswith("20")
    assert own("stop") == (0, f"{name}: stopped\n", "")
    assert not [line for line in own("logs", "--tail", "0").out.splitlines() if " ERROR " in line]


@pytest.mark.parametrize("name", DAEMONS)
def test_it_is_short_enough_to_be_read(name):
    """Ten lines or so is what writing a daemon takes; an example may do a little more."""
    text = DAEMONS[name].read_text()
    assert text.startswith('"""')
    assert len(text.splitlines()) <= 70


def test_adder_is_started_by_its_first_sum_and_found_by_the_next(sandbox):
    def own(*words):
        return sandbox.run(sys.executable, DAEMONS["adder"], *words)

    first = own("sum", "1", "2", "3")
    assert (first.code, first.out) == (0, "6\n")
    assert first.err.startswith("spawn\n"), "it says what takes its time"
    assert own("sum", "-1", "1") == (0, "0\n", "")
    assert "  added: 5\n" in own("status").out
    direct = own("sum", "--direct", "4")
    assert (direct.code, direct.out) == (0, "4\n")
    assert "  added: 5\n" in own("status").out, "the direct one is another, in the command's own process"
    bad = own("sum", "1", "x")
    assert (bad.code, bad.out) == (2, "")
    assert bad.err.count("\n") == 1
    assert "'x'" in bad.err
    assert own("stop").code == 0


def test_ticker_counts_while_it_runs_and_not_while_it_is_paused(sandbox):
    ticker = sandbox.start(DAEMONS["ticker"])
    wait_until(lambda: ticker.status()["ticks"] >= 1)
    ticker.command("PAUSE")
    assert ticker.status()["state"] == "paused"
    stood_at = ticker.status()["ticks"]
    wait_until(lambda: ticker.status()["uptime_secs"] >= 1)
    assert ticker.status()["ticks"] <= stood_at + 1
    ticker.command("RESUME")
    wait_until(lambda: ticker.status()["ticks"] > stood_at)


@pytest.fixture
def settings(sandbox):
    path = sandbox.path / "home/.config/diskwatch/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("warn_percent = 100.0\nevery_secs = 0.05\n")
    return path


def test_diskwatch_warns_once_when_the_limit_is_passed(sandbox, settings):
    watch = sandbox.start(DAEMONS["diskwatch"])
    wait_until(lambda: watch.status()["used_percent"] is not None)
    assert watch.status()["full"] is False
    settings.write_text("warn_percent = 0.0001\nevery_secs = 0.05\n")
    assert sandbox.daemonry("reload", "diskwatch").code == 0
    wait_until(lambda: watch.status()["full"])
    log = sandbox.daemonry("logs", "diskwatch", "--tail", "0").out
    assert log.count(" WARNING / is ") == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("warn_percent = 200", "warn_percent must be above 0 and at most 100"),
        ("warn_percnt = 20", "warn_percnt: is not known: did you mean 'warn_percent'?"),
        ("path = '/nowhere'", "path: there is no directory /nowhere"),
    ],
)
def test_diskwatch_keeps_its_settings_when_new_ones_are_no_good(sandbox, settings, text, reason):
    watch = sandbox.start(DAEMONS["diskwatch"])
    settings.write_text(text)
    refused = sandbox.daemonry("reload", "diskwatch")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.endswith(f"{reason}\n")
    assert watch.status()["state"] == "running"


def test_diskwatch_does_not_start_on_a_directory_that_is_not_there(sandbox, settings):
    settings.write_text("path = '/nowhere'\n")
    failed = sandbox.daemonry("start", DAEMONS["diskwatch"])
    assert failed == (1, "", "diskwatch: start failed (setup): path: there is no directory /nowhere\n")


def test_counter_counts_for_whoever_calls(sandbox):
    def call(*words):
        return sandbox.daemonry("call", "counter", *words)

    sandbox.start(DAEMONS["counter"])
    assert call("org.example.counter.Add").out == '{"result":1}\n'
    assert call("org.example.counter.Add", "steps:=3").out == '{"result":4}\n'
    too_far = call("org.example.counter.Add", "steps:=97")
    assert (too_far.code, too_far.out) == (1, "")
    assert "org.example.counter.TooFar" in too_far.err
    words = ("-m", "daemonry", "call", "counter", "org.example.counter.Watch", "--more")
    with sandbox.popen(sys.executable, *words) as watching:
        assert watching.stdout.readline() == '{"result":4}\n'
        call("org.example.counter.Add")
        assert watching.stdout.readline() == '{"result":5}\n'
        assert sandbox.daemonry("stop", "counter").out == "counter: stopped\n"
        told = watching.communicate(timeout=10)[1]
    assert (watching.returncode, told) == (
        1,
        "org.daemonry.Control.Draining: the daemon is ending, and this was broken off\n",
    )


def test_certification_passes_between_its_two_sides(sandbox):
    """As its docstring says: one is the server, the other the client."""
    words = (sys.executable, EXAMPLES / "certification.py", f"--varlink=unix:{sandbox.path}/c.sock")
    with sandbox.popen(*words) as server:
        wait_until((sandbox.path / "c.sock").is_socket)
        assert sandbox.run(*words, "--client") == (0, "Certification passed\n", "")
        server.terminate()
        server.communicate()
    assert server.returncode == 0


def test_jobd_runs_commands_as_jobs_by_its_own_command_line(sandbox):
    def jobs(*words):
        return sandbox.run(sys.executable, DAEMONS["jobd"], "jobs", *words)

    assert jobs("list").code == 3
    sandbox.start(DAEMONS["jobd"])
    assert jobs("submit", "shell", "line=echo good").out == "1\n"
    assert jobs("submit", "shell", "line=echo bad; exit 3").out == "2\n"
    assert jobs("wait", "1").code == 0
    failed = jobs("wait", "2")
    assert failed.code == 1
    assert "error: RuntimeError: ended with 3" in failed.out
    assert jobs("log", "1").out == "good\n"
    assert jobs("list", "--state", "succeeded").out == "1  succeeded  shell\n"
    assert jobs("show", "x").code == 2
    assert jobs("show", "99").code == 1
    assert "org.daemonry.Jobs.NoSuchJob" in jobs("show", "99").err


COUNTING = """
import sys
sys.path.insert(0, {examples!r})
from kvd import cache

with cache() as kv:
    for _ in range(20):
        kv.add("hits")
    kv.put(sys.argv[1], b"value", ttl_s=60)
    print(kv.get("none"), kv.get(sys.argv[1]))
"""


@pytest.mark.slow
def test_kvd_is_started_once_by_fifty_processes(sandbox):
    script = COUNTING.format(examples=str(EXAMPLES))
    running = [sandbox.popen(sys.executable, "-c", script, str(number)) for number in range(50)]
    for process in running:
        out, err = process.communicate(timeout=100)
        assert (process.returncode, err, out.split()) == (0, "", ["None", "b'value'"])
    total = sandbox.daemonry("call", "kvd", "org.example.cache.Add", "key=hits", "steps=0")
    assert total.json() == {"result": 1000}


STAND_IN = """
class NothingChanged(Exception): ...
class InvalidInput(Exception): ...
class Mode:
    def __init__(self, line_length): ...
def format_file_contents(source, fast, mode):
    if "(" in source: raise InvalidInput("cannot parse")
    if source == source.strip() + "\\n": raise NothingChanged
    return source.strip() + "\\n"
"""


def test_fmtd_formats_by_a_daemon_that_its_first_call_starts(sandbox):
    """With a stand-in for black, which is not needed for developing."""
    sandbox.write("lib/black.py", STAND_IN)
    sandbox.env["PYTHONPATH"] = str(sandbox.path / "lib")
    source = sandbox.write("source.py", "   x = 1   \n\n")
    source.chmod(0o750)

    def fmt(*words):
        return sandbox.run(sys.executable, FMTD, "fmt", *words)

    first = fmt(source)
    assert (first.code, first.out) == (0, f"reformatted {source}\n")
    assert source.read_text() == "x = 1\n"
    assert source.stat().st_mode & 0o777 == 0o750
    assert (fmt(source).code, fmt(source).out) == (0, "")
    bad = fmt(sandbox.write("bad.py", "x = (\n"))
    assert (bad.code, bad.err) == (1, "org.example.formatter.NotPython (reason: cannot parse)\n")
    assert sandbox.run(sys.executable, FMTD, "stop").code == 0
