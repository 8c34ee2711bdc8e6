"""Which machine a command line means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemonry.cli.hosts import words
from daemonry.errors import ArgumentInvalid


@pytest.mark.parametrize(
    ("line", "host", "rest"),
    [
        ("status adder", "", "status adder"),
        ("--host box status adder", "box", "status adder"),
        ("status --host box adder", "box", "status adder"),
        ("status adder --host=me@box:22", "me@box:22", "status adder"),
        ("run -- claude --host box", "", "run -- claude --host box"),
        ("--host box run -- claude --host x", "box", "run -- claude --host x"),
        ("status --hosts x", "", "status --hosts x"),
    ],
)
def test_the_option_may_stand_anywhere_before_two_dashes(line, host, rest):
    assert words.split(line.split(), {}) == (host, rest.split())


def test_where_later_words_may_be_anything_it_counts_as_the_first_only():
    line = ["call", "s/t", "--host", "box"]
    assert words.split(line, {}, leading=True) == ("", line)
    assert words.split(["--host", "box", *line], {}, leading=True) == ("box", line)


def test_the_variable_counts_where_the_option_is_not_given():
    environment = {"DAEMONRY_HOST": "box"}
    assert words.split(["status"], environment) == ("box", ["status"])
    assert words.split(["--host", "other", "status"], environment) == ("other", ["status"])
    assert words.split(["status"], {"DAEMONRY_HOST": ""}) == ("", ["status"])
    assert words.split([], environment) == ("box", [])
    for local in ("_complete", "completion", "dial", "--help", "--version"):
        assert words.split([local, "x"], environment) == ("", [local, "x"])


@pytest.mark.parametrize(
    ("line", "host"),
    [("--host box", ""), ("--host = box", ""), ("--host", ""), ("--host box sta", "box")],
)
def test_a_machine_that_is_not_typed_to_its_end_is_not_asked_for_candidates(line, host):
    line = ["_complete", *line.split()]
    rest = [line[0], *line[3:]] if host else line
    assert words.split(line, {}) == (host, rest)


@pytest.mark.parametrize(
    "line",
    [["--host"], ["status", "--host"], ["--host", "--", "x"], ["--host", "", "stop"], ["--host=", "stop"]],
)
def test_an_option_without_a_machine_is_wrong_usage(line):
    """An empty one is a shell's variable that is not set: this machine's daemon is not what it means."""
    with pytest.raises(ArgumentInvalid, match="--host: needs the name of a machine"):
        words.split(line, {})


@pytest.mark.parametrize(
    "host", ["-oProxyCommand=x", "a b", "box/x", "box;start=x", "@box", "me@", "box:x", "é"]
)
def test_what_is_no_machine_never_reaches_ssh(host):
    with pytest.raises(ArgumentInvalid, match="--host"):
        words.machine(host)


def test_a_variable_that_names_no_machine_is_called_by_its_own_name():
    """Whoever has it in a profile has typed no `--host`."""
    with pytest.raises(ArgumentInvalid, match=r"^DAEMONRY_HOST: 'a b' is not a valid host$"):
        words.split(["status"], {"DAEMONRY_HOST": "a b"})
    assert words.split(["--host", "box", "status"], {"DAEMONRY_HOST": "a b"}) == ("box", ["status"])
    assert words.split(["completion", "bash"], {"DAEMONRY_HOST": "a b"}) == ("", ["completion", "bash"])


@given(st.text())
def test_whatever_a_machine_is_called_it_is_one_word_of_ssh(host):
    try:
        machine = words.machine(host)
    except ArgumentInvalid:
        return
    assert not machine.address.startswith("-")
    assert not set(machine.address) & set(" \t\n;/'\"$`\\")
    assert machine.target == "daemonry"
    assert machine.start == ""


def test_commands_that_want_more_are_found_behind_options():
    assert words.begins_with(["--json", "mcp", "serve"], ("mcp serve",))
    assert not words.begins_with(["mcp"], ("mcp serve",))
    assert not words.begins_with([], ("run",))
