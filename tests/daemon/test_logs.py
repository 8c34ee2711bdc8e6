"""The log and the crash file of a running daemon: told, followed, bounded, and never in its way."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from daemonry.limits import CRASH_FILE_BYTES
from daemonry.testing import wait_until

SAYS = """
import logging

@daemon.work
async def work(run):
    said = 0
    while True:
        await wait_told("say")
        os.unlink(f"{BOX}/say")
        said += 1
        run.log.info("said %d", said, extra={"number": said})
"""


def say(probe):
    """Have the daemon write a line of its own, and wait until it is in the log."""
    before = len(probe.messages())
    probe.tell("say")
    wait_until(lambda: len(probe.messages()) > before)


def test_a_line_of_the_program_is_one_json_object(probe):
    probe.start(SAYS)
    say(probe)
    line = probe.cli("logs", "--json", "--tail", "1").out
    entry = json.loads(line)
    assert {name: entry[name] for name in ("level", "logger", "message", "number")} == {
        "level": "info",
        "logger": "probe",
        "message": "said 1",
        "number": 1,
    }
    assert entry["time"].endswith("Z")
    assert os.stat(probe.place.log_path).st_mode & 0o777 == 0o600


def test_the_last_lines_are_shown(probe):
    probe.start(SAYS)
    for _ in range(3):
        say(probe)
    for option in ("--tail", "-n", "-t"):
        shown = probe.cli("logs", option, "2")
        assert [line.partition("Z ")[2] or line[24:] for line in shown.out.splitlines()] == [
            "INFO said 2 number=2",
            "INFO said 3 number=3",
        ]
    assert probe.cli("logs", "--tail", "0").out.count("\n") == len(probe.messages())


def test_twenty_lines_are_shown_if_nothing_is_said(probe):
    probe.start(SAYS)
    with open(probe.place.log_path, "a") as file:
        file.writelines(json.dumps({"message": f"old {number}"}) + "\n" for number in range(30))
    assert probe.cli("logs").out.splitlines() == [f"old {number}" for number in range(10, 30)]


def test_lines_since_a_moment_are_shown(probe):
    probe.start(SAYS)
    old = {"time": "2001-01-01T00:00:00.000Z", "level": "info", "message": "long ago"}
    log = Path(probe.place.log_path)
    log.write_text(json.dumps(old) + "\n" + log.read_text())
    assert "long ago" in probe.cli("logs").out
    recent = probe.cli("logs", "--since", "1h").out
    assert "long ago" not in recent
    assert "ready at" in recent
    assert probe.cli("logs", "--since", "1h", "--tail", "1").out == recent.splitlines(keepends=True)[-1]
    assert probe.cli("logs", "--since", "1h", "--tail", "0").out == recent
    log.write_text(json.dumps(old) + "\n")
    assert probe.cli("logs", "--since", "1h", "--tail", "9").out == ""
    assert probe.cli("logs", "--since", "soon").err == (
        "--since: 'soon' is not a span of time: try 90s, 30m, 1h, 2d\n"
    )


@pytest.mark.parametrize("option", ["--follow", "-f"])
def test_a_new_line_arrives_while_one_follows(probe, option):
    probe.start(SAYS)
    words = (sys.executable, "-m", "daemonry", "logs", "probe", option, "--tail", "1")
    with probe.sandbox.popen(*words) as following:
        assert "ready at" in following.stdout.readline()
        probe.tell("say")
        assert following.stdout.readline().endswith("INFO said 1 number=1\n")
        following.terminate()
        following.communicate()


def test_following_ends_on_ctrl_c_without_a_trace(probe):
    probe.start(SAYS)
    words = (sys.executable, "-m", "daemonry", "logs", "probe", "-f")
    with probe.sandbox.popen(*words) as following:
        following.stdout.readline()
        following.send_signal(2)
        _, err = following.communicate(timeout=10)
    assert (following.returncode, err) == (130, "")


def test_following_goes_on_over_a_rotation_and_a_restart(probe):
    probe.start(SAYS)
    words = (sys.executable, "-m", "daemonry", "logs", "probe", "-f", "--json", "--tail", "1")
    with probe.sandbox.popen(*words) as following:
        assert "ready at" in following.stdout.readline()
        os.rename(probe.place.log_path, probe.place.log_path + ".1")
        assert probe.cli("restart").code == 0
        wait_until(lambda: os.path.exists(probe.place.log_path))
        probe.tell("say")
        lines = []
        while not lines or "said" not in lines[-1]:
            lines.append(json.loads(following.stdout.readline())["message"])
        following.terminate()
        following.communicate()
    assert len([line for line in lines if line.startswith("ready at")]) == 1


def test_no_log_yet_is_no_failure(probe):
    none = f"probe: no log yet at {probe.place.log_path}"
    assert probe.cli("logs") == (0, "", f"{none}\n")
    probe.sandbox.write("home.toml", "[services.probe]\ncommand = ['true']\n")
    hint = "; of a service in this home: daemonry logs --home . probe"
    assert probe.cli("logs") == (0, "", f"{none}{hint}\n")


def test_what_it_logs_can_be_chosen(probe):
    program = probe.write(
        "@daemon.setup\ndef setup(run):\n    run.log.debug('fine')\n    run.log.info('coarse')\n"
    )
    assert probe.sandbox.daemonry("start", program, "--log-level", "warning").code == 0
    assert probe.messages() == []
    assert probe.cli("stop").code == 0
    assert probe.sandbox.daemonry("start", program, "--log-level", "debug").code == 0
    assert probe.logged("fine")


def test_a_message_cannot_forge_a_line(probe):
    """Fault 28: line breaks and escapes of whatever the program logs stay inside its line."""
    evil = 'real\\n{"message":"forged"}\\x1b[2J\\u2028'
    probe.start(f"@daemon.setup\ndef setup(run):\n    run.log.warning('{evil}')\n")
    assert "forged" not in [entry["message"] for entry in probe.log()]
    shown = probe.cli("logs").out
    assert "\x1b" not in shown
    assert "WARNING real" in next(line for line in shown.splitlines() if "forged" in line)


# --- bounded --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_crash_file_is_kept_small(probe):
    """Hard case 22: a library that floods standard error cannot fill the disk."""
    body = f"""
