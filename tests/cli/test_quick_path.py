"""The quick commands load almost nothing: what they import is most of what they cost."""

import subprocess
import sys

import pytest

from daemonry.testing import wait_until

HEAVY = {
    "argparse",
    "asyncio",
    "concurrent",
    "dataclasses",
    "enum",
    "inspect",
    "json",
    "logging",
    "re",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "typing",
    "zlib",
}
# What only an error, or a daemon, needs of ours.
NOT_OURS = {
    "daemonry.errors",
    "daemonry.cli.exit_codes",
    "daemonry.process.record",
    "daemonry.process.platform",
}
ENTRY = "from daemonry.cli.main import main; main()"


def imported(*words, **options):
    """Return the modules that a run of the interpreter imports, and how the run ended."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines[1:]}, done


@pytest.fixture
def bare():
    """What the interpreter itself imports, with whatever its site-packages make it import."""
    return imported("-c", "pass")[0]


def assert_light(modules, bare, heavy=HEAVY):
    own = {module.partition(".")[0] for module in modules - bare}
    assert own & heavy == set()
    assert own - set(sys.stdlib_module_names) <= {"daemonry", "probe"}


# JSON output is written by the `json` module, which brings these along.
FOR_JSON = {"enum", "json", "re"}


@pytest.mark.parametrize("way", ["daemonry", "program"])
def test_a_live_daemon_is_asked_without_anything_heavy(sandbox, program, bare, way):
    instance = sandbox.start(program)
    entry = ("-c", ENTRY) if way == "daemonry" else (program,)
    target = ("probe",) if way == "daemonry" else ()
    said = []
    for command in ("status", "ping", "pause", "resume", "reload", "stop"):
        modules, done = imported(*entry, command, *target, env=sandbox.env, cwd=sandbox.path)
        assert_light(modules, bare)
        if command in ("status", "ping") and way == "daemonry":
            assert modules & NOT_OURS == set()
        said.append((done.returncode, done.stdout.splitlines()[0]))
    words = ("running", "answers", "paused", "running", "reloaded", "stopped")
    assert said == [(0, f"probe: {word}") for word in words]
    assert instance.lock_held() is False


def test_json_costs_the_json_module_and_no_more(sandbox, program, bare):
    sandbox.start(program)
    words = ("-c", ENTRY, "status", "probe", "--json")
    modules, done = imported(*words, env=sandbox.env, cwd=sandbox.path)
    assert done.stdout.startswith("{")
    assert_light(modules, bare, HEAVY - FOR_JSON)


@pytest.mark.parametrize("way", ["daemonry", "program"])
def test_a_dead_one_is_found_dead_without_anything_heavy(sandbox, program, bare, way):
    entry = ("-c", ENTRY, "status", "probe") if way == "daemonry" else (program, "status")
    modules, done = imported(*entry, env=sandbox.env, cwd=sandbox.path)
    assert (done.returncode, done.stdout) == (3, "probe: not running\n")
    assert_light(modules, bare)


def test_making_a_daemon_imports_nothing_heavy(sandbox, bare):
    """It is made in every process of the program, the quick commands included."""
    text = (
        "from daemonry import Daemon, Refused, Instance, Endpoint\nDaemon('x', config='nowhere:Settings')\n"
    )
    modules, done = imported(sandbox.write("making.py", text))
    assert done.returncode == 0
    assert_light(modules, bare)


def test_the_check_would_notice(sandbox, bare):
    """A heavier command does import heavy modules, and this way of looking sees them."""
    modules, done = imported("-c", ENTRY, "ps", "--names", env=sandbox.env, cwd=sandbox.path)
    assert done.returncode == 0
    assert {"argparse", "typing"} <= {module.partition(".")[0] for module in modules - bare}


def test_a_quick_command_ends_when_its_output_is_written(sandbox, program):
    """It leaves without taking the interpreter apart, so what it printed must be out by then."""
    sandbox.start(program)
    with sandbox.popen(sys.executable, "-c", ENTRY, "status", "probe", "--json") as process:
        assert process.stdout.read().endswith("}\n")
        wait_until(lambda: process.poll() is not None)
        process.stderr.close()
    assert process.returncode == 0


def test_a_typed_client_that_blocks_loads_neither_asyncio_nor_the_server(bare):
    modules, done = imported("-c", "import daemonry.service.client.proxy; from daemonry import Client")
    assert done.returncode == 0
    own = modules - bare
    assert {"asyncio", "logging"} & own == set()
    assert {module for module in own if module.startswith("daemonry.service.server")} == set()


def test_a_quick_command_is_not_interrupted_to_look_for_cycles(sandbox):
    """It makes none; looking for them took a sixth of its instructions."""
    code = (
        "import gc; from daemonry.cli import kit\n"
        "seen = []; gc.callbacks.append(lambda phase, info: seen.append(phase))\n"
        "def run(words): run.made = [[] for _ in range(5000)]; return 0\n"
        "print(kit.command('probe', [], run), seen)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=sandbox.env, capture_output=True, text=True, check=True
    )
    assert done.stdout == "0 []\n"


def test_the_list_of_daemons_is_read_without_anything_heavy(sandbox, program, bare):
    """`ps --all-hosts` runs it on each machine."""
    sandbox.start(program)
    modules, done = imported("-c", ENTRY, "ps", "--json", env=sandbox.env, cwd=sandbox.path)
    assert_light(modules, bare)
    assert '"name":"probe"' in done.stdout.replace(" ", "")


def test_a_connection_by_ssh_is_made_without_anything_heavy(sandbox, bare):
    """Its ssh and the machine's answer are all that a person waits for."""
    env = {**sandbox.env, "DAEMONRY_SSH": "/nonexistent/ssh -F config"}
    for words in (("status", "ssh:box/adder"), ("--host", "box", "status", "adder")):
        modules, done = imported("-c", ENTRY, *words, env=env, cwd=sandbox.path)
        assert_light(modules, bare)
        assert "/nonexistent/ssh cannot be run" in done.stderr
