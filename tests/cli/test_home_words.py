"""Commands of a home that are read without argparse: as argparse reads them, or not at all."""

import itertools

import pytest

from daemonry.cli.commands import home_command
from daemonry.cli.homes.home_words import HomeWords, plainly
from daemonry.cli.parser import parser_of_command

WORDS = (
    *("web", "db", "--json", "--home", "--home=there", "--home=", "--timeout", "5", "0", "-1", ".", ""),
    *("--", "-f", "--foreground", "--help", "--timeout=5", "--jso", "-home"),
)
VERBS = ("up", "down", "ps", "restart", "reload")


def by_argparse(verb, words):
    """Return what argparse makes of it: the values of an `HomeWords`, or None for an error or a help."""
    try:
        options = parser_of_command("daemonry", home_command(verb)).parse_args(words)
    except SystemExit:
        return None
    plain = HomeWords(verb)
    return [getattr(options, name, getattr(plain, name)) for name in HomeWords.__slots__ if name != "verb"]


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_read_without_argparse_is_read_as_by_argparse(verb, capsys):
    read = 0
    for count in range(4):
        for words in itertools.product(WORDS, repeat=count):
            asked = plainly(verb, list(words))
            if asked is None:
                continue
            read += 1
            found = [getattr(asked, name) for name in HomeWords.__slots__ if name != "verb"]
            assert (asked.verb, found) == (verb, by_argparse(verb, list(words))), words
    capsys.readouterr()
    assert read > 100 or verb in {"ps", "reload"}, read
    assert read > 5


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("up", []),
        ("up", ["web", "--home", "there", "--json", "--timeout", "5"]),
        ("down", ["--home=there"]),
        ("ps", ["--json", "--home", "there"]),
        ("restart", ["web", "--home", "there"]),
        ("reload", ["--home", "there"]),
    ],
)
def test_the_usual_forms_are_read_without_argparse(verb, words):
    assert plainly(verb, words) is not None


@pytest.mark.parametrize("words", [["ps"], ["restart", "ticker"], ["reload", "ticker"], ["reload"]])
def test_what_may_mean_a_daemon_is_left_to_argparse(words):
    assert plainly(words[0], words[1:]) is None