@daemon.work
def work(run):
    note("flooding")
    for _ in range({3 * CRASH_FILE_BYTES // 1024}):
        os.write(2, b"x" * 1023 + b"\\n")
    note("flooded")
    while not run.stopping:
        os.write(2, b"y" * 1023 + b"\\n")
        time.sleep(0.05)
"""
    probe.start(body)
    wait_until(lambda: probe.noted("flooded") is not None, 30)
    wait_until(lambda: os.path.getsize(probe.place.crash_path) < CRASH_FILE_BYTES, 15)
    assert 0 < os.path.getsize(probe.place.crash_path + ".prev") <= CRASH_FILE_BYTES
    assert probe.logged("the crash file was full and has been cut")


FULL_DISK = """
import time
from daemonry.testing import Sandbox, wait_until

with Sandbox(disk) as box:
    program = box.write("probe.py", '''
import logging
from daemonry import Daemon
daemon = Daemon("probe")

@daemon.on_pause
def pause():
    logging.getLogger("probe").warning("x" * 500)
''')
    instance = box.start(program)
    fill()
    for _ in range(40):
        instance.command("PAUSE")
        instance.command("RESUME")
    print(instance.status()["state"])
    print(box.daemonry("logs", "probe", "--tail", "1").code)
    os.unlink(disk + "/filler")
    instance.command("PAUSE")
    log = open(instance.place.log_path).read()
    print("lines were lost here" in log)
    print(log.splitlines()[-1].partition('"message":')[2])
    fill()
    print(box.daemonry("stop", "probe"))
"""


def test_a_full_disk_costs_log_lines_and_nothing_else(on_tiny_disk):
    """Fault 16: the daemon goes on, and the log tells how many lines are missing."""
    out = on_tiny_disk(FULL_DISK, size="128k", files=64).splitlines()
    assert out == [
        "running",
        "0",
        "True",
        '"paused (pause asked)"}',
        "Completed(code=0, out='probe: stopped\\n', err='')",
    ]


def test_the_log_is_the_same_file_over_restarts(probe):
    probe.start(SAYS)
    say(probe)
    first = probe.instance.pid()
    assert probe.cli("restart").code == 0
    ready = [message for message in probe.messages() if message.startswith("ready at")]
    assert [f"(pid {first})" in ready[0], f"(pid {probe.instance.pid()})" in ready[1]] == [True, True]
    assert time.time() - os.stat(probe.place.log_path).st_mtime < 60
