"""What is printed where: colour on a terminal only, and an end without noise when nobody reads."""

import os
import pty
import sys

import pytest

RUNNING = "\x1b[32mrunning\x1b[0m"


@pytest.fixture
def started(sandbox, program):
    sandbox.env["TERM"] = "xterm"
    return sandbox.start(program)


def on_a_terminal(sandbox, *words):
    """Run a command with a terminal as its standard output and return what it shows there."""
    ours, theirs = pty.openpty()
    with sandbox.popen(sys.executable, "-m", "daemonry", *words, stdout=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while data := os.read(ours, 4096):
                shown += data
        except OSError:
            pass  # EIO: the other end is closed
        assert process.wait() == 0
        process.stderr.close()
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


def test_a_terminal_gets_colour(sandbox, started):
    assert on_a_terminal(sandbox, "status", "probe").startswith(f"probe: {RUNNING}\n")
    assert f"  {RUNNING}  " in on_a_terminal(sandbox, "ps")
    started.command("PAUSE")
    assert on_a_terminal(sandbox, "status", "probe").startswith("probe: \x1b[33mpaused\x1b[0m\n")


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_none_gets_none(sandbox, started, name, value):
    sandbox.env[name] = value
    assert "\x1b" not in on_a_terminal(sandbox, "status", "probe") + on_a_terminal(sandbox, "ps")


def test_an_empty_no_color_does_not_count(sandbox, started):
    """As no-color.org has it: present and not empty."""
    sandbox.env["NO_COLOR"] = ""
    assert RUNNING in on_a_terminal(sandbox, "status", "probe")


def test_json_on_a_terminal_is_json(sandbox, started):
    assert "\x1b" not in on_a_terminal(sandbox, "status", "probe", "--json")


def test_a_pipe_gets_no_colour(sandbox, started):
    for words in (("status", "probe"), ("ps",), ("logs", "probe")):
        assert "\x1b" not in sandbox.daemonry(*words).out, words


@pytest.fixture
def long_log(sandbox, started):
    """A log longer than any pipe's buffer."""
    with open(started.place.log_path, "a") as file:
        file.writelines(f'{{"message":"{"x" * 100} {number}"}}\n' for number in range(5000))


@pytest.mark.parametrize("options", ["", "--json"])
def test_a_reader_that_has_seen_enough_is_no_failure(shell, started, long_log, options):
    """The `head` of `daemonry logs | head -1` closes the pipe: not a word about it."""
    done = shell(f"daemonry logs probe --tail 0 {options} | head -1; echo ${{PIPESTATUS[0]}}")
    assert done.err == ""
    first, code = done.out.splitlines()
    assert "listening at" in first
    assert code == "141"


def test_a_reader_that_never_was_is_no_failure(shell, started):
    for words in ("status probe", "ps", "--help", "logs probe"):
        done = shell(f"daemonry {words} | true; echo ${{PIPESTATUS[0]}}")
        assert done.err == "", words
        assert done.out in ("141\n", "0\n"), words


@pytest.mark.parametrize("buffering", ["", "PYTHONUNBUFFERED=1"])
def test_a_full_disk_behind_the_output_is_told(shell, started, buffering):
    """Half an output that ends with 0 would be taken for a whole one."""
    told = ("status probe", "ps", "ping probe", "logs probe", "status probe --json")
    for words in (*told, "--help", "ps --help", "--version"):
        done = shell(f"{buffering} daemonry {words} > /dev/full")
        assert (done.code, done.err) == (1, "cannot write the output: No space left on device\n"), words


def test_much_output_into_a_full_disk_is_told_in_one_line(shell, started, long_log):
    done = shell("daemonry logs probe --tail 0 > /dev/full")
    assert (done.code, done.err) == (1, "cannot write the output: No space left on device\n")


@pytest.mark.parametrize("buffering", ["", "PYTHONUNBUFFERED=1"])
def test_a_full_disk_behind_the_output_hides_no_complaint(shell, started, buffering):
    """The output fails while the note of an earlier crash is told, or before: a line each, no traceback."""
    with open(started.place.crash_note_path, "w") as file:
        file.write("probe crashed\n")
    done = shell(f"{buffering} daemonry status probe > /dev/full")
    assert done.code == 1
    lost, *note = done.err.splitlines()
    assert lost == "cannot write the output: No space left on device"
    assert len(note) <= 1
    assert "Traceback" not in done.err


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_descriptors_are_no_failure(shell, started, closed):
    """Some supervisors start commands with nothing open; a traceback would have nowhere to go either."""
    for words in ("status probe", "ps", "ping probe", "start probe", "logs probe", "stop probe"):
        done = shell(f"daemonry {words} {closed}; echo $?", timeout_s=20)
        assert (done.out.splitlines()[-1], done.err) == ("0", ""), words


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_start_with_closed_descriptors_is_a_start(sandbox, shell, program, closed):
    """What is opened next gets the closed one's number: the lock or the pipe must not be taken for it."""
    assert shell(f"daemonry start probe.py {closed}", timeout_s=20).code == 0
    place = sandbox.place("probe")
    fds = f"/proc/{sandbox.instance('probe').pid()}/fd"
    assert [os.readlink(f"{fds}/{fd}") for fd in range(3)] == [
        "/dev/null",
        place.crash_path,
        place.crash_path,
    ]
    assert sandbox.instance("probe").lock_held()
    assert shell("daemonry stop probe").code == 0


def test_an_error_goes_to_standard_error(sandbox):
    told = sandbox.daemonry("ping", "nobody")
    assert (told.out, told.err) == ("", "nobody: not running\n")


def test_what_a_daemon_says_cannot_move_the_cursor(sandbox):
    """A status field, an error: whatever the program puts in, people see it escaped."""
    program = sandbox.write(
        "evil.py",
        """
from daemonry import Daemon, Refused
daemon = Daemon("evil", version="1")

@daemon.status
def fields():
    return {"a\\x1b[2Jb": "c\\x1b]0;d\\x07\\u202e\\ne", "deep": {"k\\x1b": ["\\x9b"]}}

@daemon.on_pause
def no():
    raise Refused("no\\x1b[1A\\nway")
""",
    )
    sandbox.start(program)
    shown = sandbox.daemonry("status", "evil")
    assert shown.out.splitlines()[4:] == [
        "  a\\x1b[2Jb: c\\x1b]0;d\\x07\\u202e e",
        '  deep: {"k\\u001b":["\\u009b"]}',
    ]
    assert sandbox.daemonry("pause", "evil").err == "no\\x1b[1A way\n"
    assert "\x1b" not in sandbox.daemonry("status", "evil", "--json").out
    assert "\x1b" not in sandbox.daemonry("logs", "evil").out
