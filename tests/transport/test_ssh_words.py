"""What is said to ssh, to the shell of the other machine, and back."""

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.errors import EndpointInvalid
from daemonry.transport import ssh_words
from daemonry.transport.endpoint import Endpoint


def test_ssh_is_given_the_host_behind_two_dashes_and_one_command():
    endpoint = Endpoint.parse("ssh:me@box:2222/svc")
    words = ssh_words.arguments(endpoint, None, None, "true")
    assert words[-3:-1] == ["--", "me@box"]
    assert words[words.index("-p") + 1] == "2222"
    assert "BatchMode=yes" in words
    assert not any("Control" in word for word in words)


def test_what_a_configuration_adds_to_a_persons_session_is_not_for_ours():
    words = ssh_words.arguments(Endpoint.parse("ssh:box/svc"), None, None, "true")
    assert {"RemoteCommand=none", "ClearAllForwardings=yes"} <= set(words)
    assert {"StdinNull=no", "SessionType=default", "ForkAfterAuthentication=no"} <= set(words)


def test_an_old_ssh_is_given_no_option_that_it_does_not_know():
    words = ssh_words.arguments(Endpoint.parse("ssh:box/svc"), None, None, "true", old=True)
    assert "RemoteCommand=none" in words
    assert not any("StdinNull" in word or "SessionType" in word for word in words)


@pytest.mark.parametrize(
    ("status", "said", "found"),
    [
        (255, "command-line: line 0: Bad configuration option: stdinnull\r\n", True),
        (255, "warning\ncommand-line: line 0: Bad configuration option: stdinnull\n", True),
        (255, "command-line: line 0: Bad configuration option: foo\n", False),
        (255, "/root/.ssh/config: line 3: Bad configuration option: stdinnull\n", False),
        (1, "command-line: line 0: Bad configuration option: stdinnull\n", False),
    ],
)
def test_an_old_ssh_is_known_by_its_words(status, said, found):
    assert ssh_words.is_old(status, said) is found


def test_an_ipv6_address_is_given_without_its_brackets():
    words = ssh_words.arguments(Endpoint.parse("ssh:me@[::1]:2222/svc"), None, None, "true")
    assert words[-3:-1] == ["--", "me@::1"]


def test_a_cut_is_noticed_a_second_before_it_has_to_be_told():
    """OpenSSH gives up in the interval after the last one that counts; a loaded machine needs the second."""
    words = ssh_words.arguments(Endpoint.parse("ssh:box/svc"), None, None, "true")
    told = dict(word.split("=", 1) for word in words if word.startswith("ServerAlive"))
    interval_s, most = int(told["ServerAliveInterval"]), int(told["ServerAliveCountMax"])
    assert 4 <= interval_s * (most + 1) <= 5


def test_a_kept_connection_is_asked_for_where_it_has_a_place():
    words = ssh_words.arguments(Endpoint.parse("ssh:box/svc"), "/run/u/daemonry/ssh-%C", None, "daemonry")
    assert "ControlPath=/run/u/daemonry/ssh-%C" in words
    assert "ControlMaster=auto" in words


@pytest.mark.parametrize(("time_s", "told"), [(None, 5), (60.0, 5), (5.0, 4), (1.2, 1), (0.1, 1)])
def test_ssh_gives_up_before_we_do_so_that_it_can_say_why(time_s, told):
    words = ssh_words.arguments(Endpoint.parse("ssh:box/svc"), None, time_s, "daemonry")
    assert f"ConnectTimeout={told}" in words


@given(st.text(min_size=1), st.text())
def test_whatever_a_target_is_called_the_shell_there_gets_it_as_one_word(target, start):
    try:
        endpoint = Endpoint.parse(f"ssh:box/{target}" + (f";start={start}" if start else ""))
    except EndpointInvalid:
        return
    command = ssh_words.dial_command(endpoint, "my daemonry")
    shell, option, script = shlex.split(command)
    assert (shell, option) == ("sh", "-c")
    program = shlex.split(script.partition("; exec ")[2])
    more = ["--start", endpoint.start] if endpoint.start else []
    assert program == ["my daemonry", "dial", endpoint.target, *more]


def test_a_real_shell_reads_it_so_too(tmp_path):
    shown = tmp_path / "show"
    shown.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    shown.chmod(0o755)
    endpoint = Endpoint.parse("ssh:box/it's;start=$(touch pwned) `id`.py")
    command = ssh_words.dial_command(endpoint, str(shown))
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "dial\nit's\n--start\n$(touch pwned) `id`.py\n"
    assert not (tmp_path / "pwned").exists()


@given(st.sampled_from(["serving", "busy", "absent", "denied"]), st.text())
def test_the_first_line_is_read_as_it_was_written(answer, reason):
    line = ssh_words.first_line(answer, reason)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    found = ssh_words.read_first_line(line)
    assert found is not None
    assert found[0] == answer


@given(st.binary())
def test_any_other_line_is_none_of_ours(line):
    found = ssh_words.read_first_line(line)
    assert (found is None) != line.startswith(ssh_words.MARK)


@pytest.mark.parametrize(
    ("status", "said", "told"),
    [
        (255, "Warning: x\nssh: connect to host box port 22: Connection refused\n", "Connection refused"),
        (255, "", "without a reason"),
        (-15, "", "without a reason"),
        (255, "\x1b[31mred", "\\x1b[31mred"),
    ],
)
def test_a_failed_ssh_is_a_machine_out_of_reach(status, said, told):
    assert told in str(ssh_words.why_unreachable(status, said))


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (127, "no daemonry on its PATH"),
        (126, "cannot run daemonry (the last line): install it"),
        (2, "too old"),
        (1, "the daemonry of box ended with 1: the last line"),
    ],
)
def test_a_machine_without_a_dial_is_there_and_says_what_it_lacks(status, told):
    assert ssh_words.why_unreachable(status, "first\nthe last line\n") is None
    assert told in ssh_words.why_not_begun(status, "first\nthe last line\n", "box")


@pytest.mark.parametrize(
    ("status", "said", "printed", "told"),
    [
        (0, "", "", "ended with 0 and without a word"),
        (1, "", "", "ended with 1 and without a word"),
        (0, "", "This account is restricted\n", "says: This account is restricted"),
        (
            1,
            "",
            "This account is currently not available.\n",
            "says: This account is currently not available.",
        ),
        (1, "a banner\n", "not available\n", "says: a banner; not available"),
        (1, "", "\x1b[31mred\n", "\\x1b[31mred"),
    ],
)
def test_a_command_that_takes_the_place_of_ours_is_named_as_one(status, said, printed, told):
    why = ssh_words.why_not_begun(status, said, "box", printed=printed)
    assert why.startswith("box did not run daemonry")
    assert told in why
    assert "a forced command" in why
    assert "\x1b" not in why
