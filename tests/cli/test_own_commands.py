"""A program's own commands beside those of its daemon."""

import pytest

import daemonry
from daemonry import Daemon
from daemonry.cli.grammar import Command, Option, Word

daemon = Daemon("shouter")
SHOUT = Command(
    "shout", "print a word in capitals", (Word("word", "WORD", "which"),), (Option("--twice", "again"),)
)


def shout(given):
    if given.word == "fail":
        raise daemonry.errors.NotRunning("shouter", "test")
    print(given.word.upper() * (1 + given.twice))
    return 7


def exit_of(*words, commands=None):
    with pytest.raises(SystemExit) as ended:
        daemon.main(list(words), commands={SHOUT: shout} if commands is None else commands)
    return ended.value.code


@pytest.fixture(autouse=True)
def alone(sandbox, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/usr/bin/shouter"])


def test_an_own_command_is_parsed_and_gives_the_exit_code(capsys):
    assert exit_of("shout", "hey", "--twice") == 7
    assert capsys.readouterr().out == "HEYHEY\n"


def test_the_daemons_commands_are_there_too(capsys):
    assert exit_of("status") == 3
    assert capsys.readouterr().out == "shouter: not running\n"


def test_help_and_errors_know_both(capsys):
    assert exit_of("--help") == 0
    shown = capsys.readouterr().out
    assert shown.index("print a word in capitals") < shown.index("status")
    assert exit_of("shout") == 2
    assert "shouter shout: the following arguments are required: WORD" in capsys.readouterr().err
    assert exit_of("shot") == 2
    assert "did you mean 'shout'" in capsys.readouterr().err


def test_completion_offers_both(capsys):
    assert exit_of("_complete", "s") == 0
    assert {"shout", "start", "status", "stop"} <= set(capsys.readouterr().out.split())
    assert exit_of("_complete", "shout", "x", "--") == 0
    assert "--twice" in capsys.readouterr().out.split()


def test_an_error_that_is_known_is_one_line(capsys):
    assert exit_of("shout", "fail") == 3
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("words", [["stop", "--help"], ["pause", "x"]])
def test_a_command_with_the_name_of_one_of_the_daemons_is_the_authors_error(words):
    commands = {Command("stop", "stop otherwise"): shout}
    with pytest.raises(ValueError, match="stop: is a command of every daemon"):
        daemon.main(words, commands=commands)
