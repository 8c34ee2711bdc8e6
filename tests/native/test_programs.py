"""Under a program's name the launcher says what that program says."""

import pytest
from tests.native.conftest import ROOT, telling, with_python
from tests.native.test_launcher import answering, run

STATUS = b'{"state":"running","uptime_secs":3725,"current_session":null,"saves_count":3,"x":[]}\n'
REPLIES = [
    STATUS,
    b'{"state":"paused"}\n',
    b'{"state":"running","uptime_secs":1.5,"pid":4}\n',
    b"{}\n",
    b"OK\n",
    b"OK: a note\n",
    b"ERR: Daemon already paused\n",
    b"ERR: Daemon is not paused\n",
    b"ERR: \x1b[2J\n",
    b"",
]
COMMANDS = ("status", "pause", "resume", "daemon status", "daemon reload", "daemon stop")
# Of each way of printing, what is plain.
QUICK = {(0, "status"), (4, "pause"), (5, "daemon reload")}


@pytest.fixture(scope="session")
def palingenesis(native):
    """The launcher as the command `palingenesis`."""
    pytest.importorskip("palingenesis")
    return with_python(native, ROOT / "apps/palingenesis/scripts/palingenesis")


@pytest.mark.parametrize(
    ("number", "command"),
    [
        pytest.param(number, command, marks=[] if (number, command) in QUICK else pytest.mark.slow)
        for number in range(len(REPLIES))
        for command in COMMANDS
    ],
)
def test_palingenesis_says_the_same(sandbox, palingenesis, number, command):
    for options in ((), ("--json",)):
        shown = []
        for path in (f"{palingenesis}-python", palingenesis):
            with answering(sandbox, [REPLIES[number]], name="palingenesis") as came:
                shown.append(run(path, sandbox, *command.split(), *options))
                assert "status" in command or len(came) <= 2  # the answer to STOP, and a look who is there
                assert len({sent for sent in came if sent and sent != b"STATUS\n"}) <= 1
        assert shown[0] == shown[1]


def test_what_palingenesis_does_by_itself_needs_python_for_nothing(sandbox, palingenesis, native):
    told = telling(sandbox.path / "told", native, "palingenesis")
    with answering(sandbox, [STATUS], name="palingenesis"):
        for words in (
            ["status"],
            ["--json", "status"],
            ["daemon", "status", "--json"],
            ["daemon", "--json", "status"],
        ):
            assert b"python" not in run(told, sandbox, *words)[1], words
        for words in (["daemon"], ["status", "daemon"], ["pause", "--timeout", "1"], ["ping"], []):
            assert run(told, sandbox, *words)[1].startswith(b"python"), words


def test_a_service_of_vx_is_found_in_its_home(sandbox, native):
    pytest.importorskip("vx")
    command = with_python(native, ROOT / "apps/vx/scripts/vx-cass")
    sandbox.env["VX_HOME"] = str(sandbox.path / "vx")
    try:
        started = run(command, sandbox, "start")
        assert started[0] == 0, started
        for words in (["status", "--json"], ["ping"], ["ping", "--json"], ["pause"], ["pause"], ["resume"]):
            shown = [run(path, sandbox, *words) for path in (command, f"{command}-python")]
            assert shown[0][0] == shown[1][0] == 0, shown
            # The second of two asks for what is so already; and a status tells the time.
            assert words[0] in {"status", "pause", "resume"} or shown[0] == shown[1]
        told = telling(sandbox.path / "told", native, "vx-cass")
        assert run(told, sandbox, "ping") == (0, b"cass: answers\n", b"")
    finally:
        assert run(command, sandbox, "stop") == (0, b"cass: stopped\n", b"")
